//! Decides which roles an account allows a resource to use.
//!
//! In: the role of the spec and of the status, and the account id, path and permissions boundary that the `AwsAccount`
//! imposes. Out: nothing, or a refusal that names the field. Whether a role that exists may be adopted is decided in
//! `plan/preconditions/to_write.rs`.

use crate::iam::arn::{account_of_arn, path_of_role_arn, role_of_arn};
use crate::replication::authorize::accounts::Account;
use crate::replication::refusal::{Refusal, not_allowed};
use crate::replication::resource::Replication;

/// The role is in the source's account, at the path and with the boundary that the account imposes. That holds for an
/// existing role too: otherwise `role.arn` would be a way around it.
pub(super) fn require_role(
    replication: &Replication<'_>,
    Account { name, spec: account }: &Account,
) -> Result<(), Refusal> {
    let Replication { spec, status, .. } = *replication;
    let role = spec.role.as_ref();
    let arn = role.and_then(|r| r.arn.as_deref());
    if let Some(arn) = arn
        && account_of_arn(arn) != Some(account.account_id.as_str())
    {
        return not_allowed(format!(
            "role.arn: role {arn} is not in account {} of AwsAccount {name}; name a role of that account, or leave role.arn out to have one managed",
            account.account_id
        ));
    }
    let imposed = account.roles.as_ref();
    if let Some(path) = imposed.and_then(|roles| roles.path.as_deref()) {
        let given = role.and_then(|r| r.path.as_deref());
        if let Some(given) = given.filter(|given| *given != path) {
            return not_allowed(format!(
                "role.path is {given}, and AwsAccount {name} imposes the path {path} on roles; leave role.path out"
            ));
        }
        if let Some(arn) = arn.filter(|arn| path_of_role_arn(arn) != path) {
            return not_allowed(format!(
                "role.arn: role {arn} is not at the path {path} that AwsAccount {name} imposes on roles; name a role at that path, or leave role.arn out to have one managed"
            ));
        }
        let held = status.role.as_ref().filter(|held| held.managed && arn.is_none()).map(|held| &held.arn);
        if let Some(held) =
            held.filter(|held| path_of_role_arn(held) != path && role_of_arn(held) == replication.role_name())
        {
            return not_allowed(format!(
                "role {held} is not at the path {path} that AwsAccount {name} now imposes on roles, and IAM cannot move a role; set role.name to another name to have a new role made at that path"
            ));
        }
    }
    let boundary = imposed.and_then(|roles| roles.permissions_boundary.as_deref());
    match boundary.zip(role.and_then(|role| role.permissions_boundary.as_deref())) {
        Some((boundary, given)) if given != boundary => not_allowed(format!(
            "role.permissionsBoundary is {given}, and AwsAccount {name} imposes {boundary} on roles; leave role.permissionsBoundary out"
        )),
        _ => Ok(()),
    }
}
