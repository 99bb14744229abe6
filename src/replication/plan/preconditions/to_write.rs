//! The preconditions of a write, which `Observe` does not need. They decide which role and which configuration may be
//! adopted.
//!
//! In: the planner's input, and the differences. Out: a refusal where the role or the configuration is someone else's
//! and may not be adopted; where versioning cannot be enabled; where IAM or S3 cannot take a tag or a filter; or where
//! a policy exceeds AWS's limits.

use std::collections::BTreeMap;

use crate::api::{AwsResource, ConditionType, DriftEntry, Reason, VersioningPolicy};
use crate::iam::arn::role_of_arn;
use crate::iam::bucket_policy::{self, MAX_BUCKET_POLICY};
use crate::iam::document::{MAX_INLINE_POLICY, Statement};
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::{Configuration, RuleFilter, unwritable_character};
use crate::replication::desired::{DesiredBucket, DesiredRole};
use crate::replication::failure::Failure;
use crate::replication::observed::{ObservedBucket, Versioning};
use crate::replication::plan::input::PlanInput;
use crate::replication::plan::transition::{TransitionPolicies, exact_while_unread};
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::{ADOPT_IT, ONLY_TAGGED, is_named_by, is_same_key, owner_of};

/// The managed role is this resource's, or may be adopted.
pub(crate) fn require_own_role(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let (DesiredRole::Managed(wanted), Ok(Some(held))) = (&input.desired.role, &input.observed.role) else {
        return Ok(());
    };
    let id = input.replication.id;
    let refuse = |message| Err(Refusal::new(Reason::ForeignRole, ConditionType::RoleReady, message));
    // A name is unique in an account under all paths, and IAM cannot move a role.
    if held.path != wanted.path {
        return refuse(format!(
            "role {} exists with the path {} and not {}; choose another role.name, or use it as it is by role.arn",
            held.arn, held.path, wanted.path
        ));
    }
    if id.owns(&held.tags) {
        return Ok(());
    }
    // `adoptionPolicy: Adopt` alone must not take another team's role, and an untagged role has no known owner. Its
    // creator can hand it over by tagging it.
    if let Some(account) = input.account().filter(|_| !is_named_by(&held.tags, id)) {
        return refuse(format!(
            "role {} exists and {}, and AwsAccount {} {ONLY_TAGGED}; choose another role.name, or have the owner of the role tag it with s3replication.dev/namespace={} and s3replication.dev/name={}",
            held.arn,
            owner_of(&held.tags, id),
            account.name,
            id.namespace,
            id.name
        ));
    }
    if input.adopts() {
        return Ok(());
    }
    refuse(format!(
        "role {} exists and {}; choose another role.name, use it as it is by role.arn, or {ADOPT_IT}",
        held.arn,
        owner_of(&held.tags, id)
    ))
}

/// The configuration on the source is this resource's, equals what the spec asks for, or may be adopted.
pub(crate) fn require_own_configuration(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
) -> Result<(), Refusal> {
    let Ok(Some(held)) = &input.observed.configuration else { return Ok(()) };
    let is_ignored = |d: &DriftEntry| d.path == "role" && is_on(Mutant::EqualRulesOwned);
    let mut of_configuration =
        differences.iter().filter(|d| d.resource == AwsResource::ReplicationConfiguration);
    let equal = of_configuration.all(is_ignored);
    if equal
        || input.owns_configuration(held)
        || input.adopts()
        || is_on(Mutant::ForeignConfigurationReplaced)
    {
        return Ok(());
    }
    let rules: Vec<String> = held.rules.iter().take(3).map(|(id, rule)| format!("{id} ({rule})")).collect();
    let more = held.rules.len().saturating_sub(rules.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Refusal::new(
        Reason::ForeignConfiguration,
        ConditionType::ReplicationReady,
        format!(
            "bucket {} already has a replication configuration that this resource did not make: role {}, rules {}{more}; remove it, or set adoptionPolicy: Adopt to replace it{}",
            input.desired.source.name,
            held.role,
            rules.join("; "),
            unread_owner(input, held)
        ),
    ))
}

