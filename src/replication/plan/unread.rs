//! Decides what may still be written while a part of AWS cannot be read that was applied before.
//!
//! In: the planner's input. Out: whether a change of the spec may begin, whether anything may be taken away, and
//! policies that grant what is desired and all that is held. Without the configuration nobody knows which permissions
//! it uses. Without a role nobody knows whether it exists. The operator therefore only adds to what they may need.

use serde_json::Value;

use crate::api::{AwsResource, DriftEntry};
use crate::iam::bucket_policy;
use crate::iam::compare::compare;
use crate::iam::document::{MAX_INLINE_POLICY, PolicyDocument, Statement};
use crate::iam::expand::expanded;
use crate::replication::desired::{DesiredRole, ManagedRole};
use crate::replication::failure::Failure;
use crate::replication::plan::input::PlanInput;
use crate::replication::resource::applied_role;

/// A policy to write.
pub struct PolicyToWrite {
    pub document: String,
    /// It grants more than what is desired.
    pub expands: bool,
}

/// Whether a part that shows what is no longer needed could not be read.
pub fn keeps_all(input: &PlanInput<'_>) -> bool {
    let unread_role = match (&input.desired.role, &input.observed.role) {
        (DesiredRole::Managed(_), Ok(Some(role))) => role.policy.is_err(),
        (DesiredRole::Managed(_), role) => role.is_err(),
        // It is only checked.
        (DesiredRole::Existing { .. }, _) => false,
    };
    input.observed.configuration.is_err() || unread_role
}

/// Whether a change of the spec may begin although a part cannot be read. Everything was applied before, and the role
/// stays: nothing is written for a role that may turn out to be someone else's, and no rule is moved to one that nobody
/// has seen. The plan may then only add permissions and statements. Of the rules of the configuration it may write
/// those that need nothing more of the role than the rules in AWS do.
pub fn may_begin_change(input: &PlanInput<'_>) -> bool {
    let status = input.replication.status;
    let role = input.desired.role.arn(&input.observed.caller);
    let is_configured = match &input.observed.configuration {
        Ok(Some(held)) => held.role == role,
        Ok(None) | Err(_) => true,
    };
    status.applied_hash.is_some()
        && applied_role(status) == Some(&role)
        && is_configured
        && !may_not_use_role(input)
}

/// The parts of a changed spec that cannot even be compared, each with the read that failed.
pub fn uncompared<'a>(input: &PlanInput<'a>) -> Vec<(String, &'a Failure)> {
    let PlanInput { desired, observed, .. } = *input;
    let configuration = observed.configuration.as_ref().err();
    let bucket = &desired.source.name;
    let rules = configuration.map(|failure| (format!("the rules in bucket {bucket}"), failure));
    let role = match (&desired.role, &observed.role) {
        (DesiredRole::Existing { .. }, _) | (_, Ok(None)) => None,
        (DesiredRole::Managed(role), Err(failure)) => {
            Some((format!("role {} with its policy", role.name), failure))
        }
        (DesiredRole::Managed(role), Ok(Some(held))) => {
            held.policy.as_ref().err().map(|failure| (format!("the policy of role {}", role.name), failure))
        }
    };
    rules.into_iter().chain(role).collect()
}

/// Whether the role may not be named in a configuration or a bucket policy: under an `AwsAccount` its tags and its
/// boundary decide that, and they could not be read.
pub fn may_not_use_role(input: &PlanInput<'_>) -> bool {
    let is_existing = matches!(input.desired.role, DesiredRole::Existing { .. });
    is_existing && input.account().is_some() && input.observed.role.is_err()
}

/// Whether former roles may be deleted. A bucket policy that still names one of them could not be changed afterwards,
/// not even by its owner.
pub fn may_delete_roles(input: &PlanInput<'_>) -> bool {
    !keeps_all(input) && input.observed.bucket_policies.values().all(Result::is_ok)
}

/// The policy to write in place of a held one that differs. `None`: it can only be narrowed, and has to wait.
pub fn policy_in_place_of(
    input: &PlanInput<'_>,
    held: &Value,
    wanted: &PolicyDocument,
) -> Option<PolicyToWrite> {
    let exact = || PolicyToWrite { document: wanted.to_json(), expands: false };
    if input.observed.configuration.is_ok() {
        return Some(exact());
    }
    let union = expanded(held, &wanted.to_value())?;
    let expands = !compare(&union, &wanted.to_value()).is_empty();
    let document = union.to_string();
    match expands {
        // IAM would refuse it.
        true if document.chars().filter(|c| !c.is_whitespace()).count() > MAX_INLINE_POLICY => None,
        true => Some(PolicyToWrite { document, expands }),
        false => Some(exact()),
    }
}

/// Whether a role waits for the boundary that is imposed on it. A boundary narrows what the role may do, so that it is
/// not set while the configuration cannot be read, and no permission is added before it is.
pub fn awaits_boundary(input: &PlanInput<'_>, role: &ManagedRole, differences: &[DriftEntry]) -> bool {
    let is_boundary = |d: &DriftEntry| {
        d.resource == AwsResource::Role && d.path == "permissionsBoundary" && d.name == role.name
    };
    input.observed.configuration.is_err()
        && role.permissions_boundary.is_some()
        && matches!(input.observed.role, Ok(Some(_)))
        && differences.iter().any(is_boundary)
}

/// The statements to write in place of held ones that differ, in the policy of a destination, and whether they grant
/// more than the desired ones. `None`: they can only be narrowed, and have to wait.
pub fn statements_in_place_of(
    input: &PlanInput<'_>,
    bucket: &str,
    held: Option<&Value>,
    exact: &[Statement],
) -> Option<(Vec<Statement>, bool)> {
    if input.observed.configuration.is_ok() {
        return Some((exact.to_vec(), false));
    }
    let caller = &input.observed.caller;
    let role = input.desired.role.arn(caller);
    let arn = caller.partition.bucket_arn(bucket);
    let union = bucket_policy::expanded(held, &input.desired.sid, (&role, &arn), exact)?;
    let expands = union != exact;
    Some((union, expands))
}
