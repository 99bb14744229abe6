//! Executes one step by one call. A bucket policy is no such step: the executor reads, merges and writes it.
//!
//! In: a step. Out: success, or a failure in its class.

use std::collections::BTreeMap;

use aws_sdk_iam::types::Tag;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use crate::aws::account::cache::BucketKey;
use crate::aws::account::operation::Operation;
use crate::aws::connector::ResourceClients;
use crate::aws::convert::to_sdk;
use crate::replication::step::ROLE_POLICY_NAME;
use crate::replication::{BucketAddress, Failure, FailureClass, RoleDocuments, Step};

/// Executes a step.
///
/// # Errors
/// AWS's answer, classified. A role or configuration that is already gone counts as deleted.
pub async fn apply(clients: &ResourceClients, step: &Step) -> Result<(), Failure> {
    let (action, subject) = (step.action(), step.subject());
    let aws = clients.client(step.account_ref(), action, subject)?;
    let on_iam = || Operation::iam_write(action, subject);
    let on_s3 = |region| Operation::s3_write(region, action, subject);
    match step {
        Step::EnableVersioning { bucket: BucketAddress { name, region, account_id, .. } } => {
            let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let request = aws
                .s3(region)
                .put_bucket_versioning()
                .bucket(name)
                .expected_bucket_owner(account_id)
                .versioning_configuration(enabled);
            let result = aws.call(on_s3(region), request.send()).await.map(drop);
            aws.buckets().versioning_changed(&BucketKey::new(name, account_id)).await;
            result
        }
        Step::CreateRole { role, documents } => {
            let RoleDocuments { path, trust, permissions_boundary, tags, description } = documents;
            let request = aws
                .iam()
                .create_role()
                .role_name(role)
                .path(path)
                .assume_role_policy_document(trust)
                .set_permissions_boundary(permissions_boundary.clone())
                .description(description)
                .set_tags(Some(sdk_tags(step, tags)?));
            aws.call(on_iam(), request.send()).await.map(drop)
        }
        Step::UpdateTrustPolicy { role, document, .. } => {
            let request = aws.iam().update_assume_role_policy().role_name(role).policy_document(document);
            aws.call(on_iam(), request.send()).await.map(drop)
        }
        Step::PutPermissionsBoundary { role, boundary } => {
            let request =
                aws.iam().put_role_permissions_boundary().role_name(role).permissions_boundary(boundary);
            aws.call(on_iam(), request.send()).await.map(drop)
        }
        Step::DeletePermissionsBoundary { role } => {
            let request = aws.iam().delete_role_permissions_boundary().role_name(role);
            aws.call(on_iam(), request.send()).await.map(drop)
        }
        Step::TagRole { role, tags } => {
            let request = aws.iam().tag_role().role_name(role).set_tags(Some(sdk_tags(step, tags)?));
            aws.call(on_iam(), request.send()).await.map(drop)
        }
        Step::UntagRole { role, keys } => {
            let request = aws.iam().untag_role().role_name(role).set_tag_keys(Some(keys.clone()));
            aws.call(on_iam(), request.send()).await.map(drop)
        }
        Step::PutRolePolicy { role, document, .. } => {
            let request = aws
                .iam()
                .put_role_policy()
                .role_name(role)
                .policy_name(ROLE_POLICY_NAME)
                .policy_document(document);
            aws.call(on_iam(), request.send()).await.map(drop)
        }
        Step::PutBucketPolicy { .. } => {
            let detail = "a bucket policy is not one call: read it, merge into it, and write it";
            Err(Failure::new(FailureClass::Invalid, action, subject, detail))
        }
        Step::PutReplication {
            bucket: BucketAddress { name, region, account_id, .. },
            configuration,
            ..
        } => {
            let configuration = to_sdk(configuration).map_err(|e| malformed(step, e))?;
            let request = aws
                .s3(region)
                .put_bucket_replication()
                .bucket(name)
                .expected_bucket_owner(account_id)
                .replication_configuration(configuration);
            aws.call(on_s3(region), request.send()).await.map(drop)
        }
        Step::DeleteReplication { bucket: BucketAddress { name, region, account_id, .. } } => {
            let request =
                aws.s3(region).delete_bucket_replication().bucket(name).expected_bucket_owner(account_id);
            ignore_not_found(aws.call(on_s3(region), request.send()).await.map(drop))
        }
        Step::DeleteRolePolicy { role } => {
            let request = aws.iam().delete_role_policy().role_name(role).policy_name(ROLE_POLICY_NAME);
            ignore_not_found(aws.call(on_iam(), request.send()).await.map(drop))
        }
        Step::DeleteRole { role } => {
            let request = aws.iam().delete_role().role_name(role);
            ignore_not_found(aws.call(on_iam(), request.send()).await.map(drop))
        }
    }
}

fn sdk_tags(step: &Step, tags: &BTreeMap<String, String>) -> Result<Vec<Tag>, Failure> {
    let sdk_tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    tags.iter().map(sdk_tag).collect::<Result<_, _>>().map_err(|error| malformed(step, error))
}

/// A request that the SDK will not even build.
fn malformed(step: &Step, error: aws_sdk_s3::error::BuildError) -> Failure {
    Failure::new(FailureClass::Invalid, step.action(), step.subject(), error.to_string())
}

fn ignore_not_found(result: Result<(), Failure>) -> Result<(), Failure> {
    match result {
        Err(Failure { class: FailureClass::NoSuchBucket | FailureClass::NoSuchRole, .. }) => Ok(()),
        other => other,
    }
}
