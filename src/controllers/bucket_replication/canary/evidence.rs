//! Turns the results of canaries into evidence for the verdict.
//!
//! In: canaries that were sent, ended or refused. Out: the evidence of their rules in the store.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::{BucketReplicationStatus, Reason, ReplicationRule, RuleHealth, RuleVerdict, Switch};
use crate::controllers::bucket_replication::context::Context;
use crate::replication::health::canary::Refused;
use crate::replication::health::canary::flight::{CanaryEnding, Flight};
use crate::replication::health::canary::probe::Probes;
use crate::replication::health::{
    CANARY_FAILED, CANARY_REFUSED, CanaryEvidence, CanaryOutcome, CanarySent, Evidence, PENDING,
};

const NOT_ELIGIBLE: &str = "S3 applied no rule to it; check that nobody changed the replication configuration, and that the source bucket encrypts new objects as the rule expects";

/// Notes that no canary is written. `asked`: the spec asks for canaries, but the operator writes nothing to AWS for
/// this resource.
pub fn forget<C, K>(uid: &str, asked: bool, rules: &[ReplicationRule], cx: &Context<C, K>) {
    let enabled = rules.iter().filter(|rule| asked && rule.status != Some(Switch::Disabled));
    let refused = enabled.map(|rule| (rule.id.clone(), Refused::NotWriting)).collect();
    let held = cx.evidence.get(uid);
    if asked || held.rules.values().any(|rule| rule.canary.is_some()) {
        cx.evidence.with(uid, |evidence| {
            evidence.rules.values_mut().for_each(|rule| rule.canary = None);
            let nothing = BucketReplicationStatus::default();
            planned(evidence, &Probes { probes: Vec::new(), refused }, &nothing, cx.clock.timestamp());
            evidence.rules.retain(|_, rule| *rule != Default::default());
        });
    }
}

/// Before a check: the rules of the resource are about to have a canary. In a process that starts, the status supplies
/// the result of the last canary, so that the verdict stays until the next one.
pub fn expected(
    evidence: &mut Evidence,
    rules: &[ReplicationRule],
    status: &BucketReplicationStatus,
    now: Timestamp,
) {
    for rule in rules.iter().filter(|rule| rule.status != Some(Switch::Disabled)) {
        let held = evidence.rules.entry(rule.id.clone()).or_default();
        held.canary.get_or_insert_with(|| remembered(status, &rule.id, now));
    }
}

/// Which rules have a canary, and why others have none.
pub fn planned(evidence: &mut Evidence, probes: &Probes, status: &BucketReplicationStatus, now: Timestamp) {
    let proved: BTreeSet<&String> = probes.probes.iter().flat_map(|probe| probe.arrivals.values()).collect();
    for (id, rule) in &mut evidence.rules {
        if !proved.contains(id) && !probes.refused.contains_key(id) {
            rule.canary = None;
        }
    }
    for id in proved {
        let rule = evidence.rules.entry(id.clone()).or_default();
        let canary = rule.canary.get_or_insert_with(|| remembered(status, id, now));
        canary.refused = None;
    }
    for (id, refused) in &probes.refused {
        let rule = evidence.rules.entry(id.clone()).or_default();
        rule.canary.get_or_insert_default().refused = Some(refused.message());
    }
}

