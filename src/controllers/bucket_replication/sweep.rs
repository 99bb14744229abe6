//! Reads the metrics of all resources that publish some, beside their checks, and reports what changed.
//!
//! In: the store of evidence, and the time. Out: calls to CloudWatch, at the same time for all accounts and Regions,
//! and one after the other within each; the condition `Replicating` and `status.health` of resources whose verdict or
//! rounded figures changed. It writes nothing to AWS.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::api::{BucketReplication, BucketReplicationStatus, ConditionType};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::evidence_store::SweptResource;
use crate::ports::{Cloud, Cluster, ObjectKey};
use crate::replication::Failure;
use crate::replication::health::metrics::{
    MetricsBatch, MetricsRequest, RuleRef, SeriesAnswer, add, readings, unread,
};
use crate::replication::health::{Judging, settle};
use crate::replication::status::{Replicating, replicating};
use crate::runtime::store::Key;

/// How often the sweep checks which resources are due. Those that begin to publish metrics share calls.
const TICK: Duration = Duration::from_secs(10);

/// Accounts and Regions that are read at the same time, and statuses that are written at the same time.
const AT_ONCE: usize = 8;

/// Reads metrics while this process leads, until `shutdown`.
pub async fn sweep_forever<C: Cloud, K: Cluster>(cx: Arc<Context<C, K>>, shutdown: CancellationToken) {
    let Some(interval) = cx.settings.health.interval else { return };
    let start = cx.clock.now();
    while !shutdown.is_cancelled() {
        if (cx.may_begin)() {
            sweep(&cx, start).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = cx.clock.sleep(TICK.min(interval)) => {}
        }
    }
}

/// Reads what is due, and reports what changed.
pub async fn sweep<C: Cloud, K: Cluster>(cx: &Context<C, K>, start: Instant) {
    let due = cx.evidence.take_due(start, cx.clock.now());
    if due.is_empty() {
        return;
    }
    let now = cx.clock.timestamp();
    let each = due.iter().map(|due| (due.uid.as_str(), &due.watch, &due.evidence));
    let planned = readings(each, now);
    stream::iter(&planned).for_each_concurrent(AT_ONCE, |reading| read(reading, cx)).await;
    stream::iter(&due).for_each_concurrent(AT_ONCE, |due| report(due, cx)).await;
}

/// Makes the requests of one account and Region, one after the other. A request that fails as a whole ends the batch:
/// the next one, for 500 series more, may well fail too.
async fn read<C: Cloud, K>(reading: &MetricsBatch, cx: &Context<C, K>) {
    let MetricsBatch { account: name, region, requests } = reading;
    let account = match name.as_ref().map(|name| cx.index.account(name)) {
        None => None,
        Some(Ok(Some(account))) => Some(account),
        // The check of the resource reports that the account is gone or unreadable.
        Some(Ok(None) | Err(_)) => return,
    };
    let mut failed: Option<Failure> = None;
    for (request, about) in requests {
        if failed.is_none() {
            match cx.cloud.read_metrics(account.as_ref(), region, request).await {
                Ok(answers) => take_in(request, about, answers, cx),
                Err(failure) => {
                    warn!(account = name, region, detail = failure.message(), "cannot read metrics");
                    failed = Some(failure);
                }
            }
        }
        if let Some(failure) = &failed {
            refuse(request, about, failure, cx);
        }
    }
    debug!(account = name, region, requests = requests.len(), "metrics read");
}

fn take_in<C, K>(
    request: &MetricsRequest,
    about: &[RuleRef],
    answers: Vec<SeriesAnswer>,
    cx: &Context<C, K>,
) {
    let series: Vec<_> = request.series.iter().cloned().zip(answers).collect();
    cx.metrics.metrics_requested(billed(request));
    for (about, pair) in about.iter().zip(series.chunks(2)) {
        cx.evidence.update(&about.uid, |evidence| {
            if let Some(held) = evidence.rules.get_mut(&about.rule) {
                add(held, request, about, pair);
            }
        });
    }
}

