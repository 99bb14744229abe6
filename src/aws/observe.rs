//! The reads, in parallel → what the domain compares with.
//!
//! A check of a resource that was seen before is one round trip: versioning of each bucket, the replication
//! configuration, the role and its policy. Before that, buckets are located once.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_s3::types::{ExistingObjectReplicationStatus, ReplicationConfiguration, ReplicationRule};
use futures::future::{join_all, try_join_all};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::cache::{Location, Owner};
use super::clients::Aws;
use super::convert::from_sdk;
use super::error::bucket_region;
use super::limits::Lane;
use crate::replication::observed::Read;
use crate::replication::partition::role_of_arn;
use crate::replication::step::ROLE_POLICY_NAME;
use crate::replication::teardown::Remains;
use crate::replication::{
    BucketRef, Caller, Configuration, Failure, FailureClass, Identity, Observed, ObservedBucket,
    ObservedRole, Partition, Subject, Versioning, VersioningStatus,
};

/// Reads all there is to compare.
///
/// # Errors
/// When not even the operator's own identity can be told. Every other failure is kept beside what could be read.
pub async fn observe(aws: &Aws, subject: &Subject) -> Result<Observed, Failure> {
    let caller = aws.caller().await?;
    let Subject { source, destinations, role, role_policy, former_roles, identity, fresh } = subject;

    let buckets: Vec<&BucketRef> = std::iter::once(source).chain(destinations).collect();
    let known = join_all(buckets.iter().map(|b| known_location(aws, b))).await;
    let (located, early_role) = if known.iter().all(Option::is_some) {
        (known.into_iter().map(Ok).collect::<Vec<Read<Option<Location>>>>(), None)
    } else {
        // A role that does not exist yet has no policy to ask for in the next round.
        let locate_all = join_all(buckets.iter().map(|b| locate(aws, &caller, b)));
        let (located, role) = futures::join!(locate_all, read_role(aws, role));
        (located, Some(role))
    };
    let places: Vec<(&BucketRef, Read<Option<Location>>)> = buckets.into_iter().zip(located).collect();

    let reads = join_all(places.iter().map(|(b, place)| read_bucket(aws, &caller, b, place, *fresh)));
    let configuration = async {
        match places.first() {
            Some((b, Ok(Some(location)))) => {
                read_configuration(aws, &caller, &b.bucket, &location.region).await
            }
            Some((_, Err(failure))) => Err(failure.clone()),
            Some((b, Ok(None))) => Err(missing(&b.bucket)),
            None => Ok(None),
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
    let (mut observed_buckets, configuration, role_read) =
        futures::join!(reads, configuration, role_and_policy);

    let named = configuration.as_ref().ok().and_then(Option::as_ref).map(|c| role_of_arn(&c.role).to_owned());
    let former = former_roles.iter().cloned().chain(named);
    let former: BTreeSet<String> = former.filter(|name| name != role && !name.is_empty()).collect();
    let read_former = |name: String| async {
        let read = read_role_to_delete(aws, &name, identity).await;
        (name, read)
    };
    let former_roles = join_all(former.into_iter().map(read_former)).await;

    let source = observed_buckets.remove(0);
    let caller = in_partition_of(caller, source.region.as_ref().ok().and_then(Option::as_deref));
    let destinations: BTreeMap<String, ObservedBucket> =
        destinations.iter().map(|d| d.bucket.clone()).zip(observed_buckets).collect();
    Ok(Observed {
        caller,
        source,
        destinations,
        configuration,
        role: role_read,
        former_roles: former_roles.into_iter().collect(),
    })
}

/// Reads what deletion may have to remove.
///
/// # Errors
/// When not even the operator's own identity can be told.
pub async fn remains(
    aws: &Aws,
    source: Option<&BucketRef>,
    roles: &BTreeSet<String>,
    identity: &Identity,
) -> Result<Remains, Failure> {
    let caller = aws.caller().await?;
    let configuration = async {
        let Some(source) = source else {
            return (None, Ok(None));
        };
        let place = match known_location(aws, source).await {
            Some(place) => Ok(Some(place)),
            None => locate(aws, &caller, source).await,
        };
        match place {
            Ok(Some(Location { region, .. })) => {
                let read = read_configuration(aws, &caller, &source.bucket, &region).await;
                match read {
                    // The bucket went after its Region was remembered.
                    Err(failure) if failure.class == FailureClass::NoSuchBucket => (None, Ok(None)),
                    read => (Some(region), read),
                }
            }
            Ok(None) => (None, Ok(None)),
            Err(failure) => (None, Err(failure)),
        }
    };
    let (region, configuration): (Option<String>, Read<Option<Configuration>>) = configuration.await;
    let named = configuration.as_ref().ok().and_then(Option::as_ref).map(|c| role_of_arn(&c.role).to_owned());
    let names: BTreeSet<String> = roles.iter().cloned().chain(named).collect();
    let roles = try_join_all(names.iter().map(|name| read_role_to_delete(aws, name, identity))).await;
    let caller = in_partition_of(caller, region.as_deref());
    Ok(Remains {
        bucket: source.map(|s| s.bucket.clone()).unwrap_or_default(),
        caller,
        region,
        configuration,
        roles: roles.map(|roles| roles.into_iter().flatten().collect()),
    })
}

/// A configuration as `import` takes it.
#[derive(Clone, Debug)]
pub struct Importable {
    pub region: String,
    pub configuration: Configuration,
    /// IDs of rules with `ExistingObjectReplication`, which S3 no longer accepts and the domain does not know.
    pub existing_objects: Vec<String>,
}

/// The replication configuration of a bucket; `None` where there is none, or no bucket.
///
/// # Errors
/// What AWS answered, classified.
pub async fn importable(aws: &Aws, bucket: &str) -> Read<Option<Importable>> {
    let caller = aws.caller().await?;
    let source = BucketRef { bucket: bucket.to_owned(), region: None, account: None };
    let Some(Location { region, .. }) = locate(aws, &caller, &source).await? else {
        return Err(missing(bucket));
    };
    let Some(held) = read_raw_configuration(aws, &caller, bucket, &region).await? else { return Ok(None) };
    let with_existing = |rule: &&ReplicationRule| {
        rule.existing_object_replication()
            .is_some_and(|e| e.status() == &ExistingObjectReplicationStatus::Enabled)
    };
    let existing = held.rules().iter().filter(with_existing);
    Ok(Some(Importable {
        region,
        existing_objects: existing.filter_map(|r| r.id().map(str::to_owned)).collect(),
        configuration: from_sdk(&held),
    }))
}

/// The names of the account's own buckets.
///
/// # Errors
/// What AWS answered, classified.
pub async fn buckets(aws: &Aws) -> Read<Vec<String>> {
    let mut names = Vec::new();
    let mut from = None;
    loop {
        let request = aws.s3(aws.home()).list_buckets().set_continuation_token(from);
        let page = aws.call(Lane::S3Read, "s3:ListAllMyBuckets", "the account", request.send()).await?;
        names.extend(page.buckets().iter().filter_map(|b| b.name().map(str::to_owned)));
        from = page.continuation_token().map(str::to_owned);
        if from.is_none() {
            return Ok(names);
        }
    }
}

/// The source's Region tells the partition: the Region of the environment may be unset.
fn in_partition_of(caller: Caller, region: Option<&str>) -> Caller {
    let partition = region.map_or(caller.partition, Partition::of_region);
    Caller { partition, ..caller }
}

/// Where a bucket is as far as that is known without asking: from before, or from the spec.
async fn known_location(aws: &Aws, bucket: &BucketRef) -> Option<Location> {
    let known = aws.buckets.location(&bucket.bucket).await;
    let told = || bucket.region.clone().map(|region| Location { region, owner: Owner::Unasked });
    known.or_else(told)
}

fn owner<'a>(caller: &'a Caller, bucket: &'a BucketRef) -> &'a str {
    bucket.account.as_deref().unwrap_or(&caller.account)
}

/// Asks where a bucket is. `None`: nowhere.
async fn locate(aws: &Aws, caller: &Caller, bucket: &BucketRef) -> Read<Option<Location>> {
    let name = &bucket.bucket;
    if let Some(known) = known_location(aws, bucket).await {
        return Ok(Some(known));
    }
    let location = match head(aws, aws.home(), name, Some(owner(caller, bucket))).await {
        Head::Found(region) => Location { region, owner: Owner::Confirmed },
        Head::Elsewhere(region) => Location { region, owner: Owner::Unasked },
        Head::Missing => return Ok(None),
        Head::Denied { failure, region } => {
            match (denied_or_foreign(aws, aws.home(), name, failure).await, region) {
                (denied, Some(region)) if denied.class == FailureClass::Denied => {
                    Location { region, owner: Owner::Untold }
                }
                (failure, _) => return Err(failure),
            }
        }
        Head::Failed(failure) => return Err(failure),
    };
    aws.buckets.locate(name, location.clone()).await;
    Ok(Some(location))
}

enum Head {
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

async fn head(aws: &Aws, region: &str, bucket: &str, owner: Option<&str>) -> Head {
    let action = "s3:ListBucket";
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
async fn denied_or_foreign(aws: &Aws, region: &str, bucket: &str, failure: Failure) -> Failure {
    match head(aws, region, bucket, None).await {
        Head::Found(_) | Head::Elsewhere(_) => Failure { class: FailureClass::WrongOwner, ..failure },
        Head::Missing | Head::Denied { .. } | Head::Failed(_) => failure,
    }
}

fn missing(bucket: &str) -> Failure {
    Failure {
        class: FailureClass::NoSuchBucket,
        action: "s3:ListBucket".into(),
        subject: bucket.to_owned(),
        code: "NoSuchBucket".to_owned(),
        detail: "The specified bucket does not exist".to_owned(),
    }
}

async fn read_bucket(
    aws: &Aws,
    caller: &Caller,
    bucket: &BucketRef,
    place: &Read<Option<Location>>,
    fresh: bool,
) -> ObservedBucket {
    let name = &bucket.bucket;
    let location = match place {
        Ok(Some(location)) => location,
        Ok(None) => {
            return ObservedBucket { region: Ok(None), versioning: Err(missing(name)) };
        }
        Err(failure) => {
            return ObservedBucket { region: Err(failure.clone()), versioning: Err(failure.clone()) };
        }
    };
    let Location { region, owner: asked } = location;
    let read = read_versioning(aws, name, region, owner(caller, bucket));
    let versioning = aws.buckets.versioning(name, fresh, read).await;
    let here = |versioning| ObservedBucket { region: Ok(Some(region.clone())), versioning };
    let unknown =
        |failure: Failure| ObservedBucket { region: Err(failure.clone()), versioning: Err(failure) };
    let Err(failure) = versioning else { return here(versioning) };
    match (failure.class, asked) {
        (FailureClass::NoSuchBucket, _) => {
            aws.buckets.forget(name).await;
            ObservedBucket { region: Ok(None), versioning: Err(failure) }
        }
        (FailureClass::WrongRegion, _) => {
            aws.buckets.forget(name).await;
            unknown(if bucket.region.is_some() { wrong_region_in_spec(failure, region) } else { failure })
        }
        (FailureClass::Denied, Owner::Unasked) => {
            let owner = match head(aws, region, name, Some(owner(caller, bucket))).await {
                Head::Found(_) => Owner::Confirmed,
                Head::Missing => return ObservedBucket { region: Ok(None), versioning: Err(failure) },
                Head::Elsewhere(_) | Head::Denied { .. } | Head::Failed(_) => {
                    let failure = denied_or_foreign(aws, region, name, failure.clone()).await;
                    if failure.class == FailureClass::WrongOwner {
                        return unknown(failure);
                    }
                    Owner::Untold
                }
            };
            aws.buckets.locate(name, Location { region: region.clone(), owner }).await;
            here(Err(failure))
        }
        (FailureClass::Denied, Owner::Confirmed) => {
            // The name may have passed to someone else: the next check asks for the owner again.
            aws.buckets.forget(name).await;
            here(Err(failure))
        }
        _ => here(Err(failure)),
    }
}

fn wrong_region_in_spec(failure: Failure, told: &str) -> Failure {
    let detail = format!("{}, and the spec says {told}; correct region or leave it out", failure.detail);
    Failure { class: FailureClass::Invalid, detail, ..failure }
}

async fn read_versioning(aws: &Aws, bucket: &str, region: &str, owner: &str) -> Read<Versioning> {
    let request = aws.s3(region).get_bucket_versioning().bucket(bucket).expected_bucket_owner(owner);
    let answer = aws.call(Lane::S3Read, "s3:GetBucketVersioning", bucket, request.send()).await?;
    let status = match answer.status().map(|s| s.as_str()) {
        Some("Enabled") => VersioningStatus::Enabled,
        Some("Suspended") => VersioningStatus::Suspended,
        _ => VersioningStatus::Disabled,
    };
    let mfa_delete = answer.mfa_delete().is_some_and(|m| m.as_str() == "Enabled");
    Ok(Versioning { status, mfa_delete })
}

async fn read_configuration(
    aws: &Aws,
    caller: &Caller,
    bucket: &str,
    region: &str,
) -> Read<Option<Configuration>> {
    let held = read_raw_configuration(aws, caller, bucket, region).await?;
    Ok(held.as_ref().map(from_sdk))
}

async fn read_raw_configuration(
    aws: &Aws,
    caller: &Caller,
    bucket: &str,
    region: &str,
) -> Read<Option<ReplicationConfiguration>> {
    let request =
        aws.s3(region).get_bucket_replication().bucket(bucket).expected_bucket_owner(&caller.account);
    match aws.call(Lane::S3Read, "s3:GetReplicationConfiguration", bucket, request.send()).await {
        Ok(answer) => Ok(answer.replication_configuration),
        Err(failure) if failure.code == "ReplicationConfigurationNotFoundError" => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn read_role(aws: &Aws, name: &str) -> Read<Option<ObservedRole>> {
    let request = aws.iam().get_role().role_name(name);
    let answer = match aws.call(Lane::IamRead, "iam:GetRole", name, request.send()).await {
        Ok(answer) => answer,
        Err(failure) if failure.class == FailureClass::NoSuchRole => return Ok(None),
        Err(failure) => return Err(failure),
    };
    Ok(answer.role().map(|role| ObservedRole {
        arn: role.arn().to_owned(),
        name: role.role_name().to_owned(),
        path: role.path().to_owned(),
        trust: role.assume_role_policy_document().map(document).unwrap_or_default(),
        permissions_boundary: role
            .permissions_boundary()
            .and_then(|b| b.permissions_boundary_arn())
            .map(str::to_owned),
        tags: role
            .tags()
            .iter()
            .filter(|tag| !tag.key().starts_with("aws:"))
            .map(|tag| (tag.key().to_owned(), tag.value().to_owned()))
            .collect(),
        policy: Ok(None),
        other_policies: Vec::new(),
    }))
}

async fn with_policy(aws: &Aws, role: ObservedRole) -> ObservedRole {
    let policy = read_role_policy(aws, &role.name).await;
    ObservedRole { policy, ..role }
}

async fn read_role_policy(aws: &Aws, role: &str) -> Read<Option<Value>> {
    let request = aws.iam().get_role_policy().role_name(role).policy_name(ROLE_POLICY_NAME);
    match aws.call(Lane::IamRead, "iam:GetRolePolicy", role, request.send()).await {
        Ok(answer) => Ok(Some(document(answer.policy_document()))),
        Err(failure) if failure.class == FailureClass::NoSuchRole => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// A role with everything that stands against its deletion; only of ours is that asked.
async fn read_role_to_delete(aws: &Aws, name: &str, identity: &Identity) -> Read<Option<ObservedRole>> {
    let Some(role) = read_role(aws, name).await? else {
        return Ok(None);
    };
    if !identity.owns(&role.tags) {
        return Ok(Some(role));
    }
    let inline = aws.iam().list_role_policies().role_name(name);
    let attached = aws.iam().list_attached_role_policies().role_name(name);
    let (inline, attached) = futures::join!(
        aws.call(Lane::IamRead, "iam:ListRolePolicies", name, inline.send()),
        aws.call(Lane::IamRead, "iam:ListAttachedRolePolicies", name, attached.send()),
    );
    let (inline, attached) = (inline?, attached?);
    let (ours, others): (Vec<String>, Vec<String>) =
        inline.policy_names().iter().cloned().partition(|policy| policy == ROLE_POLICY_NAME);
    let attached = attached.attached_policies().iter().filter_map(|p| p.policy_arn().map(str::to_owned));
    Ok(Some(ObservedRole {
        policy: Ok(ours.first().map(|_| Value::Null)),
        other_policies: others.into_iter().chain(attached).collect(),
        ..role
    }))
}

/// IAM returns policy documents percent-encoded (RFC 3986).
fn document(encoded: &str) -> Value {
    let text = percent_decode_str(encoded).decode_utf8_lossy();
    serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
}
