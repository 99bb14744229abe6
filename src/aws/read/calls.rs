//! One function for each read of a check from S3, IAM and KMS, but for bucket policies and Regions.
//!
//! In: a client, and what to read. Out: the answer in the domain's types, or AWS's failure. Each is one call, but for a
//! role that is to be deleted. A new read begins here. `observe.rs` makes it part of a check, `replication/read_set.rs`
//! selects what it reads, and `replication/observed.rs` holds the answer.

use std::collections::BTreeSet;

use aws_sdk_s3::types::ReplicationConfiguration;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::aws::convert::from_sdk;
use crate::aws::interceptor::ResponseBody;
use crate::aws::read::unknown_elements::unknown_elements;
use crate::iam::arn::region_of_arn;
use crate::replication::health::key_cause::GET_KEY_POLICY;
use crate::replication::observed::Read;
use crate::replication::step::ROLE_POLICY_NAME;
use crate::replication::{
    Caller, Configuration, Failure, FailureClass, ObservedKey, ObservedRole, ResourceId, Versioning,
    VersioningStatus,
};

/// The action that reading a bucket's versioning needs.
pub const GET_BUCKET_VERSIONING: &str = "s3:GetBucketVersioning";

/// The action that reading a key needs.
pub const DESCRIBE_KEY: &str = "kms:DescribeKey";

/// The only kind of key with which S3 encrypts
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html>).
const SYMMETRIC: &str = "SYMMETRIC_DEFAULT";

/// A bucket's versioning.
pub async fn read_versioning(
    aws: &AwsClient,
    bucket: &str,
    region: &str,
    account_id: &str,
) -> Read<Versioning> {
    let request = aws.s3(region).get_bucket_versioning().bucket(bucket).expected_bucket_owner(account_id);
    let answer = aws.call(Operation::s3_read(region, GET_BUCKET_VERSIONING, bucket), request.send()).await?;
    let status = match answer.status().map(|s| s.as_str()) {
        Some("Enabled") => VersioningStatus::Enabled,
        Some("Suspended") => VersioningStatus::Suspended,
        None => VersioningStatus::Disabled,
        Some(other) => {
            let detail = format!("the answer held the unknown status {other:?}");
            return Err(Failure::new(FailureClass::Unavailable, GET_BUCKET_VERSIONING, bucket, detail));
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
) -> Read<Option<HeldConfiguration>> {
    let held = read_raw_configuration(aws, caller, bucket, region).await?;
    Ok(held.map(|RawConfiguration { configuration, unknown_elements }| HeldConfiguration {
        configuration: from_sdk(&configuration),
        unknown_elements,
    }))
}

/// A replication configuration that S3 holds.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldConfiguration {
    pub configuration: Configuration,
    /// The elements in S3's answer that the operator does not model.
    pub unknown_elements: BTreeSet<String>,
}

/// The same as the SDK reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawConfiguration {
    pub configuration: ReplicationConfiguration,
    pub unknown_elements: BTreeSet<String>,
}

