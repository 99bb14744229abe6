//! Takes the snapshot of all resources for the gauges of `/metrics`.
//!
//! In: the summaries of the resources in the store, the ages of their checks, and the depth of the queue. Out:
//! [`FleetSnapshot`], which is empty while another process leads. A gauge over all resources, such as one by account,
//! gets its values here and its text in `telemetry/metrics/collector.rs`.

use std::time::Instant;

use crate::controllers::index::Index;
use crate::controllers::status_summary::StatusSummary;
use crate::runtime::tracker::ReconcileTracker;
use crate::telemetry::{FleetSnapshot, ResourceSample};

/// A snapshot of what the store holds now. `each`: whether to export a series for each resource.
pub fn fleet_snapshot(
    index: &Index,
    tracker: &ReconcileTracker,
    queue_depth: usize,
    leads: bool,
    each: bool,
) -> FleetSnapshot {
    if !leads {
        return FleetSnapshot::default();
    }
    let now = Instant::now();
    let mut resources = Vec::new();
    index.replications.for_each_summary(|key, uid, summary| {
        let check_age = if summary.is_to_be_read { tracker.check_age(uid, now) } else { None };
        let (namespace, name) = match each {
            true => (key.namespace().unwrap_or_default().to_owned(), key.name().to_owned()),
            // Names are what most of the memory would go to, and no figure shows them.
            false => (String::new(), String::new()),
        };
        let StatusSummary { reason, ready, in_sync, drift, arrival, .. } = *summary;
        resources.push(ResourceSample { namespace, name, reason, ready, in_sync, drift, arrival, check_age });
    });
    FleetSnapshot { leads, queue_depth, resources, each }
}
