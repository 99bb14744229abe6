//! A replication configuration that exists → the spec that asks for it.

use crate::api::{
    self, BucketReplicationSpec, Destination, Ownership, ReplicationRule, Role, Source, StorageClass, Switch,
};
use crate::iam::arn::bucket_of_arn;
use crate::replication::configuration::{Configuration, Filter, Rule, RuleDestination};

/// What a `BucketReplication` cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rules[{id}].{field} is {value:?}, which a BucketReplication cannot express{why}")]
pub struct Inexpressible {
    pub id: String,
    pub field: &'static str,
    pub value: String,
    pub why: &'static str,
}

/// The spec of a bucket that replicates already. The role is taken as it is, by its ARN.
///
/// # Errors
/// The first field that cannot be expressed.
pub fn import(
    bucket: &str,
    region: Option<String>,
    configuration: &Configuration,
) -> Result<BucketReplicationSpec, Inexpressible> {
    let Configuration { role, rules } = configuration;
    // Rules of the first version of the schema have no priority; with more than one the spec needs some, and
    // which they are has no meaning there: such rules cannot overlap.
    let alone = rules.len() == 1;
    let rules = rules
        .iter()
        .zip(1..)
        .map(|((id, rule), n)| import_rule(id, rule, rule.priority.or((!alone).then_some(n))))
        .collect::<Result<_, _>>()?;
    Ok(BucketReplicationSpec {
        source: Source { bucket: bucket.to_owned(), region, ..Source::default() },
        role: Some(Role { arn: Some(role.clone()), ..Role::default() }),
        rules,
        ..BucketReplicationSpec::default()
    })
}

fn import_rule(id: &str, rule: &Rule, priority: Option<i32>) -> Result<ReplicationRule, Inexpressible> {
    let Rule {
        status,
        priority: _,
        filter: Filter { prefix, tags },
        delete_markers,
        replica_modifications,
        kms_encrypted_objects,
        destination,
    } = rule;
    let inexpressible =
        |field, value: &str, why| Inexpressible { id: id.to_owned(), field, value: value.to_owned(), why };
    let RuleDestination {
        bucket,
        account,
        storage_class,
        ownership,
        kms_key,
        replication_time_control,
        metrics,
    } = destination;
    let storage_class = storage_class
        .as_deref()
        .map(|class| {
            let known = serde_json::from_value::<StorageClass>(class.into());
            known.map_err(|_| inexpressible("destination.storageClass", class, ""))
        })
        .transpose()?;
    let ownership = match ownership.as_deref() {
        None => None,
        Some("Destination") if account.is_some() => Some(Ownership::Destination),
        Some(owner) => {
            return Err(inexpressible("destination.ownership", owner, " without the destination's account"));
        }
    };
    if kms_encrypted_objects.is_enabled() != kms_key.is_some() {
        let value = kms_key.as_deref().unwrap_or("absent");
        return Err(inexpressible("destination.kmsKeyArn", value, ": it goes with kmsEncryptedObjects"));
    }
    let enabled = |switch: &Switch| switch.is_enabled().then_some(Switch::Enabled);
    Ok(ReplicationRule {
        id: id.to_owned(),
        status: (!status.is_enabled()).then_some(Switch::Disabled),
        priority,
        filter: Some(api::Filter { prefix: Some(prefix.clone()), tags: tags.clone() }),
        destination: Destination {
            bucket: bucket_of_arn(bucket).to_owned(),
            account: account.clone(),
            storage_class,
            ownership,
            kms_key_arn: kms_key.clone(),
            replication_time_control: enabled(replication_time_control),
            metrics: if replication_time_control.is_enabled() { None } else { enabled(metrics) },
            ..Destination::default()
        },
        delete_markers: enabled(delete_markers),
        replica_modifications: enabled(replica_modifications),
        kms_encrypted_objects: enabled(kms_encrypted_objects),
    })
}
