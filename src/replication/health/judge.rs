//! The verdict about one resource: the worst of its rules.
//!
//! In: the spec, the evidence, the former status and the last correction. Out: reason and message of the condition
//! `Replicating`, and `status.health`, which stays as it was to the byte while neither a verdict nor a rounded figure
//! changes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use strum::VariantArray;

use crate::api::{
    BucketReplicationSpec, BucketReplicationStatus, CanaryStatus, ConditionType, Correction, HealthStatus,
    Interval, MAX_RULE_ENTRIES, Reason, ReplicationRule, RuleHealth, RuleVerdict, Switch,
};
use crate::replication::health::canary::{interval, prefix_of};
use crate::replication::health::correction_cause::{FailedRule, correction_cause};
use crate::replication::health::evidence::{CanaryEvidence, CanaryOutcome, CanarySent, Evidence, FailureRun};
use crate::replication::health::figures::{is_same_magnitude, rounded};
use crate::replication::health::kept_evidence::{failure_event, metrics_since, not_counted, remembers};
use crate::replication::health::metrics::{read_from, window_start};
use crate::replication::health::rule::{Finding, RuleJudged, Terms, judge_rule, open_run};
use crate::replication::health::wording::{JudgedRule, message};

/// The longest time that objects may take, unless `health.maxLatency` is set.
const MAX_LATENCY: SignedDuration = SignedDuration::from_mins(15);

/// The beginning of `status.health.canary.result` where the canary failed. The reason follows.
pub const CANARY_FAILED: &str = "Failed: ";

/// The beginning of `status.health.canary.result` where no canary may be written. The reason follows.
pub const CANARY_REFUSED: &str = "Refused: ";

/// `status.health.canary.result` while the canary is on its way.
pub const PENDING: &str = "Pending";

/// The resource that a verdict is about, with its circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    /// The namespace and the name of the resource.
    pub resource: (&'a str, &'a str),
    pub spec: &'a BucketReplicationSpec,
    /// The status as it was last written.
    pub previous: &'a BucketReplicationStatus,
    /// The last correction, which may be one of the present check.
    pub correction: Option<&'a Correction>,
    pub now: Timestamp,
    /// It is judged because of a failure event, of which there may be many in a second: the status is then not written
    /// for each failure that does not count.
    pub after_event: bool,
}

/// The verdict about one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    pub reason: Reason,
    pub message: String,
    pub health: Option<HealthStatus>,
}

/// Judges all rules of a resource.
pub fn judge(judging: &Judging<'_>, evidence: &Evidence) -> Judged {
    let spec = judging.spec;
    let terms = terms_of(spec, evidence, judging.now);
    let nothing = RuleJudged { finding: Finding::NoEvidence, backlog: None };
    let enabled = spec.rules.iter().filter(|rule| rule.status != Some(Switch::Disabled));
    let mut rules: Vec<JudgedRule<'_>> = enabled
        .map(|rule| {
            let judged = evidence.rules.get(&rule.id).map_or(nothing.clone(), |held| {
                judge_rule(held, &terms.about(prefix_of(rule), held, &evidence.retried))
            });
            let corrected = corrected_fields(judging, evidence, rule, &judged.finding);
            JudgedRule { rule, judged, failure_reason: failure_reason(evidence, rule), corrected }
        })
        .collect();
    // The order of the spec among equals.
    rules.sort_by_key(|one| one.judged.finding.rank());
    let fails = rules.first().is_some_and(|worst| matches!(worst.judged.finding, Finding::Failing { .. }));
    if !fails
        && rules.iter().any(|one| one.judged.finding == Finding::NotRead)
        && let Some(held) = before(judging.previous, evidence)
    {
        return held;
    }
    let reason = rules.first().map_or(Reason::NoEvidence, |worst| worst.judged.finding.reason());
    Judged {
        reason,
        message: message(judging.resource, &rules, evidence),
        health: health(judging, evidence, &rules, reason),
    }
}

/// The last verdict, which stands until the metrics were read: by a process that has just started, for example.
fn before(previous: &BucketReplicationStatus, evidence: &Evidence) -> Option<Judged> {
    let held = previous.conditions.iter().find(|c| c.type_ == ConditionType::Replicating.as_str())?;
    let reason = Reason::VARIANTS.iter().copied().find(|reason| reason.as_str() == held.reason)?;
    let mut health = previous.health.clone().filter(|health| !health.rules.is_empty())?;
    health.backfilled_at = last_backfill(&health, evidence);
    for rule in &mut health.rules {
        let backfilled_to = evidence.rules.get(&rule.id).and_then(|held| held.backfilled_to).map(Time);
        rule.backfilled_to = backfilled_to.or(rule.backfilled_to.take());
    }
    Some(Judged { reason, message: held.message.clone(), health: Some(health) })
}

