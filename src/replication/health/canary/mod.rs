//! The canary: a small object that proves that objects arrive, and that is deleted again everywhere.
//!
//! In: the rules of a resource, facts about its buckets, and what S3 answers about an object. Out: which objects to
//! write ([`probe`]), whether they could be deleted ([`requirements`]), when one is at its end ([`flight`]), and which
//! of the operator's own objects are still there ([`leftovers`]). Pure: the controller makes the calls.
//!
//! The protocol: write one object → read its replication status by version until that is final → delete this version at
//! the source and each replica of it, by version id. A deletion without a version id would leave a delete marker, and a
//! deletion before the final status would make S3 report a failed replication.

pub mod facts;
pub mod flight;
pub mod key;
pub mod leftovers;
mod matching;
pub mod object;
pub mod place;
pub mod probe;
pub mod refusal;
pub mod requirements;
pub mod rights;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::api::Interval;

pub use facts::{BucketFacts, CanaryFacts};
pub use flight::{CanaryEnding, ReplicationStatus};
pub use leftovers::{Leftover, leftovers};
pub use matching::prefix_of;
pub use object::{CanaryObject, HeldVersion, VersionAt, WrittenCanary};
pub use place::CanaryPlace;
pub use probe::{Probe, Probes};
pub use refusal::Refused;

/// The time between two canaries, unless `health.canary.interval` is set.
const INTERVAL: Duration = Duration::from_secs(15 * 60);

/// The time between two canaries of a rule, by `health.canary.interval`.
pub fn interval(asked: Option<&Interval>) -> Duration {
    asked.map_or(INTERVAL, Interval::duration)
}
