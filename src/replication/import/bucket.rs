//! The bucket to import, and the name of its resource.
//!
//! In: the bucket as S3 holds it. Out: the same as data; a name that no other bucket gets.

use crate::iam::digest::sha256_prefix;
use crate::replication::configuration::Configuration;

/// The characters of a SHA-256: one more than the longest name of a bucket.
const HASH: usize = 64;

/// A bucket that replicates already.
#[derive(Clone, Copy, Debug)]
pub struct ReplicatingBucket<'a> {
    pub bucket: &'a str,
    pub region: Option<&'a str>,
    /// The id of the account that owns the bucket.
    pub account_id: &'a str,
    pub configuration: &'a Configuration,
}

/// The name of the resource for a bucket, which follows from the bucket's name alone. Two buckets never get the same: a
/// resource has the bucket's own name, unless Kubernetes takes no such name (`a.-b`). Then it has a hash, which makes
/// it longer than the name of any bucket.
pub fn resource_name(bucket: &str) -> String {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label = |label: &str| {
        label.starts_with(is_end) && label.ends_with(is_end) && label.chars().all(|c| is_end(c) || c == '-')
    };
    if bucket.split('.').all(is_label) {
        return bucket.to_owned();
    }
    let plain: String = bucket.chars().map(|c| if is_end(c) { c } else { '-' }).collect();
    format!("{}.{}", plain.trim_matches('-'), sha256_prefix(bucket.as_bytes(), HASH))
}
