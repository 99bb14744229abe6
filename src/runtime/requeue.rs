//! Decides how long a resource waits for its next check, by the reason of the last one, such as `Throttled`.
//!
//! In: the reason that a try ended with, and the interval of the object. Out: the pause. Transient failures back off
//! exponentially, by reason and with jitter; everything else is checked again after the interval, or at its next turn.
//! AWS may still show a thing that was removed a moment ago: the resource is then checked again soon, for about a
//! minute. The backoff of a reason is set here. Calls back off elsewhere: one call is tried again by the SDK
//! (`aws/connector.rs`), and `aws/account/circuit_breaker.rs` makes no calls for a while to a service that throttles.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::Reason;
use crate::backoff::doubling;

/// The longest pause after a transient failure.
pub const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// The pauses before the first checks of something foreign, until AWS no longer answers from before its removal. A
/// resource is often deleted and made again at once, or takes over a source whose owner was deleted. Together they last
/// a minute.
const CHECKS_SOON: [Duration; 6] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
    Duration::from_secs(15),
    Duration::from_secs(15),
];

/// The backoff of one object.
#[derive(Clone, Debug, Default)]
pub struct RequeueBackoff {
    /// The pauses so far, by reason, so that two failures that alternate back off too.
    failing: BTreeMap<Reason, u32>,
}

impl RequeueBackoff {
    /// Whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    /// The pause after a try that ended with this reason.
    pub fn after(&mut self, reason: Reason, interval: Duration) -> Duration {
        self.after_or(reason, interval, jittered(interval))
    }

    /// The same, for an object whose periodic checks have their own times: `turn` is how long it waits for the next
    /// one.
    pub fn after_or(&mut self, reason: Reason, interval: Duration, turn: Duration) -> Duration {
        if reason.is_foreign() {
            return self.check_soon(reason).map_or(turn, |pause| pause.min(turn));
        }
        if !reason.is_transient() {
            self.failing.clear();
            return turn;
        }
        let earlier = self.failing.entry(reason).or_default();
        let first = first_pause(reason);
        let pause = doubling(first, *earlier, MAX_BACKOFF.min(interval));
        *earlier = earlier.saturating_add(1);
        pause + first.mul_f64(fastrand::f64())
    }

    /// The pause before something foreign is checked again soon. `None`: it was, often enough.
    fn check_soon(&mut self, reason: Reason) -> Option<Duration> {
        self.failing.retain(|held, _| held.is_foreign());
        let earlier = self.failing.entry(reason).or_default();
        let pause = CHECKS_SOON.get(usize::try_from(*earlier).ok()?)?;
        *earlier = earlier.saturating_add(1);
        Some(*pause)
    }
}

/// The first pause depends on the reason: a conflict is over in a moment, a throttled service needs longer.
fn first_pause(reason: Reason) -> Duration {
    match reason {
        Reason::Throttled => Duration::from_secs(4),
        Reason::Progressing | Reason::AwsUnavailable => Duration::from_secs(1),
        _ => Duration::from_secs(2),
    }
}

/// Adds up to a tenth, so that resources that were created together are not checked together forever.
pub fn jittered(interval: Duration) -> Duration {
    interval.saturating_add((interval / 10).mul_f64(fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    #[test]
    fn transient_failures_back_off_up_to_a_cap_and_start_again_after_a_success() {
        let mut backoff = RequeueBackoff::default();
        let first = backoff.after(Reason::AccessDenied, INTERVAL);
        assert!(first >= Duration::from_secs(2) && first <= Duration::from_secs(4), "{first:?}");
        let late = (0..20).map(|_| backoff.after(Reason::AccessDenied, INTERVAL)).last().unwrap();
        assert!(late >= Duration::from_secs(300) && late <= INTERVAL, "{late:?}");
        assert!(backoff.after(Reason::Applied, INTERVAL) >= INTERVAL);
        assert!(backoff.after(Reason::AccessDenied, INTERVAL) <= Duration::from_secs(4));
    }

    #[test]
    fn failures_that_alternate_back_off_too() {
        let mut backoff = RequeueBackoff::default();
        for _ in 0..6 {
            backoff.after(Reason::AccessDenied, INTERVAL);
            backoff.after(Reason::AwsUnavailable, INTERVAL);
        }
        assert!(backoff.after(Reason::AccessDenied, INTERVAL) >= Duration::from_secs(60));
        assert!(
            backoff.after(Reason::Throttled, INTERVAL) <= Duration::from_secs(8),
            "another reason starts at its first pause"
        );
    }

    #[test]
    fn any_interval_can_be_waited_for() {
        let mut backoff = RequeueBackoff::default();
        assert_eq!(backoff.after(Reason::NotAllowed, Duration::MAX), Duration::MAX);
        assert!(backoff.after(Reason::Progressing, Duration::MAX) < Duration::from_secs(3));
        assert_eq!(backoff.after(Reason::NotAllowed, Duration::ZERO), Duration::ZERO);
        assert_eq!(backoff.after(Reason::ForeignRole, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn lasting_failures_are_checked_again_after_the_interval() {
        let mut backoff = RequeueBackoff::default();
        for _ in 0..5 {
            let next = backoff.after(Reason::NotAllowed, INTERVAL);
            assert!(next >= INTERVAL && next <= INTERVAL.mul_f64(1.1), "{next:?}");
        }
    }

    #[test]
    fn something_foreign_is_checked_again_for_a_minute_and_then_after_the_interval() {
        for reason in [Reason::ForeignRole, Reason::ForeignConfiguration] {
            let mut backoff = RequeueBackoff::default();
            let soon: Duration = (0..CHECKS_SOON.len()).map(|_| backoff.after(reason, INTERVAL)).sum();
            assert!(soon >= Duration::from_secs(55) && soon <= Duration::from_secs(60), "{soon:?}");
            assert!(backoff.after(reason, INTERVAL) >= INTERVAL);
            assert!(backoff.after(reason, INTERVAL) >= INTERVAL, "it stays so");
            backoff.after(Reason::Applied, INTERVAL);
            assert!(
                backoff.after(reason, INTERVAL) < Duration::from_secs(3),
                "something else that is foreign"
            );
        }
    }

    #[test]
    fn foreign_things_that_alternate_are_not_checked_soon_forever() {
        let mut backoff = RequeueBackoff::default();
        for _ in 0..CHECKS_SOON.len() {
            backoff.after(Reason::ForeignRole, INTERVAL);
            backoff.after(Reason::ForeignConfiguration, INTERVAL);
        }
        for reason in [Reason::ForeignRole, Reason::ForeignConfiguration] {
            assert!(backoff.after(reason, INTERVAL) >= INTERVAL, "{reason:?}");
        }
    }
}
