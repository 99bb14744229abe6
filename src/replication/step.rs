//! One write to AWS, as data.
//!
//! In: what the planner decided. Out: the value that is executed, printed and reported in events as it stands.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::{AwsResource, DriftEntry};
use crate::iam::arn::bucket_of_arn;
use crate::iam::document::Statement;
use crate::replication::bucket::BucketAddress;
use crate::replication::configuration::{Configuration, for_programs};
use crate::replication::lacking::Lacking;
use crate::replication::resource_id::{is_adopted, names_owner};

/// The value that stands for nothing in `want` and `got` of a difference.
pub const ABSENT: &str = "absent";

/// The path of the difference of a role that does not exist, with its policy.
pub const MISSING_ROLE: &str = "arn";

/// How the path of a grant in a role's trust policy begins.
pub const TRUST_POLICY: &str = "trustPolicy";

/// Whether a difference of a role, by its path, is one of its trust policy.
pub fn is_in_trust_policy(path: &str) -> bool {
    path.strip_prefix(TRUST_POLICY).is_some_and(|rest| rest.starts_with(' '))
}

/// The name of the inline policy the operator keeps on a managed role.
pub const ROLE_POLICY_NAME: &str = "s3-replication";

/// The parts of a new role.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleDocuments {
    pub path: String,
    pub trust: String,
    pub permissions_boundary: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub description: String,
}

/// One write. Every field the executor needs is here: it takes no decisions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Step {
    EnableVersioning {
        bucket: BucketAddress,
    },
    CreateRole {
        role: String,
        documents: RoleDocuments,
    },
    UpdateTrustPolicy {
        role: String,
        document: String,
        /// The document still admits the other principals that the present one admits: it only adds.
        expands: bool,
    },
    PutPermissionsBoundary {
        role: String,
        boundary: String,
    },
    DeletePermissionsBoundary {
        role: String,
    },
    TagRole {
        role: String,
        tags: BTreeMap<String, String>,
    },
    UntagRole {
        role: String,
        keys: Vec<String>,
    },
    PutRolePolicy {
        role: String,
        document: String,
        /// The document still grants what the present configuration needs: it only adds, and the exact document
        /// follows once the configuration is replaced.
        expands: bool,
    },
    /// Sets this replication's statements in a bucket's policy, distinguished from others by their Sid; without
    /// statements: removes them.
    PutBucketPolicy {
        bucket: BucketAddress,
        sid: String,
        statements: Vec<Statement>,
        /// As for `PutRolePolicy`.
        expands: bool,
    },
    PutReplication {
        bucket: BucketAddress,
        #[serde(serialize_with = "for_programs")]
        configuration: Configuration,
        /// The permissions and settings that its rules wait for.
        #[serde(skip)]
        lacking: Lacking,
    },
    DeleteReplication {
        bucket: BucketAddress,
    },
    DeleteRolePolicy {
        role: String,
    },
    DeleteRole {
        role: String,
    },
}

