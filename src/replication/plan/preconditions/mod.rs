//! Why nothing is written although something differs.
//!
//! Refusals come before the first write: the checks run in order over what was observed, and only when none of
//! them objects are there steps at all.

mod to_judge;
mod to_write;

use crate::api::{DriftEntry, ManagementPolicy};
use crate::replication::plan::PlanInput;
use crate::replication::refusal::Refusal;

type Check = fn(&PlanInput<'_>, &[DriftEntry]) -> Option<Refusal>;

/// What must hold for anything to be said of the replication at all.
const TO_JUDGE: [Check; 9] = [
    to_judge::source_exists,
    to_judge::destinations_exist,
    to_judge::versioning_was_read,
    to_judge::owners_are_confirmed,
    to_judge::reads_succeeded,
    to_judge::ownership_is_across_accounts,
    to_judge::existing_role_is_usable,
    to_judge::existing_role_is_allowed,
    to_judge::keys_are_usable,
];

/// What must hold for the operator to write.
const TO_WRITE: [Check; 6] = [
    to_write::role_is_ours,
    to_write::configuration_is_ours,
    to_write::versioning_is_there,
    to_write::versioning_can_be_enabled,
    to_write::policy_fits,
    to_write::bucket_policies_fit,
];

pub fn refusal(situation: &PlanInput<'_>, differences: &[DriftEntry]) -> Option<Refusal> {
    let to_write: &[Check] = match situation.management {
        ManagementPolicy::Enforce => &TO_WRITE,
        ManagementPolicy::Observe => &[],
    };
    TO_JUDGE.iter().chain(to_write).find_map(|check| check(situation, differences))
}
