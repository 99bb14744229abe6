//! Figures as the status shows them: rounded, so that the status of a busy bucket is not written again and again.

/// A figure, rounded to two digits: 1,234 is 1,200.
pub fn rounded(figure: u64) -> i64 {
    let mut unit: u64 = 1;
    while figure / unit >= 100 {
        unit = unit.saturating_mul(10);
    }
    let nearest = (figure / unit + u64::from(figure % unit * 2 >= unit && unit > 1)).saturating_mul(unit);
    i64::try_from(nearest).unwrap_or(i64::MAX)
}

/// The order of magnitude of a latency, in steps of four, from a minute: where objects arrive, the status is written
/// again only when this changes.
pub fn magnitude(seconds: i64) -> u32 {
    let minutes = u64::try_from(seconds).unwrap_or_default().div_ceil(60).max(1);
    (minutes.ilog2() + u32::from(!minutes.is_power_of_two())).div_ceil(2)
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
    fn a_latency_changes_its_magnitude_at_one_four_sixteen_and_sixty_four_minutes() {
        for (seconds, is) in
            [(0, 0), (60, 0), (61, 1), (240, 1), (241, 2), (960, 2), (961, 3), (3_840, 3), (3_841, 4)]
        {
            assert_eq!(magnitude(seconds), is, "{seconds}");
        }
    }
}
