//! The table of all metrics: name, type, labels and meaning.
//!
//! In: nothing. Out: the description by which each part of the operator registers or writes a metric, and
//! `docs/metrics.md`, which is generated from all of them. A new metric, or a new label such as the account, begins
//! here. Its values come from `aws/metrics.rs` for requests to AWS, `metrics/events.rs` for events,
//! `metrics/collector.rs` for gauges over resources, and `metrics/mod.rs` for reconciles and drift.

use prometheus_client::metrics::MetricType;

/// The prefix of every metric's name.
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

/// A metric as `/metrics` shows it, without the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub meaning: &'static str,
    /// Whether it is exported only with `--resource-metrics`.
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

    /// The name without the suffix that the text format adds.
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
    "Reconciles of BucketReplication resources. `result`: `done` (the resource is as its spec asks), `refused` (a person must act), `retried` (the operator tries again soon), `error` (a Kubernetes request failed, the reconcile ran into its deadline, or it panicked). `reason`: the reason of Ready, `Deleted`, or for errors `Kubernetes`, `TimedOut`, `NotLeading`, `Unseen` or `Panicked`",
);
pub const RECONCILE_DURATION: Description = Description::new(
    "reconcile_duration_seconds",
    Kind::Histogram,
    &["result"],
    "Duration of a reconcile, by the same results",
);
pub const QUEUE_LATENCY: Description = Description::new(
    "queue_latency_seconds",
    Kind::Histogram,
    &[],
    "Time from the moment a resource is due until its reconcile begins",
);
pub const QUEUE_DEPTH: Description = Description::new(
    "queue_depth",
    Kind::Gauge,
    &[],
    "Resources that are due and wait for their reconcile to begin",
);
pub const DRIFT_FOUND: Description = Description::new(
    "drift_found_total",
    Kind::Counter,
    &["resource"],
    "Differences that someone made in AWS, by the kind of AWS resource; each is counted when the operator first sees it",
);
pub const DRIFT_CORRECTED: Description = Description::new(
    "drift_corrected_total",
    Kind::Counter,
    &["resource"],
    "Differences that someone made in AWS and the operator corrected, by the kind of AWS resource",
);
pub const METRICS_REQUESTED: Description = Description::new(
    "cloudwatch_metrics_requested_total",
    Kind::Counter,
    &[],
    "Metrics that the operator requested from CloudWatch, as AWS bills them: 0.01 USD per 1,000",
);
pub const AWS_REQUESTS: Description = Description::new(
    "aws_requests_total",
    Kind::Counter,
    &["service", "operation", "code"],
    "Requests sent to AWS; each retry counts. `code`: `OK`, the error code of AWS, `HTTP` and the status for an answer without a code, or `none` when there was no answer",
);
pub const AWS_REQUEST_DURATION: Description = Description::new(
    "aws_request_duration_seconds",
    Kind::Histogram,
    &["service", "operation"],
    "Time from sending a request until it is answered or abandoned",
);
pub const AWS_THROTTLES: Description = Description::new(
    "aws_throttles_total",
    Kind::Counter,
    &["service"],
    "Requests that AWS answered with a throttling error",
);
pub const AWS_LIMITER_WAIT: Description = Description::new(
    "aws_limiter_wait_seconds_total",
    Kind::Counter,
    &["service"],
    "Total time that calls waited for the operator's own rate limits",
);
pub const RESOURCES: Description = Description::new(
    "resources",
    Kind::Gauge,
    &["reason"],
    "BucketReplication resources by the reason of Ready. Only the leader exports this metric and those below it",
);
pub const RESOURCES_IN_SYNC: Description = Description::new(
    "resources_in_sync",
    Kind::Gauge,
    &["status"],
    "BucketReplication resources by the status of InSync: `True`, `False` or `Unknown`",
);
pub const RESOURCES_REPLICATING: Description = Description::new(
    "resources_replicating",
    Kind::Gauge,
    &["reason"],
    "BucketReplication resources by the reason of Replicating: whether objects arrive",
);
pub const LAST_CHECK_AGE: Description = Description::new(
    "last_successful_check_age_seconds",
    Kind::Gauge,
    &[],
    "Age of the oldest successful check across all resources. A resource that was not checked yet counts from the start of this leader's term. A resource for which the operator does not read AWS (`Suspended`, `SourceConflict`, `NotAllowed`, `AccountNotFound`, `InvalidSpec`, or being deleted) does not count",
);
pub const LEADER: Description = Description::new(
    "leader",
    Kind::Gauge,
    &[],
    "1 for the process that leads, 0 for one that waits to take over",
);
pub const BUILD: Description =
    Description::new("build_info", Kind::Info, &["version"], "Always 1; the label holds the version");
