//! One canary on its way: how long the operator waits for it, how often it reads it meanwhile, and what it deletes at
//! the end.
//!
//! In: what S3 answers about it. Out: the next move. The version at the source is read until its replication status is
//! final; then its replicas are listed, and all of them and the version itself are deleted by version id. The operator
//! continues with a canary that a killed process left from the state that S3 shows. The statuses are those of
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-status.html>.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::mutants::{Mutant, is_on};
use crate::replication::bucket::BucketAddress;
use crate::replication::health::canary::leftovers::Leftover;
use crate::replication::health::canary::object::{HeldVersion, VersionAt};
use crate::replication::health::canary::place::CanaryPlace;
use crate::replication::health::canary::probe::Probe;

/// How long after its write an object may lack a status. S3 does not document when it sets the first one.
const ELIGIBLE_WITHIN: Duration = Duration::from_secs(60);

/// After this time the operator deletes a canary that is still pending. The longest latency that a spec can accept is
/// as long, and a canary that S3 forgot must not stand in the way of the next one for ever.
pub const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The header `x-amz-replication-status` of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationStatus {
    /// There is none: no rule applies to the object.
    Absent,
    Pending,
    /// All destinations have it.
    Completed,
    /// At least one destination does not get it.
    Failed,
}

impl ReplicationStatus {
    /// S3's API has `COMPLETE` and `COMPLETED`. A value that is not known is not final.
    pub fn parse(header: Option<&str>) -> ReplicationStatus {
        match header {
            None => ReplicationStatus::Absent,
            Some("COMPLETE" | "COMPLETED") => ReplicationStatus::Completed,
            Some("FAILED") => ReplicationStatus::Failed,
            Some(_) => ReplicationStatus::Pending,
        }
    }
}

/// How a canary ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanaryEnding {
    Arrived,
    Failed,
    /// S3 applies no rule to it.
    NotEligible,
    /// It is gone from the source, and the operator did not delete it.
    Vanished,
    /// It is pending for longer than [`LONGEST`].
    Abandoned,
}

/// Judges a canary of an age. `status`: `None` where the version is not at the source. `None`: it is not final yet.
pub fn judge(status: Option<ReplicationStatus>, age: Duration) -> Option<CanaryEnding> {
    match status {
        None => Some(CanaryEnding::Vanished),
        Some(ReplicationStatus::Completed) => Some(CanaryEnding::Arrived),
        Some(ReplicationStatus::Failed) => Some(CanaryEnding::Failed),
        Some(ReplicationStatus::Absent) if age >= ELIGIBLE_WITHIN => Some(CanaryEnding::NotEligible),
        Some(ReplicationStatus::Pending) if age >= LONGEST => Some(CanaryEnding::Abandoned),
        Some(ReplicationStatus::Pending | ReplicationStatus::Absent) => None,
    }
}

/// The pause before a canary of this age is read again: a quarter of its age, which is as exact as its latency.
pub fn pause(age: Duration) -> Duration {
    (age / 4).clamp(FIRST_PAUSE, LONGEST_PAUSE)
}

/// The next action on a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// Read the replication status of this version.
    Read(VersionAt),
    /// List the replicas.
    List,
    /// Delete this version.
    Delete(VersionAt),
    /// Nothing of it is left.
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Its replication status is not final.
    Waiting(VersionAt),
    /// Its replicas are not known yet. `None`: nothing is left at the source.
    Ended(Option<VersionAt>),
    Removing(BTreeSet<VersionAt>),
}

/// One canary on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flight {
    pub folder: String,
    pub key: String,
    pub sent_at: Timestamp,
    /// The rule that S3 applies to it at each destination, by bucket. Empty: another process sent it.
    pub arrivals: BTreeMap<String, String>,
    /// How it ended, and when the operator saw that.
    pub ending: Option<(CanaryEnding, Timestamp)>,
    /// The buckets that hold a replica; known once it ended and they were listed.
    pub reached: BTreeSet<String>,
    phase: Phase,
}

