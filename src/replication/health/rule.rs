//! The verdict about one rule.
//!
//! In: its evidence, the window, and the time. Out: what was found.

use jiff::{SignedDuration, Timestamp};

use crate::api::{Reason, RuleVerdict};
use crate::replication::health::evidence::{
    Backlog, CanaryEvidence, CanaryOutcome, CanarySent, FailureRun, MetricsEvidence, POINTS_BEHIND,
    RetriedFailures, RuleEvidence, Unread, WINDOW,
};
use crate::replication::health::metrics::{SHORTEST, aligned, period, read_from, window_start};
use crate::replication::health::retried_failures::retried_to;

/// The finding that follows from the evidence about one rule. The worse comes first, and the unknown last.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Operations failed in the window; `run`: all of the present run.
    Failing {
        run: FailureRun,
    },
    /// The last canary failed.
    CanaryFailed {
        why: String,
    },
    /// The destination is behind for longer than it may be.
    Delayed {
        backlog: Backlog,
    },
    /// The canary is older than it may be.
    CanaryDelayed,
    Arriving,
    NothingPending,
    /// Operations failed, nothing failed since, and nothing ended since.
    NotProven {
        run: FailureRun,
    },
    CanaryRefused {
        why: String,
    },
    Unread(Unread),
    /// Objects are pending and none ended yet.
    Pending {
        backlog: Backlog,
    },
    /// A canary is on its way.
    CanaryPending,
    /// Metrics are enabled, and this process has not read them yet.
    NotRead,
    /// Metrics were enabled a moment ago.
    TooEarly,
    /// The last canary arrived, and the operator sent none since.
    NoCanarySent,
    /// Metrics are enabled, and S3 published nothing.
    NoData,
    /// The rule publishes no metrics and has no canary.
    NoEvidence,
}

impl Finding {
    pub fn reason(&self) -> Reason {
        match self {
            Finding::Failing { .. } | Finding::CanaryFailed { .. } => Reason::ObjectsFailing,
            Finding::Delayed { .. } | Finding::CanaryDelayed => Reason::ObjectsDelayed,
            Finding::Arriving => Reason::ObjectsArriving,
            Finding::NothingPending => Reason::NothingPending,
            Finding::NotProven { .. } => Reason::NotProven,
            Finding::CanaryRefused { .. } => Reason::CanaryRefused,
            Finding::Unread(Unread { reason, .. }) => *reason,
            Finding::Pending { .. } | Finding::CanaryPending | Finding::NotRead | Finding::TooEarly => {
                Reason::Progressing
            }
            Finding::NoCanarySent | Finding::NoData => Reason::NoData,
            Finding::NoEvidence => Reason::NoEvidence,
        }
    }

    pub fn verdict(&self) -> RuleVerdict {
        match self {
            Finding::Failing { .. } | Finding::CanaryFailed { .. } => RuleVerdict::Failing,
            Finding::Delayed { .. } | Finding::CanaryDelayed => RuleVerdict::Delayed,
            Finding::Arriving | Finding::NothingPending => RuleVerdict::Arriving,
            _ => RuleVerdict::Unknown,
        }
    }

    /// The rank among other findings: the smallest is the verdict.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Finding::Failing { .. } => 0,
            Finding::CanaryFailed { .. } => 1,
            Finding::Delayed { .. } => 2,
            Finding::CanaryDelayed => 3,
            Finding::Arriving => 4,
            Finding::NothingPending => 5,
            Finding::NotProven { .. } => 6,
            Finding::Unread(_) => 7,
            Finding::CanaryRefused { .. } => 8,
            Finding::Pending { .. } => 9,
            Finding::CanaryPending => 10,
            Finding::NotRead => 11,
            Finding::TooEarly => 12,
            Finding::NoCanarySent => 13,
            Finding::NoData => 14,
            Finding::NoEvidence => 15,
        }
    }
}

/// The verdict about one rule, with its figures.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleJudged {
    pub finding: Finding,
    /// The latest point of what is pending.
    pub backlog: Option<Backlog>,
}

/// The terms that a verdict depends on besides the evidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub window: SignedDuration,
    pub max_latency: SignedDuration,
    /// How long the arrival of a canary shows that objects arrive: within this time at least one more canary arrives.
    pub canary_counts_for: SignedDuration,
    /// Up to when backfills replicated everything of the rule that failed.
    pub retried_to: Option<Timestamp>,
    pub now: Timestamp,
}

impl Terms {
    /// The terms for one rule, whose keys have this prefix.
    pub(crate) fn about(&self, prefix: &str, evidence: &RuleEvidence, retried: &[RetriedFailures]) -> Terms {
        let failing = |metrics: &MetricsEvidence| {
            metrics.ended.iter().find(|(_, ended)| ended.failed > 0).map(|(at, _)| *at)
        };
        let run = evidence.run.as_ref().map(|run| run.since);
        let first = run.or_else(|| evidence.metrics.as_ref().and_then(failing));
        let retried = first.and_then(|first| {
            let to = retried_to(prefix, first, retried).max(evidence.backfilled_to);
            to.filter(|to| *to > first)
        });
        Terms { retried_to: retried, ..*self }
    }
}

