//! Reads the policy of a bucket (`s3:GetBucketPolicy`).
//!
//! In: a client, and the address of the bucket. Out: the policy as JSON, `None` where there is none, or S3's failure in
//! its class.

use serde_json::Value;

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Failure, FailureClass};

/// The action that reading a bucket policy needs.
pub const GET_BUCKET_POLICY: &str = "s3:GetBucketPolicy";

/// The policy of a bucket; `None` where it has none.
///
/// # Errors
/// AWS's answer, classified. A policy that is not JSON is [`FailureClass::Unavailable`]: a write could not keep it.
pub async fn read_bucket_policy(aws: &AwsClient, bucket: &BucketAddress) -> Read<Option<Value>> {
    let BucketAddress { name, region, account_id, .. } = bucket;
    let request = aws.s3(region).get_bucket_policy().bucket(name).expected_bucket_owner(account_id);
    let answer = match aws.call(Operation::s3_read(region, GET_BUCKET_POLICY, name), request.send()).await {
        Ok(answer) => answer,
        Err(failure) if failure.code == "NoSuchBucketPolicy" => return Ok(None),
        Err(failure) => return Err(failure),
    };
    serde_json::from_str(answer.policy().unwrap_or_default()).map(Some).map_err(|error| {
        let detail = format!("the answer was not JSON: {error}");
        Failure::new(FailureClass::Unavailable, GET_BUCKET_POLICY, name, detail)
    })
}
