//! Observed state → desired state and plan.
//!
//! The controller and the command line's `plan` share it, so that both decide alike.

use crate::replication::desired::Desired;
use crate::replication::observed::Observed;
use crate::replication::plan::{Plan, PlanInput, plan};
use crate::replication::read_set::ReadSet;
use crate::replication::resource::Replication;

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    pub desired: Desired,
    pub plan: Plan,
}

/// Works out what is desired and plans the steps from what was observed to it.
pub fn assess(replication: &Replication<'_>, read_set: &ReadSet, observed: &Observed) -> Assessment {
    let desired = Desired::new(replication, &read_set.discovered(observed));
    let plan = plan(&PlanInput::new(replication, read_set, observed, &desired));
    Assessment { desired, plan }
}
