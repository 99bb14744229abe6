//! Reports a check.
//!
//! In: a plan and its outcome. Out: the status and events. A message holds no time, no request id and nothing else that
//! differs between two identical tries, so that an unchanged state causes no write. The controllers write the status:
//! for a `BucketReplication` that is `controllers/bucket_replication/status.rs`.

mod announce;
mod aws_account;
mod builder;
pub(crate) mod conditions;
mod context;
mod events;
mod failed_step;
mod inventory;
mod replicating;
pub mod runbooks;
pub(crate) mod truncate;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{
    BucketReplicationSpec, BucketReplicationStatus, ConditionType, Correction, DriftEntry, Interval,
    MAX_DRIFT_ENTRIES, ManagementPolicy, ReadyStatus, Reason, handled_request,
};
use crate::mutants::{Mutant, is_on};
pub use crate::replication::outcome::{Contested, Outcome};
use crate::replication::plan::{Plan, PlanInput};
use crate::replication::refusal::Refusal;
pub use crate::replication::status::announce::{announce, announce_configuration};
use crate::replication::status::announce::{is_configured, is_unconfigured};
pub use crate::replication::status::aws_account::{ObservedAccount, account_status};
use crate::replication::status::builder::StatusBuilder;
use crate::replication::status::conditions::{ConditionDraft, conditions};
pub use crate::replication::status::context::StatusContext;
pub use crate::replication::status::events::Event;
use crate::replication::status::events::{adopted, drift_event, failure_event, written};
pub use crate::replication::status::replicating::{Replicating, replicating};
use crate::replication::status::truncate::list;
use crate::replication::step::Step;

/// The status and the events to write to Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusReport {
    pub status: BucketReplicationStatus,
    pub events: Vec<Event>,
    /// The reason of `Ready`.
    pub reason: Reason,
    /// Why AWS gave no answer to a read, even one that `Ready` does not need. The next check is then soon.
    pub unanswered: Option<Reason>,
}

impl StatusReport {
    /// The reason that decides when the next check is. A read without an answer is tried again soon, also where `Ready` waits
    /// for an interval.
    pub fn reason_of_next_check(&self) -> Reason {
        let waits = !self.reason.is_transient() && !self.reason.is_foreign();
        self.unanswered.filter(|_| waits).unwrap_or(self.reason)
    }
}

/// Reports a check that was observed and planned, and perhaps applied.
pub fn report(
    input: &PlanInput<'_>,
    plan: &Plan,
    outcome: &Outcome,
    context: &StatusContext<'_>,
) -> StatusReport {
    let StatusContext { previous, now, .. } = *context;
    let (settled, remaining): (Vec<DriftEntry>, Vec<DriftEntry>) =
        plan.differences.iter().cloned().partition(|d| plan.is_settled(d, outcome));
    let builder = StatusBuilder { input, plan, outcome, context, remaining: &remaining };

    let mut ready = builder.ready();
    if let Some(Interval(shortest)) = context.raised_interval {
        let raised = format!(
            "; AWS is checked every {shortest} and not at spec.interval, because the operator's --min-interval is {shortest}"
        );
        ready.message.push_str(&raised);
    }
    let reason = ready.reason;
    let room = room_for_drift(input.replication.spec);
    let corrected = (plan.drift && !settled.is_empty()).then(|| Correction {
        time: Time(now),
        count: count(&settled),
        items: settled.iter().take(room).cloned().collect(),
    });
    let last_correction = corrected.or_else(|| previous.last_correction.clone());
    let (replicating, health) = replicating::observed(&builder, last_correction.as_ref());
    let drafts = vec![
        ready,
        builder.versioning(),
        builder.role(),
        builder.replication(),
        builder.in_sync(),
        replicating,
    ];

    let mut status = previous.clone();
    status.health = health;
    status.observed_generation = context.generation;
    status.last_handled_request = context.requested.map(handled_request);
    status.conditions = conditions(drafts, reason, &context.transition());
    builder.describe(&mut status);
    if configured(&builder, &status) {
        status.configured_at = Some(Time(now));
    }
    let drift: &[DriftEntry] = if plan.drift { &remaining } else { &[] };
    status.drift = drift.iter().take(room).cloned().collect();
    status.drift_count = Some(count(drift));
    status.last_correction = last_correction;
    status.applied_hash = builder.applied_hash();

    let mut events = Vec::new();
    if !outcome.done.is_empty() {
        events.push(written(plan, outcome, &settled));
        events.extend(builder.adopted_role().and_then(|role| adopted(role, outcome)));
    }
    events.extend(drift_event(&status, previous, drift));
    events.extend(failure_event(&status, previous, reason));
    let about = ConditionType::Replicating.as_str();
    let arrival = status.conditions.iter().find(|condition| condition.type_ == about);
    events.extend(arrival.and_then(|condition| replicating::arrival_event(previous, condition)));
    let unanswered = input.observed.unanswered().map(|failure| failure.class.reason());
    StatusReport { status, events, reason, unanswered }
}