/// Why it is not known whether a configuration names a role of this resource.
fn unread_owner(input: &PlanInput<'_>, held: &Configuration) -> String {
    let read = input.observed.former_roles.get(role_of_arn(&held.role));
    let failure = read.and_then(|read| read.as_ref().err());
    let message = |failure: &Failure| {
        format!(". Its role may be this resource's own, but that is not known: {}", failure.message())
    };
    failure.map(message).unwrap_or_default()
}

/// The keys that are not in use yet could be read: S3 takes a configuration with any key, and a key that is disabled,
/// or waits for its deletion, encrypts nothing. One that may not be read is left to S3.
pub(crate) fn require_new_keys_read(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    if input.was_applied() {
        return Ok(());
    }
    let held = input.observed.configuration.as_ref().ok().and_then(Option::as_ref);
    let is_in_use = |arn: &str| {
        let mut rules = held.into_iter().flat_map(|held| held.rules.values());
        rules.any(|rule| rule.destination.kms_key.as_deref() == Some(arn))
    };
    let new = input.observed.unread_keys().filter(|(arn, _)| !is_in_use(arn));
    Refusal::all(new.map(|(_, failure)| Refusal::failed(failure, ConditionType::ReplicationReady)))
}

/// Buckets that the spec only lets the operator check have versioning.
pub(crate) fn require_versioning_enabled(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let required = input.unversioned().filter(|(d, ..)| d.versioning == VersioningPolicy::Required);
    match listed(required) {
        Some(buckets) => Err(Refusal::new(
            Reason::VersioningNotEnabled,
            ConditionType::VersioningReady,
            format!(
                "versioning of {buckets} and versioning: Required lets the operator only check it; enable it, or set versioning: Managed"
            ),
        )),
        None => Ok(()),
    }
}

/// Versioning that has to be enabled can be enabled without an MFA device.
pub(crate) fn require_versioning_changeable(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    match listed(input.unversioned().filter(|(.., versioning)| versioning.mfa_delete)) {
        Some(buckets) => Err(Refusal::new(
            Reason::MfaDeleteEnabled,
            ConditionType::VersioningReady,
            format!(
                "versioning of {buckets} and MFA delete is on, so that only the bucket owner's root user with an MFA device can change it; enable versioning there by hand"
            ),
        )),
        None => Ok(()),
    }
}

/// Each bucket with its versioning, such as `bucket a is Suspended, bucket b is Disabled`.
fn listed<'a>(
    buckets: impl Iterator<Item = (&'a DesiredBucket, &'a ObservedBucket, Versioning)>,
) -> Option<String> {
    let buckets: Vec<String> = buckets
        .map(|(d, _, versioning)| format!("bucket {} is {}", d.name, versioning.status.as_str()))
        .collect();
    (!buckets.is_empty()).then(|| buckets.join(", "))
}

/// The tags of the role differ by more than case, and none takes the place of the operator's own: IAM does not
/// distinguish tag keys by case, and admission cannot compare them so.
pub(crate) fn require_tags_distinct(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let role = input.replication.spec.role.as_ref();
    let keys: Vec<&String> = role.into_iter().flat_map(|role| role.tags.keys()).collect();
    let own = input.replication.id.tags();
    let reserved = |key: &&String| own.keys().any(|other| is_same_key(other, key));
    let (reserved, others): (Vec<&String>, Vec<&String>) = keys.into_iter().partition(reserved);
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for key in others {
        alike.entry(key.to_lowercase()).or_default().push(key);
    }
    let reserved = reserved.into_iter().map(|key| {
        format!(
            "role.tags: IAM takes the key {key} for the operator's own, because keys have no case; remove it"
        )
    });
    let alike = alike.into_values().filter_map(|keys| {
        let (last, first) = keys.split_last().filter(|(_, first)| !first.is_empty())?;
        Some(format!(
            "role.tags: IAM takes the keys {} and {last} for one, because keys have no case; leave only one of them",
            first.join(", ")
        ))
    });
    let refuse = |message| Refusal::new(Reason::InvalidRequest, ConditionType::RoleReady, message);
    Refusal::all(reserved.chain(alike).map(refuse))
}

