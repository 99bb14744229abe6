//! A reason to stop a check before the first write.
//!
//! In: a reason, the condition it belongs to, and a sentence with the remedy. Out: what `Ready` reports.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::api::{ConditionType, Reason};
use crate::replication::failure::Failure;

/// In bytes. A condition's message has 4,000 at most, and an event names the refusal too.
pub(crate) const LONGEST_LIST: usize = 3500;

/// Why the operator does not continue, as a condition reports it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
    /// The condition that reports it besides `Ready`.
    pub about: ConditionType,
}

impl Refusal {
    pub fn new(reason: Reason, about: ConditionType, message: String) -> Refusal {
        Refusal { reason, message, about }
    }

    /// Refuses with all of these as one: the first decides the reason, and the message names each once, as long as it
    /// is no longer than a condition shows.
    ///
    /// # Errors
    /// When there is any.
    pub fn all(refusals: impl IntoIterator<Item = Refusal>) -> Result<(), Refusal> {
        let mut refusals = refusals.into_iter();
        let Some(mut first) = refusals.next() else { return Ok(()) };
        let mut named = BTreeSet::from([first.message.clone()]);
        let mut unnamed = 0;
        for other in refusals.filter(|other| named.insert(other.message.clone())) {
            if first.message.len() + other.message.len() > LONGEST_LIST {
                unnamed += 1;
                continue;
            }
            first.message.push_str("; also: ");
            first.message.push_str(&other.message);
        }
        if unnamed > 0 {
            first.message.push_str(&format!("; and {unnamed} more"));
        }
        Err(first)
    }

    pub fn failed(failure: &Failure, about: ConditionType) -> Refusal {
        Refusal::new(failure.class.reason(), about, failure.message())
    }
}

/// Refuses what an administrator does not allow.
pub(crate) fn not_allowed(message: String) -> Result<(), Refusal> {
    Err(Refusal::new(Reason::NotAllowed, ConditionType::Ready, message))
}
