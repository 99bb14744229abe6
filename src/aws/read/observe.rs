//! Reads everything that a check compares, in parallel.
//!
//! In: the clients of a resource, and its [`ReadSet`]. Out: [`Observed`]; a read that failed is kept in it as its
//! failure. A check of a resource that was seen before is one round trip: versioning of each bucket, the replication
//! configuration, the role and its policy. Buckets whose Region is not known are located first.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::Value;

use crate::aws::account::cache::{Location, OwnerCheck};
use crate::aws::account::client::AwsClient;
use crate::aws::connector::ResourceClients;
use crate::aws::error::{HEAD_BUCKET, region_named_by};
use crate::aws::read::bucket_policy::{GET_BUCKET_POLICY, read_bucket_policy};
use crate::aws::read::calls::{
    DESCRIBE_KEY, HeldConfiguration, read_configuration, read_key, read_object_lock, read_role,
    read_role_policy, read_role_to_delete, read_versioning, with_policy,
};
use crate::aws::read::locate::{
    account_id, bucket_key, foreign, in_partition_of, known_location, locate, missing,
};
use crate::aws::read::owner::{BucketOwnership, ask_owner, head};
use crate::iam::arn::{region_of_arn, role_of_arn};
use crate::replication::observed::Read;
use crate::replication::{
    BucketAddress, BucketRef, Caller, Failure, FailureClass, Observed, ObservedBucket, ObservedKey,
    ObservedRole, ReadSet,
};

/// A bucket's location; `None`: there is no such bucket.
type Located = Read<Option<Location>>;

/// A role; `None`: there is no such role.
type RoleRead = Read<Option<ObservedRole>>;

/// Reads everything that there is to compare.
pub async fn observe(clients: &ResourceClients, read_set: &ReadSet) -> Observed {
    let caller = clients.source.caller();
    let located = locate_all(clients, &caller, read_set).await;
    let read = read_all(clients, &caller, read_set, &located).await;
    let former_roles = read_former_roles(&clients.source, read_set, &read.configuration).await;
    let region = read.source.region.as_ref().ok().and_then(Option::as_deref);
    let (configuration, unknown_elements) = match read.configuration {
        Ok(Some(held)) => (Ok(Some(held.configuration)), held.unknown_elements),
        Ok(None) => (Ok(None), BTreeSet::new()),
        Err(failure) => (Err(failure), BTreeSet::new()),
    };
    Observed {
        caller: in_partition_of(caller, region),
        source: read.source,
        destinations: read.destinations,
        configuration,
        unknown_elements,
        role: read.role,
        former_roles,
        bucket_policies: read.bucket_policies,
        keys: read.keys,
        object_lock: read.object_lock,
        unreached: BTreeMap::new(),
    }
}

/// The answers of the first round trip, which is left out when every bucket's Region is known.
struct LocatedBuckets {
    source: Located,
    /// In the order of the read set.
    destinations: Vec<Located>,
    /// The role, read along with the buckets' Regions: a role that does not exist has no policy to read.
    role: Option<RoleRead>,
}

impl LocatedBuckets {
    /// The Regions of the destinations.
    fn regions(&self) -> impl Iterator<Item = &str> {
        let located = self.destinations.iter().filter_map(|located| located.as_ref().ok()?.as_ref());
        located.map(|location| location.region.as_str())
    }
}

async fn locate_all(clients: &ResourceClients, caller: &Caller, read_set: &ReadSet) -> LocatedBuckets {
    let client = |bucket: &BucketRef| {
        clients.client(bucket.account_ref.as_deref(), HEAD_BUCKET, &bucket.name).cloned()
    };
    let buckets = std::iter::once(&read_set.source).chain(&read_set.destinations);
    let known = join_all(buckets.map(async |bucket| match client(bucket) {
        Ok(aws) => known_location(&aws, caller, bucket).await.is_some(),
        Err(_) => true,
    }))
    .await;
    let role = async {
        if known.into_iter().all(|known| known) {
            return None;
        }
        Some(read_role_alone(&clients.source, read_set).await)
    };
    let destinations = read_set.destinations.iter().map(async |bucket| {
        match bucket.is_in_another_partition(&read_set.source) {
            Some(why) => Err(Failure::new(FailureClass::Invalid, HEAD_BUCKET, &bucket.name, why)),
            None => locate(&client(bucket)?, caller, bucket).await,
        }
    });
    let source = locate(&clients.source, caller, &read_set.source);
    let (source, destinations, role) = futures::join!(source, join_all(destinations), role);
    LocatedBuckets { source, destinations, role }
}

/// The answers of the main round trip.
struct ReadAll {
    source: ObservedBucket,
    destinations: BTreeMap<String, ObservedBucket>,
    configuration: Read<Option<HeldConfiguration>>,
    role: RoleRead,
    object_lock: Read<Option<bool>>,
    bucket_policies: BTreeMap<String, Read<Option<Value>>>,
    keys: BTreeMap<String, Read<Option<ObservedKey>>>,
}

