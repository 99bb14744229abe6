//! What the flags of `run` say about events.

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
