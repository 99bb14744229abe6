//! Decides which part of a plan waits.
//!
//! In: a plan, what was observed, what the operator remembers of its writes to the resource, and what events announced.
//! Out: the stages to execute now, or how long to wait for AWS.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::Resource as _;
use kube::core::ObjectMeta;
use serde_json::Value;

use crate::api::{AwsResource, BucketReplicationStatus};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::Executed;
use crate::controllers::bucket_replication::memory::FormerProcess;
use crate::controllers::bucket_replication::resource::{ReplicationObject, Resource};
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::replication::observed::SHOWN_AFTER;
use crate::replication::outcome::{Contested, Outcome};
use crate::replication::plan::former_writes::{
    granting_again, holds_statements_of_others, relies_on_old_answers,
};
use crate::replication::setting_hash::setting;
use crate::replication::status::{LastWriter, RecentWrite};
use crate::replication::{Assessment, BucketAddress, Plan, Step};
use crate::runtime::store::Key;

/// The part of a plan that is executed now.
pub struct ExecutablePart {
    pub stages: Vec<Vec<Step>>,
    contested: Option<Contested>,
    /// When the corrections that are held back may be tried again.
    pub retry: Option<Duration>,
}

/// Holds back corrections that were made too often, and everything while AWS still returns answers from before a write.
pub fn hold_back<C, K>(
    assessment: &Assessment<'_>,
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<ExecutablePart, Stop> {
    let Assessment { plan, .. } = assessment;
    let (memory, now) = (resource.target.memory, cx.clock.now());
    let timestamp = cx.clock.timestamp();
    if let Some(cause) = &resource.events.announced {
        let changes = cause.foreign.iter().map(|(setting, time)| (*setting, age(*time, timestamp)));
        memory.changed_by_another(changes, now);
    }
    let last_write = written_ago(&resource.status, timestamp);
    let unsettled = memory.unsettled(plan, &assessment.input(), last_write, now);
    if let Some((pause, destinations)) = unsettled.filter(|_| !is_on(Mutant::OldAnswersBelieved)) {
        let writer = LastWriter::ThisProcess;
        return Err(Stop::Unsettled(pause, RecentWrite { writer, destinations }));
    }
    if let Some(former) = resource.target.former_process(cx)
        && let Some(destinations) = overtaken(assessment, &former, resource, cx)
    {
        let writer = LastWriter::FormerProcess;
        return Err(Stop::Unsettled(former.pause(), RecentWrite { writer, destinations }));
    }
    Ok(match memory.contested(plan, now) {
        Some((contested, retry)) => ExecutablePart {
            stages: plan.without(&contested.differences),
            contested: Some(contested),
            retry: Some(retry),
        },
        None => ExecutablePart { stages: plan.stages.clone(), contested: None, retry: None },
    })
}

/// Writes the role's policy once more where a former process may have taken away what AWS still shows of it. For the first
/// generation of a spec none did: each process granted the same.
pub fn grant_again<C, K>(assessment: &mut Assessment<'_>, resource: &Resource<'_>, cx: &Context<C, K>) {
    let target = &resource.target;
    let may_lack =
        |former: &FormerProcess| former.knew(target.metadata) && target.metadata.generation != Some(1);
    let former = target.former_process(cx).filter(may_lack);
    let plan = former
        .and_then(|_| granting_again(&assessment.input(), &assessment.plan, &recognize_own_settings(target)));
    if let Some(plan) = plan {
        assessment.plan = plan;
    }
}

/// Whether this process wrote a setting itself: its memory distinguishes old answers then.
fn recognize_own_settings(target: &ReplicationObject<'_>) -> impl Fn(AwsResource, &str) -> bool {
    |resource, name| target.memory.has_written(setting(resource, name))
}

/// The destinations of a plan that may take something away which a former process wrote a moment ago, and of which no
/// answer shows anything. `None`: the plan takes nothing of that away.
fn overtaken<C, K>(
    assessment: &Assessment<'_>,
    former: &FormerProcess,
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Option<BTreeSet<String>> {
    let (input, plan, metadata) = (assessment.input(), &assessment.plan, resource.target.metadata);
    let configured = has_configured(&resource.status, former, cx);
    let is_own = recognize_own_settings(&resource.target);
    if former.knew(metadata) && relies_on_old_answers(&input, plan, configured, &is_own) {
        let written = plan.steps().filter_map(|step| match step {
            Step::PutBucketPolicy { bucket, .. } => Some(&bucket.name),
            _ => None,
        });
        return Some(input.desired.bucket_policies.keys().chain(written).cloned().collect());
    }
    let policy_of = |bucket: &str| input.observed.bucket_policies.get(bucket)?.as_ref().ok()?.as_ref();
    let shared = shared_policies(plan.steps(), policy_of, (former, metadata), cx);
    (!shared.is_empty()).then_some(shared)
}

/// Whether a former process may have put a configuration so recently that AWS does not show it yet. One that was announced
/// may have been put again and again, until the process ended.
fn has_configured<C, K>(
    status: &BucketReplicationStatus,
    former: &FormerProcess,
    cx: &Context<C, K>,
) -> bool {
    let Some(configured) = status.configured_at.as_ref().map(|time| time.0) else { return false };
    let is_recent = age(configured, cx.clock.timestamp()) < SHOWN_AFTER + cx.settings.longest_request;
    configured.as_second() <= former.ended && (is_recent || status.announced_configuration.is_some())
}

/// The most resources that are read to find out whether one of them shares a bucket. Where there are more, one does.
const MOST_READ: usize = 100;

/// The buckets whose policies some steps write, and which hold statements of other resources, or should hold some. A
/// former process may have written them a moment ago. A merge into an older policy would lose them. `policy_of`: a
/// bucket's as it is shown.
pub fn shared_policies<'p, C, K>(
    steps: impl Iterator<Item = &'p Step>,
    policy_of: impl Fn(&str) -> Option<&'p Value>,
    (former, metadata): (&FormerProcess, &ObjectMeta),
    cx: &Context<C, K>,
) -> BTreeSet<String> {
    let names = |bucket: &BucketAddress, key: &Key| {
        let Some(object) = cx.index.replications.get(key) else { return false };
        let is_other = object.meta().uid != metadata.uid && former.knew(object.meta());
        let rules = object.0.as_ref().map(|other| other.spec.rules.as_slice()).unwrap_or_default();
        let mut destinations = rules.iter().map(|rule| &rule.destination);
        is_other && destinations.any(|to| to.bucket == bucket.name && to.account_ref.is_some())
    };
    let is_shared = |bucket: &BucketAddress, sid: &str| {
        holds_statements_of_others(policy_of(&bucket.name), sid) || {
            let keys = cx.index.by_account_id(&bucket.account_id);
            keys.len() > MOST_READ || keys.iter().any(|key| names(bucket, key))
        }
    };
    // This process knows its own writes and merges into them.
    let is_known = |bucket: &BucketAddress| cx.bucket_locks.has_written(&bucket.name, cx.clock.now());
    let shared = steps.filter_map(|step| match step {
        Step::PutBucketPolicy { bucket, sid, .. } if !is_known(bucket) && is_shared(bucket, sid) => {
            Some(bucket.name.clone())
        }
        _ => None,
    });
    shared.collect()
}

/// How long ago the last write was of which the status has the time. Another process may have made it.
pub fn written_ago(status: &BucketReplicationStatus, now: Timestamp) -> Option<Duration> {
    let corrected = status.last_correction.as_ref().map(|correction| correction.time.0);
    let configured = status.configured_at.as_ref().map(|time| time.0);
    corrected.max(configured).map(|last| age(last, now))
}

/// How long ago something was. The clock of AWS or of another process may be ahead.
fn age(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(time)).unwrap_or_default()
}

impl ExecutablePart {
    /// A check that was stopped after its first write still reports what it wrote.
    ///
    /// # Errors
    /// Why the check was stopped before its first write.
    pub fn conclude(&self, executed: Executed, plan: &mut Plan) -> Result<Outcome, Stop> {
        let Executed { mut outcome, stopped, announced: _ } = executed;
        outcome.contested = self.contested.clone();
        match stopped {
            Some(stop) if outcome.done.is_empty() => return Err(stop),
            Some(Stop::Refused(refusal)) => plan.refusals.insert(0, refusal),
            Some(_) => outcome.interrupted = true,
            None => {}
        }
        Ok(outcome)
    }
}
