//! Gives AWS a minute after the operator's own writes: an answer from before a write is neither drift nor a correction.
//!
//! In: what each write replaced and the differences that it corrected, what a later check finds, and where events say
//! that someone else changed something. Out: how long to wait before AWS is read again, if it still shows a state from
//! before a write. Old and new answers may alternate for a while. A state from before a write is someone's doing if it
//! stays for some seconds after a newer one was seen, or after someone else changed that setting. A write that AWS did not
//! answer may be done: what was there before it is believed only to make the same write again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::api::DriftEntry;
use crate::backoff::doubling;
use crate::controllers::bucket_replication::contents::{Contents, Replaced, absent_policy, hash};
use crate::replication::observed::SHOWN_AFTER;
use crate::replication::setting_hash::{SettingHash, setting_of};

/// How long a state from before a write has to stay, once AWS has shown a newer one, to be believed.
const COME_BACK: Duration = Duration::from_secs(10);

/// How far the operator's clock may be behind AWS's, and what both lose to whole seconds. A change that AWS completed no
/// later than this after a write may be the one that the write corrected: its event may come minutes late.
const SKEW: Duration = Duration::from_secs(5);

/// How long a difference has to stay, where another process wrote a moment ago and it is not known what it replaced; and
/// how long a deletion waits for what was made a moment ago.
const BELIEVED: Duration = Duration::from_secs(20);

/// The first pause before AWS is read again; doubled each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The operator's writes of the last minute. Everything is kept as hashes, in boxes and in vectors without room for
/// more, because every resource of a fleet that is applied at once has some.
#[derive(Clone, Debug, Default)]
pub struct RecentWrites {
    settings: BTreeMap<SettingHash, Box<WrittenSetting>>,
    unanswered: Vec<UnansweredWrite>,
    /// Since when answers were found that this process cannot distinguish from old ones.
    unsure_since: Option<Instant>,
    /// How often AWS was read again in a row.
    reads: u32,
}

/// A setting that was written to.
#[derive(Clone, Debug, Default)]
struct WrittenSetting {
    /// Its contents before writes, the last one at the end.
    before: Vec<(u64, Instant)>,
    /// The differences that writes corrected.
    differences: Vec<(u64, Instant)>,
    /// When the last write ended.
    at: Option<Instant>,
    /// Since the last write AWS has shown something newer, or someone else has changed the setting.
    seen: bool,
    /// Since when AWS shows the old state again.
    back: Option<Instant>,
    /// When the last write took away a policy that nobody had read: any policy there may be that one.
    removed_unread: Option<Instant>,
}

/// A write that AWS did not answer, with what the setting held before it, and holds after it, where that is known.
#[derive(Clone, Copy, Debug)]
struct UnansweredWrite {
    setting: SettingHash,
    before: u64,
    after: Option<u64>,
    at: Instant,
}

impl UnansweredWrite {
    /// How much longer an old answer is expected, if the plan relies on what may be one. A plan that makes the write again
    /// need not know whether it was done.
    fn wait(&self, shown: &ShownState<'_>, now: Instant) -> Option<Duration> {
        let is_shown = shown.contents.get(&self.setting) == Some(&self.before);
        let is_repeated = shown.planned.get(&self.setting).is_some_and(|all| all.contains(&self.after));
        let left = SHOWN_AFTER.saturating_sub(now.duration_since(self.at));
        (is_shown && !is_repeated && !left.is_zero()).then_some(left)
    }
}

/// The state that a check found.
pub struct ShownState<'a> {
    pub differences: &'a [DriftEntry],
    pub contents: Contents,
    /// The settings that the plan writes to, with what each write leaves there, where that is known.
    pub planned: HashMap<SettingHash, Vec<Option<u64>>>,
    /// Everything that is desired was applied before.
    pub drift: bool,
    /// How long ago the status says that something was written, by this process or another one.
    pub written_ago: Option<Duration>,
}

