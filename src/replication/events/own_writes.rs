//! Recognizes the events of the operator's own writes, and notices which of them never come.
//!
//! In: each write before it is sent, events that the operator's own access key signed, and the time. Out: whether an
//! event is an echo of a write, and the echoes that are overdue. The access key alone proves nothing: a person may have
//! the same one. The user agent proves less: anyone can send the operator's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::replication::events::Elapsed;
use crate::replication::events::message::ChangeEvent;
use crate::replication::events::names::EventName;
use crate::replication::events::origin::Origin;

/// An echo that has not come after this is missed. CloudTrail delivers within seconds, as a rule.
pub const ECHO_DEADLINE: Duration = Duration::from_secs(5 * 60);

/// How long an echo is still recognized.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Writes that are remembered at once. The event of a write beyond it causes a needless check.
const MAX_WRITES: usize = 32 * 1_024;

/// Events by which duplicates are recognized.
const MAX_RECENT: usize = 4_096;

#[derive(Debug)]
struct Write {
    origin: Origin,
    name: EventName,
    /// Writes of this kind to this subject whose event has not come.
    outstanding: u16,
    /// When the last of them was sent.
    at: Elapsed,
    /// It is overdue unless it comes: a removal of what is already gone has no event.
    expected: bool,
}

/// The operator's own writes of the last hour.
#[derive(Debug, Default)]
pub struct OwnWrites {
    by_hash: HashMap<u64, Write>,
    recent: Recent,
}

impl OwnWrites {
    /// A write is about to be sent: its event may come before the answer.
    pub fn begin(&mut self, origin: Origin, name: EventName, subject: &str, now: Elapsed) {
        let key = hash(&origin, name, subject);
        if self.by_hash.len() >= MAX_WRITES && !self.by_hash.contains_key(&key) {
            return;
        }
        let expected = !is_removal(name);
        let write =
            self.by_hash.entry(key).or_insert(Write { origin, name, outstanding: 0, at: now, expected });
        write.outstanding = write.outstanding.saturating_add(1);
        (write.at, write.expected) = (now, expected);
    }

    /// The write failed. If it took effect nevertheless, its event causes a check, as it must.
    pub fn failed(&mut self, origin: &Origin, name: EventName, subject: &str) {
        self.take(hash(origin, name, subject));
    }

    /// Whether an event signed by the operator's own key is the echo of a write.
    pub fn is_echo(&mut self, event: &ChangeEvent) -> bool {
        self.take(hash(&event.origin, event.name, event.subject.name()))
    }

    fn take(&mut self, key: u64) -> bool {
        let Some(write) = self.by_hash.get_mut(&key) else { return false };
        write.outstanding = write.outstanding.saturating_sub(1);
        if write.outstanding == 0 {
            self.by_hash.remove(&key);
        }
        true
    }

    /// The writes whose events should have come by now; each is returned once.
    pub fn overdue(&mut self, now: Elapsed) -> Vec<(Origin, EventName)> {
        self.expire(now);
        let late = |write: &&mut Write| write.expected && now.saturating_sub(write.at) >= ECHO_DEADLINE;
        let missed = self.by_hash.values_mut().filter(late).map(|write| {
            write.expected = false;
            (write.origin.clone(), write.name)
        });
        let mut missed: Vec<_> = missed.collect();
        missed.sort_unstable();
        missed.dedup();
        missed
    }

    fn expire(&mut self, now: Elapsed) {
        self.by_hash.retain(|_, write| now.saturating_sub(write.at) < KEPT);
    }

    /// Expects no echoes of what was written so far: the queue did not answer, and may have lost events.
    pub fn expect_none(&mut self) {
        self.by_hash.values_mut().for_each(|write| write.expected = false);
    }

    /// Whether this event came before: SQS and EventBridge deliver at least once.
    pub fn is_duplicate(&mut self, id: Option<&str>) -> bool {
        id.is_some_and(|id| !self.recent.insert(id))
    }

