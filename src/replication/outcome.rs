//! The outcome of a plan.
//!
//! In: the result of each step. Out: which steps of the next stage may still run, and the record of all steps for the
//! report.

use crate::api::DriftEntry;
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::part::part;
use crate::replication::step::Step;

/// The outcome of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub done: Vec<Step>,
    /// In the order in which they failed; the first one decides the reason of the status.
    pub failed: Vec<(Step, Failure)>,
    /// Steps that were left out because one that they need failed or was left out.
    pub skipped: Vec<Step>,
    /// The operator was asked to stop before all steps were done.
    pub interrupted: bool,
    /// Another tool keeps changing what the operator corrects: nothing was done this time.
    pub contested: Option<Contested>,
}

/// Fields that were corrected again and again within an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Contested {
    /// The differences that are left as they are for now.
    pub differences: Vec<DriftEntry>,
    pub corrections: usize,
}

impl Outcome {
    /// The steps of a stage that may run; the others need a step that failed or was left out, and are recorded as
    /// skipped. The executor asks this before each stage and records each result, so that a failure holds back only
    /// the steps that need it, and of a configuration only the rules that need it.
    pub fn admit(&mut self, stage: &[Step]) -> Vec<Step> {
        let (held_back, mut admitted): (Vec<Step>, Vec<Step>) = stage
            .iter()
            .cloned()
            .partition(|step| step.is_refused_in_part() || self.unfinished().any(|other| step.needs(other)));
        let unfinished: Vec<&Step> = self.unfinished().collect();
        admitted.extend(held_back.iter().filter_map(|step| part(step, &unfinished)));
        self.skipped.extend(held_back);
        admitted
    }

    /// Records the result of a step.
    pub fn record(&mut self, step: Step, result: Result<(), Failure>) {
        match result {
            Ok(()) => self.done.push(step),
            Err(failure) => self.failed.push((step, failure)),
        }
    }

    /// The steps that AWS did not answer: they may be done.
    pub fn unanswered(&self) -> impl Iterator<Item = &Step> {
        let unanswered = self.failed.iter().filter(|(_, failure)| failure.class == FailureClass::Unavailable);
        unanswered.map(|(step, _)| step)
    }

    /// The failure that decides the reason of the status.
    pub fn first_failure(&self) -> Option<(&Step, &Failure)> {
        self.failed.first().map(|(step, failure)| (step, failure))
    }

    /// Whether every step was done that was to be done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty() && !self.interrupted
    }

    fn unfinished(&self) -> impl Iterator<Item = &Step> {
        self.failed.iter().map(|(step, _)| step).chain(&self.skipped)
    }
}
