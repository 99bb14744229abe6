//! The role that S3 Batch Operations assumes for a job.
//!
//! In: the backfill, its account and the source. Out: the role's documents, the steps that lead to them, and the steps
//! that remove it. The role starts replication; the objects are copied by the replication's own role
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-batch-replication-policies.html>).

use crate::api::{
    BackfillReport, BackfillSource, ConditionType, DEFAULT_ROLE_PATH, Reason, ReplicationBackfillSpec, Role,
    RoleStatus,
};
use crate::iam::Partition;
use crate::iam::arn::role_of_arn;
use crate::iam::compare::{compare, trusts_service};
use crate::iam::document::{PolicyDocument, Statement, trust_policy};
use crate::mutants::{Mutant, is_on};
use crate::replication::authorize::accounts::Account;
use crate::replication::backfill::request::report_prefix;
use crate::replication::desired::ManagedRole;
use crate::replication::desired::permissions::in_account;
use crate::replication::observed::ObservedRole;
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::ResourceId;
use crate::replication::step::{RoleDocuments, Step};

/// The service that assumes the role.
pub const BATCH_OPERATIONS: &str = "batchoperations.s3.amazonaws.com";

/// The tag that distinguishes the role of a job from that of a replication.
pub const KIND_TAG: &str = "s3replication.dev/kind";

/// The role that a backfill asks for. `parent`: the role of its replication, whose path and boundary it shares where no
/// account imposes others.
pub fn desired_role(
    id: &ResourceId,
    spec: &ReplicationBackfillSpec,
    source: &BackfillSource,
    account: Option<&Account>,
    parent: Option<&Role>,
) -> ManagedRole {
    let imposed = account.and_then(|account| account.spec.roles.clone()).unwrap_or_default();
    let parent = parent.cloned().unwrap_or_default();
    let mut tags = id.tags();
    tags.insert(KIND_TAG.to_owned(), "ReplicationBackfill".to_owned());
    ManagedRole {
        name: id.backfill_role_name(),
        path: imposed.path.or(parent.path).unwrap_or_else(|| DEFAULT_ROLE_PATH.to_owned()),
        permissions_boundary: imposed
            .permissions_boundary
            .filter(|_| !is_on(Mutant::JobRoleUnbounded))
            .or(parent.permissions_boundary),
        tags,
        trust: trust_policy(BATCH_OPERATIONS),
        permissions: permissions(source, spec.report.as_ref()),
    }
}

/// The permissions of the job: to start replication of the source's objects, to list them, and to write its report.
pub fn permissions(source: &BackfillSource, report: Option<&BackfillReport>) -> PolicyDocument {
    let BackfillSource { bucket, region, account, account_ref: _ } = source;
    let partition = Partition::of_region(region);
    let mut statements = vec![
        Statement::allow("StartReplication", ["s3:InitiateReplication"], [partition.objects_arn(bucket)]),
        Statement::allow(
            "ListObjects",
            ["s3:GetReplicationConfiguration", "s3:PutInventoryConfiguration"],
            [partition.bucket_arn(bucket)],
        ),
    ];
    if let Some(report) = report {
        let prefix = report_prefix(report);
        let keys = if prefix.is_empty() { "job-*".to_owned() } else { format!("{prefix}/*") };
        let objects = format!("{}/{keys}", partition.bucket_arn(&report.bucket));
        statements.push(Statement::allow("WriteReport", ["s3:PutObject"], [objects]));
    }
    let mut statements: Vec<Statement> =
        statements.into_iter().map(|statement| in_account(statement, account)).collect();
    if let Some((report, key)) = report.and_then(|report| Some((report, report.kms_key_arn.as_ref()?))) {
        let context = vec![partition.bucket_arn(&report.bucket), partition.objects_arn(&report.bucket)];
        statements.push(
            Statement::allow("EncryptReport", ["kms:GenerateDataKey", "kms:Decrypt"], [key.clone()])
                .when("StringLike", "kms:ViaService", vec![partition.s3_via_service(region)])
                .when("StringLike", "kms:EncryptionContext:aws:s3:arn", context),
        );
    }
    PolicyDocument::new(statements)
}