/// How long to wait for newer answers, and the settings that AWS shows as they were before a write.
#[derive(Debug, PartialEq, Eq)]
pub struct OldSettings {
    pub pause: Duration,
    pub settings: HashSet<SettingHash>,
}

impl WrittenSetting {
    fn is_empty(&self) -> bool {
        self.before.is_empty() && self.differences.is_empty() && self.removed_unread.is_none()
    }

    /// How much longer an old answer is expected, if this may be one.
    fn wait(&mut self, setting: SettingHash, shown: &ShownState<'_>, now: Instant) -> Option<Duration> {
        let found: Vec<u64> =
            shown.differences.iter().filter(|d| setting_of(d) == setting).map(hash).collect();
        let content = shown.contents.get(&setting);
        let is_held = |(before, _): &&(u64, Instant)| Some(before) == content;
        let differs = !found.is_empty() || shown.planned.contains_key(&setting);
        let replaced = match !differs {
            // The spec may ask by now for what was there before the last write.
            true => self.before.last().filter(|before| !shown.drift && is_held(before)),
            false => self.before.iter().rev().find(is_held),
        };
        let of = |hash: &u64| self.differences.iter().find(|(held, _)| held == hash).map(|(_, at)| *at);
        // An answer from before a write shows, of its setting, only differences that were corrected. An answer that shows
        // more is newer, and the corrected ones have come back.
        let corrected: Option<Vec<Instant>> = found.iter().map(of).collect();
        let is_there = content.is_some_and(|content| *content != absent_policy());
        let unread = self.removed_unread.filter(|_| is_there && (differs || !shown.drift));
        let corrected = corrected.and_then(|times| times.into_iter().max());
        let at = replaced.map(|(_, at)| *at).max(corrected).max(unread);
        let Some(at) = at else {
            (self.seen, self.back) = (true, None);
            return None;
        };
        let mut left = SHOWN_AFTER.saturating_sub(now.duration_since(at));
        if self.seen {
            let back = *self.back.get_or_insert(now);
            left = left.min(COME_BACK.saturating_sub(now.duration_since(back)));
        }
        (!left.is_zero()).then_some(left)
    }
}

impl RecentWrites {
    pub fn is_empty(&self) -> bool {
        self.has_no_writes() && self.unsure_since.is_none()
    }

    fn has_no_writes(&self) -> bool {
        self.settings.is_empty() && self.unanswered.is_empty()
    }

