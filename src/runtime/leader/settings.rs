//! The settings of an election.
//!
//! In: the times that flags give, and the Lease with the name of the process. Out: times that fit together, or the flag
//! that does not fit.

use std::time::Duration;

/// The longest pause between two tries, in retry periods: jitter keeps candidates from trying in step (client-go's
/// `JitterFactor`).
pub const JITTER: f64 = 1.2;

/// The times of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

/// Each names the flag to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimes {
    #[error("--retry-period must be longer than 0s")]
    NoRetryPeriod,
    #[error(
        "--lease-duration ({0:?}) must be longer than --renew-deadline ({1:?}), or another operator could lead before this one has stopped"
    )]
    LeaseTooShort(Duration, Duration),
    #[error(
        "--renew-deadline ({0:?}) must be longer than {JITTER} times --retry-period ({1:?}), or a single failed renewal would end the leadership"
    )]
    DeadlineTooShort(Duration, Duration),
    #[error("--lease-duration ({0:?}) is longer than a Lease can hold")]
    LeaseTooLong(Duration),
    #[error(
        "--lease-duration ({0:?}) must be longer than --renew-deadline ({1:?}) by --aws-attempt-timeout ({2:?}), or another operator could lead while AWS still completes a request of this one"
    )]
    TooLittleSlack(Duration, Duration, Duration),
}

impl LeaseTimes {
    /// # Errors
    /// When the times do not fit together, by client-go's rules.
    pub fn new(
        lease_duration: Duration,
        renew_deadline: Duration,
        retry_period: Duration,
    ) -> Result<LeaseTimes, InvalidTimes> {
        if retry_period.is_zero() {
            return Err(InvalidTimes::NoRetryPeriod);
        }
        if lease_duration <= renew_deadline {
            return Err(InvalidTimes::LeaseTooShort(lease_duration, renew_deadline));
        }
        if renew_deadline <= retry_period.mul_f64(JITTER) {
            return Err(InvalidTimes::DeadlineTooShort(renew_deadline, retry_period));
        }
        let times = LeaseTimes { lease_duration, renew_deadline, retry_period };
        if times.lease_seconds() == i32::MAX {
            return Err(InvalidTimes::LeaseTooLong(lease_duration));
        }
        Ok(times)
    }

    /// Makes sure that a request which begins just before the claim expires ends before another process can lead.
    ///
    /// # Errors
    /// When a request that takes up to `longest` would not.
    pub fn leave_time_for(self, longest: Duration) -> Result<LeaseTimes, InvalidTimes> {
        if self.lease_duration.saturating_sub(self.renew_deadline) < longest {
            return Err(InvalidTimes::TooLittleSlack(self.lease_duration, self.renew_deadline, longest));
        }
        Ok(self)
    }

    /// How long other candidates wait after the last renewal, in whole seconds as a Lease holds it.
    pub(crate) fn lease_seconds(self) -> i32 {
        let whole = self.lease_duration.as_secs() + u64::from(self.lease_duration.subsec_nanos() > 0);
        i32::try_from(whole).unwrap_or(i32::MAX)
    }

    /// How long a claim lasts without a renewal.
    pub(crate) fn renew_deadline(self) -> Duration {
        self.renew_deadline
    }

    /// The time between two tries.
    pub(crate) fn retry_period(self) -> Duration {
        self.retry_period
    }

    /// The longest that a single call may take: it leaves time for another one before the deadline.
    pub(crate) fn call(self) -> Duration {
        self.renew_deadline / 2
    }
}

/// The Lease, and the process that claims it.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    pub namespace: String,
    pub name: String,
    /// Unique to the process: a process that is started again is another candidate.
    pub holder: String,
    /// The resources that the leader works on; candidates for one Lease should have one scope.
    pub scope: String,
    pub times: LeaseTimes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(lease: u64, deadline: u64, period: u64) -> Result<LeaseTimes, InvalidTimes> {
        LeaseTimes::new(
            Duration::from_millis(lease),
            Duration::from_millis(deadline),
            Duration::from_millis(period),
        )
    }

    #[test]
    fn times_that_do_not_fit_together_are_refused() {
        assert!(times(15_000, 10_000, 2_000).is_ok());
        let message = |r: Result<LeaseTimes, InvalidTimes>| r.unwrap_err().to_string();
        assert!(message(times(10_000, 10_000, 2_000)).starts_with("--lease-duration (10s) must be longer"));
        assert!(message(times(15_000, 2_400, 2_000)).starts_with("--renew-deadline (2.4s) must be longer"));
        assert!(times(15_000, 2_401, 2_000).is_ok());
        assert!(message(times(15_000, 10_000, 0)).starts_with("--retry-period"));
        assert!(message(times(u64::MAX, 10_000, 2_000)).contains("longer than a Lease can hold"));
    }

    #[test]
    fn a_lease_holds_whole_seconds_rounded_up() {
        assert_eq!(times(2_500, 1_000, 200).unwrap().lease_seconds(), 3);
        assert_eq!(times(3_000, 1_000, 200).unwrap().lease_seconds(), 3);
    }

    #[test]
    fn a_request_that_begins_at_the_last_moment_must_end_before_another_can_lead() {
        let chosen = times(20_000, 10_000, 2_000).unwrap();
        assert_eq!(chosen.leave_time_for(Duration::from_secs(10)), Ok(chosen));
        let message = chosen.leave_time_for(Duration::from_secs(11)).unwrap_err().to_string();
        assert!(message.contains("by --aws-attempt-timeout (11s)"), "{message}");
    }
}
