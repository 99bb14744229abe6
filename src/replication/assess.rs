//! Observed state → desired state and plan.
//!
//! In: a resource, what was to be read of AWS, and what was read. Out: the plan, with what it was made from. The
//! controller and the command line's `plan` share it, so that both decide alike.

use crate::replication::desired::{Desired, Discovered};
use crate::replication::observed::Observed;
use crate::replication::plan::{Plan, PlanInput, plan};
use crate::replication::read_set::ReadSet;
use crate::replication::resource::Replication;

/// The state that a check found, and the plan for it.
#[derive(Clone, Debug)]
pub struct Assessment<'a> {
    replication: Replication<'a>,
    read_set: ReadSet,
    pub observed: Observed,
    desired: Desired,
    pub plan: Plan,
}

/// Derives what is desired, and plans the steps to it from what was observed.
pub fn assess(replication: Replication<'_>, read_set: ReadSet, observed: Observed) -> Assessment<'_> {
    let desired = desired_state(&replication, &read_set, &observed);
    let planned = plan(&PlanInput::new(&replication, &read_set, &observed, &desired));
    Assessment { replication, read_set, observed, desired, plan: planned }
}

/// Derives the desired state. If neither Object Lock nor a role that may read locks shows what the role needs, the
/// applied state remains the desired one.
fn desired_state(replication: &Replication<'_>, read_set: &ReadSet, observed: &Observed) -> Desired {
    let discovered = read_set.discovered(observed);
    let first = Desired::new(replication, &discovered);
    if observed.has_object_lock().is_some() || discovered.object_lock {
        return first;
    }
    let with_locks = Desired::new(replication, &Discovered { object_lock: true, ..discovered });
    let was_applied = replication.status.applied_hash.as_ref() == Some(&with_locks.hash());
    if was_applied { with_locks } else { first }
}

impl Assessment<'_> {
    /// The input that the plan was made from.
    pub fn input(&self) -> PlanInput<'_> {
        PlanInput::new(&self.replication, &self.read_set, &self.observed, &self.desired)
    }
}
