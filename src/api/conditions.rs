//! The types of condition that a resource reports, and their order.
//!
//! In: nothing. Out: [`ConditionType`], for whatever writes or reads `status.conditions`. A new type of condition
//! begins here; the reasons of all types are in `reasons.rs`.

use serde::Serialize;
use strum::IntoStaticStr;

/// The types of condition, in the order in which the operator reports them. The first six are present once the
/// operator has seen a resource; the last two only while they are true, as kstatus expects
/// (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, IntoStaticStr)]
pub enum ConditionType {
    /// The summary: replication is on as the spec says.
    Ready,
    /// Source and destinations have versioning enabled.
    VersioningReady,
    /// The role exists, trusts S3 and has its permissions.
    RoleReady,
    /// The source has the replication configuration of the spec.
    ReplicationReady,
    /// Nothing in AWS differs from the spec.
    InSync,
    /// Objects arrive at the destinations. Not part of `Ready`, which is about the settings alone.
    Replicating,
    /// Of an `AwsAccount`: events stand in for polling.
    EventsReceived,
    /// The operator is still working, or will try again automatically.
    Reconciling,
    /// The operator cannot continue until someone helps.
    Stalled,
}

impl ConditionType {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
