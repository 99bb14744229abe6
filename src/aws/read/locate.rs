//! Where a bucket is, and whether it belongs to the account it should.

use crate::aws::account::cache::{Location, OwnerCheck};
use crate::aws::account::client::AwsClient;
use crate::aws::account::rate_limiter::Lane;
use crate::aws::error::{HEAD_BUCKET, bucket_region};
use crate::iam::Partition;
use crate::replication::observed::Read;
use crate::replication::{BucketRef, Caller, Failure, FailureClass};

/// The source's Region tells the partition: the Region of the environment may be unset.
pub fn in_partition_of(caller: Caller, region: Option<&str>) -> Caller {
    let partition = region.map_or(caller.partition, Partition::of_region);
    Caller { partition, ..caller }
}

/// Where a bucket is as far as that is known without asking: from before, from the spec, or from status.
pub async fn known_location(aws: &AwsClient, bucket: &BucketRef) -> Option<Location> {
    let known = aws.buckets().location(&bucket.name).await;
    let told = || bucket.region.as_ref().or(bucket.last_seen.as_ref()).cloned();
    known.or_else(|| told().map(|region| Location { region, owner: OwnerCheck::NotChecked }))
}

pub fn owner<'a>(caller: &'a Caller, bucket: &'a BucketRef) -> &'a str {
    bucket.account_id.as_deref().unwrap_or(&caller.account)
}

/// Asks where a bucket is. `None`: nowhere.
pub async fn locate(aws: &AwsClient, caller: &Caller, bucket: &BucketRef) -> Read<Option<Location>> {
    let name = &bucket.name;
    if let Some(known) = known_location(aws, bucket).await {
        return Ok(Some(known));
    }
    let location = match head(aws, aws.home(), name, Some(owner(caller, bucket))).await {
        Head::Found(region) => Location { region, owner: OwnerCheck::Confirmed },
        Head::Elsewhere(region) => Location { region, owner: OwnerCheck::NotChecked },
        Head::Missing => return Ok(None),
        Head::Denied { failure, region } => {
            match (denied_or_foreign(aws, aws.home(), name, failure).await, region) {
                (denied, Some(region)) if denied.class == FailureClass::Denied => {
                    Location { region, owner: OwnerCheck::Denied }
                }
                (failure, _) => return Err(failure),
            }
        }
        Head::Failed(failure) => return Err(failure),
    };
    aws.buckets().locate(name, location.clone()).await;
    Ok(Some(location))
}

pub enum Head {
    Found(String),
    Elsewhere(String),
    Missing,
    /// S3 names the Region even to those it denies.
    Denied {
        failure: Failure,
        region: Option<String>,
    },
    Failed(Failure),
}

pub async fn head(aws: &AwsClient, region: &str, bucket: &str, owner: Option<&str>) -> Head {
    let action = HEAD_BUCKET;
    let request =
        aws.s3(region).head_bucket().bucket(bucket).set_expected_bucket_owner(owner.map(str::to_owned));
    let mut elsewhere = None;
    let answer = async {
        let result = request.send().await;
        elsewhere = result.as_ref().err().and_then(bucket_region);
        result
    };
    match aws.call(Lane::S3Read, action, bucket, answer).await {
        Ok(found) => Head::Found(found.bucket_region().unwrap_or(region).to_owned()),
        Err(failure) => match (failure.class, elsewhere) {
            (FailureClass::NoSuchBucket, _) => Head::Missing,
            (FailureClass::WrongRegion, Some(region)) => Head::Elsewhere(region),
            (FailureClass::Denied, region) => Head::Denied { failure, region },
            _ => Head::Failed(failure),
        },
    }
}

/// S3 says the same of a denied action and of an owner other than expected. If the bucket answers when no owner
/// is expected, it was the owner.
pub async fn denied_or_foreign(aws: &AwsClient, region: &str, bucket: &str, failure: Failure) -> Failure {
    match head(aws, region, bucket, None).await {
        Head::Found(_) | Head::Elsewhere(_) => Failure { class: FailureClass::WrongOwner, ..failure },
        Head::Missing | Head::Denied { .. } | Head::Failed(_) => failure,
    }
}

pub fn missing(bucket: &str) -> Failure {
    Failure {
        class: FailureClass::NoSuchBucket,
        action: "s3:ListBucket".into(),
        subject: bucket.to_owned(),
        code: String::new(),
        detail: "S3 knows no such bucket".to_owned(),
    }
}
