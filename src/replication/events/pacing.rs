//! Decides when events cause a check of a resource, and which resource is checked in place of many.
//!
//! In: events, and the beginning and the end of each check of the resource. Out: how long the check waits, why a check
//! runs, whether another must follow, and the probes that another resource must take over. At most one check in ten
//! seconds is caused by events, however many come: a writer to the queue can cause checks, and must not use up an
//! account's rate limits. AWS may answer from before the change for a while, so that an event whose check finds nothing
//! causes one more after a minute. An event stays until a check has read AWS because of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use jiff::Timestamp;

use crate::replication::events::Elapsed;
use crate::replication::events::lookup::Lookup;
use crate::replication::setting_hash::SettingHash;

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
    /// Answers that are remembered for an hour must be read again: an event named a key, or Object Lock.
    pub fresh: bool,
    /// The first check after the events found nothing.
    pub second: bool,
    /// The resource is checked in place of all those that these concern.
    pub probes: BTreeSet<Lookup>,
    /// Where somebody else changed something, and when AWS completed the last of these changes.
    pub foreign: BTreeMap<SettingHash, Timestamp>,
}

impl Cause {
    fn merge(mut self, other: Cause) -> Cause {
        self.probes.extend(other.probes);
        for (setting, time) in other.foreign {
            let last = self.foreign.entry(setting).or_insert(time);
            *last = time.max(*last);
        }
        Cause {
            changed: match (self.changed, other.changed) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            fresh: self.fresh || other.fresh,
            second: self.second && other.second,
            probes: self.probes,
            foreign: self.foreign,
        }
    }

    /// The same events as the cause of another resource's check.
    pub fn for_another(&self) -> Cause {
        Cause { second: false, probes: BTreeSet::new(), ..self.clone() }
    }
}

/// The answer of a check to the events that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// AWS holds something that the status did not say before.
    Changed,
    /// AWS holds what the status says.
    Unchanged,
    /// The check is repeated within seconds, and answers then.
    Postponed,
    /// The check could not read AWS.
    Unanswered,
}

/// Events that a check has begun to answer, and that another check must answer.
#[derive(Debug)]
struct Pending {
    /// When AWS is read again, because a check found nothing; `None`: no check has read AWS, and the next one that does
    /// answers them.
    due: Option<Elapsed>,
    cause: Cause,
}

#[derive(Debug, Default)]
struct PacingEntry {
    /// Events whose check has not begun.
    waiting: Option<Cause>,
    /// When the last check began that events caused.
    last: Option<Elapsed>,
    pending: Option<Pending>,
    /// The events that the check which runs is to answer.
    running: Option<Cause>,
}

/// The consequence of the end of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowUp {
    /// When the resource must be checked again.
    pub again: Option<Duration>,
    /// The check found something: all resources that these concern must be checked too.
    pub probes: BTreeSet<Lookup>,
}

impl PacingEntry {
    fn is_idle(&self, now: Elapsed) -> bool {
        let paced = self.last.is_some_and(|last| now.saturating_sub(last) < MIN_PAUSE);
        self.waiting.is_none() && self.pending.is_none() && self.running.is_none() && !paced
    }

    /// Keeps events until a check reads AWS.
    fn keep(&mut self, cause: Cause) {
        let pending = self.pending.take().map(|pending| pending.cause);
        self.pending = Some(Pending { due: None, cause: merged(pending, cause) });
    }

    /// Takes the events that no check has answered.
    fn take_unanswered(&mut self) -> Option<Cause> {
        self.pending.take_if(|pending| pending.due.is_none()).map(|pending| pending.cause)
    }

    /// Takes the events whose second check is due.
    fn take_due(&mut self, now: Elapsed) -> Option<Cause> {
        let is_due = |pending: &mut Pending| pending.due.is_some_and(|at| at <= now);
        self.pending.take_if(is_due).map(|pending| pending.cause)
    }
}

fn merged(one: Option<Cause>, other: Cause) -> Cause {
    match one {
        Some(one) => one.merge(other),
        None => other,
    }
}

/// The resources that events concern at the moment, by key.
#[derive(Debug)]
pub struct Pacing<K> {
    entries: HashMap<K, PacingEntry>,
    /// Probes without a resource that is checked because of them.
    open: BTreeMap<Lookup, Cause>,
}

impl<K> Default for Pacing<K> {
    fn default() -> Self {
        Pacing { entries: HashMap::new(), open: BTreeMap::new() }
    }
}

