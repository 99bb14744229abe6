//! A part of AWS that is read and written as a whole, such as the replication configuration of a bucket.
//!
//! In: the kind of resource and its name. Out: a number, which is equal for the same setting. It is a hash, because the
//! operator remembers some for each resource after a write: two settings with one hash cost at most a needless pause.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::api::{AwsResource, DriftEntry};

/// A setting that steps write to, by the kind of resource and its name, as a hash.
pub type SettingHash = u64;

pub fn setting(resource: AwsResource, name: &str) -> SettingHash {
    let mut hasher = DefaultHasher::new();
    match resource {
        // IAM distinguishes no two names by case.
        AwsResource::Role | AwsResource::RolePolicy => {
            (resource, name.to_ascii_lowercase()).hash(&mut hasher)
        }
        AwsResource::BucketVersioning
        | AwsResource::ReplicationConfiguration
        | AwsResource::DestinationBucketPolicy => (resource, name).hash(&mut hasher),
    }
    hasher.finish()
}

/// The setting of a difference.
pub fn setting_of(difference: &DriftEntry) -> SettingHash {
    setting(difference.resource, &difference.name)
}