impl Flight {
    /// A canary that was just written.
    pub fn sent(probe: &Probe, version: VersionAt, sent_at: Timestamp) -> Flight {
        Flight {
            folder: probe.folder.clone(),
            key: version.key.clone(),
            sent_at,
            arrivals: probe.arrivals.clone(),
            ending: None,
            reached: BTreeSet::new(),
            phase: Phase::Waiting(version),
        }
    }

    /// The flights of a canary that a killed process left: one for each version at the source, or one for replicas
    /// alone.
    pub fn of_leftover(leftover: Leftover, source: &BucketAddress) -> Vec<Flight> {
        let Leftover { folder, key, at_source, replicas: _ } = leftover;
        let flight = |sent_at: Timestamp, phase: Phase| Flight {
            folder: folder.clone(),
            key: key.clone(),
            sent_at,
            arrivals: BTreeMap::new(),
            ending: None,
            reached: BTreeSet::new(),
            phase,
        };
        if at_source.is_empty() {
            return vec![flight(Timestamp::UNIX_EPOCH, Phase::Ended(None))];
        }
        let at = |version: String| VersionAt { bucket: source.clone(), key: key.clone(), version };
        at_source.into_iter().map(|(version, sent_at)| flight(sent_at, Phase::Waiting(at(version)))).collect()
    }

    /// The next move.
    pub fn next(&self) -> Move {
        match &self.phase {
            Phase::Waiting(version) if is_on(Mutant::CanaryNotAwaited) => Move::Delete(version.clone()),
            Phase::Waiting(version) => Move::Read(version.clone()),
            Phase::Ended(_) => Move::List,
            Phase::Removing(left) => left.first().cloned().map_or(Move::Done, Move::Delete),
        }
    }

    /// How old it is.
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.sent_at)).unwrap_or_default()
    }

    /// Whether it has this key.
    pub fn is_of(&self, key: &str) -> bool {
        self.key == key
    }

    /// Its replication status was read. Returns whether that is final.
    pub fn read(&mut self, status: Option<ReplicationStatus>, now: Timestamp) -> bool {
        let Phase::Waiting(version) = &self.phase else { return true };
        let Some(ending) = judge(status, self.age(now)) else { return false };
        self.ending = Some((ending, now));
        let at_source = version.clone();
        self.phase = match ending {
            CanaryEnding::Failed if is_on(Mutant::FailedCanaryNotListed) => {
                Phase::Removing([at_source].into())
            }
            CanaryEnding::Vanished => Phase::Ended(None),
            _ => Phase::Ended(Some(at_source)),
        };
        true
    }

    /// It is to go although its status is not final: the resource is being deleted.
    pub fn abandon(&mut self) {
        if let Phase::Waiting(version) = &self.phase {
            self.phase = Phase::Ended(Some(version.clone()));
        }
    }

    /// Its replicas were listed.
    pub fn listed(&mut self, listed: &[(CanaryPlace, Vec<HeldVersion>)]) {
        let Phase::Ended(source) = &self.phase else { return };
        let mut left: BTreeSet<VersionAt> = source.iter().cloned().collect();
        for (place, versions) in listed {
            for held in versions.iter().filter(|held| held.key == self.key) {
                self.reached.insert(place.bucket.name.clone());
                left.insert(VersionAt {
                    bucket: place.bucket.clone(),
                    key: held.key.clone(),
                    version: held.version.clone(),
                });
            }
        }
        self.phase = Phase::Removing(left);
    }

    /// A version of it was deleted.
    pub fn deleted(&mut self, version: &VersionAt) {
        match &mut self.phase {
            Phase::Removing(left) => drop(left.remove(version)),
            Phase::Waiting(_) => self.phase = Phase::Ended(None),
            Phase::Ended(_) => {}
        }
    }
}
