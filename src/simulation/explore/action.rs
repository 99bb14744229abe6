//! What can happen at a decision point, in words and as a name that a replay is written with.

use std::fmt;

use crate::simulation::explore::scene::Deed;

/// What bounds how often something happens in one trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Budget {
    /// The process dies.
    Crashes,
    /// A call fails without effect.
    Failures,
    /// A call takes effect, and its answer is lost.
    LostAnswers,
    /// AWS answers a read from before the last write.
    StaleAnswers,
    /// Another call than the oldest is answered first, or another resource's check goes on.
    Switches,
    /// A check begins sooner than it is due.
    EarlyChecks,
    /// Another operator takes the lease.
    Leases,
    /// A user changes the spec or adds a finalizer.
    SpecChanges,
    /// A user deletes the resource or strips its finalizer.
    Deletions,
    /// Someone outside changes AWS.
    Outsiders,
    /// An administrator changes an account or a namespace.
    Administrators,
}

/// Every budget with its size.
pub const BUDGETS: [(Budget, u8); 11] = [
    (Budget::Crashes, 2),
    (Budget::Failures, 1),
    (Budget::LostAnswers, 1),
    (Budget::StaleAnswers, 1),
    (Budget::Switches, 2),
    (Budget::EarlyChecks, 1),
    (Budget::Leases, 1),
    (Budget::SpecChanges, 2),
    (Budget::Deletions, 2),
    (Budget::Outsiders, 2),
    (Budget::Administrators, 2),
];

/// Something other than what happens when nobody interferes.
#[derive(Clone, Copy)]
pub enum Action {
    Fail,
    LoseAnswer,
    AnswerStale,
    /// The process dies when the call has taken effect.
    DieAfter,
    /// The process dies between two checks.
    Restart,
    /// Another call that is under way is answered first: its place among those that wait.
    AnswerOther(usize),
    /// The check of another resource goes on, or begins.
    Switch(usize),
    /// The next check begins at once.
    CheckEarly,
    MoveLease,
    Deed(&'static Deed),
}

impl Action {
    pub fn budget(&self) -> Budget {
        match self {
            Action::Fail => Budget::Failures,
            Action::LoseAnswer => Budget::LostAnswers,
            Action::AnswerStale => Budget::StaleAnswers,
            Action::DieAfter | Action::Restart => Budget::Crashes,
            Action::AnswerOther(_) | Action::Switch(_) => Budget::Switches,
            Action::CheckEarly => Budget::EarlyChecks,
            Action::MoveLease => Budget::Leases,
            Action::Deed(deed) => deed.budget,
        }
    }
}

/// The name in a replay.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Fail => f.write_str("fails"),
            Action::LoseAnswer => f.write_str("loses-answer"),
            Action::AnswerStale => f.write_str("answers-stale"),
            Action::DieAfter => f.write_str("dies-after"),
            Action::Restart => f.write_str("restarts"),
            Action::AnswerOther(place) => write!(f, "answers-other-{place}"),
            Action::Switch(task) => write!(f, "switches-to-{task}"),
            Action::CheckEarly => f.write_str("checks-early"),
            Action::MoveLease => f.write_str("moves-lease"),
            Action::Deed(deed) => f.write_str(deed.name),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
