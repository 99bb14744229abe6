//! Why a check stops before the first write.
//!
//! In: a reason, the condition it belongs to, and a sentence with the remedy. Out: what `Ready` reports.

use serde::Serialize;

use crate::api::{ConditionType, Reason};
use crate::replication::failure::Failure;

/// Why the operator does not go on: what a condition will say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
    /// The condition that tells this beside `Ready`.
    pub about: ConditionType,
}

impl Refusal {
    pub fn new(reason: Reason, about: ConditionType, message: String) -> Refusal {
        Refusal { reason, message, about }
    }

    pub fn failed(failure: &Failure, about: ConditionType) -> Refusal {
        Refusal::new(failure.class.reason(), about, failure.message())
    }
}
