//! The account of the work: what is due, what is under way, when each resource was last looked at. Kept for metrics
//! and health alone; nothing is decided by it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use tracing::field::Empty;
use tracing::{Instrument, trace_span};

use crate::api::Reason;
use crate::controllers::Guarded;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::reconcile;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::telemetry::Ending;

/// What is known of one resource.
#[derive(Debug)]
struct Entry {
    /// Since when this process answers for it.
    since: Instant,
    /// From when on a reconcile is wanted.
    due: Option<Instant>,
    /// When the one under way began.
    began: Option<Instant>,
    /// What the one under way has told.
    told: Option<Reason>,
    /// When AWS was last read for it.
    checked: Option<Instant>,
}

/// By UID.
#[derive(Debug, Default)]
pub struct ReconcileTracker(Mutex<HashMap<String, Entry>>);

impl ReconcileTracker {
    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, uid: &str, now: Instant, act: impl FnOnce(&mut Entry) -> T) -> T {
        let new = || Entry { since: now, due: None, began: None, told: None, checked: None };
        let mut entries = self.entries();
        match entries.get_mut(uid) {
            Some(entry) => act(entry),
            None => act(entries.entry(uid.to_owned()).or_insert_with(new)),
        }
    }

    /// A reconcile is wanted from then on, or earlier if that was so already.
    pub fn due(&self, uid: &str, at: Instant, now: Instant) {
        self.with(uid, now, |entry| entry.due = Some(entry.due.map_or(at, |earlier| earlier.min(at))));
    }

    /// What the reconcile under way says of Ready.
    pub fn told(&self, uid: &str, reason: Reason) {
        if let Some(entry) = self.entries().get_mut(uid) {
            entry.told = Some(reason);
        }
    }

    /// The resource is gone. What is still under way for it ends by itself.
    pub fn forget(&self, uid: &str) {
        self.entries().retain(|held, entry| held != uid || entry.began.is_some());
    }

    /// A new term: what was known is another's by now.
    pub fn forget_all(&self) {
        self.entries().clear();
    }

    /// Whether a reconcile of it has begun and not ended.
    pub fn is_under_way(&self, uid: &str) -> bool {
        self.entries().get(uid).is_some_and(|entry| entry.began.is_some())
    }

    /// How many resources wait for their reconcile.
    pub fn depth(&self, now: Instant) -> usize {
        let waits = |entry: &&Entry| entry.began.is_none() && entry.due.is_some_and(|due| due <= now);
        self.entries().values().filter(waits).count()
    }

    /// How long the longest reconcile under way has been so.
    pub fn longest(&self, now: Instant) -> Option<Duration> {
        self.entries().values().filter_map(|e| e.began).map(|began| now.duration_since(began)).max()
    }

    /// The time since AWS was last read for a resource, or since this process answers for it.
    pub fn check_age(&self, uid: &str, now: Instant) -> Option<Duration> {
        let entries = self.entries();
        let entry = entries.get(uid)?;
        Some(now.duration_since(entry.checked.unwrap_or(entry.since)))
    }

    /// A reconcile begins. How long it waited, where that is known.
    pub(crate) fn begin(&self, uid: &str, now: Instant) -> Option<Duration> {
        self.with(uid, now, |entry| {
            (entry.began, entry.told) = (Some(now), None);
            entry.due.take().map(|due| now.saturating_duration_since(due))
        })
    }

    /// It has ended, or was dropped. What it told.
    pub(crate) fn end(&self, uid: &str, now: Instant) -> Option<Reason> {
        let mut entries = self.entries();
        let entry = entries.get_mut(uid)?;
        entry.began = None;
        let told = entry.told.take();
        if told.is_some_and(was_read) {
            entry.checked = Some(now);
        }
        told
    }
}

/// Whether AWS was read in a check that ended in this reason. What passes by itself is no reading: it is tried again
/// until it is one.
fn was_read(reason: Reason) -> bool {
    !reason.is_transient() && is_to_be_read(reason)
}

/// Whether AWS is read at all for a resource of which this is true.
pub fn is_to_be_read(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Suspended
            | Reason::SourceConflict
            | Reason::NotAllowed
            | Reason::AccountNotFound
            | Reason::InvalidSpec
    )
}

/// A reconcile under way, which ends also when it is dropped.
struct UnderWay {
    object: Arc<Guarded>,
    ctx: Arc<Context>,
    uid: String,
    began: Instant,
}

impl UnderWay {
    fn begin(object: Arc<Guarded>, ctx: Arc<Context>) -> UnderWay {
        let (uid, began) = (object.uid().unwrap_or_default(), Instant::now());
        if let Some(waited) = ctx.work.begin(&uid, began) {
            ctx.metrics.queued(waited);
        }
        UnderWay { object, ctx, uid, began }
    }

