//! The kind `BucketReplication`: what a user asks for ([`spec`]) and what the operator reports ([`status`]).

mod spec;
mod status;

pub use spec::{
    AdoptionPolicy, BucketReplication, BucketReplicationSpec, DEFAULT_ROLE_PATH, DeletionPolicy, Destination,
    Filter, ManagementPolicy, Ownership, Replicate, ReplicationRule, Role, Source, StorageClass, Switch,
    VersioningPolicy,
};
pub use status::{
    AwsResource, BucketPolicyStatus, BucketReplicationStatus, BucketStatus, ConfigurationOrigin, Correction,
    DriftEntry, MAX_DRIFT_ENTRIES, RoleStatus,
};
