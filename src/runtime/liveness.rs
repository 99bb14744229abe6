//! When this process is stuck, such that nothing but a restart helps. What passes by itself, an API server or an AWS
//! that is away for a while, is no reason: a restart would only lose what is known.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::controllers::bucket_replication::DEADLINE;
use crate::runtime::tracker::ReconcileTracker;

/// How often the loop that drives watches, controllers and election shows that it turns.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// The loop is stuck when it has shown nothing for this long.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);

/// A reconcile is ended at its deadline; one that is still there after this much more does not let itself be ended.
const SLACK: Duration = Duration::from_secs(60);

/// Failures of a watch that come closer together than this are one stuck_reason: it tries again every 30 seconds, and a
/// try to connect takes up to 30 more.
const MAX_FAILURE_GAP: Duration = Duration::from_secs(2 * 60);

/// A watch that has only failed for this long may fail by our own doing: certificates of the API server, for
/// example, are read at the start.
const FAILING: Duration = Duration::from_secs(15 * 60);

/// A row of failures.
#[derive(Clone, Copy, Debug)]
struct FailureStreak {
    first: Instant,
    last: Instant,
}

#[derive(Debug)]
pub struct Liveness {
    beat: Mutex<Instant>,
    /// By namespace; empty for all.
    failing: Mutex<HashMap<String, FailureStreak>>,
}

impl Liveness {
    pub fn new(now: Instant) -> Liveness {
        Liveness { beat: Mutex::new(now), failing: Mutex::default() }
    }

    /// The loop turns.
    pub fn beat(&self, now: Instant) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<String, FailureStreak>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn watch_failed(&self, namespace: &str, now: Instant) {
        let mut failing = self.failing();
        let row = failing.entry(namespace.to_owned()).or_insert(FailureStreak { first: now, last: now });
        // A watch that works says nothing unless something happens: silence is all there is to tell by.
        if now.duration_since(row.last) > MAX_FAILURE_GAP {
            row.first = now;
        }
        row.last = now;
    }

    pub fn watch_works(&self, namespace: &str) {
        self.failing().remove(namespace);
    }

    /// What is stuck, in words for a person.
    pub fn stuck_reason(&self, work: &ReconcileTracker, now: Instant) -> Option<String> {
        let silent = now.saturating_duration_since(*self.beat.lock().unwrap_or_else(PoisonError::into_inner));
        if silent > HEARTBEAT_TIMEOUT {
            return Some(format!("the main loop has not turned for {} s", silent.as_secs()));
        }
        if let Some(longest) = work.longest(now).filter(|longest| *longest > DEADLINE + SLACK) {
            return Some(format!("a reconcile has been under way for {} s", longest.as_secs()));
        }
        let failing = self.failing();
        let stuck = failing.iter().find(|(_, row)| {
            now.saturating_duration_since(row.last) <= MAX_FAILURE_GAP
                && row.last.duration_since(row.first) > FAILING
        });
        stuck.map(|(namespace, row)| {
            let place = if namespace.is_empty() { "" } else { " of namespace " };
            let since = now.saturating_duration_since(row.first).as_secs();
            format!("the watch{place}{namespace} has only failed for {since} s")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_that_does_not_turn_is_stuck() {
        let start = Instant::now();
        let (vitals, work) = (Liveness::new(start), ReconcileTracker::default());
        assert_eq!(vitals.stuck_reason(&work, start + HEARTBEAT_TIMEOUT), None);
        let said = vitals.stuck_reason(&work, start + HEARTBEAT_TIMEOUT + SECOND).unwrap();
        assert_eq!(said, "the main loop has not turned for 61 s");
        vitals.beat(start + HEARTBEAT_TIMEOUT + SECOND);
        assert_eq!(vitals.stuck_reason(&work, start + HEARTBEAT_TIMEOUT + SECOND), None);
    }

    #[test]
    fn a_reconcile_that_outlives_its_deadline_is_stuck() {
        let start = Instant::now();
        let (vitals, work) = (Liveness::new(start), ReconcileTracker::default());
        work.begin("a", start);
        let late = start + DEADLINE + SLACK + SECOND;
        vitals.beat(late);
        assert_eq!(vitals.stuck_reason(&work, late - SECOND), None);
        assert_eq!(
            vitals.stuck_reason(&work, late).as_deref(),
            Some("a reconcile has been under way for 361 s")
        );
        work.end("a", late);
        assert_eq!(vitals.stuck_reason(&work, late), None);
    }

    #[test]
    fn a_watch_that_does_nothing_but_fail_is_stuck_and_one_that_failed_now_and_then_is_not() {
        let start = Instant::now();
        let (vitals, work) = (Liveness::new(start), ReconcileTracker::default());
        let fail_until = |from: Instant, minutes: u64| {
            let mut now = from;
            for minute in 0..=minutes {
                now = from + Duration::from_secs(60 * minute);
                vitals.watch_failed("data", now);
                vitals.beat(now);
            }
            now
        };
        let now = fail_until(start, 15);
        assert_eq!(vitals.stuck_reason(&work, now), None, "an API server may be away for a while");
        let now = fail_until(now, 1);
        let said = vitals.stuck_reason(&work, now).unwrap();
        assert_eq!(said, "the watch of namespace data has only failed for 960 s");
        vitals.watch_works("data");
        assert_eq!(vitals.stuck_reason(&work, now), None);

        let now = fail_until(now, 10);
        let later = now + MAX_FAILURE_GAP + SECOND;
        let now = fail_until(later, 10);
        assert_eq!(vitals.stuck_reason(&work, now), None, "it worked in between, or it would have failed");
        let quiet = fail_until(now, 10) + MAX_FAILURE_GAP + SECOND;
        vitals.beat(quiet);
        assert_eq!(vitals.stuck_reason(&work, quiet), None, "it has come back");
    }
}
