//! The least that the operator needs for backfills, besides what it needs for replications.
//!
//! In: the account, the Region and the roles of jobs. Out: statements, each action only on the resources that need it
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-iam-role-policies.html>).

use crate::iam::Partition;
use crate::iam::document::Statement;
use crate::replication::backfill::role::BATCH_OPERATIONS;

/// Jobs in an account. S3 knows no resource of the jobs that are to be made and listed. `region`: `*` for all.
pub fn jobs(partition: Partition, account: &str, region: &str) -> [Statement; 2] {
    let of_account = format!("arn:{}:s3:{region}:{account}:job/*", partition.id());
    [
        Statement::allow("StartJobs", ["s3:CreateJob", "s3:ListJobs"], ["*"]),
        Statement::allow("FollowJobs", ["s3:DescribeJob", "s3:UpdateJobStatus"], [of_account]),
    ]
}

/// Passing roles to S3 Batch Operations.
pub fn pass_job_roles(roles: impl IntoIterator<Item = String>) -> Statement {
    let passed = Statement::allow("PassJobRoles", ["iam:PassRole"], roles);
    passed.when("StringEquals", "iam:PassedToService", vec![BATCH_OPERATIONS.to_owned()])
}

/// Checking existing roles.
pub fn read_job_roles(roles: impl IntoIterator<Item = String>) -> Statement {
    Statement::allow("ReadJobRoles", ["iam:GetRole"], roles)
}

/// Making and removing the roles of jobs. `bounded`: with a permissions boundary.
pub fn keep_job_roles(roles: &[String], bounded: bool) -> Statement {
    let mut actions = vec![
        "iam:GetRole",
        "iam:GetRolePolicy",
        "iam:CreateRole",
        "iam:TagRole",
        "iam:UpdateAssumeRolePolicy",
        "iam:PutRolePolicy",
        "iam:DeleteRolePolicy",
        "iam:DeleteRole",
    ];
    actions.extend(bounded.then_some("iam:PutRolePermissionsBoundary"));
    Statement::allow("KeepJobRoles", actions, roles.iter().cloned())
}
