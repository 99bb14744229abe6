//! Writes a canary, and deletes a version for good.
//!
//! In: an object, or a version of one. Out: S3's answer. A deletion names a version, so that it leaves no delete marker
//! and S3 replicates it nowhere
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/delete-marker-replication.html>).

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::aws::read::canary::is_kms;
use crate::replication::health::canary::{CanaryObject, VersionAt, WrittenCanary};
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Failure, FailureClass};

/// The action that writing an object needs.
pub const PUT_OBJECT: &str = "s3:PutObject";

/// The action that deleting a version needs.
pub const DELETE_VERSION: &str = "s3:DeleteObjectVersion";

/// The content of a canary, for the person who finds one.
const BODY: &[u8] =
    b"s3-replication-operator wrote this object to prove that objects arrive, and deletes it.\n";

/// Writes a canary.
///
/// # Errors
/// AWS's answer, classified.
pub async fn put_canary(aws: &AwsClient, object: &CanaryObject) -> Read<WrittenCanary> {
    let CanaryObject { bucket: BucketAddress { name, region, account_id, .. }, key, tags } = object;
    let request = aws
        .s3(region)
        .put_object()
        .bucket(name)
        .key(key)
        .content_type("text/plain")
        .body(ByteStream::from_static(BODY))
        .expected_bucket_owner(account_id);
    let request = match tags.is_empty() {
        true => request,
        false => request.tagging(query(tags)),
    };
    let answer = aws.call(Operation::s3_write(region, PUT_OBJECT, name), request.send()).await?;
    let Some(version) = answer.version_id() else {
        let detail = "AWS answered with success, and the answer does not hold a version id";
        return Err(Failure::new(FailureClass::Unavailable, PUT_OBJECT, name, detail));
    };
    Ok(WrittenCanary { version: version.to_owned(), encrypted: is_kms(answer.server_side_encryption()) })
}

/// Tags in the form of a URL's query, as the header `x-amz-tagging` has them.
fn query(tags: &BTreeMap<String, String>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = tags.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Deletes a version. One that is gone already counts as deleted.
///
/// # Errors
/// AWS's answer, classified.
pub async fn delete_version(aws: &AwsClient, object: &VersionAt) -> Read<()> {
    let VersionAt { bucket: BucketAddress { name, region, account_id, .. }, key, version } = object;
    let request = aws
        .s3(region)
        .delete_object()
        .bucket(name)
        .key(key)
        .version_id(version)
        .expected_bucket_owner(account_id);
    match aws.call(Operation::s3_write(region, DELETE_VERSION, name), request.send()).await {
        Ok(_) => Ok(()),
        Err(failure) if matches!(failure.code.as_str(), "NoSuchVersion" | "NoSuchKey") => Ok(()),
        Err(failure) => Err(failure),
    }
}
