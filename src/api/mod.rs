//! What users write and read: the `BucketReplication` and `AwsAccount` resources, their status, and the closed
//! sets of conditions and reasons. No I/O and no AWS types; every other module may depend on this one.

mod account;
mod conditions;
pub mod crd;
mod interval;
mod reason;
mod spec;
mod status;
mod validation;

pub use account::{
    AssumeRole, AwsAccount, AwsAccountSpec, AwsAccountStatus, AwsIdentity, DEFAULT_ACCOUNT, Namespaces, Roles,
};
pub use conditions::ConditionType;
pub use interval::Interval;
pub use reason::{ReadyStatus, Reason};
pub use spec::{
    AdoptionPolicy, BucketReplication, BucketReplicationSpec, DEFAULT_ROLE_PATH, DeletionPolicy, Destination,
    Filter, ManagementPolicy, Ownership, Replicate, ReplicationRule, Role, Source, StorageClass, Switch,
    VersioningPolicy,
};
pub use status::{
    AwsResource, BucketPolicyStatus, BucketReplicationStatus, BucketStatus, Correction, DriftEntry,
    MAX_DRIFT_ENTRIES, RoleStatus,
};

/// The API group of every kind and of every key this operator puts on objects, in Kubernetes and in AWS.
pub const GROUP: &str = "s3replication.dev";

/// Keeps a resource until what it made in AWS is gone.
pub const FINALIZER: &str = "s3replication.dev/finalizer";

/// A new value of this annotation asks for a check at once; the value is echoed in
/// `status.lastHandledRequest` (the convention of Flux's `reconcile.fluxcd.io/requestedAt`).
pub const REQUESTED_AT: &str = "s3replication.dev/requestedAt";
