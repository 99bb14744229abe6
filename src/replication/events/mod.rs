//! Events of AWS: which changes in AWS concern which resources, and when events may stand in for polling.
//!
//! In: bodies of queue messages, the operator's own writes, and the time since the process started. Out: what a message
//! concerns, how soon a resource is checked, and which parts of AWS are known to send events. An event never says what
//! is true in AWS: it causes a check, and says where and when someone else changed something.

pub mod coverage;
pub mod lookup;
pub mod message;
pub mod names;
pub mod origin;
pub mod own_writes;
pub mod pacing;
pub mod policies;
pub mod queue;

pub use coverage::{Coverage, Delivery};
pub use lookup::Lookup;
pub use message::{ChangeEvent, ChangedResource, MAX_BODY, Message, parse};
pub use names::{EventName, Service};
pub use origin::Origin;
pub use own_writes::OwnWrites;
pub use pacing::{Answer, Cause, Pacing};
pub use queue::EventQueue;

use std::time::Duration;

/// The time since the process started.
pub type Elapsed = Duration;
