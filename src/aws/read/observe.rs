//! The reads, in parallel → what the domain compares with.
//!
//! A check of a resource that was seen before is one round trip: versioning of each bucket, the replication
//! configuration, the role and its policy. Before that, buckets are located once.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use serde_json::Value;

use crate::aws::account::cache::{Location, OwnerCheck};
use crate::aws::account::client::AwsClient;
use crate::aws::connector::ResourceClients;
use crate::aws::read::calls::{
    read_configuration, read_key, read_object_lock, read_role, read_role_policy, read_role_to_delete,
    read_versioning, with_policy,
};
use crate::aws::read::locate::{
    Head, denied_or_foreign, head, in_partition_of, known_location, locate, missing, owner,
};
use crate::aws::write::bucket_policy::read_bucket_policy;
use crate::iam::arn::role_of_arn;
use crate::replication::observed::Read;
use crate::replication::{
    BucketAddress, BucketRef, Caller, Failure, FailureClass, Observed, ObservedBucket, ObservedRole, ReadSet,
};

/// Reads all there is to compare.
///
/// # Errors
/// When not even the operator's own identity can be told. Every other failure is kept beside what could be read.
pub async fn observe(access: &ResourceClients, subject: &ReadSet) -> Result<Observed, Failure> {
    let aws = &access.source;
    let caller = aws.caller().await?;
    let ReadSet {
        source,
        destinations,
        former_destinations,
        keys,
        role,
        role_policy,
        former_roles,
        id,
        fresh,
    } = subject;

    let all = std::iter::once(source).chain(destinations);
    let known = join_all(all.map(|b| known_location(access.to(b.account_ref.as_deref()), b))).await;
    // A role that does not exist yet has no policy to ask for in the next round.
    let early_role =
        async { if known.iter().all(Option::is_some) { None } else { Some(read_role(aws, role).await) } };
    let (source_at, destinations_at, early_role) = futures::join!(
        locate(aws, &caller, source),
        join_all(destinations.iter().map(|b| locate(access.to(b.account_ref.as_deref()), &caller, b))),
        early_role,
    );

    let read_destinations = destinations.iter().zip(&destinations_at);
    let read_destinations = join_all(
        read_destinations
            .map(|(b, at)| read_bucket(access.to(b.account_ref.as_deref()), &caller, b, at, *fresh)),
    );
    let read_source = read_bucket(aws, &caller, source, &source_at, *fresh);
    let configuration = async {
        match &source_at {
            Ok(Some(location)) => read_configuration(aws, &caller, &source.name, &location.region).await,
            Ok(None) => Err(missing(&source.name)),
            Err(failure) => Err(failure.clone()),
        }
    };
    let role_and_policy = async {
        match early_role {
            Some(Ok(Some(found))) if *role_policy => Ok(Some(with_policy(aws, found).await)),
            Some(read) => read,
            None if *role_policy => {
                let (found, policy) = futures::join!(read_role(aws, role), read_role_policy(aws, role));
                found.map(|found| found.map(|r| ObservedRole { policy, ..r }))
            }
            None => read_role(aws, role).await,
        }
    };
    let object_lock = async {
        match &source_at {
            // Only a managed role is given what Object Lock needs.
            Ok(Some(Location { region, .. })) if *role_policy => {
                let read = read_object_lock(aws, &source.name, region, &caller.account);
                aws.buckets().object_lock(&source.name, read).await
            }
            _ => false,
        }
    };
    let policies = bucket_policies(access, &caller, destinations, &destinations_at, former_destinations);
    let keys = join_all(keys.iter().map(|(arn, account_ref)| async {
        let aws = access.to(account_ref.as_deref());
        (arn.clone(), aws.keys().key(arn, read_key(aws, arn)).await)
    }));
    let (source, read_destinations, configuration, role_read, object_lock, bucket_policies, keys) = futures::join!(
        read_source,
        read_destinations,
        configuration,
        role_and_policy,
        object_lock,
        policies,
        keys
    );

    let named = configuration.as_ref().ok().and_then(Option::as_ref).map(|c| role_of_arn(&c.role).to_owned());
    let former = former_roles.iter().cloned().chain(named);
    let former: BTreeSet<String> = former.filter(|name| name != role && !name.is_empty()).collect();
    let read_former = |name: String| async {
        let read = read_role_to_delete(aws, &name, id).await;
        (name, read)
    };
    let former_roles = join_all(former.into_iter().map(read_former)).await;

    let caller = in_partition_of(caller, source.region.as_ref().ok().and_then(Option::as_deref));
    Ok(Observed {
        caller,
        source,
        destinations: destinations.iter().map(|d| d.name.clone()).zip(read_destinations).collect(),
        configuration,
        unknown_elements: Vec::new(),
        role: role_read,
        former_roles: former_roles.into_iter().collect(),
        bucket_policies,
        keys: keys.into_iter().collect(),
        object_lock,
    })
}

