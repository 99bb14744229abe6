//! Deletes a backfill: its job is ended and followed to its end, its role goes, and then the finalizer.
//!
//! In: an object with a deletion timestamp, decodable or not. Out: nothing of the backfill is left in AWS but what the
//! job did, or the finalizer stays and the status says why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize as _;
use serde_json::Value;

use crate::api::{
    ConditionType, FINALIZER, Reason, ReplicationBackfillSpec, ReplicationBackfillStatus, ReplicationRef,
};
use crate::controllers::replication_backfill::begin::{begin, source_of_parent};
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::end::{how_long_it_may_appear, remove_role};
use crate::controllers::replication_backfill::follow::follow;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::stop::Stop;
use crate::ports::{Cloud, Cluster, Finalizers};
use crate::replication::Refusal;
use crate::replication::backfill::deleted_status::DeletedStatus;
use crate::replication::backfill::request::description;
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
    let spec = subject.spec.cloned().unwrap_or_else(|| readable_spec(&part("spec")));
    read_status(subject, &part("status"), &spec, cx)?;
    let over = subject.status.finished_at.is_some();
    require_writes(subject, over, cx)?;
    if !over {
        let action = match subject.status.job_id.clone() {
            Some(id) => follow(subject, &id, cx).await?,
            None => begin(subject, &spec, cx).await?,
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

/// A spec as far as a deletion needs it. A backfill that is being deleted asks for nothing, but the replication that it
/// names knows where its job would be.
fn readable_spec(held: &Value) -> ReplicationBackfillSpec {
    let name = held.pointer("/replicationRef/name").and_then(Value::as_str).unwrap_or_default();
    let named = ReplicationRef { name: name.to_owned() };
    ReplicationBackfillSpec::deserialize(held)
        .unwrap_or_else(|_| ReplicationBackfillSpec { replication_ref: named, ..Default::default() })
}

/// Reads what the status says of the job and its role, where it can be read; the rest follows from the backfill and
/// from its replication.
fn read_status<C, K>(
    subject: &mut BackfillObject<'_>,
    held: &Value,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<(), Refusal> {
    // The API server's clock may be ahead.
    let deleted_at = subject.metadata.deletion_timestamp.as_ref();
    let deleted_at = deleted_at.map(|time| Time(time.0.min(cx.shared.clock.timestamp())));
    let mut found = DeletedStatus::read(held, &subject.id, deleted_at.as_ref());
    let lacks_source = found.lacks_source();
    if lacks_source {
        found.status.source = source_of_parent(subject, spec, cx);
    }
    let DeletedStatus { status, unreadable } = found.with_role(&subject.id);
    (subject.status, subject.unreadable) = (status, unreadable);
    if lacks_source && subject.status.source.is_none() {
        return Err(job_is_nowhere(subject, spec));
    }
    Ok(())
}

fn job_is_nowhere(subject: &BackfillObject<'_>, spec: &ReplicationBackfillSpec) -> Refusal {
    let message = format!(
        "cannot delete: there may be a job, and neither status.source nor BucketReplication {} says where; in the account and Region of the source bucket, cancel the job with the description {} and delete role {}, then remove the finalizer {FINALIZER}",
        spec.replication_ref.name,
        description(&subject.id),
        subject.id.backfill_role_name(),
    );
    Refusal::new(Reason::DeletionBlocked, ConditionType::Ready, message)
}