/// CloudWatch bills metrics: several statistics of one metric in a call are one.
fn billed(request: &MetricsRequest) -> u64 {
    let metrics = request.series.iter().map(|series| {
        let (metric, _) = series.statistic.names();
        (&series.source, &series.destination, &series.rule, metric)
    });
    u64::try_from(metrics.collect::<BTreeSet<_>>().len()).unwrap_or(u64::MAX)
}

fn refuse<C, K>(request: &MetricsRequest, about: &[RuleRef], failure: &Failure, cx: &Context<C, K>) {
    // In one Region a request may be about what ended and about what is pending.
    for (RuleRef { uid, rule, .. }, pair) in about.iter().zip(request.series.chunks(2)) {
        let is_backlog = pair.iter().any(|series| series.statistic.is_backlog());
        cx.evidence.update(uid, |evidence| {
            if let Some(held) = evidence.rules.get_mut(rule) {
                unread(held, is_backlog, failure);
            }
        });
    }
}

/// Writes the verdict about a resource where it changed.
async fn report<C, K: Cluster>(due: &SweptResource, cx: &Context<C, K>) {
    report_verdict(&due.uid, &due.key, false, cx).await;
}

/// Judges the evidence of a resource, and writes the verdict where it changed. A check that runs at the same time
/// writes the same one: the patch names only what it changes. `after_event`: because of a failure event.
pub async fn report_verdict<C, K: Cluster>(uid: &str, key: &Key, after_event: bool, cx: &Context<C, K>) {
    let Some(object) = cx.index.replications.get(key) else { return };
    let Ok(resource) = &object.0 else { return };
    let Some(previous) = observed_status(resource, uid) else { return };
    let (spec, now) = (cx.settings.acted_on(&resource.spec), cx.clock.timestamp());
    let Some(evidence) = cx.evidence.update(uid, |evidence| {
        settle(evidence, &spec, now);
        evidence.clone()
    }) else {
        return;
    };
    let (namespace, name) = (resource.namespace().unwrap_or_default(), resource.name_any());
    let correction = previous.last_correction.as_ref();
    let judging =
        Judging { resource: (&namespace, &name), spec: &spec, previous, correction, now, after_event };
    let Replicating { mut condition, health, event } = replicating(&judging, &evidence);
    cx.settings.runbooks.link(std::slice::from_mut(&mut condition));
    let about = ConditionType::Replicating.as_str();
    let Some(index) = previous.conditions.iter().position(|held| held.type_ == about) else { return };
    let is_same = previous.conditions.get(index).is_some_and(|held| says_the_same(held, &condition));
    if is_same && health == previous.health || !(cx.may_begin)() {
        return;
    }
    let object = ObjectKey::new::<BucketReplication>(resource.meta());
    match cx.cluster.set_condition(&object, index, &condition, ("health", &json!(health))).await {
        Ok(()) => {
            if let Some(event) = event {
                cx.cluster.publish_event(&object, &event).await;
            }
        }
        // Someone else wrote the status meanwhile: the next sweep compares again.
        Err(error) if error.is_outdated() => {}
        Err(error) => warn!(name = object.name, %error, "cannot report whether objects arrive"),
    }
}

/// The status of a resource that a check has seen as it is now, and that is not being deleted.
fn observed_status<'a>(resource: &'a BucketReplication, uid: &str) -> Option<&'a BucketReplicationStatus> {
    let status = resource.status.as_ref()?;
    let is_current = resource.uid().as_deref() == Some(uid)
        && resource.metadata.deletion_timestamp.is_none()
        && status.observed_generation == resource.metadata.generation;
    is_current.then_some(status)
}

fn says_the_same(one: &Condition, other: &Condition) -> bool {
    (&one.status, &one.reason, &one.message) == (&other.status, &other.reason, &other.message)
}
