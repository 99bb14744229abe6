//! One check: authorize → claim source → connect → observe → plan → prepare → execute → report.
//!
//! In: a resource. Out: the report for its status, or why the check stops early.

use std::time::Duration;

use kube::ResourceExt;
use tracing::{info, warn};

use crate::api::{BucketReplicationStatus, ConditionType, FINALIZER, ManagementPolicy, Reason};
use crate::controllers::bucket_replication::authorize::{NamespaceLabels, authorize, claim_source};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::{Executed, Permission, execute};
use crate::controllers::bucket_replication::metrics_watch::{likely_cause, watch_metrics};
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster, Finalizers};
use crate::replication::outcome::{Contested, Outcome};
use crate::replication::status::{Report, StatusContext, report};
use crate::replication::{
    Account, Accounts, Assessment, Failure, Plan, PlanInput, ReadSet, Refusal, Step, assess,
};

/// What a check found.
pub struct Checked {
    pub report: Report,
    /// When a correction that was held back may be tried again.
    pub retry: Option<Duration>,
    /// Whether anything was found or written that the status did not show before.
    pub found: bool,
}

/// Checks a resource, corrects what may be corrected, and reports what is true.
///
/// # Errors
/// Why the check stopped before anything was written.
pub async fn check<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<Checked, Stop> {
    require_not_suspended(resource)?;
    let accounts = authorize_and_claim(resource, cx).await?;
    let clients = connect(resource, &accounts, cx).await?;
    let replication = resource.replication(&accounts);
    let read_set = ReadSet::of(&replication, resource.wants_fresh_reads());
    let observed = cx.cloud.observe(&clients, &read_set).await?;
    let Assessment { desired, mut plan } = assess(&replication, &read_set, &observed);
    let held = hold_back(&plan, resource, cx)?;
    prepare(&held.stages, resource, cx).await?;
    let permission = Some(Permission { resource, accounts: &accounts });
    let executed = execute(&held.stages, &clients, permission, cx).await;
    let outcome = held.conclude(executed, &mut plan)?;
    let input = PlanInput::new(&replication, &read_set, &observed, &desired);
    let evidence = watch_metrics(resource, &input, &outcome, cx);
    let context = StatusContext { evidence: &evidence, ..resource.status_context(cx) };
    let report = report(&input, &plan, &outcome, &context);
    record(resource, &plan, &outcome, &report, cx);
    let found = !outcome.done.is_empty() || is_news(&report.status, &resource.status);
    Ok(Checked { report, retry: held.retry, found })
}

fn require_not_suspended(resource: &Resource<'_>) -> Result<(), Refusal> {
    if !resource.spec.suspend || is_on(Mutant::SuspendIgnored) {
        return Ok(());
    }
    let message = "suspend is true: AWS is neither checked nor written; set it to false to go on";
    Err(Refusal::new(Reason::Suspended, ConditionType::Ready, message.to_owned()))
}

/// Makes no call to AWS.
async fn authorize_and_claim<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<Accounts, Stop> {
    let labels = &mut NamespaceLabels::new(cx.cluster.as_ref());
    let accounts = authorize(resource.object, &resource.status, labels, cx).await?;
    claim_source(resource.object, resource.target.memory, labels, cx).await?;
    Ok(accounts)
}

async fn connect<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    accounts: &Accounts,
    cx: &Context<C, K>,
) -> Result<C::Clients, Failure> {
    let mut clients = cx.cloud.connect(accounts, &resource.id).await?;
    for account in former_accounts(&resource.status, accounts, cx) {
        // A failure delays nothing: the status keeps naming the statements that are left in that account.
        let _ = cx.cloud.connect_also(&mut clients, &account, &resource.id).await;
    }
    Ok(clients)
}

/// The accounts in which the resource has statements in policies of former destinations, and which its spec names no
/// longer. One that is gone is left out.
fn former_accounts<C, K>(
    status: &BucketReplicationStatus,
    accounts: &Accounts,
    cx: &Context<C, K>,
) -> Vec<Account> {
    let mut names: Vec<&String> = status.bucket_policies.iter().map(|held| &held.account_ref).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !accounts.destinations.contains_key(*name));
    names.into_iter().filter_map(|name| cx.index.account(name).ok().flatten()).collect()
}

/// The part of a plan that is executed now.
struct Held {
    stages: Vec<Vec<Step>>,
    contested: Option<Contested>,
    retry: Option<Duration>,
}

