//! Decides which evidence the status keeps, so that a process that starts comes to the same verdict as the one before
//! it.
//!
//! In: the evidence about a rule; and the status of an earlier process. Out: the fields of `status.health.rules` that
//! no reading of AWS brings back; and the evidence that they hold. Points of metrics are not among them, because
//! CloudWatch keeps them for 15 days.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{FailureEventStatus, MAX_NOT_COUNTED, NotCounted, RuleHealth, RuleVerdict};
use crate::replication::health::evidence::{FailureRun, MetricsEvidence, RuleEvidence, WINDOW};
use crate::replication::health::metrics::{aligned, period};

impl RuleEvidence {
    /// The evidence that a status remembers. `failed_since`: that of all rules, for a status without one of each rule.
    pub fn remembered(held: &RuleHealth, failed_since: Option<Timestamp>) -> RuleEvidence {
        let time = |time: &Option<Time>| time.as_ref().map(|time| time.0);
        let count = |figure: Option<i64>| figure.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
        let last_failure = time(&held.last_failure);
        let since = time(&held.failed_since).or(failed_since.filter(|_| count(held.failed) > 0));
        let run = since.zip(last_failure).map(|(since, last)| FailureRun {
            since: since.min(last),
            last,
            failed: count(held.failed),
            operations: count(held.operations),
        });
        let event = held.failure_event.as_ref();
        let reason = event.map(|event| event.reason.clone());
        let noise = held.not_counted.iter().map(|one| (one.minute.0, count(Some(one.operations))));
        RuleEvidence {
            run,
            last_arrival: time(&held.last_arrival),
            last_failure,
            backfilled_to: time(&held.backfilled_to),
            failure_reason: reason
                .or_else(|| held.reason.clone().filter(|_| held.verdict == RuleVerdict::Failing)),
            failed_at: event.map(|event| event.at.0),
            noise_before: noise.collect(),
            ..RuleEvidence::default()
        }
    }

    /// Metrics of which this process has read nothing yet. `known`: the status has a verdict about them.
    pub fn unread_metrics(&self, since: Timestamp, known: bool, now: Timestamp) -> MetricsEvidence {
        let run = self.run.as_ref().map(|run| run.last);
        MetricsEvidence {
            // All points up to there are in the figures of the status, or were found not to count.
            counted_to: run.map_or(self.last_failure, |last| Some(last).max(self.last_arrival)),
            unread_from: run,
            taken_over_at: known.then_some(now),
            ..MetricsEvidence::new(since)
        }
    }
}

/// The failures that do not count, by point of the metrics.
pub(crate) fn not_counted(evidence: &RuleEvidence, window: SignedDuration) -> Vec<NotCounted> {
    let length = period(window);
    let mut points: BTreeMap<Timestamp, i64> = BTreeMap::new();
    let keys = evidence.noise.iter().map(|(at, keys)| (*at, i64::try_from(keys.len()).unwrap_or(i64::MAX)));
    let before =
        evidence.noise_before.iter().map(|(at, count)| (*at, i64::try_from(*count).unwrap_or(i64::MAX)));
    for (at, count) in keys.chain(before) {
        let held = points.entry(aligned(at, length)).or_default();
        *held = held.saturating_add(count);
    }
    let oldest = points.len().saturating_sub(MAX_NOT_COUNTED);
    let kept = points.into_iter().skip(oldest);
    kept.map(|(at, operations)| NotCounted { minute: Time(at), operations }).collect()
}

/// The event that explains failures.
pub(crate) fn failure_event(evidence: &RuleEvidence) -> Option<FailureEventStatus> {
    let (reason, at) = (evidence.failure_reason.clone()?, evidence.failed_at?);
    Some(FailureEventStatus { at: Time(at), reason })
}

/// Since when a rule publishes metrics, while that is why there may be none.
pub(crate) fn metrics_since(evidence: &RuleEvidence, now: Timestamp) -> Option<Timestamp> {
    let since = evidence.metrics.as_ref()?.since;
    (now.duration_since(since) < WINDOW).then_some(since)
}

/// Whether a status holds what a process that starts needs. A field that it holds beyond that has expired, and is not
/// worth a write.
pub(crate) fn remembers(status: &RuleHealth, needed: &RuleHealth, after_event: bool) -> bool {
    let total = |health: &RuleHealth| -> i64 {
        health.not_counted.iter().map(|one| one.operations).fold(0, i64::saturating_add)
    };
    // Each doubling.
    let digits = |total: i64| total.max(0).checked_ilog2().map_or(0, |log| log + 1);
    let has_counts = match after_event {
        // The next reading of metrics has the status written.
        true => digits(total(needed)) <= digits(total(status)),
        false => needed.not_counted.iter().all(|one| status.not_counted.contains(one)),
    };
    let fails = needed.verdict == RuleVerdict::Failing;
    has_counts
        && needed.failed_since == status.failed_since
        && (fails || needed.last_failure == status.last_failure)
        && (needed.backfilled_to.is_none() || needed.backfilled_to == status.backfilled_to)
        && (needed.failure_event.is_none() || needed.failure_event == status.failure_event)
        && (needed.metrics_since.is_none() || needed.metrics_since == status.metrics_since)
}
