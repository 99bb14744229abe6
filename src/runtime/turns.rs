//! Spreads the periodic checks of many objects over their interval, in the same way in every process.
//!
//! In: the UID of an object, its interval, and the time since the Unix epoch. Out: how long it waits for its next turn.
//! An object has its turn at one point of each interval, which its UID decides. A process that starts knows nothing of
//! the checks before it and does not need to: the object whose last check is the oldest has the next turn. Nothing is
//! written for that, and a restart neither moves a check nor causes a burst. A machine whose clock is wrong moves the
//! checks by as much, and nothing else depends on it.

use std::time::Duration;

use sha2::{Digest, Sha256};

/// How long after `now` an object has its next turn: less than its interval. `now`: since the Unix epoch.
pub fn until_turn(uid: &str, interval: Duration, now: Duration) -> Duration {
    let interval = interval.as_nanos().max(1);
    let turn = u128::from(hash(uid)) % interval;
    let wait = (turn + interval - now.as_nanos() % interval) % interval;
    Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
}

/// The same after a check, for whatever reason it was made. A turn that comes within a tenth of the interval is left
/// out: AWS was read a moment ago.
pub fn after_check(uid: &str, interval: Duration, now: Duration) -> Duration {
    let wait = until_turn(uid, interval, now);
    if wait < interval / 10 { wait.saturating_add(interval) } else { wait }
}

/// The same after a start, of one of `fleet` objects. All turns are a tenth of the interval late then, so that those
/// that passed in the last tenth, while no process ran, come first. A small fleet need not wait for its turns: as long
/// as no more than one check begins in a second, they come faster, in their order.
pub fn after_start(uid: &str, interval: Duration, now: Duration, fleet: usize) -> Duration {
    let window = Duration::from_secs(u64::try_from(fleet).unwrap_or(u64::MAX)).min(interval);
    let part = window.as_secs_f64() / interval.as_secs_f64().max(f64::MIN_POSITIVE);
    until_turn(uid, interval, now.saturating_sub(interval / 10)).mul_f64(part.clamp(0.0, 1.0))
}

/// Equal in every version of the operator, which the hashes of the standard library do not promise.
fn hash(uid: &str) -> u64 {
    Sha256::digest(uid).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn uid(number: u32) -> String {
        format!("5f0c2e1a-0000-4000-8000-{number:012x}")
    }

    #[test]
    fn an_object_has_one_turn_in_each_interval_and_another_object_has_another() {
        let (interval, now) = (600 * SECOND, 1_795_000_000 * SECOND);
        let first = now + until_turn(&uid(1), interval, now);
        assert_eq!(until_turn(&uid(1), interval, first), Duration::ZERO);
        assert_eq!(after_check(&uid(1), interval, first), interval);
        assert_eq!(
            after_check(&uid(1), interval, first + SECOND),
            interval - SECOND,
            "a check takes its time"
        );
        assert_ne!(until_turn(&uid(2), interval, now), until_turn(&uid(1), interval, now));
    }

    #[test]
    fn a_small_fleet_is_checked_within_seconds_of_a_start_and_a_large_one_within_its_interval() {
        let (interval, now) = (600 * SECOND, 1_795_000_000 * SECOND);
        let last = |fleet: usize| (0..100).map(|n| after_start(&uid(n), interval, now, fleet)).max().unwrap();
        assert!(last(1) <= SECOND);
        assert!(last(60) <= 60 * SECOND && last(60) > 30 * SECOND, "{:?}", last(60));
        assert!(last(10_000) < interval && last(10_000) > interval / 2);
    }

    #[test]
    fn a_turn_that_came_while_no_process_ran_comes_first_after_the_start() {
        let (interval, now) = (600 * SECOND, 1_795_000_000 * SECOND);
        let turn = now + until_turn(&uid(1), interval, now);
        let wait = |since_turn: u32| after_start(&uid(1), interval, turn + since_turn * SECOND, 10_000);
        assert_eq!((wait(1), wait(59), wait(61)), (59 * SECOND, SECOND, 599 * SECOND));
    }

    #[test]
    fn turns_are_spread_evenly_over_the_interval() {
        let (interval, now) = (600 * SECOND, 1_795_000_123 * SECOND);
        let mut tenths = [0; 10];
        for n in 0..1_000 {
            let wait = until_turn(&uid(n), interval, now);
            tenths[usize::try_from(wait.as_secs() / 60).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
    }

    proptest! {
        /// By any causes of checks, no more than an interval and a tenth passes between two checks of an object, and
        /// another tenth where another process starts within that time.
        #[test]
        fn no_restart_makes_an_object_wait_longer(
            uid in "[0-9a-f]{8}",
            minutes in 1u64..=1_440,
            begin in 0u64..2_000_000_000_000,
            history in prop::collection::vec((0u64..5_000_000, prop::option::of(0.0..1.0)), 1..40),
            fleet in 1usize..20_000,
        ) {
            let (interval, tenth) = (Duration::from_secs(60 * minutes), Duration::from_secs(6 * minutes));
            let mut last = Duration::from_millis(begin);
            let mut due = last + after_check(&uid, interval, last);
            for (later, down) in history {
                let now = (last + Duration::from_millis(later)).min(due);
                let check = match down {
                    Some(down) => {
                        let start = now + tenth.mul_f64(down);
                        start + after_start(&uid, interval, start, fleet)
                    }
                    // A change has the object checked, or its turn has come.
                    None => now,
                };
                prop_assert!(check <= last + interval + 2 * tenth, "{:?} of {interval:?}", check - last);
                due = check + after_check(&uid, interval, check);
                prop_assert!(due - check <= interval + tenth && due - check >= tenth);
                last = check;
            }
        }
    }
}
