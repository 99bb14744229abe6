//! Finds a bucket's Region, and whether the bucket belongs to the account that it should belong to.
//!
//! In: a client, and a bucket with what spec and status say of its Region. Out: its location, as remembered or by a
//! call; `None` where there is no such bucket; a failure where the bucket belongs to another account.

use crate::aws::account::cache::{BucketKey, Location, OwnerCheck};
use crate::aws::account::client::AwsClient;
use crate::aws::error::HEAD_BUCKET;
use crate::aws::read::owner::{BucketOwnership, Head, ask_owner, explain, head};
use crate::iam::Partition;
use crate::iam::partition::is_region;
use crate::replication::observed::Read;
use crate::replication::{BucketRef, Caller, Failure, FailureClass};

/// The caller in the partition of the source's Region: the Region of the environment may be unset.
pub fn in_partition_of(caller: Caller, region: Option<&str>) -> Caller {
    let partition = region.map_or(caller.partition, Partition::of_region);
    Caller { partition, ..caller }
}

/// The account that a bucket should belong to.
pub fn account_id<'a>(caller: &'a Caller, bucket: &'a BucketRef) -> &'a str {
    bucket.account_id.as_deref().unwrap_or(&caller.account)
}

/// Under what answers about a bucket are remembered.
pub fn bucket_key(caller: &Caller, bucket: &BucketRef) -> BucketKey {
    BucketKey::new(&bucket.name, account_id(caller, bucket))
}

/// A bucket's location as far as it is known without a call: remembered, from the spec, or from status. A spec that
/// names another Region than the remembered one is believed, so that the call shows what is wrong.
pub async fn known_location(aws: &AwsClient, caller: &Caller, bucket: &BucketRef) -> Option<Location> {
    let remembered = aws.buckets().location(&bucket_key(caller, bucket));
    let remembered =
        remembered.filter(|held| bucket.region.as_ref().is_none_or(|named| *named == held.region));
    remembered.or_else(|| {
        let region = bucket.region.as_ref().or(bucket.last_seen.as_ref())?.clone();
        Some(Location { region, owner_check: OwnerCheck::NotChecked })
    })
}

/// Locates a bucket, by a call where its Region is not known. `None`: there is no such bucket.
pub async fn locate(aws: &AwsClient, caller: &Caller, bucket: &BucketRef) -> Read<Option<Location>> {
    let (name, expected_owner, home) = (&bucket.name, account_id(caller, bucket), aws.home());
    if let Some(region) = bucket.region.as_deref().filter(|region| !is_region(region)) {
        return Err(no_such_region(name, region));
    }
    if let Some(known) = known_location(aws, caller, bucket).await {
        return Ok(Some(known));
    }
    let answer = head(aws, home, name, Some(expected_owner)).await;
    let answer = explain(aws, home, name, expected_owner, answer).await;
    let location = match answer {
        Head::Found(region) => Location { region, owner_check: OwnerCheck::Confirmed },
        Head::Elsewhere(region) => Location { region, owner_check: OwnerCheck::NotChecked },
        Head::Missing => return Ok(None),
        Head::Denied { ref failure, ref region } => {
            match (ask_owner(aws, home, name, &answer).await, region) {
                (BucketOwnership::Foreign, _) => return Err(foreign(failure.clone())),
                (_, None) => return Err(failure.clone()),
                (_, Some(region)) => Location { region: region.clone(), owner_check: OwnerCheck::Denied },
            }
        }
        Head::Failed(failure) => return Err(failure),
    };
    let key = bucket_key(caller, bucket);
    let location = match aws.buckets().contradiction(&key, &location.region).await {
        Some(region) => Location { region, owner_check: OwnerCheck::NotChecked },
        None => location,
    };
    aws.buckets().set_location(key, location.clone());
    Ok(Some(location))
}

/// A spec can name any Region; clients are made only for those that AWS has.
fn no_such_region(bucket: &str, region: &str) -> Failure {
    let detail = format!(
        "the spec says that the bucket is in {region}, and AWS has no such Region; correct region or leave it out"
    );
    Failure::new(FailureClass::Invalid, HEAD_BUCKET, bucket, detail)
}

/// The failure of a call that S3 denied because the bucket belongs to another account.
pub fn foreign(failure: Failure) -> Failure {
    Failure { class: FailureClass::WrongOwner, ..failure }
}

/// The failure of a call that is not made, because there is no such bucket.
pub fn missing(bucket: &str) -> Failure {
    Failure::new(FailureClass::NoSuchBucket, HEAD_BUCKET, bucket, "S3 knows no such bucket")
}
