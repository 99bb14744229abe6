//! Which origins are known to send events, and whether events may stand in for polling.
//!
//! In: events, missed echoes, drift that a poll found, and how the queues answer, each with the time since the process
//! started. Out: whether a resource is covered. Coverage is learnt and never assumed: while a rule, a Region or a trail
//! is missing, the resources that depend on it are polled as before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::replication::events::Elapsed;
use crate::replication::events::names::EventName;
use crate::replication::events::origin::Origin;

/// A queue that has not answered for this long may have lost events: resources are polled again.
pub const OUTAGE: Duration = Duration::from_secs(60);

/// Origins on which no resource depends are remembered up to this number: a writer to the queue can name any.
const MAX_SPARE: usize = 1_024;

/// The knowledge about an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Events arrive.
    Received,
    /// No event arrived in this term.
    NotSeen,
    /// The operator made this change, and no event reported it.
    EchoMissed(EventName),
    /// A poll found a change that no event had announced.
    Unannounced,
}

impl Delivery {
    /// Whether events arrive; `None` where nothing is known yet, as for a quiet origin after a start.
    pub fn covers(self) -> Option<bool> {
        match self {
            Delivery::Received => Some(true),
            Delivery::NotSeen => None,
            Delivery::EchoMissed(_) | Delivery::Unannounced => Some(false),
        }
    }
}

#[derive(Debug)]
struct KnownOrigin {
    /// Since when events have arrived without a reason for doubt. A check that began earlier may have missed a change.
    since: Option<Elapsed>,
    missed: BTreeSet<EventName>,
}

#[derive(Clone, Debug, Default)]
struct QueueAnswers {
    /// When the term began, or the queue last answered.
    last_answer: Elapsed,
    /// Since when it has answered without an outage.
    answering_since: Option<Elapsed>,
    down: bool,
    /// Why the last request failed.
    failure: Option<String>,
}

/// The knowledge about an account's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountEvents {
    /// Why a queue cannot be read, where it has failed for [`OUTAGE`].
    pub outage: Option<String>,
    /// The origins on which resources depend.
    pub origins: BTreeMap<Origin, Delivery>,
}

impl PartialEq for KnownOrigin {
    fn eq(&self, other: &Self) -> bool {
        self.since == other.since && self.missed == other.missed
    }
}

/// The knowledge about all origins and queues.
#[derive(Debug, Default)]
pub struct Coverage {
    /// The number of resources that depend on each origin.
    needed: BTreeMap<Origin, usize>,
    known: BTreeMap<Origin, KnownOrigin>,
    queues: Vec<QueueAnswers>,
}

impl Coverage {
    pub fn new(queues: usize) -> Coverage {
        Coverage { queues: vec![QueueAnswers::default(); queues], ..Coverage::default() }
    }

    /// A term begins: another process may have read the queues meanwhile.
    pub fn begin_term(&mut self, now: Elapsed) {
        self.known.clear();
        self.queues.fill(QueueAnswers { last_answer: now, ..QueueAnswers::default() });
    }

    /// A resource depends on these origins.
    pub fn require(&mut self, origins: &[Origin]) {
        for origin in origins {
            *self.needed.entry(origin.clone()).or_default() += 1;
        }
    }

