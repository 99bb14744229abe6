//! The controller of `BucketReplication` resources: one reconcile is a check, or a deletion.
//!
//! In: an object as the watch last saw it. Out: AWS as its spec asks for, its status, and when to reconcile it again.

mod announce;
mod apply;
pub mod authorize;
pub mod bucket_locks;
mod canary;
pub mod check;
pub mod connect;
pub mod contents;
pub mod context;
pub mod controller;
mod deletion;
pub mod deletion_view;
pub mod evidence_store;
pub mod execute;
pub mod failure_events;
pub mod flapping;
pub mod fleet_snapshot;
mod hold_back;
mod likely_cause;
pub mod memory;
mod metrics_watch;
pub mod old_answers;
mod prepare;
mod record;
pub mod request_limit;
pub mod resource;
pub mod source_ownership;
pub mod status;
pub mod stop;
pub mod successors;
pub mod sweep;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kube::Resource as _;

use crate::api::{BucketReplication, BucketReplicationSpec, ConditionType, Reason};
use crate::controllers::Guarded;
use crate::controllers::bucket_replication::check::{Checked, check};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::resource::{ReplicationObject, Resource};
use crate::controllers::bucket_replication::status::{Schedule, await_aws, conclude, refuse};
use crate::controllers::bucket_replication::stop::Stop;
use crate::controllers::status_summary::ready_reason;
use crate::ports::{Cloud, Cluster, ObjectKey};
use crate::replication::Refusal;
use crate::replication::authorize::labels_matter;
use crate::replication::events::Answer;
use crate::replication::readable_status::read_status;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::queue::Urgency;
use crate::runtime::store::Key;

/// The longest a reconcile may take: every call has a timeout of its own, this one is for all together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// Reconciles one object. A failure of AWS is reported in its status. `urgency`: why it is due.
///
/// # Errors
/// The API server did not do what was asked of it.
pub async fn reconcile<C: Cloud, K: Cluster>(
    object: &Guarded,
    urgency: Urgency,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let key = ObjectKey::new::<BucketReplication>(object.meta());
    let memory = cx.memory.begin(&key.uid);
    cx.events.pass_by(object);
    if let Ok(resource) = &object.0 {
        canary::expect(resource, &key.uid, cx);
    }
    let evidence = metrics_watch::evidence(&key.uid, &Key::of(object.meta()), cx);
    let target =
        ReplicationObject { metadata: object.meta(), key: &key, memory: &memory, evidence: &evidence };
    let result = match &object.0 {
        _ if target.metadata.deletion_timestamp.is_some() => deletion::finalize(&target, cx).await,
        Ok(resource) => {
            let key = Key::of(target.metadata);
            let events = cx.events.begin_check(&key);
            let resource = Resource { events, ..Resource::new(resource, target, cx) };
            let (result, answer) = reconcile_resource(&resource, urgency, cx).await;
            cx.events.end_check(&key, &resource.events, answer);
            result
        }
        Err(invalid) => refuse_unreadable(&target, &invalid.error, cx).await,
    };
    if let (Err(error), Ok(resource)) = (&result, &object.0)
        && error.is_denied()
    {
        report_missing_right(&Resource::new(resource, target, cx), error, cx).await;
    }
    result
}

/// Also returns what the check answers to the events that caused it.
async fn reconcile_resource<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    urgency: Urgency,
    cx: &Context<C, K>,
) -> (Result<Action, Error>, Answer) {
    let Resource { target, status: previous, spec, events, .. } = resource;
    let own = cx.settings.own_interval(spec.interval.as_ref());
    let interval = own.unwrap_or(&cx.settings.interval).duration();
    if let Some(wait) = resource.delay_request(cx) {
        return (Ok(Action::requeue(wait)), Answer::Postponed);
    }
    let fresh = resource.wants_fresh_reads();
    // A canary may be due before the check that an event waits for. Its trigger then replaces the trigger of that
    // check.
    let unasked = urgency == Urgency::Periodic && !resource.is_asked_for() && !events.are_cause;
    // A check that only time asks for waits until the watch shows the operator's own writes. An API server that lags
    // needs no further requests.
    if unasked && target.memory.awaits_watch(cx.clock.now()) {
        let pause = target.memory.requeue_after(Reason::Progressing, interval);
        return (Ok(Action::requeue(pause)), Answer::Postponed);
    }
    if unasked && target.memory.only_canaries_are_due(cx.clock.now()) {
        return (go_on_with_canaries(resource, cx).await, Answer::Postponed);
    }
    target.memory.check_begins();
    match check(resource, cx).await {
        Ok(checked) => {
            let interval = match depends_on_labels(resource, cx) {
                true => interval,
                false => cx.events.interval(own, &cx.settings.interval, &checked.report.status, events),
            };
            let schedule = Schedule { interval, retry: checked.retry };
            (conclude_with_canaries(resource, &checked, schedule, fresh, cx).await, checked.answer)
        }
        Err(Stop::Refused(refusal)) => {
            let schedule = Schedule::every(interval);
            // The check may have written a newer status, which names what it was about to make and may have made
            // without an answer.
            let last = target.memory.status(Some(previous), cx.clock.now());
            (refuse(target, &last, &refusal, schedule, cx).await, Answer::Unanswered)
        }
        Err(Stop::Unsettled(pause, write)) => {
            (await_aws(resource, pause.min(interval), &write, cx).await, Answer::Postponed)
        }
        // The watch brings the object as it is by now.
        Err(Stop::Outdated) => {
            let pause = target.memory.requeue_after(Reason::Progressing, interval);
            (Ok(Action::requeue(pause)), Answer::Postponed)
        }
        Err(Stop::Kubernetes(error)) => (Err(error), Answer::Unanswered),
    }
}

