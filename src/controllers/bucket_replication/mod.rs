//! One reconcile: resource → observe → desired → plan → apply → report → status.

pub mod collector;
pub mod context;
mod deletion;
pub mod flapping;
pub mod source_ownership;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use crate::api::{
    BucketReplication, BucketReplicationSpec, BucketReplicationStatus, ConditionType, FINALIZER,
    ManagementPolicy, REQUESTED_AT, Reason, handled_request,
};
use crate::aws::{self, ResourceClients};
use crate::controllers::Guarded;
use crate::controllers::bucket_replication::context::Context;
use crate::ports::{Cluster, Finalizers, ObjectKey};
use crate::replication::status::{Outcome, Report, StatusContext, report, stopped};
use crate::replication::{
    Assessment, Failure, Plan, PlanInput, ReadSet, Refusal, Replication, ResourceId, Step, assess,
};
use crate::runtime::Error;
use crate::runtime::action::Action;

/// The longest a reconcile may take: every call has a timeout of its own, this one is for all together.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The object under reconcile.
pub(crate) struct Target<'a> {
    pub key: ObjectKey,
    pub metadata: &'a ObjectMeta,
}

impl<'a> Target<'a> {
    pub fn new(metadata: &'a ObjectMeta) -> Target<'a> {
        Target { key: ObjectKey::new::<BucketReplication>(metadata), metadata }
    }

    pub fn uid(&self) -> &str {
        &self.key.uid
    }

    pub fn has_finalizer(&self) -> bool {
        Finalizers::of(self.metadata).contains(FINALIZER)
    }
}

/// Reconciles one object. What fails in AWS is reported in its status; an error is Kubernetes' own.
pub async fn reconcile(object: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action, Error> {
    // Ownership of a source is told from all resources, and what one may do from all accounts: none must be missing.
    ctx.all_known().await;
    // Boxed: what waits for its turn takes little memory.
    let result = tokio::time::timeout(DEADLINE, Box::pin(reconcile_now(&object, &ctx))).await;
    let result = result.unwrap_or(Err(Error::TimedOut(DEADLINE)));
    if let Err(error) = result.as_ref()
        && error.is_denied()
    {
        tell_denied(&object, error, &ctx).await;
    }
    result
}

/// Tells in the status which right in Kubernetes the operator lacks: whoever made the resource may not see the log.
async fn tell_denied(object: &Guarded, error: &Error, ctx: &Context) {
    // The status of one that cannot be decoded is not known here, and is not written over unread.
    let Ok(resource) = &object.0 else { return };
    let target = Target::new(&resource.metadata);
    let previous = ctx.last_status(target.uid(), resource.status.as_ref());
    let refusal = Refusal::new(Reason::AccessDenied, ConditionType::Ready, error.to_string());
    let report = stopped(&refusal, &occasion(&resource.metadata, &previous));
    // It may be this very write that is denied. The error is logged in either case.
    drop(publish(&target, &previous, &report, ctx).await);
}

async fn reconcile_now(object: &Guarded, ctx: &Context) -> Result<Action, Error> {
    let target = Target::new(object.meta());
    if object.meta().deletion_timestamp.is_some() {
        return deletion::finalize(&target, ctx).await;
    }
    match &object.0 {
        Ok(resource) => {
            let (report, wait) = check(resource, &target, ctx).await?;
            conclude(&target, resource.status.as_ref(), report, wait, resource, ctx).await
        }
        Err(invalid) => {
            let live = ctx.cluster.live(&target.key).await?;
            let part = |key: &str| live.as_ref().and_then(|o| o.data.get(key)).cloned().unwrap_or_default();
            // Read once more, by a reader that knows where in the spec it is.
            let spec: Result<BucketReplicationSpec, _> = serde_path_to_error::deserialize(part("spec"));
            // Then it is the status, which is written anew below, or it was corrected since.
            let passes = spec.is_ok();
            let error = spec.err().map_or_else(
                || invalid.error.clone(),
                |error| match error.path().to_string().as_str() {
                    "." => format!("spec: {}", error.inner()),
                    path => format!("spec.{path}: {}", error.inner()),
                },
            );
            let refusal = Refusal::new(
                Reason::InvalidSpec,
                ConditionType::Ready,
                format!(
                    "this resource cannot be read: {error}; correct the field or apply the resource anew"
                ),
            );
            let status = serde_json::from_value(part("status")).ok();
            let previous = ctx.last_status(target.uid(), status.as_ref());
            let report = stopped(&refusal, &occasion(object.meta(), &previous));
            publish(&target, &previous, &report, ctx).await?;
            let interval = ctx.settings.interval.duration();
            let soon = || ctx.with_pace(target.uid(), |pace| pace.after(Reason::Progressing, interval));
            Ok(Action::requeue(if passes { soon() } else { interval }))
        }
    }
}

/// Writes the report and says when to come back.
async fn conclude(
    target: &Target<'_>,
    cached: Option<&BucketReplicationStatus>,
    report: Report,
    wait: Option<Duration>,
    resource: &BucketReplication,
    ctx: &Context,
) -> Result<Action, Error> {
    let previous = ctx.last_status(target.uid(), cached);
    publish(target, &previous, &report, ctx).await?;
    if report.reason == Reason::Suspended {
        return Ok(Action::await_change());
    }
    let interval = resource.spec.interval.as_ref().unwrap_or(&ctx.settings.interval).duration();
    let after = ctx.with_pace(target.uid(), |pace| pace.after(report.reason, interval));
    Ok(Action::requeue(wait.map_or(after, |w| w.min(after))))
}

pub(crate) async fn publish(
    target: &Target<'_>,
    previous: &BucketReplicationStatus,
    report: &Report,
    ctx: &Context,
) -> Result<(), Error> {
    ctx.work.told(target.uid(), report.reason);
    if report.status != *previous {
        // Before the write: the watch may show it before the answer is here.
        ctx.writes(target.uid(), &report.status);
        if let Err(error) = ctx.cluster.set_status(&target.key, &json!(report.status)).await {
            ctx.wrote_nothing(target.uid());
            return Err(error.into());
        }
    }
    for event in &report.events {
        ctx.cluster.publish_event(&target.key, event).await;
    }
    Ok(())
}

pub(crate) fn occasion<'a>(
    metadata: &'a ObjectMeta,
    previous: &'a BucketReplicationStatus,
) -> StatusContext<'a> {
    let annotations = metadata.annotations.as_ref();
    StatusContext {
        generation: metadata.generation,
        requested: annotations.and_then(|a| a.get(REQUESTED_AT)).map(String::as_str),
        previous,
        now: jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default(),
    }
}