/// Judges a rule.
pub(crate) fn judge_rule(evidence: &RuleEvidence, terms: &Terms) -> RuleJudged {
    let by_metrics = match &evidence.metrics {
        Some(metrics) => Some(by_metrics(metrics, evidence, terms)),
        None => by_events(evidence, terms),
    };
    let by_canary = evidence.canary.as_ref().and_then(|canary| proved_by_canary(canary, evidence, terms));
    let found = [by_metrics, by_canary].into_iter().flatten();
    // A canary that is refused is the verdict only where it is the only evidence that was asked for.
    let has_metrics = evidence.metrics.is_some();
    let found = found.filter(|found| !(has_metrics && matches!(found, Finding::CanaryRefused { .. })));
    let finding = found.min_by_key(Finding::rank).unwrap_or(Finding::NoEvidence);
    let backlog = evidence.metrics.as_ref().and_then(|metrics| metrics.backlog.values().next_back().copied());
    RuleJudged { finding, backlog }
}

/// Until when failures no longer count: a canary that was sent after them arrived, or a backfill replicated them.
fn cleared_at(evidence: &RuleEvidence, terms: &Terms) -> Option<Timestamp> {
    let last = evidence.canary.as_ref().and_then(|canary| canary.last.as_ref());
    let arrived = last.filter(|sent| matches!(sent.outcome, CanaryOutcome::Arrived { .. }));
    arrived.map(|sent| sent.sent_at).max(terms.retried_to)
}

/// The number of operations that failed by no fault of the settings, from the time `from` up to the metric point
/// `last`. Only metrics include such failures: without metrics the number is zero. An event comes before its metric, so
/// that an event after `last` explains none of these failures.
fn noise(evidence: &RuleEvidence, from: Timestamp, last: Timestamp, window: SignedDuration) -> u64 {
    if evidence.metrics.is_none() {
        return 0;
    }
    // S3 may date the event a moment after the operation.
    let last = last.saturating_add(MINUTE).unwrap_or(last);
    let explains = |minute: &Timestamp| *minute >= from && aligned(*minute, period(window)) <= last;
    let keys = evidence.noise.iter().filter(|(minute, _)| explains(minute)).map(|(_, keys)| keys.len());
    let before = evidence.noise_before.iter().filter(|(minute, _)| explains(minute)).map(|(_, count)| count);
    u64::try_from(keys.sum::<usize>()).unwrap_or(u64::MAX).saturating_add(before.sum())
}

/// The number of failures of a run that were by no fault of the settings. Those that belong to the failures before the
/// run do not count.
fn noise_of(run: &FailureRun, evidence: &RuleEvidence, terms: &Terms) -> u64 {
    let Some(metrics) = &evidence.metrics else { return 0 };
    let Some(read_to) = metrics.read_to else { return 0 };
    let recent = read_from(read_to, terms.window);
    // An earlier process has judged the beginning of a run that it found.
    let from = match metrics.counted_to.is_some_and(|counted| run.since <= counted) {
        true => recent,
        // An event may be of a minute before the one in which the metric counts it.
        false => recent.min(run.since.saturating_sub(SHORTEST).unwrap_or(run.since)),
    };
    if from > run.since {
        return noise(evidence, from, run.last, terms.window);
    }
    let cleared = cleared_at(evidence, terms);
    let earlier = metrics.ended.range(from..run.since).filter(|(at, _)| !is_before(**at, cleared));
    let earlier: u64 = earlier.map(|(_, ended)| ended.failed).sum();
    noise(evidence, from, run.last, terms.window).saturating_sub(earlier)
}

/// The finding by failure events, where no metrics are read. They report no success, so that only a canary or a
/// backfill ends a run of failures.
fn by_events(evidence: &RuleEvidence, terms: &Terms) -> Option<Finding> {
    let run = open_run(evidence, terms)?.clone();
    let is_recent = run.last >= window_start(terms.now, terms.window);
    Some(if is_recent { Finding::Failing { run } } else { Finding::NotProven { run } })
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Whether all of a minute was before a time.
fn is_before(minute: Timestamp, time: Option<Timestamp>) -> bool {
    time.is_some_and(|time| minute.saturating_add(MINUTE).is_ok_and(|end| end <= time))
}

/// The run of failures, unless something proved since that objects arrive, or all of it was noise.
pub(crate) fn open_run<'a>(evidence: &'a RuleEvidence, terms: &Terms) -> Option<&'a FailureRun> {
    let cleared = cleared_at(evidence, terms);
    let counts =
        |run: &&FailureRun| !is_before(run.last, cleared) && run.failed > noise_of(run, evidence, terms);
    evidence.run.as_ref().filter(counts)
}

