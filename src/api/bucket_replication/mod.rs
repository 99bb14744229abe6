//! The kind `BucketReplication`: what a user asks for ([`spec`]) and what the operator reports ([`status`]). Whether
//! objects arrive has types of its own ([`health`]).
//!
//! In: the types of the files of this folder. Out: their names, for the rest of the crate.

mod canary_place_status;
mod health;
mod spec;
mod status;

pub use canary_place_status::CanaryPlaceStatus;
pub use health::{
    Canary, CanaryStatus, DEFAULT_CANARY_PREFIX, FailureEventStatus, Health, HealthStatus, MAX_NOT_COUNTED,
    MAX_RULE_ENTRIES, NotCounted, RuleHealth, RuleVerdict,
};
pub use spec::{
    AdoptionPolicy, BucketReplication, BucketReplicationSpec, DEFAULT_ROLE_PATH, DeletionPolicy, Destination,
    Filter, ManagementPolicy, Ownership, Replicate, ReplicationRule, Role, Source, StorageClass, Switch,
    VersioningPolicy,
};
pub use status::{
    AnnouncedConfiguration, AwsResource, BucketPolicyStatus, BucketReplicationStatus, BucketStatus,
    ConfigurationOrigin, Correction, DriftEntry, MAX_DRIFT_ENTRIES, RoleStatus,
};
