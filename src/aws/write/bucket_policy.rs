//! The policies of destination buckets of other accounts: others write them too, and S3 has no way to write only if
//! nothing changed. So each write reads what is there now, changes only our own statements, and looks afterwards.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde_json::Value;

use crate::aws::account::client::AwsClient;
use crate::aws::account::rate_limiter::Lane;
use crate::iam::Statement;
use crate::iam::bucket_policy::{merged, ours};
use crate::iam::compare::compare;
use crate::iam::document::PolicyDocument;
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Failure, FailureClass};

const READ: &str = "s3:GetBucketPolicy";
const WRITE: &str = "s3:PutBucketPolicy";

/// The policy of a bucket; `None` where it has none.
pub async fn read_bucket_policy(aws: &AwsClient, bucket: &BucketAddress) -> Read<Option<Value>> {
    let BucketAddress { name, region, account_id, .. } = bucket;
    let request = aws.s3(region).get_bucket_policy().bucket(name).expected_bucket_owner(account_id);
    let answer = match aws.call(Lane::S3Read, READ, name, request.send()).await {
        Ok(answer) => answer,
        Err(failure) if failure.code == "NoSuchBucketPolicy" => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let text = answer.policy().unwrap_or_default();
    // What cannot be read cannot be kept either.
    serde_json::from_str(text).map(Some).map_err(|error| {
        let detail = format!("the answer was not JSON: {error}");
        Failure::new(FailureClass::Unavailable, READ, name, detail)
    })
}

/// Replaces the policy of a bucket; `None` deletes it.
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
            aws.call(Lane::S3Write, WRITE, name, request.send()).await.map(drop)
        }
        None => {
            let request =
                aws.s3(region).delete_bucket_policy().bucket(name).expected_bucket_owner(account_id);
            aws.call(Lane::S3Write, "s3:DeleteBucketPolicy", name, request.send()).await.map(drop)
        }
    }
}

/// Replaces our statements in the policy by these, and keeps everything else in it.
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
    // A read may be behind a write for a moment; after that, someone else has written over it.
    let mut looks =
        ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(4).build();
    loop {
        if settled(read_bucket_policy(aws, bucket).await?.as_ref(), sid, statements) {
            return Ok(());
        }
        match looks.next() {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(overwritten(&bucket.name)),
        }
    }
}

/// Whether a policy holds these statements of ours and no others.
fn settled(policy: Option<&Value>, sid: &str, statements: &[Statement]) -> bool {
    let wanted = PolicyDocument::new(statements.to_vec()).to_value();
    compare(&wanted, &ours(policy, sid)).is_empty()
}

fn overwritten(bucket: &str) -> Failure {
    Failure::new(FailureClass::Conflict, WRITE, bucket, "the policy does not hold what was written")
}