/// The replication configuration of a bucket as the SDK reads it; `None` where it has none.
pub async fn read_raw_configuration(
    aws: &AwsClient,
    caller: &Caller,
    bucket: &str,
    region: &str,
) -> Read<Option<RawConfiguration>> {
    let action = "s3:GetReplicationConfiguration";
    let body = ResponseBody::default();
    let request =
        aws.s3(region).get_bucket_replication().bucket(bucket).expected_bucket_owner(&caller.account);
    let request = request.customize().interceptor(body.clone());
    match aws.call(Operation::s3_read(region, action, bucket), request.send()).await {
        // S3 has an error code for "none": an answer with neither a configuration nor that code is not drift.
        Ok(answer) => match answer.replication_configuration {
            Some(configuration) if !configuration.rules().is_empty() => {
                let unknown = unknown_elements(&body.take());
                Ok(Some(RawConfiguration { configuration, unknown_elements: unknown }))
            }
            _ => Err(incomplete(action, bucket, "a ReplicationConfiguration with at least one Rule")),
        },
        Err(failure) if failure.code == "ReplicationConfigurationNotFoundError" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether a bucket has Object Lock.
pub async fn read_object_lock(aws: &AwsClient, bucket: &str, region: &str, account_id: &str) -> Read<bool> {
    let request =
        aws.s3(region).get_object_lock_configuration().bucket(bucket).expected_bucket_owner(account_id);
    let action = "s3:GetBucketObjectLockConfiguration";
    match aws.call(Operation::s3_read(region, action, bucket), request.send()).await {
        // S3 has an error code for "none": an empty answer must not take rights from the role.
        Ok(answer) => match answer.object_lock_configuration() {
            Some(held) if held.object_lock_enabled().is_some_and(|held| held.as_str() == "Enabled") => {
                Ok(true)
            }
            _ => Err(incomplete(action, bucket, "an ObjectLockConfiguration with ObjectLockEnabled")),
        },
        Err(failure) if failure.code == "ObjectLockConfigurationNotFoundError" => Ok(false),
        // A store that is compatible with S3 and has no Object Lock.
        Err(failure) if matches!(failure.code.as_str(), "NotImplemented" | "MethodNotAllowed") => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// A KMS key; `None` where there is none.
pub async fn read_key(aws: &AwsClient, region: &str, arn: &str) -> Read<Option<ObservedKey>> {
    let request = aws.kms(region).describe_key().key_id(arn);
    match aws.call(Operation::kms(region, DESCRIBE_KEY, arn), request.send()).await {
        Ok(answer) => {
            let key = answer.key_metadata().ok_or_else(|| incomplete(DESCRIBE_KEY, arn, "KeyMetadata"))?;
            let spec = key.key_spec().map(|spec| spec.as_str());
            Ok(Some(ObservedKey {
                state: key.key_state().map(|s| s.as_str()).unwrap_or("Enabled").to_owned(),
                aws_managed: key.key_manager().is_some_and(|m| m.as_str() == "AWS"),
                unusable_spec: spec.filter(|spec| *spec != SYMMETRIC).map(str::to_owned),
            }))
        }
        Err(failure) if failure.code == "NotFoundException" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The policy of a KMS key; `None` where there is no such key.
pub async fn read_key_policy(aws: &AwsClient, arn: &str) -> Read<Option<Value>> {
    let region = region_of_arn(arn).ok_or_else(|| incomplete(GET_KEY_POLICY, arn, "a Region in the ARN"))?;
    let request = aws.kms(region).get_key_policy().key_id(arn).policy_name("default");
    match aws.call(Operation::kms(region, GET_KEY_POLICY, arn), request.send()).await {
        Ok(answer) => {
            let document = answer.policy().ok_or_else(|| incomplete(GET_KEY_POLICY, arn, "a Policy"))?;
            let unreadable = |_| incomplete(GET_KEY_POLICY, arn, "a Policy that is JSON");
            serde_json::from_str(document).map(Some).map_err(unreadable)
        }
        Err(failure) if failure.code == "NotFoundException" => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A role without its policy; `None` where there is none.
pub async fn read_role(aws: &AwsClient, name: &str) -> Read<Option<ObservedRole>> {
    let action = "iam:GetRole";
    let request = aws.iam().get_role().role_name(name);
    let answer = match aws.call(Operation::iam_read(action, name), request.send()).await {
        Ok(answer) => answer,
        Err(failure) if failure.class == FailureClass::NoSuchRole => return Ok(None),
        Err(failure) => return Err(failure),
    };
    // The SDK reads a missing text as an empty one.
    let role = answer.role().filter(|role| !role.arn().is_empty());
    let role = role.ok_or_else(|| incomplete(action, name, "a Role with an Arn"))?;
    Ok(Some(ObservedRole {
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
    match aws.call(Operation::iam_read("iam:GetRolePolicy", role), request.send()).await {
        Ok(answer) if answer.policy_document().is_empty() => {
            Err(incomplete("iam:GetRolePolicy", role, "a PolicyDocument"))
        }
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
        aws.call(Operation::iam_read("iam:ListRolePolicies", name), inline.send()),
        aws.call(Operation::iam_read("iam:ListAttachedRolePolicies", name), attached.send()),
    );
    let (inline, attached) = (inline?, attached?);
    let (own, others): (Vec<String>, Vec<String>) =
        inline.policy_names().iter().cloned().partition(|policy| policy == ROLE_POLICY_NAME);
    let attached = attached.attached_policies().iter().filter_map(|p| p.policy_arn().map(str::to_owned));
    Ok(Some(ObservedRole {
        policy: Ok(own.first().map(|_| Value::Null)),
        other_policies: others.into_iter().chain(attached).collect(),
        ..role
    }))
}

/// The failure of a call that AWS answered with success and without the content that such an answer has.
pub fn incomplete(action: &'static str, subject: &str, expected: &str) -> Failure {
    let detail = format!("AWS answered with success, and the answer does not hold {expected}");
    Failure::new(FailureClass::Unavailable, action, subject, detail)
}

/// IAM returns policy documents percent-encoded (RFC 3986).
fn document(encoded: &str) -> Value {
    let text = percent_decode_str(encoded).decode_utf8_lossy();
    serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
}
