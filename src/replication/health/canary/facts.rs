//! The facts about buckets that the operator reads before it writes a canary into them.
//!
//! In: what `aws/read/canary.rs` reads. Out: the data that [`crate::replication::health::canary::requirements`] decides
//! on.

use std::collections::BTreeMap;

use crate::replication::observed::Read;

/// The facts that decide whether a version can be deleted from a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketFacts {
    /// Versions can then be deleted only with the owner's MFA device.
    pub mfa_delete: Read<bool>,
    /// Object Lock keeps each new version for a while.
    pub default_retention: Read<bool>,
}

/// The facts about the buckets of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryFacts {
    /// Of the source and each destination that the operator may act on, by name.
    pub buckets: BTreeMap<String, BucketFacts>,
    /// Whether the source encrypts new objects with a KMS key by default.
    pub encrypted: Read<bool>,
}
