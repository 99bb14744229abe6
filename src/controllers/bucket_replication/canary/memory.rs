//! Remembers the canaries of one resource between reconciles.
//!
//! In: canaries that were written, and when something is due. Out: the same. Everything else is in S3 and in the
//! status: a process that starts lists the places that the status names, and takes up what it finds there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::backoff::doubling;
use crate::replication::health::canary::CanaryPlace;
use crate::replication::health::canary::flight::Flight;

/// How often every place is listed again: a request of a process that was stopped may still have taken effect after the
/// first time.
const SWEEP_AGAIN: Duration = Duration::from_secs(60 * 60);

const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// The canaries of one resource.
#[derive(Clone, Debug, Default)]
pub struct CanaryMemory {
    /// When this process last listed every place.
    pub swept_at: Option<Instant>,
    /// The places in which this process knows each canary: those that it listed then, and those that it wrote to first.
    pub known: BTreeSet<CanaryPlace>,
    /// Places that could not be listed then, or were out of reach since.
    pub unlisted: BTreeSet<CanaryPlace>,
    pub flights: Vec<Flight>,
    /// When the next canaries are due; `None`: at once.
    pub round_at: Option<Instant>,
    /// The `AwsAccount`s that did not allow canaries when the last ones were due.
    pub not_allowed: BTreeSet<String>,
    /// When to go on; `None`: when the resource is checked.
    pub wake_at: Option<Instant>,
    /// When AWS is to be checked, which is later than what is due for canaries.
    pub check_at: Option<Instant>,
    /// When evidence was last judged.
    pub judged_at: Option<Timestamp>,
    /// Calls that failed in a row.
    failures: u32,
}

impl CanaryMemory {
    /// Forgets what is in S3: the operator may not write, and others may act meanwhile.
    pub fn pause(&mut self) {
        *self = CanaryMemory { judged_at: self.judged_at, ..CanaryMemory::default() };
    }

    /// Whether canaries, and no check of AWS, are due.
    pub fn is_due_alone(&self, now: Instant) -> bool {
        self.wake_at.is_some_and(|at| at <= now) && self.check_at.is_some_and(|at| now < at)
    }

    /// Whether the places are to be listed before anything else. `due`: canaries are to be written.
    pub fn must_sweep(&self, due: bool, now: Instant) -> bool {
        self.swept_at.is_none_or(|at| due && now.duration_since(at) >= SWEEP_AGAIN)
    }

    /// Whether the next canaries are due.
    pub fn round_is_due(&self, now: Instant) -> bool {
        self.round_at.is_none_or(|at| at <= now)
    }

    /// The pause after a call that failed.
    pub fn failed(&mut self) -> Duration {
        let pause = doubling(FIRST_RETRY, self.failures, LONGEST_RETRY);
        self.failures += 1;
        pause
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The facts that decide about the next calls, as text, with ages in place of times.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fingerprint(&self, now: Instant) -> String {
        let CanaryMemory { swept_at, known, unlisted, flights, round_at, .. } = self;
        let swept = swept_at.is_some();
        let moves: Vec<String> = flights.iter().map(|flight| format!("{:?}", flight.next())).collect();
        let due = round_at.map(|at| at.saturating_duration_since(now).is_zero());
        let named = |places: &BTreeSet<CanaryPlace>| {
            let names = places.iter().map(|place| (place.bucket.name.clone(), place.folder.clone()));
            names.collect::<Vec<_>>()
        };
        format!("{swept} {:?} {:?} {moves:?} {due:?}", named(known), named(unlisted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_fail_are_repeated_more_and_more_slowly_until_one_succeeds() {
        let mut canaries = CanaryMemory::default();
        let pauses: Vec<u64> = (0..8).map(|_| canaries.failed().as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        canaries.succeeded();
        assert_eq!(canaries.failed().as_secs(), 5);
    }

    #[test]
    fn a_canary_is_due_alone_only_before_the_next_check() {
        let now = Instant::now();
        let at = |seconds: u64| Some(now + Duration::from_secs(seconds));
        let canaries = |wake_at, check_at| CanaryMemory { wake_at, check_at, ..CanaryMemory::default() };
        assert!(canaries(at(0), at(60)).is_due_alone(now));
        assert!(!canaries(at(2), at(60)).is_due_alone(now), "something else woke the resource");
        assert!(!canaries(at(0), at(0)).is_due_alone(now));
        assert!(!canaries(None, at(60)).is_due_alone(now));
        assert!(!CanaryMemory::default().is_due_alone(now));
    }
}
