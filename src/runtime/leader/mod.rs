//! Leader election: of several operators with one Lease (coordination.k8s.io/v1), one works and the others wait,
//! with their caches warm.
//!
//! The protocol is client-go's, so that its tools and people's knowledge of it apply: the record's times are for
//! people to read, and a holder counts as gone when its record has not changed for the lease's duration by the
//! waiter's own clock. Two things are stricter here. A claim ends on the holder's side at the renew deadline,
//! counted from the request of its last renewal; the rest of the lease's duration is what a call that was already
//! on its way has to arrive. And the claim is looked at where work is done ([`Term::fenced`]): an operator that was
//! stopped and wakes up finds its claim expired before it begins anything.

mod claim;
pub mod clock;
mod election;
mod elector;
pub mod record;
mod settings;

pub use claim::{Leadership, Term};
pub use election::Election;
pub use settings::{InvalidTimes, Settings, Times};
