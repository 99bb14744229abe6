//! What can happen at a decision point when someone interferes.
//!
//! In: nothing. Out: [`Action`], with the name that a replay is written with and the budget that bounds it.

use std::fmt;

pub use crate::simulation::explore::budget::{BUDGETS, Budget};
use crate::simulation::explore::deed::Deed;

/// Something other than what happens when nobody interferes.
#[derive(Clone, Copy)]
pub enum Action {
    Fail,
    /// AWS denies the call, or one of the reads that it makes together: this once, or the action until someone allows it
    /// again at the end of the trace.
    Deny {
        part: Option<&'static str>,
        stays: bool,
    },
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
    /// Another operator takes the lease and begins a check before this call is answered.
    TakeOver,
    Deed(&'static Deed),
}

impl Action {
    pub fn budget(&self) -> Budget {
        match self {
            Action::Fail => Budget::Failures,
            Action::Deny { .. } => Budget::Denials,
            Action::LoseAnswer => Budget::LostAnswers,
            Action::AnswerStale => Budget::StaleAnswers,
            Action::DieAfter | Action::Restart => Budget::Crashes,
            Action::AnswerOther(_) | Action::Switch(_) => Budget::Switches,
            Action::CheckEarly => Budget::EarlyChecks,
            Action::MoveLease | Action::TakeOver => Budget::Leases,
            Action::Deed(deed) => deed.budget,
        }
    }
}

/// The name in a replay.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Fail => f.write_str("fails"),
            Action::Deny { part, stays } => {
                f.write_str(if *stays { "stays-denied" } else { "is-denied" })?;
                part.map_or(Ok(()), |part| write!(f, "-{part}"))
            }
            Action::LoseAnswer => f.write_str("loses-answer"),
            Action::AnswerStale => f.write_str("answers-stale"),
            Action::DieAfter => f.write_str("dies-after"),
            Action::Restart => f.write_str("restarts"),
            Action::AnswerOther(place) => write!(f, "answers-other-{place}"),
            Action::Switch(task) => write!(f, "switches-to-{task}"),
            Action::CheckEarly => f.write_str("checks-early"),
            Action::MoveLease => f.write_str("moves-lease"),
            Action::TakeOver => f.write_str("takes-over"),
            Action::Deed(deed) => f.write_str(deed.name),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
