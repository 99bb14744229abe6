//! Gauges over all resources, computed at each scrape, so that no count can get out of step.
//!
//! In: a snapshot of all resources, as `controllers/bucket_replication/fleet_snapshot.rs` takes it. Out: their series
//! in the text of `/metrics`: how many resources have each reason or status, and with `--resource-metrics` a series for
//! each resource.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use strum::VariantArray;

use crate::api::Reason;
use crate::telemetry::metrics::described::{
    Description, LAST_CHECK_AGE, LEADER, QUEUE_DEPTH, RESOURCE_CHECK_AGE, RESOURCE_DRIFT, RESOURCE_FAILED,
    RESOURCE_IN_SYNC, RESOURCE_LATENCY, RESOURCE_PENDING, RESOURCE_READY, RESOURCE_REPLICATING, RESOURCES,
    RESOURCES_IN_SYNC, RESOURCES_REPLICATING,
};

/// The values of a condition's `status`.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];

/// The values of one resource for the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceSample {
    pub namespace: String,
    pub name: String,
    /// The reason of Ready.
    pub reason: Reason,
    pub ready: bool,
    /// The status of InSync.
    pub in_sync: &'static str,
    pub drift: i64,
    pub arrival: ArrivalSample,
    /// Time since AWS was last read for it; `None` when the operator does not read AWS for it.
    pub check_age: Option<Duration>,
}

/// The values of one resource's objects for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivalSample {
    /// The reason of Replicating.
    pub reason: Reason,
    pub replicating: bool,
    pub latency_seconds: Option<i64>,
    pub pending: Option<i64>,
    pub failed: Option<i64>,
}

/// All resources at one moment.
#[derive(Clone, Debug, Default)]
pub struct FleetSnapshot {
    pub leads: bool,
    pub queue_depth: usize,
    /// Empty while another process leads, or each resource would be counted twice.
    pub resources: Vec<ResourceSample>,
    /// Whether to export a series for each resource.
    pub each: bool,
}

type Take = dyn Fn() -> FleetSnapshot + Send + Sync;

/// Takes a [`FleetSnapshot`] at each scrape, once the controllers run.
#[derive(Clone, Default)]
pub(crate) struct FleetCollector(Arc<RwLock<Option<Box<Take>>>>);

impl FleetCollector {
    pub fn set(&self, take: impl Fn() -> FleetSnapshot + Send + Sync + 'static) {
        *self.0.write() = Some(Box::new(take));
    }

    fn take(&self) -> FleetSnapshot {
        let take = self.0.read();
        take.as_ref().map(|take| take()).unwrap_or_default()
    }
}

impl std::fmt::Debug for FleetCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetCollector")
    }
}

impl Collector for FleetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let FleetSnapshot { leads, queue_depth, resources, each } = self.take();
        let depth = i64::try_from(queue_depth).unwrap_or(i64::MAX);
        one(&mut encoder, &QUEUE_DEPTH, depth)?;
        one(&mut encoder, &LEADER, i64::from(leads))?;
        if !leads {
            return Ok(());
        }
        let (about_arrival, reasons): (Vec<Reason>, Vec<Reason>) =
            Reason::VARIANTS.iter().partition(|reason| reason.is_about_arrival());
        let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
        let about_arrival: Vec<&str> = about_arrival.iter().map(|reason| reason.as_str()).collect();
        labelled(&mut encoder, &RESOURCES, &reasons, resources.iter().map(|r| r.reason.as_str()))?;
        labelled(&mut encoder, &RESOURCES_IN_SYNC, &STATUSES, resources.iter().map(|r| r.in_sync))?;
        let arrivals = resources.iter().map(|r| r.arrival.reason.as_str());
        labelled(&mut encoder, &RESOURCES_REPLICATING, &about_arrival, arrivals)?;
        let oldest = resources.iter().filter_map(|r| r.check_age).max().unwrap_or_default();
        one(&mut encoder, &LAST_CHECK_AGE, oldest.as_secs_f64())?;
        if !each {
            return Ok(());
        }
        of_each(&mut encoder, &RESOURCE_READY, &resources, |r| Some(i64::from(r.ready)))?;
        of_each(&mut encoder, &RESOURCE_IN_SYNC, &resources, |r| Some(i64::from(r.in_sync == "True")))?;
        of_each(&mut encoder, &RESOURCE_DRIFT, &resources, |r| Some(r.drift))?;
        of_each(&mut encoder, &RESOURCE_CHECK_AGE, &resources, |r| r.check_age.map(|age| age.as_secs_f64()))?;
        of_each(&mut encoder, &RESOURCE_REPLICATING, &resources, |r| Some(i64::from(r.arrival.replicating)))?;
        of_each(&mut encoder, &RESOURCE_LATENCY, &resources, |r| r.arrival.latency_seconds)?;
        of_each(&mut encoder, &RESOURCE_PENDING, &resources, |r| r.arrival.pending)?;
        of_each(&mut encoder, &RESOURCE_FAILED, &resources, |r| r.arrival.failed)
    }
}

/// Writes a metric of a single value.
fn one<N: EncodeGaugeValue + Copy>(
    encoder: &mut DescriptorEncoder<'_>,
    described: &Description,
    value: N,
) -> Result<(), Error>
where
    ConstGauge<N>: EncodeMetric,
{
    let metric =
        encoder.encode_descriptor(described.stem(), described.meaning, None, described.kind.metric_type())?;
    ConstGauge::new(value).encode(metric)
}

/// Writes how many resources have each value of the metric's only label. Values without a resource are written as 0:
/// a series that comes and goes is hard to alert on.
fn labelled<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    described: &Description,
    values: &[&'a str],
    found: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    let mut counts: BTreeMap<&str, i64> = values.iter().map(|value| (*value, 0)).collect();
    for value in found {
        *counts.entry(value).or_default() += 1;
    }
    let label = described.labels.first().copied().unwrap_or_default();
    let mut metric =
        encoder.encode_descriptor(described.stem(), described.meaning, None, described.kind.metric_type())?;
    for (value, count) in counts {
        let labels = [(label, value)];
        ConstGauge::new(count).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Writes a series for each resource that has a value.
fn of_each<N: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    described: &Description,
    resources: &[ResourceSample],
    value: impl Fn(&ResourceSample) -> Option<N>,
) -> Result<(), Error>
where
    ConstGauge<N>: EncodeMetric,
{
    let mut metric =
        encoder.encode_descriptor(described.stem(), described.meaning, None, described.kind.metric_type())?;
    for (resource, value) in resources.iter().filter_map(|r| Some((r, value(r)?))) {
        let labels = [("namespace", resource.namespace.as_str()), ("name", resource.name.as_str())];
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}
