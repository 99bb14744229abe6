//! Reads the replication metrics of many rules in one call, and its further pages.
//!
//! In: a client, a Region, and at most 500 series. Out: their points, in the order of the series. A series of which
//! CloudWatch knows nothing has no points.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, ScanBy, StatusCode,
};
use jiff::Timestamp;

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::replication::health::metrics::{GET_METRIC_DATA, MetricsRequest, Series, SeriesAnswer};
use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass};

const NAMESPACE: &str = "AWS/S3";

/// A page holds 100,800 points: more pages than a day of 500 series has are no answer.
const PAGES: usize = 20;

/// The failure of a series that CloudWatch left out.
const UNANSWERED: &str = "the answer lacks a series that was requested";

/// The failure of a series of which CloudWatch returned some points and no reason.
const PARTIAL: &str = "the answer lacks some of the points";

/// Reads all pages of a request.
pub async fn read_metrics(
    aws: &AwsClient,
    region: &str,
    request: &MetricsRequest,
) -> Read<Vec<SeriesAnswer>> {
    let unanswered = problem(FailureClass::Unavailable, "", UNANSWERED, region);
    let unanswered = SeriesAnswer { points: Vec::new(), problem: Some(unanswered) };
    let mut answers = vec![unanswered; request.series.len()];
    let queries: Vec<MetricDataQuery> =
        request.series.iter().enumerate().map(|(place, series)| query(place, series, request)).collect();
    let mut token = None;
    for _ in 0..PAGES {
        let call = aws
            .cloudwatch(region)
            .get_metric_data()
            .start_time(DateTime::from_secs(request.start.as_second()))
            .end_time(DateTime::from_secs(request.end.as_second()))
            .scan_by(ScanBy::TimestampAscending)
            .set_metric_data_queries(Some(queries.clone()))
            .set_next_token(token.take());
        let page = aws.call(Operation::cloudwatch(region, GET_METRIC_DATA), call.send()).await?;
        for result in page.metric_data_results() {
            let place = result.id().and_then(|id| id.strip_prefix('q')).and_then(|id| id.parse().ok());
            if let Some(answer) = place.and_then(|place: usize| answers.get_mut(place)) {
                add(answer, result, region);
            }
        }
        match page.next_token().filter(|token| !token.is_empty()) {
            Some(next) => token = Some(next.to_owned()),
            None => return Ok(answers),
        }
    }
    let detail = format!("the answer has more than {PAGES} pages");
    Err(Failure::new(FailureClass::Unavailable, GET_METRIC_DATA, region, detail))
}

/// Ids begin with a letter and hold no more than letters, digits and `_`. A unit is left out: with a wrong one there are
/// no points.
fn query(place: usize, series: &Series, request: &MetricsRequest) -> MetricDataQuery {
    let Series { source, destination, rule, statistic } = series;
    let (metric, statistic) = statistic.names();
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let metric = Metric::builder()
        .namespace(NAMESPACE)
        .metric_name(metric)
        .dimensions(dimension("SourceBucket", source))
        .dimensions(dimension("DestinationBucket", destination))
        .dimensions(dimension("RuleId", rule))
        .build();
    let period = i32::try_from(request.period).unwrap_or(i32::MAX);
    let stat = MetricStat::builder().metric(metric).period(period).stat(statistic).build();
    MetricDataQuery::builder().id(format!("q{place}")).metric_stat(stat).build()
}

/// Adds a page of a series. The status of its last page counts: `PartialData` and `InternalError` announce further pages,
/// and without one, points are missing
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html>).
fn add(answer: &mut SeriesAnswer, result: &MetricDataResult, region: &str) {
    let words: Vec<&str> = result.messages().iter().filter_map(|message| message.value()).collect();
    let words = words.join("; ");
    answer.problem = match result.status_code() {
        Some(StatusCode::Complete) | None => None,
        Some(StatusCode::Forbidden) => Some(problem(FailureClass::Denied, "Forbidden", &words, region)),
        Some(StatusCode::PartialData) => {
            let words = if words.is_empty() { PARTIAL } else { &words };
            Some(problem(FailureClass::Unavailable, "PartialData", words, region))
        }
        Some(other) => Some(problem(FailureClass::Unavailable, other.as_str(), &words, region)),
    };
    let times = result.timestamps().iter().map(|time| Timestamp::from_second(time.secs()));
    let points = times.zip(result.values()).filter_map(|(at, value)| Some((at.ok()?, *value)));
    answer.points.extend(points);
}

fn problem(class: FailureClass, code: &str, words: &str, region: &str) -> Failure {
    Failure { code: code.to_owned(), ..Failure::new(class, GET_METRIC_DATA, region, words) }
}
