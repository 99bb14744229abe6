//! Turns drafts into conditions.
//!
//! In: a draft of each condition, and the previous conditions. Out: conditions whose transition times move only when
//! their status does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{ConditionType, ReadyStatus, Reason};
use crate::replication::status::truncate::{MAX_MESSAGE, clip_to};

/// A condition before it has times.
pub(crate) struct ConditionDraft {
    pub(crate) about: ConditionType,
    pub(crate) status: ReadyStatus,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

impl ConditionDraft {
    pub(crate) fn new(
        about: ConditionType,
        status: ReadyStatus,
        reason: Reason,
        message: impl Into<String>,
    ) -> ConditionDraft {
        ConditionDraft { about, status, reason, message: message.into() }
    }
}

/// The facts that the times of conditions depend on.
pub(crate) struct Transition<'a> {
    pub(crate) previous: &'a [Condition],
    pub(crate) generation: Option<i64>,
    pub(crate) now: Timestamp,
}

/// Puts times on conditions: one that keeps its status keeps its time. `Reconciling` and `Stalled` are
/// there only while true.
pub(crate) fn conditions(
    drafts: Vec<ConditionDraft>,
    reason: Reason,
    transition: &Transition<'_>,
) -> Vec<Condition> {
    let ready = drafts.first().map(|f| f.message.clone()).unwrap_or_default();
    let pace = match reason {
        r if r.ready() == ReadyStatus::True || r == Reason::Suspended => None,
        r if r.is_transient() => Some(ConditionType::Reconciling),
        _ => Some(ConditionType::Stalled),
    };
    let pace = pace.map(|about| ConditionDraft::new(about, ReadyStatus::True, reason, ready));
    drafts.into_iter().chain(pace).map(|draft| dated(draft, transition)).collect()
}

/// Puts times on one condition.
pub(crate) fn dated(draft: ConditionDraft, transition: &Transition<'_>) -> Condition {
    let ConditionDraft { about, status, reason, message } = draft;
    let status = status.as_str();
    let before = transition.previous.iter().find(|c| c.type_ == about.as_str());
    let unchanged =
        before.filter(|c| c.status == status && c.last_transition_time.0 != Timestamp::UNIX_EPOCH);
    Condition {
        type_: about.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: clip_to(&message, MAX_MESSAGE),
        observed_generation: transition.generation,
        last_transition_time: unchanged.map_or(Time(transition.now), |c| c.last_transition_time.clone()),
    }
}
