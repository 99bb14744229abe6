//! When a reconcile wants to run again.
//!
//! In: a pause, or that only a change of the object counts. Out: [`Action`], which the queue of the kind follows.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(Option<Duration>);

impl Action {
    /// Runs again after a pause, or earlier when the object changes.
    pub fn requeue(after: Duration) -> Action {
        Action(Some(after))
    }

    /// Runs again only when the object changes.
    pub fn await_change() -> Action {
        Action(None)
    }

    /// The pause; `None` when only a change counts.
    pub fn after(self) -> Option<Duration> {
        self.0
    }
}
