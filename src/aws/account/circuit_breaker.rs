//! A circuit breaker per account: while AWS does not answer, throttles, or no longer accepts the credentials or the
//! clock, calls fail at once with AWS's last answer instead of costing time and quota.
//!
//! In: how each call ended. Out: the failure of a call that is not to be made. Each service has a state of its own in
//! each Region: a failure says nothing about another Region, and a Region that answers does not hide one that does not.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::aws::account::operation::Operation;
use crate::aws::error::ASSUME_ROLE;
use crate::backoff::doubling;
use crate::replication::{Failure, FailureClass};

/// Failures in a row that open the breaker: more than one check makes calls, so that a bad moment does not open it.
const FAILURES: u32 = 10;

/// How long the breaker then stays open; doubled with every further failure, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const MAX_PAUSE: Duration = Duration::from_secs(15);

/// More services and Regions than AWS has. Specs may name Regions that do not exist, and such a Region never answers.
const CAPACITY: usize = 256;

/// The services of one account that failed last, by Region. A service without a failure has no entry.
#[derive(Debug, Default)]
pub struct CircuitBreaker(Mutex<HashMap<Endpoint, BreakerState>>);

/// Calls that fail together: those to a service in a Region. Permission to assume the role is apart: STS may deny it
/// and answer everything else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoint {
    service: &'static str,
    region: String,
}

impl Endpoint {
    fn of(operation: &Operation<'_>) -> Endpoint {
        let service = if operation.action == ASSUME_ROLE { ASSUME_ROLE } else { operation.lane.service() };
        Endpoint { service, region: operation.region.to_owned() }
    }
}

#[derive(Debug)]
struct BreakerState {
    failures: u32,
    /// When the next call is let through; `None`: the breaker is closed.
    open_until: Option<Instant>,
    last: Failure,
}

impl CircuitBreaker {
    /// The failure of a call that is not to be made: AWS's last answer, for this action and subject.
    pub fn check(&self, operation: &Operation<'_>, now: Instant) -> Option<Failure> {
        let mut states = self.0.lock();
        let state = states.get_mut(&Endpoint::of(operation))?;
        let open_until = state.open_until?;
        if now >= open_until {
            // Half-open: let one probe through and keep rejecting the rest until it answers.
            state.open_until = Some(now + pause(state.failures));
            return None;
        }
        let (action, subject) = (operation.action.into(), operation.subject.to_owned());
        Some(Failure { action, subject, ..state.last.clone() })
    }

    /// Records how a call ended.
    pub fn record(&self, operation: &Operation<'_>, failure: Option<&Failure>, now: Instant) {
        let mut states = self.0.lock();
        let endpoint = Endpoint::of(operation);
        let Some(failure) = failure.filter(|failure| concerns_the_service(failure)) else {
            states.remove(&endpoint);
            return;
        };
        if states.len() >= CAPACITY && !states.contains_key(&endpoint) {
            states.retain(|_, state| state.open_until.is_some_and(|until| until > now));
            if states.len() >= CAPACITY {
                return;
            }
        }
        let new = BreakerState { failures: 0, open_until: None, last: failure.clone() };
        let state = states.entry(endpoint).or_insert(new);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.open_until = Some(now + pause(state.failures));
        }
        state.last = failure.clone();
    }
}

fn pause(failures: u32) -> Duration {
    doubling(FIRST_PAUSE, failures.saturating_sub(FAILURES), MAX_PAUSE)
}

/// Whether a failure is about the whole service and not about one bucket or role.
fn concerns_the_service(failure: &Failure) -> bool {
    match failure.class {
        FailureClass::Throttled
        | FailureClass::Credentials
        | FailureClass::WrongClock
        | FailureClass::Unavailable => true,
        FailureClass::Denied => failure.action == ASSUME_ROLE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::account::operation::Lane;

    const ACTION: &str = "s3:GetBucketVersioning";

    fn read<'a>(region: &'a str, bucket: &'a str) -> Operation<'a> {
        Operation::s3_read(region, ACTION, bucket)
    }

    const READ: Operation<'static> =
        Operation { lane: Lane::S3Read, action: ACTION, subject: "b", region: "us-east-1" };

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
        (0..times).for_each(|_| breaker.record(&READ, Some(&failure(class)), now));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_the_breaker() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Throttled, FAILURES - 1, now);
        assert_eq!(breaker.check(&READ, now), None);
        breaker.record(&READ, Some(&failure(FailureClass::Throttled)), now);
        let refused = breaker.check(&READ, now).unwrap();
        assert_eq!((refused.action.as_ref(), refused.subject.as_str()), (ACTION, "b"));
        assert_eq!(refused.detail, "Please reduce your request rate.", "AWS's last answer");
    }

    #[test]
    fn one_probe_is_let_through_and_its_success_closes_the_breaker() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Unavailable, FAILURES, now);
        let later = now + FIRST_PAUSE;
        assert_eq!(breaker.check(&READ, later), None);
        assert!(breaker.check(&READ, later).is_some(), "the others are still rejected");
        breaker.record(&READ, None, later);
        assert_eq!(breaker.check(&READ, later), None);
    }

    #[test]
    fn the_pause_grows_to_a_limit() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Unavailable, FAILURES + 20, now);
        assert!(breaker.check(&READ, now + MAX_PAUSE - Duration::from_millis(1)).is_some());
        assert_eq!(breaker.check(&READ, now + MAX_PAUSE), None);
    }

    #[test]
    fn a_denied_bucket_says_nothing_about_the_service() {
        let now = Instant::now();
        for class in [FailureClass::Denied, FailureClass::Invalid, FailureClass::NoSuchBucket] {
            assert_eq!(failing(class, FAILURES * 2, now).check(&READ, now), None, "{class:?}");
        }
    }

    #[test]
    fn each_service_has_a_breaker_of_its_own() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Throttled, FAILURES, now);
        let assume = Operation::sts(ASSUME_ROLE, "role");
        let identity = Operation::sts("sts:GetCallerIdentity", "x");
        for other in [Operation::iam_read("iam:GetRole", "x"), identity, assume] {
            assert_eq!(breaker.check(&other, now), None, "{other:?} was not throttled");
            breaker.record(&other, None, now);
        }
        assert!(breaker.check(&READ, now).is_some(), "an answer of another service says nothing about S3");
        let denied = Failure { action: ASSUME_ROLE.into(), ..failure(FailureClass::Denied) };
        (0..FAILURES).for_each(|_| breaker.record(&assume, Some(&denied), now));
        assert!(breaker.check(&assume, now).is_some());
        assert_eq!(breaker.check(&identity, now), None, "a session that exists still works");
    }

    #[test]
    fn a_region_that_does_not_answer_closes_no_other_region() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Unavailable, FAILURES, now);
        assert!(breaker.check(&READ, now).is_some());
        assert_eq!(breaker.check(&read("eu-west-1", "b"), now), None);
    }

    #[test]
    fn regions_that_do_not_exist_take_bounded_memory() {
        let now = Instant::now();
        let breaker = CircuitBreaker::default();
        for n in 0..10 * CAPACITY {
            let region = format!("zz-fake-{n}");
            breaker.record(&read(&region, "b"), Some(&failure(FailureClass::Unavailable)), now);
        }
        assert!(breaker.0.lock().len() <= CAPACITY);
    }
}
