//! Writes what a reconcile reports, and decides when the backfill is reconciled again.
//!
//! In: a status, a reason and a message. Out: the status and events in Kubernetes, only where they differ from what is
//! there, and the action.

use std::time::Duration;

use serde_json::json;

use crate::api::{Reason, ReplicationBackfillStatus};
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cluster, ClusterError, StatusField};
use crate::replication::Refusal;
use crate::replication::backfill::BackfillReported;
use crate::replication::backfill::deleted_status::with_unreadable;
use crate::replication::backfill::status::report;
use crate::runtime::Error;
use crate::runtime::action::Action;

/// Keeps something in the status before the next step: the conditions stay as they are.
///
/// # Errors
/// The status was not written, so that nothing that depends on it may be done. The backfill may be gone.
pub async fn save<C, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    status: ReplicationBackfillStatus,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    let written = write(subject, status, cx).await;
    written
        .map_err(|error| if error.is_gone() || error.is_overtaken() { Stop::Outdated } else { error.into() })
}

/// Reports that the backfill goes on, and comes back after a pause.
///
/// # Errors
/// The API server did not take the status.
pub async fn go_on<C, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    reason: Reason,
    message: &str,
    pause: Duration,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let now = cx.shared.clock.now();
    cx.memory.succeeded(&subject.key.uid);
    cx.memory.checked(&subject.key.uid, pause, now);
    let status = subject.status.clone();
    conclude(subject, status, (reason, message), cx).await?;
    Ok(Action::requeue(pause))
}

/// Reports a refusal.
///
/// # Errors
/// The API server did not take the status.
pub async fn refuse<C, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    refusal: &Refusal,
    until: Option<Duration>,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let Refusal { reason, message, about: _ } = refusal;
    let status = subject.status.clone();
    conclude(subject, status, (*reason, message), cx).await?;
    let interval = cx.shared.settings.interval.duration();
    let after = cx.memory.requeue_after(&subject.key.uid, *reason, interval);
    Ok(Action::requeue(until.map_or(after, |until| until + Duration::from_secs(1))))
}

/// Writes a status with this reason and message, and publishes events where the reason changed.
///
/// # Errors
/// The API server did not take the status.
pub async fn conclude<C, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    status: ReplicationBackfillStatus,
    ready: (Reason, &str),
    cx: &Context<C, K>,
) -> Result<(), Error> {
    let BackfillReported { status, events, reason } =
        report(status, &subject.status, ready, subject.context(cx));
    let (namespace, name) = (&subject.metadata.namespace, &subject.metadata.name);
    tracing::info!(namespace, name, reason = reason.as_str(), detail = ready.1, "backfill");
    match write(subject, status, cx).await {
        // There is nothing left to report on.
        Err(error) if error.is_gone() => {}
        written => written?,
    }
    for event in &events {
        cx.shared.cluster.publish_event(subject.key, event).await;
    }
    Ok(())
}

/// The fields by which the operator decides what to do next. A status is not written over one in which they differ from
/// what was read: a former leader's late write would hide that the backfill has ended, or which job and role it has.
fn decisive(subject: &BackfillObject<'_>) -> Vec<StatusField> {
    let ReplicationBackfillStatus { token, job_id, role, finished_at, .. } = &subject.status;
    let all = [
        ("token", json!(token)),
        ("jobId", json!(job_id)),
        ("role", json!(role)),
        ("finishedAt", json!(finished_at)),
    ];
    let as_held = |(field, value)| (field, subject.unreadable.get(field).cloned().unwrap_or(value));
    all.into_iter().map(as_held).filter(|_| !is_on(Mutant::EndOverwritten)).collect()
}

/// Writes a status that differs from the one that is there, if that is still the one that was read.
async fn write<C, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    mut status: ReplicationBackfillStatus,
    cx: &Context<C, K>,
) -> Result<(), ClusterError> {
    cx.shared.settings.runbooks.link(&mut status.conditions);
    if status == subject.status {
        return Ok(());
    }
    cx.memory.begin_write(&subject.key.uid, &status, cx.shared.clock.now());
    let read = decisive(subject);
    let document = with_unreadable(&status, &subject.unreadable);
    let written = cx.shared.cluster.set_status(subject.key, &document, &read).await;
    if written.is_err() {
        cx.memory.abandon_write(&subject.key.uid);
    }
    written?;
    subject.status = status;
    subject.unreadable.retain(|field, value| document.get(*field) == Some(value));
    Ok(())
}
