//! When the next check of a resource, an account or a backfill is due.
//!
//! In: the pause that a check asked for. Out: the time of the next one. AWS and the watches have settled a minute after
//! a write, so that all longer pauses are alike.

use std::time::Duration;

use crate::simulation::explore::run::{NextCheck, Run};

/// The longest pause between two checks: the interval.
pub(super) const INTERVAL: Duration = Duration::from_secs(601);

/// A shorter pause than this is one after which something may be over.
const SOON: Duration = Duration::from_secs(590);

/// Old answers, and what the operator remembers of its writes because of them, are over by then.
const MINUTE: Duration = Duration::from_secs(60);

/// How long the watch takes to bring a change.
pub(super) const WATCH: Duration = Duration::from_secs(1);

impl NextCheck {
    /// The time until a next check and whether it came late: the state depends on nothing else of it.
    pub(super) fn left(self, now: Duration) -> (Duration, bool) {
        (self.at.saturating_sub(now), self.is_late)
    }
}

/// A pause as the exploration takes it. The operator lengthens its pauses by chance: here they last as long as a power of two
/// in seconds, so that runs that differ by chance alone go through the same states.
fn rounded(pause: Duration) -> Duration {
    if pause >= MINUTE {
        return INTERVAL;
    }
    let seconds = pause.as_secs();
    Duration::from_secs(seconds.checked_ilog2().map_or(0, |log| 1 << log)).max(WATCH)
}

impl Run {
    /// Something changed that the watches bring: everything is due as soon as they did.
    pub(super) fn wake(&mut self) {
        let at = self.clock.elapsed() + WATCH;
        for due in &mut self.schedule {
            *due = NextCheck { at: due.at.min(at).max(self.clock.elapsed()), is_late: false };
        }
    }

    /// Lets time pass until something is due. While a check runs, only a moment passes, so that another resource that
    /// is checked meanwhile was changed.
    pub(super) fn await_due(&mut self, work: usize) {
        let due = self.schedule.get(work).copied().unwrap_or_default();
        let (left, _) = due.left(self.clock.elapsed());
        let is_late = |number: usize| self.held.is_some_and(|(held, _)| held == number);
        let runs = self.checks.iter().any(|check| !is_late(check.number));
        self.clock.advance(if runs { left.min(WATCH) } else { left });
    }

    /// Schedules the next check of a work whose last one ended, and asked for this pause. Returns whether that is soon, and
    /// whether the last one came so late that what lasts a minute was over.
    pub(super) fn schedule_next(&mut self, work: usize, pause: Duration, unchanged: u8) -> (bool, bool) {
        let is_backfill = self.backfill_at(work).is_some();
        let pause = match is_backfill {
            // Its job goes on for longer than a minute.
            true => pause.clamp(WATCH, INTERVAL),
            false => rounded(pause),
        };
        let soon = pause < SOON;
        // Checks that found the same twice would find it again until something is over.
        let pause = if unchanged > 1 && !is_backfill { INTERVAL } else { pause };
        let due = NextCheck { at: self.clock.elapsed() + pause, is_late: pause > MINUTE };
        let last = self.schedule.get_mut(work).map(|held| std::mem::replace(held, due));
        (soon, is_backfill || last.is_some_and(|last| last.is_late))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_that_differ_by_chance_are_equal_and_long_ones_are_all_the_interval() {
        let of = |millis| rounded(Duration::from_millis(millis)).as_secs();
        assert_eq!([0, 999, 1_000, 1_999, 2_000, 3_999, 4_100, 9_700].map(of), [1, 1, 1, 1, 2, 2, 4, 8]);
        assert_eq!([15_000, 33_000, 59_999, 60_000, 660_000].map(of), [8, 32, 32, 601, 601]);
    }
}
