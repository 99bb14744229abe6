//! What status remembers because nothing else does: which things in AWS are this resource's, for when they are to go.

use std::collections::BTreeSet;

use crate::api::{BucketPolicyStatus, RoleStatus};
use crate::iam::arn::role_of_arn;
use crate::iam::bucket_policy;
use crate::replication::desired::DesiredRole;
use crate::replication::plan::PlanInput;
use crate::replication::status::builder::StatusBuilder;
use crate::replication::step::Step;

impl StatusBuilder<'_> {
    /// The buckets in whose policies statements of ours are, or may be: status is the only trace of what is left to
    /// remove. A destination that the operator no longer acts in keeps what it was given while replicas go there.
    pub fn bucket_policies(&self) -> Vec<BucketPolicyStatus> {
        let PlanInput { desired, observed, .. } = self.input;
        let current = desired.destinations.iter().filter_map(|d| {
            Some(BucketPolicyStatus {
                bucket: d.name.clone(),
                region: observed.region_of(observed.destinations.get(&d.name)?)?,
                account: d.account_id.clone()?,
                account_ref: d.account_ref.clone()?,
            })
        });
        let current: Vec<BucketPolicyStatus> = current.collect();
        let elsewhere = |held: &&BucketPolicyStatus| !current.iter().any(|c| c.bucket == held.bucket);
        let remembered: Vec<BucketPolicyStatus> =
            self.previous.bucket_policies.iter().filter(elsewhere).cloned().collect();
        current.into_iter().chain(remembered).filter(|held| self.may_hold_ours(&held.bucket)).collect()
    }

    fn may_hold_ours(&self, bucket: &str) -> bool {
        let PlanInput { desired, observed, .. } = self.input;
        let about =
            |step: &&Step| matches!(step, Step::PutBucketPolicy { bucket: to, .. } if to.name == bucket);
        // What failed may have been done all the same.
        if self.outcome.failed.iter().map(|(step, _)| step).any(|step| about(&step)) {
            return true;
        }
        match (self.outcome.done.iter().find(about), observed.bucket_policies.get(bucket)) {
            (Some(Step::PutBucketPolicy { statements, .. }), _) => !statements.is_empty(),
            (_, Some(Ok(policy))) => bucket_policy::holds(policy.as_ref(), &desired.sid),
            _ => self.previous.bucket_policies.iter().any(|held| held.bucket == bucket),
        }
    }

    /// The former roles that are still there, or may be: status is the only trace of what is left to delete.
    pub fn former_roles(&self) -> Vec<String> {
        let observed = self.input.observed;
        let identity = self.input.replication.id;
        let deleted = |name: &str| {
            let mut done = self.outcome.done.iter();
            done.any(|step| matches!(step, Step::DeleteRole { role } if role == name))
        };
        let left = |arn: &str| match observed.former_roles.get(role_of_arn(arn)) {
            None | Some(Ok(None)) => false,
            Some(Ok(Some(role))) => identity.owns(&role.tags) && !deleted(&role.name),
            Some(Err(_)) => true,
        };
        let remembered = self.previous.role.iter().filter(|role| role.managed).map(|role| &role.arn);
        let remembered = remembered.chain(&self.previous.former_roles).cloned();
        let seen = observed.former_roles_of(identity).map(|role| role.arn.clone());
        let all: BTreeSet<String> = remembered.chain(seen).filter(|arn| left(arn)).collect();
        all.into_iter().collect()
    }

    /// The role as far as it exists.
    pub fn role_status(&self) -> Option<RoleStatus> {
        let observed = self.input.observed;
        let managed = matches!(self.input.desired.role, DesiredRole::Managed(_));
        let created = self.outcome.done.iter().any(|s| matches!(s, Step::CreateRole { .. }));
        match &observed.role {
            Ok(Some(role)) => {
                // One that was adopted has our tags now; what is only observed may be anyone's.
                let tagged = self.outcome.done.iter().any(|s| matches!(s, Step::TagRole { .. }));
                let ours = managed && (tagged || self.input.replication.id.owns(&role.tags));
                Some(RoleStatus { arn: role.arn.clone(), managed: ours })
            }
            Ok(None) if created => {
                Some(RoleStatus { arn: self.input.desired.role.arn(&observed.caller), managed })
            }
            Ok(None) => None,
            Err(_) => self.previous.role.clone(),
        }
    }

    /// After a change of the spec that was applied only in part, what is in AWS is neither the old nor the new:
    /// a mark that equals no hash keeps the rest from being called drift.
    pub fn applied_hash(&self) -> Option<String> {
        const INCOMPLETE: &str = "incomplete";
        let complete = self.remaining.is_empty()
            && self.plan.refusals.is_empty()
            && self.outcome.failed.is_none()
            && !self.outcome.interrupted;
        if complete {
            return Some(self.input.desired.hash());
        }
        let put = self.outcome.done.iter().any(|s| matches!(s, Step::PutReplication { .. }));
        let began = !self.plan.drift && !self.outcome.done.is_empty();
        match &self.previous.applied_hash {
            Some(_) if began => Some(INCOMPLETE.to_owned()),
            None if put => Some(INCOMPLETE.to_owned()),
            unchanged => unchanged.clone(),
        }
    }
}
