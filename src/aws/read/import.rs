//! Reads for `import`, beyond those of a check.
//!
//! In: a client, and a bucket. Out: the replication configuration of the bucket, with the elements of it that no spec
//! can express; or the versioning of a bucket.

use std::collections::BTreeSet;

use aws_sdk_s3::types::{ExistingObjectReplicationStatus, ReplicationRule};

use crate::aws::account::cache::Location;
use crate::aws::account::client::AwsClient;
use crate::aws::convert::from_sdk;
use crate::aws::read::calls::{RawConfiguration, read_raw_configuration, read_versioning};
use crate::aws::read::locate::{account_id, locate, missing};
use crate::replication::observed::Read;
use crate::replication::{BucketRef, Configuration, VersioningStatus};

/// A configuration that `import` can turn into a resource.
#[derive(Clone, Debug)]
pub struct Importable {
    pub region: String,
    /// The id of the account that owns the bucket.
    pub account_id: String,
    pub configuration: Configuration,
    /// IDs of rules with `ExistingObjectReplication`, which S3 no longer accepts and the domain does not model.
    pub existing_objects: Vec<String>,
    /// IDs that several rules have. The domain keeps rules by their IDs, and would lose all but one.
    pub repeated_ids: BTreeSet<String>,
    /// The elements of the configuration that the operator does not model, by their paths.
    pub unknown_elements: BTreeSet<String>,
}

/// The replication configuration of a bucket; `None` where there is none, or no bucket.
///
/// # Errors
/// AWS's answer, classified.
pub async fn importable(aws: &AwsClient, bucket: &str) -> Read<Option<Importable>> {
    let caller = aws.caller();
    let source = BucketRef::named(bucket);
    let Some(Location { region, .. }) = locate(aws, &caller, &source).await? else {
        return Err(missing(bucket));
    };
    let held = read_raw_configuration(aws, &caller, bucket, &region).await?;
    let Some(RawConfiguration { configuration: held, unknown_elements }) = held else { return Ok(None) };
    let replicates_existing = |rule: &&ReplicationRule| {
        rule.existing_object_replication()
            .is_some_and(|e| e.status() == &ExistingObjectReplicationStatus::Enabled)
    };
    let with_existing = held.rules().iter().filter(replicates_existing);
    let mut ids = BTreeSet::new();
    let id_of = |rule: &ReplicationRule| rule.id().unwrap_or_default().to_owned();
    let repeated_ids = held.rules().iter().map(id_of).filter(|id| !ids.insert(id.clone())).collect();
    Ok(Some(Importable {
        region,
        account_id: caller.account.clone(),
        existing_objects: with_existing.filter_map(|r| r.id().map(str::to_owned)).collect(),
        configuration: from_sdk(&held),
        repeated_ids,
        unknown_elements,
    }))
}

/// The versioning of a bucket; `None`: there is no such bucket.
///
/// # Errors
/// AWS's answer, classified.
pub async fn versioning(aws: &AwsClient, bucket: &BucketRef) -> Read<Option<VersioningStatus>> {
    let caller = aws.caller();
    let Some(Location { region, .. }) = locate(aws, &caller, bucket).await? else { return Ok(None) };
    let held = read_versioning(aws, &bucket.name, &region, account_id(&caller, bucket)).await?;
    Ok(Some(held.status))
}
