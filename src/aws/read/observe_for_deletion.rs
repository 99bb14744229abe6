//! Reads everything that a deletion may have to remove.
//!
//! In: the clients of a resource, and what status and spec say that it made. Out: [`ObservedForDeletion`].

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::aws::account::cache::Location;
use crate::aws::account::client::AwsClient;
use crate::aws::connector::ResourceClients;
use crate::aws::read::bucket_policy::{GET_BUCKET_POLICY, read_bucket_policy};
use crate::aws::read::calls::{read_configuration, read_role_to_delete};
use crate::aws::read::locate::{bucket_key, in_partition_of, locate};
use crate::iam::arn::role_of_arn;
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{BucketAddress, BucketRef, Caller, Configuration, FailureClass, ResourceId};

/// Reads the configuration of the source, the roles of these names, and the policies of these buckets.
pub async fn observe_for_deletion(
    clients: &ResourceClients,
    source: Option<&BucketRef>,
    roles: &BTreeSet<String>,
    policies: &[BucketAddress],
    id: &ResourceId,
) -> ObservedForDeletion {
    let aws = &clients.source;
    let caller = aws.caller();
    let (region, configuration) = match source {
        Some(source) => read_configuration_anywhere(aws, &caller, source).await,
        None => (None, Ok(None)),
    };
    let configured =
        configuration.as_ref().ok().and_then(Option::as_ref).map(|c| role_of_arn(&c.role).to_owned());
    let names: BTreeSet<String> = roles.iter().cloned().chain(configured).collect();
    let roles = names.into_iter().map(async |name| {
        let role = read_role_to_delete(aws, &name, id).await;
        (name, role)
    });
    let roles = join_all(roles).await.into_iter().collect();
    let read_policies = policies.iter().map(async |bucket| {
        let policy = match clients.client(bucket.account_ref.as_deref(), GET_BUCKET_POLICY, &bucket.name) {
            Ok(aws) => read_bucket_policy(aws, bucket).await,
            Err(failure) => Err(failure),
        };
        match policy {
            Err(failure) if failure.class == FailureClass::NoSuchBucket => (bucket.clone(), Ok(None)),
            policy => (bucket.clone(), policy),
        }
    });
    let bucket_policies = join_all(read_policies).await;
    ObservedForDeletion {
        bucket: source.map(|s| s.name.clone()).unwrap_or_default(),
        caller: in_partition_of(caller, region.as_deref()),
        region,
        configuration,
        roles,
        bucket_policies,
    }
}

/// The source's Region and its configuration, wherever the bucket is by now.
async fn read_configuration_anywhere(
    aws: &AwsClient,
    caller: &Caller,
    source: &BucketRef,
) -> (Option<String>, Read<Option<Configuration>>) {
    match configuration_of(aws, caller, source).await {
        // The bucket was created again elsewhere after its Region was remembered.
        (_, Err(failure)) if failure.class == FailureClass::WrongRegion => {
            aws.buckets().forget(&bucket_key(caller, source)).await;
            let unseen = BucketRef { last_seen: None, ..source.clone() };
            configuration_of(aws, caller, &unseen).await
        }
        found => found,
    }
}

/// The source's Region and its configuration; neither where there is no bucket any more.
async fn configuration_of(
    aws: &AwsClient,
    caller: &Caller,
    source: &BucketRef,
) -> (Option<String>, Read<Option<Configuration>>) {
    match locate(aws, caller, source).await {
        Ok(Some(Location { region, .. })) => {
            match read_configuration(aws, caller, &source.name, &region).await {
                Err(failure) if failure.class == FailureClass::NoSuchBucket => (None, Ok(None)),
                read => (Some(region), read.map(|held| held.map(|held| held.configuration))),
            }
        }
        Ok(None) => (None, Ok(None)),
        Err(failure) => (None, Err(failure)),
    }
}
