//! The operator as its administrators see it: conditions, cost, logs, metrics, and several operators at once.

mod conditions;
pub(crate) mod cost;
pub(crate) mod leader_election;
mod logs;
mod metrics;
mod sharding;
