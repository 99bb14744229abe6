//! The circumstances of a report: the previous status, the generation, the request, the time.

use jiff::Timestamp;

use crate::api::BucketReplicationStatus;
use crate::replication::status::conditions::Transition;

/// What a report is made for.
#[derive(Clone, Copy, Debug)]
pub struct StatusContext<'a> {
    pub generation: Option<i64>,
    /// The value of the annotation that asked for this check.
    pub requested: Option<&'a str>,
    pub previous: &'a BucketReplicationStatus,
    pub now: Timestamp,
}

impl StatusContext<'_> {
    pub(crate) fn transition(&self) -> Transition<'_> {
        Transition { previous: &self.previous.conditions, generation: self.generation, now: self.now }
    }
}
