//! Rounds figures for the status, so that the status of a busy bucket is not written again and again.
//!
//! In: a figure, or two latencies. Out: the figure with two digits; whether both latencies are of one magnitude.

/// A figure, rounded to two digits: 1,234 is 1,200.
pub fn rounded(figure: u64) -> i64 {
    let mut unit: u64 = 1;
    while figure / unit >= 100 {
        unit = unit.saturating_mul(10);
    }
    let nearest = (figure / unit + u64::from(figure % unit * 2 >= unit && unit > 1)).saturating_mul(unit);
    i64::try_from(nearest).unwrap_or(i64::MAX)
}

/// Whether two latencies in seconds are of one magnitude: neither is more than four times the other, and less than a
/// minute counts as one. Where objects arrive, the status is written again only for another magnitude than the one that
/// it shows, so that a latency near a limit does not have it written again and again.
pub fn is_same_magnitude(shown: i64, now: i64) -> bool {
    let (shown, now) = (shown.max(60), now.max(60));
    now <= shown.saturating_mul(4) && shown <= now.saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_two_digits() {
        for (figure, shown) in
            [(0, 0), (7, 7), (99, 99), (101, 100), (1_234, 1_200), (1_250, 1_300), (98_999, 99_000)]
        {
            assert_eq!(rounded(figure), shown);
        }
        assert_eq!(rounded(u64::MAX), i64::MAX);
    }

    #[test]
    fn a_latency_has_another_magnitude_at_four_times_or_a_quarter_of_the_one_that_is_shown() {
        for (shown, now, same) in [
            (0, 240, true),
            (59, 61, true),
            (61, 59, true),
            (0, 241, false),
            (240, 960, true),
            (240, 961, false),
        ] {
            assert_eq!(is_same_magnitude(shown, now), same, "{shown} {now}");
            assert_eq!(is_same_magnitude(now, shown), same, "{now} {shown}");
        }
        assert!(!is_same_magnitude(i64::MAX, 0));
    }
}
