//! Decides which part of a plan waits.
//!
//! In: a plan, what was observed, what the operator remembers of its writes to the resource, and what events announced.
//! Out: the stages to execute now, or how long to wait for AWS.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::BucketReplicationStatus;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::Executed;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::replication::outcome::{Contested, Outcome};
use crate::replication::{Assessment, Plan, Step};

/// The part of a plan that is executed now.
pub struct ExecutablePart {
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
) -> Result<ExecutablePart, Stop> {
    let Assessment { plan, .. } = assessment;
    let (memory, now) = (resource.target.memory, cx.clock.now());
    let timestamp = cx.clock.timestamp();
    if let Some(cause) = &resource.events.announced {
        let changes = cause.foreign.iter().map(|(setting, time)| (*setting, age(*time, timestamp)));
        memory.changed_by_another(changes, now);
    }
    let last_write = written_ago(&resource.status, timestamp);
    let unsettled = memory.unsettled(plan, &assessment.input(), last_write, now);
    if let Some(pause) = unsettled.filter(|_| !is_on(Mutant::OldAnswersBelieved)) {
        return Err(Stop::Unsettled(pause));
    }
    Ok(match memory.contested(plan, now) {
        Some((contested, retry)) => ExecutablePart {
            stages: plan.without(&contested.differences),
            contested: Some(contested),
            retry: Some(retry),
        },
        None => ExecutablePart { stages: plan.stages.clone(), contested: None, retry: None },
    })
}

/// How long ago the last write was of which the status has the time. Another process may have made it.
pub fn written_ago(status: &BucketReplicationStatus, now: Timestamp) -> Option<Duration> {
    let corrected = status.last_correction.as_ref().map(|correction| correction.time.0);
    let configured = status.configured_at.as_ref().map(|time| time.0);
    corrected.max(configured).map(|last| age(last, now))
}

/// How long ago something was. The clock of AWS or of another process may be ahead.
fn age(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(time)).unwrap_or_default()
}

impl ExecutablePart {
    /// A check that was stopped after its first write still reports what it wrote.
    ///
    /// # Errors
    /// Why the check was stopped before its first write.
    pub fn conclude(&self, executed: Executed, plan: &mut Plan) -> Result<Outcome, Stop> {
        let Executed { mut outcome, stopped, announced: _ } = executed;
        outcome.contested = self.contested.clone();
        match stopped {
            Some(stop) if outcome.done.is_empty() => return Err(stop),
            Some(Stop::Refused(refusal)) => plan.refusals.insert(0, refusal),
            Some(_) => outcome.interrupted = true,
            None => {}
        }
        Ok(outcome)
    }
}
