//! The right to work, and the fence that drops work once the right has ended.
//!
//! In: when a claim to the Lease expires. Out: a [`Term`], which says whether work may begin, and which work runs
//! inside.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::runtime::leader::boot_instant::BootInstant;

/// The time from a successful claim to its end. A process that leads again has another term, so that work of an earlier
/// term cannot go on in it.
#[derive(Clone, Debug)]
pub struct Term {
    /// When the claim expires, as [`BootInstant`] keeps it.
    expires: Arc<AtomicU64>,
    ended: CancellationToken,
    succession: Succession,
}

/// How the term before this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// Nobody led, or the former leader released the Lease after its work had ended.
    Orderly,
    /// The former leader let its claim expire: AWS may still complete a request of it.
    Takeover,
}

impl Term {
    pub(crate) fn until(expires: BootInstant, succession: Succession) -> Term {
        let expires = Arc::new(AtomicU64::new(expires.to_bits()));
        Term { expires, ended: CancellationToken::new(), succession }
    }

    /// How the term before this one ended.
    pub fn succession(&self) -> Succession {
        self.succession
    }

    /// Whether work may begin now.
    pub fn holds(&self) -> bool {
        !self.ended.is_cancelled() && BootInstant::now() < self.expires()
    }

    fn expires(&self) -> BootInstant {
        BootInstant::from_bits(self.expires.load(Ordering::Acquire))
    }

    /// How much longer the claim lasts.
    pub(crate) fn left(&self) -> Duration {
        if self.ended.is_cancelled() { Duration::ZERO } else { BootInstant::now().until(self.expires()) }
    }

    /// Makes a claim that holds last longer. A claim that has expired is not revived, because it already refused work.
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

    /// Completes when the term was ended. An expiry shows in [`Term::holds`] first.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Runs work as long as the claim holds. The claim is checked each time before the work goes on, so that nothing
    /// more begins after it has expired, whatever the work waited for. `None`: the work was dropped, as if the process
    /// had been killed at that point.
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

/// Whether this process leads, for readers that do no work.
#[derive(Clone, Debug, Default)]
pub struct Leadership(Arc<RwLock<Option<Term>>>);

impl Leadership {
    pub fn holds(&self) -> bool {
        self.0.read().as_ref().is_some_and(Term::holds)
    }

    pub(crate) fn begin(&self, expires: BootInstant, succession: Succession) -> Term {
        let term = Term::until(expires, succession);
        *self.0.write() = Some(term.clone());
        term
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::Succession::{Orderly, Takeover};
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn under_an_expired_claim_nothing_begins() {
        let term = Term::until(BootInstant::now(), Orderly);
        let begun = Cell::new(false);
        assert_eq!(term.fenced(async { begun.set(true) }).await, None);
        assert!(!begun.get());
    }

    #[tokio::test]
    async fn work_that_waits_while_the_claim_expires_does_not_go_on() {
        let term = Term::until(BootInstant::now().after(LONG), Orderly);
        let (answer, waiting) = tokio::sync::oneshot::channel::<()>();
        let went_on = Cell::new(false);
        let work = term.fenced(async {
            waiting.await.ok();
            went_on.set(true);
        });
        let expire = async {
            tokio::task::yield_now().await;
            // The process was stopped and wakes up: the clock went on, and the answer has arrived.
            term.expires.store(BootInstant::now().to_bits(), Ordering::Release);
            answer.send(()).ok();
        };
        let (result, ()) = tokio::join!(work, expire);
        assert_eq!((result, went_on.get()), (None, false));
    }

    #[tokio::test]
    async fn work_is_dropped_when_its_term_ends_also_while_it_waits() {
        let term = Term::until(BootInstant::NEVER, Orderly);
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
        let term = Term::until(BootInstant::now().after(LONG), Orderly);
        assert_eq!(term.fenced(async { 7 }).await, Some(7));
    }

    #[test]
    fn an_expired_claim_is_not_revived_and_a_later_term_is_another() {
        let leadership = Leadership::default();
        assert!(!leadership.holds());
        let first = leadership.begin(BootInstant::now(), Orderly);
        assert!(!first.extend(BootInstant::NEVER));
        assert!(!first.holds() && !leadership.holds());
        let second = leadership.begin(BootInstant::now().after(LONG), Takeover);
        assert!(second.holds() && leadership.holds() && !first.holds());
        assert!(second.extend(BootInstant::now().after(2 * LONG)));
        assert!(second.left() > LONG);
    }
}
