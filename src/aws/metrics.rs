//! The metrics of requests to AWS.
//!
//! In: each request with its service, operation and error code and how long it took, and each wait for a rate limit.
//! Out: counters and a histogram for `/metrics`. None has a label for the account.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use crate::telemetry::{self, Registry};

/// Buckets from an answer of the same Region to one shortly before the timeout.
const SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub service: String,
    pub operation: String,
    /// AWS's error code; `OK` for success, `HTTP` and the status for an answer without a code, `none` for no answer.
    pub code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabels {
    pub service: String,
    pub operation: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServiceLabels {
    pub service: String,
}

#[derive(Clone, Debug)]
pub struct AwsMetrics {
    /// Requests sent, each try of a call counted.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds from sending a request to its answer, or to giving it up.
    pub durations: Family<OperationLabels, Histogram>,
    /// Requests that AWS answered with "too many".
    pub throttles: Family<ServiceLabels, Counter>,
    /// Seconds that calls waited for a token of the rate limits.
    pub limiter_waits: Family<ServiceLabels, Counter<f64, AtomicU64>>,
}

impl Default for AwsMetrics {
    fn default() -> Self {
        AwsMetrics {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            throttles: Family::default(),
            limiter_waits: Family::default(),
        }
    }
}

impl AwsMetrics {
    /// Adds the metrics to those that are served.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(telemetry::AWS_REQUESTS, self.requests.clone());
        registry.register(telemetry::AWS_REQUEST_DURATION, self.durations.clone());
        registry.register(telemetry::AWS_THROTTLES, self.throttles.clone());
        registry.register(telemetry::AWS_LIMITER_WAIT, self.limiter_waits.clone());
    }

    pub(crate) fn waited(&self, service: &str, time: Duration) {
        let labels = ServiceLabels { service: service.to_owned() };
        self.limiter_waits.get_or_create(&labels).inc_by(time.as_secs_f64());
    }

    pub(crate) fn requested(&self, labels: RequestLabels, time: Duration, throttled: bool) {
        let RequestLabels { service, operation, .. } = labels.clone();
        if throttled {
            self.throttles.get_or_create(&ServiceLabels { service: service.clone() }).inc();
        }
        let operation = OperationLabels { service, operation };
        self.durations.get_or_create(&operation).observe(time.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
    }
}
