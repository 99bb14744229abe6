//! The preconditions of a judgement: without them no report can be made, even where the operator only observes.
//!
//! In: the planner's input. Out: a refusal where a bucket is missing or belongs to another account; where an existing
//! role or a key cannot be used; where a rule changes the owner of replicas within one account; or where a part that
//! decides could not be read.

use std::collections::BTreeMap;

use crate::api::{ConditionType, DriftEntry, Reason};
use crate::iam::Partition;
use crate::iam::arn::{account_of_arn, bucket_of_arn, region_of_arn};
use crate::iam::compare::trusts_service;
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::Rule;
use crate::replication::desired::{DesiredRole, S3};
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::observed::{ObservedBucket, ObservedKey, ObservedRole};
use crate::replication::plan::input::PlanInput;
use crate::replication::plan::lacks::unconfirmed;
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::{belongs_to_another, owner_of};

/// The source bucket exists, and belongs to the account of the source.
pub(crate) fn require_source(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let account_id = &input.observed.caller.account;
    SOURCE.require(&[ExpectedBucket {
        name: &input.desired.source.name,
        held: &input.observed.source,
        account_id,
    }])
}

/// The destination buckets exist, and belong to the accounts that the spec names. In another account the operator
/// may not be permitted to see anything of a bucket: S3 itself then checks existence, owner and versioning. An account
/// that cannot be reached is left to [`require_accounts_reached`].
pub(crate) fn require_destinations(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let own = &input.observed.caller.account;
    let reached = input.desired.destinations.iter().filter(|d| !input.is_unreached(&d.name));
    let judged = reached.filter_map(|d| {
        let held = input.observed.destinations.get(&d.name)?;
        let account_id = d.account_id.as_ref().unwrap_or(own);
        let denied = matches!(&held.region, Err(failure) if failure.class == FailureClass::Denied);
        (!denied || account_id == own).then_some(ExpectedBucket { name: &d.name, held, account_id })
    });
    DESTINATION.require(&judged.collect::<Vec<_>>())
}

/// A bucket, with the account that must own it.
struct ExpectedBucket<'a> {
    name: &'a str,
    held: &'a ObservedBucket,
    account_id: &'a str,
}

/// The role of buckets in a replication.
struct Part {
    name: &'static str,
    missing: Reason,
    correct: &'static str,
}

const SOURCE: Part =
    Part { name: "source", missing: Reason::SourceBucketNotFound, correct: "correct source.bucket" };
const DESTINATION: Part = Part {
    name: "destination",
    missing: Reason::DestinationBucketNotFound,
    correct: "correct destination.bucket, or set destination.account to its owner's id or destination.accountRef to its AwsAccount",
};

