//! Decides which object is reconciled next.
//!
//! In: triggers (an object is due now or later), the ends of reconciles, and the time. Out: the next object to begin,
//! when to ask again, and figures for metrics. It is plain data without tasks: an object that waits is an entry of a
//! few dozen bytes, and its future is made only once it has a permit.
//!
//! Four rules. An object is reconciled once at a time; a trigger meanwhile is handled afterwards. Each set of accounts
//! is a bulkhead with permits of its own, so that an account that does not answer delays no resource of another. Within
//! a bulkhead, changes go before periodic checks, which never take all permits. Among changes, and among periodic
//! checks, namespaces take turns ([`RoundRobin`]).
//!
//! kube's `Controller` is not used for this. It knows one order (first come, first served) and one limit for all
//! objects. It makes the future of everything that waits, and polls all of them whenever one can go on. With ten
//! thousand objects due after a start, that was most of the operator's CPU time. client-go's rate-limiting work queue
//! is the model.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::runtime::round_robin::{RoundRobin, Ticket};
use crate::runtime::store::Key;

/// Why an object is due. Smaller goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A person or a controller changed something: the object, an annotation, an account.
    Change,
    /// Time has passed.
    Periodic,
}

/// The accounts (or whatever else can be slow) that share permits.
pub type BulkheadKey = Arc<str>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    at: Instant,
    urgency: Urgency,
}

impl Due {
    /// The earlier time, and the more urgent of the two.
    fn merge(self, other: Due) -> Due {
        Due { at: self.at.min(other.at), urgency: self.urgency.min(other.urgency) }
    }
}

#[derive(Debug)]
enum QueueState {
    /// Due later.
    Delayed { due: Due, ticket: Ticket },
    /// Due, and waiting for a permit since `due.at`.
    Ready { due: Due, ticket: Ticket, bulkhead: BulkheadKey },
    /// A permit is taken. `again`: triggered meanwhile.
    Running { since: Instant, urgency: Urgency, bulkhead: BulkheadKey, again: Option<Due> },
}

#[derive(Debug, Default)]
struct Bulkhead {
    /// Permits taken, by urgency.
    running: [usize; 2],
    /// The objects that wait for a permit, by urgency.
    ready: [RoundRobin; 2],
}

impl Bulkhead {
    fn is_unused(&self) -> bool {
        self.running == [0, 0] && self.ready.iter().all(RoundRobin::is_empty)
    }
}

const fn class(urgency: Urgency) -> usize {
    match urgency {
        Urgency::Change => 0,
        Urgency::Periodic => 1,
    }
}

/// An object that may begin now.
#[derive(Debug, PartialEq, Eq)]
pub struct Begun {
    pub key: Key,
    /// Why it is due.
    pub urgency: Urgency,
    /// How long it was due.
    pub waited: Duration,
}

/// The queue of one kind.
#[derive(Debug)]
pub struct WorkQueue {
    /// Permits of each bulkhead.
    permits: usize,
    entries: HashMap<Key, QueueState>,
    delayed: BTreeMap<(Instant, Ticket), Key>,
    bulkheads: HashMap<BulkheadKey, Bulkhead>,
    /// Bulkheads in which something may be able to begin.
    candidates: BTreeSet<BulkheadKey>,
    last_ticket: Ticket,
}

impl WorkQueue {
    /// `permits`: reconciles at the same time in each bulkhead.
    pub fn new(permits: u16) -> WorkQueue {
        WorkQueue {
            permits: usize::from(permits).max(1),
            entries: HashMap::new(),
            delayed: BTreeMap::new(),
            bulkheads: HashMap::new(),
            candidates: BTreeSet::new(),
            last_ticket: 0,
        }
    }

    /// Permits that periodic checks leave to changes.
    fn reserved(&self) -> usize {
        if self.permits > 1 { (self.permits / 4).max(1) } else { 0 }
    }

    /// An object is due at a time. Of several times the earliest counts, and the most urgent reason.
    pub fn add(&mut self, key: Key, at: Instant, urgency: Urgency) {
        let due = Due { at, urgency };
        match self.entries.get_mut(&key) {
            None => self.delay(key, due),
            Some(QueueState::Running { again, .. }) => {
                *again = Some(again.map_or(due, |before| before.merge(due)));
            }
            Some(QueueState::Delayed { due: before, .. }) => {
                let merged = before.merge(due);
                if merged != *before {
                    self.take_out(&key);
                    self.delay(key, merged);
                }
            }
            Some(QueueState::Ready { due: before, .. }) => {
                // It may need another bulkhead by now: it goes through `promote` again, and keeps its place by time.
                if urgency < before.urgency {
                    let merged = before.merge(due);
                    self.take_out(&key);
                    self.delay(key, merged);
                }
            }
        }
    }

