//! Answers of CloudWatch: any body is read or is an error, each point belongs to the series that was asked for, and no
//! point breaks a verdict.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_smithy_cbor::Encoder;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;
use s3_replication_operator::api::{BucketReplicationSpec, BucketReplicationStatus};
use s3_replication_operator::aws::MetricPages;
use s3_replication_operator::replication::FailureClass;
use s3_replication_operator::replication::health::metrics::{
    MetricsRequest, RuleRef, Series, SeriesAnswer, Statistic, add,
};
use s3_replication_operator::replication::health::{
    Evidence, Judging, MetricsEvidence, RuleEvidence, judge, settle,
};
use serde_json::json;

use crate::choice::{choose, optional};
use crate::cloudwatch::CloudWatch;
use crate::engine::{check, check_documents, corpus};

const REGION: &str = "eu-west-1";

/// The beginning of what is asked for.
const START: i64 = 1_800_000_000;

/// The most pages that are read.
const PAGES: usize = 20;

const TOKENS: &[&str] = &[
    "MetricDataResults",
    "NextToken",
    "Messages",
    "Id",
    "q0",
    "q1",
    "q18446744073709551615",
    "q-1",
    "Label",
    "Timestamps",
    "Values",
    "StatusCode",
    "Complete",
    "PartialData",
    "InternalError",
    "Forbidden",
    "Code",
    "Value",
];

fn four_series() -> MetricsRequest {
    let series = |statistic| Series {
        source: "orders".to_owned(),
        destination: "copies".to_owned(),
        rule: "all".to_owned(),
        statistic,
    };
    let start = Timestamp::from_second(START).unwrap();
    MetricsRequest {
        start,
        end: start.checked_add(SignedDuration::from_mins(15)).unwrap(),
        period: 60,
        series: [Statistic::Failed, Statistic::Ended, Statistic::Pending, Statistic::Latency]
            .map(series)
            .to_vec(),
    }
}

/// Takes the answers in as a sweep does, and judges by them.
fn evidence(request: &MetricsRequest, answers: &[SeriesAnswer], evidence: &mut Evidence) {
    let about = RuleRef { uid: "uid".to_owned(), rule: "all".to_owned(), after: None };
    let held = evidence.rules.entry("all".to_owned()).or_insert_with(|| RuleEvidence {
        metrics: Some(MetricsEvidence::new(request.start)),
        ..RuleEvidence::default()
    });
    let series: Vec<_> = request.series.iter().cloned().zip(answers.iter().cloned()).collect();
    series.chunks(2).for_each(|pair| add(held, request, &about, pair));
}

fn is_sound(request: &MetricsRequest, answers: &[SeriesAnswer]) -> Result<(), TestCaseError> {
    prop_assert_eq!(answers.len(), request.series.len());
    for (at, _) in answers.iter().flat_map(|answer| &answer.points) {
        prop_assert!((request.start..request.end).contains(at), "{} was not asked for", at);
    }
    let mut held = Evidence::default();
    evidence(request, answers, &mut held);
    let once = held.clone();
    evidence(request, answers, &mut held);
    prop_assert_eq!(&held, &once, "what is read again counts once");
    let spec: BucketReplicationSpec = serde_json::from_value(json!({
        "source": {"bucket": "orders"}, "rules": [{"id": "all", "destination": {"bucket": "copies"}}],
    }))
    .unwrap();
    let previous = BucketReplicationStatus::default();
    let judging = Judging {
        resource: ("data", "orders"),
        spec: &spec,
        previous: &previous,
        correction: None,
        now: request.end,
        after_event: false,
    };
    settle(&mut held, &spec, request.end);
    let judged = judge(&judging, &held);
    prop_assert!(!judged.message.is_empty() && !judged.message.contains('\n'), "{:?}", judged.message);
    Ok(())
}

#[test]
fn any_answer_of_cloudwatch_is_read_or_is_an_error() {
    let cloudwatch = CloudWatch::new();
    check_documents(1500, "metric-data", TOKENS, |body| {
        let Ok(page) = cloudwatch.read(body) else { return Ok(()) };
        let request = four_series();
        let mut pages = MetricPages::new(&request, REGION);
        // The same page again and again.
        for _ in 0..PAGES {
            match pages.read(&page) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(answers)) => return is_sound(&request, &answers),
                Err(failure) => {
                    prop_assert_eq!(failure.class, FailureClass::Unavailable);
                    return Ok(());
                }
            }
        }
        Err(TestCaseError::fail("the pages do not come to an end"))
    });
}

