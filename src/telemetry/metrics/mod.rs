//! Metrics in the OpenMetrics text format.
//!
//! In: counters that each part of the operator registers, and a snapshot of all resources that is taken when metrics
//! are scraped. Out: the text of `/metrics`.

mod collector;
mod described;
mod events;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Metric;

use crate::api::{AwsResource, Reason};
use collector::FleetCollector;
use described as names;

pub use collector::{ArrivalSample, FleetSnapshot, ResourceSample};
pub use described::{
    AWS_LIMITER_WAIT, AWS_REQUEST_DURATION, AWS_REQUESTS, AWS_THROTTLES, DESCRIPTIONS, Description, Kind,
    PREFIX,
};
pub use events::{EventMetrics, EventOutcome, FoundBy, OriginLabels};

/// Buckets from a check that finds no difference to the deadline of a reconcile.
const RECONCILE_SECONDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Buckets from no wait to the wait of a large fleet after a start.
const QUEUE_SECONDS: [f64; 11] = [0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: &'static str,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// It reported this reason for `Ready`.
    Reported(Reason),
    /// It deleted the resource, or found it deleted.
    Deleted,
    /// It failed on the side of Kubernetes, with this kind of error.
    Error(&'static str),
}

impl ReconcileResult {
    fn labels(self) -> ReconcileLabels {
        match self {
            ReconcileResult::Reported(reason) => {
                let result = match reason {
                    Reason::Applied | Reason::Suspended => "done",
                    _ if reason.is_transient() => "retried",
                    _ => "refused",
                };
                ReconcileLabels { result, reason: reason.as_str() }
            }
            ReconcileResult::Deleted => ReconcileLabels { result: "done", reason: "Deleted" },
            ReconcileResult::Error(name) => ReconcileLabels { result: "error", reason: name },
        }
    }
}

/// Takes the metrics of each part of the operator before they are served.
#[derive(Debug)]
pub struct Registry(prometheus_client::registry::Registry);

impl Registry {
    /// Adds a metric under the name, the type and the meaning of its description.
    pub fn register(&mut self, described: Description, metric: impl Metric) {
        self.0.register(described.stem(), described.meaning, metric);
    }
}

impl Default for Registry {
    fn default() -> Self {
        Registry(prometheus_client::registry::Registry::with_prefix(PREFIX))
    }
}

/// The metrics of reconciles and drift, and the text of all that are registered.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<ResultLabels, Histogram>,
    queue_latency: Histogram,
    metrics_requested: Counter,
    drift_found: Family<ResourceLabels, Counter>,
    drift_corrected: Family<ResourceLabels, Counter>,
    fleet: FleetCollector,
}

impl Metrics {
    /// Adds the operator's own metrics to what the other parts registered, and ends registration.
    pub fn new(mut registry: Registry) -> Metrics {
        let metrics = Metrics {
            registry: Arc::default(),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(RECONCILE_SECONDS)),
            queue_latency: Histogram::new(QUEUE_SECONDS),
            metrics_requested: Counter::default(),
            drift_found: Family::default(),
            drift_corrected: Family::default(),
            fleet: FleetCollector::default(),
        };
        let m = &metrics;
        registry.register(names::RECONCILES, m.reconciles.clone());
        registry.register(names::RECONCILE_DURATION, m.durations.clone());
        registry.register(names::QUEUE_LATENCY, m.queue_latency.clone());
        registry.register(names::METRICS_REQUESTED, m.metrics_requested.clone());
        registry.register(names::DRIFT_FOUND, m.drift_found.clone());
        registry.register(names::DRIFT_CORRECTED, m.drift_corrected.clone());
        registry.register(names::BUILD, Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.0.register_collector(Box::new(m.fleet.clone()));
        Metrics { registry: Arc::new(registry), ..metrics }
    }

    /// Computes the gauges over all resources from what `take` returns, each time that metrics are scraped.
    pub fn collect_from(&self, take: impl Fn() -> FleetSnapshot + Send + Sync + 'static) {
        self.fleet.set(take);
    }

    /// Counts a reconcile that ended, and how long it ran.
    pub fn reconciled(&self, ending: ReconcileResult, took: Duration) {
        let labels = ending.labels();
        self.durations.get_or_create(&ResultLabels { result: labels.result }).observe(took.as_secs_f64());
        self.reconciles.get_or_create(&labels).inc();
    }

    /// Counts how long a resource waited from the moment it was due until its reconcile began.
    pub fn queued(&self, waited: Duration) {
        self.queue_latency.observe(waited.as_secs_f64());
    }

    /// Counts metrics that CloudWatch bills.
    pub fn metrics_requested(&self, billed: u64) {
        self.metrics_requested.inc_by(billed);
    }

    /// Counts a difference that someone made in AWS, when it is first seen.
    pub fn drift_found(&self, resource: AwsResource) {
        self.drift_found.get_or_create(&ResourceLabels { resource: resource.as_str() }).inc();
    }

    /// Counts such a difference when the operator has removed it.
    pub fn drift_corrected(&self, resource: AwsResource) {
        self.drift_corrected.get_or_create(&ResourceLabels { resource: resource.as_str() }).inc();
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.0)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new(Registry::default())
    }
}