    /// A resource depends on these origins no longer.
    pub fn release(&mut self, origins: &[Origin]) {
        for origin in origins {
            if let Some(count) = self.needed.get_mut(origin) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.needed.remove(origin);
                }
            }
        }
    }

    /// An event came from an origin. Returns whether the origin is covered now and was not before.
    pub fn received(&mut self, origin: &Origin, name: Option<EventName>, now: Elapsed) -> bool {
        let spare = self.known.len() < MAX_SPARE + self.needed.len();
        if !spare && !self.known.contains_key(origin) && !self.needed.contains_key(origin) {
            return false;
        }
        let known =
            self.known.entry(origin.clone()).or_insert(KnownOrigin { since: None, missed: BTreeSet::new() });
        if let Some(name) = name {
            known.missed.remove(&name);
        }
        let begins = known.since.is_none() && known.missed.is_empty();
        if begins {
            known.since = Some(now);
        }
        begins
    }

    /// The operator's own change was not reported. Returns whether its origin was covered.
    pub fn echo_missed(&mut self, origin: &Origin, name: EventName) -> bool {
        let known =
            self.known.entry(origin.clone()).or_insert(KnownOrigin { since: None, missed: BTreeSet::new() });
        known.missed.insert(name);
        known.since.take().is_some()
    }

    /// A poll found a change that no event had announced. Returns whether its origin was covered; it is again from its
    /// next event.
    pub fn unannounced(&mut self, origin: &Origin) -> bool {
        self.known.get_mut(origin).is_some_and(|known| known.since.take().is_some())
    }

    /// A queue answered. Returns whether that ended an outage: every resource must be checked once.
    pub fn queue_answered(&mut self, queue: usize, now: Elapsed) -> bool {
        let Some(queue) = self.queues.get_mut(queue) else { return false };
        let recovered = queue.down;
        queue.last_answer = now;
        queue.failure = None;
        queue.down = false;
        queue.answering_since.get_or_insert(now);
        recovered
    }

    /// A request to a queue failed.
    pub fn queue_failed(&mut self, queue: usize, why: &str) {
        if let Some(queue) = self.queues.get_mut(queue) {
            queue.failure = Some(why.to_owned());
        }
    }

    /// Time has passed. Returns whether an outage began: every resource must be polled.
    pub fn tick(&mut self, now: Elapsed) -> bool {
        let mut began = false;
        for queue in self.queues.iter_mut().filter(|queue| !queue.down) {
            if now.saturating_sub(queue.last_answer) >= OUTAGE {
                queue.down = true;
                queue.answering_since = None;
                began = true;
            }
        }
        began
    }

    /// Whether a queue answers.
    pub fn is_up(&self, queue: usize) -> bool {
        self.queues.get(queue).is_some_and(|queue| queue.answering_since.is_some())
    }

    /// Whether events may stand in for polling where these origins matter, after a check that began at this time.
    pub fn covers(&self, origins: &[Origin], began: Elapsed) -> bool {
        let before = |since: Option<Elapsed>| since.is_some_and(|since| since <= began);
        !self.queues.is_empty()
            && self.queues.iter().all(|queue| before(queue.answering_since))
            && origins.iter().all(|origin| self.known.get(origin).is_some_and(|known| before(known.since)))
    }

    /// The knowledge about an origin.
    pub fn evidence(&self, origin: &Origin) -> Delivery {
        match self.known.get(origin) {
            None => Delivery::NotSeen,
            Some(KnownOrigin { since: Some(_), .. }) => Delivery::Received,
            Some(KnownOrigin { missed, .. }) => {
                missed.first().map_or(Delivery::Unannounced, |name| Delivery::EchoMissed(*name))
            }
        }
    }

    /// The origins on which resources depend.
    pub fn origins(&self) -> impl Iterator<Item = (&Origin, Delivery)> {
        self.needed.keys().map(|origin| (origin, self.evidence(origin)))
    }

    /// The knowledge about the events of one account.
    pub fn of_account(&self, account: &str) -> AccountEvents {
        let down = self.queues.iter().find(|queue| queue.down);
        AccountEvents {
            outage: down
                .map(|queue| queue.failure.clone().unwrap_or_else(|| "it does not answer".to_owned())),
            origins: self
                .origins()
                .filter(|(origin, _)| origin.account == account)
                .map(|(origin, evidence)| (origin.clone(), evidence))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::replication::events::names::Service;

    fn at(second: u64) -> Elapsed {
        Duration::from_secs(second)
    }

    fn s3(region: &str) -> Origin {
        Origin::new("111122223333", Service::S3, region)
    }

    fn iam() -> Origin {
        Origin::new("111122223333", Service::Iam, "us-east-1")
    }

    /// A queue that answers since second 1, and origins from which events arrived at second 2.
    fn covered() -> (Coverage, [Origin; 3]) {
        let origins = [s3("us-east-1"), s3("eu-west-1"), iam()];
        let mut coverage = Coverage::new(1);
        coverage.begin_term(at(0));
        coverage.require(&origins);
        assert!(!coverage.queue_answered(0, at(1)));
        for origin in &origins {
            assert!(coverage.received(origin, None, at(2)));
        }
        (coverage, origins)
    }

    #[test]
    fn a_resource_is_covered_once_events_came_from_each_of_its_origins() {
        let origins = [s3("us-east-1"), iam()];
        let mut coverage = Coverage::new(1);
        coverage.begin_term(at(0));
        coverage.queue_answered(0, at(1));
        coverage.received(&origins[0], None, at(2));
        assert!(!coverage.covers(&origins, at(9)), "no event of IAM came");
        coverage.received(&origins[1], None, at(5));
        assert!(!coverage.covers(&origins, at(4)), "the check began before: it may have missed a change");
        assert!(coverage.covers(&origins, at(5)));
    }

    #[test]
    fn without_a_queue_and_before_it_answers_nothing_is_covered() {
        assert!(!Coverage::default().covers(&[], at(9)));
        let mut coverage = Coverage::new(2);
        coverage.begin_term(at(0));
        coverage.queue_answered(0, at(1));
        assert!(!coverage.covers(&[], at(9)), "the second queue has not answered");
        coverage.queue_answered(1, at(2));
        assert!(coverage.covers(&[], at(9)));
    }

    #[test]
    fn an_outage_of_a_minute_suspends_coverage_until_a_check_after_it() {
        let (mut coverage, origins) = covered();
        coverage.queue_failed(0, "timed out");
        assert!(!coverage.tick(at(60)), "not a minute yet");
        assert!(coverage.covers(&origins, at(59)));
        assert!(coverage.tick(at(61)));
        assert!(!coverage.tick(at(62)), "once for each outage");
        assert!(!coverage.covers(&origins, at(62)));
        assert_eq!(coverage.of_account("111122223333").outage.as_deref(), Some("timed out"));
        assert!(coverage.queue_answered(0, at(100)));
        assert!(!coverage.covers(&origins, at(99)));
        assert!(coverage.covers(&origins, at(100)), "what was learnt before holds again");
        assert_eq!(coverage.of_account("111122223333").outage, None);
    }

    #[test]
    fn a_short_failure_suspends_nothing() {
        let (mut coverage, origins) = covered();
        coverage.queue_failed(0, "timed out");
        coverage.tick(at(40));
        assert!(!coverage.queue_answered(0, at(41)));
        assert!(!coverage.tick(at(61)) && coverage.covers(&origins, at(3)));
    }

    #[test]
    fn a_missed_echo_uncovers_its_origin_until_an_event_of_the_same_name() {
        let (mut coverage, origins) = covered();
        let name = EventName::PutBucketReplication;
        assert!(coverage.echo_missed(&origins[0], name));
        assert_eq!(coverage.evidence(&origins[0]), Delivery::EchoMissed(name));
        assert!(!coverage.received(&origins[0], Some(EventName::CreateBucket), at(10)));
        assert!(!coverage.covers(&origins, at(20)));
        assert!(coverage.received(&origins[0], Some(name), at(30)));
        assert!(!coverage.covers(&origins, at(29)) && coverage.covers(&origins, at(30)));
    }

    #[test]
    fn drift_that_no_event_announced_uncovers_its_origin_until_its_next_event() {
        let (mut coverage, origins) = covered();
        assert!(coverage.unannounced(&origins[1]));
        assert!(!coverage.unannounced(&origins[1]), "it is uncovered already");
        assert_eq!(coverage.evidence(&origins[1]), Delivery::Unannounced);
        assert!(!coverage.covers(&origins, at(20)) && coverage.covers(&origins[..1], at(20)));
        assert!(coverage.received(&origins[1], None, at(30)));
        assert!(coverage.covers(&origins, at(30)));
    }

    #[test]
    fn a_new_term_learns_again() {
        let (mut coverage, origins) = covered();
        coverage.begin_term(at(50));
        coverage.queue_answered(0, at(51));
        assert!(!coverage.covers(&origins, at(60)));
        assert!(!coverage.tick(at(100)), "an outage counts from the last answer");
    }

    #[test]
    fn origins_that_nobody_needs_take_bounded_memory() {
        let mut coverage = Coverage::new(1);
        coverage.require(&[iam()]);
        for n in 0..10 * MAX_SPARE {
            coverage.received(&Origin::new(&format!("{n:012}"), Service::S3, "eu-west-1"), None, at(1));
        }
        assert_eq!(coverage.known.len(), MAX_SPARE + 1);
        assert!(coverage.received(&iam(), None, at(2)), "what a resource needs is always learnt");
        assert_eq!(coverage.of_account("111122223333").origins.len(), 1);
    }

    #[test]
    fn an_origin_is_needed_as_long_as_a_resource_depends_on_it() {
        let mut coverage = Coverage::new(1);
        coverage.require(&[iam(), s3("eu-west-1")]);
        coverage.require(&[iam()]);
        coverage.release(&[iam(), s3("eu-west-1")]);
        assert_eq!(coverage.origins().map(|(o, _)| o.to_string()).collect::<Vec<_>>(), ["iam"]);
        coverage.release(&[iam()]);
        coverage.release(&[iam()]);
        assert_eq!(coverage.origins().count(), 0);
    }

    /// Something that happens, in a second of its own.
    #[derive(Clone, Debug)]
    enum Happening {
        Event(usize),
        Missed(usize),
        Unannounced(usize),
        Answer,
        Failure,
        Nothing,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            (0usize..2).prop_map(Happening::Event),
            (0usize..2).prop_map(Happening::Missed),
            (0usize..2).prop_map(Happening::Unannounced),
            Just(Happening::Answer),
            Just(Happening::Failure),
            Just(Happening::Nothing),
        ]
    }

    proptest! {
        /// A check counts only if, from its beginning on, both origins had sent an event, neither gave a reason for
        /// doubt, and the queue had answered at least once a minute.
        #[test]
        fn coverage_is_never_assumed(history in prop::collection::vec((happening(), 1u64..40), 1..60)) {
            let origins = [s3("us-east-1"), iam()];
            let name = EventName::TagRole;
            let mut coverage = Coverage::new(1);
            coverage.begin_term(at(0));
            let (mut second, mut sent, mut answered, mut up) = (0, [false; 2], 0, false);
            for (happening, pause) in history {
                second += pause;
                if second - answered >= 60 {
                    up = false;
                }
                coverage.tick(at(second));
                match happening {
                    Happening::Event(n) => {
                        coverage.received(&origins[n], Some(name), at(second));
                        sent[n] = true;
                    }
                    Happening::Missed(n) => {
                        coverage.echo_missed(&origins[n], name);
                        sent[n] = false;
                    }
                    Happening::Unannounced(n) => {
                        coverage.unannounced(&origins[n]);
                        sent[n] = false;
                    }
                    Happening::Answer => {
                        coverage.queue_answered(0, at(second));
                        (answered, up) = (second, true);
                    }
                    Happening::Failure => coverage.queue_failed(0, "failed"),
                    Happening::Nothing => {}
                }
                prop_assert_eq!(coverage.covers(&origins, at(second)), up && sent == [true, true]);
            }
        }
    }
}
