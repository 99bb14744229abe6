//! Deletes a backfill: its job is ended and followed to its end, its role goes, and then the finalizer.
//!
//! In: an object with a deletion timestamp, decodable or not. Out: nothing of the backfill is left in AWS but what the job
//! did, or the finalizer stays and the status says why.

use serde_json::Value;

use crate::api::{ConditionType, FINALIZER, Reason, ReplicationBackfillStatus};
use crate::controllers::replication_backfill::begin::begin;
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::end::{how_long_it_may_appear, remove_role};
use crate::controllers::replication_backfill::follow::follow;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::stop::Stop;
use crate::ports::{Cloud, Cluster, Finalizers};
use crate::replication::Refusal;
use crate::runtime::action::Action;

/// Cleans up and removes the finalizer; keeps it and reports why when that is not possible.
///
/// # Errors
/// Why the backfill is still there.
pub async fn delete<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    cx: &Context<C, K>,
) -> Result<Action, Stop> {
    if !subject.has_finalizer() {
        return Ok(Action::await_change());
    }
    // The cache may be behind the operator's own writes: the live object decides what is ended.
    let Some(live) = cx.shared.cluster.live(subject.key).await? else { return Ok(Action::await_change()) };
    // Someone else removed the finalizer, and thereby took over the rest in AWS.
    let held = Finalizers::of(&live.metadata);
    if !held.contains(FINALIZER) {
        return Ok(Action::await_change());
    }
    let part = |name: &str| live.data.get(name).cloned().unwrap_or_default();
    subject.status = decode::<ReplicationBackfillStatus>(part("status")).unwrap_or_default();
    let over = subject.status.finished_at.is_some();
    require_writes(subject, over, cx)?;
    if !over {
        // The spec is not needed any more: a backfill that is being deleted asks for nothing.
        let none = Default::default();
        let action = match subject.status.job_id.clone() {
            Some(id) => follow(subject, &id, cx).await?,
            None => begin(subject, subject.spec.unwrap_or(&none), cx).await?,
        };
        if subject.status.finished_at.is_none() {
            return Ok(action);
        }
    }
    let removed = remove_role(subject, cx).await?;
    if let Some(left) = how_long_it_may_appear(removed, &subject.status, cx) {
        return Ok(Action::requeue(left));
    }
    match cx.shared.cluster.remove_finalizer(subject.key, &held, FINALIZER).await {
        Err(error) if error.is_outdated() => return Err(Stop::Outdated),
        result => result?,
    }
    cx.memory.forget(&subject.key.uid);
    Ok(Action::await_change())
}

/// An operator that writes nothing cannot end a job and cannot delete a role.
fn require_writes<C, K>(subject: &BackfillObject<'_>, over: bool, cx: &Context<C, K>) -> Result<(), Refusal> {
    let ReplicationBackfillStatus { job_id, token, role, .. } = &subject.status;
    let job = !over && (job_id.is_some() || token.is_some());
    if !cx.shared.settings.read_only || !(job || role.as_ref().is_some_and(|role| role.managed)) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::DeletionBlocked,
        ConditionType::Ready,
        "cannot delete: the operator runs with --read-only and neither ends a job nor deletes its role; restart it without the flag".to_owned(),
    ))
}

fn decode<T: serde::de::DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}
