//! A part of AWS that is read and written as a whole, such as the replication configuration of a bucket.
//!
//! In: the kind of resource and its name. Out: a number, which is equal for the same place. It is a hash, because the
//! operator remembers some for each resource after a write: two places with one hash cost at most a needless pause.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::api::{AwsResource, DriftEntry};

/// A place that steps write to, by the kind of resource and its name, as a hash.
pub type PlaceHash = u64;

pub fn place(resource: AwsResource, name: &str) -> PlaceHash {
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

/// The place of a difference.
pub fn place_of(difference: &DriftEntry) -> PlaceHash {
    place(difference.resource, &difference.name)
}
