//! The clock by which claims expire. It counts while the process is stopped and while the machine sleeps.
//!
//! In: the clock of the machine. Out: instants on this machine, and the time between two of them.
//!
//! `std::time::Instant` is `CLOCK_MONOTONIC` on Linux, which counts while the process is stopped (SIGSTOP, a frozen
//! cgroup) but not while the whole machine is suspended. `CLOCK_BOOTTIME` counts then, too. No clock counts while a
//! hypervisor keeps a machine from running; only AWS could fence against that, and it has no means to.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;

/// Other systems have no such clock; on Apple's, the monotonic one goes on during sleep.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

/// A point in time on this machine's clock, in nanoseconds since the machine was started. Instants of two machines
/// cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootInstant(u64);

impl BootInstant {
    /// Later than any other.
    pub const NEVER: BootInstant = BootInstant(u64::MAX);

    pub fn now() -> BootInstant {
        let time = clock_gettime(CLOCK);
        let part = |n: i64| u64::try_from(n).unwrap_or_default();
        BootInstant(part(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(time.tv_nsec)))
    }

    pub fn after(self, duration: Duration) -> BootInstant {
        BootInstant(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long until `later`; zero when that is past.
    pub fn until(self, later: BootInstant) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> BootInstant {
        BootInstant(bits)
    }
}
