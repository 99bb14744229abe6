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
use crate::replication::{Failure, FailureClass, Place};

const READ: &str = "s3:GetBucketPolicy";
const WRITE: &str = "s3:PutBucketPolicy";

/// The policy of a bucket; `None` where it has none.
pub async fn read_bucket_policy(
    aws: &AwsClient,
    bucket: &str,
    region: &str,
    owner: &str,
) -> Read<Option<Value>> {
    let request = aws.s3(region).get_bucket_policy().bucket(bucket).expected_bucket_owner(owner);
    let answer = match aws.call(Lane::S3Read, READ, bucket, request.send()).await {
        Ok(answer) => answer,
        Err(failure) if failure.code == "NoSuchBucketPolicy" => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let text = answer.policy().unwrap_or_default();
    // What cannot be read cannot be kept either.
    serde_json::from_str(text).map(Some).map_err(|error| Failure {
        class: FailureClass::Unavailable,
        action: READ.into(),
        subject: bucket.to_owned(),
        code: String::new(),
        detail: format!("the answer was not JSON: {error}"),
    })
}

/// Replaces the policy of a bucket; `None` deletes it.
pub async fn write_bucket_policy(aws: &AwsClient, place: &Place, policy: Option<&Value>) -> Read<()> {
    let Place { bucket, region, owner, .. } = place;
    match policy {
        Some(policy) => {
            let request = aws.s3(region).put_bucket_policy().bucket(bucket).expected_bucket_owner(owner);
            let request = request.policy(policy.to_string());
            aws.call(Lane::S3Write, WRITE, bucket, request.send()).await.map(drop)
        }
        None => {
            let request = aws.s3(region).delete_bucket_policy().bucket(bucket).expected_bucket_owner(owner);
            aws.call(Lane::S3Write, "s3:DeleteBucketPolicy", bucket, request.send()).await.map(drop)
        }
    }
}

/// Replaces our statements in the policy by these, and keeps everything else in it.
pub async fn put_statements(aws: &AwsClient, place: &Place, sid: &str, statements: &[Statement]) -> Read<()> {
    let Place { bucket, region, owner, .. } = place;
    let held = read_bucket_policy(aws, bucket, region, owner).await?;
    if settled(held.as_ref(), sid, statements) {
        return Ok(());
    }
    write_bucket_policy(aws, place, merged(held.as_ref(), sid, statements).as_ref()).await?;
    // A read may be behind a write for a moment; after that, someone else has written over it.
    let mut looks =
        ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_max_times(4).build();
    loop {
        if settled(read_bucket_policy(aws, bucket, region, owner).await?.as_ref(), sid, statements) {
            return Ok(());
        }
        match looks.next() {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(overwritten(bucket)),
        }
    }
}

/// Whether a policy holds these statements of ours and no others.
fn settled(policy: Option<&Value>, sid: &str, statements: &[Statement]) -> bool {
    let wanted = PolicyDocument::new(statements.to_vec()).to_value();
    compare(&wanted, &ours(policy, sid)).is_empty()
}

fn overwritten(bucket: &str) -> Failure {
    Failure {
        class: FailureClass::Conflict,
        action: WRITE.into(),
        subject: bucket.to_owned(),
        code: String::new(),
        detail: "the policy does not hold what was written".to_owned(),
    }
}
