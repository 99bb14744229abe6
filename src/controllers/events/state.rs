//! The state of events: coverage, the operator's own writes, and the pace of checks.
//!
//! In: changes of resources, beginnings and ends of checks and writes, and how queues answer. Out: intervals, and the
//! triggers of resources that must be polled again. Without a queue every method does nothing, so that the controllers
//! need not ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::{Resource as _, ResourceExt};
use parking_lot::Mutex;
use tracing::{info, warn};

use crate::api::{BucketReplication, BucketReplicationStatus, DriftEntry, Interval};
use crate::controllers::events::settings::EventSettings;
use crate::controllers::index::Index;
use crate::controllers::settings::SETTLE;
use crate::controllers::{Guarded, GuardedAwsAccount};
use crate::replication::events::coverage::AccountEvents;
use crate::replication::events::{
    Answer, Cause, Coverage, Delivery, Elapsed, EventName, EventQueue, Origin, OwnWrites, Pacing, Service,
};
use crate::replication::{Failure, Step};
use crate::runtime::clock::Clock;
use crate::runtime::queue::Urgency;
use crate::runtime::store::{Change, Key};
use crate::runtime::triggers::Triggers;
use crate::runtime::turns;
use crate::telemetry::{EventMetrics, FoundBy, OriginLabels};

/// The parts that [`Events`] works with.
pub struct Setup {
    pub settings: EventSettings,
    /// How often resources are checked that no events cover.
    pub interval: Interval,
    pub index: Arc<Index>,
    pub replications: Triggers<Guarded>,
    pub accounts: Triggers<GuardedAwsAccount>,
    pub clock: Clock,
    pub metrics: EventMetrics,
}

/// The state of events; `default` is that of an operator without a queue.
#[derive(Default)]
pub struct Events(Option<Box<ActiveEvents>>);

pub(super) struct ActiveEvents {
    pub(super) setup: Setup,
    start: Instant,
    pub(super) state: Mutex<EventsState>,
}

#[derive(Default)]
pub(super) struct EventsState {
    pub(super) coverage: Coverage,
    pub(super) own_writes: OwnWrites,
    pub(super) pacing: Pacing<Key>,
    /// Of accounts, by name.
    pub(super) account_pacing: Pacing<String>,
    /// The origins of the gauge of coverage.
    measured: BTreeSet<Origin>,
}

/// The part of events in a check.
#[derive(Clone, Debug, Default)]
pub struct CheckEvents {
    began: Elapsed,
    /// Events are why the check runs.
    pub are_cause: bool,
    /// The events that announced what the check may find, be it that an earlier check was to answer them.
    pub announced: Option<Cause>,
    /// Answers that are remembered for an hour must be read again.
    pub need_fresh_reads: bool,
}

/// A write under way, whose event may come before its answer.
#[derive(Debug)]
pub struct OwnWrite {
    origin: Origin,
    name: EventName,
    subject: String,
}

impl Events {
    /// Without a queue: the state that does nothing.
    pub fn new(setup: Setup) -> Events {
        if setup.settings.queues.is_empty() {
            return Events(None);
        }
        let coverage = Coverage::new(setup.settings.queues.len());
        let (start, state) =
            (setup.clock.now(), Mutex::new(EventsState { coverage, ..EventsState::default() }));
        Events(Some(Box::new(ActiveEvents { setup, start, state })))
    }

    pub(super) fn inner(&self) -> Option<&ActiveEvents> {
        self.0.as_deref()
    }

    /// Whether there is a queue.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// A term begins: another process may have read the queues meanwhile.
    pub fn begin_term(&self) {
        let Some(inner) = self.inner() else { return };
        let (mut state, now) = (inner.state.lock(), inner.now());
        state.coverage.begin_term(now);
        state.own_writes = OwnWrites::default();
        state.pacing.clear();
        state.account_pacing.clear();
    }

    /// A term ends: the figures of this process stand for nothing any more, and would hide those of the next leader.
    pub fn end_term(&self) {
        let Some(inner) = self.inner() else { return };
        for queue in &inner.setup.settings.queues {
            inner.setup.metrics.forget_queue(&queue.name);
        }
        for origin in std::mem::take(&mut inner.state.lock().measured) {
            inner.setup.metrics.forget_origin(&labels(&origin));
        }
    }

