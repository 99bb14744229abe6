//! Counts the resources, by their statuses, and the queue for the metrics.

use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};

use strum::VariantArray;

use crate::api::{BucketReplicationStatus, ConditionType, Reason, RuleHealth};
use crate::controllers::Guarded;
use crate::controllers::index::Index;
use crate::runtime::tracker::{ReconcileTracker, is_to_be_read};
use crate::telemetry::{ArrivalSample, FleetSnapshot, ResourceSample};

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
        arrival: arrival(condition(ConditionType::Replicating), status),
        drift: status.and_then(|status| status.drift_count).unwrap_or_default().into(),
        check_age: if to_be_read { work.check_age(&object.uid().unwrap_or_default(), now) } else { None },
    }
}

fn arrival(replicating: Option<&Condition>, status: Option<&BucketReplicationStatus>) -> ArrivalSample {
    let health = status.and_then(|status| status.health.as_ref());
    let sum = |figure: fn(&RuleHealth) -> Option<i64>| {
        let rules = health.into_iter().flat_map(|health| &health.rules);
        rules.filter_map(figure).reduce(i64::saturating_add)
    };
    ArrivalSample {
        reason: replicating.map_or(Reason::Progressing.as_str(), |c| c.reason.as_str()).to_owned(),
        replicating: replicating.is_some_and(|c| c.status == "True"),
        latency_seconds: health.and_then(|health| health.latency_seconds),
        pending: sum(|rule| rule.pending),
        failed: sum(|rule| rule.failed),
    }
}
