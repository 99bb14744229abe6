//! Differences + ownership + mode → ordered steps, or a refusal.
//!
//! Refusals come before the first write: the checks run in order over what was observed, and only when none of
//! them objects are there steps at all.

use serde::Serialize;

use super::configuration::Configuration;
use super::desired::{Desired, DesiredBucket, DesiredRole, ManagedRole};
use super::diff::{ABSENT, differences};
use super::failure::{Failure, FailureClass};
use super::identity::{Identity, owner_of};
use super::observed::{Observed, ObservedBucket, ObservedRole, VersioningStatus};
use super::policy::{MAX_INLINE_POLICY, trusts_s3};
use super::step::{RoleDocuments, Step};
use crate::api::{
    AdoptionPolicy, AwsResource, ConditionType, DriftEntry, ManagementPolicy, Reason, VersioningPolicy,
};

/// All that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub identity: &'a Identity,
    pub management: ManagementPolicy,
    pub adoption: AdoptionPolicy,
    /// `status.appliedHash`: what was last fully applied, if ever anything was.
    pub applied_hash: Option<&'a str>,
}

/// What is to be done, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub differences: Vec<DriftEntry>,
    /// Whether the differences are someone else's doing, and not a change of the spec still to be applied.
    pub drift: bool,
    /// The steps of a stage may run at once; a stage begins when the one before it is done.
    pub stages: Vec<Vec<Step>>,
    /// Why nothing is done although something differs.
    pub refusal: Option<Refusal>,
}

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

impl Plan {
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flatten()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for d in &self.differences {
            writeln!(
                f,
                "  {} {} {}: want {:?}, got {:?}",
                d.resource.as_str(),
                d.name,
                d.path,
                d.want,
                d.got
            )?;
        }
        for (i, step) in self.steps().enumerate() {
            writeln!(f, "  {}. {step}", i + 1)?;
        }
        if let Some(Refusal { reason, message, .. }) = &self.refusal {
            writeln!(f, "  refused ({reason}): {message}")?;
        }
        Ok(())
    }
}

/// Decides what to do.
pub fn plan(situation: &Situation<'_>) -> Plan {
    let Situation { desired, observed, management, applied_hash, .. } = *situation;
    let differences = differences(desired, observed);
    let drift = management == ManagementPolicy::Observe || applied_hash == Some(desired.hash().as_str());
    let refusal = refusal(situation, &differences);
    let stages = match (&refusal, management) {
        (None, ManagementPolicy::Enforce) => stages(situation, &differences),
        _ => Vec::new(),
    };
    Plan { differences, drift, stages, refusal }
}

