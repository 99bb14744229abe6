//! Remembers, between reconciles, what neither the cache nor the status of a backfill shows.
//!
//! In: the statuses that are written, and those that the watch brings. Out: the status as last written, when the job is
//! due to be checked, and pauses between tries. Entries are keyed by UID.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::api::{Reason, ReplicationBackfillStatus};
use crate::runtime::requeue::RequeueBackoff;

/// The longest that the operator's own status is preferred to the cache's, which lags behind its writes.
const CACHE_LAG: Duration = Duration::from_secs(10);

/// The memory of all backfills.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, BackfillEntry>>);

#[derive(Clone, Debug, Default)]
struct BackfillEntry {
    requeue: RequeueBackoff,
    written: Option<(Instant, ReplicationBackfillStatus)>,
    /// When the job was checked last, and when it is due again.
    check: Option<(Instant, Instant)>,
}

impl Memory {
    fn with<T>(&self, uid: &str, act: impl FnOnce(&mut BackfillEntry) -> T) -> T {
        let mut entries = self.0.lock();
        let mut entry = entries.remove(uid).unwrap_or_default();
        let result = act(&mut entry);
        let BackfillEntry { requeue, written, check } = &entry;
        if !requeue.is_empty() || written.is_some() || check.is_some() {
            entries.insert(uid.to_owned(), entry);
        }
        result
    }

    /// The status as it was last written: the cache's, unless the cache lags behind a write of the operator.
    pub fn status(
        &self,
        uid: &str,
        cached: Option<&ReplicationBackfillStatus>,
        now: Instant,
    ) -> ReplicationBackfillStatus {
        self.with(uid, |entry| {
            let lags = |written: &&mut (Instant, ReplicationBackfillStatus)| {
                now.duration_since(written.0) <= CACHE_LAG && Some(&written.1) != cached
            };
            if entry.written.as_mut().filter(lags).is_none() {
                entry.written = None;
            }
            let written = entry.written.as_ref().map(|(_, status)| status);
            written.or(cached).cloned().unwrap_or_default()
        })
    }

    /// A status is about to be written. The watch may show it before the API server's answer is here.
    pub fn begin_write(&self, uid: &str, status: &ReplicationBackfillStatus, now: Instant) {
        self.with(uid, |entry| entry.written = Some((now, status.clone())));
    }

    /// The write may have failed, so that the cache decides.
    pub fn abandon_write(&self, uid: &str) {
        self.with(uid, |entry| entry.written = None);
    }

    /// The watch shows this status.
    pub fn cached(&self, uid: &str, status: Option<&ReplicationBackfillStatus>) {
        self.with(uid, |entry| {
            entry.written.take_if(|(_, written)| Some(&*written) == status);
        });
    }

    /// How long the next check of the job has to wait; `None`: it is due.
    pub fn wait_for_check(&self, uid: &str, now: Instant) -> Option<Duration> {
        self.with(uid, |entry| {
            let wait = entry.check.map(|(_, due)| due.saturating_duration_since(now));
            wait.filter(|wait| !wait.is_zero())
        })
    }

    /// How long a check that someone asked for has to wait: `interval` after the last one.
    pub fn delay_request(&self, uid: &str, now: Instant, interval: Duration) -> Option<Duration> {
        self.with(uid, |entry| {
            let wait = entry.check.map(|(last, _)| interval.saturating_sub(now.duration_since(last)));
            wait.filter(|wait| !wait.is_zero())
        })
    }

    /// The job was checked, and is checked again after a pause.
    pub fn checked(&self, uid: &str, pause: Duration, now: Instant) {
        self.with(uid, |entry| entry.check = now.checked_add(pause).map(|due| (now, due)));
    }

    /// The pause after a try that ended in this reason.
    pub fn requeue_after(&self, uid: &str, reason: Reason, interval: Duration) -> Duration {
        self.with(uid, |entry| entry.requeue.after(reason, interval))
    }

    /// A try succeeded: the next failure begins with a short pause again.
    pub fn succeeded(&self, uid: &str) {
        self.with(uid, |entry| entry.requeue = RequeueBackoff::default());
    }

    /// Remembers what another process remembers.
    #[cfg(any(test, feature = "simulation"))]
    pub fn copy_from(&self, other: &Memory) {
        *self.0.lock() = other.0.lock().clone();
    }

    /// Forgets a backfill that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// Forgets everything: another operator may have led meanwhile.
    pub fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// Everything that is remembered and that decisions depend on, as text, with ages in place of times: equal memories
    /// have equal texts.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fingerprint(&self, now: Instant) -> String {
        let entries = self.0.lock();
        let mut texts: Vec<String> = entries
            .iter()
            .map(|(uid, entry)| {
                // The number of failed tries decides nothing but the pause.
                let BackfillEntry { requeue: _, written, check } = entry;
                let written = written.as_ref().map(|(at, status)| {
                    let status = serde_json::to_string(status).unwrap_or_default();
                    (now.duration_since(*at) <= CACHE_LAG, status)
                });
                let due = check.map(|(_, due)| due.saturating_duration_since(now));
                format!("{uid} {written:?} {due:?}")
            })
            .collect();
        texts.sort_unstable();
        texts.join(", ")
    }

    /// The number of backfills of which something is remembered.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_own_status_is_preferred_until_the_watch_shows_it_and_not_for_long() {
        let (memory, start) = (Memory::default(), Instant::now());
        let written = ReplicationBackfillStatus { job_id: Some("job".into()), ..Default::default() };
        let old = ReplicationBackfillStatus::default();
        memory.begin_write("uid", &written, start);
        assert_eq!(memory.status("uid", Some(&old), start), written);
        assert_eq!(memory.status("uid", Some(&old), start + 2 * CACHE_LAG), old);
        memory.begin_write("uid", &written, start);
        memory.cached("uid", Some(&written));
        assert!(memory.is_empty());
    }

    #[test]
    fn a_job_is_not_read_before_its_pause_is_over() {
        let (memory, start, pause) = (Memory::default(), Instant::now(), Duration::from_secs(30));
        memory.checked("uid", pause, start);
        assert_eq!(memory.wait_for_check("uid", start), Some(pause));
        assert_eq!(memory.wait_for_check("uid", start + pause), None);
        let interval = Duration::from_secs(10);
        assert_eq!(memory.delay_request("uid", start, interval), Some(interval), "a loop of requests");
        assert_eq!(memory.delay_request("uid", start + interval, interval), None);
        memory.forget("uid");
        assert_eq!(memory.wait_for_check("uid", start), None);
    }
}
