//! Logs, metrics, health and traces, for the people that run the operator.
//!
//! In: what the other parts log, count and trace. Out: lines on standard error, the endpoints `/livez`, `/readyz` and
//! `/metrics`, and spans for a collector.

mod health;
mod log_level;
mod logs;
mod metrics;
mod server;
#[cfg(feature = "otlp")]
mod traces;

pub use health::{ProcessHealth, ServeError, serve};
pub use log_level::follow as follow_log_level;
pub use logs::{LogError, LogFormat, LogLevel, init_logs};
pub use metrics::{
    AWS_LIMITER_WAIT, AWS_REQUEST_DURATION, AWS_REQUESTS, AWS_THROTTLES, ArrivalSample, DESCRIPTIONS,
    Description, EventMetrics, EventOutcome, FleetSnapshot, FoundBy, Kind, Metrics, OriginLabels, PREFIX,
    ReconcileResult, Registry, ResourceSample,
};
#[cfg(feature = "otlp")]
pub use traces::{TraceError, Traces};