async fn read_all(
    clients: &ResourceClients,
    caller: &Caller,
    read_set: &ReadSet,
    located: &LocatedBuckets,
) -> ReadAll {
    let aws = &clients.source;
    let (source, destinations, configuration, role, object_lock, bucket_policies, keys) = futures::join!(
        read_bucket(aws, caller, &read_set.source, &located.source, read_set.fresh),
        read_destinations(clients, caller, read_set, located),
        read_configuration_of(aws, caller, read_set, located),
        read_role_and_policy(aws, read_set, located),
        read_object_lock_of(aws, caller, read_set, located),
        read_bucket_policies(clients, caller, read_set, located),
        read_keys(clients, read_set, located),
    );
    ReadAll { source, destinations, configuration, role, object_lock, bucket_policies, keys }
}

async fn read_destinations(
    clients: &ResourceClients,
    caller: &Caller,
    read_set: &ReadSet,
    located: &LocatedBuckets,
) -> BTreeMap<String, ObservedBucket> {
    let destinations = read_set.destinations.iter().zip(&located.destinations);
    let read = destinations.map(async |(bucket, location)| {
        let client = clients.client(bucket.account_ref.as_deref(), HEAD_BUCKET, &bucket.name);
        let observed = match client {
            Ok(aws) => read_bucket(aws, caller, bucket, location, read_set.fresh).await,
            Err(failure) => ObservedBucket::unseen(Err(failure.clone()), failure),
        };
        (bucket.name.clone(), observed)
    });
    join_all(read).await.into_iter().collect()
}

async fn read_configuration_of(
    aws: &AwsClient,
    caller: &Caller,
    read_set: &ReadSet,
    located: &LocatedBuckets,
) -> Read<Option<HeldConfiguration>> {
    let bucket = &read_set.source.name;
    match &located.source {
        Ok(Some(location)) => read_configuration(aws, caller, bucket, &location.region).await,
        Ok(None) => Err(missing(bucket)),
        Err(failure) => Err(failure.clone()),
    }
}

async fn read_role_and_policy(aws: &AwsClient, read_set: &ReadSet, located: &LocatedBuckets) -> RoleRead {
    let name = &read_set.role;
    match &located.role {
        Some(Ok(Some(role))) if read_set.role_policy => Ok(Some(with_policy(aws, role.clone()).await)),
        Some(read) => read.clone(),
        None if read_set.role_policy => {
            let (role, policy) = futures::join!(read_role(aws, name), read_role_policy(aws, name));
            role.map(|role| role.map(|role| ObservedRole { policy, ..role }))
        }
        None => read_role_alone(aws, read_set).await,
    }
}

/// The role without its policy. Resources share the read of a role that none of them writes.
async fn read_role_alone(aws: &AwsClient, read_set: &ReadSet) -> RoleRead {
    let read = read_role(aws, &read_set.role);
    if read_set.role_policy {
        read.await
    } else {
        aws.roles().role(&read_set.role, read_set.fresh, read).await
    }
}

