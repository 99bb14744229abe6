//! Writes the status and the events of a reconcile, and decides when the resource is reconciled again.
//!
//! In: a report and the previous status. Out: the writes to Kubernetes, and the action. A status that equals the
//! previous one is not written. `replication/status/` therefore keeps times out of messages, and
//! `replication/health/figures.rs` rounds figures.

use std::time::Duration;

use kube::core::DynamicObject;
use serde_json::json;

use crate::api::{BucketReplicationStatus, FINALIZER, Reason};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::resource::{ReplicationObject, Resource};
use crate::controllers::bucket_replication::stop::Stop;
use crate::controllers::status_summary::has_read_aws;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cluster, ClusterError};
use crate::replication::Refusal;
use crate::replication::status::{RecentWrite, StatusReport, stopped, unsettled};
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::turns;

/// How soon a resource may be reconciled again.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// How often AWS is checked when all is well.
    pub interval: Duration,
    /// Earlier than the reason of the report alone would have it.
    pub retry: Option<Duration>,
}

impl Schedule {
    pub fn every(interval: Duration) -> Schedule {
        Schedule { interval, retry: None }
    }
}

/// Writes a report and decides when to come back.
pub async fn conclude<C, K: Cluster>(
    target: &ReplicationObject<'_>,
    previous: &BucketReplicationStatus,
    report: &StatusReport,
    schedule: Schedule,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    publish(target, previous, report, cx).await?;
    let is_over = is_on(Mutant::NotCheckedAgain) && report.reason.is_foreign();
    if report.reason == Reason::Suspended || is_over {
        return Ok(Action::await_change());
    }
    let turn = turns::after_check(&target.key.uid, schedule.interval, cx.clock.since_epoch());
    let after = target.memory.after_check(report.reason_of_next_check(), schedule.interval, turn);
    Ok(Action::requeue(schedule.retry.map_or(after, |retry| retry.min(after))))
}

/// Reports a refusal.
pub async fn refuse<C, K: Cluster>(
    target: &ReplicationObject<'_>,
    previous: &BucketReplicationStatus,
    refusal: &Refusal,
    schedule: Schedule,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    // Where AWS did not answer, a reading may find that too.
    if !refusal.reason.is_no_answer() {
        cx.evidence.forget(&target.key.uid);
    }
    let report = stopped(refusal, &target.status_context(previous, cx));
    conclude(target, previous, &report, schedule, cx).await
}

/// AWS still answers, or may answer, from before a write of the operator. A status that describes the present spec stays as it is,
/// any other one says that the operator waits. A request stays open until a check answers it.
pub async fn await_aws<C, K: Cluster>(
    resource: &Resource<'_>,
    pause: Duration,
    write: &RecentWrite,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let Resource { target, status, .. } = resource;
    let source = &resource.spec.source.bucket;
    if let Some(report) = unsettled(source, write, &target.status_context(status, cx)) {
        publish(target, status, &report, cx).await?;
    }
    Ok(Action::requeue(pause))
}

async fn publish<C, K: Cluster>(
    target: &ReplicationObject<'_>,
    previous: &BucketReplicationStatus,
    report: &StatusReport,
    cx: &Context<C, K>,
) -> Result<(), Error> {
    cx.tracker.record_reason(&target.key.uid, report.reason, has_read_aws(report.reason));
    match write(target, previous, &report.status, cx).await {
        // There is nothing left to report on.
        Err(error) if error.is_gone() => {}
        written => written?,
    }
    for event in &report.events {
        cx.cluster.publish_event(target.key, event).await;
    }
    Ok(())
}

/// Writes what the operator is about to make into the status, if the status does not name it yet.
///
/// # Errors
/// It was not written, so that the operator may not make it. The object may be gone.
pub async fn write_ahead<C, K: Cluster>(
    target: &ReplicationObject<'_>,
    previous: &BucketReplicationStatus,
    status: &BucketReplicationStatus,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    // A former leader would have added the finalizer before it wrote anything. Where this check had to add it, the API server
    // has confirmed that nobody did.
    let written = match target.metadata.finalizers.iter().flatten().any(|held| held == FINALIZER) {
        true => write(target, previous, status, cx).await,
        false => replace(target, previous, status, cx).await,
    };
    written
        .map_err(|error| if error.is_gone() || error.is_conflict() { Stop::Outdated } else { error.into() })
}

/// Writes a status, if the API server still has the one that it is made from.
async fn write<C, K: Cluster>(
    target: &ReplicationObject<'_>,
    previous: &BucketReplicationStatus,
    status: &BucketReplicationStatus,
    cx: &Context<C, K>,
) -> Result<(), ClusterError> {
    let differs = linked(status, cx) != *previous;
    let may_be_behind = target.memory.may_be_behind(target.metadata, cx.clock.now());
    if differs && may_be_behind && !is_on(Mutant::UnseenStatusOverwritten) {
        require_newest(target, previous, cx).await?;
    }
    replace(target, previous, status, cx).await
}

/// A status with links to the pages of its reasons.
fn linked<C, K>(status: &BucketReplicationStatus, cx: &Context<C, K>) -> BucketReplicationStatus {
    let mut status = status.clone();
    cx.settings.runbooks.link(&mut status.conditions);
    status
}

/// Writes a status that differs from the previous one, with links to the pages of its reasons.
async fn replace<C, K: Cluster>(
    target: &ReplicationObject<'_>,
    previous: &BucketReplicationStatus,
    status: &BucketReplicationStatus,
    cx: &Context<C, K>,
) -> Result<(), ClusterError> {
    let status = linked(status, cx);
    let may_differ = target.memory.is_status_unsure() && !is_on(Mutant::LostStatusForgotten);
    if status == *previous && !may_differ {
        return Ok(());
    }
    let earlier = target.memory.begin_write(&status, cx.clock.now());
    let written = cx.cluster.set_status(target.key, &json!(status), &[]).await;
    if let Err(error) = &written {
        target.memory.abandon_write(earlier, !error.is_denied() && !error.is_outdated());
    }
    written
}

/// Soon after a term began: the status that the new one is made from is the one that the API server has. The status of
/// the former leader names the resources that it made in AWS, and must not be lost.
async fn require_newest<C, K: Cluster>(
    target: &ReplicationObject<'_>,
    previous: &BucketReplicationStatus,
    cx: &Context<C, K>,
) -> Result<(), ClusterError> {
    let Some(live) = cx.cluster.live(target.key).await? else { return Ok(()) };
    if has_other_status(&live, previous) { Err(ClusterError::conflict("write the status")) } else { Ok(()) }
}

/// Whether the API server has another status than this one. One that cannot be read is replaced.
pub fn has_other_status(live: &DynamicObject, status: &BucketReplicationStatus) -> bool {
    let held = live.data.get("status").cloned().unwrap_or_else(|| json!({}));
    serde_json::from_value::<BucketReplicationStatus>(held).is_ok_and(|held| held != *status)
}
