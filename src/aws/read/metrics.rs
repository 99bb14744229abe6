//! Reads the replication metrics of many rules in one call, and its further pages.
//!
//! In: a client, a Region, and at most 500 series. Out: their points, in the order of the series. A series that
//! CloudWatch does not know has no points.

use std::ops::ControlFlow;

use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
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
    let queries: Vec<MetricDataQuery> =
        request.series.iter().enumerate().map(|(index, series)| query(index, series, request)).collect();
    let mut pages = MetricPages::new(request, region);
    loop {
        let call = aws
            .cloudwatch(region)
            .get_metric_data()
            .start_time(DateTime::from_secs(request.start.as_second()))
            .end_time(DateTime::from_secs(request.end.as_second()))
            .scan_by(ScanBy::TimestampAscending)
            .set_metric_data_queries(Some(queries.clone()))
            .set_next_token(pages.token().map(str::to_owned));
        let page = aws.call(Operation::cloudwatch(region, GET_METRIC_DATA), call.send()).await?;
        if let ControlFlow::Break(answers) = pages.read(&page)? {
            return Ok(answers);
        }
    }
}

/// The pages of an answer, as far as they were read.
#[derive(Clone, Debug)]
pub struct MetricPages<'a> {
    request: &'a MetricsRequest,
    region: &'a str,
    /// In the order of the series.
    answers: Vec<SeriesAnswer>,
    /// The token that asks for the next page.
    token: Option<String>,
    pages: usize,
}

impl<'a> MetricPages<'a> {
    pub fn new(request: &'a MetricsRequest, region: &'a str) -> MetricPages<'a> {
        let unanswered = problem(FailureClass::Unavailable, "", UNANSWERED, region);
        let unanswered = SeriesAnswer { points: Vec::new(), problem: Some(unanswered) };
        let answers = vec![unanswered; request.series.len()];
        MetricPages { request, region, answers, token: None, pages: 0 }
    }

    /// The token that asks for the next page; `None` for the first one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Reads one page. `Break`: it was the last one, with the answers to all series.
    ///
    /// # Errors
    /// The pages do not come to an end.
    pub fn read(&mut self, page: &GetMetricDataOutput) -> Read<ControlFlow<Vec<SeriesAnswer>>> {
        self.pages += 1;
        let (request, region) = (self.request, self.region);
        for result in page.metric_data_results() {
            let index: Option<usize> = result.id().and_then(|id| id.strip_prefix('q')?.parse().ok());
            // An id is known by its one form, which holds no sign and no zero in front.
            let index = index.filter(|index| result.id() == Some(&query_id(*index)));
            if let Some(answer) = index.and_then(|index| self.answers.get_mut(index)) {
                add(answer, result, request, region);
            }
        }
        let Some(next) = page.next_token().filter(|token| !token.is_empty()) else {
            return Ok(ControlFlow::Break(std::mem::take(&mut self.answers)));
        };
        if self.pages >= PAGES {
            let detail = format!("the answer has more than {PAGES} pages");
            return Err(Failure::new(FailureClass::Unavailable, GET_METRIC_DATA, region, detail));
        }
        self.token = Some(next.to_owned());
        Ok(ControlFlow::Continue(()))
    }
}

/// Ids begin with a letter and hold no more than letters, digits and `_`.
fn query_id(index: usize) -> String {
    format!("q{index}")
}

/// A unit is left out: with a wrong one there are no points.
fn query(index: usize, series: &Series, request: &MetricsRequest) -> MetricDataQuery {
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
    MetricDataQuery::builder().id(query_id(index)).metric_stat(stat).build()
}

/// Adds a page of a series. The status of its last page counts: `PartialData` and `InternalError` announce further
/// pages, and without one, points are missing
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html>).
fn add(answer: &mut SeriesAnswer, result: &MetricDataResult, request: &MetricsRequest, region: &str) {
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
    // A point of another time would count as one of now, or stay for ever.
    answer.points.extend(points.filter(|(at, _)| (request.start..request.end).contains(at)));
}

fn problem(class: FailureClass, code: &str, words: &str, region: &str) -> Failure {
    Failure { code: code.to_owned(), ..Failure::new(class, GET_METRIC_DATA, region, words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::health::metrics::Statistic;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The answer to the one requested series, where CloudWatch answers under this id.
    fn read(id: &str, seconds: &[i64]) -> SeriesAnswer {
        let series = Series {
            source: "orders".to_owned(),
            destination: "copies".to_owned(),
            rule: "all".to_owned(),
            statistic: Statistic::Failed,
        };
        let request = MetricsRequest { start: at(600), end: at(900), period: 60, series: vec![series] };
        let result = MetricDataResult::builder()
            .id(id)
            .status_code(StatusCode::Complete)
            .set_timestamps(Some(seconds.iter().copied().map(DateTime::from_secs).collect()))
            .set_values(Some(vec![1.0; seconds.len()]));
        let page = GetMetricDataOutput::builder().metric_data_results(result.build()).build();
        let pages = MetricPages::new(&request, "eu-west-1").read(&page).unwrap();
        let ControlFlow::Break(mut answers) = pages else { panic!("there is one page") };
        answers.remove(0)
    }

    #[test]
    fn points_that_were_not_asked_for_are_left_out() {
        let points = vec![(at(600), 1.0), (at(840), 1.0)];
        let seconds = [540, 600, 840, 900, 4_000_000_000];
        assert_eq!(read("q0", &seconds), SeriesAnswer { points, problem: None });
    }

    #[test]
    fn an_answer_under_an_id_that_was_not_asked_for_is_left_out() {
        for id in ["q00", "q+0", "q1", "q", "0"] {
            let answer = read(id, &[600]);
            assert!(answer.points.is_empty() && answer.problem.is_some(), "{id}: {answer:?}");
        }
    }
}
