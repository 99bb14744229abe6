//! One resource, as every stage of a check takes it.
//!
//! In: the spec, the status, the id and the accounts, each read once at the start. Out: the value that is lent to
//! [`crate::replication::authorize::authorize`], [`crate::replication::ReadSet::of`] and
//! [`crate::replication::assess::assess`].

use crate::api::{AnnouncedConfiguration, BucketReplicationSpec, BucketReplicationStatus};
use crate::iam::arn::role_of_arn;
use crate::replication::authorize::accounts::Accounts;
use crate::replication::configuration::Configuration;
use crate::replication::resource_id::ResourceId;

/// A `BucketReplication` and the accounts that it refers to.
#[derive(Clone, Copy, Debug)]
pub struct Replication<'a> {
    pub spec: &'a BucketReplicationSpec,
    /// The status as it was last written.
    pub status: &'a BucketReplicationStatus,
    pub id: &'a ResourceId,
    pub accounts: &'a Accounts,
}

impl<'a> Replication<'a> {
    /// The name of the role that the spec asks for; it can be derived without a call to AWS.
    pub fn role_name(&self) -> String {
        role_name(self.spec, self.id)
    }

    /// The beginning of the Sids of this replication's statements in bucket policies.
    pub fn sid(&self) -> String {
        self.id.policy_sid(&self.spec.source.bucket)
    }

    /// The ARNs of the managed roles that the status remembers: the present one, then those from before a rename.
    pub fn remembered_roles(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        remembered_roles(self.status)
    }
}

/// The name of the role that a spec asks for.
pub fn role_name(spec: &BucketReplicationSpec, id: &ResourceId) -> String {
    let role = spec.role.as_ref();
    match role.and_then(|role| role.arn.as_deref()) {
        Some(arn) => role_of_arn(arn).to_owned(),
        None => role.and_then(|role| role.name.clone()).unwrap_or_else(|| id.default_role_name()),
    }
}

/// The ARNs of the managed roles that a status remembers: the present one, then those from before a rename.
pub fn remembered_roles(status: &BucketReplicationStatus) -> impl Iterator<Item = &str> {
    let current = status.role.iter().filter(|role| role.managed).map(|role| role.arn.as_str());
    current.chain(status.former_roles.iter().map(String::as_str))
}

/// ARN of the role in the configuration that was last applied. A status from before it was recorded names it as its
/// role.
pub fn applied_role(status: &BucketReplicationStatus) -> Option<&String> {
    status.applied_role.as_ref().or(status.role.as_ref().map(|role| &role.arn))
}

/// The announcement that a status made before a write, if the bucket holds this configuration now. An announcement
/// alone proves nothing.
pub fn announced<'a>(
    status: &'a BucketReplicationStatus,
    bucket: &str,
    held: &Configuration,
) -> Option<&'a AnnouncedConfiguration> {
    status.announced_configuration.as_ref().filter(|announced| announced.digest == held.digest(bucket))
}

/// Whether a status records anything in AWS that the resource made, or may have made.
pub fn left_traces(status: &BucketReplicationStatus) -> bool {
    let BucketReplicationStatus {
        applied_hash,
        announced_configuration,
        role,
        former_roles,
        bucket_policies,
        canary_places,
        ..
    } = status;
    let configuration = applied_hash.is_some() || announced_configuration.is_some();
    let managed = role.as_ref().is_some_and(|role| role.managed);
    let others = !bucket_policies.is_empty() || !canary_places.is_empty();
    configuration || managed || !former_roles.is_empty() || others
}