impl<K: Eq + Hash + Clone> Pacing<K> {
    /// An event concerns a resource. Returns how long its check waits.
    pub fn event(&mut self, key: &K, cause: Cause, now: Elapsed) -> Duration {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.waiting = Some(merged(entry.waiting.take(), cause));
        entry.last.map_or(Duration::ZERO, |last| (last + MIN_PAUSE).saturating_sub(now))
    }

    /// A check of a resource begins, for any reason. Returns the events that cause it.
    pub fn begin(&mut self, key: &K, now: Elapsed) -> Option<Cause> {
        let entry = self.entries.get_mut(key)?;
        // A check that was cut off has no end.
        if let Some(cut_off) = entry.running.take() {
            entry.keep(cut_off);
        }
        let (waiting, due) = (entry.waiting.take(), entry.take_due(now));
        let caused = match (waiting, due) {
            (Some(waiting), due) => merged(due, waiting),
            (None, due) => due?,
        };
        let cause = merged(entry.take_unanswered(), caused);
        entry.last = Some(now);
        entry.running = Some(cause.clone());
        Some(cause)
    }

    /// The events that announced what the check that just began may find, where they do not cause it: AWS will be read
    /// once more because of them, or no check has read it yet.
    pub fn announced(&self, key: &K) -> Option<&Cause> {
        Some(&self.entries.get(key)?.pending.as_ref()?.cause)
    }

    /// The events that no check has answered yet, although one was caused by them.
    pub fn unanswered(&self, key: &K) -> Option<&Cause> {
        let pending = self.entries.get(key)?.pending.as_ref()?;
        pending.due.is_none().then_some(&pending.cause)
    }

    /// A check ended. A check for another reason may find what the second check was to find, so that it counts for the
    /// events of both. It answers events that no check has answered so far.
    pub fn end(&mut self, key: &K, answer: Answer, now: Elapsed) -> FollowUp {
        let Some(entry) = self.entries.get_mut(key) else { return FollowUp::default() };
        let caused = entry.running.take();
        let mut probes = BTreeSet::new();
        match answer {
            Answer::Changed => {
                let pending = entry.pending.take().map(|pending| pending.cause);
                probes = caused.into_iter().chain(pending).flat_map(|cause| cause.probes).collect();
            }
            Answer::Unchanged => {
                let answered = caused.or_else(|| entry.take_unanswered());
                if let Some(cause) = answered.filter(|cause| !cause.second) {
                    let pending = entry.pending.take().map(|pending| pending.cause);
                    let both = Cause { second: true, ..merged(pending, cause) };
                    entry.pending = Some(Pending { due: Some(now + SECOND_CHECK), cause: both });
                }
            }
            Answer::Postponed => caused.into_iter().for_each(|cause| entry.keep(cause)),
            Answer::Unanswered => {
                caused.into_iter().for_each(|cause| entry.keep(cause));
                if let Some(Pending { due: None, cause }) = &mut entry.pending {
                    pass_on(cause, &mut self.open);
                }
            }
        }
        // A check for another reason took the place in the queue that the second check had.
        let again = entry.pending.as_ref().and_then(|pending| pending.due).map(|at| at.saturating_sub(now));
        if entry.is_idle(now) {
            self.entries.remove(key);
        }
        FollowUp { again, probes }
    }

    /// A resource is gone, or is checked no longer. Another one must take over its probes.
    pub fn forget(&mut self, key: &K) {
        let Some(PacingEntry { waiting, last: _, pending, running }) = self.entries.remove(key) else {
            return;
        };
        for mut cause in waiting.into_iter().chain(pending.map(|pending| pending.cause)).chain(running) {
            pass_on(&mut cause, &mut self.open);
        }
    }

    /// Takes the probes that another resource must take over, each with its events.
    pub fn take_open(&mut self) -> BTreeMap<Lookup, Cause> {
        std::mem::take(&mut self.open)
    }

    /// Forgets resources that no event concerns any more.
    pub fn expire(&mut self, now: Elapsed) {
        self.entries.retain(|_, entry| !entry.is_idle(now));
    }

    /// A term begins.
    pub fn clear(&mut self) {
        *self = Pacing::default();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.open.is_empty()
    }
}

