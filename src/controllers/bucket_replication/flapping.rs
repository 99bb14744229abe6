//! Detects that two tools overwrite each other's value of one field.
//!
//! In: the corrections of a resource. Out: the differences to leave alone for now, and for how long: after a few
//! corrections of the same field within an hour, each further one waits twice as long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::{AwsResource, DriftEntry};
use crate::backoff::doubling;
use crate::replication::outcome::Contested;

const WINDOW: Duration = Duration::from_secs(60 * 60);

/// The number of corrections of one field within the window that count as accidents.
const TOLERATED: usize = 3;

/// The first pause once a field is contested; doubled with every further correction, up to the window.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

type CorrectedField = (AwsResource, String, String);

/// The recent corrections on one resource. Empty for nearly all.
#[derive(Clone, Debug, Default)]
pub struct CorrectionHistory(BTreeMap<CorrectedField, Vec<Instant>>);

impl CorrectionHistory {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn record<'a>(&mut self, settled: impl Iterator<Item = &'a DriftEntry>, now: Instant) {
        for difference in settled {
            self.0.entry(field(difference)).or_default().push(now);
        }
    }

    /// How often each field was corrected within the window, as text.
    #[cfg(any(test, feature = "simulation"))]
    pub fn fingerprint(&self, now: Instant) -> String {
        let recent = |times: &Vec<Instant>| times.iter().filter(|t| now.duration_since(**t) < WINDOW).count();
        let counts: Vec<_> = self.0.iter().map(|(field, times)| (field, recent(times))).collect();
        format!("{counts:?}")
    }

    /// Which of these differences must wait, and how long: those that were corrected too often.
    pub fn contested(&mut self, differences: &[DriftEntry], now: Instant) -> Option<(Contested, Duration)> {
        self.0.retain(|_, times| {
            times.retain(|t| now.duration_since(*t) < WINDOW);
            !times.is_empty()
        });
        let contested: Vec<(&DriftEntry, &Vec<Instant>)> = differences
            .iter()
            .filter_map(|d| Some((d, self.0.get(&field(d))?)))
            .filter(|(_, times)| times.len() >= TOLERATED)
            .collect();
        let wait = contested
            .iter()
            .filter_map(|(_, times)| Some((times.last()?, pause(times.len()))))
            .map(|(last, pause)| pause.saturating_sub(now.duration_since(*last)))
            .max()
            .filter(|wait| !wait.is_zero())?;
        let corrections = contested.iter().map(|(_, times)| times.len()).max().unwrap_or_default();
        let differences = contested.into_iter().map(|(d, _)| d.clone()).collect();
        Some((Contested { differences, corrections }, wait))
    }
}

fn field(d: &DriftEntry) -> CorrectedField {
    (d.resource, d.name.clone(), d.path.clone())
}

fn pause(corrections: usize) -> Duration {
    let earlier = u32::try_from(corrections.saturating_sub(TOLERATED)).unwrap_or(u32::MAX);
    doubling(FIRST_PAUSE, earlier, WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drift(path: &str) -> DriftEntry {
        DriftEntry {
            resource: AwsResource::ReplicationConfiguration,
            name: "b".into(),
            path: path.into(),
            want: "a".into(),
            got: "b".into(),
        }
    }

    #[test]
    fn the_fourth_correction_of_a_field_within_an_hour_waits() {
        let mut corrections = CorrectionHistory::default();
        let start = Instant::now();
        let (one, other) = ([drift("one")], [drift("other")]);
        for minute in 0..3 {
            let now = start + Duration::from_secs(60 * minute);
            assert_eq!(corrections.contested(&one, now), None);
            corrections.record(one.iter(), now);
        }
        let now = start + Duration::from_secs(180);
        let (held, wait) = corrections.contested(&one, now).unwrap();
        assert_eq!((held.corrections, held.differences.as_slice()), (3, &one[..]));
        assert_eq!(wait, Duration::from_secs(240));
        assert_eq!(corrections.contested(&other, now), None, "another field is not affected");
        let later = now + wait;
        assert_eq!(corrections.contested(&one, later), None, "one more try");
        corrections.record(one.iter(), later);
        assert_eq!(
            corrections.contested(&one, later).unwrap().1,
            Duration::from_secs(600),
            "the pause doubles"
        );
        assert_eq!(
            corrections.contested(&one, later + WINDOW),
            None,
            "after an hour without a correction all is forgotten"
        );
    }
}