    fn delay(&mut self, key: Key, due: Due) {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.delayed.insert((due.at, ticket), key.clone());
        self.entries.insert(key, QueueState::Delayed { due, ticket });
    }

    /// Takes an entry that does not run out of everything.
    fn take_out(&mut self, key: &Key) {
        match self.entries.remove(key) {
            Some(QueueState::Delayed { due, ticket }) => drop(self.delayed.remove(&(due.at, ticket))),
            Some(QueueState::Ready { due, ticket, bulkhead }) => {
                if let Some(held) = self.bulkheads.get_mut(&bulkhead) {
                    if let Some(ready) = held.ready.get_mut(class(due.urgency)) {
                        ready.remove(ticket, key);
                    }
                    self.drop_if_unused(&bulkhead);
                }
            }
            Some(running @ QueueState::Running { .. }) => drop(self.entries.insert(key.clone(), running)),
            None => {}
        }
    }

    fn drop_if_unused(&mut self, bulkhead: &BulkheadKey) {
        if self.bulkheads.get(bulkhead).is_some_and(Bulkhead::is_unused) {
            self.bulkheads.remove(bulkhead);
            self.candidates.remove(bulkhead);
        }
    }

    /// Forgets an object that is gone. A reconcile that runs goes on to its end.
    pub fn forget(&mut self, key: &Key) {
        self.take_out(key);
    }

    /// Begins the next object that is due and has a permit. `bulkhead_of`: the bulkhead of an object as it is now;
    /// `None` when the object is gone.
    pub fn begin(
        &mut self,
        now: Instant,
        bulkhead_of: impl Fn(&Key) -> Option<BulkheadKey>,
    ) -> Option<Begun> {
        self.promote(now, bulkhead_of);
        while let Some(bulkhead) = self.candidates.first().cloned() {
            if let Some(begun) = self.begin_in(&bulkhead, now) {
                return Some(begun);
            }
            self.candidates.remove(&bulkhead);
        }
        None
    }

