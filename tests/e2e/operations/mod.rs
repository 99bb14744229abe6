//! The operator as its administrators see it: conditions, cost, logs, metrics, traces, and several operators at once.

mod conditions;
pub(crate) mod cost;
pub(crate) mod leader_election;
mod logs;
mod metrics;
mod sharding;
#[cfg(feature = "otlp")]
mod traces;
