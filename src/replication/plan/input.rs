//! All that the planner's decisions depend on.
//!
//! In: the resource, what is desired and what was observed. Out: the one value that the checks, the planner and the
//! status take.

use crate::api::{AdoptionPolicy, AnnouncedConfiguration};
use crate::iam::bucket_policy;
use crate::replication::authorize::accounts::Account;
use crate::replication::bucket::BucketAddress;
use crate::replication::configuration::Configuration;
use crate::replication::desired::{Desired, DesiredBucket};
use crate::replication::observed::{Observed, ObservedBucket, ObservedRole, Versioning};
use crate::replication::read_set::ReadSet;
use crate::replication::resource::{Replication, announced, applied_role};

/// The input of the planner.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    pub replication: Replication<'a>,
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    /// Buckets that are no destinations any more, and in whose policies the operator has statements.
    pub former_destinations: &'a [BucketAddress],
    /// Worked out once, because a hash of the desired state costs as much as much of a plan.
    was_applied: bool,
}

impl<'a> PlanInput<'a> {
    pub fn new(
        replication: &Replication<'a>,
        read_set: &'a ReadSet,
        observed: &'a Observed,
        desired: &'a Desired,
    ) -> PlanInput<'a> {
        let former_destinations = &read_set.former_destinations;
        let applied = replication.status.applied_hash.as_ref();
        let was_applied = applied.is_some_and(|applied| *applied == desired.hash());
        PlanInput { replication: *replication, desired, observed, former_destinations, was_applied }
    }

    /// The `AwsAccount` of the source. `None`: there is none, and nothing is restricted.
    pub fn account(&self) -> Option<&'a Account> {
        self.replication.accounts.source.as_ref()
    }

    /// Whether the desired state was fully applied, so that a difference is someone else's change.
    pub fn was_applied(&self) -> bool {
        self.was_applied
    }

    /// Whether the resource may take over what someone else made.
    pub fn adopts(&self) -> bool {
        self.replication.spec.adoption_policy == AdoptionPolicy::Adopt
    }

    /// Whether a configuration is this resource's own. One of three proofs is enough: it names a role of the resource;
    /// the status records a configuration that was applied, and this one has its role or all of the desired rules; the
    /// status announced it before the write. A status may be older than what is in AWS.
    pub fn owns_configuration(&self, held: &Configuration) -> bool {
        let Replication { status, id, .. } = self.replication;
        let owned = |role: &ObservedRole| role.arn == held.role && id.owns(&role.tags);
        let named = self.observed.role.as_ref().ok().and_then(Option::as_ref);
        let own_role = named.is_some_and(owned) || self.observed.former_roles_of(id).any(owned);
        let as_applied = applied_role(status) == Some(&held.role) || held.rules == self.desired.rules;
        own_role || (status.applied_hash.is_some() && as_applied) || self.announced(held).is_some()
    }

    /// Whether a destination is in an account that cannot be reached.
    pub fn is_unreached(&self, bucket: &str) -> bool {
        let named = self.desired.destinations.iter().find(|d| d.name == bucket);
        let account_ref = named.and_then(|d| d.account_ref.as_ref());
        account_ref.is_some_and(|name| self.observed.unreached.contains_key(name))
    }

    /// The announcement in the status, if the source holds this configuration.
    pub fn announced(&self, held: &Configuration) -> Option<&'a AnnouncedConfiguration> {
        announced(self.replication.status, &self.desired.source.name, held)
    }

    /// The former destinations whose policies still hold statements of this replication.
    pub fn former_policies(&self) -> impl Iterator<Item = BucketAddress> {
        let holds = |bucket: &&BucketAddress| match self.observed.bucket_policies.get(&bucket.name) {
            Some(Ok(policy)) => bucket_policy::holds(policy.as_ref(), &self.desired.sid),
            _ => false,
        };
        self.former_destinations.iter().filter(holds).cloned()
    }

    /// Where to write to a desired bucket.
    pub fn address(&self, desired: &DesiredBucket, held: &ObservedBucket) -> BucketAddress {
        let own = &self.observed.caller.account;
        BucketAddress {
            name: desired.name.clone(),
            region: self.observed.region_of(held).unwrap_or_default(),
            account_id: desired.account_id.as_ref().unwrap_or(own).clone(),
            account_ref: desired.account_ref.clone(),
        }
    }

    /// Each desired bucket with what was observed of it, destinations first.
    pub fn buckets(&self) -> impl Iterator<Item = (&'a DesiredBucket, &'a ObservedBucket)> + use<'a> {
        let PlanInput { desired, observed, .. } = *self;
        let destinations =
            desired.destinations.iter().filter_map(|d| Some((d, observed.destinations.get(&d.name)?)));
        destinations.chain(std::iter::once((&desired.source, &observed.source)))
    }

    /// The buckets without versioning, as far as it could be read.
    pub fn unversioned(
        &self,
    ) -> impl Iterator<Item = (&'a DesiredBucket, &'a ObservedBucket, Versioning)> + use<'a> {
        self.buckets()
            .filter_map(|(d, o)| Some((d, o, *o.versioning.as_ref().ok()?)))
            .filter(|(_, _, versioning)| !versioning.status.is_enabled())
    }
}
