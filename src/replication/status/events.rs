//! What is told as an event, and when it is told again.

use crate::api::{BucketReplicationStatus, ConditionType, DriftEntry, Reason};
use crate::replication::plan::Plan;
use crate::replication::status::text::{clip, describe, note};
use crate::replication::status::{Event, Outcome};
use crate::replication::step::Step;

pub(crate) fn written(plan: &Plan, outcome: &Outcome, settled: &[DriftEntry]) -> Event {
    let steps = note("wrote to AWS", outcome.done.iter().map(Step::to_string));
    if plan.drift && !settled.is_empty() {
        let corrected = note("corrected", settled.iter().map(describe));
        return Event {
            warning: true,
            reason: "DriftCorrected",
            note: clip(&format!("{corrected}; {steps}")),
        };
    }
    Event { warning: false, reason: "Applied", note: steps }
}

/// An event when `Ready` says something new that is not good; what the drift events tell is not told twice.
pub(crate) fn failure_event(
    status: &BucketReplicationStatus,
    previous: &BucketReplicationStatus,
    reason: Reason,
) -> Option<Event> {
    let said = |s: &BucketReplicationStatus| {
        s.conditions
            .iter()
            .find(|c| c.type_ == ConditionType::Ready.as_str())
            .map(|c| (c.reason.clone(), c.message.clone()))
    };
    let now = said(status)?;
    let quiet = matches!(reason, Reason::Applied | Reason::Progressing | Reason::Drifted);
    (!quiet && Some(&now) != said(previous).as_ref()).then(|| Event {
        warning: reason != Reason::Suspended,
        reason: reason.as_str(),
        note: clip(&now.1),
    })
}
