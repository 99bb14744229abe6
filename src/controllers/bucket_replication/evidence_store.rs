//! Keeps the evidence about the objects of each resource between reconciles.
//!
//! In: from each check, the rules whose metrics may be read; evidence from the readers of AWS: the sweep of metrics,
//! canaries, failure events. Out: the evidence of one resource for its status, and what a sweep has to read. A resource
//! without evidence takes no memory. Entries are keyed by UID.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::api::{BucketReplicationStatus, RuleHealth};
use crate::replication::health::failure_event::{self, FailureEvent};
use crate::replication::health::metrics::Watch;
use crate::replication::health::{Evidence, RuleEvidence};
use crate::runtime::store::Key;

/// The evidence of all resources.
#[derive(Debug, Default)]
pub struct EvidenceStore {
    entries: Mutex<HashMap<String, Entry>>,
    /// Failure events of resources that this process has not checked yet.
    early: Mutex<VecDeque<FailureEvent>>,
}

/// Of more early events than this the oldest are dropped.
const MOST_EARLY: usize = 1_000;

#[derive(Debug, Default)]
struct Entry {
    evidence: Evidence,
    watched: Option<Watched>,
}

/// A resource whose metrics are read.
#[derive(Clone, Debug)]
struct Watched {
    key: Key,
    watch: Watch,
    /// `None`: metrics are not read, and failure events are the evidence.
    interval: Option<Duration>,
    /// When the metrics were last read.
    read_at: Option<Instant>,
}

/// What a check found out about the metrics of a resource.
#[derive(Clone, Debug)]
pub struct Registration<'a> {
    pub key: Key,
    pub watch: Watch,
    /// The status as it was last written, which remembers what earlier processes found.
    pub previous: &'a BucketReplicationStatus,
    /// `None`: metrics are not read.
    pub interval: Option<Duration>,
    /// How far a verdict looks back.
    pub window: SignedDuration,
    pub now: Timestamp,
}

/// A resource that a sweep reads.
#[derive(Clone, Debug)]
pub struct Due {
    pub uid: String,
    pub key: Key,
    pub watch: Watch,
    pub evidence: Evidence,
}

impl EvidenceStore {
    /// The evidence of a resource.
    pub fn get(&self, uid: &str) -> Evidence {
        self.entries.lock().get(uid).map(|entry| entry.evidence.clone()).unwrap_or_default()
    }

    /// Adds to the evidence of a resource.
    pub fn with<T>(&self, uid: &str, add: impl FnOnce(&mut Evidence) -> T) -> T {
        add(&mut self.entries.lock().entry(uid.to_owned()).or_default().evidence)
    }

    /// Adds to the evidence of a resource that has some already.
    pub fn update<T>(&self, uid: &str, add: impl FnOnce(&mut Evidence) -> T) -> Option<T> {
        self.entries.lock().get_mut(uid).map(|entry| add(&mut entry.evidence))
    }

    /// Reads the metrics of these rules from now on, and of no others of the resource.
    pub fn watch(&self, uid: &str, registration: Registration<'_>) {
        let Registration { key, watch, previous, interval, window, now } = registration;
        let mut entries = self.entries.lock();
        if watch.rules.is_empty() && !entries.contains_key(uid) {
            return;
        }
        let entry = entries.entry(uid.to_owned()).or_default();
        let evidence = &mut entry.evidence;
        if evidence.window != window {
            // Points of another length do not add up with those of before.
            for metrics in evidence.rules.values_mut().filter_map(|rule| rule.metrics.as_mut()) {
                metrics.counted_to = metrics.counted_to.max(metrics.ended.keys().next_back().copied());
                metrics.ended.clear();
            }
            evidence.window = window;
        }
        let names: BTreeSet<&String> = watch.rules.iter().map(|rule| &rule.id).collect();
        for (id, rule) in &mut evidence.rules {
            rule.metrics.take_if(|_| !names.contains(id));
        }
        evidence.reads_metrics = interval.is_some();
        if interval.is_none() {
            remember_failures(evidence, &names, previous);
        }
        for id in names.into_iter().filter(|_| interval.is_some()) {
            let held = evidence.rules.entry(id.clone()).or_insert_with(|| remembered(id, previous));
            if held.metrics.is_none() {
                let known = in_status(id, previous).is_some();
                held.metrics = Some(held.unread_metrics(published_since(id, previous, now), known, now));
            }
        }
        let counts = |rule: &RuleEvidence| rule.metrics.is_some() || rule.canary.is_some();
        evidence.rules.retain(|_, rule| counts(rule) || (interval.is_none() && rule.run.is_some()));
        for event in self.take_early(&watch) {
            failure_event::add(evidence, &event);
        }
        let read_at = entry.watched.as_ref().and_then(|watched| watched.read_at);
        entry.watched = (!watch.rules.is_empty()).then_some(Watched { key, watch, interval, read_at });
        if entry.watched.is_none() && entry.evidence.rules.is_empty() {
            entries.remove(uid);
        }
    }

