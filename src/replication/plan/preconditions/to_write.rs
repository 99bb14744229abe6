//! What must hold for the operator to write.

use crate::api::{AwsResource, ConditionType, DriftEntry, Reason, VersioningPolicy};
use crate::iam::bucket_policy::{self, MAX_BUCKET_POLICY};
use crate::iam::document::MAX_INLINE_POLICY;
use crate::replication::configuration::Configuration;
use crate::replication::desired::DesiredRole;
use crate::replication::observed::ObservedRole;
use crate::replication::plan::input::PlanInput;
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::{is_named_by, owner_of};

/// The managed role is this resource's, or may be adopted.
pub(crate) fn require_role_ours(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let (DesiredRole::Managed(wanted), Ok(Some(held))) = (&input.desired.role, &input.observed.role) else {
        return Ok(());
    };
    let id = input.replication.id;
    let refuse = |message| Err(Refusal::new(Reason::ForeignRole, ConditionType::RoleReady, message));
    // Names are unique in an account whatever the path, and IAM cannot move a role.
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
            "role {} exists and {}, and AwsAccount {} allows adopting only roles tagged for this resource; choose another role.name, or have the owner of the role tag it with s3replication.dev/namespace={} and s3replication.dev/name={}",
            held.arn,
            owner_of(&held.tags),
            account.name,
            id.namespace,
            id.name
        ));
    }
    if input.adopts() {
        return Ok(());
    }
    refuse(format!(
        "role {} exists and {}; choose another role.name, use it as it is by role.arn, or set adoptionPolicy: Adopt to take it over",
        held.arn,
        owner_of(&held.tags)
    ))
}

/// The configuration on the source is this resource's, equals what the spec asks for, or may be adopted.
pub(crate) fn require_configuration_ours(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
) -> Result<(), Refusal> {
    let Ok(Some(held)) = &input.observed.configuration else { return Ok(()) };
    let equal = !differences.iter().any(|d| d.resource == AwsResource::ReplicationConfiguration);
    if equal || owns_configuration(input, held) || input.adopts() {
        return Ok(());
    }
    let rules: Vec<String> = held.rules.iter().take(3).map(|(id, rule)| format!("{id} ({rule})")).collect();
    let more = held.rules.len().saturating_sub(rules.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Refusal::new(
        Reason::ForeignConfiguration,
        ConditionType::ReplicationReady,
        format!(
            "bucket {} already has a replication configuration that this resource did not make: role {}, rules {}{more}; remove it, or set adoptionPolicy: Adopt to replace it",
            input.desired.source.name,
            held.role,
            rules.join("; ")
        ),
    ))
}

/// A configuration is ours when the status records that we applied one, or when it names a role of ours.
fn owns_configuration(input: &PlanInput<'_>, held: &Configuration) -> bool {
    let id = input.replication.id;
    let ours = |role: &ObservedRole| role.arn == held.role && id.owns(&role.tags);
    let named = input.observed.role.as_ref().ok().and_then(Option::as_ref);
    input.replication.status.applied_hash.is_some()
        || named.is_some_and(ours)
        || input.observed.former_roles_of(id).any(ours)
}

/// Buckets that the spec only lets the operator check have versioning.
pub(crate) fn require_versioning_enabled(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    match input.unversioned().find(|(d, ..)| d.versioning == VersioningPolicy::Required) {
        Some((d, _, versioning)) => Err(Refusal::new(
            Reason::VersioningNotEnabled,
            ConditionType::VersioningReady,
            format!(
                "versioning of bucket {} is {} and versioning: Required lets the operator only check it; enable it, or set versioning: Managed",
                d.name,
                versioning.status.as_str()
            ),
        )),
        None => Ok(()),
    }
}

/// Versioning that has to be enabled can be enabled without an MFA device.
pub(crate) fn require_versioning_changeable(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    match input.unversioned().find(|(.., versioning)| versioning.mfa_delete) {
        Some((d, _, versioning)) => Err(Refusal::new(
            Reason::MfaDeleteEnabled,
            ConditionType::VersioningReady,
            format!(
                "versioning of bucket {} is {} and MFA delete is on, so that only the bucket owner's root user with an MFA device can change it; enable versioning there by hand",
                d.name,
                versioning.status.as_str()
            ),
        )),
        None => Ok(()),
    }
}

/// The policies of destinations can be read, and have room for our statements.
pub(crate) fn require_bucket_policies_fit(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
) -> Result<(), Refusal> {
    let about = ConditionType::RoleReady;
    for (bucket, statements) in &input.desired.bucket_policies {
        let held = match input.observed.bucket_policies.get(bucket) {
            Some(Ok(held)) => held.as_ref(),
            Some(Err(failure)) => return Err(Refusal::failed(failure, about)),
            None => continue,
        };
        let differs =
            |d: &DriftEntry| d.resource == AwsResource::DestinationBucketPolicy && d.name == *bucket;
        let merged = bucket_policy::merged(held, &input.desired.sid, statements);
        let size = merged.map_or(0, |policy| policy.to_string().len());
        if differences.iter().any(differs) && size > MAX_BUCKET_POLICY {
            let message = format!(
                "the policy of bucket {bucket} would have {size} bytes and S3 allows {MAX_BUCKET_POLICY}; shorten the statements of others in it"
            );
            return Err(Refusal::new(Reason::PolicyTooLarge, about, message));
        }
    }
    Ok(())
}

/// The role's policy has no more characters than IAM allows.
pub(crate) fn require_role_policy_fits(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let DesiredRole::Managed(role) = &input.desired.role else { return Ok(()) };
    let size = role.permissions.size();
    if size <= MAX_INLINE_POLICY {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::PolicyTooLarge,
        ConditionType::RoleReady,
        format!(
            "the policy of role {} would have {size} characters and IAM allows {MAX_INLINE_POLICY}; use fewer destination buckets or KMS keys, or make a role with wider patterns yourself and name it by role.arn",
            role.name
        ),
    ))
}
