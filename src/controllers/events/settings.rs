//! The settings of events, as the flags of `run` give them.
//!
//! In: URLs of queues, and the interval of resources that events cover. Out: [`EventSettings`]. Without a queue the
//! operator only polls.

use crate::api::Interval;
use crate::replication::events::EventQueue;

/// Without a queue the operator only polls.
#[derive(Clone, Debug)]
pub struct EventSettings {
    pub queues: Vec<EventQueue>,
    /// How often AWS is checked for resources without `spec.interval` while events cover them.
    pub interval: Interval,
}

impl Default for EventSettings {
    fn default() -> Self {
        EventSettings { queues: Vec::new(), interval: Interval("24h".to_owned()) }
    }
}