/// The filters hold only characters that a request to S3 can hold, although object keys and tags may hold others.
pub(crate) fn require_filters_writable(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let unwritable = input.desired.rules.iter().filter_map(|(id, rule)| {
        let RuleFilter { prefix, tags } = &rule.filter;
        let in_tags = tags.iter().flat_map(|(key, value)| [key, value]);
        Some((id, std::iter::once(prefix).chain(in_tags).find_map(|text| unwritable_character(text))?))
    });
    Refusal::all(unwritable.map(|(id, character)| {
        Refusal::new(
            Reason::InvalidRequest,
            ConditionType::ReplicationReady,
            format!(
                "rules[{id}].filter holds the character U+{:04X}, which a request to S3 cannot hold; remove it, or filter by a shorter prefix",
                u32::from(character)
            ),
        )
    }))
}

/// The policies of destinations have room for the operator's statements, also for those that are needed only until the
/// configuration is replaced.
pub(crate) fn require_bucket_policies_fit(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
) -> Result<(), Refusal> {
    let about = ConditionType::RoleReady;
    let transition = TransitionPolicies::of(input, differences);
    let fits = |(bucket, exact): (&String, &Vec<Statement>)| {
        let held = input.observed.bucket_policies.get(bucket)?.as_ref().ok()?.as_ref();
        let differs =
            |d: &DriftEntry| d.resource == AwsResource::DestinationBucketPolicy && d.name == *bucket;
        let statements = transition.bucket_policies.get(bucket).unwrap_or(exact);
        let size = bucket_policy::merged(held, &input.desired.sid, statements)
            .map_or(0, |policy| policy.to_string().len());
        (differences.iter().any(differs) && size > MAX_BUCKET_POLICY).then(|| {
            let message = format!(
                "the policy of bucket {bucket} would have {size} bytes and S3 allows {MAX_BUCKET_POLICY}; shorten the statements of others in it"
            );
            Refusal::new(Reason::PolicyTooLarge, about, message)
        })
    };
    Refusal::all(input.desired.bucket_policies.iter().filter_map(fits))
}

/// The policies of destinations were read, or the step that reads them again takes nothing away. Those in an account
/// that cannot be reached are left to [`super::to_judge::require_accounts_reached`].
pub(crate) fn require_bucket_policies_read(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
) -> Result<(), Refusal> {
    let unread = input.desired.bucket_policies.keys().filter_map(|bucket| {
        let failure = input.observed.bucket_policies.get(bucket)?.as_ref().err()?;
        let is_named = input.is_unreached(bucket) || exact_while_unread(input, bucket, differences);
        (!is_named).then_some(failure)
    });
    Refusal::all(unread.map(|failure| Refusal::failed(failure, ConditionType::RoleReady)))
}

/// The role's policy has no more characters than IAM allows, also while it grants what the present configuration needs
/// beside what is desired.
pub(crate) fn require_role_policy_fits(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
) -> Result<(), Refusal> {
    let DesiredRole::Managed(role) = &input.desired.role else { return Ok(()) };
    let refuse = |message| Err(Refusal::new(Reason::PolicyTooLarge, ConditionType::RoleReady, message));
    let size = role.permissions.size();
    if size > MAX_INLINE_POLICY {
        return refuse(format!(
            "the policy of role {} would have {size} characters and IAM allows {MAX_INLINE_POLICY}; use fewer destination buckets or KMS keys, or make a role with wider patterns yourself and name it by role.arn",
            role.name
        ));
    }
    match TransitionPolicies::of(input, differences).role_policy.map(|policy| policy.size()) {
        Some(size) if size > MAX_INLINE_POLICY => refuse(format!(
            "while the configuration is replaced, the policy of role {} would have {size} characters, for the present destinations and the new ones together, and IAM allows {MAX_INLINE_POLICY}; change fewer destinations at a time, or set role.name to another name, so that each role has one of the two policies",
            role.name
        )),
        _ => Ok(()),
    }
}
