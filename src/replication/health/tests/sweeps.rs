//! Readings of metrics, and failure events: the evidence that they add, and the verdict about it.

use super::*;

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