/// Checks a resource, corrects what may be corrected, and says what is true. The duration is when a correction
/// that was held back may be tried again.
async fn check(
    resource: &BucketReplication,
    target: &Target<'_>,
    ctx: &Context,
) -> Result<(Report, Option<Duration>), Error> {
    let spec = &resource.spec;
    let previous = ctx.last_status(target.uid(), resource.status.as_ref());
    let occasion = occasion(&resource.metadata, &previous);
    if spec.suspend {
        let message = "suspend is true: AWS is neither checked nor written; set it to false to go on";
        let refusal = Refusal::new(Reason::Suspended, ConditionType::Ready, message.to_owned());
        return Ok((stopped(&refusal, &occasion), None));
    }
    let accounts = match ctx.accounts_of(resource).await? {
        Ok(accounts) => accounts,
        Err(refusal) => return Ok((stopped(&refusal, &occasion), None)),
    };
    if let Some(message) = ctx.source_conflict(resource).await? {
        let refusal = Refusal::new(Reason::SourceConflict, ConditionType::ReplicationReady, message);
        return Ok((stopped(&refusal, &occasion), None));
    }
    let identity = identity(&resource.metadata, ctx);
    let unseen = |failure: Failure| {
        let refusal = Refusal::new(failure.class.reason(), ConditionType::Ready, failure.message());
        Ok((stopped(&refusal, &occasion), None))
    };
    let mut access = match ctx.identities.access(&accounts, &identity).await {
        Ok(access) => access,
        Err(failure) => return unseen(failure),
    };
    for account in ctx.former_accounts(&previous, &accounts) {
        // One that fails holds up nothing: what is left there stays remembered, and is told.
        if let Ok(aws) = ctx.identities.in_account(&account, &identity).await {
            access.also(account.name, aws);
        }
    }
    // Not before the accounts are found to be the right ones: whoever is refused until then has nothing to clean up.
    if spec.management_policy == ManagementPolicy::Enforce && !target.has_finalizer() {
        ctx.cluster.add_finalizer(&target.key, &Finalizers::of(target.metadata), FINALIZER).await?;
    }

    let asked_for = occasion.requested.map(handled_request) != previous.last_handled_request
        || previous.observed_generation.is_some_and(|g| g >= 0 && Some(g) != resource.metadata.generation);
    let replication = Replication { spec, status: &previous, id: &identity, accounts: &accounts };
    let read_set = ReadSet::of(&replication, asked_for);
    let observed = match aws::observe(&access, &read_set).await {
        Ok(observed) => observed,
        Err(failure) => return unseen(failure),
    };
    let Assessment { desired, plan } = assess(&replication, &read_set, &observed);
    let input = PlanInput::new(&replication, &read_set, &observed, &desired);
    let now = Instant::now();
    let held = if plan.drift && !plan.stages.is_empty() {
        ctx.with_corrections(target.uid(), |c| c.held_back(&plan.differences, now))
    } else {
        None
    };
    let (outcome, wait) = match held {
        Some((held_back, wait)) => {
            let outcome = apply(&plan.without(&held_back.differences), &access, ctx).await;
            (Outcome { held_back: Some(held_back), ..outcome }, Some(wait))
        }
        None => (apply(&plan.stages, &access, ctx).await, None),
    };
    if plan.drift && !outcome.done.is_empty() {
        let settled = plan.differences.iter().filter(|d| plan.is_settled(d, &outcome));
        ctx.with_corrections(target.uid(), |c| c.record(settled, now));
    }
    let report = report(&input, &plan, &outcome, &occasion);
    tell(resource, &plan, &outcome, &report);
    count_drift(&plan, &outcome, &previous, ctx);
    Ok((report, wait))
}