impl Step {
    /// The IAM action the step needs.
    pub fn action(&self) -> &'static str {
        match self {
            Step::EnableVersioning { .. } => "s3:PutBucketVersioning",
            Step::CreateRole { .. } => "iam:CreateRole",
            Step::UpdateTrustPolicy { .. } => "iam:UpdateAssumeRolePolicy",
            Step::PutPermissionsBoundary { .. } => "iam:PutRolePermissionsBoundary",
            Step::DeletePermissionsBoundary { .. } => "iam:DeleteRolePermissionsBoundary",
            Step::TagRole { .. } => "iam:TagRole",
            Step::UntagRole { .. } => "iam:UntagRole",
            Step::PutRolePolicy { .. } => "iam:PutRolePolicy",
            Step::PutBucketPolicy { .. } => "s3:PutBucketPolicy",
            // S3 has one permission for setting and removing the configuration.
            Step::PutReplication { .. } | Step::DeleteReplication { .. } => "s3:PutReplicationConfiguration",
            Step::DeleteRolePolicy { .. } => "iam:DeleteRolePolicy",
            Step::DeleteRole { .. } => "iam:DeleteRole",
        }
    }

    /// The bucket or the role written to.
    pub fn subject(&self) -> &str {
        match self {
            Step::EnableVersioning { bucket }
            | Step::PutBucketPolicy { bucket, .. }
            | Step::PutReplication { bucket, .. }
            | Step::DeleteReplication { bucket } => &bucket.name,
            Step::CreateRole { role, .. }
            | Step::UpdateTrustPolicy { role, .. }
            | Step::PutPermissionsBoundary { role, .. }
            | Step::DeletePermissionsBoundary { role }
            | Step::TagRole { role, .. }
            | Step::UntagRole { role, .. }
            | Step::PutRolePolicy { role, .. }
            | Step::DeleteRolePolicy { role }
            | Step::DeleteRole { role } => role,
        }
    }

    /// The `AwsAccount` as whose identity to write; `None`: as at the source.
    pub fn account_ref(&self) -> Option<&str> {
        match self {
            Step::EnableVersioning { bucket }
            | Step::PutBucketPolicy { bucket, .. }
            | Step::PutReplication { bucket, .. }
            | Step::DeleteReplication { bucket } => bucket.account_ref.as_deref(),
            _ => None,
        }
    }

    /// Whether this step can only be done once another one, of an earlier stage, was done.
    pub fn needs(&self, earlier: &Step) -> bool {
        match (self, earlier) {
            // S3 refuses a configuration between buckets without versioning, and S3 cannot assume a role that does not
            // exist.
            (Step::PutReplication { .. }, Step::EnableVersioning { .. } | Step::CreateRole { .. }) => true,
            // Objects fail where the role or a destination does not let them through. A policy that differs in
            // something else does not matter to them.
            (Step::PutReplication { lacking, .. }, Step::UpdateTrustPolicy { .. }) => lacking.trust,
            (Step::PutReplication { lacking, .. }, Step::PutRolePolicy { .. }) => {
                !lacking.role_policy.is_empty()
            }
            (Step::PutReplication { lacking, .. }, Step::PutBucketPolicy { bucket, .. }) => {
                lacking.bucket_policies.contains(&bucket.name)
            }
            // Permissions are taken away only once the configuration that needs them is gone.
            (
                Step::PutRolePolicy { .. }
                | Step::PutBucketPolicy { .. }
                | Step::DeleteRolePolicy { .. }
                | Step::DeleteRole { .. },
                Step::PutReplication { .. } | Step::DeleteReplication { .. },
            ) => true,
            // S3 refuses a policy with a principal that does not exist. So it would refuse every later policy of a
            // bucket whose policy still names a role that is gone, its owner's too.
            (Step::PutBucketPolicy { .. }, Step::CreateRole { .. })
            | (Step::DeleteRole { .. }, Step::PutBucketPolicy { .. }) => true,
            // A role gets no permissions before it has the boundary that is imposed on it.
            (
                Step::PutRolePolicy { role, .. },
                Step::CreateRole { role: other, .. } | Step::PutPermissionsBoundary { role: other, .. },
            )
            | (
                Step::DeleteRole { role } | Step::UntagRole { role, .. },
                Step::DeleteRolePolicy { role: other },
            ) => role == other,
            // A role that is taken over is written only once its tags name the new owner.
            (Step::PutRolePolicy { role, .. }, Step::TagRole { role: other, tags }) => {
                role == other && names_owner(tags)
            }
            _ => false,
        }
    }

    /// Whether this step takes over a role that the operator did not make.
    pub fn takes_over(&self) -> bool {
        matches!(self, Step::TagRole { tags, .. } if is_adopted(tags))
    }

    /// Whether some of the rules that this step writes may not be written: S3 does not confirm whose their destinations
    /// are, or nothing shows that objects go through to them.
    pub fn is_refused_in_part(&self) -> bool {
        let Step::PutReplication { lacking, .. } = self else { return false };
        !lacking.unconfirmed.is_empty() || !lacking.unseen.is_empty()
    }

    /// Whether a difference is gone once this step is done.
    pub fn settles(&self, difference: &DriftEntry) -> bool {
        let DriftEntry { resource, name, path, .. } = difference;
        let tag = path.strip_prefix("tags.");
        if let Step::PutRolePolicy { expands: true, .. }
        | Step::PutBucketPolicy { expands: true, .. }
        | Step::UpdateTrustPolicy { expands: true, .. } = self
            && difference.want == ABSENT
        {
            return false;
        }
        name == self.subject()
            && match (self, resource) {
                (Step::EnableVersioning { .. }, AwsResource::BucketVersioning)
                | (Step::CreateRole { .. }, AwsResource::Role)
                | (Step::PutRolePolicy { .. }, AwsResource::RolePolicy)
                | (Step::PutBucketPolicy { .. }, AwsResource::DestinationBucketPolicy)
                | (Step::PutReplication { .. }, AwsResource::ReplicationConfiguration) => true,
                // A role without its policy is not the one that is wanted.
                (Step::PutRolePolicy { .. }, AwsResource::Role) => path == MISSING_ROLE,
                (Step::UpdateTrustPolicy { .. }, AwsResource::Role) => is_in_trust_policy(path),
                (
                    Step::PutPermissionsBoundary { .. } | Step::DeletePermissionsBoundary { .. },
                    AwsResource::Role,
                ) => path == "permissionsBoundary",
                (Step::TagRole { tags, .. }, AwsResource::Role) => tag.is_some_and(|t| tags.contains_key(t)),
                (Step::UntagRole { keys, .. }, AwsResource::Role) => {
                    tag.is_some_and(|t| keys.iter().any(|key| key == t))
                }
                _ => false,
            }
    }
}