/// The steps from the role that is there to the one that is desired, in stages.
///
/// # Errors
/// `ForeignRole`, where someone else made a role of that name.
pub fn steps(
    desired: &ManagedRole,
    held: Option<&ObservedRole>,
    id: &ResourceId,
) -> Result<Vec<Vec<Step>>, Refusal> {
    let ManagedRole { name, path, permissions_boundary, tags, trust, permissions } = desired;
    let put_policy =
        || Step::PutRolePolicy { role: name.clone(), document: permissions.to_json(), expands: false };
    let Some(held) = held else {
        let documents = RoleDocuments {
            path: path.clone(),
            trust: trust.to_json(),
            permissions_boundary: permissions_boundary.clone(),
            tags: tags.clone(),
            description: format!("S3 Batch Replication for ReplicationBackfill {}/{}", id.namespace, id.name),
        };
        let create = Step::CreateRole { role: name.clone(), documents };
        return Ok(vec![vec![create], vec![put_policy()]]);
    };
    if !id.owns(&held.tags) || held.path != *path {
        return Err(foreign(held, id));
    }
    let mut first = Vec::new();
    if !compare(&trust.to_value(), &held.trust).is_empty() {
        first.push(Step::UpdateTrustPolicy { role: name.clone(), document: trust.to_json(), expands: false });
    }
    match permissions_boundary {
        Some(boundary) if held.permissions_boundary.as_ref() != Some(boundary) => {
            first.push(Step::PutPermissionsBoundary { role: name.clone(), boundary: boundary.clone() });
        }
        _ => {}
    }
    let policy = held.policy.as_ref().ok().and_then(Option::as_ref);
    let differs = policy.is_none_or(|policy| !compare(&permissions.to_value(), policy).is_empty());
    let second = if differs { vec![put_policy()] } else { Vec::new() };
    Ok([first, second].into_iter().filter(|stage| !stage.is_empty()).collect())
}

fn foreign(held: &ObservedRole, id: &ResourceId) -> Refusal {
    Refusal::new(
        Reason::ForeignRole,
        ConditionType::Ready,
        format!(
            "role {} exists and was not created for ReplicationBackfill {}/{}; delete the role, or create another ReplicationBackfill with another name or with role.arn",
            held.arn, id.namespace, id.name
        ),
    )
}

/// An existing role serves the job: it is there, within the boundary that the account imposes, and S3 Batch Operations
/// may assume it.
///
/// # Errors
/// `RoleNotFound`, `NotAllowed` or `RoleNotTrusted`.
pub fn require_existing(
    arn: &str,
    held: Option<&ObservedRole>,
    account: Option<&Account>,
) -> Result<(), Refusal> {
    let refuse = |reason, message| Err(Refusal::new(reason, ConditionType::Ready, message));
    let Some(held) = held.filter(|held| held.arn == arn) else {
        return refuse(
            Reason::RoleNotFound,
            format!(
                "role.arn: role {arn} does not exist; create it, or create another ReplicationBackfill without role"
            ),
        );
    };
    let imposed = account.and_then(|account| {
        Some((&account.name, account.spec.roles.as_ref()?.permissions_boundary.as_ref()?))
    });
    if let Some((name, boundary)) = imposed.filter(|(_, b)| held.permissions_boundary.as_ref() != Some(*b)) {
        return refuse(
            Reason::NotAllowed,
            format!(
                "role.arn: role {arn} does not have the permissions boundary {boundary} that AwsAccount {name} imposes on roles; attach it to the role"
            ),
        );
    }
    if !trusts_service(&held.trust, BATCH_OPERATIONS) {
        return refuse(
            Reason::RoleNotTrusted,
            format!(
                "role.arn: the trust policy of role {arn} does not let {BATCH_OPERATIONS} assume it; add that service (policy -f prints the statement)"
            ),
        );
    }
    Ok(())
}

/// The steps that remove a role, where it is the backfill's own; one of someone else stays.
pub fn removal(held: Option<&ObservedRole>, id: &ResourceId) -> Vec<Step> {
    let is_own = |role: &&ObservedRole| id.owns(&role.tags) || is_on(Mutant::ForeignJobRoleDeleted);
    let Some(held) = held.filter(is_own) else { return Vec::new() };
    let policy = !matches!(held.policy, Ok(None));
    let policy = policy.then(|| Step::DeleteRolePolicy { role: held.name.clone() });
    policy.into_iter().chain([Step::DeleteRole { role: held.name.clone() }]).collect()
}

/// The name of the role to remove; `None`: there is none of the operator's.
pub fn name_to_remove(role: Option<&RoleStatus>) -> Option<&str> {
    role.filter(|role| role.managed).map(|role| role_of_arn(&role.arn))
}
