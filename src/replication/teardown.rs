//! Deletion: what is ours in AWS, and the steps that remove it.

use std::collections::BTreeMap;

use super::configuration::Configuration;
use super::desired::Desired;
use super::diff::configuration_differences;
use super::identity::Identity;
use super::observed::{Caller, Observed, ObservedBucket, ObservedRole, Read, Versioning, VersioningStatus};
use super::refusal::Refusal;
use super::step::Step;
use crate::api::{ConditionType, Reason};

/// What deletion reads. It does not need a spec: what status remembers is enough.
#[derive(Clone, Debug, PartialEq)]
pub struct Remains {
    pub caller: Caller,
    pub bucket: String,
    /// `None`: the bucket is gone, or was never known.
    pub region: Option<String>,
    pub configuration: Read<Option<Configuration>>,
    /// Every role that may be ours, as far as it exists.
    pub roles: Read<Vec<ObservedRole>>,
}

/// What is left to do before the finalizer may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Teardown {
    pub stages: Vec<Vec<Step>>,
    /// What keeps the finalizer even after the stages.
    pub blocked: Option<Refusal>,
}

/// Plans the removal of what is ours: the configuration first, so that nothing replicates with half a role.
///
/// `applied`: status says that this resource applied a configuration. `desired`: what the spec asks for, where it
/// can still be worked out; a configuration that equals it is ours too (the operator may have been stopped
/// between writing it and saying so).
pub fn teardown(
    remains: &Remains,
    identity: &Identity,
    applied: bool,
    desired: Option<&Desired>,
) -> Teardown {
    let ours: Vec<&ObservedRole> =
        remains.roles.iter().flatten().filter(|role| identity.owns(&role.tags)).collect();
    let mut stages = Vec::new();
    if let (Ok(Some(held)), Some(region)) = (&remains.configuration, &remains.region) {
        let by_role = ours.iter().any(|role| role.arn == held.role);
        if applied
            || by_role
            || desired.is_some_and(|d| configuration_differences(d, &remains.caller, Some(held)).is_empty())
        {
            stages.push(vec![Step::DeleteReplication {
                bucket: remains.bucket.clone(),
                region: region.clone(),
                owner: remains.caller.account.clone(),
            }]);
        }
    }
    let (free, held): (Vec<&ObservedRole>, Vec<&ObservedRole>) =
        ours.into_iter().partition(|role| role.other_policies.is_empty());
    let with_policy = |role: &&&ObservedRole| !matches!(role.policy, Ok(None));
    stages.push(
        free.iter().filter(with_policy).map(|r| Step::DeleteRolePolicy { role: r.name.clone() }).collect(),
    );
    stages.push(free.iter().map(|r| Step::DeleteRole { role: r.name.clone() }).collect());
    stages.retain(|stage| !stage.is_empty());

    let unread = remains.configuration.as_ref().err().or(remains.roles.as_ref().err());
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

impl Remains {
    /// As much of a full observation as deletion makes, for working out what the spec asked for.
    pub fn as_observed(&self) -> Observed {
        Observed {
            caller: self.caller.clone(),
            source: ObservedBucket {
                region: Ok(self.region.clone()),
                versioning: Ok(Versioning { status: VersioningStatus::Enabled, mfa_delete: false }),
            },
            destinations: BTreeMap::new(),
            configuration: self.configuration.clone(),
            role: Ok(None),
            former_roles: BTreeMap::new(),
        }
    }
}
