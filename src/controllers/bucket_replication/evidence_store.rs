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
    state: Mutex<EvidenceEntries>,
    /// Failure events of resources that this process has not checked yet.
    early: Mutex<VecDeque<FailureEvent>>,
}

/// Of more early events than this the oldest are dropped.
const MOST_EARLY: usize = 1_000;

#[derive(Clone, Debug, Default)]
struct EvidenceEntries {
    entries: HashMap<String, EvidenceEntry>,
    /// The UIDs of the watched resources of each source bucket, so that a failure event costs no scan.
    by_source: HashMap<String, Vec<String>>,
    /// The number of resources that were compared, so that tests can count work instead of time.
    #[cfg(test)]
    visits: usize,
}

impl EvidenceEntries {
    #[cfg(test)]
    fn visit(&mut self) {
        self.visits += 1;
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self)]
    fn visit(&mut self) {}

    /// A resource is no longer watched, or is about to be watched in another way.
    fn unlink(&mut self, uid: &str) {
        let watched = self.entries.get(uid).and_then(|entry| entry.watched.as_ref());
        let Some(source) = watched.map(|watched| watched.watch.source.as_str()) else { return };
        if let Some(uids) = self.by_source.get_mut(source) {
            uids.retain(|held| held != uid);
            if uids.is_empty() {
                self.by_source.remove(source);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
struct EvidenceEntry {
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

/// The result of a check about the metrics of a resource.
#[derive(Clone, Debug)]
pub struct Registration<'a> {
    pub key: Key,
    pub watch: Watch,
    /// The status as it was last written, which remembers what earlier processes found.
    pub previous: &'a BucketReplicationStatus,
    /// `None`: metrics are not read.
    pub interval: Option<Duration>,
    /// The period whose evidence a verdict counts.
    pub window: SignedDuration,
    pub now: Timestamp,
}

/// A resource that a sweep reads.
#[derive(Clone, Debug)]
pub struct SweptResource {
    pub uid: String,
    pub key: Key,
    pub watch: Watch,
    pub evidence: Evidence,
}

impl EvidenceStore {
    /// Keeps what another store keeps.
    #[cfg(any(test, feature = "simulation"))]
    pub fn copy_from(&self, other: &EvidenceStore) {
        *self.state.lock() = other.state.lock().clone();
        *self.early.lock() = other.early.lock().clone();
    }

    /// The evidence of a resource.
    pub fn get(&self, uid: &str) -> Evidence {
        self.state.lock().entries.get(uid).map(|entry| entry.evidence.clone()).unwrap_or_default()
    }

    /// Adds to the evidence of a resource.
    pub fn with<T>(&self, uid: &str, add: impl FnOnce(&mut Evidence) -> T) -> T {
        add(&mut self.state.lock().entries.entry(uid.to_owned()).or_default().evidence)
    }

    /// Adds to the evidence of a resource that has some already.
    pub fn update<T>(&self, uid: &str, add: impl FnOnce(&mut Evidence) -> T) -> Option<T> {
        self.state.lock().entries.get_mut(uid).map(|entry| add(&mut entry.evidence))
    }

    /// Reads the metrics of these rules from now on, and of no others of the resource.
    pub fn watch(&self, uid: &str, registration: Registration<'_>) {
        let Registration { key, watch, previous, interval, window, now } = registration;
        let mut state = self.state.lock();
        if watch.rules.is_empty() && !state.entries.contains_key(uid) {
            return;
        }
        state.unlink(uid);
        let EvidenceEntries { entries, by_source, .. } = &mut *state;
        if !watch.rules.is_empty() {
            by_source.entry(watch.source.clone()).or_default().push(uid.to_owned());
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
    pub fn take_due(&self, start: Instant, now: Instant) -> Vec<SweptResource> {
        let slot = |at: Instant, interval: Duration| {
            at.saturating_duration_since(start).as_millis() / interval.as_millis().max(1)
        };
        let mut state = self.state.lock();
        let due = state.entries.iter_mut().filter_map(|(uid, entry)| {
            let watched = entry.watched.as_mut()?;
            let interval = watched.interval?;
            if watched.read_at.is_some_and(|read| slot(read, interval) == slot(now, interval)) {
                return None;
            }
            watched.read_at = Some(now);
            let (key, watch) = (watched.key.clone(), watched.watch.clone());
            Some(SweptResource { uid: uid.clone(), key, watch, evidence: entry.evidence.clone() })
        });
        let mut due: Vec<SweptResource> = due.collect();
        due.sort_by(|a, b| a.uid.cmp(&b.uid));
        due
    }

    /// The UID and key of the resource whose rule replicates from one bucket into another, for a failure event. At most
    /// one resource owns a source.
    pub fn find(&self, source: &str, rule: &str, destination: &str) -> Option<(String, Key)> {
        let mut state = self.state.lock();
        for uid in state.by_source.get(source).cloned().unwrap_or_default() {
            state.visit();
            let watched = state.entries.get(&uid).and_then(|entry| entry.watched.as_ref());
            let is_found = |held: &&Watched| is_about(&held.watch, (source, rule, destination));
            if let Some(found) = watched.filter(is_found) {
                let key = found.key.clone();
                return Some((uid, key));
            }
        }
        None
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

    /// The number of resources of which there is evidence.
    pub fn len(&self) -> usize {
        self.state.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets a resource: it is gone, or may no longer be observed.
    pub fn forget(&self, uid: &str) {
        let mut state = self.state.lock();
        state.unlink(uid);
        state.entries.remove(uid);
    }

    /// Forgets everything: another operator may have led meanwhile.
    pub fn forget_all(&self) {
        *self.state.lock() = EvidenceEntries::default();
        self.early.lock().clear();
    }
}

/// Whether a rule of a resource replicates from one bucket into another.
fn is_about(watch: &Watch, (source, rule, destination): (&str, &str, &str)) -> bool {
    watch.source == source
        && watch.rules.iter().any(|held| held.id == rule && held.destination == destination)
}

/// Takes the runs of failures over that the status remembers, of the rules with these IDs, and drops those of all
/// others.
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

/// The entry of a rule in the status.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::health::metrics::WatchedRule;

    /// Watches the rule `all` of a resource, or none.
    fn watch(store: &EvidenceStore, uid: &str, source: &str, has_rule: bool) {
        let rule = WatchedRule { id: "all".to_owned(), destination: "copies".to_owned(), region: None };
        let watch = Watch {
            account: None,
            source: source.to_owned(),
            region: "us-east-1".to_owned(),
            rules: has_rule.then_some(rule).into_iter().collect(),
        };
        let registration = Registration {
            key: Key::namespaced("data", uid),
            watch,
            previous: &BucketReplicationStatus::default(),
            interval: None,
            window: SignedDuration::from_mins(15),
            now: Timestamp::UNIX_EPOCH,
        };
        store.watch(uid, registration);
    }

    #[test]
    fn among_ten_thousand_resources_a_failure_event_visits_those_of_its_source_alone() {
        let store = EvidenceStore::default();
        for n in 0..10_000 {
            watch(&store, &format!("r{n}"), &format!("bucket-{n}"), true);
        }
        let found = |source: &str, rule: &str| store.find(source, rule, "copies").map(|(uid, _)| uid);
        assert_eq!(found("bucket-7", "all").as_deref(), Some("r7"));
        assert_eq!(found("bucket-8", "another"), None);
        assert_eq!(found("bucket-of-nobody", "all"), None);
        assert_eq!(store.state.lock().visits, 2);
    }

    #[test]
    fn a_resource_is_found_by_its_source_while_it_is_watched() {
        let store = EvidenceStore::default();
        let found = |source: &str| store.find(source, "all", "copies").map(|(uid, _)| uid);
        watch(&store, "a", "orders", true);
        watch(&store, "a", "orders", true);
        assert_eq!(found("orders").as_deref(), Some("a"));
        watch(&store, "a", "invoices", true);
        assert_eq!((found("orders"), found("invoices").as_deref()), (None, Some("a")));
        watch(&store, "a", "invoices", false);
        assert_eq!(found("invoices"), None);
        watch(&store, "a", "orders", true);
        store.forget("a");
        assert_eq!(found("orders"), None);
        assert!(store.state.lock().by_source.is_empty());
    }
}
