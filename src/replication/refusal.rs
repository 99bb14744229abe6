//! Why nothing is written although something differs.
//!
//! Refusals come before the first write: the checks run in order over what was observed, and only when none of
//! them objects are there steps at all.

use serde::Serialize;

use super::bucket_policy::{self, MAX_BUCKET_POLICY};
use super::configuration::Configuration;
use super::desired::{DesiredBucket, DesiredRole};
use super::failure::{Failure, FailureClass};
use super::identity::{belongs_to_another, owner_of};
use super::observed::{ObservedBucket, ObservedRole};
use super::partition::{account_of_arn, bucket_of_arn, region_of_arn};
use super::plan::{Situation, unversioned};
use super::policy::{MAX_INLINE_POLICY, trusts_s3};
use crate::api::{
    AdoptionPolicy, AwsResource, ConditionType, DriftEntry, ManagementPolicy, Reason, VersioningPolicy,
};

/// Why the operator does not go on: what a condition will say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
    /// The condition that tells this beside `Ready`.
    pub about: ConditionType,
}

impl Refusal {
    pub fn new(reason: Reason, about: ConditionType, message: String) -> Refusal {
        Refusal { reason, message, about }
    }

    fn failed(failure: &Failure, about: ConditionType) -> Refusal {
        Refusal::new(failure.class.reason(), about, failure.message())
    }
}

