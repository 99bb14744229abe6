//! When to come back to a resource: kube-runtime's `Action`, which does not tell what it was made of.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(Option<Duration>);

impl Action {
    pub fn requeue(after: Duration) -> Action {
        Action(Some(after))
    }

    /// Not before the resource changes.
    pub fn await_change() -> Action {
        Action(None)
    }

    pub fn after(self) -> Option<Duration> {
        self.0
    }
}

impl From<Action> for kube::runtime::controller::Action {
    fn from(Action(after): Action) -> Self {
        after.map_or_else(Self::await_change, Self::requeue)
    }
}
