//! Explains a write to a role that IAM refuses because of a permissions boundary, and does not say so.
//!
//! In: a step on a role, its failure, the boundary that the role shall have, and the `AwsAccount` of the source. Out: the
//! refusal, which names the field that holds the boundary. IAM answers for a boundary that does not exist as for a role
//! that does not exist, and for a boundary that a condition in the operator's policy asks for with a plain denial.

use crate::api::{ConditionType, Reason};
use crate::replication::{Account, Failure, FailureClass, Refusal, Step};

/// The refusal of a step on a role that a boundary may be to blame for. `None`: the failure is another one.
pub fn refused_role_write(
    step: &Step,
    failure: &Failure,
    boundary: Option<&str>,
    account: Option<&Account>,
) -> Option<Refusal> {
    let message = match failure.class {
        FailureClass::NoSuchRole => missing_boundary(step, failure, account)?,
        FailureClass::Denied => unmet_boundary(step, failure, boundary, account)?,
        _ => return None,
    };
    let reason = match failure.class {
        FailureClass::Denied => Reason::AccessDenied,
        _ => Reason::InvalidRequest,
    };
    Some(Refusal::new(reason, ConditionType::RoleReady, message))
}

/// The boundary that a step sets does not exist.
fn missing_boundary(step: &Step, failure: &Failure, account: Option<&Account>) -> Option<String> {
    let boundary = match step {
        Step::CreateRole { documents, .. } => documents.permissions_boundary.as_deref()?,
        Step::PutPermissionsBoundary { boundary, .. } => boundary,
        _ => return None,
    };
    if !failure.detail.contains(boundary) {
        return None;
    }
    let (field, answer) = (field_of_boundary(Some(boundary), account), failure.answer());
    Some(format!(
        "{field} names no policy: {boundary} does not exist or cannot be a boundary ({answer}); create the policy, or correct {field}"
    ))
}

/// The operator's policy may allow the step only with a certain boundary, as the shipped one does
/// (`iam:PermissionsBoundary`).
fn unmet_boundary(
    step: &Step,
    failure: &Failure,
    boundary: Option<&str>,
    account: Option<&Account>,
) -> Option<String> {
    let is_bounded = matches!(
        step,
        Step::CreateRole { .. } | Step::PutRolePolicy { .. } | Step::PutPermissionsBoundary { .. }
    );
    // AWS names another action, or the kind of policy that denies this one.
    if !is_bounded || failure.action != step.action() || failure.culprit().is_some() {
        return None;
    }
    let field = field_of_boundary(boundary, account);
    let hint = match boundary {
        None => {
            format!(
                "if its policy allows that only with a permissions boundary, set {field} to that boundary"
            )
        }
        Some(boundary) => format!(
            "if its policy allows that only with another permissions boundary than {boundary}, correct {field}"
        ),
    };
    Some(format!("{}; {hint}", failure.message()))
}

/// The field that holds a boundary, or that is to hold one.
fn field_of_boundary(boundary: Option<&str>, account: Option<&Account>) -> String {
    let imposed = |account: &Account| {
        let roles = account.spec.roles.as_ref();
        roles.and_then(|roles| roles.permissions_boundary.clone())
    };
    match account.filter(|account| imposed(account).as_deref() == boundary) {
        Some(account) => format!("roles.permissionsBoundary of AwsAccount {}", account.name),
        None => "role.permissionsBoundary".to_owned(),
    }
}