    /// What it told, and how long it took.
    fn end(&self, now: Instant) -> (Option<Reason>, Duration) {
        (self.ctx.work.end(&self.uid, now), now.duration_since(self.began))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.end(Instant::now());
        self.ctx.settled(&self.object);
    }
}

/// Reconciles when there is a place for it, and takes account of that: while it waits for its place it counts as
/// queued.
pub async fn instrumented_reconcile(object: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action, Error> {
    let places = ctx.places(&object);
    let _place = tokio::select! {
        place = places.acquire() => place,
        () = ctx.shutdown.cancelled() => return Ok(Action::await_change()),
    };
    let under_way = UnderWay::begin(object, ctx);
    let UnderWay { object, ctx, uid, .. } = &under_way;
    // As the cache has it now; one that went while it waited was an event of its own.
    let Some(object) = ctx.current(object) else { return Ok(Action::await_change()) };
    // For traces; what is logged names the resource itself.
    let span = trace_span!(
        "reconcile",
        k8s.namespace.name = object.namespace(),
        s3replication.name = object.name_any(),
        s3replication.reason = Empty,
        otel.status_code = Empty,
    );
    let result = reconcile(object, ctx.clone()).instrument(span.clone()).await;
    let now = Instant::now();
    let (told, took) = under_way.end(now);
    let ending = match (&result, told) {
        (Err(error), _) => Ending::Error(error.name()),
        (Ok(_), Some(reason)) => Ending::Reported(reason),
        (Ok(_), None) => Ending::Deleted,
    };
    if let Ending::Reported(reason) = ending {
        span.record("s3replication.reason", reason.as_str());
    }
    if let Ending::Error(name) = ending {
        span.record("s3replication.reason", name).record("otel.status_code", "ERROR");
    }
    ctx.metrics.reconciled(ending, took);
    match (ending, &result) {
        (Ending::Deleted, _) => ctx.work.forget(uid),
        (_, Ok(action)) => {
            if let Some(after) = action.after() {
                ctx.work.due(uid, now + after, now);
            }
        }
        // The policy for errors says when to come back.
        (_, Err(_)) => {}
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_due_waits_until_it_begins() {
        let (work, start) = (ReconcileTracker::default(), Instant::now());
        work.due("a", start + 10 * SECOND, start);
        work.due("b", start, start);
        assert_eq!(work.depth(start), 1);
        assert_eq!(work.depth(start + 10 * SECOND), 2);
        work.due("a", start + 4 * SECOND, start);
        work.due("a", start + 8 * SECOND, start);
        assert_eq!(work.begin("a", start + 5 * SECOND), Some(SECOND), "the earliest counts");
        assert_eq!(work.depth(start + 10 * SECOND), 1, "what is under way does not wait");
        work.end("a", start + 6 * SECOND);
        assert_eq!(work.begin("a", start + 7 * SECOND), None, "nobody had asked for it");
    }

    #[test]
    fn the_age_of_a_check_counts_from_the_last_that_read_aws() {
        let (work, start) = (ReconcileTracker::default(), Instant::now());
        let check = |reason, second: u32| {
            work.begin("a", start + second * SECOND);
            work.told("a", reason);
            assert_eq!(work.end("a", start + second * SECOND), Some(reason));
        };
        let age = |second: u32| work.check_age("a", start + second * SECOND);
        assert_eq!(age(0), None);
        work.due("a", start, start);
        assert_eq!(age(5), Some(5 * SECOND), "since this process answers for it");
        check(Reason::AwsUnavailable, 10);
        assert_eq!(age(10), Some(10 * SECOND));
        check(Reason::ForeignRole, 20);
        assert_eq!(age(20), Some(Duration::ZERO), "what was found does not matter");
        check(Reason::Suspended, 30);
        assert_eq!(age(30), Some(10 * SECOND));
    }

    #[test]
    fn a_reconcile_is_under_way_until_it_ends_also_when_its_object_has_gone() {
        let (work, start) = (ReconcileTracker::default(), Instant::now());
        work.begin("a", start);
        assert_eq!(work.longest(start + SECOND), Some(SECOND));
        work.forget("a");
        assert_eq!(work.longest(start + SECOND), Some(SECOND), "its object has gone, and it goes on");
        assert!(work.is_under_way("a"));
        work.end("a", start + SECOND);
        assert!(!work.is_under_way("a"));
        assert_eq!(work.longest(start + SECOND), None);
        work.forget("a");
        assert!(work.entries().is_empty());
    }
}