fn keeping(f: &mut std::fmt::Formatter<'_>, expands: bool) -> std::fmt::Result {
    if expands { f.write_str(", keeping what the present configuration needs") } else { Ok(()) }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::EnableVersioning { bucket: BucketAddress { name, region, .. } } => {
                write!(f, "enable versioning of bucket {name} in {region}")
            }
            Step::CreateRole { role, documents } => write!(f, "create role {}{role}", documents.path),
            Step::UpdateTrustPolicy { role, expands, .. } => {
                write!(f, "set the trust policy of role {role}")?;
                if *expands { f.write_str(", keeping the other principals that it admits") } else { Ok(()) }
            }
            Step::PutPermissionsBoundary { role, boundary } => {
                write!(f, "set the permissions boundary of role {role} to {boundary}")
            }
            Step::DeletePermissionsBoundary { role } => {
                write!(f, "remove the permissions boundary of role {role}")
            }
            Step::TagRole { role, tags } => {
                write!(f, "tag role {role} with {}", tags.keys().cloned().collect::<Vec<_>>().join(", "))
            }
            Step::UntagRole { role, keys } => {
                write!(f, "remove from role {role} the tags {}", keys.join(", "))
            }
            Step::PutRolePolicy { role, expands, .. } => {
                write!(f, "set the policy {ROLE_POLICY_NAME} of role {role}")?;
                keeping(f, *expands)
            }
            Step::PutBucketPolicy { bucket, statements, .. } if statements.is_empty() => {
                write!(
                    f,
                    "remove the statements of this replication from the policy of bucket {}",
                    bucket.name
                )
            }
            Step::PutBucketPolicy { bucket, expands, .. } => {
                write!(f, "allow the role in the policy of bucket {}", bucket.name)?;
                keeping(f, *expands)
            }
            Step::PutReplication { bucket, configuration, .. } => {
                let to: Vec<String> = configuration
                    .rules
                    .iter()
                    .map(|(id, rule)| format!("{id} to {}", bucket_of_arn(&rule.destination.bucket)))
                    .collect();
                write!(f, "set the replication configuration of bucket {}: {}", bucket.name, to.join(", "))
            }
            Step::DeleteReplication { bucket } => {
                write!(f, "remove the replication configuration of bucket {}", bucket.name)
            }
            Step::DeleteRolePolicy { role } => {
                write!(f, "delete the policy {ROLE_POLICY_NAME} of role {role}")
            }
            Step::DeleteRole { role } => write!(f, "delete role {role}"),
        }
    }
}
