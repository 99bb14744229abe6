//! The acts of people on AWS or Kubernetes, and the accounts in which they act.
//!
//! In: the simulated AWS and API server. Out: [`Act`]: a name, a sentence, and the function that does it.

use crate::simulation::api_server::ApiServer;
use crate::simulation::explore::budget::Budget;
use crate::simulation::world::World;

/// The account of the operator's own identity.
pub const HERE: &str = "111122223333";
/// Another account.
pub const THERE: &str = "444455556666";

/// A change that someone makes in AWS or in Kubernetes.
pub struct Act {
    /// Its name in a replay.
    pub name: &'static str,
    /// Actor, action, subject.
    pub sentence: &'static str,
    pub budget: Budget,
    /// Does it; `false`: there is nothing to do it to.
    pub effect: fn(&mut World, &mut ApiServer) -> bool,
}