type Check = fn(&Situation<'_>, &[DriftEntry]) -> Option<Refusal>;

/// What must hold for anything to be said of the replication at all.
const READABLE: [Check; 9] = [
    source_exists,
    destinations_exist,
    versioning_was_read,
    owners_are_confirmed,
    reads_succeeded,
    ownership_is_across_accounts,
    existing_role_is_usable,
    existing_role_is_allowed,
    keys_are_usable,
];

/// What must hold for the operator to write.
const WRITABLE: [Check; 6] = [
    role_is_ours,
    configuration_is_ours,
    versioning_is_there,
    versioning_can_be_enabled,
    policy_fits,
    bucket_policies_fit,
];

pub fn refusal(situation: &Situation<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
    let writable: &[Check] = match situation.management {
        ManagementPolicy::Enforce => &WRITABLE,
        ManagementPolicy::Observe => &[],
    };
    READABLE.iter().chain(writable).find_map(|check| check(situation, differences))
}

fn source_exists(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    Part::Source.exists(&s.desired.source.bucket, &s.observed.source, &s.observed.caller.account)
}

/// Of a bucket in another account, which the spec names, the operator may not see anything: S3 itself then checks
/// existence, owner and versioning.
fn destinations_exist(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let own = &s.observed.caller.account;
    s.desired.destinations.iter().find_map(|d| {
        let observed = s.observed.destinations.get(&d.bucket)?;
        let owner = d.account.as_ref().unwrap_or(own);
        let unseen = matches!(&observed.region, Err(failure) if failure.class == FailureClass::Denied);
        if unseen && owner != own { None } else { Part::Destination.exists(&d.bucket, observed, owner) }
    })
}

/// The part a bucket plays.
#[derive(Clone, Copy)]
enum Part {
    Source,
    Destination,
}

impl Part {
    fn exists(self, bucket: &str, observed: &ObservedBucket, owner: &str) -> Option<Refusal> {
        let (part, missing, correct) = match self {
            Part::Source => ("source", Reason::SourceBucketNotFound, "correct source.bucket"),
            Part::Destination => (
                "destination",
                Reason::DestinationBucketNotFound,
                "correct destination.bucket, or set destination.account to its owner's id or destination.accountRef to its AwsAccount",
            ),
        };
        let refuse = |reason, message| Some(Refusal::new(reason, ConditionType::ReplicationReady, message));
        match &observed.region {
            Ok(Some(_)) => None,
            Ok(None) => refuse(
                missing,
                format!(
                    "{part} bucket {bucket} does not exist; create it or correct {part}.bucket. Nothing is written until it is there"
                ),
            ),
            Err(failure) if failure.class == FailureClass::WrongOwner => refuse(
                Reason::WrongBucketOwner,
                format!("{part} bucket {bucket} belongs to another account than {owner}; {correct}"),
            ),
            // S3 says the same of a bucket whose owner lets nobody else look.
            Err(failure) if failure.class == FailureClass::Denied => refuse(
                Reason::AccessDenied,
                format!(
                    "{}; if the bucket belongs to another account than {owner}, {correct}",
                    failure.message()
                ),
            ),
            Err(failure) => Some(Refusal::failed(failure, ConditionType::ReplicationReady)),
        }
    }
}

/// Where an administrator says what may be replicated where, a destination counts as the account's own only once S3
/// has confirmed it: a bucket that nobody may look at may be anyone's. One in another account is S3's to check, which
/// compares the account that the configuration names. A look that was denied is all that is left here: what else
/// kept S3 from answering was told before.
fn owners_are_confirmed(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let account = s.account?;
    let own = &s.observed.caller.account;
    let unconfirmed = |bucket: &&DesiredBucket| {
        let held = s.observed.destinations.get(&bucket.bucket);
        bucket.account.as_ref().is_none_or(|a| a == own) && held.is_some_and(|held| !held.owner_confirmed)
    };
    let bucket = &s.desired.destinations.iter().find(unconfirmed)?.bucket;
    Some(Refusal::new(
        Reason::AccessDenied,
        ConditionType::ReplicationReady,
        format!(
            "destination bucket {bucket}: S3 does not confirm that it belongs to account {own} of AwsAccount {}; allow s3:ListBucket and s3:GetBucketVersioning on {bucket} to the operator's identity, or name its owner by destination.account or destination.accountRef",
            account.name
        ),
    ))
}

/// A denied read of versioning is shown in `VersioningReady` and stops nothing: S3 itself refuses a
/// configuration between buckets that are not versioned.
fn versioning_was_read(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    std::iter::once(&s.observed.source)
        .chain(s.observed.destinations.values())
        .filter_map(|bucket| bucket.versioning.as_ref().err())
        .find(|failure| failure.class != FailureClass::Denied)
        .map(|failure| Refusal::failed(failure, ConditionType::VersioningReady))
}

fn reads_succeeded(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    if let Err(failure) = &s.observed.configuration {
        return Some(Refusal::failed(failure, ConditionType::ReplicationReady));
    }
    match (&s.desired.role, &s.observed.role) {
        // An existing role is only looked at: if that is denied, its condition is unknown and no more.
        (DesiredRole::Existing { .. }, Err(failure)) if failure.class == FailureClass::Denied => None,
        (_, Err(failure)) => Some(Refusal::failed(failure, ConditionType::RoleReady)),
        (DesiredRole::Managed(_), Ok(Some(ObservedRole { policy: Err(failure), .. }))) => {
            Some(Refusal::failed(failure, ConditionType::RoleReady))
        }
        _ => None,
    }
}

/// S3 accepts an owner override within one account and then silently changes how ACLs behave.
fn ownership_is_across_accounts(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let own = &s.observed.caller.account;
    let (id, _) =
        s.desired.rules.iter().map(|(id, rule)| (id, &rule.destination)).find(|(_, to)| {
            to.ownership.is_some() && to.account.as_ref().is_none_or(|account| account == own)
        })?;
    Some(Refusal::new(
        Reason::InvalidRequest,
        ConditionType::ReplicationReady,
        format!(
            "rules[{id}].destination.ownership: the destination's account {own} is the source's own; remove ownership, which is for buckets of other accounts"
        ),
    ))
}

fn existing_role_is_usable(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let DesiredRole::Existing { arn } = &s.desired.role else {
        return None;
    };
    match s.observed.role.as_ref().ok()? {
        None => Some(Refusal::new(
            Reason::RoleNotFound,
            ConditionType::RoleReady,
            format!(
                "role {arn} does not exist; create it, correct role.arn, or remove role.arn to have a managed role"
            ),
        )),
        Some(role) if !trusts_s3(&role.trust) => Some(Refusal::new(
            Reason::RoleNotTrusted,
            ConditionType::RoleReady,
            format!(
                "role {arn} does not let s3.amazonaws.com assume it; add a statement to its trust policy that allows sts:AssumeRole to the service s3.amazonaws.com"
            ),
        )),
        Some(_) => None,
    }
}

/// What is imposed on managed roles holds for an existing one too, and another resource's role is no existing role
/// to be used: its tags tell.
fn existing_role_is_allowed(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let (account, DesiredRole::Existing { arn }) = (s.account?, &s.desired.role) else {
        return None;
    };
    let refuse = |reason, message| Some(Refusal::new(reason, ConditionType::RoleReady, message));
    let held = match &s.observed.role {
        Ok(held) => held.as_ref()?,
        Err(failure) => {
            return refuse(
                Reason::AccessDenied,
                format!(
                    "{}; under AwsAccount {} an existing role is used only once its owner and its boundary are seen",
                    failure.message(),
                    account.name
                ),
            );
        }
    };
    if belongs_to_another(&held.tags, s.identity) {
        return refuse(
            Reason::ForeignRole,
            format!(
                "role {arn} {}; name another role, or leave role.arn out to have one managed",
                owner_of(&held.tags)
            ),
        );
    }
    let boundary = account.spec.roles.as_ref().and_then(|roles| roles.permissions_boundary.as_deref())?;
    if held.permissions_boundary.as_deref() == Some(boundary) {
        return None;
    }
    refuse(
        Reason::NotAllowed,
        format!(
            "role {arn} has the permissions boundary {}, and AwsAccount {} imposes {boundary}; set it on the role, or leave role.arn out to have one managed",
            held.permissions_boundary.as_deref().unwrap_or("(none)"),
            account.name
        ),
    )
}

/// S3 takes any key and fails object by object afterwards. What may not be read is not judged.
fn keys_are_usable(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    s.desired.rules.iter().find_map(|(id, rule)| {
        let arn = rule.destination.kms_key.as_ref()?;
        let field = format!("rules[{id}].destination.kmsKeyArn");
        let bucket = bucket_of_arn(&rule.destination.bucket);
        let owner = rule.destination.account.as_ref().unwrap_or(&s.observed.caller.account).as_str();
        let region = s.observed.destinations.get(bucket).and_then(|held| s.observed.region_of(held));
        let message = if let Some(region) = region.filter(|r| region_of_arn(arn) != Some(r.as_str())) {
            format!("{field}: key {arn} is not in {region}, where bucket {bucket} is; name a key of that Region")
        } else {
            match s.observed.keys.get(arn)?.as_ref().ok()? {
                // To those who may not look, KMS says the same of keys of other accounts.
                None if account_of_arn(arn) != Some(owner) => return None,
                None => format!("{field}: key {arn} does not exist; create it or correct the ARN"),
                Some(key) if !key.is_enabled() => format!(
                    "{field}: key {arn} is {} and encrypts nothing; enable it (cancel its deletion) or name another key",
                    key.state
                ),
                Some(key) if key.aws_managed && rule.destination.account.is_some() => format!(
                    "{field}: key {arn} is managed by AWS and cannot be used across accounts; name a customer managed key"
                ),
                Some(_) => return None,
            }
        };
        Some(Refusal::new(Reason::InvalidRequest, ConditionType::ReplicationReady, message))
    })
}

fn role_is_ours(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
    // One word must not take another team's role over.
    if let Some(account) = s.account.filter(|_| belongs_to_another(&held.tags, s.identity)) {
        return refuse(format!(
            "role {} exists and {}, and under AwsAccount {} nobody adopts another's role; choose another role.name",
            held.arn,
            owner_of(&held.tags),
            account.name
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

fn configuration_is_ours(s: &Situation<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
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
fn owns_configuration(s: &Situation<'_>, held: &Configuration) -> bool {
    let ours = |role: &ObservedRole| role.arn == held.role && s.identity.owns(&role.tags);
    let named = s.observed.role.as_ref().ok().and_then(Option::as_ref);
    s.applied_hash.is_some() || named.is_some_and(ours) || s.observed.former_roles_of(s.identity).any(ours)
}

fn versioning_is_there(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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

fn versioning_can_be_enabled(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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

fn bucket_policies_fit(s: &Situation<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
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

fn policy_fits(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
