//! A circuit breaker per account: while AWS does not answer, throttles, or no longer accepts the credentials, calls
//! fail at once with AWS's last answer instead of costing time and quota.
//!
//! Each service has a state of its own: the failure of one says nothing about another, and a service that answers does
//! not hide one that does not.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::aws::error::ASSUME_ROLE;
use crate::backoff::doubling;
use crate::replication::{Failure, FailureClass};

/// Failures in a row that open the breaker: more than one check makes calls, so that a bad moment does not open it.
const FAILURES: u32 = 10;

/// How long the breaker then stays open; doubled with every further failure, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const MAX_PAUSE: Duration = Duration::from_secs(15);

/// By service.
#[derive(Debug, Default)]
pub struct CircuitBreaker(Mutex<HashMap<&'static str, State>>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// When the next call is let through; `None`: the breaker is closed.
    open_until: Option<Instant>,
    last: Option<Failure>,
}

impl CircuitBreaker {
    /// The failure of a call that is not to be made: AWS's last answer, for this action and subject.
    pub fn check(&self, action: &'static str, subject: &str, now: Instant) -> Option<Failure> {
        let mut states = self.0.lock();
        let state = states.get_mut(service(action))?;
        let open_until = state.open_until?;
        if now >= open_until {
            // Half-open: let one probe through and keep rejecting the rest until it answers.
            state.open_until = Some(now + pause(state.failures));
            return None;
        }
        let last = state.last.clone()?;
        Some(Failure { action: action.into(), subject: subject.to_owned(), ..last })
    }

    /// Records how a call ended.
    pub fn record(&self, action: &'static str, failure: Option<&Failure>, now: Instant) {
        let mut states = self.0.lock();
        let state = states.entry(service(action)).or_default();
        match failure.filter(|failure| concerns_the_service(failure)) {
            None => *state = State::default(),
            Some(failure) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= FAILURES {
                    state.open_until = Some(now + pause(state.failures));
                }
                state.last = Some(failure.clone());
            }
        }
    }
}

/// What fails together. Permission to assume the role is a state of its own: STS may deny it and answer all else.
fn service(action: &'static str) -> &'static str {
    match action.split_once(':') {
        Some((service, _)) if action != ASSUME_ROLE => service,
        _ => action,
    }
}

fn pause(failures: u32) -> Duration {
    doubling(FIRST_PAUSE, failures.saturating_sub(FAILURES), MAX_PAUSE)
}

/// Whether a failure is about the whole service and not about one bucket or role.
fn concerns_the_service(failure: &Failure) -> bool {
    match failure.class {
        FailureClass::Throttled | FailureClass::Credentials | FailureClass::Unavailable => true,
        FailureClass::Denied => failure.action == ASSUME_ROLE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTION: &str = "s3:GetBucketVersioning";

    fn failure(class: FailureClass) -> Failure {
        Failure {
            class,
            action: "s3:GetReplicationConfiguration".into(),
            subject: "other".into(),
            code: "SlowDown".into(),
            detail: "Please reduce your request rate.".into(),
        }
    }

    fn failing(class: FailureClass, times: u32, now: Instant) -> CircuitBreaker {
        let breaker = CircuitBreaker::default();
        (0..times).for_each(|_| breaker.record(ACTION, Some(&failure(class)), now));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_the_breaker() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Throttled, FAILURES - 1, now);
        assert_eq!(breaker.check(ACTION, "b", now), None);
        breaker.record(ACTION, Some(&failure(FailureClass::Throttled)), now);
        let refused = breaker.check(ACTION, "b", now).unwrap();
        assert_eq!((refused.action.as_ref(), refused.subject.as_str()), (ACTION, "b"));
        assert_eq!(refused.detail, "Please reduce your request rate.", "AWS's last answer");
    }

    #[test]
    fn one_probe_is_let_through_and_its_success_closes_the_breaker() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Unavailable, FAILURES, now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.check(ACTION, "b", later), None);
        assert!(breaker.check(ACTION, "b", later).is_some(), "the others are still rejected");
        breaker.record(ACTION, None, later);
        assert_eq!(breaker.check(ACTION, "b", later), None);
    }

    #[test]
    fn the_pause_grows_to_a_limit() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Unavailable, FAILURES + 20, now);
        assert!(breaker.check(ACTION, "b", now + MAX_PAUSE - Duration::from_millis(1)).is_some());
        assert_eq!(breaker.check(ACTION, "b", now + MAX_PAUSE), None);
    }

    #[test]
    fn a_denied_bucket_says_nothing_about_the_service() {
        let now = Instant::now();
        for class in [FailureClass::Denied, FailureClass::Invalid, FailureClass::NoSuchBucket] {
            assert_eq!(failing(class, FAILURES * 2, now).check(ACTION, "b", now), None, "{class:?}");
        }
    }

    #[test]
    fn each_service_has_a_breaker_of_its_own() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Throttled, FAILURES, now);
        for other in ["iam:GetRole", "sts:GetCallerIdentity", ASSUME_ROLE] {
            assert_eq!(breaker.check(other, "x", now), None, "{other} was not throttled");
            breaker.record(other, None, now);
        }
        assert!(
            breaker.check(ACTION, "b", now).is_some(),
            "an answer of another service says nothing about S3"
        );
        let denied = Failure { action: ASSUME_ROLE.into(), ..failure(FailureClass::Denied) };
        (0..FAILURES).for_each(|_| breaker.record(ASSUME_ROLE, Some(&denied), now));
        assert!(breaker.check(ASSUME_ROLE, "role", now).is_some());
        assert_eq!(
            breaker.check("sts:GetCallerIdentity", "x", now),
            None,
            "a session that exists still works"
        );
    }
}
