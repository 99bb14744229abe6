//! Time as the controllers see it.
//!
//! In: nothing, or a simulated time. Out: instants, timestamps in whole seconds, and pauses. Tests and the exploration
//! pass a simulated clock, on which a pause moves the time and takes none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{SignedDuration, Timestamp};

/// The clock of the machine, or one that tests move.
#[derive(Clone, Debug)]
pub enum Clock {
    System,
    Simulated(SimulatedClock),
}

/// A clock that moves only when a test moves it.
#[derive(Clone, Debug)]
pub struct SimulatedClock {
    start: Instant,
    /// Milliseconds since the start.
    elapsed: Arc<AtomicU64>,
}

impl SimulatedClock {
    /// A clock that begins at zero, which is the Unix epoch.
    pub fn new() -> SimulatedClock {
        SimulatedClock { start: Instant::now(), elapsed: Arc::default() }
    }

    /// A clock of its own that shows the same time.
    pub fn copy(&self) -> SimulatedClock {
        let elapsed = self.elapsed.load(Ordering::Acquire);
        SimulatedClock { start: self.start, elapsed: Arc::new(AtomicU64::new(elapsed)) }
    }

    pub fn advance(&self, by: Duration) {
        self.elapsed.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(self.elapsed.load(Ordering::Acquire))
    }
}

impl Default for SimulatedClock {
    fn default() -> Self {
        SimulatedClock::new()
    }
}

impl Clock {
    /// Now, for measuring.
    pub fn now(&self) -> Instant {
        match self {
            Clock::System => Instant::now(),
            Clock::Simulated(clock) => clock.start + clock.elapsed(),
        }
    }

    /// Now, in whole seconds as Kubernetes writes it.
    pub fn timestamp(&self) -> Timestamp {
        let now = match self {
            Clock::System => Timestamp::now(),
            Clock::Simulated(clock) => {
                let elapsed = SignedDuration::try_from(clock.elapsed()).unwrap_or(SignedDuration::MAX);
                Timestamp::UNIX_EPOCH.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
            }
        };
        Timestamp::from_second(now.as_second()).unwrap_or_default()
    }

    /// Now, since the Unix epoch.
    pub fn since_epoch(&self) -> Duration {
        match self {
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Clock::Simulated(clock) => clock.elapsed(),
        }
    }

    /// Pauses for a while.
    pub async fn sleep(&self, duration: Duration) {
        match self {
            Clock::System => tokio::time::sleep(duration).await,
            Clock::Simulated(clock) => clock.advance(duration),
        }
    }
}
