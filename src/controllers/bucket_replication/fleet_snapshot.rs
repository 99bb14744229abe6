//! Counts the resources, by their statuses, and the queue for the metrics.

use std::time::Instant;

use crate::controllers::index::Index;
use crate::controllers::summary::Summary;
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
        let Summary { reason, ready, in_sync, drift, arrival, .. } = *summary;
        resources.push(ResourceSample { namespace, name, reason, ready, in_sync, drift, arrival, check_age });
    });
    FleetSnapshot { leads, queue_depth, resources, each }
}
