//! Events of AWS in place of polling.
//!
//! In: messages of the queues, the operator's own writes, and the checks of resources. Out: triggers of checks, how
//! soon a resource is checked again, and what `AwsAccount`s report about their events. Only the leader reads the
//! queues.

mod dispatch;
pub mod receiver;
pub mod settings;
pub mod state;

pub use receiver::Receiver;
pub use settings::EventSettings;
pub use state::{CheckEvents, Events, Setup};