    /// The number of kinds of write that are outstanding.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

fn is_removal(name: EventName) -> bool {
    use EventName as N;
    matches!(
        name,
        N::DeleteBucketReplication
            | N::DeleteBucketPolicy
            | N::DeleteRole
            | N::DeleteRolePolicy
            | N::DeleteRolePermissionsBoundary
            | N::UntagRole
    )
}

fn hash(origin: &Origin, name: EventName, subject: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    // An event of IAM may repeat a name in another case than it was sent.
    (&origin.account, name, subject.to_ascii_lowercase()).hash(&mut hasher);
    hasher.finish()
}

/// The ids that came last, as hashes.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<u64>,
    known: HashSet<u64>,
}

impl Recent {
    /// Whether the id is new.
    fn insert(&mut self, id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let key = hasher.finish();
        if !self.known.insert(key) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > MAX_RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::events::message::ChangedResource;
    use crate::replication::events::names::Service;

    fn at(second: u64) -> Elapsed {
        Duration::from_secs(second)
    }

    fn origin() -> Origin {
        Origin::new("111122223333", Service::Iam, "")
    }

    fn event(name: EventName, role: &str) -> ChangeEvent {
        let subject = ChangedResource::Role(role.to_owned());
        ChangeEvent { origin: origin(), name, subject, access_key: None, time: None, id: None }
    }

    #[test]
    fn each_write_has_one_echo_and_a_further_event_is_somebody_elses() {
        let mut writes = OwnWrites::default();
        writes.begin(origin(), EventName::TagRole, "orders-role", at(0));
        writes.begin(origin(), EventName::TagRole, "orders-role", at(1));
        assert!(!writes.is_echo(&event(EventName::PutRolePolicy, "orders-role")));
        assert!(writes.is_echo(&event(EventName::TagRole, "Orders-Role")), "IAM ignores case");
        assert!(writes.is_echo(&event(EventName::TagRole, "orders-role")));
        assert!(!writes.is_echo(&event(EventName::TagRole, "orders-role")));
        assert!(writes.is_empty());
    }

    #[test]
    fn the_event_of_a_write_that_failed_is_no_echo() {
        let mut writes = OwnWrites::default();
        writes.begin(origin(), EventName::TagRole, "r", at(0));
        writes.failed(&origin(), EventName::TagRole, "r");
        assert!(!writes.is_echo(&event(EventName::TagRole, "r")), "it may have taken effect");
    }

    #[test]
    fn an_echo_is_missed_after_five_minutes_once_and_still_recognized_when_it_comes() {
        let mut writes = OwnWrites::default();
        writes.begin(origin(), EventName::TagRole, "r", at(0));
        writes.begin(origin(), EventName::CreateRole, "seen", at(0));
        assert!(writes.is_echo(&event(EventName::CreateRole, "seen")));
        assert!(writes.overdue(at(299)).is_empty());
        assert_eq!(writes.overdue(at(300)), [(origin(), EventName::TagRole)]);
        assert!(writes.overdue(at(301)).is_empty());
        assert!(writes.is_echo(&event(EventName::TagRole, "r")));
    }

    #[test]
    fn no_echo_is_expected_of_a_removal_or_of_what_was_written_before_an_outage() {
        let mut writes = OwnWrites::default();
        writes.begin(origin(), EventName::DeleteRolePolicy, "r", at(0));
        writes.begin(origin(), EventName::TagRole, "r", at(0));
        writes.expect_none();
        assert!(writes.overdue(at(400)).is_empty());
        assert!(writes.is_echo(&event(EventName::TagRole, "r")));
    }

    #[test]
    fn memory_is_bounded_in_time_and_number() {
        let mut writes = OwnWrites::default();
        for n in 0..2 * MAX_WRITES {
            writes.begin(origin(), EventName::TagRole, &format!("r{n}"), at(0));
        }
        assert_eq!(writes.len(), MAX_WRITES);
        writes.overdue(at(3_600));
        assert!(writes.is_empty());
        for n in 0..2 * MAX_RECENT {
            assert!(!writes.is_duplicate(Some(&n.to_string())));
        }
        assert_eq!((writes.recent.order.len(), writes.recent.known.len()), (MAX_RECENT, MAX_RECENT));
    }

    #[test]
    fn a_copy_of_an_event_is_a_duplicate_and_one_without_an_id_never_is() {
        let mut writes = OwnWrites::default();
        assert!(!writes.is_duplicate(Some("e-1")) && writes.is_duplicate(Some("e-1")));
        assert!(!writes.is_duplicate(None) && !writes.is_duplicate(None));
    }
}
