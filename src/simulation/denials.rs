//! Actions that AWS denies to the operator, where one call of a port makes several reads.
//!
//! In: what a read would have found. Out: the same with a denial in place of each part that needs a denied action.

use std::collections::BTreeSet;

use crate::replication::health::canary::CanaryFacts;
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{Observed, ObservedBucket, ObservedRole};
use crate::simulation::world::access_denied;

pub const GET_BUCKET_POLICY: &str = "s3:GetBucketPolicy";
pub const GET_BUCKET_VERSIONING: &str = "s3:GetBucketVersioning";
pub const GET_REPLICATION: &str = "s3:GetReplicationConfiguration";
pub const GET_ROLE: &str = "iam:GetRole";
pub const GET_ROLE_POLICY: &str = "iam:GetRolePolicy";

/// The actions that are denied.
#[derive(Clone, Debug, Default)]
pub struct Denials {
    until_allowed: BTreeSet<&'static str>,
    once: Option<&'static str>,
}

impl Denials {
    /// Denies an action until it is allowed again.
    pub fn deny(&mut self, action: &'static str) {
        self.until_allowed.insert(action);
    }

    /// Denies an action to the next read.
    pub fn deny_once(&mut self, action: &'static str) {
        self.once = Some(action);
    }

    pub fn allow_all(&mut self) {
        *self = Denials::default();
    }

    /// Takes the actions that are denied to a read that is made now.
    pub fn take(&mut self) -> Denied {
        Denied(self.until_allowed.iter().copied().chain(self.once.take()).collect())
    }
}

/// The actions that are denied to one read.
pub struct Denied(BTreeSet<&'static str>);

impl Denied {
    fn replace<T>(&self, action: &'static str, subject: &str, read: &mut Read<T>) {
        if self.0.contains(action) {
            *read = Err(access_denied(action, subject));
        }
    }

    fn of_bucket(&self, name: &str, bucket: &mut ObservedBucket) {
        self.replace(GET_BUCKET_VERSIONING, name, &mut bucket.versioning);
        // A read that was denied has confirmed no owner.
        bucket.owner_confirmed &= bucket.versioning.is_ok();
    }

    /// The policy of a role is read with the role.
    pub fn of_role(&self, name: &str, role: &mut Read<Option<ObservedRole>>) {
        self.replace(GET_ROLE, name, role);
        if let Ok(Some(role)) = role {
            self.replace(GET_ROLE_POLICY, name, &mut role.policy);
        }
    }

    pub fn of_check(&self, source: &str, role: &str, observed: &mut Observed) {
        self.of_bucket(source, &mut observed.source);
        for (name, bucket) in &mut observed.destinations {
            self.of_bucket(name, bucket);
        }
        self.replace(GET_REPLICATION, source, &mut observed.configuration);
        self.of_role(role, &mut observed.role);
        for (name, role) in &mut observed.former_roles {
            self.replace(GET_ROLE, name, role);
        }
        for (name, policy) in &mut observed.bucket_policies {
            self.replace(GET_BUCKET_POLICY, name, policy);
        }
    }

    pub fn of_deletion(&self, source: &str, observed: &mut ObservedForDeletion) {
        self.replace(GET_REPLICATION, source, &mut observed.configuration);
        for (name, role) in &mut observed.roles {
            self.replace(GET_ROLE, name, role);
        }
        for (bucket, policy) in &mut observed.bucket_policies {
            self.replace(GET_BUCKET_POLICY, &bucket.name, policy);
        }
    }

    pub fn of_canary(&self, facts: &mut CanaryFacts) {
        for (name, bucket) in &mut facts.buckets {
            self.replace(GET_BUCKET_VERSIONING, name, &mut bucket.mfa_delete);
        }
    }
}
