//! Selects what a check reads from AWS.
//!
//! In: a resource. Out: the buckets, keys and roles to read, derived from the resource alone and before any call.
//! `aws/read/observe.rs` reads them.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::BucketStatus;
use crate::iam::arn::role_of_arn;
use crate::iam::partition::{Partition, is_region};
use crate::replication::bucket::BucketAddress;
use crate::replication::desired::Discovered;
use crate::replication::observed::Observed;
use crate::replication::resource::Replication;
use crate::replication::resource_id::ResourceId;

/// A bucket to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRef {
    pub name: String,
    /// The Region that the spec names, if it does.
    pub region: Option<String>,
    /// The id of the account that owns the bucket, where the spec names it; `None`: the source's account.
    pub account_id: Option<String>,
    /// The `AwsAccount` with whose credentials to read; `None`: those of the source.
    pub account_ref: Option<String>,
    /// The Region where the status last saw the bucket. It saves the request that finds the bucket after a restart.
    pub last_seen: Option<String>,
}

impl BucketRef {
    /// A bucket of which only the name is known.
    pub fn named(name: &str) -> BucketRef {
        BucketRef {
            name: name.to_owned(),
            region: None,
            account_id: None,
            account_ref: None,
            last_seen: None,
        }
    }

    /// Why S3 cannot replicate from `source` into this bucket, where the spec names Regions of two partitions for them.
    /// A call to the other partition would end in a refusal of the credentials.
    pub fn is_in_another_partition(&self, source: &BucketRef) -> Option<String> {
        let (from, to) = (source.region.as_ref()?, self.region.as_ref()?);
        let (own, other) = (Partition::of_region(from), Partition::of_region(to));
        (is_region(to) && own != other).then(|| {
            format!(
                "destination.region is {to}, in the partition {} of AWS, and source.region is {from}, in {}: S3 replicates only within one partition; correct the Region that is wrong",
                other.id(),
                own.id()
            )
        })
    }
}

/// The things in AWS to read.
#[derive(Clone, Debug)]
pub struct ReadSet {
    pub source: BucketRef,
    pub destinations: Vec<BucketRef>,
    /// Buckets that are no destinations any more, and in whose policies the operator has statements.
    pub former_destinations: Vec<BucketAddress>,
    /// ARNs of the KMS keys that encrypt replicas, each with the `AwsAccount` with whose credentials to read it.
    pub keys: BTreeMap<String, Option<String>>,
    /// The name of the role that the spec asks for.
    pub role: String,
    /// Whether to read the role's inline policy: only a managed role's is compared.
    pub role_policy: bool,
    /// Names of the managed roles that the status remembers, without `role`.
    pub former_roles: BTreeSet<String>,
    pub id: ResourceId,
    /// Do not share reads with other checks, because this one was requested.
    pub fresh: bool,
}

impl ReadSet {
    /// Selects what to read for a resource. `fresh`: share no read with other checks, because this check was requested.
    pub fn of(replication: &Replication<'_>, fresh: bool) -> ReadSet {
        let Replication { spec, status, id, accounts } = *replication;
        let seen = status.source.iter().chain(&status.destinations);
        let seen: BTreeMap<&str, &BucketStatus> = seen.map(|held| (held.bucket.as_str(), held)).collect();
        let last_seen = |bucket: &str| seen.get(bucket).and_then(|held| held.region.clone());
        let mut destinations: BTreeMap<&str, BucketRef> = BTreeMap::new();
        for to in spec.rules.iter().map(|rule| &rule.destination) {
            let bucket = destinations.entry(&to.bucket).or_insert_with(|| BucketRef {
                last_seen: last_seen(&to.bucket),
                ..BucketRef::named(&to.bucket)
            });
            bucket.region = bucket.region.take().or_else(|| to.region.clone());
            let account_id = accounts.account_id_of(to.account_ref.as_deref(), to.account.as_deref());
            bucket.account_id = bucket.account_id.take().or(account_id);
            bucket.account_ref = bucket.account_ref.take().or_else(|| to.account_ref.clone());
        }
        let keys = spec.rules.iter().map(|rule| &rule.destination);
        let keys = keys.filter_map(|to| Some((to.kms_key_arn.clone()?, to.account_ref.clone()))).collect();
        let former_destinations = status
            .bucket_policies
            .iter()
            .filter(|held| !destinations.contains_key(held.bucket.as_str()))
            .map(BucketAddress::from)
            .collect();
        let role = replication.role_name();
        let former_roles = replication.remembered_roles().map(role_of_arn);
        ReadSet {
            source: BucketRef {
                region: spec.source.region.clone(),
                last_seen: last_seen(&spec.source.bucket),
                ..BucketRef::named(&spec.source.bucket)
            },
            destinations: destinations.into_values().collect(),
            former_destinations,
            keys,
            former_roles: former_roles.filter(|name| *name != role).map(str::to_owned).collect(),
            role,
            role_policy: spec.role.as_ref().is_none_or(|role| role.arn.is_none()),
            id: id.clone(),
            fresh,
        }
    }

    /// The facts from AWS that the desired state depends on.
    pub fn discovered(&self, observed: &Observed) -> Discovered {
        Discovered::of(&self.source.name, observed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_in_another_partition_is_named_only_where_the_spec_names_both_regions() {
        let in_region =
            |region: Option<&str>| BucketRef { region: region.map(str::to_owned), ..BucketRef::named("b") };
        let why = |from, to| in_region(to).is_in_another_partition(&in_region(from));
        let message = why(Some("eu-west-1"), Some("cn-north-1")).unwrap();
        for part in ["destination.region is cn-north-1", "aws-cn", "source.region is eu-west-1"] {
            assert!(message.contains(part), "{message}");
        }
        assert!(why(Some("us-iso-east-1"), Some("us-isob-east-1")).is_some());
        for (from, to) in [
            (Some("eu-west-1"), Some("us-east-1")),
            (Some("us-gov-west-1"), Some("us-gov-east-1")),
            (Some("eu-west-1"), Some("zz-fake-1")),
            (None, Some("cn-north-1")),
            (Some("cn-north-1"), None),
        ] {
            assert_eq!(why(from, to), None, "{from:?} {to:?}");
        }
    }
}
