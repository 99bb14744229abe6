//! Logs, metrics and health: what an operator of the operator looks at.

mod health;
mod logs;
mod metrics;

pub use health::{Health, ServeError, serve};
pub use logs::{LogError, LogFormat, init_logs};
pub use metrics::{Census, Counted, DESCRIPTIONS, Description, Ending, Kind, Metrics, PREFIX};
