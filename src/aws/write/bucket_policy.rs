//! Writes the policy of a destination bucket in another account.
//!
//! Others write it too, and S3 cannot write only if nothing changed. So each write reads the policy, changes only the
//! operator's own statements, and checks afterwards.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::Value;

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::aws::read::bucket_policy::read_bucket_policy;
use crate::iam::Statement;
use crate::iam::bucket_policy::{merged, ours};
use crate::iam::compare::compare;
use crate::iam::document::PolicyDocument;
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Failure, FailureClass};

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

/// Replaces the operator's statements of this Sid, and keeps everything else in the policy.
///
/// # Errors
/// AWS's answer, classified; [`FailureClass::Conflict`] where the policy does not hold the statements afterwards.
pub async fn put_statements(
    aws: &AwsClient,
    bucket: &BucketAddress,
    sid: &str,
    statements: &[Statement],
) -> Read<()> {
    let held = read_bucket_policy(aws, bucket).await?;
    if settled(held.as_ref(), sid, statements) {
        return Ok(());
    }
    write_bucket_policy(aws, bucket, merged(held.as_ref(), sid, statements).as_ref()).await?;
    // S3 may answer as before the write for a moment; after that, someone else has overwritten it.
    let mut pauses =
        ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(4).build();
    loop {
        if settled(read_bucket_policy(aws, bucket).await?.as_ref(), sid, statements) {
            return Ok(());
        }
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(overwritten(&bucket.name)),
        }
    }
}

/// Whether a policy holds exactly these statements under this Sid.
fn settled(policy: Option<&Value>, sid: &str, statements: &[Statement]) -> bool {
    let wanted = PolicyDocument::new(statements.to_vec()).to_value();
    compare(&wanted, &ours(policy, sid)).is_empty()
}

fn overwritten(bucket: &str) -> Failure {
    let detail = "the policy does not hold what was written";
    Failure::new(FailureClass::Conflict, PUT_BUCKET_POLICY, bucket, detail)
}
