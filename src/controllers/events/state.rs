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

/// Whether a check of the resource reads AWS because of an event. It is checked when it is no longer suspended, or can be
/// decoded.
pub(super) fn is_checked(object: &Guarded) -> bool {
    let is_suspended = |resource: &BucketReplication| resource.spec.suspend;
    let is_deleted = object.meta().deletion_timestamp.is_some();
    object.0.as_ref().is_ok_and(|resource| !is_suspended(resource)) && !is_deleted
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;

    use super::*;
    use crate::api::{AwsAccount, AwsAccountSpec};
    use crate::controllers::index::tests::resource;
    use crate::replication::BucketAddress;
    use crate::replication::events::Lookup;
    use crate::runtime::clock::SimulatedClock;

    /// The state with one queue, which works, and these resources.
    fn working(resources: Vec<Guarded>, metrics: &EventMetrics) -> Events {
        working_by(Clock::System, resources, metrics)
    }

    fn working_by(clock: Clock, resources: Vec<Guarded>, metrics: &EventMetrics) -> Events {
        let queue = "https://sqs.us-east-1.amazonaws.com/111122223333/events".parse().unwrap();
        let events = Events::new(Setup {
            settings: EventSettings { queues: vec![queue], ..EventSettings::default() },
            interval: Interval::default(),
            index: Arc::new(Index::with_events(&[])),
            replications: Triggers::new(1),
            accounts: Triggers::new(1),
            clock,
            metrics: metrics.clone(),
        });
        resources.into_iter().for_each(|resource| apply(&events, resource));
        events.queue_answered(0);
        events
    }

    /// The watch brings a resource, which is reconciled.
    fn apply(events: &Events, resource: Guarded) {
        let (key, index) = (Key::of(resource.meta()), &events.inner().unwrap().setup.index);
        index.apply(resource).iter().for_each(|change| events.observe(change));
        events.pass_by(&index.replications.get(&key).unwrap());
    }

    /// A resource whose status names the account and the Region of everything.
    fn applied(n: i64, account: &str, destination: &str) -> Guarded {
        let source = format!("bucket-{n}");
        let mut object = resource(&format!("r{n}"), &source, Some(&format!("account-{account}")), n);
        let resource = object.0.as_mut().unwrap();
        resource.status = serde_json::from_value(serde_json::json!({
            "source": {"bucket": source, "region": "us-east-1", "account": account},
            "destinations": [{"bucket": destination, "region": "eu-west-1", "account": account}],
            "role": {"arn": format!("arn:aws:iam::{account}:role/r{n}"), "managed": true},
        }))
        .unwrap();
        object
    }

    #[test]
    fn among_ten_thousand_resources_drift_that_no_event_announced_visits_those_of_its_account_alone() {
        let account = |n: i64| format!("{:012}", n / 10);
        let resources: Vec<_> = (0..10_000).map(|n| applied(n, &account(n), "copies")).collect();
        let status = resources[70].0.as_ref().unwrap().status.clone().unwrap();
        let events = working(resources, &EventMetrics::default());
        let inner = events.inner().unwrap();
        let origin = Origin::new(&account(70), Service::S3, "us-east-1");
        inner.state.lock().coverage.received(&origin, None, inner.now());
        let drift = DriftEntry {
            resource: crate::api::AwsResource::ReplicationConfiguration,
            name: "bucket-70".to_owned(),
            path: String::new(),
            want: String::new(),
            got: String::new(),
        };
        let spec = AwsAccountSpec { account_id: account(70), ..AwsAccountSpec::default() };
        let aws_account = AwsAccount::new(&format!("account-{}", account(70)), spec);
        inner.setup.index.apply_account(DeserializeGuard(Ok(aws_account)));
        inner.setup.index.replications.take_visits();
        events.drift_found(&drift, FoundBy::Poll, &status, &CheckEvents::default());
        assert_eq!(inner.state.lock().coverage.evidence(&origin), Delivery::Unannounced);
        assert_eq!(
            inner.setup.index.replications.take_visits(),
            20,
            "the key and the object of ten resources"
        );
    }

    #[test]
    fn a_check_in_place_of_those_of_two_buckets_has_all_of_them_checked_once_it_finds_something() {
        let resources = (0..6).map(|n| applied(n, "111122223333", ["copies", "more"][usize::from(n > 2)]));
        let events = working(resources.collect(), &EventMetrics::default());
        let inner = events.inner().unwrap();
        let key = Key::namespaced("data", "r0");
        let probes = ["copies", "more"].map(Lookup::bucket).into();
        inner.state.lock().pacing.event(&key, Cause { probes, ..Cause::default() }, inner.now());
        let first = events.begin_check(&key);
        events.end_check(&key, &first, Answer::Unchanged);
        // It has another reason, and comes before the second check.
        let other = events.begin_check(&key);
        events.end_check(&key, &other, Answer::Changed);
        let mut state = inner.state.lock();
        let waits =
            |n: i64| state.pacing.begin(&Key::namespaced("data", &format!("r{n}")), inner.now()).is_some();
        assert_eq!((0..6).map(waits).collect::<Vec<_>>(), [false, true, true, true, true, true]);
    }

    #[test]
    fn drift_that_a_check_for_another_reason_finds_is_measured_from_the_change_that_an_event_announced() {
        let (metrics, mut registry) = (EventMetrics::default(), crate::telemetry::Registry::default());
        metrics.register(&mut registry);
        let all = crate::telemetry::Metrics::new(registry);
        let object = applied(0, "111122223333", "copies");
        let status = object.0.as_ref().unwrap().status.clone().unwrap();
        let events = working(vec![object], &metrics);
        let inner = events.inner().unwrap();
        let changed = Some(jiff::Timestamp::now());
        inner.state.lock().pacing.event(&key_of(0), Cause { changed, ..Cause::default() }, inner.now());
        let first = events.begin_check(&key_of(0));
        events.end_check(&key_of(0), &first, Answer::Unchanged);
        let other = events.begin_check(&key_of(0));
        assert!(!other.are_cause, "the second check because of the event is not due yet");
        let drift = DriftEntry {
            resource: crate::api::AwsResource::ReplicationConfiguration,
            name: "bucket-0".to_owned(),
            path: String::new(),
            want: String::new(),
            got: String::new(),
        };
        events.drift_found(&drift, FoundBy::Event, &status, &other);
        let text = all.render().unwrap();
        assert!(text.contains("drift_latency_seconds_count 1"), "{text}");
    }

    /// A resource with one destination, `copies`, whose `Ready` has this status.
    fn shared(n: i64, ready: &str) -> Guarded {
        let mut object = applied(n, "111122223333", "copies");
        let resource = object.0.as_mut().unwrap();
        let condition = serde_json::json!({
            "type": "Ready", "status": ready, "reason": "", "message": "",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        });
        let status = resource.status.as_mut().unwrap();
        status.conditions = vec![serde_json::from_value(condition).unwrap()];
        object
    }

    fn key_of(n: i64) -> Key {
        Key::namespaced("data", &format!("r{n}"))
    }

    /// Has the first of these resources checked in place of all.
    fn probing(resources: impl Iterator<Item = Guarded>) -> (Events, SimulatedClock) {
        let clock = SimulatedClock::new();
        let resources = resources.collect();
        let events = working_by(Clock::Simulated(clock.clone()), resources, &EventMetrics::default());
        let inner = events.inner().unwrap();
        let probes = [Lookup::bucket("copies")].into();
        inner.state.lock().pacing.event(&key_of(0), Cause { probes, ..Cause::default() }, inner.now());
        (events, clock)
    }

    /// Checks each of these resources for which an event waits. Returns their numbers.
    fn checked(events: &Events, numbers: std::ops::Range<i64>, answer: Answer) -> Vec<i64> {
        let begun = numbers.map(|n| (n, events.begin_check(&key_of(n))));
        let caused: Vec<(i64, CheckEvents)> = begun.filter(|(_, check)| check.are_cause).collect();
        caused.iter().for_each(|(n, check)| events.end_check(&key_of(*n), check, answer));
        caused.into_iter().map(|(n, _)| n).collect()
    }

    #[test]
    fn a_probe_whose_second_check_fails_is_made_by_another_resource_and_then_concerns_all() {
        let (events, clock) = probing((0..6).map(|n| shared(n, "True")));
        assert_eq!(checked(&events, 0..6, Answer::Unchanged), [0]);
        clock.advance(Duration::from_secs(60));
        assert_eq!(checked(&events, 0..6, Answer::Unanswered), [0]);
        apply(&events, shared(0, "False"));
        let mut tried = vec![0];
        for answer in [Answer::Unanswered, Answer::Unanswered, Answer::Changed] {
            clock.advance(Duration::from_secs(5));
            events.tick();
            let now = checked(&events, 0..6, answer);
            assert_eq!(now.len(), 1, "one at a time: {tried:?}, {now:?}");
            assert!(!tried.contains(&now[0]), "it is not Ready: {tried:?}, {now:?}");
            tried.extend(&now);
            apply(&events, shared(now[0], "False"));
        }
        let others: Vec<i64> = (0..6).filter(|n| Some(n) != tried.last()).collect();
        assert_eq!(checked(&events, 0..6, Answer::Unchanged), others);
    }

    #[test]
    fn a_probe_of_a_resource_that_is_deleted_suspended_or_unreadable_passes_to_another() {
        let deleted = |events: &Events| {
            let change = events.inner().unwrap().setup.index.replications.remove(&key_of(0)).unwrap();
            events.observe(&change);
        };
        let being_deleted = |events: &Events| {
            let mut object = shared(0, "True");
            let resource = object.0.as_mut().unwrap();
            resource.metadata.deletion_timestamp = resource.metadata.creation_timestamp.clone();
            apply(events, object);
        };
        let suspended = |events: &Events| {
            let mut object = shared(0, "True");
            object.0.as_mut().unwrap().spec.suspend = true;
            apply(events, object);
        };
        let unreadable = |events: &Events| {
            let metadata = shared(0, "True").0.unwrap().metadata;
            let error = "unknown variant".to_owned();
            apply(
                events,
                DeserializeGuard(Err(kube::core::error_boundary::InvalidObject { error, metadata })),
            );
        };
        let ends: [&dyn Fn(&Events); 4] = [&deleted, &being_deleted, &suspended, &unreadable];
        for (number, end) in ends.into_iter().enumerate() {
            let (events, _) = probing((0..2).map(|n| shared(n, "True")));
            end(&events);
            events.tick();
            assert_eq!(checked(&events, 0..2, Answer::Unchanged), [1], "{number}");
        }
    }

    #[test]
    fn a_resource_that_goes_while_an_event_is_dispatched_is_passed_by() {
        let (events, _) = probing((0..2).map(|n| shared(n, "True")));
        let inner = events.inner().unwrap();
        let first = inner.setup.index.replications.get(&key_of(0)).unwrap();
        events.observe(&inner.setup.index.replications.remove(&key_of(0)).unwrap());
        inner.probe(&first, Lookup::bucket("copies"), Cause::default());
        events.tick();
        assert_eq!(checked(&events, 0..2, Answer::Unchanged), [1]);
        assert_eq!(inner.state.lock().pacing.len(), 1, "nothing is kept of the other");
    }

    #[test]
    fn where_no_resource_is_ready_for_a_probe_all_of_them_are_checked() {
        let (events, _) = probing((0..4).map(|n| shared(n, if n == 0 { "True" } else { "False" })));
        let check = events.begin_check(&key_of(0));
        apply(&events, shared(0, "False"));
        events.end_check(&key_of(0), &check, Answer::Unanswered);
        events.tick();
        assert_eq!(checked(&events, 0..4, Answer::Changed), [0, 1, 2, 3]);
        events.tick();
        assert_eq!(checked(&events, 0..4, Answer::Changed), [0; 0], "the probe has ended");
    }

    #[test]
    fn the_gauge_of_coverage_has_no_sample_until_something_is_known_and_none_after_the_term() {
        let (metrics, mut registry) = (EventMetrics::default(), crate::telemetry::Registry::default());
        metrics.register(&mut registry);
        let all = crate::telemetry::Metrics::new(registry);
        let events = working(vec![applied(0, "111122223333", "copies")], &metrics);
        let samples = || {
            events.tick();
            let text = all.render().unwrap();
            let of_coverage = |line: &&str| line.contains("event_coverage{");
            let values = text.lines().filter(of_coverage).filter_map(|line| line.rsplit_once(' '));
            values.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(samples(), [""; 0], "after a start nothing has stopped");
        let inner = events.inner().unwrap();
        let origin = Origin::new("111122223333", Service::Iam, "");
        inner.state.lock().coverage.received(&origin, None, inner.now());
        assert_eq!(samples(), ["1"]);
        inner.state.lock().coverage.unannounced(&origin);
        assert_eq!(samples(), ["0"]);
        events.begin_term();
        assert_eq!(samples(), [""; 0]);
        inner.state.lock().coverage.received(&origin, None, inner.now());
        assert_eq!(samples(), ["1"]);
        events.end_term();
        let text = all.render().unwrap();
        assert!(!text.contains("event_coverage{") && !text.contains("event_queue_up{"), "{text}");
    }

    #[test]
    fn no_event_is_expected_of_a_write_to_a_role_in_an_account_that_is_not_known() {
        let events = working(Vec::new(), &EventMetrics::default());
        let outstanding = || events.inner().map(|inner| inner.state.lock().own_writes.len());
        let of_role = Step::DeleteRole { role: "orders-role".to_owned() };
        assert!(events.begin_step(&of_role, None).is_none());
        assert_eq!(outstanding(), Some(0));
        assert!(events.begin_step(&of_role, Some("111122223333")).is_some());
        let bucket = BucketAddress {
            name: "orders".to_owned(),
            region: "us-east-1".to_owned(),
            account_id: "111122223333".to_owned(),
            account_ref: None,
        };
        assert!(events.begin_step(&Step::DeleteReplication { bucket }, None).is_some());
        assert_eq!(outstanding(), Some(2));
    }
}
