//! What deletion reads: what may be left of a resource.

use std::collections::BTreeSet;

use futures::future::{join_all, try_join_all};

use crate::aws::account::cache::Location;
use crate::aws::account::client::AwsClient;
use crate::aws::connector::ResourceClients;
use crate::aws::read::calls::{read_configuration, read_role_to_delete};
use crate::aws::read::locate::{in_partition_of, locate};
use crate::aws::write::bucket_policy::read_bucket_policy;
use crate::iam::arn::role_of_arn;
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{
    BucketAddress, BucketRef, Caller, Configuration, Failure, FailureClass, ResourceId,
};

/// Reads what deletion may have to remove.
///
/// # Errors
/// When not even the operator's own identity can be told.
pub async fn remains(
    access: &ResourceClients,
    source: Option<&BucketRef>,
    roles: &BTreeSet<String>,
    policies: &[BucketAddress],
    identity: &ResourceId,
) -> Result<ObservedForDeletion, Failure> {
    let aws = &access.source;
    let caller = aws.caller().await?;
    let configuration = async {
        let Some(source) = source else {
            return (None, Ok(None));
        };
        match configuration_of(aws, &caller, source).await {
            // It was made again elsewhere after its Region was remembered.
            (_, Err(failure)) if failure.class == FailureClass::WrongRegion => {
                aws.buckets().forget(&source.name).await;
                let unseen = BucketRef { last_seen: None, ..source.clone() };
                configuration_of(aws, &caller, &unseen).await
            }
            found => found,
        }
    };
    let (region, configuration) = configuration.await;
    let named = configuration.as_ref().ok().and_then(Option::as_ref).map(|c| role_of_arn(&c.role).to_owned());
    let names: BTreeSet<String> = roles.iter().cloned().chain(named).collect();
    let roles = try_join_all(names.iter().map(|name| read_role_to_delete(aws, name, identity))).await;
    let read_policies = policies.iter().map(|bucket| async {
        let read = read_bucket_policy(access.to(bucket.account_ref.as_deref()), bucket).await;
        match read {
            Err(failure) if failure.class == FailureClass::NoSuchBucket => (bucket.clone(), Ok(None)),
            read => (bucket.clone(), read),
        }
    });
    let bucket_policies = join_all(read_policies).await;
    let caller = in_partition_of(caller, region.as_deref());
    Ok(ObservedForDeletion {
        bucket: source.map(|s| s.name.clone()).unwrap_or_default(),
        caller,
        region,
        configuration,
        roles: roles.map(|roles| roles.into_iter().flatten().collect()),
        bucket_policies,
    })
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
                read => (Some(region), read),
            }
        }
        Ok(None) => (None, Ok(None)),
        Err(failure) => (None, Err(failure)),
    }
}
