//! The kinds that users write and read: `BucketReplication`, `AwsAccount` and `ReplicationBackfill`, each with spec and
//! status, and the closed sets of conditions and reasons.
//!
//! In: nothing of the crate. Out: types for every other module, and the CRDs. No I/O and no AWS types. A new kind
//! begins here as a folder. It also needs its definition in `crd.rs`, its store in `controllers/index.rs`, a controller
//! of its own beside the others, and its lines in `controllers/assemble.rs` and `controllers/run.rs`, where
//! `runtime/manager.rs` starts it.

mod aws_account;
mod bucket_replication;
mod conditions;
pub mod crd;
mod interval;
mod reasons;
mod replication_backfill;
mod validation;

pub use aws_account::{
    Activity, AssumeRole, AwsAccount, AwsAccountSpec, AwsAccountStatus, CallerIdentity, DEFAULT_ACCOUNT,
    Namespaces, Roles,
};
pub use bucket_replication::{
    AdoptionPolicy, AnnouncedConfiguration, AwsResource, BucketPolicyStatus, BucketReplication,
    BucketReplicationSpec, BucketReplicationStatus, BucketStatus, Canary, CanaryPlaceStatus, CanaryStatus,
    ConfigurationOrigin, Correction, DEFAULT_CANARY_PREFIX, DEFAULT_ROLE_PATH, DeletionPolicy, Destination,
    DriftEntry, FailureEventStatus, Filter, Health, HealthStatus, MAX_DRIFT_ENTRIES, MAX_NOT_COUNTED,
    MAX_RULE_ENTRIES, ManagementPolicy, NotCounted, Ownership, Replicate, ReplicationRule, Role, RoleStatus,
    RuleHealth, RuleVerdict, Source, StorageClass, Switch, VersioningPolicy,
};
pub use conditions::ConditionType;
pub use interval::Interval;
pub use reasons::{ReadyStatus, Reason};
pub use replication_backfill::{
    Approval, BackfillProgress, BackfillReport, BackfillRole, BackfillSource, DEFAULT_JOB_PRIORITY,
    ObjectReplicationStatus, ReplicationBackfill, ReplicationBackfillSpec, ReplicationBackfillStatus,
    ReplicationRef, ReportScope,
};

/// The API group of every kind, and the prefix of every key that the operator sets on objects in Kubernetes and AWS.
pub const GROUP: &str = "s3replication.dev";

/// The finalizer that keeps a resource until the operator has removed what it created in AWS for it.
pub const FINALIZER: &str = "s3replication.dev/finalizer";

/// A new value of this annotation asks for a check at once. The operator copies the value to
/// `status.lastHandledRequest`, as Flux does for `reconcile.fluxcd.io/requestedAt`.
pub const REQUESTED_AT: &str = "s3replication.dev/requestedAt";

/// A value of [`REQUESTED_AT`] as the status keeps it: at most 256 characters, because an annotation may be as large as
/// all that the API server keeps of an object. Compare a request with the status in this form.
pub fn handled_request(requested: &str) -> String {
    const MAX: usize = 256;
    requested.chars().take(MAX).collect()
}
