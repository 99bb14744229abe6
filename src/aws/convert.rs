//! Converts a replication configuration from the domain's types to the SDK's, and back.
//!
//! In: the configuration to write, or the one that S3 answered with. Out: the same in the types of the other side. A
//! new element of a rule is converted here.
//!
//! The operator writes the second version of the schema and reads both
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html>).

use std::collections::BTreeMap;

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types as s3;

use crate::api::Switch;
use crate::replication::configuration::ANY_PRIORITY;
use crate::replication::{Configuration, Rule, RuleDestination, RuleFilter};

/// The only number of minutes that S3 accepts for replication time and its metrics.
const MINUTES: i32 = 15;

pub fn to_sdk(configuration: &Configuration) -> Result<s3::ReplicationConfiguration, BuildError> {
    let Configuration { role, rules } = configuration;
    let rules = rules.iter().map(|(id, rule)| rule_to_sdk(id, rule)).collect::<Result<_, _>>()?;
    s3::ReplicationConfiguration::builder().role(role).set_rules(Some(rules)).build()
}

fn rule_to_sdk(id: &str, rule: &Rule) -> Result<s3::ReplicationRule, BuildError> {
    let Rule {
        status,
        priority,
        filter,
        delete_markers,
        replica_modifications,
        kms_encrypted_objects,
        destination,
    } = rule;
    let markers = s3::DeleteMarkerReplication::builder()
        .status(s3::DeleteMarkerReplicationStatus::from(delete_markers.as_str()))
        .build();
    s3::ReplicationRule::builder()
        .id(id)
        .status(s3::ReplicationRuleStatus::from(status.as_str()))
        .priority(priority.unwrap_or(ANY_PRIORITY))
        .filter(filter_to_sdk(filter)?)
        .delete_marker_replication(markers)
        .set_source_selection_criteria(criteria(*replica_modifications, *kms_encrypted_objects)?)
        .destination(destination_to_sdk(destination)?)
        .build()
}

/// The shortest form of a filter: Prefix, Tag, or And, which needs at least two conditions.
fn filter_to_sdk(filter: &RuleFilter) -> Result<s3::ReplicationRuleFilter, BuildError> {
    let RuleFilter { prefix, tags } = filter;
    let mut tags = tags
        .iter()
        .map(|(k, v)| s3::Tag::builder().key(k).value(v).build())
        .collect::<Result<Vec<_>, _>>()?;
    let builder = s3::ReplicationRuleFilter::builder();
    Ok(match (prefix.is_empty(), tags.len()) {
        (_, 0) => builder.prefix(prefix).build(),
        (true, 1) => builder.set_tag(tags.pop()).build(),
        (no_prefix, _) => {
            let prefix = (!no_prefix).then(|| prefix.clone());
            let and =
                s3::ReplicationRuleAndOperator::builder().set_prefix(prefix).set_tags(Some(tags)).build();
            builder.and(and).build()
        }
    })
}

/// S3 refuses an empty element.
fn criteria(modifications: Switch, kms: Switch) -> Result<Option<s3::SourceSelectionCriteria>, BuildError> {
    if !modifications.is_enabled() && !kms.is_enabled() {
        return Ok(None);
    }
    let mut builder = s3::SourceSelectionCriteria::builder();
    if modifications.is_enabled() {
        let status = s3::ReplicaModificationsStatus::Enabled;
        builder = builder.replica_modifications(s3::ReplicaModifications::builder().status(status).build()?);
    }
    if kms.is_enabled() {
        let status = s3::SseKmsEncryptedObjectsStatus::Enabled;
        builder =
            builder.sse_kms_encrypted_objects(s3::SseKmsEncryptedObjects::builder().status(status).build()?);
    }
    Ok(Some(builder.build()))
}

