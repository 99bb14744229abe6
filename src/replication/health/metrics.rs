//! Which metrics are read together, and what their points mean.
//!
//! In: the rules that publish metrics, and the time. Out: requests of at most [`MAX_SERIES`] series, one account and
//! one Region each; and from their answers, evidence.
//!
//! S3 publishes the metric of operations that ended in the source's Region, and the metrics of what is pending in the
//! destination's (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/repl-metrics.html>). The account is the
//! source's in both.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::health::evidence::{
    Backlog, EndedOperations, Evidence, MetricsEvidence, RuleEvidence, Unread,
};

/// `GetMetricData` takes so many queries in a call
/// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html>).
pub const MAX_SERIES: usize = 500;

/// The action that reading metrics needs. IAM cannot limit it to a resource.
pub const GET_METRIC_DATA: &str = "cloudwatch:GetMetricData";

/// Points that are younger may be incomplete.
const DELAY: SignedDuration = SignedDuration::from_mins(2);

/// The longest period that an operator reads of the time in which it was down.
const CATCH_UP: SignedDuration = SignedDuration::from_hours(24);

/// The shortest period that is read: enough points for a verdict that takes several in a row, because some may be
/// missing.
pub(crate) const SHORTEST: SignedDuration = SignedDuration::from_mins(5);

const MINUTE: i64 = 60;

/// One statistic of one metric of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Statistic {
    /// `OperationsFailedReplication`, `Sum`: operations that failed.
    Failed,
    /// `OperationsFailedReplication`, `SampleCount`: operations that ended.
    Ended,
    /// `OperationsPendingReplication`, `Maximum`.
    Pending,
    /// `ReplicationLatency`, `Maximum`, in seconds.
    Latency,
}

impl Statistic {
    /// Whether it is about what is pending, and not about operations that ended.
    pub fn is_backlog(self) -> bool {
        matches!(self, Statistic::Pending | Statistic::Latency)
    }

    /// The name of the metric and of its statistic in CloudWatch.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Statistic::Failed => ("OperationsFailedReplication", "Sum"),
            Statistic::Ended => ("OperationsFailedReplication", "SampleCount"),
            Statistic::Pending => ("OperationsPendingReplication", "Maximum"),
            Statistic::Latency => ("ReplicationLatency", "Maximum"),
        }
    }
}

/// One statistic of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    pub source: String,
    pub destination: String,
    pub rule: String,
    pub statistic: Statistic,
}

/// One request, all pages of it together.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsRequest {
    /// Inclusive.
    pub start: Timestamp,
    /// Exclusive.
    pub end: Timestamp,
    /// The length of a point in seconds.
    pub period: i64,
    pub series: Vec<Series>,
}

/// The points of one series.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SeriesAnswer {
    /// They count even where there is a problem.
    pub points: Vec<(Timestamp, f64)>,
    /// CloudWatch did not answer for this series alone, or only in part.
    pub problem: Option<Failure>,
}

/// A rule whose metrics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedRule {
    pub id: String,
    pub destination: String,
    /// The Region of the destination; `None`: unknown, so that only the source's metrics are read.
    pub region: Option<String>,
}

/// A resource whose metrics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The name of the `AwsAccount` of the source; `None`: the operator's own identity.
    pub account: Option<String>,
    pub source: String,
    /// The Region of the source.
    pub region: String,
    pub rules: Vec<WatchedRule>,
}

/// The rule that a pair of series is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleRef {
    /// The UID of the resource.
    pub uid: String,
    pub rule: String,
    /// Where the reading before this one ends, if there is one: time that it did not read in full stays unread.
    pub after: Option<Timestamp>,
}

/// Requests to one account in one Region, to be made one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsBatch {
    pub account: Option<String>,
    pub region: String,
    pub requests: Vec<(MetricsRequest, Vec<RuleRef>)>,
}

/// The requests of a sweep. In: the evidence of each resource that is due.
pub fn readings<'a>(
    due: impl IntoIterator<Item = (&'a str, &'a Watch, &'a Evidence)>,
    now: Timestamp,
) -> Vec<MetricsBatch> {
    type Pairs = Vec<(RuleRef, [Series; 2])>;
    let mut groups: BTreeMap<(Option<String>, String), BTreeMap<Span, Pairs>> = BTreeMap::new();
    for (uid, watch, evidence) in due {
        for rule in &watch.rules {
            let Some(metrics) = evidence.rules.get(&rule.id).and_then(|rule| rule.metrics.as_ref()) else {
                continue;
            };
            let series = |statistic| Series {
                source: watch.source.clone(),
                destination: rule.destination.clone(),
                rule: rule.id.clone(),
                statistic,
            };
            let mut add = |region: &str, span: Span, after: Option<Timestamp>, pair: [Statistic; 2]| {
                let about = RuleRef { uid: uid.to_owned(), rule: rule.id.clone(), after };
                let group = groups.entry((watch.account.clone(), region.to_owned())).or_default();
                group.entry(span).or_default().push((about, pair.map(series)));
            };
            let span = Span::of(evidence.window, now);
            let missed = span.missed(metrics);
            if let Some(missed) = missed {
                add(&watch.region, missed, None, [Statistic::Failed, Statistic::Ended]);
            }
            let after = missed.map(|missed| missed.end);
            add(&watch.region, span, after, [Statistic::Failed, Statistic::Ended]);
            if let Some(region) = &rule.region {
                add(region, span, None, [Statistic::Pending, Statistic::Latency]);
            }
        }
    }
    let reading = |((account, region), spans): (_, BTreeMap<Span, Pairs>)| MetricsBatch {
        account,
        region,
        requests: spans.into_iter().flat_map(|(span, pairs)| requests(span, &pairs)).collect(),
    };
    groups.into_iter().map(reading).collect()
}

