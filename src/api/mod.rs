//! What users write and read: the `BucketReplication` and `AwsAccount` resources, their status, and the closed
//! sets of conditions and reasons. No I/O and no AWS types; every other module may depend on this one.

mod aws_account;
mod bucket_replication;
mod conditions;
pub mod crd;
mod interval;
mod reasons;
mod validation;

pub use aws_account::{
    AssumeRole, AwsAccount, AwsAccountSpec, AwsAccountStatus, AwsIdentity, DEFAULT_ACCOUNT, Namespaces, Roles,
};
pub use bucket_replication::{
    AdoptionPolicy, AwsResource, BucketPolicyStatus, BucketReplication, BucketReplicationSpec,
    BucketReplicationStatus, BucketStatus, Correction, DEFAULT_ROLE_PATH, DeletionPolicy, Destination,
    DriftEntry, Filter, MAX_DRIFT_ENTRIES, ManagementPolicy, Ownership, Replicate, ReplicationRule, Role,
    RoleStatus, Source, StorageClass, Switch, VersioningPolicy,
};
pub use conditions::ConditionType;
pub use interval::Interval;
pub use reasons::{ReadyStatus, Reason};

/// The API group of every kind and of every key this operator puts on objects, in Kubernetes and in AWS.
pub const GROUP: &str = "s3replication.dev";

/// Keeps a resource until what it made in AWS is gone.
pub const FINALIZER: &str = "s3replication.dev/finalizer";

/// A new value of this annotation asks for a check at once; the value is echoed in
/// `status.lastHandledRequest` (the convention of Flux's `reconcile.fluxcd.io/requestedAt`).
pub const REQUESTED_AT: &str = "s3replication.dev/requestedAt";
