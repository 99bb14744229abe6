//! The metrics of events.
//!
//! In: messages, checks and the state of queues. Out: counters, and gauges that hold what was last set.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use strum::IntoStaticStr;

use crate::telemetry::metrics::Registry;
use crate::telemetry::metrics::described as names;

/// Buckets from an event that comes at once to one that CloudTrail delivers very late.
const SECONDS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum EventOutcome {
    /// It caused a check.
    Checked,
    /// It reports a write of the operator.
    Own,
    /// It came before.
    Duplicate,
    /// It concerns no resource.
    Unknown,
    /// The request that it reports failed.
    FailedCall,
    /// It names no bucket, role or key.
    Unattributed,
    /// It is no JSON, or too large.
    Unreadable,
    /// S3's own notification.
    Notification,
}

/// The cause of the check that found drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum FoundBy {
    /// A check that an event caused.
    Event,
    /// A periodic check.
    Poll,
    /// A check that someone asked for.
    Request,
    /// A check after a change of the resource.
    Change,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    service: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLabels {
    by: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

/// Where events come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OriginLabels {
    pub account: String,
    /// Empty for IAM.
    pub region: String,
    pub service: &'static str,
}

/// The metrics of events.
#[derive(Clone, Debug)]
pub struct EventMetrics {
    received: Family<EventLabels, Counter>,
    delay: Histogram,
    drift_latency: Histogram,
    drift_found_by: Family<ByLabels, Counter>,
    unannounced: Counter,
    queue_up: Family<QueueLabels, Gauge>,
    coverage: Family<OriginLabels, Gauge>,
    echoes_missed: Counter,
}

impl Default for EventMetrics {
    fn default() -> Self {
        EventMetrics {
            received: Family::default(),
            delay: Histogram::new(SECONDS),
            drift_latency: Histogram::new(SECONDS),
            drift_found_by: Family::default(),
            unannounced: Counter::default(),
            queue_up: Family::default(),
            coverage: Family::default(),
            echoes_missed: Counter::default(),
        }
    }
}

impl EventMetrics {
    /// Adds the metrics to those that are served.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(names::EVENTS_RECEIVED, self.received.clone());
        registry.register(names::EVENT_DELAY, self.delay.clone());
        registry.register(names::DRIFT_LATENCY, self.drift_latency.clone());
        registry.register(names::DRIFT_FOUND_BY, self.drift_found_by.clone());
        registry.register(names::DRIFT_UNANNOUNCED, self.unannounced.clone());
        registry.register(names::EVENT_QUEUE_UP, self.queue_up.clone());
        registry.register(names::EVENT_COVERAGE, self.coverage.clone());
        registry.register(names::EVENT_ECHOES_MISSED, self.echoes_missed.clone());
    }

    pub fn received(&self, service: &'static str, outcome: EventOutcome) {
        self.received.get_or_create(&EventLabels { service, outcome: outcome.into() }).inc();
    }

    /// From the change in AWS until its event was received.
    pub fn event_delay(&self, delay: Duration) {
        self.delay.observe(delay.as_secs_f64());
    }

    /// From the change in AWS until a check found it.
    pub fn drift_latency(&self, latency: Duration) {
        self.drift_latency.observe(latency.as_secs_f64());
    }

    pub fn drift_found(&self, by: FoundBy) {
        self.drift_found_by.get_or_create(&ByLabels { by: by.into() }).inc();
    }

    pub fn unannounced(&self) {
        self.unannounced.inc();
    }

    pub fn queue_up(&self, queue: &str, up: bool) {
        self.queue_up.get_or_create(&QueueLabels { queue: queue.to_owned() }).set(up.into());
    }

    /// This process no longer reads a queue.
    pub fn forget_queue(&self, queue: &str) {
        self.queue_up.remove(&QueueLabels { queue: queue.to_owned() });
    }

    pub fn covered(&self, origin: &OriginLabels, covered: bool) {
        self.coverage.get_or_create(origin).set(covered.into());
    }

    /// No resource depends on an origin any more, or nothing is known of it.
    pub fn forget_origin(&self, origin: &OriginLabels) {
        self.coverage.remove(origin);
    }

    pub fn echo_missed(&self) {
        self.echoes_missed.inc();
    }
}
