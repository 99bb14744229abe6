//! Objects and their versions, as data.
//!
//! In: a canary to write, or what S3 answers and lists. Out: types that the port to AWS takes and returns.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::replication::bucket::BucketAddress;

/// A canary to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryObject {
    pub bucket: BucketAddress,
    pub key: String,
    pub tags: BTreeMap<String, String>,
}

/// S3's answer when an object is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenCanary {
    pub version: String,
    /// S3 encrypted it with a KMS key.
    pub encrypted: bool,
}

/// A version in a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionAt {
    pub bucket: BucketAddress,
    pub key: String,
    pub version: String,
}

/// A version of an object, as S3 lists it. Delete markers are left out: the operator never makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldVersion {
    pub key: String,
    pub version: String,
    /// When it was written. A replica has the time of its source object.
    pub modified: Timestamp,
}
