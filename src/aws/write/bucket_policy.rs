//! Writes the policy of a bucket as a whole.
//!
//! In: the policy; `None` deletes it. Out: success, or a failure in its class. Others write the policy too, and S3 has
//! no conditional write for it: the executor reads it just before, merges its own statements into it, and reads it
//! again.

use serde_json::Value;

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::replication::BucketAddress;
use crate::replication::observed::Read;

/// The action that writing a bucket policy needs.
pub const PUT_BUCKET_POLICY: &str = "s3:PutBucketPolicy";

/// Replaces the policy of a bucket; `None` deletes it.
///
/// # Errors
/// AWS's answer, classified.
pub async fn write_bucket_policy(
    aws: &AwsClient,
    bucket: &BucketAddress,
    policy: Option<&Value>,
) -> Read<()> {
    let BucketAddress { name, region, account_id, .. } = bucket;
    match policy {
        Some(policy) => {
            let request = aws.s3(region).put_bucket_policy().bucket(name).expected_bucket_owner(account_id);
            let request = request.policy(policy.to_string());
            let operation = Operation::s3_write(region, PUT_BUCKET_POLICY, name);
            aws.call(operation, request.send()).await.map(drop)
        }
        None => {
            let request =
                aws.s3(region).delete_bucket_policy().bucket(name).expected_bucket_owner(account_id);
            let operation = Operation::s3_write(region, "s3:DeleteBucketPolicy", name);
            aws.call(operation, request.send()).await.map(drop)
        }
    }
}