/// When a backfill last completed, which outlives the backfill.
fn last_backfill(health: &HealthStatus, evidence: &Evidence) -> Option<Time> {
    let known = health.backfilled_at.as_ref().map(|time| time.0);
    evidence.backfilled.max(known).map(Time)
}

/// Ends the runs of failures of rules whose objects arrive again, and drops what no verdict needs any more.
pub fn settle(evidence: &mut Evidence, spec: &BucketReplicationSpec, now: Timestamp) {
    let terms = terms_of(spec, evidence, now);
    for (id, rule) in &mut evidence.rules {
        // The keys of a rule that is gone are not known: only a backfill of all keys ends its run of failures.
        let prefix = spec.rules.iter().find(|one| one.id == *id).map_or("", prefix_of);
        let terms = terms.about(prefix, rule, &evidence.retried);
        rule.backfilled_to = rule.backfilled_to.max(terms.retried_to);
        let arrives = judge_rule(rule, &terms).finding.verdict() == RuleVerdict::Arriving;
        let read_to = rule.metrics.as_ref().and_then(|metrics| metrics.read_to);
        // An event comes minutes before the metric that it explains. It does not explain failures that come a window or
        // more after it.
        let is_past =
            |until: Timestamp| rule.failed_at.is_none_or(|at| window_start(until, terms.window) > at);
        let ends = arrives || open_run(rule, &terms).is_none();
        let is_explained = match (&rule.metrics, &rule.run) {
            (None, _) => ends,
            (Some(_), _) if ends => rule.failed_at.is_none() || read_to.is_some_and(is_past),
            (Some(_), Some(run)) => rule.failed_at.is_some() && is_past(run.since),
            (Some(_), None) => false,
        };
        if ends {
            rule.run = None;
        }
        if is_explained {
            rule.failure_reason = None;
        }
        let known_to = if rule.metrics.is_some() { read_to } else { Some(now) };
        if let Some(start) = known_to.map(|known_to| read_from(known_to, terms.window)) {
            rule.forget_before(start);
        }
    }
}

fn terms_of(spec: &BucketReplicationSpec, evidence: &Evidence, now: Timestamp) -> Terms {
    let health = spec.health.as_ref();
    let max_latency = health.and_then(|health| health.max_latency.as_ref()).map_or(MAX_LATENCY, duration);
    let canary = health.and_then(|health| health.canary.as_ref());
    let canary_interval = interval(canary.and_then(|canary| canary.interval.as_ref()));
    let canary_interval = SignedDuration::try_from(canary_interval).unwrap_or(SignedDuration::MAX);
    Terms {
        window: evidence.window,
        max_latency,
        canary_counts_for: canary_interval.saturating_mul(2).saturating_add(max_latency),
        retried_to: None,
        now,
    }
}

fn duration(interval: &Interval) -> SignedDuration {
    SignedDuration::try_from(interval.duration()).unwrap_or(MAX_LATENCY)
}

fn failure_reason(evidence: &Evidence, rule: &ReplicationRule) -> Option<String> {
    evidence.rules.get(&rule.id)?.failure_reason.clone()
}

/// The fields that the operator corrected and that may have made the operations of a rule fail.
fn corrected_fields(
    judging: &Judging<'_>,
    evidence: &Evidence,
    rule: &ReplicationRule,
    finding: &Finding,
) -> Vec<String> {
    let Some(held) = evidence.rules.get(&rule.id) else { return Vec::new() };
    let last = match finding {
        // A run of failures may be known by its points alone.
        Finding::Failing { .. } | Finding::NotProven { .. } => {
            held.run.as_ref().map(|run| run.last).or(held.last_failure)
        }
        Finding::CanaryFailed { .. } => {
            held.canary.as_ref().and_then(|canary| canary.last.as_ref()).map(|sent| sent.sent_at)
        }
        _ => None,
    };
    let source = judging.spec.source.bucket.as_str();
    last.zip(judging.correction).map_or_else(Vec::new, |(last, correction)| {
        correction_cause(&FailedRule { source, rule, last }, correction)
    })
}