/// The last canary of a rule, by the status that an earlier process wrote. The status has one canary of all rules: it
/// is that of this rule as far as the verdict about the rule says so.
fn remembered(status: &BucketReplicationStatus, rule: &str, now: Timestamp) -> CanaryEvidence {
    let Some(health) = &status.health else { return CanaryEvidence::default() };
    let Some(canary) = &health.canary else { return CanaryEvidence::default() };
    let Some(held) = health.rules.iter().find(|held| held.id == rule) else {
        return CanaryEvidence::default();
    };
    let result = canary.result.as_deref().unwrap_or_default();
    let is_because = |reason: Reason| held.reason.as_deref() == Some(reason.as_str());
    let sent_at = canary.sent_at.as_ref().map(|time| time.0);
    let arrived = || canary.arrived_at.as_ref().map(|at| CanaryOutcome::Arrived { at: at.0 });
    let outcome = match (held.verdict, result.strip_prefix(CANARY_FAILED)) {
        (RuleVerdict::Failing, Some(why)) if is_of(why, held) => {
            Some(CanaryOutcome::Failed { why: why.to_owned() })
        }
        // The canary of another rule failed, and that of this one arrived.
        (RuleVerdict::Arriving, Some(_)) => sent_at.map(|at| CanaryOutcome::Arrived { at }),
        (_, Some(_)) => None,
        // That of another rule may be younger than the failures of this one.
        (_, None) if held.failed_since.is_some() => None,
        (_, None) => arrived(),
    };
    // It was too old by then to show anything, and a process that starts makes it no younger.
    let is_old = is_because(Reason::NoData);
    let has_arrived = matches!(outcome, Some(CanaryOutcome::Arrived { .. }));
    let refused = result.strip_prefix(CANARY_REFUSED).filter(|_| is_because(Reason::CanaryRefused));
    CanaryEvidence {
        pending: sent_at.filter(|_| held.verdict == RuleVerdict::Delayed && result == PENDING),
        refused: refused.map(str::to_owned),
        remembered_at: (has_arrived && !is_old && sent_at.is_some()).then_some(now),
        last: sent_at.zip(outcome).map(|(sent_at, outcome)| CanarySent { sent_at, outcome }),
    }
}

/// Whether the canary that failed is that of a rule: metrics show none of its operations, or its bucket is named.
fn is_of(why: &str, held: &RuleHealth) -> bool {
    held.failed.is_none() || why.contains(&format!("bucket {} ", held.destination))
}

/// A canary was written.
pub fn sent(evidence: &mut Evidence, arrivals: &BTreeMap<String, String>, at: Timestamp) {
    for rule in arrivals.values() {
        evidence.rules.entry(rule.clone()).or_default().canary.get_or_insert_default().pending = Some(at);
    }
}

/// A canary could not be written.
pub fn refused(evidence: &mut Evidence, arrivals: &BTreeMap<String, String>, why: &str) {
    for rule in arrivals.values() {
        let canary = evidence.rules.entry(rule.clone()).or_default().canary.get_or_insert_default();
        canary.refused = Some(why.to_owned());
    }
}

/// No canary of the resource can go on: a right is missing.
pub fn all_refused(evidence: &mut Evidence, rules: &[ReplicationRule], why: &str) {
    for rule in rules.iter().filter(|rule| rule.status != Some(Switch::Disabled)) {
        let canary = evidence.rules.entry(rule.id.clone()).or_default().canary.get_or_insert_default();
        canary.refused = Some(why.to_owned());
    }
}

/// A canary ended, and its replicas are known. One that vanished shows nothing.
pub fn ended(evidence: &mut Evidence, flight: &Flight) {
    let Some((ending, at)) = flight.ending else { return };
    for (bucket, rule) in &flight.arrivals {
        let canary = evidence.rules.entry(rule.clone()).or_default().canary.get_or_insert_default();
        canary.pending = None;
        let outcome = match ending {
            CanaryEnding::Arrived => CanaryOutcome::Arrived { at },
            CanaryEnding::Failed if flight.reached.contains(bucket) => CanaryOutcome::Arrived { at },
            CanaryEnding::Failed => CanaryOutcome::Failed {
                why: format!(
                    "S3 reports that it could not be replicated, and bucket {bucket} does not hold it"
                ),
            },
            CanaryEnding::Abandoned => CanaryOutcome::Failed {
                why: format!("it was pending for a day, and bucket {bucket} did not receive it"),
            },
            CanaryEnding::NotEligible => {
                canary.refused = Some(NOT_ELIGIBLE.to_owned());
                continue;
            }
            CanaryEnding::Vanished => continue,
        };
        canary.refused = None;
        canary.last = Some(CanarySent { sent_at: flight.sent_at, outcome });
    }
}
