//! Tests of the verdict whether objects arrive, as data in and data out.

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

/// Evidence of one rule, of which nothing was read yet, and the rule.
fn watched(window: SignedDuration) -> (Evidence, Watch) {
    let metrics = Some(MetricsEvidence::new(Timestamp::UNIX_EPOCH));
    let mut held = evidence([("all", RuleEvidence { metrics, ..RuleEvidence::default() })]);
    held.window = window;
    let rule =
        WatchedRule { id: "all".into(), destination: "to-all".into(), region: Some("eu-west-1".into()) };
    let watch =
        Watch { account: None, source: "orders".into(), region: "us-east-1".into(), rules: vec![rule] };
    (held, watch)
}

/// One sweep of an emulated CloudWatch.
fn sweep(
    (held, watch): (&mut Evidence, &Watch),
    now: Timestamp,
    answer: impl Fn(&MetricsRequest, &Series) -> SeriesAnswer,
) {
    for reading in readings([("uid", watch, &held.clone())], now) {
        for (request, about) in reading.requests {
            let pair: Vec<_> = request.series.iter().map(|s| (s.clone(), answer(&request, s))).collect();
            add(held.rules.get_mut("all").unwrap(), &request, &about[0], &pair);
        }
    }
    settle(held, &spec(&["all"]), now);
}

/// The answer of a CloudWatch in which three operations failed at a time, in points of the length that is asked for.
fn three_failed(at: Timestamp) -> impl Fn(&MetricsRequest, &Series) -> SeriesAnswer {
    move |request, series| {
        let at = Timestamp::from_second(at.as_second() - at.as_second().rem_euclid(request.period)).unwrap();
        let is_asked = !series.statistic.is_backlog() && (request.start..request.end).contains(&at);
        SeriesAnswer { points: is_asked.then_some((at, 3.0)).into_iter().collect(), problem: None }
    }
}

/// The answer of a CloudWatch that leaves points out.
fn in_part(points: Vec<(Timestamp, f64)>) -> SeriesAnswer {
    let problem = Failure::new(FailureClass::Unavailable, GET_METRIC_DATA, "us-east-1", "PartialData");
    SeriesAnswer { points, problem: Some(problem) }
}

fn read_to(held: &Evidence) -> Option<Timestamp> {
    held.rules["all"].metrics.as_ref().unwrap().read_to
}

#[test]
fn a_point_is_counted_once_however_often_it_is_read() {
    for (window, pause) in [(1, 1), (15, 5), (15, 600), (62, 7), (400, 33)] {
        let (mut held, watch) = watched(SignedDuration::from_mins(window));
        let mut worst = 0;
        for step in 0..100 {
            sweep((&mut held, &watch), minute(step * pause - 5), three_failed(minute(0)));
            worst = worst.max(held.rules["all"].run.as_ref().map_or(0, |run| run.failed));
        }
        assert_eq!(worst, 3, "a window of {window} minutes, read every {pause}");
    }
}

#[test]
fn points_that_a_part_of_an_answer_left_out_are_read_again() {
    let (mut held, watch) = watched(WINDOW);
    let failures = three_failed(minute(3));
    sweep((&mut held, &watch), minute(0), &failures);
    assert_eq!(read_to(&held), Some(minute(-2)));
    for now in 1..13 {
        sweep((&mut held, &watch), minute(5 * now), |_, _| in_part(Vec::new()));
        assert_eq!(read_to(&held), Some(minute(-2)), "a part does not count as read");
    }
    let verdict = judged_at(&spec(&["all"]), &held, minute(60));
    assert_eq!(verdict.reason, Reason::AwsUnavailable, "what is known is older than a window");
    assert!(verdict.message.contains("PartialData"), "{}", verdict.message);

    // The window was answered in full, and the time before it only in part.
    let window = |request: &MetricsRequest| request.end == minute(63);
    sweep((&mut held, &watch), minute(65), |request, series| match window(request) {
        true => failures(request, series),
        false => in_part(Vec::new()),
    });
    assert_eq!((read_to(&held), &held.rules["all"].run), (Some(minute(-2)), &None));

    sweep((&mut held, &watch), minute(70), &failures);
    assert_eq!(read_to(&held), Some(minute(68)));
    assert_eq!(held.rules["all"].run.as_ref().map(|run| run.failed), Some(3), "nothing was lost");
    assert_eq!(judged_at(&spec(&["all"]), &held, minute(70)).reason, Reason::NotProven);
}

