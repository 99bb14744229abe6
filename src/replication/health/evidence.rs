//! The evidence about the objects of one resource, rule by rule.
//!
//! In: points of metrics, canaries and failure events, in any order and as often as they come. Out: the same evidence
//! for any order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::api::Reason;

/// The period whose evidence a verdict counts, unless three readings take longer.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The number of points in a row that must show that a destination is behind.
pub(crate) const POINTS_BEHIND: usize = 3;

/// All evidence about one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// By the ID of the rule. A rule that publishes no metrics and has no canary is absent.
    pub rules: BTreeMap<String, RuleEvidence>,
    /// Whether the operator reads metrics at all.
    pub reads_metrics: bool,
    /// The period whose evidence a verdict counts.
    pub window: SignedDuration,
    /// The finding of the operator's last check that would make operations fail.
    pub likely_cause: Option<String>,
    /// When a backfill of this resource last completed without a failure.
    pub backfilled: Option<Timestamp>,
    /// The failures that completed backfills retried.
    pub retried: Vec<RetriedFailures>,
}

impl Default for Evidence {
    fn default() -> Self {
        Evidence {
            rules: BTreeMap::new(),
            reads_metrics: true,
            window: WINDOW,
            likely_cause: None,
            backfilled: None,
            retried: Vec::new(),
        }
    }
}

/// The number of backfills that an [`Evidence`] remembers: the latest ones.
const MAX_RETRIED: usize = 16;

/// A backfill that completed without a failure, and chose objects that had failed.
#[derive(Clone, Debug, PartialEq)]
pub struct RetriedFailures {
    /// It has only objects whose key begins with one of these. Empty: every key.
    pub prefixes: Vec<String>,
    /// It has only objects that were created after this. `None`: from the first one on.
    pub created_after: Option<Timestamp>,
    /// It has the objects from before this time. Earlier than its end: an object that was written while the job ran,
    /// and failed, is still missing.
    pub to: Timestamp,
}

impl Evidence {
    /// Adds what a backfill replicated, once. A backfill that is deleted afterwards has retried its objects
    /// nevertheless.
    pub fn add_retried(&mut self, one: RetriedFailures) {
        if self.retried.contains(&one) {
            return;
        }
        self.retried.push(one);
        if self.retried.len() > MAX_RETRIED {
            self.retried.sort_by_key(|held| held.to);
            self.retried.remove(0);
        }
    }
}

/// The evidence about one rule.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RuleEvidence {
    /// `None`: the rule publishes no metrics.
    pub metrics: Option<MetricsEvidence>,
    /// `None`: no canary is asked for.
    pub canary: Option<CanaryEvidence>,
    /// The present run of failures, as far as it is known; `None`: nothing failed since objects last arrived.
    pub run: Option<FailureRun>,
    /// The last minute in which an operation ended successfully.
    pub last_arrival: Option<Timestamp>,
    /// The last minute in which an operation failed, whether that counts or not.
    pub last_failure: Option<Timestamp>,
    /// Failures from before this time do not count: a backfill replicated the objects.
    pub backfilled_to: Option<Timestamp>,
    /// Why the last operation failed, where a failure event named it.
    pub failure_reason: Option<String>,
    /// When that operation failed, by the event.
    pub failed_at: Option<Timestamp>,
    /// By minute: operations that failed because the object was deleted before S3 replicated it, each as a hash of its
    /// key, version and destination. They are no fault of the settings.
    pub noise: BTreeMap<Timestamp, BTreeSet<u64>>,
    /// The same, as an earlier process counted them: their keys are not known any more.
    pub noise_before: BTreeMap<Timestamp, u64>,
    /// By minute: the other operations that failure events named, while no metrics count them.
    pub reported: BTreeMap<Timestamp, BTreeSet<u64>>,
}

/// A run of failures.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureRun {
    /// The minute of its first failure.
    pub since: Timestamp,
    /// The minute of its last failure.
    pub last: Timestamp,
    /// Operations that failed.
    pub failed: u64,
    /// Operations that ended since its first failure, successfully or not. Zero: only the failures are known.
    pub operations: u64,
}

