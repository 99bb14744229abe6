//! Recognizes that IAM still answers from before the operator's own write of a role
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency>).
//!
//! In: a step on a role, and its failure. Out: what it waits for, as a message that blames nobody. The caller knows
//! whether the operator wrote the role a moment ago.

use crate::replication::{Failure, FailureClass, Step};

/// IAM does not find a role to write that the operator has just created. `None`: the failure is another one.
pub fn awaits_new_role(step: &Step, failure: &Failure) -> Option<String> {
    let writes_role = matches!(
        step,
        Step::UpdateTrustPolicy { .. }
            | Step::PutPermissionsBoundary { .. }
            | Step::DeletePermissionsBoundary { .. }
            | Step::TagRole { .. }
            | Step::UntagRole { .. }
            | Step::PutRolePolicy { .. }
    );
    (writes_role && failure.class == FailureClass::NoSuchRole).then(|| {
        format!(
            "IAM does not show role {} everywhere yet, which the operator created a moment ago ({}: {}); trying again",
            step.subject(),
            failure.action,
            failure.answer()
        )
    })
}

/// IAM does not delete a role because of its inline policy, which the operator has just deleted: a role with an inline
/// policy of someone else is not deleted. `None`: the failure is another one.
pub fn awaits_end_of_policy(step: &Step, failure: &Failure) -> Option<String> {
    const INLINE: &str = "must delete policies first";
    let is_about_inline = failure.class == FailureClass::DeleteConflict && failure.detail.contains(INLINE);
    (matches!(step, Step::DeleteRole { .. }) && is_about_inline).then(|| {
        format!(
            "IAM still shows the policy of role {}, which the operator deleted a moment ago ({}: {}); trying again",
            step.subject(),
            failure.action,
            failure.answer()
        )
    })
}
