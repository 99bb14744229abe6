//! Whether objects arrive: from evidence to a verdict.
//!
//! In: the metrics, canaries and failure events of the rules of one resource, its former status and the last
//! correction. Out: the condition
//! `Replicating`, and `status.health`. Pure: the readers of AWS keep an [`Evidence`] for each resource, and add to it.

pub mod canary;
mod correction_cause;
pub mod evidence;
pub mod failure_event;
pub mod figures;
mod judge;
mod kept_evidence;
pub mod key_cause;
pub mod metrics;
pub mod retried_failures;
mod rule;
#[cfg(test)]
mod tests;
mod wording;

pub use evidence::{
    Backlog, CanaryEvidence, CanaryOutcome, CanarySent, EndedOperations, Evidence, FailureRun,
    MetricsEvidence, RetriedFailures, RuleEvidence, Unread, WINDOW,
};
pub use judge::{CANARY_FAILED, CANARY_REFUSED, Judged, Judging, PENDING, judge, settle};
pub use rule::{Finding, RuleJudged};
