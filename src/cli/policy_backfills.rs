//! The policies that backfills need, for `policy`.
//!
//! In: the backfills of a replication, and where its source is. Out: trust policy and permissions of each job's role,
//! and the statements that the operator's own policy needs for the jobs.

use kube::ResourceExt;
use serde_json::Value;

use crate::api::{BackfillSource, BucketReplication, ReplicationBackfill};
use crate::cli::manifests::resource_id_of;
use crate::iam::document::Statement;
use crate::replication::backfill::least_privilege::{jobs, keep_job_roles, pass_job_roles, read_job_roles};
use crate::replication::backfill::role::desired_role;
use crate::replication::{Accounts, Caller};

/// The permissions that the backfills of one replication need.
#[derive(Default)]
pub struct Needed {
    pub sections: Vec<(String, Value)>,
    /// Of the identity that acts on the source.
    pub operator: Vec<Statement>,
}

/// Works it out for the backfills among these that refer to a replication. `region`: of its source, where the spec
/// names none.
pub fn needed(
    resource: &BucketReplication,
    backfills: &[ReplicationBackfill],
    accounts: &Accounts,
    caller: &Caller,
    region: &str,
) -> Needed {
    let namespace = |namespace: Option<String>| namespace.unwrap_or_else(|| "default".to_owned());
    let of_resource = backfills.iter().filter(|backfill| {
        backfill.spec.replication_ref.name == resource.name_any()
            && namespace(backfill.namespace()) == namespace(resource.namespace())
    });
    let named = resource.spec.source.region.as_deref();
    let source = BackfillSource {
        bucket: resource.spec.source.bucket.clone(),
        region: named.unwrap_or(region).to_owned(),
        account: caller.account.clone(),
        account_ref: None,
    };
    let mut needed = Needed::default();
    let (mut made, mut existing, mut bounded) = (Vec::new(), Vec::new(), false);
    for backfill in of_resource {
        if let Some(role) = &backfill.spec.role {
            existing.push(role.arn.clone());
            continue;
        }
        let (id, account) = (resource_id_of(backfill), accounts.source.as_ref());
        let role = desired_role(&id, &backfill.spec, &source, account, resource.spec.role.as_ref());
        needed.sections.push((format!("trust policy of role {}", role.name), role.trust.to_value()));
        needed.sections.push((format!("policy of role {}", role.name), role.permissions.to_value()));
        bounded |= role.permissions_boundary.is_some();
        made.push(caller.partition.role_arn(&caller.account, &role.path, &role.name));
    }
    if made.is_empty() && existing.is_empty() {
        return needed;
    }
    needed.operator.extend(jobs(caller.partition, &caller.account, named.unwrap_or("*")));
    if !made.is_empty() {
        needed.operator.push(keep_job_roles(&made, bounded));
    }
    if !existing.is_empty() {
        needed.operator.push(read_job_roles(existing.clone()));
    }
    needed.operator.push(pass_job_roles(made.into_iter().chain(existing)));
    needed
}
