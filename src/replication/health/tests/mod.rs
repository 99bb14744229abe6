//! Tests of the verdict whether objects arrive, as data in and data out.

mod properties;
mod sweeps;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::api::{
    AwsResource, BucketReplicationSpec, BucketReplicationStatus, Canary, Correction, Destination, DriftEntry,
    Health, Interval, Reason, ReplicationRule, RuleVerdict, Source, Switch,
};
use crate::replication::health::evidence::{
    Backlog, CanaryEvidence, CanaryOutcome, CanarySent, EndedOperations, Evidence, MetricsEvidence,
    RetriedFailures, RuleEvidence, Unread, WINDOW,
};
use crate::replication::health::metrics::{
    GET_METRIC_DATA, MetricsBatch, MetricsRequest, Series, SeriesAnswer, Statistic, Watch, WatchedRule, add,
    readings,
};
use crate::replication::health::{Judged, Judging, judge, settle};
use crate::replication::status::{self, Replicating};
use crate::replication::{Failure, FailureClass};

/// The window of every case is the quarter of an hour before this minute.
const NOON: i64 = 1_795_608_000;

fn minute(after: i64) -> Timestamp {
    Timestamp::from_second(NOON + after * 60).unwrap()
}

fn spec(rules: &[&str]) -> BucketReplicationSpec {
    let rule = |id: &&str| ReplicationRule {
        id: (*id).to_owned(),
        destination: Destination { bucket: format!("to-{id}"), ..Destination::default() },
        ..ReplicationRule::default()
    };
    BucketReplicationSpec {
        source: Source { bucket: "orders".into(), ..Source::default() },
        rules: rules.iter().map(rule).collect(),
        ..BucketReplicationSpec::default()
    }
}

/// A backfill of everything that failed, of objects from before this minute.
fn everything_to(before: i64) -> RetriedFailures {
    RetriedFailures { prefixes: Vec::new(), created_after: None, to: minute(before) }
}

/// Evidence of a rule whose metrics were read up to noon.
fn read() -> RuleEvidence {
    let metrics = MetricsEvidence { read_to: Some(minute(0)), ..MetricsEvidence::new(Timestamp::UNIX_EPOCH) };
    RuleEvidence { metrics: Some(metrics), ..RuleEvidence::default() }
}

fn with(points: &[(i64, u64, u64)]) -> RuleEvidence {
    let mut evidence = read();
    for (at, failed, operations) in points {
        evidence.ended(minute(*at), EndedOperations { failed: *failed, operations: *operations });
    }
    evidence
}

fn pending(points: &[(i64, u64, u64)]) -> RuleEvidence {
    let mut evidence = read();
    for (at, pending, latency) in points {
        let backlog = Backlog { pending: Some(*pending), latency_seconds: Some(*latency) };
        evidence.backlog(minute(*at), backlog);
    }
    evidence
}

fn evidence<const N: usize>(rules: [(&str, RuleEvidence); N]) -> Evidence {
    let rules = rules.into_iter().map(|(id, rule)| (id.to_owned(), rule)).collect();
    Evidence { rules, ..Evidence::default() }
}

fn judging<'a>(
    spec: &'a BucketReplicationSpec,
    previous: &'a BucketReplicationStatus,
    now: Timestamp,
) -> Judging<'a> {
    let correction = previous.last_correction.as_ref();
    Judging { resource: ("data", "orders"), spec, previous, correction, now, after_event: false }
}

fn judged_at(spec: &BucketReplicationSpec, evidence: &Evidence, now: Timestamp) -> Judged {
    let previous = &BucketReplicationStatus::default();
    judge(&judging(spec, previous, now), evidence)
}

fn replicating(
    spec: &BucketReplicationSpec,
    previous: &BucketReplicationStatus,
    evidence: &Evidence,
    now: Timestamp,
) -> Replicating {
    status::replicating(&judging(spec, previous, now), evidence)
}

fn judged(spec: &BucketReplicationSpec, evidence: &Evidence) -> Judged {
    judged_at(spec, evidence, minute(2))
}

/// The reason for a resource with one rule.
fn reason(rule: RuleEvidence) -> Reason {
    judged(&spec(&["all"]), &evidence([("all", rule)])).reason
}