/// Whether the source has Object Lock; read only for a managed role, which needs more rights then.
async fn read_object_lock_of(
    aws: &AwsClient,
    caller: &Caller,
    read_set: &ReadSet,
    located: &LocatedBuckets,
) -> Read<Option<bool>> {
    let bucket = &read_set.source.name;
    match &located.source {
        Ok(Some(Location { region, .. })) if read_set.role_policy => {
            let read = read_object_lock(aws, bucket, region, &caller.account);
            let key = bucket_key(caller, &read_set.source);
            aws.buckets().object_lock(&key, read_set.fresh, read).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// The keys of replicas. A key cannot encrypt replicas in a Region without a destination, and is not read: ARNs in
/// specs may name any Region.
async fn read_keys(
    clients: &ResourceClients,
    read_set: &ReadSet,
    located: &LocatedBuckets,
) -> BTreeMap<String, Read<Option<ObservedKey>>> {
    let regions: BTreeSet<&str> = located.regions().collect();
    let keys = read_set.keys.iter().filter_map(|(arn, account_ref)| {
        let region = region_of_arn(arn).filter(|region| regions.contains(region))?;
        Some((arn, region, account_ref))
    });
    let read = keys.map(async |(arn, region, account_ref)| {
        let held = match clients.client(account_ref.as_deref(), DESCRIBE_KEY, arn) {
            Ok(aws) => aws.keys().key(arn, read_set.fresh, read_key(aws, region, arn)).await,
            Err(failure) => Err(failure),
        };
        (arn.clone(), held)
    });
    join_all(read).await.into_iter().collect()
}

/// The bucket policies that hold statements of the operator, or that are to: those of destinations in other accounts
/// that it acts in, and of former destinations, which are gone with their buckets.
async fn read_bucket_policies(
    clients: &ResourceClients,
    caller: &Caller,
    read_set: &ReadSet,
    located: &LocatedBuckets,
) -> BTreeMap<String, Read<Option<Value>>> {
    let destinations = read_set.destinations.iter().zip(&located.destinations);
    let current = destinations.filter_map(|(bucket, location)| {
        let held_by = account_id(caller, bucket);
        let abroad = bucket.account_ref.is_some() && held_by != caller.account;
        let location = location.as_ref().ok()?.as_ref()?;
        abroad.then(|| BucketAddress {
            name: bucket.name.clone(),
            region: location.region.clone(),
            account_id: held_by.to_owned(),
            account_ref: bucket.account_ref.clone(),
        })
    });
    let read = current.chain(read_set.former_destinations.iter().cloned()).map(async |bucket| {
        let client = clients.client(bucket.account_ref.as_deref(), GET_BUCKET_POLICY, &bucket.name);
        let policy = match client {
            Ok(aws) => read_bucket_policy(aws, &bucket).await,
            Err(failure) => Err(statements_left(failure)),
        };
        (bucket.name, policy)
    });
    join_all(read).await.into_iter().collect()
}

/// The failure to reach a bucket policy that still holds statements of the operator.
fn statements_left(failure: Failure) -> Failure {
    let detail = format!("its policy still holds statements of this resource, and {}", failure.detail);
    Failure { detail, ..failure }
}

/// The roles that may have been this resource's before: those in the read set, and the one in the configuration.
async fn read_former_roles(
    aws: &AwsClient,
    read_set: &ReadSet,
    configuration: &Read<Option<HeldConfiguration>>,
) -> BTreeMap<String, RoleRead> {
    let configured = configuration
        .as_ref()
        .ok()
        .and_then(Option::as_ref)
        .map(|held| role_of_arn(&held.configuration.role).to_owned());
    let names = read_set.former_roles.iter().cloned().chain(configured);
    let names: BTreeSet<String> = names.filter(|name| *name != read_set.role && !name.is_empty()).collect();
    let read = names.into_iter().map(async |name| {
        let role = read_role_to_delete(aws, &name, &read_set.id).await;
        (name, role)
    });
    join_all(read).await.into_iter().collect()
}

/// A bucket's versioning, and whether S3 confirms its owner: an answer to a call that named the owner does.
async fn read_bucket(
    aws: &AwsClient,
    caller: &Caller,
    bucket: &BucketRef,
    located: &Located,
    fresh: bool,
) -> ObservedBucket {
    let name = &bucket.name;
    let Location { region, owner_check } = match located {
        Ok(Some(location)) => location,
        Ok(None) => return ObservedBucket::unseen(Ok(None), missing(name)),
        Err(failure) => return ObservedBucket::unseen(Err(failure.clone()), failure.clone()),
    };
    let expected = account_id(caller, bucket);
    let read = read_versioning(aws, name, region, expected);
    let key = bucket_key(caller, bucket);
    let versioning = aws.buckets().versioning(&key, fresh, read).await;
    let found = |versioning, owner_confirmed| ObservedBucket {
        region: Ok(Some(region.clone())),
        versioning,
        owner_confirmed,
    };
    let unseen = |failure: Failure| ObservedBucket::unseen(Err(failure.clone()), failure);
    let Err(failure) = versioning else { return found(versioning, true) };
    match (failure.class, owner_check) {
        (FailureClass::NoSuchBucket, _) => {
            aws.buckets().forget(&key).await;
            ObservedBucket::unseen(Ok(None), failure)
        }
        (FailureClass::WrongRegion, _) => {
            aws.buckets().forget(&key).await;
            if let Some(named) = region_named_by(&failure) {
                aws.buckets().contradict(key, region, named).await;
            }
            unseen(if bucket.region.is_some() { wrong_region_in_spec(failure, region) } else { failure })
        }
        (FailureClass::Denied, OwnerCheck::Denied) if !aws.buckets().asks_owner_again(&key, fresh).await => {
            found(Err(failure), false)
        }
        // An earlier confirmation holds no longer: the name may have passed to another account. An earlier denial may
        // not either: the right may have been granted.
        (FailureClass::Denied, _) => {
            let answer = head(aws, region, name, Some(expected)).await;
            let owner_check = match ask_owner(aws, region, name, &answer).await {
                BucketOwnership::Confirmed => OwnerCheck::Confirmed,
                BucketOwnership::Unknown => OwnerCheck::Denied,
                BucketOwnership::Missing => return ObservedBucket::unseen(Ok(None), failure),
                BucketOwnership::Foreign => return unseen(foreign(failure)),
            };
            aws.buckets().set_location(key, Location { region: region.clone(), owner_check });
            found(Err(failure), owner_check == OwnerCheck::Confirmed)
        }
        _ => found(Err(failure), false),
    }
}

fn wrong_region_in_spec(failure: Failure, region: &str) -> Failure {
    let found = if failure.detail.is_empty() { "the bucket is elsewhere" } else { &failure.detail };
    let detail = format!("{found}, and the spec says {region}; correct region or leave it out");
    Failure { class: FailureClass::Invalid, detail, ..failure }
}
