//! Limits the checks that someone asks for by annotation: one in ten seconds for each resource.
//!
//! In: the time of each such check. Out: how long the next one has to wait. A change of the spec does not wait.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(10);

/// When the last check ran that someone asked for.
#[derive(Debug, Default)]
pub struct RequestLimit(Option<Instant>);

impl RequestLimit {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How long to wait; `None`: the check runs now and counts.
    pub fn delay(&mut self, now: Instant) -> Option<Duration> {
        let wait = self.0.map(|last| PAUSE.saturating_sub(now.duration_since(last)));
        let wait = wait.filter(|wait| !wait.is_zero());
        if wait.is_none() {
            self.0 = Some(now);
        }
        wait
    }

    /// Forgets a check that no longer delays another.
    pub fn expire(&mut self, now: Instant) {
        self.0.take_if(|last| now.duration_since(*last) >= PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_of_requests_is_one_check_in_ten_seconds() {
        let (mut limit, start) = (RequestLimit::default(), Instant::now());
        let checks =
            (0..700).filter(|tenth| limit.delay(start + Duration::from_millis(100 * tenth)).is_none());
        assert_eq!(checks.count(), 7);
    }
}
