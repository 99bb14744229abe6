//! Decides whether a denial may be that of the session that signed the call, and not that of its role: AWS denies
//! everything to a revoked session, in the words of any other denial.
//!
//! In: denied calls, each under a key of what was denied. Out: whether to begin a new session. The first denial of a key
//! does; while a new session does not help, the pause until the next one doubles.

use std::hash::Hash;
use std::time::{Duration, Instant};

use moka::future::Cache;

use crate::backoff::doubling;
use crate::replication::{Failure, FailureClass};

/// The pause after the first session that did not help, doubled each time up to [`MAX_DOUBT`].
pub const FIRST_DOUBT: Duration = Duration::from_secs(60);

/// The usual duration of a session.
const MAX_DOUBT: Duration = Duration::from_secs(60 * 60);

/// More denied actions than one account has resources.
const DENIALS: u64 = 10_000;

/// Denials that ended a session: how often in a row, and when the next one may.
#[derive(Clone, Debug)]
pub struct SessionDoubts<K: Hash + Eq + Send + Sync + 'static>(Cache<K, (u32, Instant)>);

impl<K: Hash + Eq + Send + Sync + 'static> Default for SessionDoubts<K> {
    fn default() -> Self {
        SessionDoubts(Cache::builder().max_capacity(DENIALS).time_to_idle(2 * MAX_DOUBT).build())
    }
}

impl<K: Hash + Eq + Send + Sync + 'static> SessionDoubts<K> {
    /// Whether the session may be at fault. A bare status names no reason.
    pub async fn arise(&self, denied: K, failure: &Failure, now: Instant) -> bool {
        let is_denial = failure.class == FailureClass::Denied
            && matches!(failure.code.as_str(), "AccessDenied" | "AccessDeniedException");
        if !is_denial {
            return false;
        }
        let (times, next) = self.0.get(&denied).await.unwrap_or((0, now));
        if now < next {
            return false;
        }
        let pause = doubling(FIRST_DOUBT, times, MAX_DOUBT);
        self.0.insert(denied, (times.saturating_add(1), now + pause)).await;
        true
    }
}
