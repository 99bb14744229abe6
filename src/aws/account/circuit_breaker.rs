//! A breaker an account: one that does not answer, throttles or no longer trusts the operator is left alone for a
//! moment, so that its resources fail at once and cost nothing, and are told what AWS last said.
//!
//! Services fail each by itself, in words of its own: what one of them says is not told of another, and one that
//! answers does not hide one that does not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::aws::account::sessions::ASSUME_ROLE;
use crate::replication::{Failure, FailureClass};

/// Calls in a row that must have failed: more than the reads of one check, so that one bad moment opens nothing.
const FAILURES: u32 = 10;

/// How long calls are refused after that; doubled with every further failure, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(1);

const LONGEST: Duration = Duration::from_secs(15);

/// By service.
#[derive(Debug, Default)]
pub struct CircuitBreaker(Mutex<HashMap<&'static str, State>>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Until then all is refused; the first call after it is let through, to see.
    opens: Option<Instant>,
    last: Option<Failure>,
}

impl CircuitBreaker {
    /// The failure of a call that need not be made: as AWS last answered, on this action and subject.
    pub fn refuses(&self, action: &'static str, subject: &str, now: Instant) -> Option<Failure> {
        let mut all = self.all();
        let state = all.get_mut(service(action))?;
        let opens = state.opens?;
        if now >= opens {
            // One goes to see; the others wait for what it finds.
            state.opens = Some(now + pause(state.failures));
            return None;
        }
        let last = state.last.clone()?;
        Some(Failure { action: action.into(), subject: subject.to_owned(), ..last })
    }

    /// Learns from a call what state the account is in.
    pub fn learns(&self, action: &'static str, failure: Option<&Failure>, now: Instant) {
        let mut all = self.all();
        let state = all.entry(service(action)).or_default();
        match failure.filter(|failure| tells_of_the_account(failure)) {
            None => *state = State::default(),
            Some(failure) => {
                state.failures = state.failures.saturating_add(1);
                if state.failures >= FAILURES {
                    state.opens = Some(now + pause(state.failures));
                }
                state.last = Some(failure.clone());
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<&'static str, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What fails together. Who may assume a role is a question of its own, which STS denies while it answers all else.
fn service(action: &'static str) -> &'static str {
    match action.split_once(':') {
        Some((service, _)) if action != ASSUME_ROLE => service,
        _ => action,
    }
}

fn pause(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(FAILURES).min(8)).min(LONGEST)
}

/// Whether a failure says something of the whole account and not of one bucket or role.
fn tells_of_the_account(failure: &Failure) -> bool {
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
        (0..times).for_each(|_| breaker.learns(ACTION, Some(&failure(class)), now));
        breaker
    }

    #[test]
    fn an_account_that_fails_again_and_again_is_left_alone_for_a_moment() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Throttled, FAILURES - 1, now);
        assert_eq!(breaker.refuses(ACTION, "b", now), None);
        breaker.learns(ACTION, Some(&failure(FailureClass::Throttled)), now);
        let told = breaker.refuses(ACTION, "b", now).unwrap();
        assert_eq!((told.action.as_ref(), told.subject.as_str()), (ACTION, "b"));
        assert_eq!(told.detail, "Please reduce your request rate.", "what AWS said last");
    }

    #[test]
    fn one_call_goes_to_see_and_its_success_ends_it() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Unavailable, FAILURES, now);
        let later = now + FIRST;
        assert_eq!(breaker.refuses(ACTION, "b", later), None);
        assert!(breaker.refuses(ACTION, "b", later).is_some(), "the others wait");
        breaker.learns(ACTION, None, later);
        assert_eq!(breaker.refuses(ACTION, "b", later), None);
    }

    #[test]
    fn the_pause_grows_to_a_limit() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Unavailable, FAILURES + 20, now);
        assert!(breaker.refuses(ACTION, "b", now + LONGEST - Duration::from_millis(1)).is_some());
        assert_eq!(breaker.refuses(ACTION, "b", now + LONGEST), None);
    }

    #[test]
    fn a_denied_bucket_says_nothing_of_the_account() {
        let now = Instant::now();
        for class in [FailureClass::Denied, FailureClass::Invalid, FailureClass::NoSuchBucket] {
            assert_eq!(failing(class, FAILURES * 2, now).refuses(ACTION, "b", now), None, "{class:?}");
        }
    }

    #[test]
    fn services_fail_each_by_itself() {
        let now = Instant::now();
        let breaker = failing(FailureClass::Throttled, FAILURES, now);
        for other in ["iam:GetRole", "sts:GetCallerIdentity", ASSUME_ROLE] {
            assert_eq!(breaker.refuses(other, "x", now), None, "{other} was not throttled");
            breaker.learns(other, None, now);
        }
        assert!(breaker.refuses(ACTION, "b", now).is_some(), "that others answer says nothing of S3");
        let denied = Failure { action: ASSUME_ROLE.into(), ..failure(FailureClass::Denied) };
        (0..FAILURES).for_each(|_| breaker.learns(ASSUME_ROLE, Some(&denied), now));
        assert!(breaker.refuses(ASSUME_ROLE, "role", now).is_some());
        assert_eq!(breaker.refuses("sts:GetCallerIdentity", "x", now), None, "of a session that there is");
    }
}
