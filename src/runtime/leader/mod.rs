//! Leader election: of several operators with one Lease (coordination.k8s.io/v1), one works and the others wait, with
//! warm caches.
//!
//! In: the name and the times of the Lease. Out: a [`Term`] each time that this process leads.
//!
//! The protocol is client-go's, so that its tools and people's knowledge of it apply. The times in the record are for
//! people to read. A holder counts as gone when its record has not changed for the duration of the lease by the
//! waiter's own clock. Two things are stricter here. A claim ends on the holder's side at the renew deadline, counted
//! from the request of its last renewal; the rest of the duration is left for a call that is already on its way. And
//! the claim is checked wherever work goes on ([`Term::fenced`]): a process that was stopped and wakes up finds its
//! claim expired before it begins anything.
//!
//! This is written here because no crate does it for kube 5. The crates for it also decide whether a lease has expired
//! by comparing wall clocks of two machines (kube-leader-election, kube-lease-manager, kubert). One takes a lease over
//! by a patch without the version that it read, so that two candidates can win (kube-leader-election). None has a
//! fence.

pub mod boot_instant;
mod claim;
mod elector;
pub mod record;
mod settings;

pub use claim::{Leadership, Succession, Term};
pub use elector::Election;
pub use settings::{InvalidTimes, LeaseSettings, LeaseTimes};