pub const RESOURCE_READY: Description =
    Description::of_each("resource_ready", "1 when Ready is True, otherwise 0");
pub const RESOURCE_IN_SYNC: Description =
    Description::of_each("resource_in_sync", "1 when InSync is True, otherwise 0");
pub const RESOURCE_DRIFT: Description =
    Description::of_each("resource_drift", "The value of status.driftCount");
pub const RESOURCE_CHECK_AGE: Description = Description::of_each(
    "resource_last_successful_check_age_seconds",
    "Time since AWS was last read for this resource",
);

pub const RESOURCE_REPLICATING: Description =
    Description::of_each("resource_replicating", "1 when Replicating is True, otherwise 0");
pub const RESOURCE_LATENCY: Description = Description::of_each(
    "resource_replication_latency_seconds",
    "The value of status.health.latencySeconds: the longest time that a destination is behind",
);
pub const RESOURCE_PENDING: Description = Description::of_each(
    "resource_pending_operations",
    "Operations that are pending, by status.health.rules: the sum over the rules",
);
pub const RESOURCE_FAILED: Description = Description::of_each(
    "resource_failed_operations",
    "Operations that failed in the present run of failures, by status.health.rules: the sum over the rules",
);

pub const EVENTS_RECEIVED: Description = Description::new(
    "events_received_total",
    Kind::Counter,
    &["service", "outcome"],
    "Messages of the event queues. `outcome`: `checked` (it caused a check), `own` (it reports a write of the operator), `duplicate`, `unknown` (it concerns no resource), `failed_call` (the request that it reports changed nothing), `unattributed` (it names no bucket, role or key), `unreadable`, or `notification` (S3's own)",
);
pub const EVENT_DELAY: Description = Description::new(
    "event_delay_seconds",
    Kind::Histogram,
    &[],
    "Time from a change in AWS until the operator received its event",
);
pub const DRIFT_LATENCY: Description = Description::new(
    "drift_latency_seconds",
    Kind::Histogram,
    &[],
    "Time from a change in AWS until a check that its event caused found the difference",
);
pub const DRIFT_FOUND_BY: Description = Description::new(
    "drift_found_by_total",
    Kind::Counter,
    &["by"],
    "Differences that someone made in AWS, with an event queue only, by what found them: `event`, `poll` (a periodic check), `request` (the annotation), or `change` (of the resource)",
);
pub const DRIFT_UNANNOUNCED: Description = Description::new(
    "drift_unannounced_total",
    Kind::Counter,
    &[],
    "Differences that a periodic check found although events covered their origin, and that no event had announced: the number that shows whether events are reliable",
);
pub const EVENT_QUEUE_UP: Description = Description::new(
    "event_queue_up",
    Kind::Gauge,
    &["queue"],
    "1 while the operator receives and deletes the messages of the event queue. 0 after a minute in which it could not: the operator polls",
);
pub const EVENT_COVERAGE: Description = Description::new(
    "event_coverage",
    Kind::Gauge,
    &["account", "region", "service"],
    "1 while events arrive from this account, Region and service, on which resources depend; 0 after a change there that no event reported, until one does. No sample before the first event since this process began to lead",
);
pub const EVENT_ECHOES_MISSED: Description = Description::new(
    "event_echoes_missed_total",
    Kind::Counter,
    &[],
    "Kinds of the operator's own writes whose event did not come within five minutes",
);

/// All metrics, in the order of the documentation.
pub const DESCRIPTIONS: [Description; 33] = [
    RECONCILES,
    RECONCILE_DURATION,
    QUEUE_DEPTH,
    QUEUE_LATENCY,
    AWS_REQUESTS,
    AWS_REQUEST_DURATION,
    AWS_THROTTLES,
    AWS_LIMITER_WAIT,
    METRICS_REQUESTED,
    DRIFT_FOUND,
    DRIFT_CORRECTED,
    EVENTS_RECEIVED,
    EVENT_DELAY,
    DRIFT_LATENCY,
    DRIFT_FOUND_BY,
    DRIFT_UNANNOUNCED,
    EVENT_QUEUE_UP,
    EVENT_COVERAGE,
    EVENT_ECHOES_MISSED,
    LEADER,
    BUILD,
    RESOURCES,
    RESOURCES_IN_SYNC,
    RESOURCES_REPLICATING,
    LAST_CHECK_AGE,
    RESOURCE_READY,
    RESOURCE_IN_SYNC,
    RESOURCE_DRIFT,
    RESOURCE_CHECK_AGE,
    RESOURCE_REPLICATING,
    RESOURCE_LATENCY,
    RESOURCE_PENDING,
    RESOURCE_FAILED,
];
