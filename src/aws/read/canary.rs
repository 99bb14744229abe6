//! Reads what a canary needs to know: facts about buckets, the replication status of a version, versions under a
//! prefix.
//!
//! In: a client, a bucket, a key. Out: the answer in the domain's types. Each is one call, but for a status that S3
//! does not give.

use aws_sdk_s3::types::ServerSideEncryption;
use futures::future::join_all;
use jiff::Timestamp;

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::aws::connector::ResourceClients;
use crate::aws::error::is_bare;
use crate::aws::read::calls::{GET_BUCKET_VERSIONING, incomplete, read_versioning};
use crate::replication::health::canary::{
    BucketFacts, CanaryFacts, HeldVersion, ReplicationStatus, VersionAt,
};
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Failure, FailureClass};

/// The action that reading the replication status of a version needs.
pub const GET_OBJECT_VERSION: &str = "s3:GetObjectVersion";

/// The action that listing versions needs.
pub const LIST_VERSIONS: &str = "s3:ListBucketVersions";

const GET_OBJECT_LOCK: &str = "s3:GetBucketObjectLockConfiguration";
const GET_ENCRYPTION: &str = "s3:GetEncryptionConfiguration";

/// Reads the facts that decide whether a canary may be written, of all buckets at once.
pub async fn observe_for_canary(
    clients: &ResourceClients,
    source: &BucketAddress,
    destinations: &[BucketAddress],
) -> CanaryFacts {
    let buckets = std::iter::once(source).chain(destinations);
    let facts =
        join_all(buckets.map(async |bucket| (bucket.name.clone(), read_facts(clients, bucket).await)));
    let encrypted = async {
        let aws = clients.client(source.account_ref.as_deref(), GET_ENCRYPTION, &source.name)?;
        read_encrypted(aws, source).await
    };
    let (facts, encrypted) = futures::join!(facts, encrypted);
    CanaryFacts { buckets: facts.into_iter().collect(), encrypted }
}

async fn read_facts(clients: &ResourceClients, bucket: &BucketAddress) -> BucketFacts {
    let BucketAddress { name, region, account_id, account_ref } = bucket;
    match clients.client(account_ref.as_deref(), GET_BUCKET_VERSIONING, name) {
        Err(failure) => BucketFacts { mfa_delete: Err(failure.clone()), default_retention: Err(failure) },
        Ok(aws) => {
            let versioning = read_versioning(aws, name, region, account_id);
            let (versioning, default_retention) =
                futures::join!(versioning, read_default_retention(aws, bucket));
            BucketFacts { mfa_delete: versioning.map(|held| held.mfa_delete), default_retention }
        }
    }
}

/// Whether a bucket has Object Lock with a default retention.
async fn read_default_retention(aws: &AwsClient, bucket: &BucketAddress) -> Read<bool> {
    let BucketAddress { name, region, account_id, .. } = bucket;
    let request =
        aws.s3(region).get_object_lock_configuration().bucket(name).expected_bucket_owner(account_id);
    match aws.call(Operation::s3_read(region, GET_OBJECT_LOCK, name), request.send()).await {
        // S3 has an error code for "none": after an empty answer, a canary could be written that nobody can delete.
        Ok(answer) => match answer.object_lock_configuration() {
            Some(held) if held.object_lock_enabled().is_some() => {
                Ok(held.rule().and_then(|rule| rule.default_retention()).is_some())
            }
            _ => Err(incomplete(GET_OBJECT_LOCK, name, "an ObjectLockConfiguration with ObjectLockEnabled")),
        },
        Err(failure) if failure.code == "ObjectLockConfigurationNotFoundError" => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether a bucket encrypts new objects with a KMS key by default.
async fn read_encrypted(aws: &AwsClient, bucket: &BucketAddress) -> Read<bool> {
    let BucketAddress { name, region, account_id, .. } = bucket;
    let request = aws.s3(region).get_bucket_encryption().bucket(name).expected_bucket_owner(account_id);
    match aws.call(Operation::s3_read(region, GET_ENCRYPTION, name), request.send()).await {
        // S3 has an error code for "none" here too.
        Ok(answer) => match answer.server_side_encryption_configuration() {
            Some(held) => {
                let rules = held.rules().iter();
                let mut defaults = rules.filter_map(|rule| rule.apply_server_side_encryption_by_default());
                Ok(defaults.any(|default| is_kms(Some(default.sse_algorithm()))))
            }
            None => Err(incomplete(GET_ENCRYPTION, name, "a ServerSideEncryptionConfiguration")),
        },
        Err(failure) if failure.code == "ServerSideEncryptionConfigurationNotFoundError" => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether an object with this encryption is replicated only by rules with `kmsEncryptedObjects`.
pub fn is_kms(encryption: Option<&ServerSideEncryption>) -> bool {
    encryption.is_some_and(|held| held.as_str().starts_with("aws:kms"))
}

/// The replication status of a version (`HeadObject`); `None`: there is no such version.
///
/// # Errors
/// AWS's answer, classified.
pub async fn read_replication_status(aws: &AwsClient, object: &VersionAt) -> Read<Option<ReplicationStatus>> {
    let VersionAt { bucket: BucketAddress { name, region, account_id, .. }, key, version } = object;
    let request = aws
        .s3(region)
        .head_object()
        .bucket(name)
        .key(key)
        .version_id(version)
        .expected_bucket_owner(account_id);
    match aws.call(Operation::s3_read(region, GET_OBJECT_VERSION, name), request.send()).await {
        Ok(answer) => {
            let header = answer.replication_status().map(|status| status.as_str());
            Ok(Some(ReplicationStatus::parse(header)))
        }
        // The errors of a HEAD have no body: 403 and 404 alike may mean that the version is gone, and 400 that
        // credentials expired. A listing has one.
        Err(failure) if is_bare(&failure) || may_be_gone(&failure) => {
            match list_versions(aws, &object.bucket, key).await {
                Ok(held) => {
                    let is_there = held.iter().any(|held| held.key == *key && held.version == *version);
                    if is_there { Err(failure) } else { Ok(None) }
                }
                // A denial of one action says nothing about the other.
                Err(other) if other.class == FailureClass::Denied && failure.class != other.class => {
                    Err(failure)
                }
                Err(other) => Err(other),
            }
        }
        Err(failure) => Err(failure),
    }
}

fn may_be_gone(failure: &Failure) -> bool {
    failure.class == FailureClass::Denied
        || matches!(failure.code.as_str(), "HTTP 404" | "NotFound" | "NoSuchVersion")
}

/// The versions of objects whose keys begin with a prefix, without delete markers; at most the first thousand.
///
/// # Errors
/// AWS's answer, classified.
pub async fn list_versions(aws: &AwsClient, bucket: &BucketAddress, prefix: &str) -> Read<Vec<HeldVersion>> {
    let BucketAddress { name, region, account_id, .. } = bucket;
    let request =
        aws.s3(region).list_object_versions().bucket(name).prefix(prefix).expected_bucket_owner(account_id);
    let answer = aws.call(Operation::s3_read(region, LIST_VERSIONS, name), request.send()).await?;
    let held = answer.versions().iter().filter_map(|held| {
        let modified = held.last_modified().and_then(|time| Timestamp::from_second(time.secs()).ok());
        Some(HeldVersion {
            key: held.key()?.to_owned(),
            version: held.version_id()?.to_owned(),
            modified: modified.unwrap_or_default(),
        })
    });
    Ok(held.collect())
}
