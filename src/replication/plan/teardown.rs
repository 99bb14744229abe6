//! Decides what a deletion removes from AWS, and what it leaves.
//!
//! In: what exists in AWS, and how to recognize the resource's own. Out: the steps that remove configuration,
//! statements, policies and roles, and the reason why some of it cannot be removed.
//! `controllers/bucket_replication/deletion.rs` handles `deletionPolicy: Retain` before, and
//! `controllers/replication_backfill/deletion.rs` decides what a deleted backfill leaves.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{AdoptionPolicy, BucketReplicationStatus, ConditionType, ConfigurationOrigin, Reason};
use crate::iam::bucket_policy;
use crate::mutants::{Mutant, is_on};
use crate::replication::bucket::{BucketAddress, refused_principals_message};
use crate::replication::configuration::Configuration;
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::observed::{Caller, ObservedRole, Read};
use crate::replication::refusal::Refusal;
use crate::replication::resource::{announced, applied_role};
use crate::replication::resource_id::{ResourceId, is_adopted, owner_keys};
use crate::replication::settling_role::awaits_end_of_policy;
use crate::replication::step::Step;

/// The state in AWS that a deletion reads. It needs no spec, because the status is enough.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedForDeletion {
    pub caller: Caller,
    pub bucket: String,
    /// `None`: the bucket is gone, or was never known.
    pub region: Option<String>,
    pub configuration: Read<Option<Configuration>>,
    /// Every role that may be the resource's own, by name. `None`: there is none.
    pub roles: BTreeMap<String, Read<Option<ObservedRole>>>,
    /// Buckets of other accounts whose policies may hold statements of the resource, and these policies. A bucket that
    /// is gone has none.
    pub bucket_policies: Vec<(BucketAddress, Read<Option<Value>>)>,
}

impl ObservedForDeletion {
    /// The roles that are there, as far as they could be read.
    pub fn roles_there(&self) -> impl Iterator<Item = &ObservedRole> {
        self.roles.values().filter_map(|read| read.as_ref().ok()?.as_ref())
    }
}

/// Decides whether a thing in AWS is a resource's own.
#[derive(Clone, Copy, Debug)]
pub struct OwnershipFacts<'a> {
    pub id: &'a ResourceId,
    /// The beginning of the Sids of its statements in bucket policies.
    pub sid: &'a str,
    pub status: &'a BucketReplicationStatus,
    pub adoption: AdoptionPolicy,
    /// Another resource owns the source, or may own it, or the resource may no longer do what it did: the status alone
    /// is no proof then.
    pub disputed: bool,
    /// A bucket policy in an account that cannot be reached may name the roles.
    pub named_elsewhere: bool,
}

impl OwnershipFacts<'_> {
    /// Whether the configuration on the source is to be removed. One that was there before the resource stays, unless
    /// the resource adopted it and its adoption policy still says so. Any other one goes if it names a role of this
    /// resource. It also goes if it names the role that was applied or is the one that the status announced, unless
    /// that is disputed. Any other one was put in its place by someone else.
    fn removes(&self, bucket: &str, held: &Configuration, roles: &[&ObservedRole]) -> bool {
        let OwnershipFacts { status, .. } = self;
        let own_role = roles.iter().any(|role| role.arn == held.role);
        let origin = announced(status, bucket, held).map(|announced| announced.origin);
        let applied =
            origin.is_some() || (status.applied_hash.is_some() && applied_role(status) == Some(&held.role));
        match origin.or(status.configuration) {
            Some(ConfigurationOrigin::Found) if !is_on(Mutant::FoundDeleted) => false,
            Some(ConfigurationOrigin::Adopted) if self.adoption != AdoptionPolicy::Adopt => false,
            _ => own_role || (applied && !self.disputed),
        }
    }
}

/// The rest of a deletion, before the finalizer may be removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Teardown {
    pub stages: Vec<Vec<Step>>,
    /// Why the finalizer stays even after the stages.
    pub blocked: Option<Refusal>,
}