#[test]
fn a_part_of_an_answer_shows_failures_and_does_not_show_that_nothing_failed() {
    let resource = spec(&["all"]);
    let (mut held, watch) = watched(WINDOW);
    sweep((&mut held, &watch), minute(0), |_, _| SeriesAnswer::default());
    let part = |failed: f64| {
        move |_: &MetricsRequest, series: &Series| match series.statistic {
            Statistic::Failed => in_part(vec![(minute(1), failed)]),
            Statistic::Ended => in_part(vec![(minute(1), 4.0)]),
            Statistic::Pending | Statistic::Latency => SeriesAnswer::default(),
        }
    };
    sweep((&mut held, &watch), minute(5), part(0.0));
    assert_ne!(judged_at(&resource, &held, minute(5)).reason, Reason::ObjectsArriving);
    sweep((&mut held, &watch), minute(6), part(3.0));
    let verdict = judged_at(&resource, &held, minute(6));
    assert_eq!(verdict.reason, Reason::ObjectsFailing);
    assert!(verdict.message.contains("3 of 3 operations"), "{}", verdict.message);
}

#[test]
fn a_minute_of_which_a_statistic_is_missing_shows_no_success() {
    let lacks = |lacking: Statistic| {
        let (mut held, watch) = watched(WINDOW);
        sweep((&mut held, &watch), minute(0), |_, series| {
            let is_there = series.statistic != lacking && !series.statistic.is_backlog();
            let points = is_there.then_some((minute(-5), 2.0)).into_iter().collect();
            SeriesAnswer { points, problem: None }
        });
        judged_at(&spec(&["all"]), &held, minute(0)).reason
    };
    assert_eq!(lacks(Statistic::Failed), Reason::NoData, "some of these may have failed");
    assert_eq!(lacks(Statistic::Ended), Reason::ObjectsFailing);
    assert_eq!(lacks(Statistic::Pending), Reason::ObjectsFailing);

    // A minute may lack a point, and the ones around it count.
    assert_eq!(reason(pending(&[(-5, 7, 901), (-3, 7, 960), (-1, 7, 1020)])), Reason::ObjectsDelayed);
    let mut rule = pending(&[(-3, 7, 901), (-2, 7, 960)]);
    rule.backlog(minute(-1), Backlog { pending: Some(7), latency_seconds: None });
    assert_eq!(reason(rule), Reason::Progressing, "the latency of the last minute is not known");
}

#[test]
fn in_one_region_a_request_is_about_both_and_a_problem_about_its_own_series() {
    let (mut held, mut watch) = watched(WINDOW);
    watch.rules[0].region = Some("us-east-1".into());
    let found = readings([("uid", &watch, &held)], minute(0));
    let [MetricsBatch { requests, .. }] = &found[..] else { panic!("{found:?}") };
    let [(request, about)] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((request.series.len(), about.len()), (4, 2));
    for (about, series) in about.iter().zip(request.series.chunks(2)) {
        let answered = |series: &Series| match series.statistic.is_backlog() {
            true => in_part(Vec::new()),
            false => SeriesAnswer { points: vec![(minute(-5), 0.0)], problem: None },
        };
        let pair: Vec<_> = series.iter().map(|series| (series.clone(), answered(series))).collect();
        add(held.rules.get_mut("all").unwrap(), request, about, &pair);
    }
    let metrics = held.rules["all"].metrics.as_ref().unwrap();
    assert!(metrics.unread.is_none() && metrics.backlog_unread.is_some(), "{metrics:?}");
}

