//! Counts the resources, by their statuses, and the queue for the metrics.

use std::time::Instant;

use kube::{Resource, ResourceExt};

use strum::VariantArray;

use crate::api::{ConditionType, Reason};
use crate::controllers::Guarded;
use crate::controllers::index::Index;
use crate::runtime::tracker::{ReconcileTracker, is_to_be_read};
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
    let resources = index.replications.all().iter().map(|object| counted(object, tracker, now)).collect();
    FleetSnapshot { leads, queue_depth, resources, each }
}

fn counted(object: &Guarded, work: &ReconcileTracker, now: Instant) -> ResourceSample {
    let known = object.0.as_ref().ok();
    let status = known.and_then(|resource| resource.status.as_ref());
    let condition = |wanted: ConditionType| {
        status.and_then(|status| status.conditions.iter().find(|c| c.type_ == wanted.as_str()))
    };
    let ready = condition(ConditionType::Ready);
    // Of an object that cannot be decoded nothing but that is known here.
    let otherwise = if known.is_some() { Reason::Progressing } else { Reason::InvalidSpec };
    let reason = ready.map_or(otherwise.as_str(), |c| c.reason.as_str());
    let to_be_read =
        Reason::VARIANTS.iter().copied().find(|r| r.as_str() == reason).is_none_or(is_to_be_read)
            && object.meta().deletion_timestamp.is_none();
    ResourceSample {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        reason: reason.to_owned(),
        ready: ready.is_some_and(|c| c.status == "True"),
        in_sync: condition(ConditionType::InSync).map_or("Unknown", |c| c.status.as_str()).to_owned(),
        drift: status.and_then(|status| status.drift_count).unwrap_or_default().into(),
        check_age: if to_be_read { work.check_age(&object.uid().unwrap_or_default(), now) } else { None },
    }
}
