//! Every metric: name, type, labels and meaning. `docs/metrics.md` is generated from this table, and the metrics are
//! registered by it.

use prometheus_client::metrics::MetricType;

/// What every metric's name begins with.
pub const PREFIX: &str = "s3_replication_operator";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        }
    }

    pub(crate) fn metric_type(self) -> MetricType {
        match self {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        }
    }
}

/// A metric, as it is found at `/metrics` after the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub meaning: &'static str,
    /// Whether it is there only with `--resource-metrics`.
    pub optional: bool,
}

impl Description {
    const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        meaning: &'static str,
    ) -> Description {
        Description { name, kind, labels, meaning, optional: false }
    }

    const fn of_each(name: &'static str, meaning: &'static str) -> Description {
        Description { name, kind: Kind::Gauge, labels: &["namespace", "name"], meaning, optional: true }
    }

    /// The name without what the text format adds by itself.
    pub(crate) fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }
}

pub const RECONCILES: Description = Description::new(
    "reconciles_total",
    Kind::Counter,
    &["result", "reason"],
    "Reconciles. `result`: `done` (as wanted), `refused` (someone's help is needed), `retried` (tried again soon), `error` (Kubernetes failed). `reason`: that of Ready, `Deleted`, or for errors `Kubernetes` or `TimedOut`",
);
pub const RECONCILE_DURATION: Description = Description::new(
    "reconcile_duration_seconds",
    Kind::Histogram,
    &["result"],
    "How long a reconcile took, by the same results",
);
pub const QUEUE_LATENCY: Description = Description::new(
    "queue_latency_seconds",
    Kind::Histogram,
    &[],
    "How long a resource that was due waited until its reconcile began",
);
pub const QUEUE_DEPTH: Description =
    Description::new("queue_depth", Kind::Gauge, &[], "Resources that are due and wait for their reconcile");
pub const DRIFT_FOUND: Description = Description::new(
    "drift_found_total",
    Kind::Counter,
    &["resource"],
    "Differences that someone made in AWS, counted when they are first seen, by the kind of AWS resource",
);
pub const DRIFT_CORRECTED: Description = Description::new(
    "drift_corrected_total",
    Kind::Counter,
    &["resource"],
    "Of these, the ones that were put right",
);
pub const AWS_REQUESTS: Description = Description::new(
    "aws_requests_total",
    Kind::Counter,
    &["service", "operation", "code"],
    "Requests sent to AWS, each retry counted. `code`: `OK`, AWS's error code, `HTTP` and the status where there is none, or `none` without an answer",
);
pub const AWS_REQUEST_DURATION: Description = Description::new(
    "aws_request_duration_seconds",
    Kind::Histogram,
    &["service", "operation"],
    "Time from sending a request to its answer, or to giving it up",
);
pub const AWS_THROTTLES: Description = Description::new(
    "aws_throttles_total",
    Kind::Counter,
    &["service"],
    "Requests that AWS answered with a code that means too many",
);
pub const AWS_LIMITER_WAIT: Description = Description::new(
    "aws_limiter_wait_seconds_total",
    Kind::Counter,
    &["service"],
    "Time that calls spent waiting for the operator's own rate limits, in all",
);
pub const RESOURCES: Description = Description::new(
    "resources",
    Kind::Gauge,
    &["reason"],
    "BucketReplication resources by the reason of Ready; told by the leader alone, as all that follows",
);
pub const RESOURCES_IN_SYNC: Description = Description::new(
    "resources_in_sync",
    Kind::Gauge,
    &["status"],
    "BucketReplication resources by the status of InSync: `True`, `False` or `Unknown`",
);
pub const LAST_CHECK_AGE: Description = Description::new(
    "last_successful_check_age_seconds",
    Kind::Gauge,
    &[],
    "Time since AWS was last read for the resource for which that is longest ago, whatever was found; since the leadership began for one not read yet. Resources for which AWS is not to be read (`Suspended`, `SourceConflict`, `InvalidSpec`, being deleted) do not count",
);
pub const LEADER: Description =
    Description::new("leader", Kind::Gauge, &[], "1 for the process that works, 0 for one that waits");
pub const BUILD: Description =
    Description::new("build_info", Kind::Info, &["version"], "Always 1; the version is in the label");
pub const RESOURCE_READY: Description =
    Description::of_each("resource_ready", "1 when Ready is True, 0 when it is not");
pub const RESOURCE_IN_SYNC: Description =
    Description::of_each("resource_in_sync", "1 when InSync is True, 0 when it is not");
pub const RESOURCE_DRIFT: Description =
    Description::of_each("resource_drift", "Differences that status.driftCount tells");
pub const RESOURCE_CHECK_AGE: Description = Description::of_each(
    "resource_last_successful_check_age_seconds",
    "Time since AWS was last read for the resource",
);

/// All of them, in the order of the documentation.
pub const DESCRIPTIONS: [Description; 19] = [
    RECONCILES,
    RECONCILE_DURATION,
    QUEUE_DEPTH,
    QUEUE_LATENCY,
    AWS_REQUESTS,
    AWS_REQUEST_DURATION,
    AWS_THROTTLES,
    AWS_LIMITER_WAIT,
    DRIFT_FOUND,
    DRIFT_CORRECTED,
    LEADER,
    BUILD,
    RESOURCES,
    RESOURCES_IN_SYNC,
    LAST_CHECK_AGE,
    RESOURCE_READY,
    RESOURCE_IN_SYNC,
    RESOURCE_DRIFT,
    RESOURCE_CHECK_AGE,
];
