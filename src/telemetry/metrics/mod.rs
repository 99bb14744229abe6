//! The metrics of the operator. In: what reconciles, AWS calls and the snapshot of resources record. Out: the OpenMetrics
//! text format.

mod collector;
mod described;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::api::{AwsResource, Reason};
use crate::aws;
use collector::SnapshotSource;
use described as is;

pub use collector::{FleetSnapshot, ResourceSample};
pub use described::{DESCRIPTIONS, Description, Kind, PREFIX};

/// Buckets from a check that finds nothing to the deadline of a reconcile.
const RECONCILE_SECONDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Buckets from no wait to the wait of many resources after a start.
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
pub enum Ending {
    /// The status was reported with this reason of Ready.
    Told(Reason),
    /// The resource is gone.
    Deleted,
    /// A request to Kubernetes failed; the name of the error.
    Error(&'static str),
}

impl Ending {
    fn labels(self) -> ReconcileLabels {
        match self {
            Ending::Told(reason) => {
                let result = match reason {
                    Reason::Applied | Reason::Suspended => "done",
                    _ if reason.is_transient() => "retried",
                    _ => "refused",
                };
                ReconcileLabels { result, reason: reason.as_str() }
            }
            Ending::Deleted => ReconcileLabels { result: "done", reason: "Deleted" },
            Ending::Error(name) => ReconcileLabels { result: "error", reason: name },
        }
    }
}

/// Every metric of the operator.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    reconciles: Family<ReconcileLabels, Counter>,
    durations: Family<ResultLabels, Histogram>,
    queue_latency: Histogram,
    drift_found: Family<ResourceLabels, Counter>,
    drift_corrected: Family<ResourceLabels, Counter>,
    snapshots: SnapshotSource,
    /// The counters of `aws`.
    pub aws: aws::Metrics,
}

impl Metrics {
    pub fn new() -> Metrics {
        let metrics = Metrics {
            registry: Arc::default(),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(RECONCILE_SECONDS)),
            queue_latency: Histogram::new(QUEUE_SECONDS),
            drift_found: Family::default(),
            drift_corrected: Family::default(),
            snapshots: SnapshotSource::default(),
            aws: aws::Metrics::default(),
        };
        let mut registry = Registry::with_prefix(PREFIX);
        let m = &metrics;
        register(&mut registry, is::RECONCILES, m.reconciles.clone());
        register(&mut registry, is::RECONCILE_DURATION, m.durations.clone());
        register(&mut registry, is::QUEUE_LATENCY, m.queue_latency.clone());
        register(&mut registry, is::AWS_REQUESTS, m.aws.requests.clone());
        register(&mut registry, is::AWS_REQUEST_DURATION, m.aws.durations.clone());
        register(&mut registry, is::AWS_THROTTLES, m.aws.throttles.clone());
        register(&mut registry, is::AWS_LIMITER_WAIT, m.aws.limiter_waits.clone());
        register(&mut registry, is::DRIFT_FOUND, m.drift_found.clone());
        register(&mut registry, is::DRIFT_CORRECTED, m.drift_corrected.clone());
        register(&mut registry, is::BUILD, Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_collector(Box::new(m.snapshots.clone()));
        Metrics { registry: Arc::new(registry), ..metrics }
    }

    /// Sets the function that takes the snapshot of all resources at each scrape.
    pub fn collect_from(&self, take: impl Fn() -> FleetSnapshot + Send + Sync + 'static) {
        self.snapshots.set(take);
    }

    /// Counts a reconcile and its duration.
    pub fn reconciled(&self, ending: Ending, took: Duration) {
        let labels = ending.labels();
        self.durations.get_or_create(&ResultLabels { result: labels.result }).observe(took.as_secs_f64());
        self.reconciles.get_or_create(&labels).inc();
    }

    /// Records how long a resource waited in the queue.
    pub fn queued(&self, waited: Duration) {
        self.queue_latency.observe(waited.as_secs_f64());
    }

    /// Counts a difference that the operator observes for the first time and that is drift.
    pub fn drift_found(&self, resource: AwsResource) {
        self.drift_found.get_or_create(&ResourceLabels { resource: resource.as_str() }).inc();
    }

    /// Counts a drift that the operator corrected.
    pub fn drift_corrected(&self, resource: AwsResource) {
        self.drift_corrected.get_or_create(&ResourceLabels { resource: resource.as_str() }).inc();
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// If a metric cannot be encoded.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn register(registry: &mut Registry, described: Description, metric: impl Metric) {
    registry.register(described.stem(), described.meaning, metric);
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}