/// Executes a plan: the steps of a stage at once, one stage after the other, none that needs a failed one, none once the
/// operator is asked to stop, or when it no longer leads.
pub(crate) async fn apply(stages: &[Vec<Step>], access: &ResourceClients, ctx: &Context) -> Outcome {
    let mut outcome = Outcome::default();
    for stage in stages {
        if ctx.shutdown.is_cancelled() || !ctx.leadership.holds() {
            outcome.interrupted = true;
            break;
        }
        let admitted = outcome.admit(stage);
        let results = join_all(admitted.iter().map(|step| aws::apply(access, step))).await;
        for (step, result) in admitted.into_iter().zip(results) {
            outcome.record(step, result);
        }
    }
    outcome
}

/// Counts what someone changed in AWS, when it is first seen, and what was put right of it.
fn count_drift(plan: &Plan, outcome: &Outcome, previous: &BucketReplicationStatus, ctx: &Context) {
    for drift in plan.differences.iter().filter(|_| plan.drift) {
        if !previous.drift.contains(drift) {
            ctx.metrics.drift_found(drift.resource);
        }
        if plan.is_settled(drift, outcome) {
            ctx.metrics.drift_corrected(drift.resource);
        }
    }
}

pub(crate) fn identity(metadata: &ObjectMeta, ctx: &Context) -> ResourceId {
    ResourceId {
        cluster: Some(ctx.settings.cluster.clone()),
        former_clusters: Vec::new(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone(),
    }
}

/// One line a decision.
fn tell(resource: &BucketReplication, plan: &Plan, outcome: &Outcome, report: &Report) {
    let namespace = resource.namespace().unwrap_or_default();
    let name = resource.name_any();
    let source = resource.spec.source.bucket.as_str();
    let (differences, written) = (plan.differences.len(), outcome.done.len());
    let (drift, reason) = (plan.drift && differences > 0, report.reason.as_str());
    match plan.refusal() {
        Some(refusal) => warn!(namespace, name, source, reason, detail = refusal.message, "refused"),
        None => match outcome.first_failure() {
            Some((step, failure)) => {
                warn!(namespace, name, source, reason, %step, detail = failure.message(), written, "failed")
            }
            None => info!(namespace, name, source, reason, differences, drift, written, "checked"),
        },
    }
}