fn by_metrics(metrics: &MetricsEvidence, evidence: &RuleEvidence, terms: &Terms) -> Finding {
    let unread = metrics.unread.as_ref();
    let Some(read_to) = metrics.read_to else {
        // The verdict of an earlier process stands for as long as one of this process would.
        let counts = |unread: &&Unread| metrics.taken_over_at.is_none_or(|at| hides(unread, at, terms));
        return unread.filter(counts).cloned().map_or(Finding::NotRead, Finding::Unread);
    };
    if let Some(unread) = unread.filter(|unread| hides(unread, read_to, terms)) {
        return Finding::Unread(unread.clone());
    }
    let start = window_start(read_to, terms.window);
    let cleared = cleared_at(evidence, terms);
    let (mut failed, mut operations, mut last_failed) = (0_u64, 0_u64, None);
    for (at, ended) in metrics.ended.range(start..) {
        // Points after the last full reading may be incomplete. They show failures, but not that there were no others.
        operations += if *at < read_to || ended.failed > 0 { ended.operations } else { 0 };
        if ended.failed > 0 && !is_before(*at, cleared) {
            failed += ended.failed;
            last_failed = Some(*at);
        }
    }
    let recent = read_from(read_to, terms.window);
    let arrived = operations > failed;
    let not_counted = last_failed.map_or(0, |last| noise(evidence, recent, last, terms.window));
    let failed = failed.saturating_sub(not_counted);
    if failed > 0 {
        let shown = FailureRun { since: start, last: read_to, failed, operations: operations.max(failed) };
        return Finding::Failing { run: open_run(evidence, terms).cloned().unwrap_or(shown) };
    }
    let latest = metrics.backlog.iter().next_back();
    // An old backlog shows nothing about now.
    let latest = latest.filter(|(at, _)| **at >= recent).map(|(_, backlog)| *backlog);
    if let Some(backlog) = latest.filter(|_| is_behind(metrics, recent, terms)) {
        return Finding::Delayed { backlog };
    }
    if arrived {
        return Finding::Arriving;
    }
    if let Some(run) = open_run(evidence, terms) {
        return Finding::NotProven { run: run.clone() };
    }
    match latest {
        Some(Backlog { pending: Some(0), .. }) => Finding::NothingPending,
        Some(backlog @ Backlog { pending: Some(_), .. }) => Finding::Pending { backlog },
        _ if metrics.backlog_unread.is_some() => {
            metrics.backlog_unread.clone().map_or(Finding::NoData, Finding::Unread)
        }
        _ if terms.now.duration_since(metrics.since) < WINDOW => Finding::TooEarly,
        _ => Finding::NoData,
    }
}

/// Whether a reading that failed hides the verdict. A denial hides it at once, any other failure once the last reading
/// is older than a window.
fn hides(unread: &Unread, read_to: Timestamp, terms: &Terms) -> bool {
    unread.reason == Reason::AccessDenied || terms.now.duration_since(read_to) > terms.window
}

/// Whether the last points show, one after the other, that the destination is behind for longer than it may be.
fn is_behind(metrics: &MetricsEvidence, recent: Timestamp, terms: &Terms) -> bool {
    let limit = u64::try_from(terms.max_latency.as_secs()).unwrap_or_default();
    let late = |backlog: &Backlog| {
        backlog.pending.is_some_and(|n| n > 0) && backlog.latency_seconds.is_some_and(|s| s > limit)
    };
    let points = metrics.backlog.range(recent..).rev().map(|(_, point)| point);
    let last: Vec<&Backlog> = points.take(POINTS_BEHIND).collect();
    last.len() >= POINTS_BEHIND && last.into_iter().all(late)
}

/// The finding by canaries, beside the run of failures: a canary that was sent before the last failure proves nothing
/// about the time after it.
fn proved_by_canary(canary: &CanaryEvidence, evidence: &RuleEvidence, terms: &Terms) -> Option<Finding> {
    let finding = by_canary(canary, terms);
    match open_run(evidence, terms) {
        Some(_) if finding == Finding::Arriving && evidence.metrics.is_some() => None,
        Some(run) if finding == Finding::Arriving => Some(Finding::NotProven { run: run.clone() }),
        _ => Some(finding),
    }
}

fn by_canary(canary: &CanaryEvidence, terms: &Terms) -> Finding {
    let CanaryEvidence { last, pending, refused, remembered_at } = canary;
    let is_late = |sent: &Timestamp| terms.now.duration_since(*sent) > terms.max_latency;
    let counts = |sent: &CanarySent| {
        let known_at = sent.sent_at.max(remembered_at.unwrap_or(sent.sent_at));
        terms.now.duration_since(known_at) <= terms.canary_counts_for
    };
    let failed = last.as_ref().and_then(|sent| match &sent.outcome {
        CanaryOutcome::Failed { why } => Some(why.clone()),
        CanaryOutcome::Arrived { .. } => None,
    });
    match (refused, failed, pending, last) {
        (_, Some(why), _, _) => Finding::CanaryFailed { why },
        (_, None, Some(sent), _) if is_late(sent) => Finding::CanaryDelayed,
        (Some(why), None, _, _) => Finding::CanaryRefused { why: why.clone() },
        (None, None, _, Some(sent)) if counts(sent) => Finding::Arriving,
        (None, None, None, Some(_)) => Finding::NoCanarySent,
        (None, None, _, _) => Finding::CanaryPending,
    }
}