#[test]
fn each_row_of_evidence_has_its_verdict() {
    assert_eq!(reason(with(&[(-3, 0, 5)])), Reason::ObjectsArriving);
    assert_eq!(reason(with(&[(-3, 1, 5)])), Reason::ObjectsFailing);
    assert_eq!(reason(pending(&[(-1, 0, 0)])), Reason::NothingPending);
    assert_eq!(reason(pending(&[(-1, 7, 30)])), Reason::Progressing);
    assert_eq!(reason(pending(&[(-3, 7, 901), (-2, 7, 960), (-1, 7, 1020)])), Reason::ObjectsDelayed);
    assert_eq!(
        reason(pending(&[(-2, 7, 960), (-1, 7, 1020)])),
        Reason::Progressing,
        "two points are too few"
    );
    assert_eq!(
        reason(pending(&[(-3, 7, 901), (-2, 7, 9), (-1, 7, 1020)])),
        Reason::Progressing,
        "not in a row"
    );
    assert_eq!(reason(read()), Reason::NoData);
    let mut early = read();
    early.metrics.as_mut().unwrap().since = minute(-5);
    assert_eq!(reason(early), Reason::Progressing);
    assert_eq!(reason(RuleEvidence::default()), Reason::NoEvidence);
    assert_eq!(judged(&spec(&["all"]), &Evidence::default()).reason, Reason::NoEvidence);
}

#[test]
fn without_evidence_the_message_names_both_fields_and_what_they_cost() {
    let Judged { message, health, .. } = judged(&spec(&["all"]), &Evidence::default());
    for part in ["destination.metrics: Enabled", "1.20 USD", "spec.health.canary", "0.07 USD"] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert_eq!(health, None);
    let off = Evidence { reads_metrics: false, ..Evidence::default() };
    assert!(judged(&spec(&["all"]), &off).message.contains("--health-interval 0"));
}

#[test]
fn failures_are_counted_and_named_with_the_rule_the_destination_and_the_cause() {
    let mut held = evidence([("all", with(&[(-4, 6, 6), (-3, 6, 6)]))]);
    held.likely_cause = Some("role r does not trust S3".into());
    let verdict = judged(&spec(&["all"]), &held);
    assert_eq!(
        verdict.message,
        "objects do not arrive: 12 of 12 operations of rule all to to-all failed; the likely cause: role r does not trust \
         S3. Once that is corrected, a ReplicationBackfill replicates the objects that are missing \
         (kubectl s3replication backfill orders -n data --wait, or docs/backfill.md)"
    );
    let health = verdict.health.unwrap();
    assert_eq!(health.failed_since.unwrap().0, minute(-4));
    let rule = &health.rules[0];
    assert_eq!((rule.verdict, rule.failed, rule.operations), (RuleVerdict::Failing, Some(12), Some(12)));
    assert_eq!(rule.last_failure.as_ref().unwrap().0, minute(-3));

    held.rules.get_mut("all").unwrap().failure_reason = Some("DstBucketNotFound".into());
    let message = judged(&spec(&["all"]), &held).message;
    assert!(message.contains("DstBucketNotFound") && !message.contains("likely"), "{message}");
}

/// A status after the operator corrected the versioning of these destinations.
fn corrected(at: i64, destinations: &[&str]) -> BucketReplicationStatus {
    let item = |name: &&str| DriftEntry {
        resource: AwsResource::BucketVersioning,
        name: (*name).to_owned(),
        path: "status".into(),
        want: "Enabled".into(),
        got: "Suspended".into(),
    };
    let items: Vec<DriftEntry> = destinations.iter().map(item).collect();
    let count = i32::try_from(items.len()).unwrap();
    let last_correction = Some(Correction { time: Time(minute(at)), count, items });
    BucketReplicationStatus { last_correction, ..BucketReplicationStatus::default() }
}

#[test]
fn a_correction_is_the_likely_cause_of_failures_that_nothing_else_explains() {
    let resource = spec(&["a", "b"]);
    let mut held = evidence([("a", with(&[(-4, 6, 6)])), ("b", with(&[(-4, 1, 1)]))]);
    let verdict = |held: &Evidence, status: &BucketReplicationStatus| {
        judge(&judging(&resource, status, minute(2)), held).message
    };
    assert_eq!(
        verdict(&held, &corrected(-2, &["to-a", "to-b"])),
        "objects do not arrive: 6 of 6 operations of rule a to to-a failed; 1 of 1 operation of rule b to to-b failed; the \
         likely cause: AWS differed from the spec in BucketVersioning to-a status; BucketVersioning to-b status, which the \
         operator has corrected (status.lastCorrection has the time and the values); S3 does not replicate again the \
         objects that failed before: a ReplicationBackfill replicates the objects that are missing \
         (kubectl s3replication backfill orders -n data --wait, or docs/backfill.md)"
    );
    let of_one = verdict(&held, &corrected(-2, &["to-b"]));
    assert!(of_one.contains("; the likely cause for rule b to to-b: AWS differed"), "{of_one}");
    assert!(verdict(&held, &corrected(-10, &["to-a"])).contains("head-object"), "it failed afterwards");
    assert_eq!(
        verdict(&held, &corrected(-2, &["to-a"])),
        verdict(&held, &corrected(-1, &["to-a"])),
        "a message holds no time"
    );

    held.rules.get_mut("a").unwrap().failure_reason = Some("DstBucketUnversioned".into());
    let by_event = verdict(&held, &corrected(-2, &["to-a"]));
    assert!(
        by_event.contains("S3 reports DstBucketUnversioned") && !by_event.contains("likely"),
        "{by_event}"
    );
    held.rules.get_mut("a").unwrap().failure_reason = None;
    held.likely_cause = Some("role r does not trust S3".into());
    let present = verdict(&held, &corrected(-2, &["to-a"]));
    assert!(present.contains("role r does not trust S3. Once that is corrected"), "{present}");
    assert!(!present.contains("lastCorrection"), "{present}");
}

