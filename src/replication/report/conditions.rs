//! Findings, and the conditions they become.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::words::{MAX_MESSAGE, clip_to};
use crate::api::{ConditionType, ReadyStatus, Reason};

/// How long what may pass by itself is waited for, before it counts as waiting for someone: as long as a Deployment's
/// `progressDeadlineSeconds`. Whoever waits for a resource would otherwise see progress for ever.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// A condition before it has times.
pub(super) struct Finding {
    pub(super) about: ConditionType,
    pub(super) status: ReadyStatus,
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn new(
        about: ConditionType,
        status: ReadyStatus,
        reason: Reason,
        message: impl Into<String>,
    ) -> Finding {
        Finding { about, status, reason, message: message.into() }
    }
}

/// What conditions follow upon.
pub(super) struct Since<'a> {
    pub(super) previous: &'a [Condition],
    pub(super) generation: Option<i64>,
    pub(super) now: Timestamp,
}

impl Since<'_> {
    /// Whether this generation has been tried for so long that someone should look, though it is tried again.
    fn is_overdue(&self) -> bool {
        let transient = |reason: &str| Reason::ALL.iter().any(|r| r.as_str() == reason && r.is_transient());
        self.previous.iter().filter(|c| c.observed_generation == self.generation).any(|c| {
            if c.type_ == ConditionType::Reconciling.as_str() {
                self.now.duration_since(c.last_transition_time.0) >= PATIENCE
            } else {
                // It was overdue before.
                c.type_ == ConditionType::Stalled.as_str() && transient(&c.reason)
            }
        })
    }
}

/// Puts times on findings: a condition that keeps its status keeps its time, and `Reconciling` begins anew with each
/// generation. It and `Stalled` are there only while true.
pub(super) fn conditions(findings: Vec<Finding>, reason: Reason, since: &Since<'_>) -> Vec<Condition> {
    let ready = findings.first().map(|f| f.message.clone()).unwrap_or_default();
    let pace = match reason {
        Reason::Applied | Reason::Verified | Reason::Suspended => None,
        r if r.is_transient() && !since.is_overdue() => Some(ConditionType::Reconciling),
        _ => Some(ConditionType::Stalled),
    };
    let pace = pace.map(|about| Finding::new(about, ReadyStatus::True, reason, ready));
    findings
        .into_iter()
        .chain(pace)
        .map(|Finding { about, status, reason, message }| {
            let status = match status {
                ReadyStatus::True => "True",
                ReadyStatus::False => "False",
                ReadyStatus::Unknown => "Unknown",
            };
            let before = since.previous.iter().find(|c| c.type_ == about.as_str());
            let unchanged = before.filter(|c| {
                c.status == status
                    && c.last_transition_time.0 != Timestamp::UNIX_EPOCH
                    && (about != ConditionType::Reconciling || c.observed_generation == since.generation)
            });
            Condition {
                type_: about.as_str().to_owned(),
                status: status.to_owned(),
                reason: reason.as_str().to_owned(),
                message: clip_to(&message, MAX_MESSAGE),
                observed_generation: since.generation,
                last_transition_time: unchanged.map_or(Time(since.now), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}