    /// Records differences that were corrected just now, and what was replaced.
    pub fn record<'a>(
        &mut self,
        settled: impl Iterator<Item = &'a DriftEntry>,
        replaced: &[Replaced],
        now: Instant,
    ) {
        for difference in settled {
            let DriftEntry { want, got, .. } = difference;
            let inverse = DriftEntry { want: got.clone(), got: want.clone(), ..difference.clone() };
            let (corrected, inverse) = (hash(difference), hash(&inverse));
            let setting = self.written(setting_of(difference), now);
            setting.differences.retain(|(held, _)| *held != corrected && *held != inverse);
            setting.differences.push((corrected, now));
        }
        for write @ Replaced { setting, before, after } in replaced {
            // If a write without an answer was done, what it left is an old state too.
            let unanswered: Vec<UnansweredWrite> =
                self.unanswered.extract_if(.., |held| held.setting == *setting).collect();
            let setting = self.written(*setting, now);
            let states = |write: &UnansweredWrite| {
                [Some(write.before), write.after].map(|held| held.zip(Some(write.at)))
            };
            setting.before.extend(unanswered.iter().flat_map(states).flatten());
            setting.removed_unread = write.removes_unread_policy().then_some(now);
            // The present state is no old one, although a write replaced it once.
            setting.before.retain(|(held, _)| Some(*held) != *before && Some(*held) != *after);
            setting
                .before
                .extend(before.filter(|before| Some(*before) != *after).map(|before| (before, now)));
        }
        self.settings.retain(|_, setting| !setting.is_empty());
        for setting in self.settings.values_mut() {
            setting.before.shrink_to_fit();
            setting.differences.shrink_to_fit();
        }
        self.unsure_since = None;
        self.reads = 0;
    }

    /// Records what writes replaced that AWS did not answer, if they were done.
    pub fn record_unanswered(&mut self, replaced: &[Replaced], now: Instant) {
        for write @ Replaced { setting, before, after } in replaced {
            if write.removes_unread_policy() {
                self.written(*setting, now).removed_unread = Some(now);
            }
            if let Some(before) = before.filter(|before| Some(*before) != *after) {
                let is_other = |held: &UnansweredWrite| {
                    (held.setting, held.before, held.after) != (*setting, before, *after)
                };
                self.unanswered.retain(is_other);
                self.unanswered.push(UnansweredWrite { setting: *setting, before, after: *after, at: now });
            }
        }
        self.unanswered.shrink_to_fit();
    }

    /// Where AWS shows what a write without an answer left, it was done.
    fn recognize_unanswered(&mut self, contents: &Contents) {
        let settings = &self.settings;
        // An old answer may show once more a state from before an earlier write, and say nothing of this one.
        let was_there = |setting: &SettingHash, content: u64| {
            let held = settings.get(setting).map(|held| held.before.as_slice()).unwrap_or_default();
            held.iter().any(|(before, _)| *before == content)
        };
        let is_done = |write: &mut UnansweredWrite| {
            let is_shown = |after: &u64| contents.get(&write.setting) == Some(after);
            write.after.filter(is_shown).is_some_and(|after| !was_there(&write.setting, after))
        };
        let done: Vec<UnansweredWrite> = self.unanswered.extract_if(.., is_done).collect();
        for UnansweredWrite { setting, before, at, .. } in done {
            self.settings.entry(setting).or_default().before.push((before, at));
        }
    }

    fn written(&mut self, setting: SettingHash, now: Instant) -> &mut WrittenSetting {
        let held = self.settings.entry(setting).or_default();
        (held.at, held.seen, held.back) = (Some(now), false, None);
        held
    }

    /// An event says that someone else changed a setting at this time: AWS may show that change there, although it equals
    /// the state that the operator replaced.
    pub fn changed_by_another(&mut self, setting: SettingHash, at: Instant) {
        if let Some(held) = self.settings.get_mut(&setting) {
            held.seen |= held.at.is_some_and(|written| at.duration_since(written) >= SKEW);
        }
    }

    /// How long to wait for newer answers, if a check found something from before a write.
    pub fn unsettled(&mut self, shown: &ShownState<'_>, now: Instant) -> Option<OldSettings> {
        self.expire(now);
        self.recognize_unanswered(&shown.contents);
        let (left, settings) = match self.has_no_writes() {
            true => {
                let concerns = shown.drift && !shown.differences.is_empty();
                let left = self.unknown(shown.written_ago.filter(|_| concerns), now);
                (left, shown.differences.iter().map(setting_of).collect())
            }
            false => {
                let waits = self.settings.iter_mut().filter_map(|(setting, held)| {
                    let left = held.wait(*setting, shown, now)?;
                    Some((left, *setting))
                });
                let unanswered = self.unanswered.iter();
                let unanswered =
                    unanswered.filter_map(|write| Some((write.wait(shown, now)?, write.setting)));
                let (times, settings): (Vec<Duration>, HashSet<SettingHash>) =
                    waits.chain(unanswered).unzip();
                (times.into_iter().max(), settings)
            }
        };
        let pause = self.pause(left)?;
        Some(OldSettings { pause, settings })
    }

    /// Where this process wrote nothing and another one did a moment ago.
    fn unknown(&mut self, written_ago: Option<Duration>, now: Instant) -> Option<Duration> {
        let left = SHOWN_AFTER.saturating_sub(written_ago.unwrap_or(SHOWN_AFTER));
        if left.is_zero() {
            self.unsure_since = None;
            return None;
        }
        self.until_believed(left, now)
    }

    /// How long of this time to wait until what AWS shows is believed.
    fn until_believed(&mut self, left: Duration, now: Instant) -> Option<Duration> {
        if self.unsure_since.is_none() {
            self.reads = 0;
        }
        let since = *self.unsure_since.get_or_insert(now);
        let left = left.min(BELIEVED.saturating_sub(now.duration_since(since)));
        (!left.is_zero()).then_some(left)
    }

    /// How long to wait for newer answers, where what another process made does not show.
    pub fn awaits_another_process(
        &mut self,
        written_ago: Option<Duration>,
        now: Instant,
    ) -> Option<Duration> {
        self.expire(now);
        let left = if self.has_no_writes() { self.unknown(written_ago, now) } else { None };
        left.and_then(|left| self.pause(Some(left)))
    }

    /// How long a deletion waits for newer answers, where one of these settings holds what it held before a write.
    pub fn shows_replaced(&mut self, contents: &Contents, now: Instant) -> Option<Duration> {
        self.expire(now);
        let old = self.settings.iter().filter_map(|(setting, held)| {
            let content = contents.get(setting)?;
            held.before.iter().rev().find(|(before, _)| before == content).map(|(_, at)| *at)
        });
        let unanswered = self.unanswered.iter();
        let unanswered = unanswered.filter(|write| contents.get(&write.setting) == Some(&write.before));
        let old = old.chain(unanswered.map(|write| write.at));
        let left = old.map(|at| SHOWN_AFTER.saturating_sub(now.duration_since(at))).max()?;
        let left = self.until_believed(left, now)?;
        self.pause(Some(left))
    }

    fn pause(&mut self, left: Option<Duration>) -> Option<Duration> {
        let Some(left) = left else {
            self.reads = 0;
            return None;
        };
        let pause = doubling(FIRST_PAUSE, self.reads, LONGEST_PAUSE);
        self.reads = self.reads.saturating_add(1);
        Some(pause.min(left))
    }

    /// Forgets what was written more than a minute ago.
    pub fn expire(&mut self, now: Instant) {
        let is_recent = |(_, at): &(u64, Instant)| now.duration_since(*at) < SHOWN_AFTER;
        self.settings.retain(|_, setting| {
            setting.before.retain(is_recent);
            setting.differences.retain(is_recent);
            setting.removed_unread.take_if(|at| now.duration_since(*at) >= SHOWN_AFTER);
            !setting.is_empty()
        });
        self.unanswered.retain(|write| now.duration_since(write.at) < SHOWN_AFTER);
        self.unsure_since.take_if(|since| now.duration_since(*since) >= SHOWN_AFTER);
    }

    /// Whether a setting was written to within the last minute.
    pub fn has_written(&self, setting: SettingHash) -> bool {
        self.settings.contains_key(&setting) || self.unanswered.iter().any(|write| write.setting == setting)
    }

    /// The operator removed what is in this setting: that it is not there is no old answer.
    pub fn forget(&mut self, setting: SettingHash) {
        self.settings.remove(&setting);
        self.unanswered.retain(|write| write.setting != setting);
    }

    /// The whole memory, as text, with the last limit that each age has passed in place of the age. The exploration has
    /// no events, so that the time of the last write decides nothing there.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fingerprint(&self, now: Instant) -> String {
        let limits = [SHOWN_AFTER, BELIEVED, COME_BACK];
        let age = |at: &Instant| {
            let passed = limits.iter().find(|limit| now.duration_since(*at) >= **limit);
            passed.map_or(0, Duration::as_secs)
        };
        let ages = |all: &[(u64, Instant)]| -> Vec<(u64, u64)> {
            all.iter()
                .map(|(hash, at)| (*hash, age(at)))
                .filter(|(_, age)| *age < SHOWN_AFTER.as_secs())
                .collect()
        };
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(setting, held)| {
                let (mut before, mut differences) = (ages(&held.before), ages(&held.differences));
                before.sort_unstable();
                differences.sort_unstable();
                let removed = held.removed_unread.as_ref().map(age);
                let removed = removed.filter(|age| *age < SHOWN_AFTER.as_secs());
                let back = held.back.as_ref().map(age);
                (setting, before, differences, removed, held.seen, back)
            })
            .filter(|(_, before, differences, removed, ..)| {
                !before.is_empty() || !differences.is_empty() || removed.is_some()
            })
            .collect();
        let unanswered = self.unanswered.iter().map(|w| (&w.setting, w.before, w.after, age(&w.at)));
        let mut unanswered: Vec<_> = unanswered.filter(|(.., age)| *age < SHOWN_AFTER.as_secs()).collect();
        unanswered.sort_unstable();
        format!("{settings:?} {unanswered:?} {:?}", self.unsure_since.as_ref().map(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AwsResource;
    use crate::replication::setting_hash::setting;

    fn absent(path: &str) -> DriftEntry {
        DriftEntry {
            resource: AwsResource::ReplicationConfiguration,
            name: "orders".into(),
            path: path.into(),
            want: "Enabled".into(),
            got: "absent".into(),
        }
    }

    fn at(start: Instant, second: u64) -> Instant {
        start + Duration::from_secs(second)
    }

    fn shown(differences: &[DriftEntry]) -> ShownState<'_> {
        ShownState {
            differences,
            contents: Contents::new(),
            planned: HashMap::new(),
            drift: true,
            written_ago: None,
        }
    }

    #[test]
    fn an_answer_from_before_a_write_is_read_again_for_a_minute() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        writes.record(found.iter(), &[], start);
        for second in [0, 12, 59] {
            let pause = writes.unsettled(&shown(&found), at(start, second)).unwrap().pause;
            assert!(!pause.is_zero() && pause <= LONGEST_PAUSE);
        }
        assert_eq!(writes.unsettled(&shown(&found), at(start, 60)), None, "it is drift then");
        assert!(writes.is_empty());
    }

    #[test]
    fn a_policy_where_one_was_taken_away_unread_may_be_that_one() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        let policy = setting(AwsResource::RolePolicy, "orders-role");
        let removed = Replaced { setting: policy, before: None, after: Some(absent_policy()) };
        let shows =
            |content: u64, drift| ShownState { contents: [(policy, content)].into(), drift, ..shown(&[]) };
        writes.record([].iter(), &[removed], start);
        assert!(
            writes.unsettled(&shows(7, false), at(start, 1)).is_some(),
            "the spec asks for that role again"
        );
        assert_eq!(writes.unsettled(&shows(7, true), at(start, 1)), None, "nothing relies on it");
        assert!(writes.unsettled(&shows(7, false), at(start, 59)).is_some());
        assert_eq!(writes.unsettled(&shows(7, false), at(start, 60)), None);
        assert!(writes.is_empty());

        writes.record([].iter(), &[removed], start);
        assert_eq!(writes.unsettled(&shows(absent_policy(), false), at(start, 1)), None, "it is gone");
        let written = Replaced { before: Some(absent_policy()), after: Some(7), ..removed };
        writes.record([].iter(), &[written], at(start, 2));
        assert_eq!(writes.unsettled(&shows(7, false), at(start, 3)), None, "the operator wrote it");
    }

    #[test]
    fn after_a_write_without_an_answer_the_state_before_it_is_believed_only_to_make_the_write_again() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        let policy = setting(AwsResource::RolePolicy, "orders-role");
        let lost = Replaced { setting: policy, before: Some(1), after: Some(2) };
        writes.record_unanswered(&[lost], start);
        let plans = |content: u64, planned: &[Option<u64>]| ShownState {
            contents: [(policy, content)].into(),
            planned: [(policy, planned.to_vec())].into_iter().filter(|(_, all)| !all.is_empty()).collect(),
            drift: false,
            ..shown(&[])
        };
        assert_eq!(writes.unsettled(&plans(1, &[Some(2)]), at(start, 1)), None, "no retry waits");
        assert!(writes.unsettled(&plans(1, &[]), at(start, 2)).is_some(), "the spec asks for that by now");
        assert!(writes.unsettled(&plans(1, &[Some(3)]), at(start, 3)).is_some(), "the spec asks for more");
        assert_eq!(writes.unsettled(&plans(2, &[]), at(start, 4)), None, "it was done");
        assert!(writes.shows_replaced(&[(policy, 1)].into(), at(start, 5)).is_some(), "a deletion waits");
        assert_eq!(writes.unsettled(&plans(1, &[]), at(start, 60)), None, "AWS shows it by now");
        assert!(writes.is_empty());

        // Made again with an answer: what the first try replaced and left is old.
        writes.record_unanswered(&[lost], start);
        let again = Replaced { after: Some(4), ..lost };
        writes.record([].iter(), &[again], at(start, 1));
        for old in [1, 2] {
            assert!(writes.unsettled(&plans(old, &[Some(9)]), at(start, 2)).is_some(), "{old}");
        }
        assert_eq!(writes.unsettled(&plans(4, &[]), at(start, 3)), None);
    }

    #[test]
    fn the_writes_for_a_new_resource_take_less_than_a_kilobyte() {
        let versioning = |bucket: &str| DriftEntry {
            resource: AwsResource::BucketVersioning,
            name: bucket.into(),
            ..absent("status")
        };
        let role = |resource| DriftEntry { resource, name: "orders-role".into(), ..absent("exists") };
        let settled = [
            versioning("orders"),
            versioning("copies"),
            role(AwsResource::Role),
            role(AwsResource::RolePolicy),
            absent("rules[a]"),
        ];
        let replaced = settled.iter().zip(1_u64..).map(|(difference, before)| Replaced {
            setting: setting_of(difference),
            before: Some(before),
            after: Some(before + 1),
        });
        let replaced: Vec<_> = replaced.collect();
        let mut held = None;
        let allocated = allocation_counter::measure(|| {
            let mut writes = RecentWrites::default();
            writes.record(settled.iter(), &replaced, Instant::now());
            held = Some(writes);
        });
        assert_eq!(held.unwrap().settings.len(), 5);
        assert!(allocated.bytes_current < 1_000, "{} bytes", allocated.bytes_current);
    }

    #[test]
    fn old_answers_may_alternate_with_new_ones() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        writes.record(found.iter(), &[], start);
        for second in (1..60).step_by(6) {
            assert_eq!(writes.unsettled(&shown(&[]), at(start, second)), None);
            assert!(writes.unsettled(&shown(&found), at(start, second + 1)).is_some(), "second {second}");
            assert!(writes.unsettled(&shown(&found), at(start, second + 4)).is_some() || second > 54);
        }
    }

    #[test]
    fn a_difference_that_was_gone_and_comes_back_to_stay_is_someone_elses() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        writes.record(found.iter(), &[], start);
        assert_eq!(writes.unsettled(&shown(&[]), at(start, 1)), None);
        assert!(writes.unsettled(&shown(&found), at(start, 2)).is_some());
        assert!(writes.unsettled(&shown(&found), at(start, 11)).is_some());
        assert_eq!(writes.unsettled(&shown(&found), at(start, 12)), None);
    }

    #[test]
    fn a_state_from_before_a_write_is_believed_sooner_where_someone_else_changed_that_setting_since() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        writes.record(found.iter(), &[], start);
        writes.changed_by_another(setting_of(&found[0]), at(start, 7));
        for (second, is_believed) in [(8, false), (17, false), (18, true)] {
            let pause = writes.unsettled(&shown(&found), at(start, second));
            assert_eq!(pause.is_none(), is_believed, "second {second}: {pause:?}");
        }
    }

    #[test]
    fn a_late_event_of_what_a_write_corrected_or_of_another_setting_shortens_no_wait() {
        let (start, found) = (Instant::now() + Duration::from_secs(600), [absent("rules[a]")]);
        let (own, other) =
            (setting_of(&found[0]), setting_of(&DriftEntry { name: "copies".into(), ..absent("") }));
        let seconds = Duration::from_secs;
        // Of AWS's clock, from which the operator's may differ.
        for (setting, time) in
            [(own, start - seconds(300)), (own, start + seconds(4)), (other, start + seconds(9))]
        {
            let mut writes = RecentWrites::default();
            writes.record(found.iter(), &[], start);
            writes.changed_by_another(setting, time);
            for second in [10, 30, 59] {
                assert!(writes.unsettled(&shown(&found), at(start, second)).is_some(), "second {second}");
            }
        }
    }

    #[test]
    fn a_write_after_the_change_of_someone_else_begins_the_wait_again() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        writes.record(found.iter(), &[], start);
        writes.changed_by_another(setting_of(&found[0]), at(start, 7));
        writes.record(found.iter(), &[], at(start, 20));
        // The event is still remembered.
        writes.changed_by_another(setting_of(&found[0]), at(start, 7));
        for second in [21, 40, 79] {
            assert!(writes.unsettled(&shown(&found), at(start, second)).is_some(), "second {second}");
        }
    }

    #[test]
    fn an_answer_that_shows_more_than_what_was_written_away_is_newer() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        writes.record([absent("rules[a]")].iter(), &[], start);
        let found = [absent("rules[a]"), absent("rules[b]")];
        assert_eq!(writes.unsettled(&shown(&found), at(start, 1)), None);
    }

    #[test]
    fn another_value_than_the_one_before_the_write_is_someone_elses() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        writes.record([absent("rules[a]")].iter(), &[], start);
        let other = DriftEntry { got: "Disabled".into(), ..absent("rules[a]") };
        assert_eq!(writes.unsettled(&shown(&[other]), at(start, 1)), None);
    }

    /// The spec may have changed since, so that no difference is the one that was written away.
    #[test]
    fn a_state_that_a_write_of_the_last_minute_replaced_is_not_believed() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        let setting = setting_of(&absent("rules[a]"));
        let write = |before, after| [Replaced { setting, before: Some(before), after: Some(after) }];
        writes.record([].iter(), &write(1, 2), start);
        writes.record([].iter(), &write(2, 3), at(start, 5));
        let found = [absent("rules[c]")];
        let mut sees = |content, drift, second| {
            let contents = Contents::from([(setting, content)]);
            let shown = ShownState { contents, drift, ..shown(&found) };
            writes.unsettled(&shown, at(start, second)).is_some()
        };
        for drift in [true, false] {
            assert!(sees(1, drift, 6) && sees(2, drift, 6));
        }
        assert!(!sees(3, true, 7), "that is what was written last: someone else changed it");
        assert!(sees(2, true, 8), "an older answer follows");
        assert!(!sees(1, true, 61), "the minute is over");
    }

    #[test]
    fn a_state_that_was_written_again_is_no_old_state() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        let there = DriftEntry { want: "absent".into(), got: "Enabled".into(), ..absent("rules[a]") };
        let setting = setting_of(&there);
        let write = |before, after| [Replaced { setting, before: Some(before), after: Some(after) }];
        writes.record([absent("rules[a]")].iter(), &write(1, 2), start);
        writes.record([there].iter(), &write(2, 1), start);
        let found = [absent("rules[a]")];
        let shown = ShownState { contents: Contents::from([(setting, 1)]), drift: false, ..shown(&found) };
        assert_eq!(writes.unsettled(&shown, at(start, 1)), None, "the spec asks for the second state again");
    }

    #[test]
    fn after_a_write_of_another_process_a_difference_is_believed_once_it_stays() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        let mut sees = |second| {
            let written_ago = Some(Duration::from_secs(second + 5));
            writes.unsettled(&ShownState { written_ago, ..shown(&found) }, at(start, second)).is_some()
        };
        assert!(sees(0) && sees(12) && sees(19));
        assert!(!sees(20));
        let mut writes = RecentWrites::default();
        let later = ShownState { written_ago: Some(SHOWN_AFTER), ..shown(&found) };
        assert_eq!(writes.unsettled(&later, start), None);
    }
}
