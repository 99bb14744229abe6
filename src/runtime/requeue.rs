//! When to look again: never stuck, never hot.
//!
//! kube-runtime's error policy never sees a success, so that the backoff of each object is kept here, cleared
//! when it succeeds and when it goes.

use std::collections::BTreeMap;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use crate::api::Reason;

/// The longest pause between two tries of something that may pass by itself.
const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// The waiting of one object.
#[derive(Debug, Default)]
pub struct RequeueBackoff {
    /// By reason, so that troubles that take turns do not begin anew each time.
    failing: BTreeMap<Reason, ExponentialBackoff>,
}

impl RequeueBackoff {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    /// How long to wait after an attempt that ended in this reason. Passing troubles back off exponentially, with
    /// jitter; all else is looked at again after the interval.
    pub fn after(&mut self, reason: Reason, interval: Duration) -> Duration {
        if !reason.is_transient() {
            self.failing.clear();
            return jittered(interval);
        }
        let cap = MAX_BACKOFF.min(interval);
        let backoff = self.failing.entry(reason).or_insert_with(|| backoff(reason, cap));
        backoff.next().unwrap_or(cap)
    }
}

/// The first pause by reason: a conflict is over in a moment, a throttled service needs air.
fn backoff(reason: Reason, cap: Duration) -> ExponentialBackoff {
    let first = match reason {
        Reason::Throttled => Duration::from_secs(4),
        Reason::Progressing | Reason::AwsUnavailable => Duration::from_secs(1),
        _ => Duration::from_secs(2),
    };
    ExponentialBuilder::new()
        .with_min_delay(first)
        .with_max_delay(cap)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Up to a tenth more, so that a restart does not align all resources for ever.
pub fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 + fastrand::f64() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    #[test]
    fn passing_troubles_back_off_up_to_a_cap_and_start_anew_after_a_success() {
        let mut pace = RequeueBackoff::default();
        let first = pace.after(Reason::AccessDenied, INTERVAL);
        assert!(first >= Duration::from_secs(2) && first <= Duration::from_secs(4), "{first:?}");
        let late = (0..20).map(|_| pace.after(Reason::AccessDenied, INTERVAL)).last().unwrap();
        assert!(late >= Duration::from_secs(300) && late <= INTERVAL, "{late:?}");
        assert!(pace.after(Reason::Applied, INTERVAL) >= INTERVAL);
        assert!(pace.after(Reason::AccessDenied, INTERVAL) <= Duration::from_secs(4));
    }

    #[test]
    fn troubles_that_take_turns_back_off_too() {
        let mut pace = RequeueBackoff::default();
        for _ in 0..6 {
            pace.after(Reason::AccessDenied, INTERVAL);
            pace.after(Reason::AwsUnavailable, INTERVAL);
        }
        assert!(pace.after(Reason::AccessDenied, INTERVAL) >= Duration::from_secs(60));
        assert!(pace.after(Reason::Throttled, INTERVAL) <= Duration::from_secs(8), "a new one begins anew");
    }

    #[test]
    fn lasting_troubles_are_looked_at_again_after_the_interval() {
        let mut pace = RequeueBackoff::default();
        for _ in 0..5 {
            let next = pace.after(Reason::ForeignRole, INTERVAL);
            assert!(next >= INTERVAL && next <= INTERVAL.mul_f64(1.1), "{next:?}");
        }
    }
}