/// Whether nothing could be read, so that the last verdict stands.
fn is_unread(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::AccessDenied | Reason::Throttled | Reason::AwsUnavailable | Reason::CredentialsUnavailable
    )
}

fn health(
    judging: &Judging<'_>,
    evidence: &Evidence,
    rules: &[JudgedRule<'_>],
    reason: Reason,
) -> Option<HealthStatus> {
    let previous = judging.previous.health.as_ref();
    if is_unread(reason) && previous.is_some() {
        return previous.cloned();
    }
    let with_evidence = rules.iter().filter(|one| evidence.rules.contains_key(&one.rule.id));
    let before = |id: &str| previous.and_then(|health| health.rules.iter().find(|held| held.id == id));
    let rules: Vec<RuleHealth> = with_evidence
        .clone()
        .take(MAX_RULE_ENTRIES)
        .map(|one| rule_health(one, evidence, before(&one.rule.id), judging.now))
        .collect();
    let backfilled_at = match previous {
        Some(previous) => last_backfill(previous, evidence),
        None => evidence.backfilled.map(Time),
    };
    if rules.is_empty() {
        // Without evidence there is no verdict. Only the time of the last backfill has a meaning then.
        return backfilled_at.map(|at| HealthStatus { backfilled_at: Some(at), ..HealthStatus::default() });
    }
    let open = with_evidence.clone().filter(|one| one.judged.finding.verdict() != RuleVerdict::Arriving);
    let late = with_evidence.clone().find(|one| one.judged.finding == Finding::CanaryDelayed);
    let late = late.and_then(|one| evidence.rules.get(&one.rule.id)?.canary.as_ref()?.pending);
    let runs = open.filter_map(|one| evidence.rules.get(&one.rule.id)?.run.as_ref());
    let failed_since = runs.map(|run: &FailureRun| run.since).min();
    let began_before = condition_reason(judging.previous) == Some(reason.as_str());
    let since = previous.and_then(|health| health.since.clone()).filter(|_| began_before);
    let health = HealthStatus {
        since: Some(since.unwrap_or(Time(judging.now))),
        failed_since: failed_since.map(Time),
        backfilled_at,
        latency_seconds: rules.iter().filter_map(|rule| rule.latency_seconds).max(),
        rules,
        canary: match late {
            Some(sent_at) => Some(pending_canary(sent_at)),
            None => canary(evidence, previous.and_then(|health| health.canary.as_ref())),
        },
    };
    match previous {
        Some(previous) if began_before && is_same(&health, previous, judging.after_event) => {
            Some(previous.clone())
        }
        _ => Some(health),
    }
}

fn condition_reason(status: &BucketReplicationStatus) -> Option<&str> {
    let about = ConditionType::Replicating.as_str();
    status.conditions.iter().find(|c| c.type_ == about).map(|c| c.reason.as_str())
}

fn rule_health(
    judged_rule: &JudgedRule<'_>,
    all: &Evidence,
    previous: Option<&RuleHealth>,
    now: Timestamp,
) -> RuleHealth {
    let evidence = all.rules.get(&judged_rule.rule.id);
    let finding = &judged_rule.judged.finding;
    let run = match finding {
        Finding::Failing { run } | Finding::NotProven { run } => Some(run),
        Finding::Arriving | Finding::NothingPending => None,
        _ => evidence.and_then(|evidence| evidence.run.as_ref()),
    };
    let backlog = judged_rule.judged.backlog;
    let last_arrival = evidence.and_then(|evidence| evidence.last_arrival).map(Time);
    let last_failure = evidence.and_then(|evidence| evidence.last_failure).map(Time);
    let counted = evidence.and_then(|evidence| evidence.run.as_ref()).filter(|_| run.is_some());
    RuleHealth {
        id: judged_rule.rule.id.clone(),
        destination: judged_rule.rule.destination.bucket.clone(),
        verdict: finding.verdict(),
        failed: run.map(|run| rounded(run.failed)),
        operations: run.filter(|run| run.operations > 0).map(|run| rounded(run.operations)),
        pending: backlog.and_then(|backlog| backlog.pending).map(rounded),
        latency_seconds: backlog.and_then(|backlog| backlog.latency_seconds).map(rounded),
        last_arrival: last_arrival.or_else(|| previous.and_then(|held| held.last_arrival.clone())),
        last_failure: last_failure.or_else(|| previous.and_then(|held| held.last_failure.clone())),
        reason: match finding.verdict() {
            RuleVerdict::Failing => judged_rule.failure_reason.clone(),
            RuleVerdict::Unknown => Some(finding.reason().as_str().to_owned()),
            RuleVerdict::Arriving | RuleVerdict::Delayed => None,
        },
        failed_since: counted.map(|run| Time(run.since)),
        not_counted: evidence.map(|held| not_counted(held, all.window)).unwrap_or_default(),
        backfilled_to: evidence.and_then(|held| held.backfilled_to).map(Time),
        failure_event: evidence.and_then(failure_event),
        metrics_since: evidence.and_then(|held| metrics_since(held, now)).map(Time),
    }
}

/// The canary of the rule whose last one is the latest.
fn canary(evidence: &Evidence, previous: Option<&CanaryStatus>) -> Option<CanaryStatus> {
    let canaries = evidence.rules.values().filter_map(|rule| rule.canary.as_ref());
    let worst = canaries.max_by_key(|canary| {
        let failed = matches!(&canary.last, Some(CanarySent { outcome: CanaryOutcome::Failed { .. }, .. }));
        (canary.refused.is_some(), failed, canary.last.as_ref().map(|sent| sent.sent_at))
    })?;
    let CanaryEvidence { last, pending, refused, remembered_at: _ } = worst;
    if let Some(why) = refused {
        return Some(CanaryStatus {
            result: Some(format!("{CANARY_REFUSED}{why}")),
            ..CanaryStatus::default()
        });
    }
    Some(match last {
        Some(CanarySent { sent_at, outcome: CanaryOutcome::Arrived { at } }) => CanaryStatus {
            sent_at: Some(Time(*sent_at)),
            arrived_at: Some(Time(*at)),
            latency_seconds: Some(rounded(
                u64::try_from(at.duration_since(*sent_at).as_secs()).unwrap_or_default(),
            )),
            result: Some("Arrived".to_owned()),
        },
        Some(CanarySent { sent_at, outcome: CanaryOutcome::Failed { why } }) => CanaryStatus {
            sent_at: Some(Time(*sent_at)),
            result: Some(format!("{CANARY_FAILED}{why}")),
            ..CanaryStatus::default()
        },
        None => match (pending, previous) {
            (Some(sent_at), _) => pending_canary(*sent_at),
            // This process has sent none yet.
            (None, Some(previous)) => previous.clone(),
            (None, None) => CanaryStatus { result: Some(PENDING.to_owned()), ..CanaryStatus::default() },
        },
    })
}

fn pending_canary(sent_at: Timestamp) -> CanaryStatus {
    CanaryStatus { sent_at: Some(Time(sent_at)), result: Some(PENDING.to_owned()), ..CanaryStatus::default() }
}

/// Whether two statuses say the same: the same verdicts and figures, at any times. Where objects arrive, figures change
/// all the time and mean nothing.
fn is_same(new: &HealthStatus, old: &HealthStatus, after_event: bool) -> bool {
    let same_result = |one: &Option<CanaryStatus>, other: &Option<CanaryStatus>| match (one, other) {
        (Some(one), Some(other)) => one.result == other.result,
        (one, other) => one.is_none() && other.is_none(),
    };
    new.rules.len() == old.rules.len()
        && new
            .rules
            .iter()
            .zip(&old.rules)
            .all(|(new, old)| is_same_rule(new, old) && remembers(old, new, after_event))
        && new.failed_since.is_some() == old.failed_since.is_some()
        && new.backfilled_at == old.backfilled_at
        && same_result(&new.canary, &old.canary)
}

fn is_same_rule(new: &RuleHealth, old: &RuleHealth) -> bool {
    let RuleHealth {
        id,
        destination,
        verdict,
        failed,
        operations,
        pending,
        latency_seconds,
        last_arrival: _,
        last_failure: _,
        reason,
        // `remembers` compares the fields that a process needs when it starts.
        failed_since: _,
        not_counted: _,
        backfilled_to: _,
        failure_event: _,
        metrics_since: _,
    } = new;
    let quiet = matches!(verdict, RuleVerdict::Arriving);
    let same_latency = match quiet {
        true => {
            is_same_magnitude(old.latency_seconds.unwrap_or_default(), latency_seconds.unwrap_or_default())
        }
        false => *latency_seconds == old.latency_seconds,
    };
    (id, destination, verdict, reason) == (&old.id, &old.destination, &old.verdict, &old.reason)
        && (failed, operations) == (&old.failed, &old.operations)
        && (quiet || *pending == old.pending)
        && same_latency
}