impl Part {
    fn require(&self, buckets: &[ExpectedBucket<'_>]) -> Result<(), Refusal> {
        let Part { name: part, missing, correct } = self;
        let refuse = |reason, message| Refusal::new(reason, ConditionType::ReplicationReady, message);
        let absent = buckets.iter().filter(|bucket| matches!(bucket.held.region, Ok(None)));
        let absent: Vec<&str> = absent.map(|bucket| bucket.name).collect();
        let (exist, it, is_there) = match absent.as_slice() {
            [_] => ("does not exist", "it", "it is"),
            _ => ("do not exist", "them", "they are"),
        };
        let absent = (!absent.is_empty()).then(|| {
            let names = absent.join(", ");
            let message = format!(
                "{part} bucket {names} {exist}; create {it} or correct {part}.bucket. Nothing is written until {is_there} there"
            );
            refuse(*missing, message)
        });
        let failed = buckets.iter().filter_map(|bucket| {
            let ExpectedBucket { name, held, account_id } = bucket;
            let failure = held.region.as_ref().err()?;
            Some(match failure.class {
                FailureClass::WrongOwner => refuse(
                    Reason::WrongBucketOwner,
                    format!("{part} bucket {name} belongs to another account than {account_id}; {correct}"),
                ),
                // S3 gives the same answer for a bucket that its owner lets no other account read.
                FailureClass::Denied => refuse(
                    Reason::AccessDenied,
                    format!(
                        "{}; if the bucket belongs to another account than {account_id}, {correct}",
                        failure.message()
                    ),
                ),
                _ => Refusal::failed(failure, ConditionType::ReplicationReady),
            })
        });
        Refusal::all(absent.into_iter().chain(failed))
    }
}

/// Under an `AwsAccount`, a destination counts as the account's own only once S3 has confirmed it: a bucket that
/// cannot be read may belong to any account. For one in another account S3 compares the account that the configuration names.
/// Only a denied read is left here; every other failure was refused by an earlier check.
pub(crate) fn require_owners_confirmed(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let Some(account) = input.account() else { return Ok(()) };
    let own = &input.observed.caller.account;
    let names: Vec<&str> = unconfirmed(input).map(|bucket| bucket.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = names.join(", ");
    Err(Refusal::new(
        Reason::AccessDenied,
        ConditionType::ReplicationReady,
        format!(
            "destination bucket {names}: S3 does not confirm that it belongs to account {own} of AwsAccount {}; allow s3:ListBucket and s3:GetBucketVersioning on {names} to the operator's identity, or name its owner by destination.account or destination.accountRef",
            account.name
        ),
    ))
}

/// Versioning was read, or its read was denied: a denied read shows in `VersioningReady` and stops nothing, because S3
/// itself refuses a configuration between buckets that are not versioned.
pub(crate) fn require_versioning_read(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let reached = input.buckets().filter(|(bucket, _)| !input.is_unreached(&bucket.name));
    let located = reached.filter(|(_, held)| matches!(held.region, Ok(Some(_))));
    let failures = located.filter_map(|(_, held)| held.versioning.as_ref().err());
    let failures = failures.filter(|failure| failure.class != FailureClass::Denied);
    Refusal::all(failures.map(|failure| Refusal::failed(failure, ConditionType::VersioningReady)))
}

/// The configuration was read.
pub(crate) fn require_configuration_read(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    match (&input.observed.source.region, &input.observed.configuration) {
        (Ok(Some(_)), Err(failure)) => Err(Refusal::failed(failure, ConditionType::ReplicationReady)),
        _ => Ok(()),
    }
}

/// The role was read.
pub(crate) fn require_role_read(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    match (&input.desired.role, &input.observed.role) {
        // An existing role is only read: if that is denied, its condition is unknown and no more.
        (DesiredRole::Existing { .. }, Err(failure)) if failure.class == FailureClass::Denied => Ok(()),
        (_, Err(failure)) => Err(Refusal::failed(failure, ConditionType::RoleReady)),
        _ => Ok(()),
    }
}

/// The policy of a managed role was read.
pub(crate) fn require_role_policy_read(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    match (&input.desired.role, &input.observed.role) {
        (DesiredRole::Managed(_), Ok(Some(ObservedRole { policy: Err(failure), .. }))) => {
            Err(Refusal::failed(failure, ConditionType::RoleReady))
        }
        _ => Ok(()),
    }
}

/// The accounts of destinations were reached, so that their contents may differ.
pub(crate) fn require_accounts_reached(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    require_reached(&input.observed.unreached)
}

/// Refuses with all failures to reach an account, by its `AwsAccount`, as one.
///
/// # Errors
/// When there is any.
pub fn require_reached(unreached: &BTreeMap<String, Failure>) -> Result<(), Refusal> {
    Refusal::all(unreached.values().map(|failure| Refusal::failed(failure, ConditionType::RoleReady)))
}

/// Only a rule into another account changes the owner of replicas.
pub(crate) fn require_ownership_across_accounts(
    input: &PlanInput<'_>,
    _: &[DriftEntry],
) -> Result<(), Refusal> {
    let own = &input.observed.caller.account;
    let rules = input.desired.rules.iter().map(|(id, rule)| (id, &rule.destination));
    let within = rules
        .filter(|(_, to)| to.ownership.is_some() && to.account.as_ref().is_none_or(|account| account == own));
    Refusal::all(within.map(|(id, _)| {
        Refusal::new(
            Reason::InvalidRequest,
            ConditionType::ReplicationReady,
            format!(
                "rules[{id}].destination.ownership: the destination's account {own} is the source's own; remove ownership, which is for buckets of other accounts"
            ),
        )
    }))
}

/// An existing role exists and trusts S3.
pub(crate) fn require_existing_role_usable(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let (DesiredRole::Existing { arn }, Ok(held)) = (&input.desired.role, &input.observed.role) else {
        return Ok(());
    };
    // One of another partition is refused by [`super::to_ask`].
    if Partition::of_arn(arn) != Some(input.observed.caller.partition) {
        return Ok(());
    }
    match held {
        None => Err(Refusal::new(
            Reason::RoleNotFound,
            ConditionType::RoleReady,
            format!(
                "role {arn} does not exist; create it, correct role.arn, or remove role.arn to have a managed role"
            ),
        )),
        Some(role) if role.arn != *arn => Err(Refusal::new(
            Reason::RoleNotFound,
            ConditionType::RoleReady,
            format!(
                "role {arn} does not exist: the role of that name is {}; correct the path in role.arn, or remove role.arn to have a managed role",
                role.arn
            ),
        )),
        Some(role) if !trusts_service(&role.trust, S3) => Err(Refusal::new(
            Reason::RoleNotTrusted,
            ConditionType::RoleReady,
            format!(
                "role {arn} does not let s3.amazonaws.com assume it; add a statement to its trust policy that allows sts:AssumeRole to the service s3.amazonaws.com"
            ),
        )),
        Some(_) => Ok(()),
    }
}

/// Under an `AwsAccount`, an existing role was read: its tags show whose it is.
pub(crate) fn require_existing_role_read(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let (Some(account), DesiredRole::Existing { .. }, Err(failure)) =
        (input.account(), &input.desired.role, &input.observed.role)
    else {
        return Ok(());
    };
    let message = format!(
        "{}; under AwsAccount {} an existing role is used only once its owner and its boundary were read",
        failure.message(),
        account.name
    );
    Err(Refusal::new(Reason::AccessDenied, ConditionType::RoleReady, message))
}

/// Under an `AwsAccount`, an existing role has the imposed boundary and is no other resource's: its tags show that.
pub(crate) fn require_existing_role_allowed(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let (Some(account), DesiredRole::Existing { arn }) = (input.account(), &input.desired.role) else {
        return Ok(());
    };
    let refuse = |reason, message| Err(Refusal::new(reason, ConditionType::RoleReady, message));
    let Ok(Some(held)) = &input.observed.role else { return Ok(()) };
    if belongs_to_another(&held.tags, input.replication.id) {
        return refuse(
            Reason::ForeignRole,
            format!(
                "role {arn} {}; name another role, or leave role.arn out to have one managed",
                owner_of(&held.tags, input.replication.id)
            ),
        );
    }
    let imposed = account.spec.roles.as_ref().and_then(|roles| roles.permissions_boundary.as_deref());
    match imposed {
        Some(boundary)
            if held.permissions_boundary.as_deref() != Some(boundary)
                && !is_on(Mutant::GivenRoleUnbounded) =>
        {
            refuse(
                Reason::NotAllowed,
                format!(
                    "role {arn} has the permissions boundary {}, and AwsAccount {} imposes {boundary}; set it on the role, or leave role.arn out to have one managed",
                    held.permissions_boundary.as_deref().unwrap_or("(none)"),
                    account.name
                ),
            )
        }
        _ => Ok(()),
    }
}

/// The keys that encrypt source objects are in the Region of the source. The keys that encrypt replicas exist, are enabled
/// and are in the Region of their bucket. A key that could not be read is not judged: the condition of the configuration names
/// it, and a new one is refused before a write.
pub(crate) fn require_keys_usable(input: &PlanInput<'_>, _: &[DriftEntry]) -> Result<(), Refusal> {
    let unusable = input.desired.rules.iter().filter_map(|(id, rule)| unusable_key(input, id, rule));
    let unusable = source_keys_elsewhere(input).into_iter().chain(unusable);
    let refuse = |message| Refusal::new(Reason::InvalidRequest, ConditionType::ReplicationReady, message);
    Refusal::all(unusable.map(refuse))
}

/// Why some keys of the source cannot have encrypted its objects: S3 encrypts only with keys of the bucket's own Region
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html>), and the role would lack the right to
/// use the key that did. Keys of another partition are refused by [`super::to_ask`].
fn source_keys_elsewhere(input: &PlanInput<'_>) -> Option<String> {
    let source = &input.replication.spec.source;
    let region = input.observed.region_of(&input.observed.source)?;
    let is_elsewhere = |arn: &&str| {
        Partition::of_arn(arn) == Some(input.observed.caller.partition)
            && region_of_arn(arn) != Some(region.as_str())
    };
    let elsewhere: Vec<&str> = source.kms_key_arns.iter().map(String::as_str).filter(is_elsewhere).collect();
    let are_not = match elsewhere.as_slice() {
        [] => return None,
        [one] => format!("key {one} is"),
        more => format!("keys {} are", more.join(", ")),
    };
    let bucket = &source.bucket;
    Some(format!(
        "source.kmsKeyArns: {are_not} not in {region}, where bucket {bucket} is, and S3 encrypts only with keys of the bucket's Region; name keys of {region}, or remove kmsKeyArns to allow every key of {region}"
    ))
}

/// Why the key of a rule cannot encrypt its replicas.
fn unusable_key(input: &PlanInput<'_>, id: &str, rule: &Rule) -> Option<String> {
    let to = &rule.destination;
    let arn = to.kms_key.as_ref()?;
    let field = format!("rules[{id}].destination.kmsKeyArn");
    let bucket = bucket_of_arn(&to.bucket);
    let own = &input.observed.caller.account;
    let account_id = to.account.as_ref().unwrap_or(own).as_str();
    let region = input.observed.destinations.get(bucket).and_then(|held| input.observed.region_of(held));
    // A key of another partition is refused by [`super::to_ask`].
    if Partition::of_arn(arn) != Some(input.observed.caller.partition) {
        return None;
    }
    if let Some(region) = region.filter(|region| region_of_arn(arn) != Some(region.as_str())) {
        return Some(format!(
            "{field}: key {arn} is not in {region}, where bucket {bucket} is; name a key of that Region"
        ));
    }
    match input.observed.keys.get(arn)?.as_ref().ok()? {
        // KMS gives the same answer for a key of another account that may not be read.
        None if account_of_arn(arn) != Some(account_id) => None,
        None => Some(format!("{field}: key {arn} does not exist; create it or correct the ARN")),
        Some(key) if !key.is_enabled() && !is_on(Mutant::DisabledKeyIgnored) => Some(format!(
            "{field}: key {arn} is {} and encrypts nothing; enable it (cancel its deletion) or name another key",
            key.state
        )),
        Some(ObservedKey { unusable_spec: Some(spec), .. }) => Some(format!(
            "{field}: key {arn} is of the kind {spec}, and S3 encrypts only with symmetric keys (SYMMETRIC_DEFAULT); name another key"
        )),
        Some(key) if key.aws_managed && account_id != own => Some(format!(
            "{field}: key {arn} is managed by AWS and cannot be used across accounts; name a customer managed key"
        )),
        Some(_) => None,
    }
}