#[test]
fn the_reason_of_an_event_waits_for_the_metric_that_it_explains() {
    let resource = spec(&["all"]);
    let mut held = evidence([("all", with(&[(-3, 0, 5)]))]);
    let rule = held.rules.get_mut("all").unwrap();
    (rule.failure_reason, rule.failed_at) = (Some("DstBucketNotFound".into()), Some(minute(1)));
    settle(&mut held, &resource, minute(2));
    let rule = held.rules.get_mut("all").unwrap();
    rule.ended(minute(1), EndedOperations { failed: 1, operations: 1 });
    rule.metrics.as_mut().unwrap().read_to = Some(minute(3));
    settle(&mut held, &resource, minute(5));
    assert!(judged_at(&resource, &held, minute(5)).message.contains("S3 reports DstBucketNotFound"));
    let rule = held.rules.get_mut("all").unwrap();
    rule.ended(minute(20), EndedOperations { failed: 0, operations: 1 });
    rule.metrics.as_mut().unwrap().read_to = Some(minute(21));
    settle(&mut held, &resource, minute(23));
    assert_eq!(held.rules["all"].failure_reason, None, "objects arrive again");
}

#[test]
fn where_no_metrics_are_read_failure_events_are_the_evidence() {
    use crate::replication::health::failure_event::{self, FailureEvent};
    let resource = spec(&["all"]);
    let event = |reason: &str, key: &str| FailureEvent {
        source: "orders".into(),
        rule: "all".into(),
        destination: "to-all".into(),
        reason: reason.into(),
        key: key.into(),
        version: None,
        at: minute(0),
    };
    let mut held = Evidence { reads_metrics: false, ..Evidence::default() };
    failure_event::add(&mut held, &event("SrcKeyNotFound", "short-lived"));
    assert_eq!(judged_at(&resource, &held, minute(1)).reason, Reason::NoEvidence, "noise is no failure");
    for key in ["one", "two", "one"] {
        failure_event::add(&mut held, &event("DstBucketNotFound", key));
        failure_event::add(&mut held, &event("SrcKeyNotFound", &format!("short-lived-{key}")));
    }
    settle(&mut held, &resource, minute(1));
    let verdict = judged_at(&resource, &held, minute(1));
    assert_eq!(verdict.reason, Reason::ObjectsFailing);
    let expected =
        "objects do not arrive: 2 operations of rule all to to-all failed; S3 reports DstBucketNotFound: ";
    assert!(verdict.message.starts_with(expected), "{}", verdict.message);
    let rule = &verdict.health.unwrap().rules[0];
    assert_eq!((rule.failed, rule.operations), (Some(2), None), "how many succeeded is not known");

    settle(&mut held, &resource, minute(20));
    let verdict = judged_at(&resource, &held, minute(20));
    assert_eq!(verdict.reason, Reason::NotProven, "no event proves that objects arrive");
    assert!(verdict.message.contains("nothing shows that others arrived since"), "{}", verdict.message);
    let mut proved = held.clone();
    let sent = CanarySent { sent_at: minute(15), outcome: CanaryOutcome::Arrived { at: minute(16) } };
    proved.rules.get_mut("all").unwrap().canary =
        Some(CanaryEvidence { last: Some(sent), ..CanaryEvidence::default() });
    settle(&mut proved, &resource, minute(20));
    assert_eq!(judged_at(&resource, &proved, minute(20)).reason, Reason::ObjectsArriving);
    assert_eq!(proved.rules["all"].failure_reason, None);
    held.add_retried(everything_to(1));
    settle(&mut held, &resource, minute(20));
    assert_eq!(held.rules["all"].run, None, "a backfill replicated them");
}

fn finding() -> impl Strategy<Value = RuleEvidence> {
    prop_oneof![
        Just(with(&[(-3, 2, 5)])),
        Just(with(&[(-3, 0, 5)])),
        Just(pending(&[(-1, 0, 0)])),
        Just(pending(&[(-3, 7, 901), (-2, 7, 960), (-1, 7, 1020)])),
        Just(pending(&[(-1, 7, 3)])),
        Just(read()),
        Just(RuleEvidence::default()),
    ]
}

