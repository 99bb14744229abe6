//! The circumstances of a report.
//!
//! In: the previous status, the generation, the request, the time and the evidence about objects. Out: one value that
//! every report takes, and by it the verdict whether objects arrive.

use jiff::Timestamp;

use crate::api::{BucketReplicationStatus, Correction, Interval};
use crate::replication::health::{Evidence, Judged, Judging, judge};
use crate::replication::resource::Replication;
use crate::replication::status::conditions::Transition;

/// The circumstances of a report.
#[derive(Clone, Copy, Debug)]
pub struct StatusContext<'a> {
    pub generation: Option<i64>,
    /// The value of the annotation that asked for this check.
    pub requested: Option<&'a str>,
    pub previous: &'a BucketReplicationStatus,
    pub now: Timestamp,
    /// Whether objects arrive, as far as AWS reported it.
    pub evidence: &'a Evidence,
    /// The administrator's shortest interval, where the resource asks for a shorter one.
    pub raised_interval: Option<&'a Interval>,
    /// AWS may still answer from before the writes of the process that led before this one: that it does not show a thing is
    /// no proof that the thing is gone.
    pub follows_another_process: bool,
}

impl StatusContext<'_> {
    pub(crate) fn transition(&self) -> Transition<'_> {
        Transition { previous: &self.previous.conditions, generation: self.generation, now: self.now }
    }

    /// Whether objects arrive. `correction`: the last one, with what this check corrected.
    pub(crate) fn judge(&self, replication: &Replication<'_>, correction: Option<&Correction>) -> Judged {
        let Replication { spec, id, .. } = replication;
        let resource = (id.namespace.as_str(), id.name.as_str());
        let StatusContext { previous, now, .. } = *self;
        let judging = Judging { resource, spec, previous, correction, now, after_event: false };
        judge(&judging, self.evidence)
    }
}
