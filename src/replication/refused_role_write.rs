//! A permissions boundary that IAM does not find: it answers as for a role that does not exist.
//!
//! In: a step on a role, its failure, and the `AwsAccount` of the source. Out: the refusal, which names the field that
//! holds the boundary.

use crate::api::{ConditionType, Reason};
use crate::replication::{Account, Failure, FailureClass, Refusal, Step};

/// The refusal of a step that sets a boundary which does not exist. `None`: the failure is another one.
pub fn missing_boundary(step: &Step, failure: &Failure, account: Option<&Account>) -> Option<Refusal> {
    let boundary = match step {
        Step::CreateRole { documents, .. } => documents.permissions_boundary.as_deref()?,
        Step::PutPermissionsBoundary { boundary, .. } => boundary,
        _ => return None,
    };
    if failure.class != FailureClass::NoSuchRole || !failure.detail.contains(boundary) {
        return None;
    }
    let imposes = |account: &&Account| {
        let roles = account.spec.roles.as_ref();
        roles.and_then(|roles| roles.permissions_boundary.as_deref()) == Some(boundary)
    };
    let field = match account.filter(imposes) {
        Some(account) => format!("roles.permissionsBoundary of AwsAccount {}", account.name),
        None => "role.permissionsBoundary".to_owned(),
    };
    let answer = failure.answer();
    let message = format!(
        "{field} names no policy: {boundary} does not exist or cannot be a boundary ({answer}); create the policy, or correct {field}"
    );
    Some(Refusal::new(Reason::InvalidRequest, ConditionType::RoleReady, message))
}