proptest! {
    #[test]
    fn the_worst_rule_wins_and_unknown_never_beats_known(rules in vec((finding(), any::<bool>()), 1..6)) {
        let ids: Vec<String> = (0..rules.len()).map(|n| format!("r{n}")).collect();
        let mut resource = spec(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let mut held = Evidence::default();
        let mut each = Vec::new();
        for ((id, rule), (found, enabled)) in ids.iter().zip(&mut resource.rules).zip(&rules) {
            rule.status = Some(if *enabled { Switch::Enabled } else { Switch::Disabled });
            held.rules.insert(id.clone(), found.clone());
            if *enabled {
                each.push(reason(found.clone()));
            }
        }
        let found = judged(&resource, &held).reason;
        let any = |wanted: Reason| each.contains(&wanted);
        let wanted = [Reason::ObjectsFailing, Reason::ObjectsDelayed, Reason::ObjectsArriving, Reason::NothingPending];
        match wanted.into_iter().find(|wanted| any(*wanted)) {
            Some(known) => prop_assert_eq!(found, known),
            None => prop_assert!(each.is_empty() || each.contains(&found)),
        }
    }

    #[test]
    fn neither_the_order_nor_the_repetition_of_points_matters(
        points in vec((-20_i64..0, 0_u64..4, 0_u64..9), 0..20),
        order in vec(any::<prop::sample::Index>(), 0..40),
    ) {
        // A minute has one truth: of two points the larger counts.
        let mut shuffled = read();
        for at in order.iter().filter(|_| !points.is_empty()).map(|at| at.get(&points)).chain(points.iter().rev()) {
            shuffled.ended(minute(at.0), EndedOperations { failed: at.1, operations: at.1 + at.2 });
        }
        let mut plain = read();
        for (at, failed, succeeded) in &points {
            plain.ended(minute(*at), EndedOperations { failed: *failed, operations: failed + succeeded });
        }
        let (one, other) = (evidence([("all", plain.clone())]), evidence([("all", shuffled.clone())]));
        prop_assert_eq!(judged(&spec(&["all"]), &one).reason, judged(&spec(&["all"]), &other).reason);
        prop_assert_eq!(&plain.metrics, &shuffled.metrics);
        let run = |rule: &RuleEvidence| rule.run.as_ref().map(|run| (run.since, run.last, run.failed));
        prop_assert_eq!(run(&plain), run(&shuffled));
    }

    #[test]
    fn an_unchanged_truth_changes_no_byte_of_the_status(found in finding(), later in 0_i64..5) {
        let resource = spec(&["all"]);
        let held = evidence([("all", found)]);
        let first = replicating(&resource, &BucketReplicationStatus::default(), &held, minute(2));
        let previous = BucketReplicationStatus {
            conditions: vec![first.condition.clone()],
            health: first.health.clone(),
            ..BucketReplicationStatus::default()
        };
        let again = replicating(&resource, &previous, &held, minute(2 + later));
        prop_assert_eq!((&again.condition, &again.health, &again.event), (&first.condition, &first.health, &None));
    }

    #[test]
    fn figures_of_objects_that_flow_cause_no_write(
        first in vec((-14_i64..0, 1_u64..100_000), 1..9),
        then in vec((-14_i64..0, 1_u64..100_000), 1..9),
    ) {
        let resource = spec(&["all"]);
        let flow = |points: &[(i64, u64)]| {
            let points: Vec<(i64, u64, u64)> = points.iter().map(|(at, n)| (*at, 0, *n)).collect();
            evidence([("all", with(&points))])
        };
        let answer = replicating(&resource, &BucketReplicationStatus::default(), &flow(&first), minute(2));
        let previous = BucketReplicationStatus {
            conditions: vec![answer.condition.clone()],
            health: answer.health.clone(),
            ..BucketReplicationStatus::default()
        };
        let later = replicating(&resource, &previous, &flow(&then), minute(2));
        prop_assert_eq!((later.condition, later.health), (answer.condition, answer.health));
    }

    #[test]
    fn one_failure_within_the_window_is_enough_and_one_before_it_is_not(at in -30_i64..0) {
        let is_within = SignedDuration::from_mins(-at) <= WINDOW;
        let found = reason(with(&[(at, 1, 4)]));
        prop_assert_eq!(found == Reason::ObjectsFailing, is_within);
    }

    #[test]
    fn max_latency_decides_what_is_late(limit in 1_u64..120, seconds in 0_u64..10_000) {
        let mut resource = spec(&["all"]);
        resource.health = Some(Health { max_latency: Some(Interval(format!("{limit}m"))), ..Health::default() });
        let rule = pending(&[(-3, 1, seconds), (-2, 1, seconds), (-1, 1, seconds)]);
        let found = judged(&resource, &evidence([("all", rule)])).reason;
        prop_assert_eq!(found == Reason::ObjectsDelayed, seconds > limit * 60);
    }
}
