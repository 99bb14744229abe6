//! The condition `Replicating`: whether objects arrive, which is independent of whether the settings are right.
//!
//! In: a check, or what stopped it, and the evidence. Out: the condition, `status.health`, and an event where the
//! verdict changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{BucketReplicationStatus, ConditionType, Correction, HealthStatus, ReadyStatus, Reason};
use crate::replication::health::{Evidence, Judged, Judging, judge};
use crate::replication::refusal::Refusal;
use crate::replication::status::builder::StatusBuilder;
use crate::replication::status::conditions::{ConditionDraft, Transition, dated};
use crate::replication::status::events::Event;
use crate::replication::status::runbooks::unlinked;
use crate::replication::status::truncate::clip;

/// The verdict of the evidence between two checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Replicating {
    pub condition: Condition,
    pub health: Option<HealthStatus>,
    pub event: Option<Event>,
}

/// Reports what the evidence shows, between two checks: the rest of the status stays as it is.
pub fn replicating(judging: &Judging<'_>, evidence: &Evidence) -> Replicating {
    let Judging { previous, now, .. } = *judging;
    let Judged { reason, message, health } = judge(judging, evidence);
    let draft = ConditionDraft::new(ConditionType::Replicating, status_of(reason), reason, message);
    let generation = previous.observed_generation;
    let condition = dated(draft, &Transition { previous: &previous.conditions, generation, now });
    let event = arrival_event(previous, &condition);
    Replicating { condition, health, event }
}

/// The verdict of the evidence at the end of a check. `correction`: the last one.
pub(crate) fn observed(
    builder: &StatusBuilder<'_>,
    correction: Option<&Correction>,
) -> (ConditionDraft, Option<HealthStatus>) {
    let Judged { reason, message, health } = builder.context.judge(&builder.input.replication, correction);
    (ConditionDraft::new(ConditionType::Replicating, status_of(reason), reason, message), health)
}

/// The operator could not find out: the last verdict stays in `status.health`.
pub(crate) fn unobserved(refusal: &Refusal) -> ConditionDraft {
    let Refusal { reason, message, .. } = refusal;
    ConditionDraft::new(ConditionType::Replicating, ReadyStatus::Unknown, *reason, message.clone())
}

/// A reason that other conditions have too says here that the operator could not find out.
fn status_of(reason: Reason) -> ReadyStatus {
    if reason.is_about_arrival() { reason.ready() } else { ReadyStatus::Unknown }
}

/// An event when objects cease to arrive, are late, or arrive again.
pub(crate) fn arrival_event(previous: &BucketReplicationStatus, condition: &Condition) -> Option<Event> {
    let before = previous.conditions.iter().find(|held| held.type_ == condition.type_);
    let (reason_before, status_before) =
        before.map(|held| (held.reason.as_str(), held.status.as_str())).unwrap_or_default();
    let failed_before = previous.health.as_ref().is_some_and(|health| health.failed_since.is_some());
    let is = |reason: Reason| condition.reason == reason.as_str() && reason_before != reason.as_str();
    let event = |warning, reason| Some(Event { warning, reason, note: clip(unlinked(&condition.message)) });
    match condition.status.as_str() {
        "False" if is(Reason::ObjectsFailing) => event(true, "ObjectsFailing"),
        "False" if is(Reason::ObjectsDelayed) => event(true, "ObjectsDelayed"),
        "True" if status_before == "False" || (status_before == "Unknown" && failed_before) => {
            event(false, "ObjectsArriveAgain")
        }
        _ => None,
    }
}
