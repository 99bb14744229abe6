//! The policies that others attach: the destination's bucket policy across accounts, and the operator's own.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::{Desired, DesiredRole};
use super::observed::Caller;
use super::partition::bucket_of_arn;
use super::policy::{PolicyDocument, Statement};
use crate::api::{ManagementPolicy, VersioningPolicy};

/// What the owner of each destination bucket in another account has to allow the roles, by bucket: a bucket has one
/// policy, however many resources replicate into it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-walkthrough-2.html>).
pub fn destination_bucket_policies(resources: &[Grantee]) -> BTreeMap<String, PolicyDocument> {
    let mut buckets: BTreeMap<&str, BTreeMap<String, bool>> = BTreeMap::new();
    for Grantee { desired, caller, .. } in resources {
        let role = desired.role.arn(caller);
        for destination in desired.rules.values().map(|r| &r.destination).filter(|d| d.account.is_some()) {
            let roles = buckets.entry(&destination.bucket).or_default();
            *roles.entry(role.clone()).or_default() |= destination.ownership.is_some();
        }
    }
    let policy = |(arn, roles): (&str, BTreeMap<String, bool>)| {
        let statements = roles.iter().enumerate().flat_map(|(i, (role, override_owner))| {
            // Sids are unique within a policy.
            let number = if i == 0 { String::new() } else { (i + 1).to_string() };
            let mut actions = vec!["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"];
            if *override_owner {
                actions.push("s3:ObjectOwnerOverrideToBucketOwner");
            }
            let sid = format!("S3ReplicationObjects{number}");
            let objects = Statement::allow(&sid, actions, [format!("{arn}/*")]);
            let sid = format!("S3ReplicationBucket{number}");
            let actions = ["s3:List*", "s3:GetBucketVersioning"];
            let bucket = Statement::allow(&sid, actions, [arn.to_owned()]);
            [objects, bucket].map(|s| s.principal("AWS", role.clone()))
        });
        (bucket_of_arn(arn).to_owned(), PolicyDocument::new(statements.collect()))
    };
    buckets.into_iter().map(policy).collect()
}

/// A resource the operator is to have permissions for.
#[derive(Clone, Debug)]
pub struct Grantee {
    pub desired: Desired,
    pub caller: Caller,
    pub management: ManagementPolicy,
    /// ARNs of managed roles from before a rename that are still to be deleted.
    pub former_roles: Vec<String>,
}

/// The least the operator itself needs for these resources: reads for all, writes only where the spec lets it
/// write.
pub fn operator_policy(resources: &[Grantee]) -> PolicyDocument {
    let mut located = BTreeSet::new();
    let mut versioned = BTreeSet::new();
    let mut versioning_set = BTreeSet::new();
    let mut sources = BTreeSet::new();
    let mut sources_set = BTreeSet::new();
    let mut roles_seen = BTreeSet::new();
    let mut roles_read = BTreeSet::new();
    let mut roles_kept = BTreeSet::new();
    let mut roles_bounded = BTreeSet::new();
    let mut roles_deleted = BTreeSet::new();
    let mut roles_passed = BTreeSet::new();
    for Grantee { desired, caller, management, former_roles } in resources {
        let partition = caller.partition;
        let writes = *management == ManagementPolicy::Enforce;
        let source = partition.bucket_arn(&desired.source.bucket);
        for bucket in desired.destinations.iter().chain([&desired.source]) {
            let arn = partition.bucket_arn(&bucket.bucket);
            located.insert(arn.clone());
            versioned.insert(arn.clone());
            if writes && bucket.versioning == VersioningPolicy::Managed {
                versioning_set.insert(arn);
            }
        }
        sources.insert(source.clone());
        let role = desired.role.arn(caller);
        roles_seen.insert(role.clone());
        if matches!(desired.role, DesiredRole::Managed(_)) {
            roles_read.insert(role.clone());
        }
        if !writes {
            continue;
        }
        sources_set.insert(source);
        roles_passed.insert(role.clone());
        if let DesiredRole::Managed(managed) = &desired.role {
            roles_kept.insert(role.clone());
            // Anyone may put a boundary on a role, so that removing one is for all roles.
            if managed.permissions_boundary.is_some() {
                roles_bounded.insert(role.clone());
            }
            // Whatever deletionPolicy says: a renamed role leaves no orphan behind.
            roles_deleted.insert(role);
        }
        roles_seen.extend(former_roles.iter().cloned());
        roles_deleted.extend(former_roles.iter().cloned());
    }
    let statements = [
        Statement::allow("LocateBuckets", ["s3:ListBucket"], located),
        Statement::allow("ReadVersioning", ["s3:GetBucketVersioning"], versioned),
        Statement::allow("EnableVersioning", ["s3:PutBucketVersioning"], versioning_set),
        Statement::allow("ReadReplication", ["s3:GetReplicationConfiguration"], sources),
        Statement::allow("WriteReplication", ["s3:PutReplicationConfiguration"], sources_set),
        Statement::allow("LookAtRoles", ["iam:GetRole"], roles_seen),
        Statement::allow("ReadRolePolicies", ["iam:GetRolePolicy"], roles_read),
        Statement::allow(
            "KeepRoles",
            [
                "iam:CreateRole",
                "iam:TagRole",
                "iam:UntagRole",
                "iam:UpdateAssumeRolePolicy",
                "iam:PutRolePolicy",
                "iam:DeleteRolePermissionsBoundary",
            ],
            roles_kept,
        ),
        Statement::allow("BoundRoles", ["iam:PutRolePermissionsBoundary"], roles_bounded),
        Statement::allow(
            "DeleteRoles",
            [
                "iam:ListRolePolicies",
                "iam:ListAttachedRolePolicies",
                "iam:DeleteRolePolicy",
                "iam:DeleteRole",
            ],
            roles_deleted,
        ),
        Statement::allow("PassRoles", ["iam:PassRole"], roles_passed).when(
            "StringEquals",
            "iam:PassedToService",
            vec!["s3.amazonaws.com".to_owned()],
        ),
    ];
    PolicyDocument::new(statements.into_iter().filter(|s| !s.resource.is_empty()).collect())
}
