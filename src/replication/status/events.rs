//! Makes the events on a resource, such as `Applied` and `DriftCorrected`.
//!
//! In: a plan, its outcome, and the status before and after. Out: the events to publish, each with its text and whether
//! it is a Warning; an unchanged state has none. A Warning has the text of a condition, which `builder.rs` and
//! `failed_step.rs` decide, or of a refusal. `replicating.rs` makes the events of that condition.

use crate::api::{BucketReplicationStatus, ConditionType, DriftEntry, Reason};
use crate::replication::outcome::Outcome;
use crate::replication::plan::Plan;
use crate::replication::status::builder::{AdoptedRole, DRIFT};
use crate::replication::status::runbooks::unlinked;
use crate::replication::status::truncate::{clip, note};
use crate::replication::step::Step;

/// An event on the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub warning: bool,
    pub reason: &'static str,
    pub note: String,
}

/// The event for the writes of a check.
pub(crate) fn written(plan: &Plan, outcome: &Outcome, settled: &[DriftEntry]) -> Event {
    let mut steps = note("wrote to AWS", outcome.done.iter().map(Step::to_string));
    if outcome.done.iter().any(|step| matches!(step, Step::PutReplication { .. })) {
        steps.extend(plan.removed_elements().map(|removed| format!("; {removed}")));
    }
    if plan.drift && !settled.is_empty() {
        let corrected = note("corrected", settled.iter().map(ToString::to_string));
        return Event {
            warning: true,
            reason: "DriftCorrected",
            note: clip(&format!("{corrected}; {steps}")),
        };
    }
    Event { warning: false, reason: "Applied", note: clip(&steps) }
}

/// An event when a role is taken over that the operator did not make.
pub(crate) fn adopted(role: AdoptedRole<'_>, outcome: &Outcome) -> Option<Event> {
    let AdoptedRole { name, goes } = role;
    let then = match goes {
        true => {
            "deleting this resource deletes the role too; to keep it then, set adoptionPolicy: Refuse or deletionPolicy: Retain"
        }
        false => "deleting this resource leaves the role",
    };
    outcome.done.iter().any(Step::takes_over).then(|| Event {
        warning: goes,
        reason: "RoleAdopted",
        note: format!("role {name}, which someone else made, is managed by this resource now: {then}"),
    })
}

/// An event when drift is reported that the previous status did not have.
pub(crate) fn drift_event(
    status: &BucketReplicationStatus,
    previous: &BucketReplicationStatus,
    drift: &[DriftEntry],
) -> Option<Event> {
    (!drift.is_empty() && status.drift != previous.drift).then(|| Event {
        warning: true,
        reason: "DriftDetected",
        note: note(DRIFT, drift.iter().map(ToString::to_string)),
    })
}

/// An event when `Ready` changes to something that is not good. Drift has events of its own.
pub(crate) fn failure_event(
    status: &BucketReplicationStatus,
    previous: &BucketReplicationStatus,
    reason: Reason,
) -> Option<Event> {
    // Both messages are compared in the words of an event: a changed link, or the room that it takes, is no news.
    let ready = |s: &BucketReplicationStatus| {
        let ready = s.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str());
        ready.map(|c| (c.reason.clone(), clip(unlinked(&c.message))))
    };
    let now = ready(status)?;
    let quiet = matches!(reason, Reason::Applied | Reason::Progressing | Reason::Drifted);
    (!quiet && Some(&now) != ready(previous).as_ref()).then(|| Event {
        warning: reason != Reason::Suspended,
        reason: reason.as_str(),
        note: now.1,
    })
}