    /// Moves what is due to its bulkhead.
    fn promote(&mut self, now: Instant, bulkhead_of: impl Fn(&Key) -> Option<BulkheadKey>) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            let Some(QueueState::Delayed { due, .. }) = self.entries.remove(&key) else { continue };
            let Some(bulkhead) = bulkhead_of(&key) else { continue };
            self.last_ticket += 1;
            let ticket = self.last_ticket;
            let held = self.bulkheads.entry(bulkhead.clone()).or_default();
            if let Some(ready) = held.ready.get_mut(class(due.urgency)) {
                ready.insert(ticket, key.clone());
            }
            self.candidates.insert(bulkhead.clone());
            self.entries.insert(key, QueueState::Ready { due, ticket, bulkhead });
        }
    }

    fn begin_in(&mut self, bulkhead: &BulkheadKey, now: Instant) -> Option<Begun> {
        let for_periodic = self.permits - self.reserved();
        let held = self.bulkheads.get_mut(bulkhead)?;
        let [changes, periodic] = held.running;
        if changes + periodic >= self.permits {
            return None;
        }
        let [waiting_changes, waiting_periodic] = &mut held.ready;
        let key = match waiting_changes.pop() {
            Some(first) => first,
            None if periodic < for_periodic => waiting_periodic.pop()?,
            None => return None,
        };
        let state = self.entries.get_mut(&key)?;
        let QueueState::Ready { due, .. } = *state else { return None };
        if let Some(running) = held.running.get_mut(class(due.urgency)) {
            *running += 1;
        }
        let (since, urgency) = (now, due.urgency);
        *state = QueueState::Running { since, urgency, bulkhead: bulkhead.clone(), again: None };
        Some(Begun { key, urgency, waited: now.saturating_duration_since(due.at) })
    }

    /// A reconcile ended and gives its permit back. `next`: when the object is due again, unless it was triggered
    /// meanwhile.
    pub fn end(&mut self, key: &Key, next: Option<Instant>) {
        let Some(QueueState::Running { urgency, bulkhead, again, .. }) = self.entries.remove(key) else {
            return;
        };
        if let Some(running) =
            self.bulkheads.get_mut(&bulkhead).and_then(|b| b.running.get_mut(class(urgency)))
        {
            *running = running.saturating_sub(1);
        }
        self.candidates.insert(bulkhead.clone());
        self.drop_if_unused(&bulkhead);
        let next = next.map(|at| Due { at, urgency: Urgency::Periodic });
        let due = match (next, again) {
            (Some(next), Some(again)) if again.at <= next.at => Some(again),
            // Triggered for later than the next check: that check does for both.
            (Some(next), Some(_)) => Some(next),
            (next, again) => next.or(again),
        };
        if let Some(due) = due {
            self.delay(key.clone(), due);
        }
    }

    /// When the next delayed object becomes due.
    pub fn next_due(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((at, _), _)| *at)
    }

    /// The number of objects that are due and wait to begin.
    pub fn depth(&self, now: Instant) -> usize {
        let ready: usize = self.bulkheads.values().flat_map(|b| &b.ready).map(RoundRobin::len).sum();
        ready + self.delayed.keys().take_while(|(at, _)| *at <= now).count()
    }

    /// How long the longest reconcile that runs has been running.
    pub fn longest_run(&self, now: Instant) -> Option<Duration> {
        let since = |state: &QueueState| match state {
            QueueState::Running { since, .. } => Some(now.saturating_duration_since(*since)),
            _ => None,
        };
        self.entries.values().filter_map(since).max()
    }

    /// The number of reconciles that run.
    pub fn running(&self) -> usize {
        self.bulkheads.values().map(|bulkhead| bulkhead.running.iter().sum::<usize>()).sum()
    }

    /// Forgets everything: a new term begins.
    pub fn clear(&mut self) {
        *self = WorkQueue::new(u16::try_from(self.permits).unwrap_or(u16::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> Key {
        Key::cluster(name)
    }

    /// The bulkhead of an object is the part of its name before the dash.
    fn bulkhead_of(key: &Key) -> Option<BulkheadKey> {
        key.name().split_once('-').map(|(account, _)| account.into())
    }

    fn begin(queue: &mut WorkQueue, now: Instant) -> Option<String> {
        queue.begin(now, bulkhead_of).map(|begun| begun.key.name().to_owned())
    }

    fn all(queue: &mut WorkQueue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| begin(queue, now)).collect()
    }

    #[test]
    fn an_object_is_reconciled_once_at_a_time_and_a_trigger_meanwhile_follows() {
        let (mut queue, now) = (WorkQueue::new(4), Instant::now());
        queue.add(key("a-1"), now, Urgency::Change);
        queue.add(key("a-1"), now, Urgency::Change);
        assert_eq!(all(&mut queue, now), ["a-1"]);
        queue.add(key("a-1"), now, Urgency::Change);
        assert!(all(&mut queue, now).is_empty());
        queue.end(&key("a-1"), Some(now + 600 * SECOND));
        assert_eq!(all(&mut queue, now), ["a-1"]);
        queue.end(&key("a-1"), Some(now + 600 * SECOND));
        assert_eq!(queue.next_due(), Some(now + 600 * SECOND));
        assert!(all(&mut queue, now + 599 * SECOND).is_empty());
        assert_eq!(all(&mut queue, now + 600 * SECOND), ["a-1"]);
    }

    #[test]
    fn resources_of_one_account_cannot_take_the_permits_of_another() {
        let (mut queue, now) = (WorkQueue::new(1), Instant::now());
        for name in ["prod-1", "prod-2", "dr-1"] {
            queue.add(key(name), now, Urgency::Change);
        }
        assert_eq!(all(&mut queue, now), ["dr-1", "prod-1"]);
        queue.end(&key("prod-1"), None);
        assert_eq!(all(&mut queue, now), ["prod-2"]);
    }

    #[test]
    fn a_change_begins_before_every_periodic_check_that_does_not_run_yet() {
        let (mut queue, now) = (WorkQueue::new(1), Instant::now());
        for n in 0..10_000 {
            queue.add(key(&format!("a-{n}")), now, Urgency::Periodic);
        }
        let running = begin(&mut queue, now).unwrap();
        queue.add(key("a-new"), now + SECOND, Urgency::Change);
        queue.add(key("a-9999"), now + SECOND, Urgency::Change);
        queue.end(&key(&running), None);
        assert_eq!(begin(&mut queue, now + SECOND).as_deref(), Some("a-9999"), "it is due since longer");
        queue.end(&key("a-9999"), None);
        assert_eq!(begin(&mut queue, now + SECOND).as_deref(), Some("a-new"));
        assert_eq!(queue.depth(now + SECOND), 9_998);
    }

    #[test]
    fn a_namespace_with_many_objects_delays_the_one_of_another_by_a_single_turn() {
        let (mut queue, now) = (WorkQueue::new(1), Instant::now());
        let of_one_account = |_: &Key| Some(BulkheadKey::from("a"));
        for (urgency, first) in [(Urgency::Periodic, "quiet/periodic"), (Urgency::Change, "quiet/change")] {
            (0..1_000)
                .for_each(|n| queue.add(Key::namespaced("loud", &format!("{urgency:?}-{n}")), now, urgency));
            let name = first.split_once('/').map(|(_, name)| name).unwrap_or_default();
            queue.add(Key::namespaced("quiet", name), now, urgency);
        }
        let mut begun = || {
            let key = queue.begin(now, of_one_account).unwrap().key;
            queue.end(&key, None);
            key.to_string()
        };
        let changes: Vec<String> = (0..1_001).map(|_| begun()).collect();
        assert_eq!(changes[..2], ["loud/Change-0", "quiet/change"]);
        assert_eq!([begun(), begun()], ["loud/Periodic-0", "quiet/periodic"], "after every change");
    }

    #[test]
    fn periodic_checks_leave_a_permit_to_changes() {
        let (mut queue, now) = (WorkQueue::new(4), Instant::now());
        for n in 0..10 {
            queue.add(key(&format!("a-{n}")), now, Urgency::Periodic);
        }
        assert_eq!(all(&mut queue, now).len(), 3);
        queue.add(key("a-new"), now, Urgency::Change);
        assert_eq!(all(&mut queue, now), ["a-new"], "though all periodic checks hang");
        queue.end(&key("a-new"), None);
        assert!(all(&mut queue, now).is_empty());
    }

    #[test]
    fn changes_alone_use_all_permits() {
        let (mut queue, now) = (WorkQueue::new(4), Instant::now());
        for n in 0..10 {
            queue.add(key(&format!("a-{n}")), now, Urgency::Change);
        }
        assert_eq!(all(&mut queue, now).len(), 4);
    }

    #[test]
    fn an_object_that_is_named_and_gone_takes_no_memory() {
        let (mut queue, now) = (WorkQueue::new(2), Instant::now());
        for n in 0..1_000 {
            queue.add(key(&format!("account{n}-1")), now, Urgency::Change);
        }
        for name in all(&mut queue, now) {
            queue.end(&key(&name), None);
        }
        // An object that is gone when its turn comes has no bulkhead.
        queue.add(key("gone"), now, Urgency::Change);
        assert!(all(&mut queue, now).is_empty());
        // One that goes while it waits for a permit.
        for n in 0..3 {
            queue.add(key(&format!("a-{n}")), now, Urgency::Change);
        }
        let running = all(&mut queue, now);
        queue.forget(&key("a-2"));
        running.iter().for_each(|name| queue.end(&key(name), None));
        let sizes = (queue.entries.len(), queue.delayed.len(), queue.bulkheads.len(), queue.candidates.len());
        assert_eq!(sizes, (0, 0, 0, 0));
    }

    #[test]
    fn a_burst_of_triggers_of_one_object_takes_one_entry() {
        let (mut queue, now) = (WorkQueue::new(1), Instant::now());
        queue.add(key("a-running"), now, Urgency::Change);
        begin(&mut queue, now);
        for n in 0..1_000 {
            queue.add(key("a-1"), now + n * SECOND, Urgency::Periodic);
            queue.add(key("a-1"), now, Urgency::Change);
            assert!(begin(&mut queue, now).is_none());
            queue.add(key("a-running"), now, Urgency::Change);
        }
        assert_eq!((queue.entries.len(), queue.delayed.len(), queue.depth(now)), (2, 0, 1));
    }

    #[test]
    fn an_object_that_waits_is_small() {
        // A future of a reconcile is several kilobytes; this is all that one that waits takes besides its name.
        assert!(size_of::<(Key, QueueState)>() + size_of::<(Ticket, Key)>() <= 120);
    }

    #[test]
    fn the_wait_counts_from_when_an_object_is_due() {
        let (mut queue, now) = (WorkQueue::new(1), Instant::now());
        queue.add(key("a-1"), now + 10 * SECOND, Urgency::Periodic);
        assert_eq!((queue.depth(now), queue.depth(now + 10 * SECOND)), (0, 1));
        queue.add(key("a-1"), now + 4 * SECOND, Urgency::Periodic);
        queue.add(key("a-1"), now + 8 * SECOND, Urgency::Periodic);
        let begun = queue.begin(now + 5 * SECOND, bulkhead_of).unwrap();
        assert_eq!(begun.waited, SECOND, "the earliest counts");
        assert_eq!(queue.depth(now + 10 * SECOND), 0, "what runs does not wait");
        assert_eq!(queue.longest_run(now + 7 * SECOND), Some(2 * SECOND));
        queue.end(&key("a-1"), None);
        assert_eq!(queue.longest_run(now + 7 * SECOND), None);
    }
}
