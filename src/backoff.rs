//! The one rule by which pauses grow.
//!
//! In: the first pause, how many pauses came before, and the longest. Out: the next pause. The pauses themselves are
//! set where something waits: `runtime/requeue.rs` sets those of checks, such as after `Throttled`.

use std::time::Duration;

/// The pause after `earlier` others: `first`, doubled for each of them, and never longer than `cap`.
pub fn doubling(first: Duration, earlier: u32, cap: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(earlier).unwrap_or(u32::MAX)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap() {
        let (second, cap) = (Duration::from_secs(1), Duration::from_secs(15));
        let pauses: Vec<u64> = (0..6).map(|n| doubling(second, n, cap).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15]);
        assert_eq!(doubling(second, u32::MAX, cap), cap);
        assert_eq!(doubling(Duration::ZERO, 3, cap), Duration::ZERO);
    }
}