/// Whether the configuration was put since the previous report: by this check, or by one that reported nothing of it. Its
/// answer was lost, the process died, or the API server did not take its report.
fn configured(builder: &StatusBuilder<'_>, status: &BucketReplicationStatus) -> bool {
    let StatusBuilder { input, outcome, context, .. } = builder;
    let put = outcome.done.iter().any(|step| matches!(step, Step::PutReplication { .. }));
    let writes = input.replication.spec.management_policy == ManagementPolicy::Enforce;
    put || (writes && is_unconfigured(context.previous) && is_configured(status))
}

/// Reports what stops the operator before anything is observed: suspended, a conflict, no credentials.
pub fn stopped(refusal: &Refusal, context: &StatusContext<'_>) -> StatusReport {
    let Refusal { reason, message, about } = refusal;
    let mut status = match is_on(Mutant::RefusalForgets) {
        true => BucketReplicationStatus::default(),
        false => context.previous.clone(),
    };
    status.observed_generation = context.generation;
    if *reason != Reason::Suspended || is_on(Mutant::RequestHandledUnread) {
        // While suspended nothing is checked, so that no request to check is handled.
        status.last_handled_request = context.requested.map(handled_request);
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
    let replicating = replicating::unobserved(refusal);
    let drafts = std::iter::once(ready).chain(rest).chain([replicating]).collect();
    status.conditions = conditions(drafts, *reason, &context.transition());
    let events = failure_event(&status, context.previous, *reason).into_iter().collect();
    StatusReport { status, events, reason: *reason, unanswered: None }
}

/// A write of the operator from before which AWS still answers, or may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentWrite {
    pub writer: LastWriter,
    /// The destination buckets that it was about, besides the source and its role.
    pub destinations: BTreeSet<String>,
}

/// The process that wrote to AWS a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWriter {
    ThisProcess,
    /// One that led before this process did. Only AWS knows all that it wrote.
    FormerProcess,
}

/// Reports that AWS still answers, or may answer, from before a write of the operator; nothing where the status describes
/// the present spec already. The evidence about the objects stays, and a request is not handled yet.
pub fn unsettled(
    source: &str,
    RecentWrite { writer, destinations }: &RecentWrite,
    context: &StatusContext<'_>,
) -> Option<StatusReport> {
    let StatusContext { previous, generation, .. } = *context;
    let condition = |kind: ConditionType| previous.conditions.iter().find(|c| c.type_ == kind.as_str());
    let describes = |ready: &Condition| {
        let waits = [Reason::Progressing, Reason::Drifted].map(Reason::as_str);
        ready.status == "True" || waits.contains(&ready.reason.as_str())
    };
    if previous.observed_generation == generation && condition(ConditionType::Ready).is_some_and(describes) {
        return None;
    }
    let buckets = match destinations.len() {
        0 => format!("source bucket {source}"),
        1 => format!("source bucket {source} and destination bucket {}", list(destinations.iter().cloned())),
        _ => format!("source bucket {source} and destination buckets {}", list(destinations.iter().cloned())),
    };
    let message = match writer {
        LastWriter::ThisProcess => format!(
            "AWS still returns the state from before the operator's last write for {buckets}, which it may do for a minute; the operator reads it again automatically"
        ),
        LastWriter::FormerProcess => format!(
            "the operator started again a moment ago, and may have written for {buckets} just before: AWS may return the state from before that for a minute, and a permission that is in use could be taken away by it; the operator goes on automatically"
        ),
    };
    let refusal = Refusal::new(Reason::Progressing, ConditionType::Ready, message);
    let mut report = stopped(&refusal, context);
    report.status.last_handled_request.clone_from(&previous.last_handled_request);
    let suspended = Reason::Suspended.as_str();
    let arriving = condition(ConditionType::Replicating).filter(|c| c.reason != suspended);
    let of_now = report.status.conditions.iter_mut().find(|c| c.type_ == ConditionType::Replicating.as_str());
    if let (Some(of_now), Some(arriving)) = (of_now, arriving) {
        of_now.clone_from(arriving);
    }
    Some(report)
}

/// The most differences that a status lists. The API server keeps spec and status together in about 1.5 MB: a spec that
/// takes most of it leaves little room.
fn room_for_drift(spec: &BucketReplicationSpec) -> usize {
    const LARGE: usize = 512 * 1024;
    const FEW: usize = 10;
    let size = serde_json::to_vec(spec).map_or(0, |json| json.len());
    if size > LARGE { FEW } else { MAX_DRIFT_ENTRIES }
}

fn count(items: &[DriftEntry]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}