#[test]
fn a_correction_is_named_too_while_nothing_ended_since() {
    let resource = spec(&["all"]);
    let mut held = evidence([("all", with(&[(-15, 3, 3)]))]);
    held.rules.get_mut("all").unwrap().metrics.as_mut().unwrap().read_to = Some(minute(20));
    settle(&mut held, &resource, minute(22));
    let status = corrected(-14, &["to-all"]);
    let verdict = judge(&judging(&resource, &status, minute(22)), &held);
    assert_eq!(verdict.reason, Reason::NotProven);
    let expected = "and nothing ended since; the likely cause: AWS differed from the spec in BucketVersioning to-all status";
    assert!(verdict.message.contains(expected), "{}", verdict.message);
}

#[test]
fn a_correction_is_the_likely_cause_of_a_canary_that_failed_before() {
    let resource = spec(&["all"]);
    let failed = CanaryOutcome::Failed { why: "no replica at to-all".into() };
    let last = Some(CanarySent { sent_at: minute(-5), outcome: failed });
    let canary = Some(CanaryEvidence { last, ..CanaryEvidence::default() });
    let held = evidence([("all", RuleEvidence { canary, ..RuleEvidence::default() })]);
    let verdict = |at: i64| {
        let status = corrected(at, &["to-all"]);
        judge(&judging(&resource, &status, minute(2)), &held).message
    };
    assert!(verdict(-3).contains("; the likely cause: AWS differed"), "{}", verdict(-3));
    assert!(!verdict(-11).contains("likely cause"), "{}", verdict(-11));
}

#[test]
fn objects_arrive_again_only_after_a_whole_clean_window_in_which_something_ended() {
    let resource = spec(&["all"]);
    let mut held = evidence([("all", with(&[(-15, 3, 3), (-1, 0, 2)]))]);
    let now = |held: &mut Evidence, read: i64| {
        held.rules.get_mut("all").unwrap().metrics.as_mut().unwrap().read_to = Some(minute(read));
        settle(held, &resource, minute(read + 2));
        judged_at(&resource, held, minute(read + 2))
    };
    assert_eq!(now(&mut held, 0).reason, Reason::ObjectsFailing, "a later success does not hide the failure");
    assert_eq!(now(&mut held, 1).reason, Reason::ObjectsArriving);
    let health = now(&mut held, 30).health.unwrap();
    assert_eq!((health.failed_since, health.rules[0].failed), (None, None), "the count begins again");

    let mut silent = evidence([("all", with(&[(-15, 3, 3)]))]);
    let verdict = now(&mut silent, 20);
    assert_eq!(verdict.reason, Reason::NotProven);
    assert!(
        verdict.message.contains("3 of 3 operations") && verdict.message.contains("backfill"),
        "{}",
        verdict.message
    );
    silent.backfilled = Some(minute(10));
    assert_eq!(now(&mut silent, 20).reason, Reason::NotProven, "a backfill of a part ends no run");
    silent.add_retried(everything_to(-15));
    assert_eq!(now(&mut silent, 20).reason, Reason::NotProven, "the job was asked for before the failure");
    silent.add_retried(RetriedFailures { created_after: Some(minute(-15)), ..everything_to(-14) });
    assert_eq!(now(&mut silent, 20).reason, Reason::NotProven, "what failed may have been created before");
    silent.add_retried(everything_to(-14));
    let completed = now(&mut silent, 20);
    assert_eq!(completed.reason, Reason::NoData, "a completed backfill ends the run");
    assert_eq!(completed.health.unwrap().backfilled_at.unwrap().0, minute(10));
}

