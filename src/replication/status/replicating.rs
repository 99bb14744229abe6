//! The condition `Replicating`: whether objects arrive, which is independent of whether the settings are right.
//!
//! In: a check, or what stopped it, and the evidence. Out: a draft of the condition, and `status.health`.

use crate::api::{ConditionType, HealthStatus, ReadyStatus};
use crate::replication::health::Judged;
use crate::replication::refusal::Refusal;
use crate::replication::status::builder::StatusBuilder;
use crate::replication::status::conditions::ConditionDraft;

/// What the evidence shows at the end of a check.
pub(crate) fn observed(builder: &StatusBuilder<'_>) -> (ConditionDraft, Option<HealthStatus>) {
    let spec = builder.input.replication.spec;
    let Judged { reason, message, health } = builder.context.judge(spec, None);
    (ConditionDraft::new(ConditionType::Replicating, status_of(reason), reason, message), health)
}

/// The operator could not find out: the last verdict stays in `status.health`.
pub(crate) fn unobserved(refusal: &Refusal) -> ConditionDraft {
    let Refusal { reason, message, .. } = refusal;
    ConditionDraft::new(ConditionType::Replicating, ReadyStatus::Unknown, *reason, message.clone())
}

/// A reason that other conditions have too says here that the operator could not find out.
fn status_of(reason: crate::api::Reason) -> ReadyStatus {
    if reason.is_about_arrival() { reason.ready() } else { ReadyStatus::Unknown }
}