fn destination_to_sdk(destination: &RuleDestination) -> Result<s3::Destination, BuildError> {
    let RuleDestination {
        bucket,
        account,
        storage_class,
        ownership,
        kms_key,
        replication_time_control,
        metrics,
    } = destination;
    let mut builder = s3::Destination::builder()
        .bucket(bucket)
        .set_account(account.clone())
        .set_storage_class(storage_class.as_deref().map(s3::StorageClass::from));
    if let Some(owner) = ownership {
        let owner = s3::OwnerOverride::from(owner.as_str());
        builder =
            builder.access_control_translation(s3::AccessControlTranslation::builder().owner(owner).build()?);
    }
    if let Some(key) = kms_key {
        builder = builder
            .encryption_configuration(s3::EncryptionConfiguration::builder().replica_kms_key_id(key).build());
    }
    let minutes = || s3::ReplicationTimeValue::builder().minutes(MINUTES).build();
    let on = s3::Metrics::builder().status(s3::MetricsStatus::Enabled);
    if replication_time_control.is_enabled() {
        let time = s3::ReplicationTime::builder().status(s3::ReplicationTimeStatus::Enabled).time(minutes());
        builder = builder.replication_time(time.build()?).metrics(on.event_threshold(minutes()).build()?);
    } else if metrics.is_enabled() {
        builder = builder.metrics(on.build()?);
    }
    builder.build()
}

pub fn from_sdk(configuration: &s3::ReplicationConfiguration) -> Configuration {
    let rules = configuration.rules().iter();
    Configuration {
        role: configuration.role().to_owned(),
        rules: rules.map(|rule| (rule.id().unwrap_or_default().to_owned(), rule_from_sdk(rule))).collect(),
    }
}

#[expect(deprecated, reason = "the first version of the schema has its prefix in the rule")]
fn rule_from_sdk(rule: &s3::ReplicationRule) -> Rule {
    let switch = |on: bool| if on { Switch::Enabled } else { Switch::Disabled };
    let criteria = rule.source_selection_criteria();
    let filter = match rule.filter() {
        Some(filter) => filter_from_sdk(filter),
        None => RuleFilter { prefix: rule.prefix().unwrap_or_default().to_owned(), tags: BTreeMap::new() },
    };
    let first_version = rule.filter().is_none();
    let markers = rule.delete_marker_replication().and_then(|m| m.status());
    Rule {
        status: switch(rule.status() == &s3::ReplicationRuleStatus::Enabled),
        priority: rule.priority(),
        filter,
        delete_markers: switch(match markers {
            Some(status) => status == &s3::DeleteMarkerReplicationStatus::Enabled,
            None => first_version,
        }),
        replica_modifications: switch(
            criteria
                .and_then(|c| c.replica_modifications())
                .is_some_and(|r| r.status() == &s3::ReplicaModificationsStatus::Enabled),
        ),
        kms_encrypted_objects: switch(
            criteria
                .and_then(|c| c.sse_kms_encrypted_objects())
                .is_some_and(|k| k.status() == &s3::SseKmsEncryptedObjectsStatus::Enabled),
        ),
        destination: destination_from_sdk(rule.destination()),
    }
}

fn filter_from_sdk(filter: &s3::ReplicationRuleFilter) -> RuleFilter {
    let pair = |tag: &s3::Tag| (tag.key().to_owned(), tag.value().to_owned());
    let and = filter.and();
    let prefix = filter.prefix().or_else(|| and.and_then(|a| a.prefix())).unwrap_or_default().to_owned();
    let tags = filter.tag().into_iter().chain(and.into_iter().flat_map(|a| a.tags())).map(pair).collect();
    RuleFilter { prefix, tags }
}

fn destination_from_sdk(destination: Option<&s3::Destination>) -> RuleDestination {
    let switch = |on: bool| if on { Switch::Enabled } else { Switch::Disabled };
    RuleDestination {
        bucket: destination.map(|d| d.bucket().to_owned()).unwrap_or_default(),
        account: destination.and_then(|d| d.account()).map(str::to_owned),
        storage_class: destination.and_then(|d| d.storage_class()).map(|c| c.as_str().to_owned()),
        ownership: destination
            .and_then(|d| d.access_control_translation())
            .map(|translation| translation.owner().as_str().to_owned()),
        kms_key: destination
            .and_then(|d| d.encryption_configuration())
            .and_then(|e| e.replica_kms_key_id())
            .map(str::to_owned),
        replication_time_control: switch(
            destination
                .and_then(|d| d.replication_time())
                .is_some_and(|t| t.status() == &s3::ReplicationTimeStatus::Enabled),
        ),
        metrics: switch(
            destination.and_then(|d| d.metrics()).is_some_and(|m| m.status() == &s3::MetricsStatus::Enabled),
        ),
    }
}