type Check = fn(&Situation<'_>, &[DriftEntry]) -> Option<Refusal>;

/// What must hold for anything to be said of the replication at all.
const READABLE: [Check; 6] = [
    source_exists,
    destinations_exist,
    versioning_was_read,
    reads_succeeded,
    ownership_is_across_accounts,
    existing_role_is_usable,
];

/// What must hold for the operator to write.
const WRITABLE: [Check; 5] =
    [role_is_ours, configuration_is_ours, versioning_is_there, versioning_can_be_enabled, policy_fits];

fn refusal(situation: &Situation<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
    let writable: &[Check] = match situation.management {
        ManagementPolicy::Enforce => &WRITABLE,
        ManagementPolicy::Observe => &[],
    };
    READABLE.iter().chain(writable).find_map(|check| check(situation, differences))
}

fn source_exists(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    let bucket = &s.desired.source.bucket;
    exists(
        bucket,
        &s.observed.source,
        Reason::SourceBucketNotFound,
        ConditionType::ReplicationReady,
        || format!("source bucket {bucket} does not exist; create it or correct source.bucket"),
        &s.observed.caller.account,
        "correct source.bucket",
    )
}

/// Of a bucket in another account, which the spec names, the operator may not see anything: S3 itself then checks
/// existence, owner and versioning.
fn destinations_exist(s: &Situation<'_>, _: &[DriftEntry]) -> Option<Refusal> {
    s.desired.destinations.iter().find_map(|d| {
        let bucket = &d.bucket;
        let observed = s.observed.destinations.get(bucket)?;
        let unseen = matches!(&observed.region, Err(failure) if failure.class == FailureClass::Denied);
        if unseen && d.account.as_ref().is_some_and(|account| *account != s.observed.caller.account) {
            return None;
        }
        exists(
            bucket,
            observed,
            Reason::DestinationBucketNotFound,
            ConditionType::ReplicationReady,
            || format!("destination bucket {bucket} does not exist; create it or correct destination.bucket. Nothing is written until it is there"),
            d.account.as_ref().unwrap_or(&s.observed.caller.account),
            "correct destination.bucket, or set destination.account to its owner's id",
        )
    })
}

fn exists(
    bucket: &str,
    observed: &ObservedBucket,
    missing: Reason,
    about: ConditionType,
    message: impl FnOnce() -> String,
    owner: &str,
    remedy: &str,
) -> Option<Refusal> {
    match &observed.region {
        Ok(Some(_)) => None,
        Ok(None) => Some(Refusal::new(missing, about, message())),
        Err(failure) if failure.class == FailureClass::WrongOwner => Some(Refusal::new(
            Reason::WrongBucketOwner,
            about,
            format!("bucket {bucket} belongs to another account than {owner}; {remedy}"),
        )),
        // S3 says the same of a bucket whose owner lets nobody else look.
        Err(failure) if failure.class == FailureClass::Denied => Some(Refusal::new(
            failure.class.reason(),
            about,
            format!("{}; if the bucket belongs to another account than {owner}, {remedy}", failure.message()),
        )),
        Err(failure) => Some(Refusal::failed(failure, about)),
    }
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
        s.desired.rules.iter().find(|(_, r)| {
            r.destination.ownership.is_some() && r.destination.account.as_ref() == Some(own)
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
    if s.identity.owns(&held.tags) || s.adoption == AdoptionPolicy::Adopt {
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

/// Each desired bucket with what was observed of it, destinations first.
fn buckets<'a>(s: &'a Situation<'_>) -> impl Iterator<Item = (&'a DesiredBucket, &'a ObservedBucket)> {
    let destinations =
        s.desired.destinations.iter().filter_map(|d| Some((d, s.observed.destinations.get(&d.bucket)?)));
    destinations.chain(std::iter::once((&s.desired.source, &s.observed.source)))
}

fn unversioned<'a>(
    s: &'a Situation<'_>,
) -> impl Iterator<Item = (&'a DesiredBucket, &'a ObservedBucket, super::observed::Versioning)> {
    buckets(s)
        .filter_map(|(d, o)| Some((d, o, *o.versioning.as_ref().ok()?)))
        .filter(|(_, _, versioning)| versioning.status != VersioningStatus::Enabled)
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

/// Versioning and the role at once, then the role's policy, then the configuration, and last what is no longer
/// needed.
fn stages(s: &Situation<'_>, differences: &[DriftEntry]) -> Vec<Vec<Step>> {
    let owner = |d: &DesiredBucket| d.account.clone().unwrap_or_else(|| s.observed.caller.account.clone());
    let region = |o: &ObservedBucket| s.observed.region_of(o).unwrap_or_default();

    let mut first: Vec<Step> = unversioned(s)
        .map(|(d, o, _)| Step::EnableVersioning {
            bucket: d.bucket.clone(),
            region: region(o),
            owner: owner(d),
        })
        .collect();
    let mut policy = Vec::new();
    if let DesiredRole::Managed(role) = &s.desired.role {
        let held = s.observed.role.as_ref().ok().and_then(Option::as_ref);
        first.extend(role_steps(s, role, held, differences));
        if held.is_none() || differs(differences, AwsResource::RolePolicy) {
            policy
                .push(Step::PutRolePolicy { role: role.name.clone(), document: role.permissions.to_json() });
        }
    }
    let mut configuration = Vec::new();
    if differs(differences, AwsResource::ReplicationConfiguration) {
        configuration.push(Step::PutReplication {
            bucket: s.desired.source.bucket.clone(),
            region: region(&s.observed.source),
            owner: owner(&s.desired.source),
            configuration: Configuration {
                role: s.desired.role.arn(&s.observed.caller),
                rules: s.desired.rules.clone(),
            },
        });
    }
    let former = s.observed.former_roles_of(s.identity).filter(|role| role.other_policies.is_empty());
    let (policies, roles): (Vec<Step>, Vec<Step>) = former
        .map(|r| (Step::DeleteRolePolicy { role: r.name.clone() }, Step::DeleteRole { role: r.name.clone() }))
        .unzip();
    [first, policy, configuration, policies, roles].into_iter().filter(|stage| !stage.is_empty()).collect()
}

fn differs(differences: &[DriftEntry], resource: AwsResource) -> bool {
    differences.iter().any(|d| d.resource == resource)
}

fn role_steps(
    s: &Situation<'_>,
    role: &ManagedRole,
    held: Option<&ObservedRole>,
    differences: &[DriftEntry],
) -> Vec<Step> {
    let name = role.name.clone();
    if held.is_none() {
        let Identity { namespace, name: resource, .. } = s.identity;
        return vec![Step::CreateRole {
            role: name,
            documents: RoleDocuments {
                path: role.path.clone(),
                trust: role.trust.to_json(),
                permissions_boundary: role.permissions_boundary.clone(),
                tags: role.tags.clone(),
                description: format!("S3 replication for BucketReplication {namespace}/{resource}"),
            },
        }];
    }
    let of_role = || differences.iter().filter(|d| d.resource == AwsResource::Role);
    let mut steps = Vec::new();
    if of_role().any(|d| d.path == "trustPolicy") {
        steps.push(Step::UpdateTrustPolicy { role: name.clone(), document: role.trust.to_json() });
    }
    if of_role().any(|d| d.path == "permissionsBoundary") {
        steps.push(match &role.permissions_boundary {
            Some(boundary) => Step::PutPermissionsBoundary { role: name.clone(), boundary: boundary.clone() },
            None => Step::DeletePermissionsBoundary { role: name.clone() },
        });
    }
    let tag_differences =
        || of_role().filter_map(|d| Some((d.path.strip_prefix("tags.")?, d.want != ABSENT)));
    let set: Vec<&str> = tag_differences().filter(|(_, wanted)| *wanted).map(|(key, _)| key).collect();
    if !set.is_empty() {
        let tags = role.tags.iter().filter(|(key, _)| set.contains(&key.as_str()));
        let tags = tags.map(|(key, value)| (key.clone(), value.clone())).collect();
        steps.push(Step::TagRole { role: name.clone(), tags });
    }
    let unset: Vec<String> =
        tag_differences().filter(|(_, wanted)| !wanted).map(|(key, _)| key.to_owned()).collect();
    if !unset.is_empty() {
        steps.push(Step::UntagRole { role: name, keys: unset });
    }
    steps
}
