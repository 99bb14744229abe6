//! What of AWS a check looks at, told from the resource alone.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::{Facts, role_name};
use super::identity::Identity;
use super::observed::Observed;
use super::partition::role_of_arn;
use crate::api::{BucketReplicationSpec, BucketReplicationStatus, BucketStatus};

/// A bucket to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketRef {
    pub bucket: String,
    /// As the spec says, if it does.
    pub region: Option<String>,
    /// The owner the spec names; the operator's own account otherwise.
    pub account: Option<String>,
    /// The Region where status last saw it, which saves looking it up again after a restart.
    pub last_seen: Option<String>,
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Subject {
    pub source: BucketRef,
    pub destinations: Vec<BucketRef>,
    pub role: String,
    /// Whether the role's inline policy is of interest.
    pub role_policy: bool,
    /// The managed roles of which status says that they were ours, when they may be others than `role`.
    pub former_roles: BTreeSet<String>,
    pub identity: Identity,
    /// Do not share reads with other checks: someone asked for this one.
    pub fresh: bool,
}

/// The names of the managed roles that status remembers.
pub fn former_roles(status: &BucketReplicationStatus) -> impl Iterator<Item = &str> {
    let current = status.role.iter().filter(|role| role.managed).map(|role| &role.arn);
    current.chain(&status.former_roles).map(|arn| role_of_arn(arn))
}

impl Subject {
    pub fn new(
        spec: &BucketReplicationSpec,
        status: &BucketReplicationStatus,
        identity: &Identity,
        fresh: bool,
    ) -> Subject {
        let seen = status.source.iter().chain(&status.destinations);
        let seen: BTreeMap<&str, &BucketStatus> = seen.map(|held| (held.bucket.as_str(), held)).collect();
        let last_seen = |bucket: &str| seen.get(bucket).and_then(|held| held.region.clone());
        let mut destinations: BTreeMap<&str, BucketRef> = BTreeMap::new();
        for to in spec.rules.iter().map(|rule| &rule.destination) {
            let seen = destinations.entry(&to.bucket).or_insert_with(|| BucketRef {
                bucket: to.bucket.clone(),
                region: None,
                account: None,
                last_seen: last_seen(&to.bucket),
            });
            seen.region = seen.region.take().or_else(|| to.region.clone());
            seen.account = seen.account.take().or_else(|| to.account.clone());
        }
        let source = &spec.source;
        let name = role_name(spec, identity);
        let former = former_roles(status).filter(|former| *former != name).map(str::to_owned).collect();
        Subject {
            source: BucketRef {
                bucket: source.bucket.clone(),
                region: source.region.clone(),
                account: None,
                last_seen: last_seen(&source.bucket),
            },
            destinations: destinations.into_values().collect(),
            role: name,
            role_policy: spec.role.as_ref().is_none_or(|r| r.arn.is_none()),
            former_roles: former,
            identity: identity.clone(),
            fresh,
        }
    }

    /// What the spec is worked out with, once this was observed.
    pub fn facts(&self, observed: &Observed) -> Facts {
        let source = observed.region_of(&observed.source).map(|region| (self.source.bucket.clone(), region));
        let destinations =
            observed.destinations.iter().filter_map(|(b, held)| Some((b.clone(), observed.region_of(held)?)));
        Facts { caller: observed.caller.clone(), regions: source.into_iter().chain(destinations).collect() }
    }
}