/// Whether the labels of namespaces decide if the resource is allowed. No event announces that they changed, so that events
/// do not stretch the interval of such a resource.
fn depends_on_labels<C: Cloud, K: Cluster>(resource: &Resource<'_>, cx: &Context<C, K>) -> bool {
    authorize::resolve(resource.object, cx).is_ok_and(|accounts| labels_matter(&accounts))
}

/// Writes the report of a check, and goes on with canaries. `fresh`: someone asked for this check.
async fn conclude_with_canaries<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    checked: &Checked,
    schedule: Schedule,
    fresh: bool,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let Resource { target, status, .. } = resource;
    let Checked { report, written, .. } = checked;
    let next = conclude(target, written.as_ref().unwrap_or(status), report, schedule, cx).await?;
    let round = canary::run_round(resource, &report.status, fresh, cx).await?;
    // That report lacks the results of this round of canaries.
    let check = if round.changed { Some(Duration::ZERO) } else { next.after() };
    Ok(target
        .memory
        .next(check, round.wake, cx.clock.now())
        .map_or_else(Action::await_change, Action::requeue))
}

/// Between two checks: AWS is checked at once where canaries show something else than the status says.
async fn go_on_with_canaries<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let Resource { target, status, .. } = resource;
    let round = canary::run_round(resource, status, false, cx).await?;
    // A round of canaries is no check of the settings.
    cx.tracker.record_reason(&target.key.uid, ready_reason(status), false);
    let now = cx.clock.now();
    let check = if round.changed { Some(Duration::ZERO) } else { target.memory.until_check(now) };
    Ok(target.memory.next(check, round.wake, now).map_or_else(Action::await_change, Action::requeue))
}

/// Reports that an object cannot be decoded, naming the field.
async fn refuse_unreadable<C: Cloud, K: Cluster>(
    target: &ReplicationObject<'_>,
    error: &str,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    let live = cx.cluster.live(target.key).await?;
    let part = |key: &str| live.as_ref().and_then(|live| live.data.get(key)).cloned().unwrap_or_default();
    // Decoded once more, by a decoder that knows where in the spec it is.
    let spec: Result<BucketReplicationSpec, _> = serde_path_to_error::deserialize(part("spec"));
    // Then the status cannot be decoded, which is written below, or the spec was corrected since.
    let retry = spec.is_ok().then(|| target.memory.requeue_after(Reason::Progressing, Duration::MAX));
    let error = match spec {
        Ok(_) => error.to_owned(),
        Err(error) => match error.path().to_string().as_str() {
            "." => format!("spec: {}", error.inner()),
            path => format!("spec.{path}: {}", error.inner()),
        },
    };
    let message =
        format!("this resource cannot be read: {error}; correct the field or apply the resource again");
    let refusal = Refusal::new(Reason::InvalidSpec, ConditionType::Ready, message);
    // The readable part of the status stays, because it names what the resource made.
    let (status, unreadable) = read_status(&part("spec"), &part("status"));
    let mut previous = target.memory.status(Some(&status), cx.clock.now());
    if !unreadable.is_empty() {
        // It differs from what is there, and is written in its place.
        previous.observed_generation = None;
    }
    let schedule = Schedule { interval: cx.settings.interval.duration(), retry };
    refuse(target, &previous, &refusal, schedule, cx).await
}

/// Reports in the status which right in Kubernetes the operator lacks: the resource's author may not see the log.
async fn report_missing_right<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    error: &Error,
    cx: &Context<C, K>,
) {
    let refusal = Refusal::new(Reason::AccessDenied, ConditionType::Ready, error.to_string());
    let schedule = Schedule::every(cx.settings.interval.duration());
    // It may be this very write that is denied. The error is logged in either case.
    let _ = refuse(&resource.target, &resource.status, &refusal, schedule, cx).await;
}
