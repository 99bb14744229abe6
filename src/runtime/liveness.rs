//! Decides when this process is stuck in such a way that only a restart helps.
//!
//! In: heartbeats of the main loop, failures of watches, the age of the longest reconcile. Out: the reason why `/livez`
//! fails, if it does. An API server or an AWS that does not answer for a while is no such reason: a restart would only
//! lose what the process knows.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often the loop that drives watches, reconciles and election reports that it runs.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// Without a heartbeat for this long the loop is stuck.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);

/// A reconcile is dropped at its deadline; one that still runs after this much more cannot be dropped.
const SLACK: Duration = Duration::from_secs(60);

/// Failures of a watch that follow each other within this time are one streak: the watch tries again every 30 seconds,
/// and connecting may take up to 30 more.
const MAX_FAILURE_GAP: Duration = Duration::from_secs(2 * 60);

/// After failing for this long, the cause may be in this process (the API server's CA is loaded only at startup), so
/// that a restart may help.
const MAX_STREAK: Duration = Duration::from_secs(15 * 60);

/// Failures without a success between them.
#[derive(Clone, Copy, Debug)]
struct FailureStreak {
    first: Instant,
    last: Instant,
}

#[derive(Debug)]
pub struct Liveness {
    beat: Mutex<Instant>,
    /// By what is watched.
    failing: Mutex<HashMap<String, FailureStreak>>,
}

impl Liveness {
    pub fn new(now: Instant) -> Liveness {
        Liveness { beat: Mutex::new(now), failing: Mutex::default() }
    }

    /// Records that the loop runs.
    pub fn beat(&self, now: Instant) {
        *self.beat.lock() = now;
    }

    /// A watch failed. `watched`: its kind, and its namespace if it has one.
    pub fn watch_failed(&self, watched: &str, now: Instant) {
        let mut failing = self.failing.lock();
        let streak = failing.entry(watched.to_owned()).or_insert(FailureStreak { first: now, last: now });
        // A watch that works reports nothing unless an object changes: silence between failures counts as success.
        if now.saturating_duration_since(streak.last) > MAX_FAILURE_GAP {
            streak.first = now;
        }
        streak.last = now;
    }

    /// A watch brought an event.
    pub fn watch_works(&self, watched: &str) {
        self.failing.lock().remove(watched);
    }

    /// Describes what is stuck, for a person.
    pub fn stuck_reason(&self, now: Instant) -> Option<String> {
        let silent = now.saturating_duration_since(*self.beat.lock());
        if silent > HEARTBEAT_TIMEOUT {
            return Some(format!("the main loop has not turned for {} s", silent.as_secs()));
        }
        let failing = self.failing.lock();
        let stuck = failing.iter().find(|(_, streak)| {
            now.saturating_duration_since(streak.last) <= MAX_FAILURE_GAP
                && streak.last.saturating_duration_since(streak.first) > MAX_STREAK
        });
        stuck.map(|(watched, streak)| {
            let since = now.saturating_duration_since(streak.first).as_secs();
            format!("every try of the watch of {watched} has failed for {since} s")
        })
    }
}

/// Why reconciles count as stuck: the longest that runs has outlived its deadline.
pub fn overdue(deadline: Duration, longest: Option<Duration>) -> Option<String> {
    let longest = longest.filter(|longest| *longest > deadline + SLACK)?;
    Some(format!("a reconcile has been running for {} s", longest.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_loop_that_does_not_turn_is_stuck() {
        let start = Instant::now();
        let liveness = Liveness::new(start);
        assert_eq!(liveness.stuck_reason(start + HEARTBEAT_TIMEOUT), None);
        let reason = liveness.stuck_reason(start + HEARTBEAT_TIMEOUT + SECOND).unwrap();
        assert_eq!(reason, "the main loop has not turned for 61 s");
        liveness.beat(start + HEARTBEAT_TIMEOUT + SECOND);
        assert_eq!(liveness.stuck_reason(start + HEARTBEAT_TIMEOUT + SECOND), None);
    }

    #[test]
    fn a_reconcile_that_outlives_its_deadline_is_stuck() {
        let deadline = 300 * SECOND;
        assert_eq!(overdue(deadline, None), None);
        assert_eq!(overdue(deadline, Some(deadline + SLACK)), None);
        let reason = overdue(deadline, Some(deadline + SLACK + SECOND));
        assert_eq!(reason.as_deref(), Some("a reconcile has been running for 361 s"));
    }

    #[test]
    fn a_watch_that_only_fails_is_stuck_and_one_that_fails_now_and_then_is_not() {
        let start = Instant::now();
        let liveness = Liveness::new(start);
        let fail_until = |from: Instant, minutes: u64| {
            let mut now = from;
            for minute in 0..=minutes {
                now = from + Duration::from_secs(60 * minute);
                liveness.watch_failed("ConfigMap in namespace data", now);
                liveness.beat(now);
            }
            now
        };
        let now = fail_until(start, 15);
        assert_eq!(liveness.stuck_reason(now), None, "an API server may be away for a while");
        let now = fail_until(now, 1);
        let reason = liveness.stuck_reason(now).unwrap();
        assert_eq!(reason, "every try of the watch of ConfigMap in namespace data has failed for 960 s");
        liveness.watch_works("ConfigMap in namespace data");
        assert_eq!(liveness.stuck_reason(now), None);

        let now = fail_until(now, 10);
        let later = now + MAX_FAILURE_GAP + SECOND;
        let now = fail_until(later, 10);
        assert_eq!(liveness.stuck_reason(now), None, "it worked in between, or it would have failed");
        let quiet = fail_until(now, 10) + MAX_FAILURE_GAP + SECOND;
        liveness.beat(quiet);
        assert_eq!(liveness.stuck_reason(quiet), None, "it works again");
    }
}
