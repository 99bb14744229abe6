//! What of AWS a check looks at, told from the resource alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{BucketPolicyStatus, BucketReplicationSpec, BucketReplicationStatus, BucketStatus};
use crate::iam::arn::role_of_arn;
use crate::replication::authorize::accounts::Accounts;
use crate::replication::desired::{Discovered, role_name};
use crate::replication::observed::Observed;
use crate::replication::resource_id::ResourceId;
use crate::replication::step::Place;

/// A bucket to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRef {
    pub bucket: String,
    /// As the spec says, if it does.
    pub region: Option<String>,
    /// The owner's id, by the spec; the source's account otherwise.
    pub account: Option<String>,
    /// The `AwsAccount` as whose identity to look; `None`: as at the source.
    pub account_ref: Option<String>,
    /// The Region where status last saw it, which saves looking it up again after a restart.
    pub last_seen: Option<String>,
}

impl BucketRef {
    /// A bucket of which only the name is known.
    pub fn named(bucket: &str) -> BucketRef {
        BucketRef {
            bucket: bucket.to_owned(),
            region: None,
            account: None,
            account_ref: None,
            last_seen: None,
        }
    }

    /// The bucket of a policy that status remembers.
    pub fn of_policy(held: &BucketPolicyStatus) -> BucketRef {
        let BucketPolicyStatus { bucket, region, account, account_ref } = held;
        BucketRef {
            bucket: bucket.clone(),
            region: None,
            account: Some(account.clone()),
            account_ref: Some(account_ref.clone()),
            last_seen: Some(region.clone()),
        }
    }

    /// Where to write, for a bucket of which status remembers all.
    pub fn as_last_seen(&self) -> Place {
        Place {
            bucket: self.bucket.clone(),
            region: self.last_seen.clone().unwrap_or_default(),
            owner: self.account.clone().unwrap_or_default(),
            account_ref: self.account_ref.clone(),
        }
    }
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct ReadSet {
    pub source: BucketRef,
    pub destinations: Vec<BucketRef>,
    /// Buckets that are no destinations any more, and in whose policies the operator has statements.
    pub former_destinations: Vec<BucketRef>,
    /// ARNs of the KMS keys that encrypt replicas, each with the `AwsAccount` as whose identity to look.
    pub keys: BTreeMap<String, Option<String>>,
    pub role: String,
    /// Whether the role's inline policy is of interest.
    pub role_policy: bool,
    /// The managed roles of which status says that they were ours, when they may be others than `role`.
    pub former_roles: BTreeSet<String>,
    pub identity: ResourceId,
    /// Do not share reads with other checks: someone asked for this one.
    pub fresh: bool,
}

/// The names of the managed roles that status remembers.
pub fn former_roles(status: &BucketReplicationStatus) -> impl Iterator<Item = &str> {
    let current = status.role.iter().filter(|role| role.managed).map(|role| &role.arn);
    current.chain(&status.former_roles).map(|arn| role_of_arn(arn))
}

impl ReadSet {
    pub fn new(
        spec: &BucketReplicationSpec,
        status: &BucketReplicationStatus,
        identity: &ResourceId,
        accounts: &Accounts,
        fresh: bool,
    ) -> ReadSet {
        let seen = status.source.iter().chain(&status.destinations);
        let seen: BTreeMap<&str, &BucketStatus> = seen.map(|held| (held.bucket.as_str(), held)).collect();
        let last_seen = |bucket: &str| seen.get(bucket).and_then(|held| held.region.clone());
        let mut destinations: BTreeMap<&str, BucketRef> = BTreeMap::new();
        for to in spec.rules.iter().map(|rule| &rule.destination) {
            let seen = destinations.entry(&to.bucket).or_insert_with(|| BucketRef {
                bucket: to.bucket.clone(),
                region: None,
                account: None,
                account_ref: None,
                last_seen: last_seen(&to.bucket),
            });
            seen.region = seen.region.take().or_else(|| to.region.clone());
            let owner = accounts.owner_of(to.account_ref.as_deref(), to.account.as_deref());
            seen.account = seen.account.take().or(owner);
            seen.account_ref = seen.account_ref.take().or_else(|| to.account_ref.clone());
        }
        let keys = spec.rules.iter().map(|rule| &rule.destination);
        let keys = keys.filter_map(|to| Some((to.kms_key_arn.clone()?, to.account_ref.clone()))).collect();
        let former_destinations = status
            .bucket_policies
            .iter()
            .filter(|held| !destinations.contains_key(held.bucket.as_str()))
            .map(BucketRef::of_policy)
            .collect();
        let source = &spec.source;
        let name = role_name(spec, identity);
        let former = former_roles(status).filter(|former| *former != name).map(str::to_owned).collect();
        ReadSet {
            source: BucketRef {
                bucket: source.bucket.clone(),
                region: source.region.clone(),
                account: None,
                account_ref: None,
                last_seen: last_seen(&source.bucket),
            },
            destinations: destinations.into_values().collect(),
            former_destinations,
            keys,
            role: name,
            role_policy: spec.role.as_ref().is_none_or(|r| r.arn.is_none()),
            former_roles: former,
            identity: identity.clone(),
            fresh,
        }
    }

    /// What the spec is worked out with, once this was observed.
    pub fn facts<'a>(&self, observed: &Observed, accounts: &'a Accounts) -> Discovered<'a> {
        let source = observed.region_of(&observed.source).map(|region| (self.source.bucket.clone(), region));
        let destinations =
            observed.destinations.iter().filter_map(|(b, held)| Some((b.clone(), observed.region_of(held)?)));
        Discovered {
            caller: observed.caller.clone(),
            regions: source.into_iter().chain(destinations).collect(),
            accounts,
            object_lock: observed.object_lock,
        }
    }
}