/// The policies in which the operator has or is to have statements: those of destinations of other accounts that it
/// may act in, and of former ones. Former ones are gone with their buckets.
async fn bucket_policies(
    access: &ResourceClients,
    caller: &Caller,
    destinations: &[BucketRef],
    places: &[Read<Option<Location>>],
    former: &[BucketAddress],
) -> BTreeMap<String, Read<Option<Value>>> {
    let current = destinations.iter().zip(places).filter_map(|(bucket, place)| {
        let abroad = bucket.account_ref.is_some() && owner(caller, bucket) != caller.account;
        let location = place.as_ref().ok()?.as_ref()?;
        abroad.then(|| BucketAddress {
            name: bucket.name.clone(),
            region: location.region.clone(),
            account_id: owner(caller, bucket).to_owned(),
            account_ref: bucket.account_ref.clone(),
        })
    });
    let read = current.chain(former.iter().cloned()).map(|bucket| async move {
        let account_ref = bucket.account_ref.as_deref();
        let read = match access.reaches(account_ref) {
            true => read_bucket_policy(access.to(account_ref), &bucket).await,
            false => Err(out_of_reach(&bucket)),
        };
        (bucket.name, read)
    });
    join_all(read).await.into_iter().collect()
}

/// A former destination in an account under which the operator can do nothing any more.
fn out_of_reach(bucket: &BucketAddress) -> Failure {
    let account = bucket.account_ref.as_deref().unwrap_or_default();
    let detail = format!(
        "statements of ours are left in its policy, and the operator has no identity under AwsAccount {account}, which is gone or no longer trusts it"
    );
    Failure::new(FailureClass::Denied, "s3:GetBucketPolicy", &bucket.name, detail)
}

async fn read_bucket(
    aws: &AwsClient,
    caller: &Caller,
    bucket: &BucketRef,
    place: &Read<Option<Location>>,
    fresh: bool,
) -> ObservedBucket {
    let name = &bucket.name;
    let location = match place {
        Ok(Some(location)) => location,
        Ok(None) => {
            return ObservedBucket::unseen(Ok(None), missing(name));
        }
        Err(failure) => {
            return ObservedBucket::unseen(Err(failure.clone()), failure.clone());
        }
    };
    let Location { region, owner: asked } = location;
    let read = read_versioning(aws, name, region, owner(caller, bucket));
    let versioning = aws.buckets().versioning(name, fresh, read).await;
    let here = |versioning, owner_confirmed| ObservedBucket {
        region: Ok(Some(region.clone())),
        versioning,
        owner_confirmed,
    };
    let unknown = |failure: Failure| ObservedBucket::unseen(Err(failure.clone()), failure);
    // An answer to a call that named the owner confirms it.
    let Err(failure) = versioning else { return here(versioning, true) };
    match (failure.class, asked) {
        (FailureClass::NoSuchBucket, _) => {
            aws.buckets().forget(name).await;
            ObservedBucket::unseen(Ok(None), failure)
        }
        (FailureClass::WrongRegion, _) => {
            aws.buckets().forget(name).await;
            unknown(if bucket.region.is_some() { wrong_region_in_spec(failure, region) } else { failure })
        }
        // What was confirmed before holds no longer: the name may have passed to someone else.
        (FailureClass::Denied, OwnerCheck::NotChecked | OwnerCheck::Confirmed) => {
            let owner = match head(aws, region, name, Some(owner(caller, bucket))).await {
                Head::Found(_) => OwnerCheck::Confirmed,
                Head::Missing => return ObservedBucket::unseen(Ok(None), failure),
                Head::Elsewhere(_) | Head::Denied { .. } | Head::Failed(_) => {
                    let failure = denied_or_foreign(aws, region, name, failure.clone()).await;
                    if failure.class == FailureClass::WrongOwner {
                        return unknown(failure);
                    }
                    OwnerCheck::Denied
                }
            };
            aws.buckets().locate(name, Location { region: region.clone(), owner }).await;
            here(Err(failure), owner == OwnerCheck::Confirmed)
        }
        _ => here(Err(failure), false),
    }
}

fn wrong_region_in_spec(failure: Failure, told: &str) -> Failure {
    let place = if failure.detail.is_empty() { "the bucket is elsewhere" } else { &failure.detail };
    let detail = format!("{place}, and the spec says {told}; correct region or leave it out");
    Failure { class: FailureClass::Invalid, detail, ..failure }
}
