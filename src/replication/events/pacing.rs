//! Decides when events cause a check of a resource.
//!
//! In: events, and the beginning and the end of each check of the resource. Out: how long the check waits, why a check
//! runs, and whether another must follow. At most one check in ten seconds is caused by events, however many come: a
//! writer to the queue can cause checks, and must not use up an account's rate limits. AWS may answer from before the
//! change for a while, so that an event whose check finds nothing causes one more after a minute.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;

use crate::replication::events::Elapsed;
use crate::replication::events::lookup::Lookup;

/// The shortest time between two checks of a resource that events cause.
pub const MIN_PAUSE: Duration = Duration::from_secs(10);

/// When AWS is read again after a check that found nothing of what an event announced. S3 and IAM are eventually
/// consistent; IAM may take more than a minute
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>).
pub const SECOND_CHECK: Duration = Duration::from_secs(60);

/// Why events cause a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// When AWS completed the earliest of the changes.
    pub changed: Option<Timestamp>,
    /// Answers that are remembered for an hour must be read again: an event named a key, or what a bucket is.
    pub fresh: bool,
    /// The first check after the events found nothing.
    pub second: bool,
    /// The resource is checked in place of all those that these concern.
    pub probes: BTreeSet<Lookup>,
}

impl Cause {
    fn merge(mut self, other: Cause) -> Cause {
        self.probes.extend(other.probes);
        Cause {
            changed: match (self.changed, other.changed) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            fresh: self.fresh || other.fresh,
            second: self.second && other.second,
            probes: self.probes,
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    /// Events whose check has not begun.
    waiting: Option<Cause>,
    /// When the last check began that events caused.
    last: Option<Elapsed>,
    /// When AWS is read again, because a check found nothing.
    again: Option<(Elapsed, Cause)>,
    /// A check that events caused has begun and has not ended.
    is_running: bool,
}

/// What follows from the end of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// When the resource must be checked again.
    pub again: Option<Duration>,
    /// The check found something: all resources that these concern must be checked too.
    pub probes: BTreeSet<Lookup>,
}

impl Entry {
    fn is_idle(&self, now: Elapsed) -> bool {
        let paced = self.last.is_some_and(|last| now.saturating_sub(last) < MIN_PAUSE);
        self.waiting.is_none() && self.again.is_none() && !self.is_running && !paced
    }
}

/// The resources that events concern at the moment, by key.
#[derive(Debug)]
pub struct Pacing<K> {
    entries: HashMap<K, Entry>,
}

impl<K> Default for Pacing<K> {
    fn default() -> Self {
        Pacing { entries: HashMap::new() }
    }
}

impl<K: Eq + Hash + Clone> Pacing<K> {
    /// An event concerns a resource. Returns how long its check waits.
    pub fn event(&mut self, key: &K, cause: Cause, now: Elapsed) -> Duration {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.waiting = Some(match entry.waiting.take() {
            Some(waiting) => waiting.merge(cause),
            None => cause,
        });
        entry.last.map_or(Duration::ZERO, |last| (last + MIN_PAUSE).saturating_sub(now))
    }

    /// A check of a resource begins, for whatever reason. Returns what events it answers.
    pub fn begin(&mut self, key: &K, now: Elapsed) -> Option<Cause> {
        let entry = self.entries.get_mut(key)?;
        let mut cause = entry.waiting.take();
        if let Some((_, again)) = entry.again.take_if(|(at, _)| *at <= now) {
            cause = Some(cause.map_or_else(|| again.clone(), |cause| cause.merge(again.clone())));
        }
        if cause.is_some() {
            entry.last = Some(now);
            entry.is_running = true;
        }
        cause
    }

    /// The events that announced what the check that just began may find: AWS will be read once more because of them. Also
    /// those of a check that AWS or Kubernetes cut short and that this one only repeats.
    pub fn announced(&self, key: &K) -> Option<&Cause> {
        let (_, cause) = self.entries.get(key)?.again.as_ref()?;
        Some(cause)
    }

