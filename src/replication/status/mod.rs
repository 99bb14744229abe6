//! Plan + outcome → status and events. What is said holds no time, no request id and nothing else that differs
//! between two identical tries, so that an unchanged truth causes no write.

mod aws_account;
mod builder;
mod conditions;
mod events;
mod inventory;
mod text;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    BucketReplicationStatus, ConditionType, Correction, DriftEntry, MAX_DRIFT_ENTRIES, ReadyStatus, Reason,
};
use crate::replication::failure::Failure;
use crate::replication::plan::{Plan, PlanInput};
use crate::replication::refusal::Refusal;
pub use crate::replication::status::aws_account::account_status;
use crate::replication::status::builder::StatusBuilder;
use crate::replication::status::conditions::{ConditionDraft, Since, conditions};
use crate::replication::status::events::{failure_event, written};
use crate::replication::status::text::{describe, note};
use crate::replication::step::Step;

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub done: Vec<Step>,
    pub failed: Option<(Step, Failure)>,
    /// The operator was asked to stop before all steps were done.
    pub interrupted: bool,
    /// Another tool keeps changing what the operator corrects: nothing was done this time.
    pub held_back: Option<Contested>,
}

/// Fields that were corrected again and again within an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Contested {
    /// What is left as it is for now.
    pub differences: Vec<DriftEntry>,
    pub corrections: usize,
}

/// What a report is made for.
#[derive(Clone, Copy, Debug)]
pub struct StatusContext<'a> {
    pub generation: Option<i64>,
    /// The value of the annotation that asked for this check.
    pub requested: Option<&'a str>,
    pub previous: &'a BucketReplicationStatus,
    pub now: Timestamp,
}

impl StatusContext<'_> {
    fn since(&self) -> Since<'_> {
        Since { previous: &self.previous.conditions, generation: self.generation, now: self.now }
    }
}

/// What is to be written to Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub status: BucketReplicationStatus,
    pub events: Vec<Event>,
    /// The reason of `Ready`, which decides when to look again.
    pub reason: Reason,
}

/// An event on the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub warning: bool,
    pub reason: &'static str,
    pub note: String,
}

/// Reports a check that was observed and planned, and perhaps applied.
pub fn report(input: &PlanInput<'_>, plan: &Plan, outcome: &Outcome, occasion: &StatusContext<'_>) -> Report {
    let StatusContext { previous, now, .. } = *occasion;
    let (settled, remaining): (Vec<DriftEntry>, Vec<DriftEntry>) =
        plan.differences.iter().cloned().partition(|d| outcome.done.iter().any(|step| step.settles(d)));
    let view = StatusBuilder { input, plan, outcome, previous, remaining: &remaining };

    let ready = view.ready();
    let reason = ready.reason;
    let findings = vec![ready, view.versioning(), view.role(), view.replication(), view.in_sync()];

    let mut status = previous.clone();
    status.observed_generation = occasion.generation;
    status.last_handled_request = occasion.requested.map(str::to_owned);
    status.conditions = conditions(findings, reason, &occasion.since());
    view.describe(&mut status);
    let drift: &[DriftEntry] = if plan.drift { &remaining } else { &[] };
    status.drift = drift.iter().take(MAX_DRIFT_ENTRIES).cloned().collect();
    status.drift_count = Some(count(drift));
    if plan.drift && !settled.is_empty() {
        status.last_correction = Some(Correction {
            time: Time(now),
            count: count(&settled),
            items: settled.iter().take(MAX_DRIFT_ENTRIES).cloned().collect(),
        });
    }
    status.applied_hash = view.applied_hash();

    let mut events = Vec::new();
    if !outcome.done.is_empty() {
        events.push(written(plan, outcome, &settled));
    }
    if !drift.is_empty() && status.drift != previous.drift {
        events.push(Event {
            warning: true,
            reason: "DriftDetected",
            note: note("AWS differs from the spec", drift.iter().map(describe)),
        });
    }
    events.extend(failure_event(&status, previous, reason));
    Report { status, events, reason }
}

/// Reports what stops the operator before anything is observed: suspended, a conflict, no credentials.
pub fn stopped(refusal: &Refusal, occasion: &StatusContext<'_>) -> Report {
    let Refusal { reason, message, about } = refusal;
    let mut status = occasion.previous.clone();
    status.observed_generation = occasion.generation;
    if *reason != Reason::Suspended {
        // While suspended nothing is checked, so that no request to check is handled.
        status.last_handled_request = occasion.requested.map(str::to_owned);
    }
    let rest = [
        ConditionType::VersioningReady,
        ConditionType::RoleReady,
        ConditionType::ReplicationReady,
        ConditionType::InSync,
    ];
    let ready = ConditionDraft::new(ConditionType::Ready, reason.ready(), *reason, message.clone());
    let rest = rest.into_iter().map(|c| {
        let status = if c == *about { reason.ready() } else { ReadyStatus::Unknown };
        ConditionDraft::new(c, status, *reason, message.clone())
    });
    status.conditions = conditions(std::iter::once(ready).chain(rest).collect(), *reason, &occasion.since());
    let events = failure_event(&status, occasion.previous, *reason).into_iter().collect();
    Report { status, events, reason: *reason }
}

fn count(items: &[DriftEntry]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}
