//! What must hold for anything to be said of the replication at all.

use crate::api::{ConditionType, DriftEntry, Reason};
use crate::iam::arn::{account_of_arn, bucket_of_arn, region_of_arn};
use crate::iam::compare::trusts_s3;
use crate::replication::desired::{DesiredBucket, DesiredRole};
use crate::replication::failure::FailureClass;
use crate::replication::observed::{ObservedBucket, ObservedRole};
use crate::replication::plan::PlanInput;
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::{belongs_to_another, owner_of};

pub(crate) fn source_exists(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    Part::Source.exists(&s.desired.source.bucket, &s.observed.source, &s.observed.caller.account)
}

/// Of a bucket in another account, which the spec names, the operator may not see anything: S3 itself then checks
/// existence, owner and versioning.
pub(crate) fn destinations_exist(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
pub(crate) fn owners_are_confirmed(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
pub(crate) fn versioning_was_read(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    std::iter::once(&s.observed.source)
        .chain(s.observed.destinations.values())
        .filter_map(|bucket| bucket.versioning.as_ref().err())
        .find(|failure| failure.class != FailureClass::Denied)
        .map(|failure| Refusal::failed(failure, ConditionType::VersioningReady))
}

pub(crate) fn reads_succeeded(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
pub(crate) fn ownership_is_across_accounts(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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

pub(crate) fn existing_role_is_usable(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
pub(crate) fn existing_role_is_allowed(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
pub(crate) fn keys_are_usable(s: &PlanInput<'_>, _: &[DriftEntry]) -> Option<Refusal> {
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
