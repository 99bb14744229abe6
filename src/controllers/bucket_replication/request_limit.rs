//! Limits the checks that someone requests by annotation.
//!
//! In: the time of each such check, and the shortest time between two. Out: how long the next one has to wait. A change
//! of the spec does not wait.

use std::time::{Duration, Instant};

/// How long a check is remembered at most: no interval is longer.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The time of the last requested check.
#[derive(Clone, Debug, Default)]
pub struct RequestLimit(Option<Instant>);

impl RequestLimit {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How long to wait; `None`: the check runs now and counts.
    pub fn delay(&mut self, now: Instant, interval: Duration) -> Option<Duration> {
        let wait = self.0.map(|last| interval.saturating_sub(now.duration_since(last)));
        let wait = wait.filter(|wait| !wait.is_zero());
        if wait.is_none() {
            self.0 = Some(now);
        }
        wait
    }

    /// Forgets a check that no longer delays another one.
    pub fn expire(&mut self, now: Instant) {
        self.0.take_if(|last| now.duration_since(*last) >= KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_of_requests_is_one_check_in_each_interval() {
        let (mut limit, start) = (RequestLimit::default(), Instant::now());
        let interval = Duration::from_secs(10);
        let mut allowed =
            |tenth: u64| limit.delay(start + Duration::from_millis(100 * tenth), interval).is_none();
        assert_eq!((0..700).filter(|tenth| allowed(*tenth)).count(), 7);
        assert_eq!(limit.delay(start, Duration::ZERO), None, "no limit");
    }
}