#[test]
fn the_seeds_are_answers_that_are_read() {
    let cloudwatch = CloudWatch::new();
    let seeds = corpus("metric-data");
    let results = seeds.into_iter().map(|body| cloudwatch.read(body).unwrap().metric_data_results().len());
    assert_eq!(results.collect::<Vec<_>>(), [4, 0, 2, 1, 2]);
}

/// A part of the answer for one series.
#[derive(Clone, Debug)]
struct Part {
    id: String,
    times: Vec<i64>,
    values: Vec<f64>,
    status: Option<&'static str>,
}

prop_compose! {
    fn part()(
        id in choose![6 => "q[0-3]", 1 => "q[0-9]{1,20}", 1 => "[a-z]{0,2}"],
        times in prop::collection::vec(choose![6 => START - 90..START + 1000, 1 => any::<i32>().prop_map(i64::from)], 0..4),
        values in prop::collection::vec(choose![
            4 => 0.0..20.0f64,
            1 => any::<f64>(),
            1 => select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -1.0]),
        ], 0..4),
        status in optional(0.8, select(vec!["Complete", "PartialData", "InternalError", "Forbidden", "New"])),
    ) -> Part {
        Part { id, times, values, status }
    }
}

fn body(parts: &[Part], next: Option<&str>) -> Vec<u8> {
    let mut to = Encoder::new(Vec::new());
    to.begin_map();
    to.str("MetricDataResults").array(parts.len());
    for Part { id, times, values, status } in parts {
        to.begin_map().str("Id").str(id);
        to.str("Timestamps").array(times.len());
        for second in times {
            to.timestamp(&DateTime::from_secs(*second));
        }
        to.str("Values").array(values.len());
        for value in values {
            to.double(*value);
        }
        if let Some(status) = status {
            to.str("StatusCode").str(status);
        }
        to.end();
    }
    if let Some(next) = next {
        to.str("NextToken").str(next);
    }
    to.end();
    to.into_writer()
}

/// The contents of a series: its points, and the status of its last part.
type Expected = (Vec<(i64, u64)>, Option<Option<&'static str>>);

#[test]
fn the_points_of_each_series_are_those_that_cloudwatch_returned_for_it() {
    let cloudwatch = CloudWatch::new();
    let pages = prop::collection::vec(prop::collection::vec(part(), 0..5), 1..4);
    check(1000, pages, |pages| {
        let request = four_series();
        let mut reading = MetricPages::new(&request, REGION);
        let mut expected: BTreeMap<usize, Expected> = BTreeMap::new();
        let mut answers = None;
        for (index, parts) in pages.iter().enumerate() {
            let next = (index + 1 < pages.len()).then_some("next");
            for Part { id, times, values, status } in parts {
                let Some(series) = (0..4).find(|series| format!("q{series}") == *id) else { continue };
                let (points, last) = expected.entry(series).or_default();
                let asked_for = START..START + 900;
                points.extend(
                    times
                        .iter()
                        .zip(values)
                        .filter(|(at, _)| asked_for.contains(at))
                        .map(|(at, value)| (*at, value.to_bits())),
                );
                *last = Some(*status);
            }
            let page = cloudwatch.read(body(parts, next));
            let page = page.map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
            match reading.read(&page) {
                Ok(ControlFlow::Continue(())) => prop_assert_eq!(reading.token(), next),
                Ok(ControlFlow::Break(all)) => answers = Some(all),
                Err(failure) => return Err(TestCaseError::fail(failure.to_string())),
            }
        }
        let answers = answers.expect("the last page has no token");
        is_sound(&request, &answers)?;
        for (index, answer) in answers.iter().enumerate() {
            let (points, status) = expected.remove(&index).unwrap_or_default();
            let read: Vec<(i64, u64)> =
                answer.points.iter().map(|(at, value)| (at.as_second(), value.to_bits())).collect();
            prop_assert_eq!(read, points);
            let class = answer.problem.as_ref().map(|problem| problem.class);
            let due = match status {
                Some(None | Some("Complete")) => None,
                Some(Some("Forbidden")) => Some(FailureClass::Denied),
                _ => Some(FailureClass::Unavailable),
            };
            prop_assert_eq!(class, due, "series {}", index);
        }
        Ok(())
    });
}