#[test]
fn a_canary_that_arrived_after_the_last_failure_proves_that_objects_arrive() {
    let sent = |at: i64, outcome| {
        let last = Some(CanarySent { sent_at: minute(at), outcome });
        Some(CanaryEvidence { last, ..CanaryEvidence::default() })
    };
    let arrived = |at: i64| sent(at, CanaryOutcome::Arrived { at: minute(at + 1) });
    let rule = |canary| RuleEvidence { canary, ..with(&[(-5, 2, 2)]) };
    assert_eq!(reason(rule(arrived(-6))), Reason::ObjectsFailing);
    assert_eq!(reason(rule(arrived(-4))), Reason::ObjectsArriving);
    let failed = CanaryOutcome::Failed { why: "no replica at to-all".into() };
    let alone = |canary| RuleEvidence { canary, ..RuleEvidence::default() };
    assert_eq!(reason(alone(sent(-5, failed))), Reason::ObjectsFailing);
    let pending = |at| Some(CanaryEvidence { pending: Some(minute(at)), ..CanaryEvidence::default() });
    assert_eq!(reason(alone(pending(0))), Reason::Progressing);
    assert_eq!(reason(alone(pending(-14))), Reason::ObjectsDelayed);
    let refused = Some(CanaryEvidence { refused: Some("no".into()), ..CanaryEvidence::default() });
    assert_eq!(reason(alone(refused.clone())), Reason::CanaryRefused);
    assert_eq!(
        reason(RuleEvidence { canary: refused, ..read() }),
        Reason::NoData,
        "metrics were asked for too"
    );
}

#[test]
fn a_canary_that_arrived_shows_nothing_once_two_more_should_have_been_sent() {
    let mut resource = spec(&["all"]);
    let canary = Canary { interval: Some(Interval("10m".into())), ..Canary::default() };
    let health =
        Health { canary: Some(canary), max_latency: Some(Interval("5m".into())), ..Health::default() };
    resource.health = Some(health);
    let held = |pending: Option<i64>, remembered: Option<i64>| {
        let last = CanarySent { sent_at: minute(0), outcome: CanaryOutcome::Arrived { at: minute(1) } };
        let canary = CanaryEvidence {
            last: Some(last),
            pending: pending.map(minute),
            remembered_at: remembered.map(minute),
            refused: None,
        };
        evidence([("all", RuleEvidence { canary: Some(canary), ..RuleEvidence::default() })])
    };
    let reason = |held: &Evidence, at: i64| judged_at(&resource, held, minute(at)).reason;
    assert_eq!(reason(&held(None, None), 25), Reason::ObjectsArriving);
    assert_eq!(reason(&held(None, None), 26), Reason::NoData);
    let answer = judged_at(&resource, &held(None, None), minute(26)).message;
    assert!(
        answer.contains("sent no canary of rule all to to-all since") && answer.contains("Ready"),
        "{answer}"
    );
    assert_eq!(reason(&held(Some(25), None), 26), Reason::Progressing, "the next one has not arrived");
    assert_eq!(reason(&held(None, Some(100)), 125), Reason::ObjectsArriving, "the status is older than it");
    assert_eq!(reason(&held(None, Some(100)), 126), Reason::NoData);
}

#[test]
fn a_canary_from_before_the_last_failure_does_not_prove_that_objects_arrive_again() {
    let resource = spec(&["all"]);
    let after = |canary: i64| {
        let outcome = CanaryOutcome::Arrived { at: minute(canary + 1) };
        let last = Some(CanarySent { sent_at: minute(canary), outcome });
        let canary = Some(CanaryEvidence { last, ..CanaryEvidence::default() });
        let mut held = evidence([("all", RuleEvidence { canary, ..with(&[(-15, 3, 3)]) })]);
        // A whole window is clean since, and nothing ended in it.
        held.rules.get_mut("all").unwrap().metrics.as_mut().unwrap().read_to = Some(minute(5));
        settle(&mut held, &resource, minute(7));
        held
    };
    let held = after(-20);
    assert_eq!(judged_at(&resource, &held, minute(7)).reason, Reason::NotProven);
    let mut without_metrics = held;
    without_metrics.rules.get_mut("all").unwrap().metrics = None;
    assert_eq!(judged_at(&resource, &without_metrics, minute(7)).reason, Reason::NotProven);
    assert_eq!(judged_at(&resource, &after(-5), minute(7)).reason, Reason::ObjectsArriving);
}