/// The metrics of one rule.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsEvidence {
    /// Since when the rule publishes metrics, as far as the operator knows.
    pub since: Timestamp,
    /// The end, exclusive, of what was last read. `None`: nothing was read yet.
    pub read_to: Option<Timestamp>,
    /// Points up to this minute were counted by an earlier process: they count for the window, not for the run.
    pub counted_to: Option<Timestamp>,
    /// The time from which an earlier process may have left points unread that the present run of failures needs.
    pub unread_from: Option<Timestamp>,
    /// When this process took the verdict of an earlier one over; `None`: there was none.
    pub taken_over_at: Option<Timestamp>,
    /// By minute: operations that ended.
    pub ended: BTreeMap<Timestamp, EndedOperations>,
    /// By minute: operations that are pending.
    pub backlog: BTreeMap<Timestamp, Backlog>,
    /// Why the last reading in the source's Region failed.
    pub unread: Option<Unread>,
    /// Why the last reading in the destination's Region failed.
    pub backlog_unread: Option<Unread>,
}

/// Operations that ended within one period (`OperationsFailedReplication`: sum and sample count).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EndedOperations {
    pub failed: u64,
    pub operations: u64,
}

/// The backlog of a destination (`OperationsPendingReplication` and `ReplicationLatency`: maximum).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Backlog {
    pub pending: Option<u64>,
    pub latency_seconds: Option<u64>,
}

/// Why evidence could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    pub reason: Reason,
    pub message: String,
}

/// The canaries of one rule.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct CanaryEvidence {
    /// The last one that reached a final state.
    pub last: Option<CanarySent>,
    /// When the one was written that has no final state yet.
    pub pending: Option<Timestamp>,
    /// Why no canary may be written.
    pub refused: Option<String>,
    /// When this process took `last` over from the status. The status is not written for each canary, so that the last
    /// one may have been sent much later than the status says.
    pub remembered_at: Option<Timestamp>,
}

/// A canary that reached a final state.
#[derive(Clone, Debug, PartialEq)]
pub struct CanarySent {
    pub sent_at: Timestamp,
    pub outcome: CanaryOutcome,
}

/// The end of a canary.
#[derive(Clone, Debug, PartialEq)]
pub enum CanaryOutcome {
    Arrived { at: Timestamp },
    Failed { why: String },
}

impl MetricsEvidence {
    /// Metrics of which nothing was read yet.
    pub fn new(since: Timestamp) -> MetricsEvidence {
        MetricsEvidence {
            since,
            read_to: None,
            counted_to: None,
            unread_from: None,
            taken_over_at: None,
            ended: BTreeMap::new(),
            backlog: BTreeMap::new(),
            unread: None,
            backlog_unread: None,
        }
    }
}

impl RuleEvidence {
    /// Adds a point of the metric of operations that ended. A point that comes again replaces itself; of two different
    /// ones the larger counts, because S3 adds to a minute for a while.
    pub fn ended(&mut self, at: Timestamp, point: EndedOperations) {
        let Some(metrics) = &mut self.metrics else { return };
        let held = metrics.ended.entry(at).or_default();
        let more = EndedOperations {
            failed: point.failed.saturating_sub(held.failed),
            operations: point.operations.saturating_sub(held.operations),
        };
        held.failed += more.failed;
        held.operations += more.operations;
        let (held_failed, succeeded) = (held.failed, held.operations > held.failed);
        if metrics.counted_to.is_none_or(|counted| at > counted) {
            if more.failed > 0 {
                let run =
                    self.run.get_or_insert(FailureRun { since: at, last: at, failed: 0, operations: 0 });
                run.since = run.since.min(at);
                run.last = run.last.max(at);
                run.failed += more.failed;
            }
            if let Some(run) = &mut self.run {
                run.operations = (run.operations + more.operations).max(run.failed);
            }
        }
        if held_failed > 0 {
            self.last_failure = self.last_failure.max(Some(at));
        }
        if succeeded {
            self.last_arrival = self.last_arrival.max(Some(at));
        }
    }

    /// Adds a point of the metrics of what is pending.
    pub fn backlog(&mut self, at: Timestamp, point: Backlog) {
        let Some(metrics) = &mut self.metrics else { return };
        let held = metrics.backlog.entry(at).or_default();
        held.pending = held.pending.max(point.pending);
        held.latency_seconds = held.latency_seconds.max(point.latency_seconds);
    }

    /// Drops what no verdict needs any more.
    pub fn forget_before(&mut self, start: Timestamp) {
        self.noise = self.noise.split_off(&start);
        self.noise_before = self.noise_before.split_off(&start);
        self.reported = self.reported.split_off(&start);
        let run = self.run.as_ref().map(|run| run.since);
        self.backfilled_to.take_if(|to| *to <= start && run.is_none_or(|since| since >= *to));
        if let Some(metrics) = &mut self.metrics {
            metrics.ended = metrics.ended.split_off(&start);
            metrics.backlog = metrics.backlog.split_off(&start);
            while metrics.backlog.len() > POINTS_BEHIND {
                metrics.backlog.pop_first();
            }
        }
    }
}
