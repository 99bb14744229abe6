//! Deletion: what is ours in AWS, and the steps that remove it.

use serde_json::Value;

use crate::api::{ConditionType, Reason};
use crate::iam::bucket_policy;
use crate::replication::bucket::BucketAddress;
use crate::replication::configuration::Configuration;
use crate::replication::desired::Desired;
use crate::replication::diff::configuration_differences;
use crate::replication::observed::{Caller, ObservedRole, Read};
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::ResourceId;
use crate::replication::step::Step;

/// What deletion reads. It does not need a spec: what status remembers is enough.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedForDeletion {
    pub caller: Caller,
    pub bucket: String,
    /// `None`: the bucket is gone, or was never known.
    pub region: Option<String>,
    pub configuration: Read<Option<Configuration>>,
    /// Every role that may be ours, as far as it exists.
    pub roles: Read<Vec<ObservedRole>>,
    /// Buckets of other accounts whose policies may hold statements of ours, and these policies. A bucket that is
    /// gone has none.
    pub bucket_policies: Vec<(BucketAddress, Read<Option<Value>>)>,
}

/// What makes something in AWS a resource's own.
#[derive(Clone, Copy, Debug)]
pub struct Ownership<'a> {
    pub id: &'a ResourceId,
    /// What the Sids of its statements in bucket policies begin with.
    pub sid: &'a str,
    /// Status says that this resource applied a configuration, and nobody else owns the source by now.
    pub applied: bool,
    /// What the spec asks for, where it can still be worked out: a configuration that equals it is ours too (the
    /// operator may have been stopped between writing it and saying so).
    pub desired: Option<&'a Desired>,
}

/// What is left to do before the finalizer may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Teardown {
    pub stages: Vec<Vec<Step>>,
    /// What keeps the finalizer even after the stages.
    pub blocked: Option<Refusal>,
}

/// Plans the removal of what is ours: the configuration first, so that nothing replicates with half a role.
pub fn teardown(observed: &ObservedForDeletion, ownership: &Ownership<'_>) -> Teardown {
    let Ownership { id, sid, applied, desired } = *ownership;
    let ours: Vec<&ObservedRole> =
        observed.roles.iter().flatten().filter(|role| id.owns(&role.tags)).collect();
    let mut stages = Vec::new();
    if let (Ok(Some(held)), Some(region)) = (&observed.configuration, &observed.region) {
        let by_role = ours.iter().any(|role| role.arn == held.role);
        if applied
            || by_role
            || desired.is_some_and(|d| configuration_differences(d, &observed.caller, Some(held)).is_empty())
        {
            let bucket = BucketAddress {
                name: observed.bucket.clone(),
                region: region.clone(),
                account_id: observed.caller.account.clone(),
                account_ref: None,
            };
            stages.push(vec![Step::DeleteReplication { bucket }]);
        }
    }
    let (free, held): (Vec<&ObservedRole>, Vec<&ObservedRole>) =
        ours.into_iter().partition(|role| role.other_policies.is_empty());
    let with_policy = |role: &&&ObservedRole| !matches!(role.policy, Ok(None));
    let held_policies = observed
        .bucket_policies
        .iter()
        .filter(|(_, policy)| policy.as_ref().is_ok_and(|policy| bucket_policy::holds(policy.as_ref(), sid)));
    let withdraw = held_policies.map(|(bucket, _)| Step::PutBucketPolicy {
        bucket: bucket.clone(),
        sid: sid.to_owned(),
        statements: Vec::new(),
    });
    let policies = free.iter().filter(with_policy).map(|r| Step::DeleteRolePolicy { role: r.name.clone() });
    stages.push(withdraw.chain(policies).collect());
    stages.push(free.iter().map(|r| Step::DeleteRole { role: r.name.clone() }).collect());
    stages.retain(|stage| !stage.is_empty());

    let mut unread_policies = observed.bucket_policies.iter().filter_map(|(_, policy)| policy.as_ref().err());
    let unread = observed.configuration.as_ref().err().or(observed.roles.as_ref().err());
    let unread = unread.or_else(|| unread_policies.next());
    let blocked = match (unread, held.first()) {
        (Some(failure), _) => Some(Refusal::new(
            failure.class.reason(),
            ConditionType::Ready,
            format!("cannot delete: {}", failure.message()),
        )),
        (None, Some(role)) => Some(Refusal::new(
            Reason::DeletionBlocked,
            ConditionType::RoleReady,
            format!(
                "role {} cannot be deleted because someone put policies on it: {}; remove them from the role, or set deletionPolicy: Retain to leave the role behind",
                role.name,
                role.other_policies.join(", ")
            ),
        )),
        (None, None) => None,
    };
    Teardown { stages, blocked }
}
