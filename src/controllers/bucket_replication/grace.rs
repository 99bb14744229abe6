//! Gives AWS a minute after the operator's own writes: an answer from before a write is neither drift nor a correction.
//!
//! In: the differences that were corrected, and those that a later check finds; the configuration that was replaced, and
//! the one that a later check reads. Out: how long to wait before AWS is read again, if it still shows the state from
//! before the write. Once a check no longer finds a difference, the write has arrived: if the difference comes back,
//! someone made it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use crate::api::DriftEntry;
use crate::backoff::doubling;
use crate::replication::Configuration;
use crate::replication::observed::Read;

const GRACE: Duration = Duration::from_secs(60);

/// The first pause before AWS is read again; doubled each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The differences that the operator corrected a moment ago and that every check since has still found. They are kept as
/// hashes, because every resource has some after it was applied.
#[derive(Debug, Default)]
pub struct RecentWrites {
    written: Vec<(u64, Instant)>,
    /// The configuration that the last write replaced, by its hash. It is remembered apart from the differences: those
    /// change with the spec, and what the present configuration needs must not be taken away because of an old answer.
    replaced: Option<(u64, Instant)>,
    /// How often AWS was read again in a row.
    reads: u32,
}

impl RecentWrites {
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && self.replaced.is_none()
    }

    /// Records differences that were corrected just now.
    pub fn record<'a>(&mut self, settled: impl Iterator<Item = &'a DriftEntry>, now: Instant) {
        for hash in settled.map(hash) {
            self.written.retain(|(held, _)| *held != hash);
            self.written.push((hash, now));
            self.reads = 0;
        }
        self.written.shrink_to_fit();
    }

    /// The configuration that was observed has been replaced.
    pub fn record_replaced(&mut self, before: &Read<Option<Configuration>>, now: Instant) {
        self.replaced = hash_of(before).map(|hash| (hash, now));
        self.reads = 0;
    }

    /// The differences with their ages in seconds, as text.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fingerprint(&self, now: Instant) -> String {
        let age = |(hash, at): &(u64, Instant)| (*hash, now.duration_since(*at).min(GRACE).as_secs());
        let (ages, replaced) = (self.written.iter().map(age), self.replaced.iter().map(age));
        let mut ages: Vec<_> = ages.chain(replaced).collect();
        ages.sort_unstable();
        format!("{ages:?}")
    }

    /// How long to wait for newer answers, where S3 shows the configuration that was replaced, whatever the spec asks
    /// for by now. One answer may be older than the one before it.
    pub fn shows_replaced(
        &mut self,
        observed: &Read<Option<Configuration>>,
        now: Instant,
    ) -> Option<Duration> {
        let (before, at) = self.replaced?;
        let left = GRACE.saturating_sub(now.duration_since(at));
        if left.is_zero() {
            self.replaced = None;
            return None;
        }
        (hash_of(observed) == Some(before)).then(|| self.next_pause().min(left))
    }

    /// Forgets a configuration that was replaced long ago.
    pub fn expire(&mut self, now: Instant) {
        self.replaced.take_if(|(_, at)| now.duration_since(*at) >= GRACE);
    }

    pub fn forget_replaced(&mut self) {
        self.replaced = None;
    }

    fn next_pause(&mut self) -> Duration {
        let pause = doubling(FIRST_PAUSE, self.reads, LONGEST_PAUSE);
        self.reads = self.reads.saturating_add(1);
        pause
    }

    /// How long to wait for newer answers, if some of the differences found now are from before a write.
    pub fn unsettled(&mut self, found: &[DriftEntry], now: Instant) -> Option<Duration> {
        let hashes: HashSet<u64> = found.iter().map(hash).collect();
        self.written.retain(|(held, at)| now.duration_since(*at) < GRACE && hashes.contains(held));
        let written: HashSet<u64> = self.written.iter().map(|(held, _)| *held).collect();
        // An answer from before a write shows, of its bucket or role, only differences that were corrected. An answer
        // that shows more is newer, and the corrected ones have come back.
        let newer = |d: &DriftEntry| {
            found.iter().any(|o| o.resource == d.resource && o.name == d.name && !written.contains(&hash(o)))
        };
        if !found.iter().any(|d| written.contains(&hash(d)) && !newer(d)) {
            *self = RecentWrites { replaced: self.replaced, ..RecentWrites::default() };
            return None;
        }
        let pause = self.next_pause();
        let left = self.written.iter().map(|(_, at)| GRACE.saturating_sub(now.duration_since(*at))).max();
        Some(left.map_or(pause, |left| pause.min(left)))
    }
}

fn hash(difference: &DriftEntry) -> u64 {
    let mut hasher = DefaultHasher::new();
    difference.hash(&mut hasher);
    hasher.finish()
}

/// `None`: the configuration could not be read.
fn hash_of(configuration: &Read<Option<Configuration>>) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(configuration.as_ref().ok()?).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AwsResource;
    use crate::replication::{Failure, FailureClass};

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

    #[test]
    fn an_answer_from_before_a_write_is_read_again_for_a_minute() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        writes.record(found.iter(), start);
        for second in [0, 12, 59] {
            let pause = writes.unsettled(&found, at(start, second)).unwrap();
            assert!(!pause.is_zero() && pause <= LONGEST_PAUSE);
        }
        assert_eq!(writes.unsettled(&found, at(start, 60)), None, "it is drift then");
        assert!(writes.is_empty());
    }

    #[test]
    fn a_difference_that_was_gone_once_and_comes_back_is_someone_elses() {
        let (mut writes, start, found) = (RecentWrites::default(), Instant::now(), [absent("rules[a]")]);
        writes.record(found.iter(), start);
        assert_eq!(writes.unsettled(&[], at(start, 1)), None);
        assert_eq!(writes.unsettled(&found, at(start, 2)), None);
    }

    #[test]
    fn an_answer_that_shows_more_than_what_was_written_away_is_newer() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        writes.record([absent("rules[a]")].iter(), start);
        let found = [absent("rules[a]"), absent("rules[b]")];
        assert_eq!(writes.unsettled(&found, at(start, 1)), None);
    }

    /// The spec may have changed since, so that no difference is the one that was written away.
    #[test]
    fn the_configuration_that_was_replaced_is_not_believed_for_a_minute() {
        let held = |role: &str| Ok(Some(Configuration { role: role.into(), rules: Default::default() }));
        let unreadable = || Err(Failure::new(FailureClass::Throttled, "a", "orders", ""));
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        for before in [Ok(None), held("old")] {
            writes.record_replaced(&before, start);
            assert!(writes.shows_replaced(&before, at(start, 1)).is_some());
            assert_eq!(writes.shows_replaced(&unreadable(), at(start, 2)), None);
            assert!(
                writes.shows_replaced(&before, at(start, 59)).is_some(),
                "it was not seen as written yet"
            );
            assert_eq!(writes.shows_replaced(&before, at(start, 60)), None, "it is true then");
            writes.record_replaced(&before, start);
            assert_eq!(writes.shows_replaced(&held("new"), at(start, 1)), None);
            assert!(writes.shows_replaced(&before, at(start, 2)).is_some(), "an older answer follows");
            writes.expire(at(start, 60));
            assert!(writes.is_empty());
        }
    }

    #[test]
    fn another_value_than_the_one_before_the_write_is_someone_elses() {
        let (mut writes, start) = (RecentWrites::default(), Instant::now());
        writes.record([absent("rules[a]")].iter(), start);
        let other = DriftEntry { got: "Disabled".into(), ..absent("rules[a]") };
        assert_eq!(writes.unsettled(&[other], at(start, 1)), None);
    }
}