    /// A check ended. `cause`: what `begin` returned. `found`: whether anything differed. A check for another reason may
    /// find what the second check was to find, so that it counts for the events of both.
    pub fn end(&mut self, key: &K, cause: Option<&Cause>, found: bool, now: Elapsed) -> Ended {
        let Some(entry) = self.entries.get_mut(key) else { return Ended::default() };
        entry.is_running = false;
        let mut probes = BTreeSet::new();
        if found {
            let pending = entry.again.take().map(|(_, pending)| pending);
            let answered = cause.into_iter().chain(&pending);
            probes = answered.flat_map(|cause| cause.probes.iter().copied()).collect();
        } else if let Some(cause) = cause.filter(|cause| !cause.second) {
            let pending = entry.again.take().map(|(_, pending)| pending).unwrap_or_default();
            let both = Cause { second: true, ..cause.clone().merge(pending) };
            entry.again = Some((now + SECOND_CHECK, both));
        }
        // A check for another reason took the place in the queue that the second check had.
        let again = entry.again.as_ref().map(|(at, _)| at.saturating_sub(now));
        if entry.is_idle(now) {
            self.entries.remove(key);
        }
        Ended { again, probes }
    }

    /// A resource is gone.
    pub fn forget(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Forgets resources that no event concerns any more.
    pub fn expire(&mut self, now: Elapsed) {
        self.entries.retain(|_, entry| !entry.is_idle(now));
    }

    /// A term begins.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: u64) -> Elapsed {
        Duration::from_secs(second)
    }

    fn cause() -> Cause {
        Cause::default()
    }

    #[test]
    fn a_burst_causes_one_check_now_and_one_after_ten_seconds() {
        let mut pacing = Pacing::default();
        assert_eq!(pacing.event(&"a", cause(), at(100)), Duration::ZERO);
        assert_eq!(pacing.begin(&"a", at(100)), Some(cause()));
        for _ in 0..99 {
            assert_eq!(pacing.event(&"a", cause(), at(101)), at(9));
        }
        assert_eq!(pacing.end(&"a", Some(&cause()), true, at(101)).again, None);
        assert_eq!(pacing.begin(&"a", at(110)), Some(cause()), "one check for all that came meanwhile");
        assert_eq!(pacing.end(&"a", Some(&cause()), true, at(111)).again, None);
        assert_eq!(pacing.begin(&"a", at(200)), None, "a periodic check answers no event");
    }

    #[test]
    fn an_event_whose_check_finds_nothing_causes_one_more_after_a_minute_and_no_third() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", cause(), at(0));
        let first = pacing.begin(&"a", at(0));
        assert_eq!(pacing.end(&"a", first.as_ref(), false, at(1)).again, Some(SECOND_CHECK));
        let second = pacing.begin(&"a", at(61));
        assert_eq!(second, Some(Cause { second: true, ..cause() }));
        assert_eq!(pacing.end(&"a", second.as_ref(), false, at(62)).again, None);
        pacing.expire(at(72));
        assert!(pacing.is_empty());
    }

    #[test]
    fn a_check_for_another_reason_does_not_take_the_place_of_the_second() {
        let changed = "2026-11-25T20:14:49Z".parse().ok();
        let mut pacing = Pacing::default();
        pacing.event(&"a", Cause { changed, ..cause() }, at(0));
        let first = pacing.begin(&"a", at(0));
        pacing.end(&"a", first.as_ref(), false, at(0));
        let other = pacing.begin(&"a", at(20));
        assert_eq!(other, None);
        let announced = pacing.announced(&"a").map(|cause| cause.changed);
        assert_eq!(announced, Some(changed), "what it finds was announced, with the time of the change");
        assert_eq!(pacing.end(&"a", None, false, at(20)).again, Some(at(40)));
        pacing.begin(&"a", at(30));
        assert_eq!(pacing.end(&"a", None, true, at(30)).again, None, "it found what the event announced");
        assert_eq!(pacing.begin(&"a", at(60)), None);
        assert_eq!(pacing.announced(&"a"), None);
    }

