//! What must hold for the operator to write.

use crate::api::{AdoptionPolicy, AwsResource, ConditionType, DriftEntry, Reason, VersioningPolicy};
use crate::iam::bucket_policy::{self, MAX_BUCKET_POLICY};
use crate::iam::document::MAX_INLINE_POLICY;
use crate::replication::configuration::Configuration;
use crate::replication::desired::DesiredRole;
use crate::replication::observed::ObservedRole;
use crate::replication::plan::{PlanInput, unversioned};
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::{is_named_by, owner_of};

pub(crate) fn role_is_ours(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let DesiredRole::Managed(wanted) = &s.desired.role else {
        return None;
    };
    let held = s.observed.role.as_ref().ok()?.as_ref()?;
    let refuse = |message| Some(Refusal::new(Reason::ForeignRole, ConditionType::RoleReady, message));
    // Names are unique in an account whatever the path, and IAM cannot move a role.
    if held.path != wanted.path {
        return refuse(format!(
            "role {} exists with the path {} and not {}; choose another role.name, or use it as it is by role.arn",
            held.arn, held.path, wanted.path
        ));
    }
    if s.identity.owns(&held.tags) {
        return None;
    }
    // One word must not take another team's role over, and one without tags may be anyone's. Who made this role may
    // hand it over by its tags.
    if let Some(account) = s.account.filter(|_| !is_named_by(&held.tags, s.identity)) {
        return refuse(format!(
            "role {} exists and {}, and under AwsAccount {} nobody adopts another's role; choose another role.name, or have whoever made the role tag it with s3replication.dev/namespace={} and s3replication.dev/name={}",
            held.arn,
            owner_of(&held.tags),
            account.name,
            s.identity.namespace,
            s.identity.name
        ));
    }
    if s.adoption == AdoptionPolicy::Adopt {
        return None;
    }
    refuse(format!(
        "role {} exists and {}; choose another role.name, use it as it is by role.arn, or set adoptionPolicy: Adopt to take it over",
        held.arn,
        owner_of(&held.tags)
    ))
}

pub(crate) fn configuration_is_ours(s: &PlanInput<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
    let held = s.observed.configuration.as_ref().ok()?.as_ref()?;
    let equal = !differences.iter().any(|d| d.resource == AwsResource::ReplicationConfiguration);
    if equal || owns_configuration(s, held) || s.adoption == AdoptionPolicy::Adopt {
        return None;
    }
    let rules: Vec<String> = held.rules.iter().take(3).map(|(id, rule)| format!("{id} ({rule})")).collect();
    let more = held.rules.len().saturating_sub(rules.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(Refusal::new(
        Reason::ForeignConfiguration,
        ConditionType::ReplicationReady,
        format!(
            "bucket {} already has a replication configuration that this resource did not make: role {}, rules {}{more}; remove it, or set adoptionPolicy: Adopt to replace it",
            s.desired.source.bucket,
            held.role,
            rules.join("; ")
        ),
    ))
}

/// A configuration is ours when status says that we applied one, or when it names a role of ours.
fn owns_configuration(s: &PlanInput<'_>, held: &Configuration) -> bool {
    let ours = |role: &ObservedRole| role.arn == held.role && s.identity.owns(&role.tags);
    let named = s.observed.role.as_ref().ok().and_then(Option::as_ref);
    s.applied_hash.is_some() || named.is_some_and(ours) || s.observed.former_roles_of(s.identity).any(ours)
}

pub(crate) fn versioning_is_there(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    unversioned(s).find(|(d, ..)| d.versioning == VersioningPolicy::Required).map(|(d, _, versioning)| {
        Refusal::new(
            Reason::VersioningNotEnabled,
            ConditionType::VersioningReady,
            format!(
                "versioning of bucket {} is {} and versioning: Required lets the operator only check it; enable it, or set versioning: Managed",
                d.bucket,
                versioning.status.as_str()
            ),
        )
    })
}

pub(crate) fn versioning_can_be_enabled(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    unversioned(s).find(|(.., versioning)| versioning.mfa_delete).map(|(d, _, versioning)| {
        Refusal::new(
            Reason::MfaDeleteEnabled,
            ConditionType::VersioningReady,
            format!(
                "versioning of bucket {} is {} and MFA delete is on, so that only the bucket owner's root user with an MFA device can change it; enable versioning there by hand",
                d.bucket,
                versioning.status.as_str()
            ),
        )
    })
}

pub(crate) fn bucket_policies_fit(s: &PlanInput<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
    s.desired.bucket_policies.iter().find_map(|(bucket, statements)| {
        let about = ConditionType::RoleReady;
        let held = match s.observed.bucket_policies.get(bucket)? {
            Ok(held) => held.as_ref(),
            Err(failure) => return Some(Refusal::failed(failure, about)),
        };
        let differs =
            |d: &DriftEntry| d.resource == AwsResource::DestinationBucketPolicy && d.name == *bucket;
        let merged = bucket_policy::merged(held, &s.desired.sid, statements)?;
        let size = merged.to_string().len();
        (differences.iter().any(differs) && size > MAX_BUCKET_POLICY).then(|| {
            let message = format!(
                "the policy of bucket {bucket} would have {size} bytes and S3 allows {MAX_BUCKET_POLICY}; shorten what others put into it"
            );
            Refusal::new(Reason::PolicyTooLarge, about, message)
        })
    })
}

pub(crate) fn policy_fits(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let DesiredRole::Managed(role) = &s.desired.role else {
        return None;
    };
    let size = role.permissions.size();
    (size > MAX_INLINE_POLICY).then(|| {
        Refusal::new(
            Reason::PolicyTooLarge,
            ConditionType::RoleReady,
            format!(
                "the policy of role {} would have {size} characters and IAM allows {MAX_INLINE_POLICY}; use fewer destination buckets or KMS keys, or make a role with wider patterns yourself and name it by role.arn",
                role.name
            ),
        )
    })
}