fn requests(span: Span, pairs: &[(RuleRef, [Series; 2])]) -> Vec<(MetricsRequest, Vec<RuleRef>)> {
    let Span { start, end, period } = span;
    let request = |chunk: &[(RuleRef, [Series; 2])]| {
        let series = chunk.iter().flat_map(|(_, pair)| pair.clone()).collect();
        let about = chunk.iter().map(|(about, _)| about.clone()).collect();
        (MetricsRequest { start, end, period, series }, about)
    };
    pairs.chunks(MAX_SERIES / 2).map(request).collect()
}

/// A stretch of time, aligned to the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: Timestamp,
    end: Timestamp,
    period: i64,
}

impl Span {
    /// The window of a verdict, up to what may be incomplete.
    fn of(window: SignedDuration, now: Timestamp) -> Span {
        let end = aligned(now.saturating_sub(DELAY).unwrap_or(now), MINUTE);
        Span { start: read_from(end, window), end, period: period(window) }
    }

    /// The time that an operator that was down has not read yet, in points of the same length: a point that was counted
    /// is then recognized.
    fn missed(self, metrics: &MetricsEvidence) -> Option<Span> {
        let from = metrics.read_to.or(metrics.unread_from)?;
        let from = from.max(self.end.saturating_sub(CATCH_UP).ok()?);
        let start = aligned(from, self.period);
        (start < self.start).then_some(Span { start, end: self.start, period: self.period })
    }
}

/// The length of a point: so that a window has at most 60 of them. CloudWatch knows no others for metrics that are
/// hours old.
pub(crate) fn period(window: SignedDuration) -> i64 {
    match window.as_mins() {
        ..=60 => MINUTE,
        61..=300 => 5 * MINUTE,
        _ => 60 * MINUTE,
    }
}

pub(crate) fn aligned(time: Timestamp, period: i64) -> Timestamp {
    let second = time.as_second();
    Timestamp::from_second(second - second.rem_euclid(period)).unwrap_or(time)
}

/// Where the window of a verdict begins that ends at a time: at the beginning of a point.
pub(crate) fn window_start(end: Timestamp, window: SignedDuration) -> Timestamp {
    aligned(end.saturating_sub(window).unwrap_or(Timestamp::MIN), period(window))
}

/// Where the reading of a window begins that ends at a time. Points from then on are read again and again.
pub(crate) fn read_from(end: Timestamp, window: SignedDuration) -> Timestamp {
    aligned(end.saturating_sub(window.max(SHORTEST)).unwrap_or(Timestamp::MIN), period(window))
}

/// Adds what one request read about one rule to its evidence. Only a whole answer counts as read: the next sweep reads
/// again the points that a part of an answer left out.
pub fn add(
    evidence: &mut RuleEvidence,
    request: &MetricsRequest,
    about: &RuleRef,
    pair: &[(Series, SeriesAnswer)],
) {
    let is_backlog = pair.iter().any(|(series, _)| series.statistic.is_backlog());
    let mut minutes: BTreeMap<Timestamp, [Option<u64>; 2]> = BTreeMap::new();
    for (index, (_, answer)) in pair.iter().enumerate() {
        for (at, value) in &answer.points {
            if let Some(held) = minutes.entry(*at).or_default().get_mut(index) {
                *held = Some(held.unwrap_or_default().max(whole(*value)));
            }
        }
    }
    for (at, [first, second]) in minutes {
        match is_backlog {
            true => evidence.backlog(at, Backlog { pending: first, latency_seconds: second }),
            // How many operations ended does not show that none failed.
            false => {
                let Some(failed) = first else { continue };
                let operations = second.unwrap_or_default().max(failed);
                evidence.ended(at, EndedOperations { failed, operations });
            }
        }
    }
    if let Some(failure) = pair.iter().find_map(|(_, answer)| answer.problem.as_ref()) {
        return unread(evidence, is_backlog, failure);
    }
    let Some(metrics) = &mut evidence.metrics else { return };
    match is_backlog {
        true => metrics.backlog_unread = None,
        false if about.after.is_some_and(|after| metrics.read_to < Some(after)) => {}
        false => {
            metrics.unread = None;
            metrics.read_to = metrics.read_to.max(Some(request.end));
        }
    }
}

/// Records that the evidence of a rule could not be read.
pub fn unread(evidence: &mut RuleEvidence, is_backlog: bool, failure: &Failure) {
    let Some(metrics) = &mut evidence.metrics else { return };
    let reason = match failure.class {
        FailureClass::Denied => Reason::AccessDenied,
        FailureClass::Throttled => Reason::Throttled,
        FailureClass::Credentials => Reason::CredentialsUnavailable,
        _ => Reason::AwsUnavailable,
    };
    let unread = Some(Unread { reason, message: failure.message() });
    match is_backlog {
        true => metrics.backlog_unread = unread,
        false => metrics.unread = unread,
    }
}

/// A count as CloudWatch writes it; a value that is no count is zero.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
fn whole(value: f64) -> u64 {
    const MAX: f64 = 9_007_199_254_740_992.0;
    if value.is_nan() { 0 } else { value.clamp(0.0, MAX) as u64 }
}