    /// The resources whose metrics are to be read now; they count as read. All of one interval are read together, so
    /// that they share calls: at multiples of the interval since `start`.
    pub fn take_due(&self, start: Instant, now: Instant) -> Vec<Due> {
        let slot = |at: Instant, interval: Duration| {
            at.saturating_duration_since(start).as_millis() / interval.as_millis().max(1)
        };
        let mut entries = self.entries.lock();
        let due = entries.iter_mut().filter_map(|(uid, entry)| {
            let watched = entry.watched.as_mut()?;
            let interval = watched.interval?;
            if watched.read_at.is_some_and(|read| slot(read, interval) == slot(now, interval)) {
                return None;
            }
            watched.read_at = Some(now);
            let (key, watch) = (watched.key.clone(), watched.watch.clone());
            Some(Due { uid: uid.clone(), key, watch, evidence: entry.evidence.clone() })
        });
        let mut due: Vec<Due> = due.collect();
        due.sort_by(|a, b| a.uid.cmp(&b.uid));
        due
    }

    /// The UID and key of the resource whose rule replicates from one bucket into another, for a failure event. At most
    /// one resource owns a source.
    pub fn find(&self, source: &str, rule: &str, destination: &str) -> Option<(String, Key)> {
        let entries = self.entries.lock();
        let mut watched = entries.iter().filter_map(|(uid, entry)| Some((uid, entry.watched.as_ref()?)));
        let (uid, found) =
            watched.find(|(_, watched)| is_about(&watched.watch, (source, rule, destination)))?;
        Some((uid.clone(), found.key.clone()))
    }

    /// Keeps a failure event until the resource that it is about is checked: SQS does not deliver it again.
    pub fn keep_early(&self, event: FailureEvent) {
        let mut early = self.early.lock();
        if early.len() >= MOST_EARLY {
            early.pop_front();
        }
        early.push_back(event);
    }

    fn take_early(&self, watch: &Watch) -> Vec<FailureEvent> {
        let mut early = self.early.lock();
        let is_of = |event: &FailureEvent| is_about(watch, (&event.source, &event.rule, &event.destination));
        let (taken, kept): (Vec<_>, Vec<_>) = early.drain(..).partition(is_of);
        early.extend(kept);
        taken
    }

    /// How many resources there is evidence of.
    pub fn len(&self) -> usize {
        self.entries.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets a resource: it is gone, or may no longer be observed.
    pub fn forget(&self, uid: &str) {
        self.entries.lock().remove(uid);
    }

    /// Forgets everything: another operator may have led meanwhile.
    pub fn forget_all(&self) {
        self.entries.lock().clear();
        self.early.lock().clear();
    }
}

/// Whether a rule of a resource replicates from one bucket into another.
fn is_about(watch: &Watch, (source, rule, destination): (&str, &str, &str)) -> bool {
    watch.source == source
        && watch.rules.iter().any(|held| held.id == rule && held.destination == destination)
}

/// Takes the runs of failures over that the status remembers, of the rules with these IDs, and drops those of all others.
fn remember_failures(evidence: &mut Evidence, names: &BTreeSet<&String>, previous: &BucketReplicationStatus) {
    for (id, rule) in &mut evidence.rules {
        rule.run.take_if(|_| !names.contains(id));
    }
    for id in names {
        let found = remembered(id, previous);
        if found.run.is_some() {
            evidence.rules.entry((*id).clone()).or_insert(found);
        }
    }
}

fn remembered(id: &str, previous: &BucketReplicationStatus) -> RuleEvidence {
    let health = previous.health.as_ref();
    let failed_since = health.and_then(|health| health.failed_since.as_ref()).map(|time| time.0);
    let held = in_status(id, previous);
    held.map(|held| RuleEvidence::remembered(held, failed_since)).unwrap_or_default()
}

/// What the status has about a rule.
fn in_status<'a>(id: &str, status: &'a BucketReplicationStatus) -> Option<&'a RuleHealth> {
    status.health.as_ref()?.rules.iter().find(|rule| rule.id == id)
}

/// Since when a rule publishes metrics: since now, unless the status knows it already.
fn published_since(id: &str, previous: &BucketReplicationStatus, now: Timestamp) -> Timestamp {
    match in_status(id, previous) {
        None => now,
        Some(held) => held.metrics_since.as_ref().map_or(Timestamp::UNIX_EPOCH, |since| since.0),
    }
}
