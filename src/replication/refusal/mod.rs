//! Why nothing is written although something differs.
//!
//! Refusals come before the first write: the checks run in order over what was observed, and only when none of
//! them objects are there steps at all.

mod readable;
mod writable;

use serde::Serialize;

use super::failure::Failure;
use super::plan::Situation;
use crate::api::{ConditionType, DriftEntry, ManagementPolicy, Reason};

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

    fn failed(failure: &Failure, about: ConditionType) -> Refusal {
        Refusal::new(failure.class.reason(), about, failure.message())
    }
}

type Check = fn(&Situation<'_>, &[DriftEntry]) -> Option<Refusal>;

/// What must hold for anything to be said of the replication at all.
const READABLE: [Check; 9] = [
    readable::source_exists,
    readable::destinations_exist,
    readable::owners_are_confirmed,
    readable::versioning_was_read,
    readable::reads_succeeded,
    readable::ownership_is_across_accounts,
    readable::existing_role_is_usable,
    readable::existing_role_is_allowed,
    readable::keys_are_usable,
];

/// What must hold for the operator to write.
const WRITABLE: [Check; 6] = [
    writable::role_is_ours,
    writable::configuration_is_ours,
    writable::versioning_is_there,
    writable::versioning_can_be_enabled,
    writable::policy_fits,
    writable::bucket_policies_fit,
];

pub fn refusal(situation: &Situation<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
    let writable: &[Check] = match situation.management {
        ManagementPolicy::Enforce => &WRITABLE,
        ManagementPolicy::Observe => &[],
    };
    READABLE.iter().chain(writable).find_map(|check| check(situation, differences))
}