/// Plans the removal of what is the resource's own: the configuration first, so that nothing replicates with half a
/// role. While the configuration cannot be read, nothing is removed.
pub fn teardown(observed: &ObservedForDeletion, ownership: &OwnershipFacts<'_>) -> Teardown {
    let OwnershipFacts { id, sid, .. } = *ownership;
    if observed.configuration.is_err() {
        // It may still be there, and then S3 replicates with the role and the statements.
        return Teardown { stages: Vec::new(), blocked: blocked(observed, &[]) };
    }
    let mut own: Vec<&ObservedRole> = observed
        .roles_there()
        .filter(|role| id.owns(&role.tags) || is_on(Mutant::DeletionByStatus))
        .collect();
    let configuration = configuration_step(observed, ownership, &own);
    // A configuration that stays keeps what it replicates with.
    let stays = observed.configuration.iter().flatten().find(|_| configuration.is_none());
    own.retain(|role| stays.is_none_or(|held| held.role != role.arn));
    // `adoptionPolicy` is no longer `Adopt`: adopted roles stay, and lose only what the operator gave them.
    let may_delete_adopted = ownership.adoption == AdoptionPolicy::Adopt || is_on(Mutant::AdoptedRoleDeleted);
    let (kept, own): (Vec<&ObservedRole>, Vec<&ObservedRole>) =
        own.into_iter().partition(|role| is_adopted(&role.tags) && !may_delete_adopted);
    let used = |bucket: &BucketAddress| {
        let arn = observed.caller.partition.bucket_arn(&bucket.name);
        stays.is_some_and(|held| {
            bucket_policy_is_used(observed, bucket, sid, &held.role)
                && held.rules.values().any(|rule| rule.destination.bucket == arn)
        })
    };
    let (free, held): (Vec<&ObservedRole>, Vec<&ObservedRole>) =
        own.into_iter().partition(|role| role.other_policies.is_empty());
    let withdraw = observed
        .bucket_policies
        .iter()
        .filter(|(_, policy)| policy.as_ref().is_ok_and(|policy| bucket_policy::holds(policy.as_ref(), sid)))
        .filter(|(bucket, _)| !used(bucket))
        .map(|(bucket, _)| Step::PutBucketPolicy {
            bucket: bucket.clone(),
            sid: sid.to_owned(),
            statements: Vec::new(),
            expands: false,
        });
    let with_policy = free.iter().chain(&kept).filter(|role| !matches!(role.policy, Ok(None)));
    let policies = with_policy.map(|role| Step::DeleteRolePolicy { role: role.name.clone() });
    let roles = free.iter().map(|role| Step::DeleteRole { role: role.name.clone() });
    let released =
        kept.iter().map(|role| Step::UntagRole { role: role.name.clone(), keys: owner_keys(&role.tags) });
    let roles = roles.chain(released);
    // A bucket policy that still names a role that is gone could not be changed any more, not even by its owner.
    let may_delete =
        !ownership.named_elsewhere && observed.bucket_policies.iter().all(|(_, policy)| policy.is_ok());
    let roles = roles.filter(|_| may_delete);
    let mut stages: Vec<Vec<Step>> =
        vec![configuration.into_iter().collect(), withdraw.chain(policies).collect(), roles.collect()];
    if observed.configuration.is_err() {
        // It may replicate with all of that.
        stages.clear();
    }
    if is_on(Mutant::RoleGoesFirst) {
        stages.rotate_left(1);
    }
    stages.retain(|stage| !stage.is_empty());
    Teardown { stages, blocked: blocked(observed, &held) }
}

/// Whether the resource's statements in a bucket's policy admit this role.
fn bucket_policy_is_used(
    observed: &ObservedForDeletion,
    bucket: &BucketAddress,
    sid: &str,
    role: &str,
) -> bool {
    let mut policies = observed.bucket_policies.iter().filter(|(held, _)| held == bucket);
    policies.any(|(_, policy)| {
        let policy = policy.as_ref().ok().and_then(Option::as_ref);
        bucket_policy::admits(policy, sid, role, "s3:ReplicateObject")
    })
}

fn configuration_step(
    observed: &ObservedForDeletion,
    ownership: &OwnershipFacts<'_>,
    roles: &[&ObservedRole],
) -> Option<Step> {
    let (Ok(Some(held)), Some(region)) = (&observed.configuration, &observed.region) else { return None };
    let bucket = BucketAddress {
        name: observed.bucket.clone(),
        region: region.clone(),
        account_id: observed.caller.account.clone(),
        account_ref: None,
    };
    ownership.removes(&observed.bucket, held, roles).then_some(Step::DeleteReplication { bucket })
}

/// A part that could not be read may have to be removed. IAM deletes no role that still has policies of others.
fn blocked(observed: &ObservedForDeletion, held: &[&ObservedRole]) -> Option<Refusal> {
    let policies = observed.bucket_policies.iter().filter_map(|(_, policy)| policy.as_ref().err());
    let unread = observed.roles.values().filter_map(|read| read.as_ref().err());
    let unread: Vec<&Failure> =
        observed.configuration.as_ref().err().into_iter().chain(unread).chain(policies).collect();
    let unread = unread.first().map(|first| {
        let messages: Vec<String> = unread.iter().map(|failure| failure.message()).collect();
        let message = format!("cannot delete: {}", messages.join("; "));
        Refusal::new(first.class.reason(), ConditionType::Ready, message)
    });
    let roles: Vec<String> =
        held.iter().map(|role| format!("{}: {}", role.name, role.other_policies.join(", "))).collect();
    let held = (!roles.is_empty()).then(|| {
        Refusal::new(
            Reason::DeletionBlocked,
            ConditionType::RoleReady,
            format!(
                "roles cannot be deleted because someone put policies on them ({}); remove these policies from the roles, or set deletionPolicy: Retain to leave the roles behind",
                roles.join("; ")
            ),
        )
    });
    Refusal::all(unread.into_iter().chain(held)).err()
}

/// Why a step of a deletion failed. Where S3 refuses a bucket policy because of its principals, the message names them.
pub fn failed(step: &Step, failure: &Failure, observed: &ObservedForDeletion) -> Refusal {
    if let Some(message) = awaits_end_of_policy(step, failure) {
        return Refusal::new(Reason::Progressing, ConditionType::Ready, message);
    }
    let reason = match failure.class {
        FailureClass::DeleteConflict => Reason::DeletionBlocked,
        class => class.reason(),
    };
    let principals = match (step, failure.class) {
        (Step::PutBucketPolicy { bucket, sid, .. }, FailureClass::Invalid) => {
            let mut policies = observed.bucket_policies.iter().filter(|(held, _)| held == bucket);
            let policy = policies.find_map(|(_, policy)| policy.as_ref().ok()?.as_ref());
            refused_principals_message(&bucket.name, policy, sid, failure)
        }
        _ => None,
    };
    let principals = principals.map(|message| format!(" ({message})")).unwrap_or_default();
    let message = format!("cannot delete: {step}: {}{principals}", failure.message());
    Refusal::new(reason, ConditionType::Ready, message)
}