    /// Follows which origins resources depend on.
    pub fn observe(&self, change: &Change<Guarded>) {
        let Some(inner) = self.inner() else { return };
        let (before, after) = match change {
            Change::Applied { before, after } => (before.as_deref().and_then(origins), origins(after)),
            Change::Deleted(gone) => (origins(gone), None),
        };
        let mut state = inner.state.lock();
        if before != after {
            state.coverage.require(&after.unwrap_or_default());
            state.coverage.release(&before.unwrap_or_default());
        }
        if let Change::Deleted(gone) = change {
            state.pacing.forget(&Key::of(gone.meta()));
        }
    }

    /// A resource is reconciled, and no check reads AWS for it as it is now: others must answer events in its place.
    pub fn pass_by(&self, object: &Guarded) {
        if let Some(inner) = self.inner().filter(|_| !is_checked(object)) {
            inner.state.lock().pacing.forget(&Key::of(object.meta()));
        }
    }

    /// A check of a resource begins.
    pub fn begin_check(&self, key: &Key) -> CheckEvents {
        let Some(inner) = self.inner() else { return CheckEvents::default() };
        let (began, mut state) = (inner.now(), inner.state.lock());
        let cause = state.pacing.begin(key, began);
        let unanswered = cause.as_ref().or_else(|| state.pacing.unanswered(key));
        let need_fresh_reads = unanswered.is_some_and(|cause| cause.fresh);
        let are_cause = cause.is_some();
        let announced = cause.or_else(|| state.pacing.announced(key).cloned());
        CheckEvents { began, are_cause, announced, need_fresh_reads }
    }

    /// The check ended.
    pub fn end_check(&self, key: &Key, check: &CheckEvents, answer: Answer) {
        let Some(inner) = self.inner() else { return };
        let ended = inner.state.lock().pacing.end(key, answer, inner.now());
        if let Some(again) = ended.again {
            inner.setup.replications.trigger_in(key.clone(), Urgency::Change, again);
        }
        let cause = check.announced.as_ref().map(Cause::for_another).unwrap_or_default();
        for probe in ended.probes {
            inner.check_beside(key, probe, &cause);
        }
    }

    /// A check of an account begins. Returns whether its role may have changed since STS last answered.
    pub fn begin_account_check(&self, name: &str) -> bool {
        let Some(inner) = self.inner() else { return false };
        let (mut state, name) = (inner.state.lock(), name.to_owned());
        let cause = state.account_pacing.begin(&name, inner.now());
        cause.is_some() || state.account_pacing.unanswered(&name).is_some()
    }

    /// The check ended. IAM may answer from before the change for a while.
    pub fn end_account_check(&self, name: &str, answer: Answer) {
        let Some(inner) = self.inner() else { return };
        let ended = inner.state.lock().account_pacing.end(&name.to_owned(), answer, inner.now());
        if let Some(again) = ended.again {
            inner.setup.accounts.trigger_in(Key::cluster(name), Urgency::Change, again);
        }
    }

    /// How soon a resource is checked again: its own interval, or the longer one where events cover it.
    pub fn interval(
        &self,
        own: Option<&Interval>,
        default: &Interval,
        status: &BucketReplicationStatus,
        check: &CheckEvents,
    ) -> Duration {
        let covered = || {
            let inner = self.inner()?;
            let origins = Origin::of_resource(status)?;
            let covers = inner.state.lock().coverage.covers(&origins, check.began);
            covers.then_some(&inner.setup.settings.interval)
        };
        own.or_else(covered).unwrap_or(default).duration()
    }

    /// How soon an account is checked again: later where events cover all that depends on it.
    pub fn account_interval(&self, account_id: &str, default: &Interval) -> Duration {
        let covered = || {
            let inner = self.inner()?;
            let events = inner.state.lock().coverage.of_account(account_id);
            let all = events.origins.values().all(|evidence| *evidence == Delivery::Received);
            let covers = all && !events.origins.is_empty() && events.outage.is_none();
            covers.then_some(&inner.setup.settings.interval)
        };
        covered().unwrap_or(default).duration()
    }

    /// The state of the events of an account; `None` without a queue.
    pub fn of_account(&self, account_id: &str) -> Option<AccountEvents> {
        Some(self.inner()?.state.lock().coverage.of_account(account_id))
    }

