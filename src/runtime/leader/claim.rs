//! The right to work, and the fence that holds work to it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::runtime::leader::clock::BootInstant;

/// One time of leading, from a successful claim to its end. It never begins anew: who leads again has another, so
/// that what was begun in an earlier one cannot go on in it.
#[derive(Clone, Debug)]
pub struct Term {
    /// When the claim expires, as [`BootInstant`] keeps it.
    expires: Arc<AtomicU64>,
    ended: CancellationToken,
}

impl Term {
    pub(crate) fn until(expires: BootInstant) -> Term {
        Term { expires: Arc::new(AtomicU64::new(expires.to_bits())), ended: CancellationToken::new() }
    }

    /// Whether work may be begun now.
    pub fn holds(&self) -> bool {
        !self.ended.is_cancelled() && BootInstant::now() < self.expires()
    }

    fn expires(&self) -> BootInstant {
        BootInstant::from_bits(self.expires.load(Ordering::Acquire))
    }

    /// What is left of the claim.
    pub(crate) fn left(&self) -> Duration {
        if self.ended.is_cancelled() { Duration::ZERO } else { BootInstant::now().until(self.expires()) }
    }

    /// Makes a claim that holds last longer. One that has expired is not revived: work was refused by it.
    pub(crate) fn extend(&self, expires: BootInstant) -> bool {
        let holds = self.holds();
        if holds {
            self.expires.fetch_max(expires.to_bits(), Ordering::AcqRel);
        }
        holds
    }

    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// Ends when the term was ended. An expiry that nobody acted upon yet shows in [`Term::holds`] alone.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Does work as long as the claim holds. It is looked at each time before the work goes on, so that whatever
    /// the work waited for (a turn, an answer, a pause between two tries) nothing more is begun afterwards. `None`:
    /// the work was dropped, as if the process had been killed there.
    pub async fn fenced<F: Future>(&self, work: F) -> Option<F::Output> {
        let (mut work, mut ended) = (pin!(work), pin!(self.ended.cancelled()));
        poll_fn(|cx| {
            if ended.as_mut().poll(cx).is_ready() || !self.holds() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

/// Whether this process leads, for those who only ask.
#[derive(Clone, Debug, Default)]
pub struct Leadership(Arc<RwLock<Option<Term>>>);

impl Leadership {
    pub fn holds(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(Term::holds)
    }

    /// Leads without an election: nobody else is there.
    pub fn unopposed(&self) -> Term {
        self.begin(BootInstant::NEVER)
    }

    pub(crate) fn begin(&self, expires: BootInstant) -> Term {
        let term = Term::until(expires);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(term.clone());
        term
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn under_an_expired_claim_nothing_is_begun() {
        let term = Term::until(BootInstant::now());
        let begun = Cell::new(false);
        assert_eq!(term.fenced(async { begun.set(true) }).await, None);
        assert!(!begun.get());
    }

    #[tokio::test]
    async fn work_that_waits_while_the_claim_expires_does_not_go_on() {
        let term = Term::until(BootInstant::now().after(LONG));
        let (answer, waiting) = tokio::sync::oneshot::channel::<()>();
        let went_on = Cell::new(false);
        let work = term.fenced(async {
            waiting.await.ok();
            went_on.set(true);
        });
        let expire = async {
            tokio::task::yield_now().await;
            // The process was stopped and wakes up: the clock went on, and the answer is there.
            term.expires.store(BootInstant::now().to_bits(), Ordering::Release);
            answer.send(()).ok();
        };
        let (result, ()) = tokio::join!(work, expire);
        assert_eq!((result, went_on.get()), (None, false));
    }

    #[tokio::test]
    async fn work_is_dropped_when_its_term_ends_also_while_it_waits() {
        let term = Term::until(BootInstant::NEVER);
        let work = term.fenced(std::future::pending::<()>());
        let end = async {
            tokio::task::yield_now().await;
            term.end();
        };
        assert_eq!(tokio::join!(work, end).0, None);
        assert!(!term.holds());
    }

    #[tokio::test]
    async fn under_a_claim_that_holds_work_is_done() {
        let term = Term::until(BootInstant::now().after(LONG));
        assert_eq!(term.fenced(async { 7 }).await, Some(7));
    }

    #[test]
    fn an_expired_claim_is_not_revived_and_a_later_term_is_another() {
        let leadership = Leadership::default();
        assert!(!leadership.holds());
        let first = leadership.begin(BootInstant::now());
        assert!(!first.extend(BootInstant::NEVER));
        assert!(!first.holds() && !leadership.holds());
        let second = leadership.begin(BootInstant::now().after(LONG));
        assert!(second.holds() && leadership.holds() && !first.holds());
        assert!(second.extend(BootInstant::now().after(2 * LONG)));
        assert!(second.left() > LONG);
    }
}
