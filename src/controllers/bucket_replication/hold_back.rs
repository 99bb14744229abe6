//! Decides which part of a plan waits.
//!
//! In: a plan, what was observed, and what the operator remembers of its writes to the resource. Out: the stages to execute
//! now, or how long to wait for AWS.

use std::time::Duration;

use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::Executed;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::stop::Stop;
use crate::replication::outcome::{Contested, Outcome};
use crate::replication::{Assessment, Plan, Step};

/// The part of a plan that is executed now.
pub struct Held {
    pub stages: Vec<Vec<Step>>,
    contested: Option<Contested>,
    /// When the corrections that are held back may be tried again.
    pub retry: Option<Duration>,
}

/// Holds back corrections that were made too often, and everything while AWS still returns answers from before a write.
pub fn hold_back<C, K>(
    assessment: &Assessment<'_>,
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<Held, Stop> {
    let Assessment { plan, observed, .. } = assessment;
    let (memory, now) = (resource.target.memory, cx.clock.now());
    if let Some(pause) = memory.unsettled(plan, observed, now) {
        return Err(Stop::Unsettled(pause));
    }
    Ok(match memory.contested(plan, now) {
        Some((contested, retry)) => Held {
            stages: plan.without(&contested.differences),
            contested: Some(contested),
            retry: Some(retry),
        },
        None => Held { stages: plan.stages.clone(), contested: None, retry: None },
    })
}

impl Held {
    /// A check that was stopped after its first write still reports what it wrote.
    ///
    /// # Errors
    /// Why the check was stopped before its first write.
    pub fn conclude(&self, executed: Executed, plan: &mut Plan) -> Result<Outcome, Stop> {
        let Executed { mut outcome, stopped } = executed;
        outcome.held_back = self.contested.clone();
        match stopped {
            Some(stop) if outcome.done.is_empty() => return Err(stop),
            Some(Stop::Refused(refusal)) => plan.refusals.insert(0, refusal),
            Some(_) => outcome.interrupted = true,
            None => {}
        }
        Ok(outcome)
    }
}