    /// A step is about to be sent. `account`: the source's, in which roles are. Where it is not known, no event is
    /// expected of a write to a role: that event would be missed in vain.
    pub fn begin_step(&self, step: &Step, account: Option<&str>) -> Option<OwnWrite> {
        let name = EventName::of_step(step);
        let origin = match step {
            Step::EnableVersioning { bucket }
            | Step::PutBucketPolicy { bucket, .. }
            | Step::PutReplication { bucket, .. }
            | Step::DeleteReplication { bucket } => {
                Origin::new(&bucket.account_id, Service::S3, &bucket.region)
            }
            _ => Origin::new(account?, Service::Iam, ""),
        };
        self.begin_write(origin, name, step.subject())
    }

    /// A write is about to be sent.
    pub fn begin_write(&self, origin: Origin, name: EventName, subject: &str) -> Option<OwnWrite> {
        let inner = self.inner()?;
        inner.state.lock().own_writes.begin(origin.clone(), name, subject, inner.now());
        Some(OwnWrite { origin, name, subject: subject.to_owned() })
    }

    /// The write failed.
    pub fn write_failed(&self, write: Option<OwnWrite>) {
        if let (Some(inner), Some(OwnWrite { origin, name, subject })) = (self.inner(), write) {
            inner.state.lock().own_writes.failed(&origin, name, &subject);
        }
    }

    /// A check found drift that no earlier one had found.
    pub fn drift_found(
        &self,
        drift: &DriftEntry,
        by: FoundBy,
        status: &BucketReplicationStatus,
        check: &CheckEvents,
    ) {
        let Some(inner) = self.inner() else { return };
        inner.setup.metrics.drift_found(by);
        if let Some(changed) = check.announced.as_ref().and_then(|cause| cause.changed) {
            inner.setup.metrics.drift_latency(since(changed, &inner.setup.clock));
        }
        if by != FoundBy::Poll {
            return;
        }
        let Some(origin) = Origin::of_drift(drift, status) else { return };
        if inner.state.lock().coverage.unannounced(&origin) {
            inner.setup.metrics.unannounced();
            let (name, path) = (&drift.name, &drift.path);
            warn!(
                account = origin.account, %origin, name, path,
                "a poll found a change that no event had announced: polling until the next event comes from there"
            );
            inner.uncovered(&origin);
        }
    }

    /// Time has passed: probes may need another resource, echoes may be overdue, and a queue may have failed for too
    /// long.
    pub fn tick(&self) {
        let Some(inner) = self.inner() else { return };
        let now = inner.now();
        let mut state = inner.state.lock();
        state.pacing.expire(now);
        state.account_pacing.expire(now);
        let open = state.pacing.take_open();
        let outage = state.coverage.tick(now);
        if outage {
            state.own_writes.expect_none();
        }
        let missed: Vec<_> = state.own_writes.overdue(now);
        let uncovered: Vec<_> =
            missed.into_iter().map(|(o, n)| (state.coverage.echo_missed(&o, n), o, n)).collect();
        inner.measure(&mut state);
        let needed: Vec<Origin> = state.coverage.origins().map(|(origin, _)| origin.clone()).collect();
        drop(state);
        for (lookup, cause) in open {
            inner.probe_again(lookup, cause);
        }
        if outage {
            warn!("an event queue has not worked for a minute: polling all resources");
            inner.poll(&needed);
            inner.recount(None);
        }
        for (was_covered, origin, name) in uncovered {
            inner.setup.metrics.echo_missed();
            warn!(
                account = origin.account, %origin, event = name.as_str(),
                "no event reported a change that the operator made: polling until one does"
            );
            if was_covered {
                inner.uncovered(&origin);
            }
        }
    }

    /// A queue answered, and its messages were deleted.
    pub fn queue_answered(&self, queue: usize) {
        let Some(inner) = self.inner() else { return };
        let first = {
            let (mut state, now) = (inner.state.lock(), inner.now());
            let first = !state.coverage.is_up(queue);
            state.coverage.queue_answered(queue, now);
            inner.measure(&mut state);
            first
        };
        if first {
            // A resource that is polled from now on may rely on events again. Each resource is polled once, within its
            // interval.
            let name = inner.queue(queue).map(|queue| queue.name.as_str());
            info!(queue = name, "the event queue works");
            inner.recount(None);
        }
    }

    /// A request to a queue failed.
    pub fn queue_failed(&self, queue: usize, failure: &Failure) {
        let Some(inner) = self.inner() else { return };
        let name = inner.queue(queue).map(|queue| queue.name.as_str());
        warn!(queue = name, detail = failure.message(), "the event queue does not work; trying again");
        inner.state.lock().coverage.queue_failed(queue, &failure.message());
    }

