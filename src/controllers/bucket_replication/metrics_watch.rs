//! Works out which metrics of a resource may be read.
//!
//! In: a check that was authorized, with what it observed and wrote. Out: the rules that publish metrics, in the store
//! of evidence. So a sweep reads only for resources that their accounts allow, and only metrics that exist.

use jiff::SignedDuration;

use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::evidence_store::Registration;
use crate::controllers::bucket_replication::resource::Resource;
use crate::replication::health::metrics::{Watch, WatchedRule};
use crate::replication::health::{Evidence, settle};
use crate::replication::{Configuration, Outcome, PlanInput, Step};
use crate::runtime::store::Key;

/// Has the metrics of a resource read from now on, and returns its evidence. Where the operator reads no metrics,
/// failure events are the evidence.
pub fn watch_metrics<C, K>(
    resource: &Resource<'_>,
    input: &PlanInput<'_>,
    outcome: &Outcome,
    cx: &Context<C, K>,
) -> Evidence {
    let (uid, key) = (&resource.target.key.uid, Key::of(resource.target.metadata));
    let default = cx.settings.health.interval;
    if default.is_none() && !cx.events.are_on() {
        return Evidence { reads_metrics: false, ..evidence(uid, &key, cx) };
    }
    let Some(watched) = watch(input, outcome) else { return evidence(uid, &key, cx) };
    let asked = resource.spec.health.as_ref().and_then(|health| health.interval.as_ref());
    let interval = default.map(|default| asked.map_or(default, |interval| interval.duration()));
    let three = interval.unwrap_or_default().saturating_mul(3);
    let three = SignedDuration::try_from(three).unwrap_or(SignedDuration::MAX);
    let window =
        SignedDuration::try_from(cx.settings.health.window).unwrap_or(SignedDuration::MAX).max(three);
    let registration = Registration {
        key: key.clone(),
        watch: watched,
        previous: &resource.status,
        interval,
        window,
        now: cx.clock.timestamp(),
    };
    let now = registration.now;
    cx.evidence.watch(uid, registration);
    evidence(uid, &key, cx);
    cx.evidence.update(uid, |evidence| settle(evidence, &resource.spec, now));
    evidence(uid, &key, cx)
}

/// The evidence of a resource, with the last backfill that completed, and what backfills replicated of what failed.
pub fn evidence<C, K>(uid: &str, key: &Key, cx: &Context<C, K>) -> Evidence {
    let (completed, retried) = (cx.index.backfilled(key), cx.index.retried_failures(key));
    let add = |evidence: &mut Evidence| {
        evidence.backfilled = evidence.backfilled.max(completed);
        retried.iter().for_each(|one| evidence.add_retried(one.clone()));
    };
    cx.evidence.update(uid, add);
    let mut evidence = cx.evidence.get(uid);
    add(&mut evidence);
    evidence
}

/// The rules that publish metrics; `None` where that is not known, so that the sweep goes on with the rules that it
/// reads already.
fn watch(input: &PlanInput<'_>, outcome: &Outcome) -> Option<Watch> {
    let PlanInput { observed, desired, replication, .. } = input;
    let put = outcome.done.iter().rev().find_map(|step| match step {
        Step::PutReplication { configuration, .. } => Some(configuration),
        _ => None,
    });
    let held = match (put, &observed.configuration) {
        (Some(put), _) => put,
        (None, Ok(Some(held))) => held,
        (None, Ok(None)) => &Configuration { role: String::new(), rules: Default::default() },
        (None, Err(_)) => return None,
    };
    let previous = replication.status;
    let known = |bucket: &str| {
        let mut buckets = previous.destinations.iter().chain(&previous.source);
        buckets.find(|held| held.bucket == bucket).and_then(|held| held.region.clone())
    };
    let source = desired.source.name.clone();
    let region = observed.region_of(&observed.source).or_else(|| known(&source))?;
    let rules = replication.spec.rules.iter().filter_map(|rule| {
        let held = held.rules.get(&rule.id)?;
        let destination = &rule.destination.bucket;
        let publishes = held.status.is_enabled()
            && held.destination.metrics.is_enabled()
            && held.destination.bucket.rsplit(':').next() == Some(destination.as_str());
        let seen = observed.destinations.get(destination);
        publishes.then(|| WatchedRule {
            id: rule.id.clone(),
            destination: destination.clone(),
            region: seen.and_then(|seen| observed.region_of(seen)).or_else(|| known(destination)),
        })
    });
    let account = input.account().map(|account| account.name.clone());
    Some(Watch { account, source, region, rules: rules.collect() })
}
