//! The choices at a decision point when someone interferes.
//!
//! In: nothing. Out: [`Deviation`], with the name that a replay is written with and the budget that bounds it.

use std::fmt;

use crate::simulation::explore::act::Act;
pub use crate::simulation::explore::budget::{BUDGETS, Budget};
use crate::simulation::written_part::WrittenPart;

/// Something other than what happens when nobody interferes.
#[derive(Clone, Copy)]
pub enum Deviation {
    Fail,
    /// S3 refuses a bucket policy, because IAM does not show a new role everywhere yet.
    UnknownRole,
    /// AWS or the API server denies the call, or AWS one of the reads that it makes together: this once, or the action
    /// until someone allows it again at the end of the trace.
    Deny {
        part: Option<&'static str>,
        stays: bool,
    },
    LoseAnswer,
    /// AWS answers from before the last write of the operator.
    AnswerStale,
    /// AWS answers with one part from before the last write of that part.
    AnswerOldPart(WrittenPart),
    /// The process dies when the call has taken effect.
    DieAfter,
    /// The process dies between two checks.
    Restart,
    /// Another call that is under way is answered first: its index among those that wait.
    AnswerOther(usize),
    /// The check of another resource goes on, or begins.
    Switch(usize),
    /// The next check begins at once.
    CheckEarly,
    MoveLease,
    /// Another operator takes the lease and begins a check before this call is answered.
    TakeOver,
    Act(&'static Act),
}

impl Deviation {
    pub fn budget(&self) -> Budget {
        match self {
            Deviation::Fail | Deviation::UnknownRole => Budget::Failures,
            Deviation::Deny { .. } => Budget::Denials,
            Deviation::LoseAnswer => Budget::LostAnswers,
            Deviation::AnswerStale | Deviation::AnswerOldPart(_) => Budget::StaleAnswers,
            Deviation::DieAfter | Deviation::Restart => Budget::Crashes,
            Deviation::AnswerOther(_) | Deviation::Switch(_) => Budget::Switches,
            Deviation::CheckEarly => Budget::EarlyChecks,
            Deviation::MoveLease | Deviation::TakeOver => Budget::Leases,
            Deviation::Act(act) => act.budget,
        }
    }
}

/// The name in a replay.
impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deviation::Fail => f.write_str("fails"),
            Deviation::UnknownRole => f.write_str("knows-no-role"),
            Deviation::Deny { part, stays } => {
                f.write_str(if *stays { "stays-denied" } else { "is-denied" })?;
                part.map_or(Ok(()), |part| write!(f, "-{part}"))
            }
            Deviation::LoseAnswer => f.write_str("loses-answer"),
            Deviation::AnswerStale => f.write_str("answers-stale"),
            Deviation::AnswerOldPart(part) => write!(f, "answers-old-{part}"),
            Deviation::DieAfter => f.write_str("dies-after"),
            Deviation::Restart => f.write_str("restarts"),
            Deviation::AnswerOther(index) => write!(f, "answers-other-{index}"),
            Deviation::Switch(task) => write!(f, "switches-to-{task}"),
            Deviation::CheckEarly => f.write_str("checks-early"),
            Deviation::MoveLease => f.write_str("moves-lease"),
            Deviation::TakeOver => f.write_str("takes-over"),
            Deviation::Act(act) => f.write_str(act.name),
        }
    }
}

impl fmt::Debug for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