#[test]
fn objects_deleted_before_they_replicated_are_no_failure() {
    let mut rule = with(&[(-5, 2, 3)]);
    rule.noise.insert(minute(-5), [1].into());
    assert_eq!(reason(rule.clone()), Reason::ObjectsFailing);
    rule.noise.insert(minute(-4), [2].into());
    assert_eq!(reason(rule.clone()), Reason::ObjectsArriving, "one arrived, and none failed but alone");
    let mut nothing_arrived = with(&[(-5, 2, 2)]);
    nothing_arrived.noise = rule.noise.clone();
    assert_eq!(reason(nothing_arrived), reason(with(&[])), "as if nothing had ended");
    let mut later = with(&[(-9, 2, 3)]);
    later.noise = rule.noise.clone();
    assert_eq!(reason(later), Reason::ObjectsFailing, "those that failed before are others");
    rule.metrics.as_mut().unwrap().read_to = Some(minute(30));
    assert_ne!(reason(rule), Reason::NotProven, "nothing is missing");
}

#[test]
fn a_denial_hides_the_verdict_at_once_and_a_hiccup_only_when_the_evidence_is_old() {
    let unread = |reason| Some(Unread { reason, message: "denied".into() });
    let mut rule = with(&[(-3, 0, 5)]);
    rule.metrics.as_mut().unwrap().unread = unread(Reason::Throttled);
    assert_eq!(reason(rule.clone()), Reason::ObjectsArriving);
    rule.metrics.as_mut().unwrap().read_to = Some(minute(-14));
    assert_eq!(reason(rule.clone()), Reason::Throttled);
    rule = with(&[(-3, 0, 5)]);
    rule.metrics.as_mut().unwrap().unread = unread(Reason::AccessDenied);
    assert_eq!(reason(rule), Reason::AccessDenied);
}

#[test]
fn a_failed_reading_leaves_the_last_verdict_in_the_status() {
    let resource = spec(&["all"]);
    let before = replicating(
        &resource,
        &BucketReplicationStatus::default(),
        &evidence([("all", with(&[(-3, 1, 5)]))]),
        minute(2),
    );
    let previous = BucketReplicationStatus {
        conditions: vec![before.condition],
        health: before.health.clone(),
        ..BucketReplicationStatus::default()
    };
    let mut denied = with(&[(-3, 1, 5)]);
    denied.metrics.as_mut().unwrap().unread =
        Some(Unread { reason: Reason::AccessDenied, message: "denied".into() });
    let after = replicating(&resource, &previous, &evidence([("all", denied)]), minute(3));
    assert_eq!(
        (after.condition.status.as_str(), after.condition.reason.as_str()),
        ("Unknown", "AccessDenied")
    );
    assert_eq!(after.health, before.health);
    let unread = evidence([(
        "all",
        RuleEvidence { metrics: Some(MetricsEvidence::new(minute(3))), ..RuleEvidence::default() },
    )]);
    let restarted = replicating(&resource, &previous, &unread, minute(3));
    assert_eq!(
        restarted.condition, previous.conditions[0],
        "a process that has just started keeps the verdict"
    );
}

#[test]
fn events_show_when_objects_cease_to_arrive_and_when_they_arrive_again() {
    let resource = spec(&["all"]);
    let mut status = BucketReplicationStatus::default();
    let mut event = |rule: RuleEvidence, at: i64| {
        let answer = replicating(&resource, &status, &evidence([("all", rule)]), minute(at));
        status.conditions = vec![answer.condition];
        status.health = answer.health;
        answer.event.map(|event| event.reason)
    };
    assert_eq!(event(with(&[(-3, 0, 5)]), 2), None, "that objects arrive is no news");
    assert_eq!(event(with(&[(-3, 1, 5)]), 3), Some("ObjectsFailing"));
    assert_eq!(event(with(&[(-3, 2, 6)]), 4), None);
    assert_eq!(event(with(&[(-3, 0, 5)]), 5), Some("ObjectsArriveAgain"));
    assert_eq!(event(pending(&[(-3, 7, 901), (-2, 7, 960), (-1, 7, 1020)]), 6), Some("ObjectsDelayed"));
}

#[test]
fn a_thousand_rules_fill_a_bounded_status_and_the_worst_come_first() {
    let ids: Vec<String> = (0..1000).map(|n| format!("r{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut held = Evidence::default();
    for id in &ids {
        held.rules.insert((*id).to_owned(), with(&[(-3, u64::from(*id == "r999"), 5)]));
    }
    let verdict = judged(&spec(&ids), &held);
    let health = verdict.health.unwrap();
    assert_eq!((health.rules.len(), health.rules[0].id.as_str()), (100, "r999"));
    assert!(verdict.message.len() < 1000, "{}", verdict.message);
}
