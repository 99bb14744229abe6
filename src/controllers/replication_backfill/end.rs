//! Ends a backfill: its role goes, and its result is kept.
//!
//! In: a verdict. Out: the end in the status. A role that cannot be deleted now stays in the status and is tried again;
//! the result is reported meanwhile. One that IAM does not show is searched for once more a minute later.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::ReplicationBackfillStatus;
use crate::controllers::replication_backfill::confirm::require_leading;
use crate::controllers::replication_backfill::connect::connect;
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::status::conclude;
use crate::controllers::replication_backfill::stop::Stop;
use crate::ports::{Cloud, Cluster};
use crate::replication::backfill::JobVerdict;
use crate::replication::backfill::role::{name_to_remove, removal};
use crate::replication::backfill::status::with_verdict;
use crate::replication::observed::SHOWN_AFTER;
use crate::replication::status::runbooks::unlinked;
use crate::replication::{Failure, FailureClass};
use crate::runtime::action::Action;

/// Ends a backfill.
///
/// # Errors
/// The API server did not take the status.
pub async fn end<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    verdict: &JobVerdict,
    terminated: Option<Timestamp>,
    cx: &Context<C, K>,
) -> Result<Action, Stop> {
    let removed = remove_role(subject, cx).await;
    let now = cx.shared.clock.timestamp();
    let mut status = with_verdict(subject.status.clone(), verdict, terminated, now);
    let mut message = verdict.message.clone();
    let mut wait = None;
    let stop = match removed {
        Ok(removed) => {
            wait = how_long_it_may_appear(removed, &status, cx);
            status.role = status.role.filter(|role| wait.is_some() || !role.managed);
            None
        }
        Err(Stop::Refused { refusal, until: _ }) => {
            message = format!("{message}; the role of the job is still to be deleted: {}", refusal.message);
            Some(refusal.reason)
        }
        Err(stop) => return Err(stop),
    };
    conclude(subject, status, (verdict.reason, &message), cx).await?;
    Ok(match stop {
        None => wait.map_or_else(Action::await_change, Action::requeue),
        Some(reason) => {
            let interval = cx.shared.settings.interval.duration();
            Action::requeue(cx.memory.requeue_after(&subject.key.uid, reason, interval))
        }
    })
}

/// Removes the role of a backfill whose result is kept already.
///
/// # Errors
/// As [`end`].
pub async fn remove_what_is_left<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    cx: &Context<C, K>,
) -> Result<Action, Stop> {
    let ready = |s: &ReplicationBackfillStatus| {
        let ready = s.conditions.iter().find(|condition| condition.type_ == "Ready")?;
        let reason = <crate::api::Reason as strum::VariantArray>::VARIANTS
            .iter()
            .find(|r| r.as_str() == ready.reason)?;
        let message =
            unlinked(&ready.message).split("; the role of the job is still").next().unwrap_or_default();
        Some(JobVerdict::ended(*reason, message))
    };
    let Some(verdict) = ready(&subject.status) else { return Ok(Action::await_change()) };
    end(subject, &verdict, None, cx).await
}

/// The end of the role that was made for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovedRole {
    /// It is deleted, or there is none of the operator's to delete.
    Gone,
    /// The status names it, and IAM does not show it: perhaps it was never created, or not yet.
    NotShown,
}

/// How long a role that IAM does not show may still appear, after a backfill ended: the request of a former leader may
/// be late, and IAM may answer from before it. The status names the role until then.
pub fn how_long_it_may_appear<C, K>(
    removed: RemovedRole,
    status: &ReplicationBackfillStatus,
    cx: &Context<C, K>,
) -> Option<Duration> {
    let ended = status.finished_at.as_ref().filter(|_| removed == RemovedRole::NotShown)?;
    let age = Duration::try_from(cx.shared.clock.timestamp().duration_since(ended.0)).unwrap_or_default();
    let left = SHOWN_AFTER.saturating_sub(age);
    (!left.is_zero()).then_some(left)
}

/// Deletes the role that was made for the job, if there is one. One of someone else's stays.
///
/// # Errors
/// AWS did not delete it.
pub async fn remove_role<C: Cloud, K: Cluster>(
    subject: &BackfillObject<'_>,
    cx: &Context<C, K>,
) -> Result<RemovedRole, Stop> {
    let name = name_to_remove(subject.status.role.as_ref());
    let Some((name, source)) = name.zip(subject.status.source.as_ref()) else {
        return Ok(RemovedRole::Gone);
    };
    let clients = connect(subject, source, cx).await?;
    let Some(shown) = cx.shared.cloud.read_role(&clients, name, false).await? else {
        return Ok(RemovedRole::NotShown);
    };
    // Whether it has a policy is not read: deleting one that is not there is no error.
    let held = crate::replication::ObservedRole { policy: Err(unread(name)), ..shown };
    for step in removal(Some(&held), &subject.id) {
        require_leading(cx)?;
        cx.shared.cloud.execute(&clients, &step).await?;
    }
    Ok(RemovedRole::Gone)
}

fn unread(name: &str) -> Failure {
    Failure::new(FailureClass::Unavailable, "iam:GetRolePolicy", name, "not read")
}
