//! The preconditions of a plan.
//!
//! In: the planner's input, and the differences. Out: every refusal, in the order of the lists below; the first one
//! becomes the reason of `Ready`. A plan with a refusal of these lists has no steps. A new precondition is a function
//! in one of the files beside this one, and a line in a list here.

mod to_ask;
mod to_judge;
mod to_write;

pub use to_judge::require_role_policy_read;

use crate::api::{DriftEntry, ManagementPolicy};
use crate::replication::plan::input::PlanInput;
use crate::replication::refusal::Refusal;

type Precondition = fn(&PlanInput<'_>, &[DriftEntry]) -> Result<(), Refusal>;

/// What must hold for any statement about the replication.
const TO_JUDGE: [Precondition; 10] = [
    // Without its source there is no replication to judge.
    to_judge::require_source,
    // While one destination is missing, nothing is written to the others either.
    to_judge::require_destinations,
    // A bucket whose versioning cannot be read for now may lack it.
    to_judge::require_versioning_read,
    // Under an AwsAccount, an allowed name is not enough: the bucket may belong to another account.
    to_judge::require_owners_confirmed,
    // A part that was not read may differ.
    to_judge::require_configuration_read,
    to_judge::require_role_read,
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
const TO_WRITE: [Precondition; 12] = [
    // A role that someone else made is taken over only with `adoptionPolicy: Adopt`.
    to_write::require_role_ours,
    // A configuration that someone else made is replaced only with `adoptionPolicy: Adopt`.
    to_write::require_configuration_ours,
    // `versioning: Required` leaves it to the user to enable it.
    to_write::require_versioning_enabled,
    // With MFA delete only the root user can enable it.
    to_write::require_versioning_changeable,
    // S3 would refuse the configuration after the role was created.
    to_write::require_filters_writable,
    // S3 counts bytes and units of UTF-16, and admission counts characters.
    to_ask::require_filters_fit,
    // S3 would take the rules for buckets of two owners, and copy into one of them at most.
    to_ask::require_one_owner_of_a_bucket,
    // IAM and S3 refuse an ARN of another partition without naming the field.
    to_ask::require_arns_within_reach,
    // IAM refuses a tag by its regular expression.
    to_ask::require_role_tags_taken,
    // IAM would replace one tag by another at each check.
    to_write::require_tags_distinct,
    // IAM would refuse the role's policy after the role was created.
    to_write::require_role_policy_fits,
    // S3 would refuse the destination's policy after the role was created.
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