    /// Whether a queue has answered since its last outage.
    pub fn is_up(&self, queue: usize) -> bool {
        self.inner().is_some_and(|inner| inner.state.lock().coverage.is_up(queue))
    }

    pub fn queues(&self) -> &[EventQueue] {
        self.inner().map(|inner| inner.setup.settings.queues.as_slice()).unwrap_or_default()
    }
}

impl ActiveEvents {
    pub(super) fn now(&self) -> Elapsed {
        self.setup.clock.now().saturating_duration_since(self.start)
    }

    fn queue(&self, queue: usize) -> Option<&EventQueue> {
        self.setup.settings.queues.get(queue)
    }

    /// Events of an origin can no longer be relied on.
    fn uncovered(&self, origin: &Origin) {
        self.poll(std::slice::from_ref(origin));
        self.recount(Some(&origin.account));
    }

    /// Checks the resources that depend on any of these origins within the interval of those that no events cover. A
    /// resource that depends on none of them is polled anyway, or has an interval of its own.
    fn poll(&self, uncovered: &[Origin]) {
        let (interval, now) = (self.setup.interval.duration(), self.setup.clock.since_epoch());
        let index = &self.setup.index;
        let accounts: BTreeSet<&str> = uncovered.iter().map(|origin| origin.account.as_str()).collect();
        let keys: BTreeSet<Key> = accounts.into_iter().flat_map(|id| index.by_account_id(id)).collect();
        for object in keys.iter().filter_map(|key| index.replications.get(key)) {
            let has_own = object.0.as_ref().is_ok_and(|r| r.spec.interval.is_some());
            let depends = origins(&object).is_some_and(|held| held.iter().any(|o| uncovered.contains(o)));
            if depends && !has_own {
                let turn = turns::until_turn(&object.uid().unwrap_or_default(), interval, now);
                self.setup.replications.trigger_in(Key::of(object.meta()), Urgency::Periodic, turn);
            }
        }
    }

    /// Has `AwsAccount`s report what changed about their events. `None`: all of them.
    pub(super) fn recount(&self, account_id: Option<&str>) {
        for account in self.setup.index.accounts.objects() {
            let id = account.0.as_ref().ok().map(|account| account.spec.account_id.as_str());
            if account_id.is_none() || id == account_id {
                self.setup.accounts.trigger_in(Key::cluster(&account.name_any()), Urgency::Change, SETTLE);
            }
        }
    }

    fn measure(&self, state: &mut EventsState) {
        let EventsState { coverage, measured, .. } = state;
        for (number, queue) in self.setup.settings.queues.iter().enumerate() {
            self.setup.metrics.queue_up(&queue.name, coverage.is_up(number));
        }
        let known = coverage.origins().filter_map(|(origin, evidence)| Some((origin, evidence.covers()?)));
        let known: BTreeMap<&Origin, bool> = known.collect();
        for gone in measured.iter().filter(|origin| !known.contains_key(origin)) {
            self.setup.metrics.forget_origin(&labels(gone));
        }
        for (origin, covers) in &known {
            self.setup.metrics.covered(&labels(origin), *covers);
        }
        *measured = known.into_keys().cloned().collect();
    }
}

pub(super) fn labels(origin: &Origin) -> OriginLabels {
    OriginLabels {
        account: origin.account.clone(),
        region: origin.region.clone(),
        service: origin.service.as_str(),
    }
}

/// The time from a moment of AWS's clock until now.
pub(super) fn since(moment: jiff::Timestamp, clock: &Clock) -> Duration {
    Duration::try_from(clock.timestamp().duration_since(moment)).unwrap_or_default()
}

fn origins(object: &Guarded) -> Option<Vec<Origin>> {
    object.0.as_ref().ok()?.status.as_ref().and_then(Origin::of_resource)
}

/// Whether a check of the resource reads AWS because of an event. It is checked when it is no longer suspended, or can
/// be decoded.
pub(super) fn is_checked(object: &Guarded) -> bool {
    let is_suspended = |resource: &BucketReplication| resource.spec.suspend;
    let is_deleted = object.meta().deletion_timestamp.is_some();
    object.0.as_ref().is_ok_and(|resource| !is_suspended(resource)) && !is_deleted
}

#[cfg(test)]
mod tests;