    #[test]
    fn events_that_are_answered_together_keep_the_earliest_time_and_every_demand() {
        let (early, late) = ("2026-11-25T20:14:49Z".parse().ok(), "2026-11-25T20:14:59Z".parse().ok());
        let mut pacing = Pacing::default();
        pacing.event(&"a", Cause { changed: late, fresh: true, ..cause() }, at(0));
        pacing.event(&"a", Cause { changed: early, ..cause() }, at(1));
        let answered = pacing.begin(&"a", at(2)).unwrap();
        assert_eq!((answered.changed, answered.fresh), (early, true));
    }

    fn probe(bucket: &str) -> Cause {
        Cause { probes: [Lookup::bucket(bucket)].into(), ..cause() }
    }

    fn probes(buckets: &[&str]) -> BTreeSet<Lookup> {
        buckets.iter().map(|bucket| Lookup::bucket(bucket)).collect()
    }

    #[test]
    fn one_check_in_place_of_those_of_two_buckets_has_the_resources_of_both_checked() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", probe("copies"), at(0));
        pacing.event(&"a", probe("archive"), at(1));
        let both = pacing.begin(&"a", at(2));
        let ended = pacing.end(&"a", both.as_ref(), true, at(3));
        assert_eq!(ended.probes, probes(&["archive", "copies"]));
    }

    #[test]
    fn a_check_for_another_reason_that_finds_the_change_has_the_other_resources_checked() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", probe("copies"), at(0));
        let first = pacing.begin(&"a", at(0));
        assert_eq!(pacing.end(&"a", first.as_ref(), false, at(1)).probes, probes(&[]));
        let other = pacing.begin(&"a", at(20));
        assert_eq!(other, None);
        assert_eq!(pacing.end(&"a", None, true, at(21)).probes, probes(&["copies"]));
    }

    #[test]
    fn the_second_check_is_in_place_of_all_whose_first_found_nothing() {
        let mut pacing = Pacing::default();
        for (bucket, second) in [("copies", 0), ("archive", 20)] {
            pacing.event(&"a", probe(bucket), at(second));
            let first = pacing.begin(&"a", at(second));
            pacing.end(&"a", first.as_ref(), false, at(second + 1));
        }
        let second = pacing.begin(&"a", at(81));
        assert!(second.as_ref().is_some_and(|cause| cause.second));
        assert_eq!(pacing.end(&"a", second.as_ref(), true, at(82)).probes, probes(&["archive", "copies"]));
    }

    #[test]
    fn a_check_that_takes_longer_than_the_pause_is_repeated_too() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", cause(), at(0));
        let first = pacing.begin(&"a", at(0));
        pacing.expire(at(30));
        assert_eq!(pacing.end(&"a", first.as_ref(), false, at(31)).again, Some(SECOND_CHECK));
    }

    proptest! {
        /// However events come and checks end, those that events cause begin ten seconds apart, none is lost, and
        /// nothing is remembered of a resource that is left alone.
        #[test]
        fn checks_that_events_cause_are_ten_seconds_apart_and_no_event_is_lost(
            history in prop::collection::vec((0u64..8, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let mut pacing = Pacing::default();
            let (mut second, mut due, mut last, mut unanswered) = (0, None::<u64>, None::<u64>, false);
            for (pause, event, found) in history {
                second += pause;
                if event {
                    let wait = pacing.event(&(), cause(), at(second));
                    due = Some(due.map_or(second + wait.as_secs(), |due| due.min(second + wait.as_secs())));
                    unanswered = true;
                }
                if due.is_some_and(|due| due <= second) {
                    let cause = pacing.begin(&(), at(second));
                    if cause.as_ref().is_some_and(|cause| !cause.second) {
                        prop_assert!(last.is_none_or(|last| second - last >= 10));
                        last = Some(second);
                        unanswered = false;
                    } else if cause.is_some() {
                        last = Some(second);
                    }
                    prop_assert!(!unanswered);
                    let again = pacing.end(&(), cause.as_ref(), found, at(second)).again;
                    due = again.map(|again| second + again.as_secs());
                }
                prop_assert!(!unanswered || due.is_some());
            }
            pacing.begin(&(), at(second + 100));
            pacing.end(&(), Some(&Cause { second: true, ..cause() }), true, at(second + 100));
            pacing.expire(at(second + 200));
            prop_assert!(pacing.is_empty());
        }
    }
}
