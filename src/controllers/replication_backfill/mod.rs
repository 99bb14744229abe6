//! The controller of `ReplicationBackfill` resources: one reconcile begins the job, or checks it once.
//!
//! In: an object as the watch last saw it. Out: exactly one job in S3 for it, followed to its end, its status, and when to
//! reconcile it again.

mod authorize;
mod begin;
mod confirm;
mod connect;
pub mod context;
pub mod controller;
mod deletion;
mod end;
mod follow;
pub mod memory;
mod object;
mod status;
mod stop;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::Resource as _;
use kube::core::ObjectMeta;
use tracing::warn;

use crate::api::{BucketReplication, ConditionType, Reason, ReplicationBackfill};
use crate::controllers::GuardedBackfill;
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::stop::Stop;
use crate::ports::{Cloud, Cluster, ObjectKey};
use crate::replication::Refusal;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::store::Key;

/// The longest a reconcile may take: every call has a timeout of its own, this one is for all together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3 * 60);

/// Reconciles one object. A failure of AWS is reported in its status.
///
/// # Errors
/// The API server did not do what was asked of it.
pub async fn reconcile<C: Cloud, K: Cluster>(
    object: &GuardedBackfill,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let key = ObjectKey::new::<ReplicationBackfill>(object.meta());
    if is_of_another_operator(object, cx).await? {
        return Ok(Action::await_change());
    }
    let readable = object.0.as_ref().ok();
    let cached = readable.and_then(|backfill| backfill.status.as_ref());
    let mut subject = BackfillObject::new(&key, object.meta(), readable, cached, cx);
    let done = match &object.0 {
        _ if subject.is_deleted() => deletion::delete(&mut subject, cx).await,
        Ok(backfill) => advance(&mut subject, backfill, cx).await,
        Err(invalid) => Err(unreadable(&invalid.error).into()),
    };
    let concluded = match done {
        Ok(action) => Ok(action),
        Err(Stop::Refused { refusal, until }) => {
            let (namespace, name) = (&subject.metadata.namespace, &subject.metadata.name);
            let (reason, detail) = (refusal.reason.as_str(), refusal.message.as_str());
            warn!(namespace, name, reason, detail, "backfill waits");
            status::refuse(&mut subject, &refusal, until, cx).await
        }
        Err(Stop::Outdated) => Ok(begin_again(&key, cx)),
        Err(Stop::Kubernetes(error)) => {
            // The result of one that has ended stays: nothing would report it again.
            let is_over = subject.status.finished_at.is_some() && !subject.is_deleted();
            if error.is_denied() && !is_over {
                let refusal = Refusal::new(Reason::AccessDenied, ConditionType::Ready, error.to_string());
                // It may be this very write that is denied. The error is logged in either case.
                let _ = status::refuse(&mut subject, &refusal, None, cx).await;
            }
            Err(error)
        }
    };
    match concluded {
        // The report was made from a status that is not there any more.
        Err(error) if error.is_overtaken() => Ok(begin_again(&key, cx)),
        concluded => concluded,
    }
}

/// Whether another operator works on the replication that a backfill refers to. Backfills need no labels, so that each
/// operator with a selector watches all of them, and works on those of its own replications. If this one begins to work on
/// the replication, the watch of replications has the backfill reconciled again.
async fn is_of_another_operator<C, K: Cluster>(
    object: &GuardedBackfill,
    cx: &Context<C, K>,
) -> Result<bool, Error> {
    let Ok(backfill) = &object.0 else { return Ok(false) };
    let named = ObjectMeta {
        name: Some(backfill.spec.replication_ref.name.clone()),
        namespace: object.meta().namespace.clone(),
        ..ObjectMeta::default()
    };
    if cx.shared.settings.selector.is_none() || cx.shared.index.replications.contains(&Key::of(&named)) {
        return Ok(false);
    }
    // Of one that exists for no operator, each of them reports the same.
    Ok(cx.shared.cluster.exists(&ObjectKey::new::<BucketReplication>(&named)).await?)
}

/// The cache was behind: a reconcile that begins soon sees the object as it is.
fn begin_again<C, K>(key: &ObjectKey, cx: &Context<C, K>) -> Action {
    let interval = cx.shared.settings.interval.duration();
    Action::requeue(cx.memory.requeue_after(&key.uid, Reason::Progressing, interval))
}

/// Does the next thing that a backfill needs.
async fn advance<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    backfill: &ReplicationBackfill,
    cx: &Context<C, K>,
) -> Result<Action, Stop> {
    if subject.status.finished_at.is_some() {
        let left = subject.status.role.as_ref().is_some_and(|role| role.managed);
        return match left || subject.is_changed() {
            true => end::remove_what_is_left(subject, cx).await,
            false => Ok(Action::await_change()),
        };
    }
    match subject.status.job_id.clone() {
        Some(id) => follow::follow(subject, &id, cx).await,
        None => begin::begin(subject, &backfill.spec, cx).await,
    }
}

fn unreadable(error: &str) -> Refusal {
    let message = format!("this resource cannot be read: {error}; delete it and create it again");
    Refusal::new(Reason::InvalidSpec, ConditionType::Ready, message)
}
