//! Reads what deletion needs to know from an object that may not be decodable.
//!
//! In: the object as the API server holds it. Out: its policies, of which `deletionPolicy` and `managementPolicy` may
//! leave AWS as it is, and every bucket, role and account that may hold something of the resource.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{
    AdoptionPolicy, BucketReplication, BucketReplicationStatus, DeletionPolicy, ManagementPolicy,
};
use crate::iam::arn::role_of_arn;
use crate::replication::health::canary::{CanaryPlace, place};
use crate::replication::readable_status::read_status;
use crate::replication::resource::{left_traces, remembered_roles, role_name};
use crate::replication::{BucketAddress, BucketRef, Desired, ResourceId};

/// An object that is being deleted.
pub struct DeletionView {
    spec: Value,
    pub status: BucketReplicationStatus,
    /// `None`: it cannot be decoded.
    pub resource: Option<BucketReplication>,
}

impl DeletionView {
    pub fn read(mut object: DynamicObject) -> DeletionView {
        let part = |key: &str| object.data.get(key).cloned().unwrap_or_default();
        let spec = part("spec");
        let (status, unreadable) = read_status(&spec, &part("status"));
        // A status that cannot be read hides nothing of the spec.
        if !unreadable.is_empty()
            && let Some(fields) = object.data.as_object_mut()
        {
            fields.insert("status".to_owned(), json!(status));
        }
        DeletionView { spec, status, resource: object.try_parse().ok() }
    }

    /// A field of the spec with a default; `None` when its value cannot be decoded.
    fn policy<T: for<'de> Deserialize<'de> + Default>(&self, field: &str) -> Option<T> {
        match self.spec.get(field) {
            None | Some(Value::Null) => Some(T::default()),
            Some(value) => serde_json::from_value(value.clone()).ok(),
        }
    }

    /// The adoption policy. One that cannot be decoded lets the resource take over nothing.
    pub fn adoption(&self) -> AdoptionPolicy {
        self.policy("adoptionPolicy").unwrap_or_default()
    }

    fn text(&self, pointer: &str) -> Option<String> {
        self.spec.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
    }

    /// Whether AWS is left as it is. A policy that cannot be decoded permits no deletion.
    pub fn leaves_aws_alone(&self) -> bool {
        self.policy("deletionPolicy") != Some(DeletionPolicy::Delete)
            || self.policy("managementPolicy") != Some(ManagementPolicy::Enforce)
    }

    /// Whether canaries are left alone too: they are nothing that the spec asks to keep.
    pub fn leaves_canaries_alone(&self) -> bool {
        self.policy("managementPolicy") != Some(ManagementPolicy::Enforce)
    }

    /// Where canaries of the resource may be. `uid`: the resource's.
    pub fn canary_places(&self, uid: &str) -> BTreeSet<CanaryPlace> {
        place::remembered(&self.status.canary_places, uid)
    }

    /// The name of the source bucket. It is immutable in the spec, and any writer of the status could name
    /// another one there.
    pub fn bucket(&self) -> Option<String> {
        self.text("/source/bucket").or_else(|| self.status.source.as_ref().map(|seen| seen.bucket.clone()))
    }

    pub fn source(&self) -> Option<BucketRef> {
        let bucket = self.bucket()?;
        let seen = self.status.source.as_ref().filter(|seen| seen.bucket == bucket);
        let last_seen = seen.and_then(|seen| seen.region.clone()).or_else(|| self.text("/source/region"));
        Some(BucketRef { last_seen, ..BucketRef::named(&bucket) })
    }

    /// The source bucket that only the status names, if it names another one than the spec. The spec was changed past
    /// admission then, or the status is wrong: it proves nothing, and only tags do.
    pub fn source_of_status(&self) -> Option<BucketRef> {
        let seen = self.status.source.as_ref()?;
        let differs = self.bucket().is_some_and(|bucket| bucket != seen.bucket);
        differs.then(|| BucketRef { last_seen: seen.region.clone(), ..BucketRef::named(&seen.bucket) })
    }

    /// The `AwsAccount` that the spec names for the source, whether or not the rest of the spec can be decoded.
    pub fn account_ref(&self) -> Option<String> {
        self.text("/source/accountRef")
    }

    /// Whether the status names anything in AWS that this resource made.
    pub fn left_traces(&self) -> bool {
        left_traces(&self.status)
    }

    /// The things in AWS that the status names under this `AwsAccount` of destinations: the id of the account, and the
    /// buckets. `None`: it names none, or more than one account.
    pub fn left_under(&self, account_ref: &str) -> Option<(&str, BTreeSet<&str>)> {
        let BucketReplicationStatus { bucket_policies, canary_places, .. } = &self.status;
        let policies = bucket_policies.iter().filter(|held| held.account_ref == account_ref);
        let places = canary_places.iter().filter(|place| place.account_ref.as_deref() == Some(account_ref));
        let left = policies.map(|held| (held.account.as_str(), held.bucket.as_str()));
        let left = left.chain(places.map(|place| (place.account.as_str(), place.bucket.as_str())));
        let (ids, buckets): (BTreeSet<&str>, BTreeSet<&str>) = left.unzip();
        match ids.into_iter().collect::<Vec<_>>().as_slice() {
            [id] => Some((id, buckets)),
            _ => None,
        }
    }

    /// The names of the `AwsAccount`s in which buckets may hold statements of the resource: those of the status, and
    /// those that rules name, because the operator may have stopped between a write and its report.
    pub fn destination_accounts(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let policies = self.status.bucket_policies.iter().map(|held| held.account_ref.clone());
        let canaries = self.status.canary_places.iter().filter_map(|place| place.account_ref.clone());
        let remembered = policies.chain(canaries).collect();
        let rules = self.resource.iter().flat_map(|resource| &resource.spec.rules);
        (remembered, rules.filter_map(|rule| rule.destination.account_ref.clone()).collect())
    }

    /// The buckets of other accounts in whose policies this resource may have statements.
    pub fn bucket_policies(&self, desired: Option<&Desired>) -> Vec<BucketAddress> {
        let mut buckets: Vec<BucketAddress> =
            self.status.bucket_policies.iter().map(BucketAddress::from).collect();
        // The operator may have stopped between a write and its report.
        for d in desired.into_iter().flat_map(|desired| &desired.destinations) {
            let seen = self.status.destinations.iter().find(|seen| seen.bucket == d.name);
            let address = || {
                Some(BucketAddress {
                    name: d.name.clone(),
                    region: seen?.region.clone()?,
                    account_id: d.account_id.clone()?,
                    account_ref: Some(d.account_ref.clone()?),
                })
            };
            if !buckets.iter().any(|bucket| bucket.name == d.name) {
                buckets.extend(address());
            }
        }
        buckets
    }

    /// The ARN in `role.arn`.
    pub fn existing_role(&self) -> Option<&str> {
        self.spec.pointer("/role/arn").and_then(Value::as_str)
    }

    /// Every role that may be the resource's own: the one that the spec names, those of the status, the default one.
    pub fn roles(&self, id: &ResourceId) -> BTreeSet<String> {
        let named = self.text("/role/name");
        let decoded = self.resource.as_ref().map(|resource| role_name(&resource.spec, id));
        // With role.arn, the operator may not be permitted to read any other role.
        let default = (named.is_none() && self.existing_role().is_none()).then(|| id.default_role_name());
        let remembered = remembered_roles(&self.status).map(|arn| role_of_arn(arn).to_owned());
        [named, decoded, default].into_iter().flatten().chain(remembered).collect()
    }
}
