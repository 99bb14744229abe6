//! What must hold before anything is written.
//!
//! In: what the planner decides on, and the differences. Out: every refusal, in the order of the lists below; the
//! first one decides what the status says. Only when there is none are there steps at all.

mod to_judge;
mod to_write;

use crate::api::{DriftEntry, ManagementPolicy};
use crate::replication::plan::input::PlanInput;
use crate::replication::refusal::Refusal;

type Precondition = fn(&PlanInput<'_>, &[DriftEntry]) -> Result<(), Refusal>;

/// What must hold for any statement about the replication.
const TO_JUDGE: [Precondition; 9] = [
    // Without its source there is nothing to say of a replication.
    to_judge::require_source,
    // While one destination is missing, nothing is written to the others either.
    to_judge::require_destinations,
    // A bucket of which versioning cannot be read for now may lack it.
    to_judge::require_versioning_read,
    // Under an AwsAccount, a bucket that merely has an allowed name is not enough: the name may be someone else's.
    to_judge::require_owners_confirmed,
    // What was not read may differ.
    to_judge::require_reads,
    // S3 accepts an owner override within one account, and then silently changes how ACLs behave.
    to_judge::require_ownership_across_accounts,
    // S3 accepts a role that it cannot assume, and fails object by object.
    to_judge::require_existing_role_usable,
    // `role.arn` must not be a way around what an AwsAccount imposes on roles.
    to_judge::require_existing_role_allowed,
    // S3 accepts any key, and fails object by object.
    to_judge::require_keys_usable,
];

/// What must hold for the operator to write.
const TO_WRITE: [Precondition; 8] = [
    // The role of someone else is not taken over without the word for it.
    to_write::require_role_ours,
    // Nor is the configuration of someone else replaced.
    to_write::require_configuration_ours,
    // `versioning: Required` leaves it to the user to enable it.
    to_write::require_versioning_enabled,
    // MFA delete leaves it to the root user.
    to_write::require_versioning_changeable,
    // S3 would refuse the configuration when the role is made already.
    to_write::require_filters_writable,
    // IAM would let one tag replace another at each check.
    to_write::require_tags_distinct,
    // IAM would refuse the role's policy when the role is made already.
    to_write::require_role_policy_fits,
    // S3 would refuse the destination's policy when the role is made already.
    to_write::require_bucket_policies_fit,
];

/// Every refusal, in the order of the checks.
pub fn refusals(input: &PlanInput<'_>, differences: &[DriftEntry]) -> Vec<Refusal> {
    let to_write: &[Precondition] = match input.replication.spec.management_policy {
        ManagementPolicy::Enforce => &TO_WRITE,
        ManagementPolicy::Observe => &[],
    };
    TO_JUDGE.iter().chain(to_write).filter_map(|require| require(input, differences).err()).collect()
}
