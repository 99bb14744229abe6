//! Logs, metrics, traces and health: everything by which administrators observe the operator. In: what the other folders
//! record. Out: log lines on standard error, an HTTP port, and OTLP.

mod health;
mod log_level;
mod logs;
mod metrics;
#[cfg(feature = "otlp")]
mod traces;

pub use health::{Health, ServeError, serve};
pub use log_level::follow as follow_log_level;
pub use logs::{LogError, LogFormat, LogLevel, init_logs};
pub use metrics::{DESCRIPTIONS, Description, Ending, FleetSnapshot, Kind, Metrics, PREFIX, ResourceSample};
#[cfg(feature = "otlp")]
pub use traces::{TraceError, Traces};