/// Holds back corrections that were made too often, and everything while AWS still returns answers from before a write.
fn hold_back<C, K>(plan: &Plan, resource: &Resource<'_>, cx: &Context<C, K>) -> Result<Held, Stop> {
    let (memory, now) = (resource.target.memory, cx.clock.now());
    if let Some(pause) = memory.unsettled(plan, now) {
        return Err(Stop::Unsettled(pause));
    }
    Ok(match memory.contested(plan, now) {
        Some((contested, retry)) => Held {
            stages: plan.without(&contested.differences),
            contested: Some(contested),
            retry: Some(retry),
        },
        None => Held { stages: plan.stages.clone(), contested: None, retry: None },
    })
}

impl Held {
    /// A check that was stopped after its first write still reports what it wrote.
    fn conclude(&self, executed: Executed, plan: &mut Plan) -> Result<Outcome, Stop> {
        let Executed { mut outcome, stopped } = executed;
        outcome.held_back = self.contested.clone();
        match stopped {
            Some(stop) if outcome.done.is_empty() => return Err(stop),
            Some(Stop::Refused(refusal)) => plan.refusals.insert(0, refusal),
            Some(_) => outcome.interrupted = true,
            None => {}
        }
        Ok(outcome)
    }
}

/// Before the first write: confirms with the API server that the object is still the one that was checked, and adds the
/// finalizer. The cache may be behind; a role made for an object that is gone would never be deleted.
async fn prepare<C: Cloud, K: Cluster>(
    stages: &[Vec<Step>],
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    if resource.spec.management_policy != ManagementPolicy::Enforce {
        return Ok(());
    }
    let target = &resource.target;
    let mut finalizers = Finalizers::of(target.metadata);
    if !stages.is_empty() && !is_on(Mutant::NoLiveGet) {
        let live = cx.cluster.live(target.key).await?.ok_or(Stop::Outdated)?.metadata;
        if live.deletion_timestamp.is_some() || live.generation != target.metadata.generation {
            return Err(Stop::Outdated);
        }
        finalizers = Finalizers::of(&live);
    }
    if !finalizers.contains(FINALIZER) && !is_on(Mutant::NoFinalizer) {
        let added = cx.cluster.add_finalizer(target.key, &finalizers, FINALIZER).await;
        added.map_err(|error| if error.is_outdated() { Stop::Outdated } else { error.into() })?;
    }
    Ok(())
}

/// Remembers what was written, counts drift, and logs the decision in one line.
fn record<C, K>(
    resource: &Resource<'_>,
    plan: &Plan,
    outcome: &Outcome,
    report: &Report,
    cx: &Context<C, K>,
) {
    if !outcome.done.is_empty() {
        resource.target.memory.record(plan, outcome, cx.clock.now());
    }
    cx.evidence.update(&resource.target.key.uid, |evidence| evidence.likely_cause = likely_cause(report));
    count_drift(plan, outcome, report, resource, cx);
    log(resource, plan, outcome, report);
}

/// Counts drift when it is first seen, and when it is corrected.
fn count_drift<C, K>(
    plan: &Plan,
    outcome: &Outcome,
    report: &Report,
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) {
    for drift in plan.differences.iter().filter(|_| plan.drift) {
        if !resource.status.drift.contains(drift) {
            cx.metrics.drift_found(drift.resource);
            cx.events.drift_found(drift, resource.found_by(), &report.status, &resource.events);
        }
        if plan.is_settled(drift, outcome) {
            cx.metrics.drift_corrected(drift.resource);
        }
    }
}

/// Whether a status says anything new of AWS.
fn is_news(status: &BucketReplicationStatus, before: &BucketReplicationStatus) -> bool {
    let reasons = |status: &BucketReplicationStatus| -> Vec<(String, String)> {
        // Whether objects arrive is known from elsewhere.
        let settings = status.conditions.iter().filter(|c| c.type_ != ConditionType::Replicating.as_str());
        settings.map(|c| (c.type_.clone(), c.reason.clone())).collect()
    };
    status.drift != before.drift
        || status.drift_count != before.drift_count
        || reasons(status) != reasons(before)
        || status.source != before.source
        || status.destinations != before.destinations
}

fn log(resource: &Resource<'_>, plan: &Plan, outcome: &Outcome, report: &Report) {
    let object = resource.object;
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let source = object.spec.source.bucket.as_str();
    let (differences, written) = (plan.differences.len(), outcome.done.len());
    let (drift, reason) = (plan.drift && differences > 0, report.reason.as_str());
    match (plan.refusal(), outcome.first_failure()) {
        (Some(refusal), _) => warn!(namespace, name, source, reason, detail = refusal.message, "refused"),
        (None, Some((step, failure))) => {
            warn!(namespace, name, source, reason, %step, detail = failure.message(), written, "failed")
        }
        (None, None) => info!(namespace, name, source, reason, differences, drift, written, "checked"),
    }
}
