//! The preconditions of a plan.
//!
//! In: the planner's input, and the differences. Out: every refusal, in the order of the lists below; the first one
//! becomes the reason of `Ready`. A plan with a refusal of these lists has no steps, but for those that need nothing of
//! what could not be read ([`RefusalScope`]). A new precondition is a function in one of the files beside this one, and a
//! line in a list here.

mod to_ask;
mod to_judge;
mod to_write;

pub use self::to_judge::require_reached;

use self::RefusalScope::{All, Dependents};
use crate::api::{DriftEntry, ManagementPolicy};
use crate::replication::plan::input::PlanInput;
use crate::replication::refusal::Refusal;

type Precondition = fn(&PlanInput<'_>, &[DriftEntry]) -> Result<(), Refusal>;

/// The steps that a refusal holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalScope {
    /// Every write.
    All,
    /// Where all was applied before, or a change of the spec may begin: only the steps that need what could not be
    /// read. The plan leaves them out.
    Dependents,
}

/// The preconditions of any statement about the replication.
const TO_JUDGE: [(RefusalScope, Precondition); 12] = [
    // Without its source there is no replication to judge.
    (All, to_judge::require_source),
    // While one destination is missing, nothing is written to the others either.
    (All, to_judge::require_destinations),
    // A bucket whose versioning cannot be read for now may lack it.
    (All, to_judge::require_versioning_read),
    // Under an AwsAccount, an allowed name is not enough: the bucket may belong to another account.
    (Dependents, to_judge::require_owners_confirmed),
    // A part that was not read may differ.
    (Dependents, to_judge::require_configuration_read),
    (Dependents, to_judge::require_role_read),
    // S3 accepts an owner override within one account, and then silently changes how ACLs behave.
    (All, to_judge::require_ownership_across_accounts),
    // AWS knows no ARN of another partition, and says of it that it does not exist, or names no field.
    (All, to_ask::require_arns_of_partition),
    // S3 accepts a role that it cannot assume, and fails object by object.
    (All, to_judge::require_existing_role_usable),
    // `role.arn` must not be a way around what an AwsAccount imposes on roles.
    (Dependents, to_judge::require_existing_role_read),
    (All, to_judge::require_existing_role_allowed),
    // S3 accepts any key, and fails object by object.
    (All, to_judge::require_keys_usable),
];

/// The preconditions of a write.
const TO_WRITE: [(RefusalScope, Precondition); 14] = [
    // A role that someone else made is taken over only with `adoptionPolicy: Adopt`.
    (All, to_write::require_own_role),
    // A configuration that someone else made is replaced only with `adoptionPolicy: Adopt`.
    (All, to_write::require_own_configuration),
    // S3 accepts any key, and fails object by object.
    (All, to_write::require_new_keys_read),
    // `versioning: Required` leaves it to the user to enable it.
    (All, to_write::require_versioning_enabled),
    // With MFA delete only the root user can enable it.
    (All, to_write::require_versioning_changeable),
    // S3 would refuse the configuration after the role was created.
    (All, to_write::require_filters_writable),
    // S3 counts bytes and units of UTF-16, and admission counts characters.
    (All, to_ask::require_filters_fit),
    // S3 would take the rules for buckets of two owners, and copy into one of them at most.
    (All, to_ask::require_one_owner_of_a_bucket),
    // IAM refuses a boundary of another account without naming the field.
    (All, to_ask::require_boundary_within_reach),
    // IAM refuses a tag by its regular expression.
    (All, to_ask::require_role_tags_taken),
    // IAM would replace one tag by another at each check.
    (All, to_write::require_tags_distinct),
    // IAM would refuse the role's policy after the role was created.
    (All, to_write::require_role_policy_fits),
    // S3 would refuse the destination's policy after the role was created.
    (All, to_write::require_bucket_policies_fit),
    // A policy that was not read may hold what others wrote.
    (Dependents, to_write::require_bucket_policies_read),
];

/// Every refusal with what it stops, in the order of the checks.
pub fn refusals(input: &PlanInput<'_>, differences: &[DriftEntry]) -> Vec<(RefusalScope, Refusal)> {
    let to_write: &[(RefusalScope, Precondition)] = match input.replication.spec.management_policy {
        ManagementPolicy::Enforce => &TO_WRITE,
        ManagementPolicy::Observe => &[],
    };
    // Last: every other refusal says more about what to do.
    let unread: [(RefusalScope, Precondition); 2] =
        [(Dependents, to_judge::require_role_policy_read), (Dependents, to_judge::require_accounts_reached)];
    let all = TO_JUDGE.iter().chain(to_write).chain(&unread);
    all.filter_map(|(scope, require)| Some((*scope, require(input, differences).err()?))).collect()
}
