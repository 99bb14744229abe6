//! The single reads.
//!
//! In: a client, and what to read. Out: the answer in the domain's types, or AWS's failure. Each is one call, but for
//! a role that is to be deleted.

use aws_sdk_s3::types::ReplicationConfiguration;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::aws::account::client::AwsClient;
use crate::aws::account::rate_limiter::Lane;
use crate::aws::convert::from_sdk;
use crate::iam::arn::region_of_arn;
use crate::replication::observed::Read;
use crate::replication::step::ROLE_POLICY_NAME;
use crate::replication::{
    Caller, Configuration, Failure, FailureClass, ObservedKey, ObservedRole, ResourceId, Versioning,
    VersioningStatus,
};

/// A bucket's versioning.
pub async fn read_versioning(
    aws: &AwsClient,
    bucket: &str,
    region: &str,
    account_id: &str,
) -> Read<Versioning> {
    let request = aws.s3(region).get_bucket_versioning().bucket(bucket).expected_bucket_owner(account_id);
    let answer = aws.call(Lane::S3Read, "s3:GetBucketVersioning", bucket, request.send()).await?;
    let status = match answer.status().map(|s| s.as_str()) {
        Some("Enabled") => VersioningStatus::Enabled,
        Some("Suspended") => VersioningStatus::Suspended,
        None => VersioningStatus::Disabled,
        Some(other) => {
            return Err(Failure::new(
                FailureClass::Unavailable,
                "s3:GetBucketVersioning",
                bucket,
                format!("the answer held the unknown status {other:?}"),
            ));
        }
    };
    let mfa_delete = answer.mfa_delete().is_some_and(|m| m.as_str() == "Enabled");
    Ok(Versioning { status, mfa_delete })
}

/// The replication configuration of a bucket; `None` where it has none.
pub async fn read_configuration(
    aws: &AwsClient,
    caller: &Caller,
    bucket: &str,
    region: &str,
) -> Read<Option<Configuration>> {
    let held = read_raw_configuration(aws, caller, bucket, region).await?;
    Ok(held.as_ref().map(from_sdk))
}

/// The replication configuration of a bucket as the SDK reads it; `None` where it has none.
pub async fn read_raw_configuration(
    aws: &AwsClient,
    caller: &Caller,
    bucket: &str,
    region: &str,
) -> Read<Option<ReplicationConfiguration>> {
    let action = "s3:GetReplicationConfiguration";
    let request =
        aws.s3(region).get_bucket_replication().bucket(bucket).expected_bucket_owner(&caller.account);
    match aws.call(Lane::S3Read, action, bucket, request.send()).await {
        // S3 has an error code for "none": an answer without configuration and without it is not drift.
        Ok(answer) => answer.replication_configuration.map(Some).ok_or_else(|| {
            Failure::new(FailureClass::Unavailable, action, bucket, "the answer held no configuration")
        }),
        Err(failure) if failure.code == "ReplicationConfigurationNotFoundError" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether a bucket has Object Lock.
pub async fn read_object_lock(aws: &AwsClient, bucket: &str, region: &str, account_id: &str) -> Read<bool> {
    let request =
        aws.s3(region).get_object_lock_configuration().bucket(bucket).expected_bucket_owner(account_id);
    match aws.call(Lane::S3Read, "s3:GetBucketObjectLockConfiguration", bucket, request.send()).await {
        Ok(answer) => Ok(answer
            .object_lock_configuration()
            .and_then(|c| c.object_lock_enabled())
            .is_some_and(|enabled| enabled.as_str() == "Enabled")),
        Err(failure) if failure.code == "ObjectLockConfigurationNotFoundError" => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// A KMS key; `None` where there is none.
pub async fn read_key(aws: &AwsClient, arn: &str) -> Read<Option<ObservedKey>> {
    let region = region_of_arn(arn).unwrap_or(aws.home());
    let request = aws.kms(region).describe_key().key_id(arn);
    match aws.call(Lane::Kms, "kms:DescribeKey", arn, request.send()).await {
        Ok(answer) => Ok(answer.key_metadata().map(|key| ObservedKey {
            state: key.key_state().map(|s| s.as_str()).unwrap_or("Enabled").to_owned(),
            aws_managed: key.key_manager().is_some_and(|m| m.as_str() == "AWS"),
        })),
        Err(failure) if failure.code == "NotFoundException" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A role without its policy; `None` where there is none.
pub async fn read_role(aws: &AwsClient, name: &str) -> Read<Option<ObservedRole>> {
    let request = aws.iam().get_role().role_name(name);
    let answer = match aws.call(Lane::IamRead, "iam:GetRole", name, request.send()).await {
        Ok(answer) => answer,
        Err(failure) if failure.class == FailureClass::NoSuchRole => return Ok(None),
        Err(failure) => return Err(failure),
    };
    Ok(answer.role().map(|role| ObservedRole {
        arn: role.arn().to_owned(),
        name: role.role_name().to_owned(),
        path: role.path().to_owned(),
        trust: role.assume_role_policy_document().map(document).unwrap_or_default(),
        permissions_boundary: role
            .permissions_boundary()
            .and_then(|b| b.permissions_boundary_arn())
            .map(str::to_owned),
        tags: role
            .tags()
            .iter()
            .filter(|tag| !tag.key().starts_with("aws:"))
            .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
            .collect(),
        policy: Ok(None),
        other_policies: Vec::new(),
    }))
}

/// The role with its policy read too.
pub async fn with_policy(aws: &AwsClient, role: ObservedRole) -> ObservedRole {
    let policy = read_role_policy(aws, &role.name).await;
    ObservedRole { policy, ..role }
}

/// The operator's inline policy of a role; `None` where it has none.
pub async fn read_role_policy(aws: &AwsClient, role: &str) -> Read<Option<Value>> {
    let request = aws.iam().get_role_policy().role_name(role).policy_name(ROLE_POLICY_NAME);
    match aws.call(Lane::IamRead, "iam:GetRolePolicy", role, request.send()).await {
        Ok(answer) => Ok(Some(document(answer.policy_document()))),
        Err(failure) if failure.class == FailureClass::NoSuchRole => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A role, with everything that keeps IAM from deleting it where it is this resource's own.
pub async fn read_role_to_delete(aws: &AwsClient, name: &str, id: &ResourceId) -> Read<Option<ObservedRole>> {
    let Some(role) = read_role(aws, name).await? else {
        return Ok(None);
    };
    if !id.owns(&role.tags) {
        return Ok(Some(role));
    }
    let inline = aws.iam().list_role_policies().role_name(name);
    let attached = aws.iam().list_attached_role_policies().role_name(name);
    let (inline, attached) = futures::join!(
        aws.call(Lane::IamRead, "iam:ListRolePolicies", name, inline.send()),
        aws.call(Lane::IamRead, "iam:ListAttachedRolePolicies", name, attached.send()),
    );
    let (inline, attached) = (inline?, attached?);
    let (ours, others): (Vec<String>, Vec<String>) =
        inline.policy_names().iter().cloned().partition(|policy| policy == ROLE_POLICY_NAME);
    let attached = attached.attached_policies().iter().filter_map(|p| p.policy_arn().map(str::to_owned));
    Ok(Some(ObservedRole {
        policy: Ok(ours.first().map(|_| Value::Null)),
        other_policies: others.into_iter().chain(attached).collect(),
        ..role
    }))
}

/// IAM returns policy documents percent-encoded (RFC 3986).
fn document(encoded: &str) -> Value {
    let text = percent_decode_str(encoded).decode_utf8_lossy();
    serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
}
