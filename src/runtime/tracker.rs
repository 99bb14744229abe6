//! Notes when AWS was last read for each resource, for metrics and health. No decision depends on it.
//!
//! In: the reason that each reconcile reported, and whether it read AWS, by the resource's UID. Out: the age of the
//! last check.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::api::Reason;

#[derive(Clone, Copy, Debug)]
struct ReportedReason {
    reason: Reason,
    has_read: bool,
}

#[derive(Clone, Debug)]
struct TrackerEntry {
    /// Since when this process is responsible for the resource.
    since: Instant,
    /// The reason that the running reconcile has reported so far.
    reported: Option<ReportedReason>,
    /// When AWS was last read for the resource.
    checked: Option<Instant>,
}

/// By UID.
#[derive(Debug, Default)]
pub struct ReconcileTracker(Mutex<HashMap<String, TrackerEntry>>);

impl ReconcileTracker {
    fn with<T>(&self, uid: &str, now: Instant, act: impl FnOnce(&mut TrackerEntry) -> T) -> T {
        let mut entries = self.0.lock();
        if let Some(entry) = entries.get_mut(uid) {
            return act(entry);
        }
        act(entries.entry(uid.to_owned()).or_insert(TrackerEntry {
            since: now,
            reported: None,
            checked: None,
        }))
    }

    /// This process is responsible for a resource from now on.
    pub fn add(&self, uid: &str, now: Instant) {
        self.with(uid, now, |_| ());
    }

    /// A reconcile begins.
    pub fn begin(&self, uid: &str, now: Instant) {
        self.with(uid, now, |entry| entry.reported = None);
    }

    /// The reconcile that runs reports this reason for `Ready`. `has_read`: whether it read AWS to report that.
    pub fn record_reason(&self, uid: &str, reason: Reason, has_read: bool) {
        if let Some(entry) = self.0.lock().get_mut(uid) {
            entry.reported = Some(ReportedReason { reason, has_read });
        }
    }

    /// The reconcile has ended. Returns the reason that it reported.
    pub fn end(&self, uid: &str, now: Instant) -> Option<Reason> {
        let mut entries = self.0.lock();
        let entry = entries.get_mut(uid)?;
        let reported = entry.reported.take();
        if reported.is_some_and(|report| report.has_read) {
            entry.checked = Some(now);
        }
        reported.map(|report| report.reason)
    }

    /// Knows what another tracker knows.
    #[cfg(any(test, feature = "simulation"))]
    pub fn copy_from(&self, other: &ReconcileTracker) {
        *self.0.lock() = other.0.lock().clone();
    }

    /// The resource is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// A term begins: another process may have led meanwhile.
    pub fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// The time since AWS was last read for a resource, or since this process is responsible for it.
    pub fn check_age(&self, uid: &str, now: Instant) -> Option<Duration> {
        let entries = self.0.lock();
        let entry = entries.get(uid)?;
        Some(now.saturating_duration_since(entry.checked.unwrap_or(entry.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_age_of_a_check_counts_from_the_last_that_read_aws() {
        let (tracker, start) = (ReconcileTracker::default(), Instant::now());
        let check = |reason, has_read, second: u32| {
            tracker.begin("a", start + second * SECOND);
            tracker.record_reason("a", reason, has_read);
            assert_eq!(tracker.end("a", start + second * SECOND), Some(reason));
        };
        let age = |second: u32| tracker.check_age("a", start + second * SECOND);
        assert_eq!(age(0), None);
        tracker.add("a", start);
        assert_eq!(age(5), Some(5 * SECOND), "since this process is responsible for it");
        check(Reason::AwsUnavailable, false, 10);
        assert_eq!(age(10), Some(10 * SECOND));
        check(Reason::ForeignRole, true, 20);
        assert_eq!(age(20), Some(Duration::ZERO), "whatever was found");
        check(Reason::Suspended, false, 30);
        assert_eq!(age(30), Some(10 * SECOND));
        tracker.forget("a");
        assert_eq!(age(30), None);
    }
}