/// Gives the probes of a resource to another one, which answers them from the beginning.
fn pass_on(cause: &mut Cause, open: &mut BTreeMap<Lookup, Cause>) {
    for probe in std::mem::take(&mut cause.probes) {
        let held = open.remove(&probe);
        open.insert(probe, merged(held, cause.for_another()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Answer::{Changed, Postponed, Unanswered, Unchanged};
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
        assert_eq!(pacing.end(&"a", Changed, at(101)).again, None);
        assert_eq!(pacing.begin(&"a", at(110)), Some(cause()), "one check for all that came meanwhile");
        assert_eq!(pacing.end(&"a", Changed, at(111)).again, None);
        assert_eq!(pacing.begin(&"a", at(200)), None, "a periodic check answers no event");
    }

    #[test]
    fn an_event_whose_check_finds_nothing_causes_one_more_after_a_minute_and_no_third() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", cause(), at(0));
        pacing.begin(&"a", at(0));
        assert_eq!(pacing.end(&"a", Unchanged, at(1)).again, Some(SECOND_CHECK));
        let second = pacing.begin(&"a", at(61));
        assert_eq!(second, Some(Cause { second: true, ..cause() }));
        assert_eq!(pacing.end(&"a", Unchanged, at(62)).again, None);
        pacing.expire(at(72));
        assert!(pacing.is_empty());
    }

    #[test]
    fn a_check_for_another_reason_does_not_take_the_place_of_the_second() {
        let changed = "2026-11-25T20:14:49Z".parse().ok();
        let mut pacing = Pacing::default();
        pacing.event(&"a", Cause { changed, ..cause() }, at(0));
        pacing.begin(&"a", at(0));
        pacing.end(&"a", Unchanged, at(0));
        let other = pacing.begin(&"a", at(20));
        assert_eq!(other, None);
        let announced = pacing.announced(&"a").map(|cause| cause.changed);
        assert_eq!(announced, Some(changed), "what it finds was announced, with the time of the change");
        assert_eq!(pacing.end(&"a", Unchanged, at(20)).again, Some(at(40)));
        pacing.begin(&"a", at(30));
        assert_eq!(pacing.end(&"a", Changed, at(30)).again, None, "it found what the event announced");
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
        pacing.begin(&"a", at(2));
        let ended = pacing.end(&"a", Changed, at(3));
        assert_eq!(ended.probes, probes(&["archive", "copies"]));
    }

    #[test]
    fn a_check_for_another_reason_that_finds_the_change_has_the_other_resources_checked() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", probe("copies"), at(0));
        pacing.begin(&"a", at(0));
        assert_eq!(pacing.end(&"a", Unchanged, at(1)).probes, probes(&[]));
        let other = pacing.begin(&"a", at(20));
        assert_eq!(other, None);
        assert_eq!(pacing.end(&"a", Changed, at(21)).probes, probes(&["copies"]));
    }

    #[test]
    fn the_second_check_is_in_place_of_all_whose_first_found_nothing() {
        let mut pacing = Pacing::default();
        for (bucket, second) in [("copies", 0), ("archive", 20)] {
            pacing.event(&"a", probe(bucket), at(second));
            pacing.begin(&"a", at(second));
            pacing.end(&"a", Unchanged, at(second + 1));
        }
        let second = pacing.begin(&"a", at(81));
        assert!(second.as_ref().is_some_and(|cause| cause.second));
        assert_eq!(pacing.end(&"a", Changed, at(82)).probes, probes(&["archive", "copies"]));
    }

    #[test]
    fn a_check_that_takes_longer_than_the_pause_is_repeated_too() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", cause(), at(0));
        pacing.begin(&"a", at(0));
        pacing.expire(at(30));
        assert_eq!(pacing.end(&"a", Unchanged, at(31)).again, Some(SECOND_CHECK));
    }

    #[test]
    fn an_event_whose_check_fails_stays_until_a_check_has_read_aws_for_whatever_reason() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", Cause { fresh: true, ..cause() }, at(0));
        pacing.begin(&"a", at(0));
        assert_eq!(pacing.end(&"a", Unanswered, at(1)).again, None, "it is tried again after its own pause");
        for second in [5, 15] {
            assert_eq!(pacing.begin(&"a", at(second)), None);
            assert!(pacing.unanswered(&"a").is_some_and(|cause| cause.fresh));
            assert!(pacing.announced(&"a").is_some(), "what it finds was announced");
            pacing.end(&"a", [Unanswered, Postponed][usize::from(second > 5)], at(second));
        }
        pacing.begin(&"a", at(40));
        assert_eq!(pacing.end(&"a", Unchanged, at(41)).again, Some(SECOND_CHECK));
        assert_eq!(pacing.unanswered(&"a"), None);
        let second = pacing.begin(&"a", at(101));
        assert!(second.is_some_and(|cause| cause.second));
        pacing.end(&"a", Unanswered, at(102));
        assert!(pacing.announced(&"a").is_some());
        pacing.begin(&"a", at(400));
        assert_eq!(pacing.end(&"a", Unchanged, at(401)), FollowUp::default());
        pacing.expire(at(500));
        assert!(pacing.is_empty());
    }

    #[test]
    fn a_check_that_is_cut_off_leaves_its_events_to_the_next_one() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", probe("copies"), at(0));
        pacing.begin(&"a", at(0));
        assert_eq!(pacing.begin(&"a", at(300)), None, "nothing ended the first one");
        assert_eq!(pacing.end(&"a", Changed, at(301)).probes, probes(&["copies"]));
    }

    #[test]
    fn a_probe_passes_to_another_resource_where_the_second_check_fails_too() {
        let changed = "2026-11-25T20:14:49Z".parse().ok();
        let mut pacing = Pacing::default();
        pacing.event(&"a", Cause { changed, ..probe("copies") }, at(0));
        pacing.begin(&"a", at(0));
        pacing.end(&"a", Unchanged, at(1));
        assert!(pacing.begin(&"a", at(61)).is_some_and(|cause| cause.second));
        assert_eq!(pacing.end(&"a", Unanswered, at(62)), FollowUp::default());
        let open = pacing.take_open();
        let expected = Cause { changed, ..cause() };
        assert_eq!(
            open,
            BTreeMap::from([(Lookup::bucket("copies"), expected)]),
            "it begins at the first check"
        );
        assert_eq!(pacing.take_open(), BTreeMap::new());
        pacing.begin(&"a", at(70));
        assert_eq!(pacing.end(&"a", Changed, at(71)).probes, probes(&[]), "another one has the probe by now");
    }

    #[test]
    fn a_probe_stays_where_its_check_is_only_postponed() {
        let mut pacing = Pacing::default();
        pacing.event(&"a", probe("copies"), at(0));
        pacing.begin(&"a", at(0));
        pacing.end(&"a", Postponed, at(1));
        assert_eq!(pacing.take_open(), BTreeMap::new());
        pacing.begin(&"a", at(3));
        assert_eq!(pacing.end(&"a", Changed, at(4)).probes, probes(&["copies"]));
    }

    #[test]
    fn the_probes_of_a_resource_that_is_gone_pass_to_others_however_far_they_were() {
        for steps in 0..4 {
            let mut pacing = Pacing::default();
            pacing.event(&"a", probe("copies"), at(0));
            if steps > 0 {
                pacing.begin(&"a", at(0));
            }
            if steps > 1 {
                pacing.end(&"a", Unchanged, at(1));
            }
            if steps > 2 {
                pacing.begin(&"a", at(61));
            }
            pacing.forget(&"a");
            assert_eq!(pacing.end(&"a", Unchanged, at(62)), FollowUp::default());
            let open: Vec<_> = pacing.take_open().into_iter().collect();
            assert_eq!(open, [(Lookup::bucket("copies"), cause())], "{steps}");
            assert!(pacing.is_empty());
        }
    }

    #[test]
    fn of_each_setting_the_last_foreign_change_counts() {
        let time = |second: i64| Timestamp::from_second(second).unwrap();
        let changes = |all: &[(SettingHash, i64)]| Cause {
            foreign: all.iter().map(|(setting, second)| (*setting, time(*second))).collect(),
            ..cause()
        };
        let both = changes(&[(1, 10), (2, 20)]).merge(changes(&[(1, 15), (2, 5), (3, 1)]));
        assert_eq!(both.foreign, changes(&[(1, 15), (2, 20), (3, 1)]).foreign);
    }

    fn some_answer() -> impl Strategy<Value = Answer> {
        prop_oneof![Just(Changed), Just(Unchanged), Just(Postponed), Just(Unanswered)]
    }

    /// Something that happens to one of the resources that share a bucket.
    #[derive(Clone, Debug)]
    enum Happening {
        /// A check for another reason than events is part of it.
        Check(Option<Answer>),
        Gone,
        Tick,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            6 => some_answer().prop_map(|answer| Happening::Check(Some(answer))),
            1 => Just(Happening::Check(None)),
            1 => Just(Happening::Gone),
            2 => Just(Happening::Tick),
        ]
    }

    /// The number of probes of the bucket that wait or run.
    fn held(pacing: &Pacing<usize>, bucket: Lookup) -> usize {
        let causes = pacing.entries.values().flat_map(|entry| {
            let pending = entry.pending.as_ref().map(|pending| &pending.cause);
            entry.waiting.iter().chain(pending).chain(&entry.running)
        });
        causes.filter(|cause| cause.probes.contains(&bucket)).count()
            + usize::from(pacing.open.contains_key(&bucket))
    }

    proptest! {
        /// In every history of checks and resources, a probe ends only where a check found something, or where one
        /// check and a second one at least a minute later read AWS and found nothing.
        #[test]
        fn no_probe_is_lost(history in prop::collection::vec((0usize..3, happening(), 1u64..70), 1..80)) {
            let bucket = Lookup::bucket("copies");
            let mut pacing = Pacing::default();
            pacing.event(&0, probe("copies"), at(0));
            // Since when a check has read AWS for the resource that has the probe now, and found nothing.
            let (mut second, mut quiet) = (0, None::<u64>);
            for (one, happening, pause) in history {
                second += pause;
                let has_probe = |pacing: &Pacing<usize>| {
                    let entry = pacing.entries.get(&one);
                    let pending = entry.and_then(|entry| entry.pending.as_ref()).map(|pending| &pending.cause);
                    let all = entry.into_iter().flat_map(|entry| entry.waiting.iter().chain(&entry.running));
                    all.chain(pending).any(|cause| cause.probes.contains(&bucket))
                };
                let holds = has_probe(&pacing);
                match happening {
                    Happening::Check(answer) => {
                        pacing.begin(&one, at(second));
                        prop_assert_eq!(has_probe(&pacing), holds);
                        // A check without an answer is cut off.
                        let Some(answer) = answer else { continue };
                        let ended = pacing.end(&one, answer, at(second));
                        prop_assert_eq!(ended.probes.contains(&bucket), holds && answer == Changed);
                        match answer {
                            Changed if holds => return Ok(()),
                            Unchanged if holds && !has_probe(&pacing) => {
                                prop_assert!(quiet.is_some_and(|since| second - since >= 60));
                                prop_assert_eq!(held(&pacing, bucket), 0);
                                return Ok(());
                            }
                            Unchanged if holds => quiet = quiet.or(Some(second)),
                            _ => {}
                        }
                    }
                    Happening::Gone => pacing.forget(&one),
                    Happening::Tick => {
                        for (lookup, cause) in pacing.take_open() {
                            quiet = None;
                            pacing.event(&one, Cause { probes: [lookup].into(), ..cause }, at(second));
                        }
                        pacing.expire(at(second));
                    }
                }
                prop_assert_eq!(held(&pacing, bucket), 1);
            }
        }

        /// However events come and checks end, those that events cause begin ten seconds apart, none is lost, and
        /// nothing is remembered of a resource that is left alone.
        #[test]
        fn checks_that_events_cause_are_ten_seconds_apart_and_no_event_is_lost(
            history in prop::collection::vec((0u64..8, any::<bool>(), some_answer()), 1..80),
        ) {
            let mut pacing = Pacing::default();
            let (mut second, mut last, mut unanswered) = (0, None::<u64>, false);
            // When events have the resource checked, and when the operator tries again what failed.
            let (mut due, mut retry) = (None::<u64>, None::<u64>);
            for (pause, event, answer) in history {
                second += pause;
                if event {
                    let wait = pacing.event(&(), cause(), at(second));
                    due = Some(due.map_or(second + wait.as_secs(), |due| due.min(second + wait.as_secs())));
                    unanswered = true;
                }
                let is_due = |at: Option<u64>| at.is_some_and(|at| at <= second);
                if is_due(due) || is_due(retry) {
                    let cause = pacing.begin(&(), at(second));
                    if is_due(due) && cause.as_ref().is_some_and(|cause| !cause.second) {
                        prop_assert!(last.is_none_or(|last| second - last >= 10));
                    }
                    last = if cause.is_some() { Some(second) } else { last };
                    prop_assert!(!unanswered || cause.is_some() || pacing.unanswered(&()).is_some());
                    let again = pacing.end(&(), answer, at(second)).again;
                    unanswered &= matches!(answer, Postponed | Unanswered);
                    prop_assert!(!unanswered || pacing.unanswered(&()).is_some());
                    (due, retry) = (again.map(|again| second + again.as_secs()), unanswered.then_some(second + 1));
                }
                prop_assert!(!unanswered || due.is_some() || retry.is_some());
            }
            pacing.begin(&(), at(second + 100));
            pacing.end(&(), Changed, at(second + 100));
            pacing.expire(at(second + 200));
            prop_assert!(pacing.is_empty());
        }
    }
}
