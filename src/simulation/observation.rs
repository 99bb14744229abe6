//! The reads of a check and of a deletion on a simulated AWS.
//!
//! In: a state of AWS, the clients of a resource, and what to read. Out: what AWS shows them, with a failure for each part
//! that it does not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::iam::arn::{region_of_arn, role_of_arn};
use crate::replication::observed::Read;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::{
    BucketAddress, BucketRef, Configuration, DeletionReadSet, Failure, FailureClass, Observed,
    ObservedBucket, ObservedKey, ObservedRole, ReadSet, ResourceId,
};
use crate::simulation::clients::SimulatedClients;
use crate::simulation::world::{World, access_denied, fail};

/// The reads of one check, all from one state.
pub(super) struct Observation<'a> {
    pub(super) world: &'a World,
    pub(super) clients: &'a SimulatedClients,
}

impl Observation<'_> {
    pub(super) fn all(&self, read_set: &ReadSet) -> Observed {
        let source = &read_set.source;
        let configuration = self.configuration(source).1;
        let named = configuration.as_ref().ok().and_then(Option::as_ref);
        let named = named.map(|held| role_of_arn(&held.role).to_owned());
        let former: BTreeSet<String> = read_set.former_roles.iter().cloned().chain(named).collect();
        let former = former.into_iter().filter(|name| *name != read_set.role && !name.is_empty());
        let destinations = read_set.destinations.iter();
        Observed {
            caller: self.clients.caller(),
            source: self.bucket(source),
            destinations: destinations.map(|d| (d.name.clone(), self.bucket(d))).collect(),
            configuration,
            role: self.role(&read_set.role, read_set.role_policy),
            former_roles: former
                .map(|name| (name.clone(), self.role_to_delete(&name, &read_set.id)))
                .collect(),
            bucket_policies: self.bucket_policies(read_set),
            keys: self.keys(read_set),
            object_lock: if read_set.role_policy { self.has_object_lock(source).map(Some) } else { Ok(None) },
            unknown_elements: BTreeSet::new(),
            unreached: BTreeMap::new(),
        }
    }

    pub(super) fn for_deletion(&self, read_set: &DeletionReadSet) -> ObservedForDeletion {
        let (region, configuration) = match &read_set.source {
            Some(source) => match self.configuration(source) {
                (_, Err(failure)) if failure.class == FailureClass::NoSuchBucket => (None, Ok(None)),
                found => found,
            },
            None => (None, Ok(None)),
        };
        let named = configuration.as_ref().ok().and_then(Option::as_ref);
        let named = named.map(|held| role_of_arn(&held.role).to_owned());
        let names: BTreeSet<String> = read_set.roles.iter().cloned().chain(named).collect();
        let policies = read_set.bucket_policies.iter().map(|bucket| {
            let read = match self.bucket_policy(bucket) {
                Err(failure) if failure.class == FailureClass::NoSuchBucket => Ok(None),
                read => read,
            };
            (bucket.clone(), read)
        });
        ObservedForDeletion {
            bucket: read_set.source.as_ref().map(|source| source.name.clone()).unwrap_or_default(),
            caller: self.clients.caller(),
            region,
            configuration,
            roles: names
                .into_iter()
                .map(|name| (name.clone(), self.role_to_delete(&name, &read_set.id)))
                .collect(),
            bucket_policies: policies.collect(),
        }
    }

    /// The id of the account that must own a bucket.
    fn account_id<'b>(&'b self, bucket: &'b BucketRef) -> &'b str {
        bucket.account_id.as_deref().unwrap_or(&self.clients.source)
    }

    fn bucket(&self, bucket: &BucketRef) -> ObservedBucket {
        let action = "s3:GetBucketVersioning";
        let denied = access_denied(action, &bucket.name);
        let Some(caller) = self.clients.to(bucket.account_ref.as_deref()) else {
            return ObservedBucket::unseen(Err(denied.clone()), denied);
        };
        let Some(held) = self.world.buckets.get(&bucket.name) else {
            let code = ("NoSuchBucket", "The specified bucket does not exist");
            return ObservedBucket::unseen(
                Ok(None),
                fail(FailureClass::NoSuchBucket, action, &bucket.name, code),
            );
        };
        // S3 names the Region even to those it denies.
        let here = |versioning, owner_confirmed| ObservedBucket {
            region: Ok(Some(held.region.clone())),
            versioning,
            owner_confirmed,
        };
        match &bucket.region {
            _ if caller != held.account_id => here(Err(denied), false),
            _ if self.account_id(bucket) != held.account_id => {
                let failure = Failure { class: FailureClass::WrongOwner, ..denied };
                ObservedBucket::unseen(Err(failure.clone()), failure)
            }
            Some(named) if *named != held.region => {
                let code = ("PermanentRedirect", "the bucket is elsewhere, and the spec names its Region");
                let failure = fail(FailureClass::Invalid, action, &bucket.name, code);
                ObservedBucket::unseen(Err(failure.clone()), failure)
            }
            _ => match self.world.require_readable(action, &bucket.name) {
                Ok(()) => here(Ok(held.observed_versioning()), true),
                // HeadBucket confirms the owner where it is allowed.
                Err(failure) if failure.class != FailureClass::Denied => here(Err(failure), false),
                Err(denied) => {
                    here(Err(denied), self.world.require_readable("s3:ListBucket", &bucket.name).is_ok())
                }
            },
        }
    }

    /// The Region of the source and its configuration.
    fn configuration(&self, source: &BucketRef) -> (Option<String>, Read<Option<Configuration>>) {
        let action = "s3:GetReplicationConfiguration";
        match self.world.buckets.get(&source.name) {
            None => {
                let code = ("NoSuchBucket", "The specified bucket does not exist");
                (None, Err(fail(FailureClass::NoSuchBucket, action, &source.name, code)))
            }
            Some(held) if held.account_id != self.clients.source => {
                (Some(held.region.clone()), Err(access_denied(action, &source.name)))
            }
            Some(held) => {
                let readable = self.world.require_readable(action, &source.name);
                (Some(held.region.clone()), readable.map(|()| held.configuration.clone()))
            }
        }
    }

    /// The keys of Regions that a destination is in: no others are read.
    fn keys(&self, read_set: &ReadSet) -> BTreeMap<String, Read<Option<ObservedKey>>> {
        let destinations = read_set.destinations.iter();
        let regions: BTreeSet<&str> = destinations
            .filter_map(|bucket| match &bucket.region {
                Some(region) => Some(region.as_str()),
                None => self.seen_region(bucket),
            })
            .collect();
        let read = read_set
            .keys
            .iter()
            .filter(|(arn, _)| region_of_arn(arn).is_some_and(|region| regions.contains(region)));
        let key = |arn: &String| {
            self.world.require_readable("kms:DescribeKey", arn).map(|()| self.world.observed_key(arn))
        };
        read.map(|(arn, _)| (arn.clone(), key(arn))).collect()
    }

    /// The Region of a bucket, as far as S3 reports it: not to an account under which there is no client, and not of a
    /// bucket that answers only where another owner is expected.
    fn seen_region(&self, bucket: &BucketRef) -> Option<&str> {
        let held = self.world.buckets.get(&bucket.name)?;
        let caller = self.clients.to(bucket.account_ref.as_deref())?;
        let foreign = caller == held.account_id && self.account_id(bucket) != held.account_id;
        (!foreign).then_some(held.region.as_str())
    }

    fn has_object_lock(&self, source: &BucketRef) -> Read<bool> {
        self.world.require_readable("s3:GetBucketObjectLockConfiguration", &source.name)?;
        let held = self.world.buckets.get(&source.name);
        Ok(held.is_some_and(|held| held.object_lock && held.account_id == self.clients.source))
    }

    fn bucket_policies(&self, read_set: &ReadSet) -> BTreeMap<String, Read<Option<Value>>> {
        let current = read_set.destinations.iter().filter_map(|bucket| {
            let abroad = bucket.account_ref.is_some() && self.account_id(bucket) != self.clients.source;
            self.clients.to(bucket.account_ref.as_deref()).filter(|_| abroad)?;
            let region = bucket.region.as_deref().or_else(|| self.seen_region(bucket))?;
            Some(BucketAddress {
                name: bucket.name.clone(),
                region: region.to_owned(),
                account_id: self.account_id(bucket).to_owned(),
                account_ref: bucket.account_ref.clone(),
            })
        });
        let former = read_set.former_destinations.iter().cloned();
        current.chain(former).map(|bucket| (bucket.name.clone(), self.bucket_policy(&bucket))).collect()
    }

    fn bucket_policy(&self, bucket: &BucketAddress) -> Read<Option<Value>> {
        let action = "s3:GetBucketPolicy";
        let caller = self.clients.require(bucket.account_ref.as_deref(), action, &bucket.name)?;
        self.world.bucket_policy(caller, bucket)
    }

    fn role(&self, name: &str, with_policy: bool) -> Read<Option<ObservedRole>> {
        self.world.require_readable("iam:GetRole", name)?;
        Ok(self.world.observed_role(&self.clients.source, name, with_policy))
    }

    /// A role with everything that stands against its deletion; only for the resource's own role is that read.
    fn role_to_delete(&self, name: &str, id: &ResourceId) -> Read<Option<ObservedRole>> {
        let Some(role) = self.role(name, false)? else { return Ok(None) };
        if !id.owns(&role.tags) {
            return Ok(Some(role));
        }
        let held = self.world.role(&self.clients.source, name);
        Ok(held.map(|held| ObservedRole {
            policy: Ok(held.policy.as_ref().map(|_| Value::Null)),
            other_policies: held.other_policies.clone(),
            ..role
        }))
    }
}
