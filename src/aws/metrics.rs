//! What is counted of calls to AWS; registered with the rest by the telemetry module.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    pub service: &'static str,
    pub action: String,
    /// AWS's error code; `OK` for success, `none` for no answer.
    pub code: String,
}

#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Calls made, retries by the SDK not counted.
    pub requests: Family<CallLabels, Counter>,
}
