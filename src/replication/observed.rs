//! The contents of AWS, in this program's own types.
//!
//! In: the reads of a check, which `aws/read/observe.rs` makes. Out: [`Observed`], for the planner and the report. The
//! answer of a new read is a field here. A read that failed is kept beside those that succeeded, so that one denied
//! read does not hide the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use strum::IntoStaticStr;

use crate::iam::Partition;
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::Configuration;
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::resource_id::ResourceId;

/// How long after a write AWS may still answer from before it. AWS states no bound; a minute is the choice of this
/// project.
pub const SHOWN_AFTER: Duration = Duration::from_secs(60);

/// The outcome of one read.
pub type Read<T> = Result<T, Failure>;

/// The account in which the operator calls AWS (`sts:GetCallerIdentity`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub account: String,
    pub partition: Partition,
}

/// Everything one check reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub caller: Caller,
    pub source: ObservedBucket,
    /// By the bucket's name.
    pub destinations: BTreeMap<String, ObservedBucket>,
    /// `None`: the source has no replication configuration.
    pub configuration: Read<Option<Configuration>>,
    /// The elements of that configuration that [`Configuration`] does not model, by path, such as
    /// `Rule[all]/Destination/Tier` or `Rule[all]/Status=Paused`. They are no difference and cause no write, but a
    /// write for another reason removes them.
    pub unknown_elements: BTreeSet<String>,
    /// The role the spec names. `None`: there is none.
    pub role: Read<Option<ObservedRole>>,
    /// The roles that may have been the resource's before the spec named another one, by name. `None`: gone.
    pub former_roles: BTreeMap<String, Read<Option<ObservedRole>>>,
    /// The policies of destinations of other accounts that the operator may act in, and of former ones, by bucket.
    /// `None`: there is none.
    pub bucket_policies: BTreeMap<String, Read<Option<Value>>>,
    /// The KMS keys that encrypt replicas, by ARN. `None`: there is none.
    pub keys: BTreeMap<String, Read<Option<ObservedKey>>>,
    /// Whether the source has Object Lock. `None`: that was not read, because no managed role needs to know.
    pub object_lock: Read<Option<bool>>,
    /// Why the operator has no identity in some accounts of destinations, by the name of the `AwsAccount`. The operator
    /// has read nothing there.
    pub unreached: BTreeMap<String, Failure>,
}

/// A KMS key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedKey {
    /// `Enabled`, or why it cannot be used (`Disabled`, `PendingDeletion` …).
    pub state: String,
    /// Made and managed by AWS for one service of one account.
    pub aws_managed: bool,
    /// The spec of a key that is not symmetric, such as `RSA_2048` or `HMAC_256`.
    pub unusable_spec: Option<String>,
}

impl ObservedKey {
    pub fn is_enabled(&self) -> bool {
        self.state == "Enabled"
    }
}

/// A bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedBucket {
    /// The Region; `None`: the bucket does not exist.
    pub region: Read<Option<String>>,
    pub versioning: Read<Versioning>,
    /// S3 confirmed that it belongs to the account it should: an answer to a call that named the owner.
    pub owner_confirmed: bool,
}

impl ObservedBucket {
    /// A bucket that does not exist, or of which the Region could not be read.
    pub fn unseen(region: Read<Option<String>>, versioning: Failure) -> ObservedBucket {
        ObservedBucket { region, versioning: Err(versioning), owner_confirmed: false }
    }
}

/// A bucket's versioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versioning {
    pub status: VersioningStatus,
    /// Changes then need the owner's MFA device.
    pub mfa_delete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum VersioningStatus {
    /// Never enabled.
    Disabled,
    Enabled,
    Suspended,
}

impl VersioningStatus {
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether S3 keeps versions of what is written.
    pub fn is_enabled(self) -> bool {
        let counts = self == VersioningStatus::Suspended && is_on(Mutant::VersioningNotRepaired);
        self == VersioningStatus::Enabled || counts
    }
}

/// An IAM role with the inline policy the operator keeps on it.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedRole {
    pub arn: String,
    pub name: String,
    pub path: String,
    /// The trust policy; a string when it is not JSON.
    pub trust: Value,
    pub permissions_boundary: Option<String>,
    /// Without those that AWS itself sets (`aws:…`).
    pub tags: BTreeMap<String, String>,
    /// The operator's inline policy. `None`: there is none.
    pub policy: Read<Option<Value>>,
    /// Policies that someone else put on the role; read only before the role is to be deleted.
    pub other_policies: Vec<String>,
}

impl Observed {
    /// The former roles that exist and are the resource's own.
    pub fn former_roles_of<'a>(&'a self, id: &'a ResourceId) -> impl Iterator<Item = &'a ObservedRole> {
        let there = self.former_roles.values().filter_map(|read| read.as_ref().ok()?.as_ref());
        there.filter(|role| id.owns(&role.tags))
    }

    /// Every read that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        // Exhaustive, so that a new read cannot be forgotten here.
        let Observed {
            caller: _,
            source,
            destinations,
            configuration,
            unknown_elements: _,
            role,
            former_roles,
            bucket_policies,
            keys,
            object_lock,
            // Such an account is named once, and its bucket policies count as unread.
            unreached: _,
        } = self;
        let buckets = std::iter::once(source).chain(destinations.values());
        let of_buckets = buckets.flat_map(|ObservedBucket { region, versioning, owner_confirmed: _ }| {
            region.as_ref().err().into_iter().chain(versioning.as_ref().err())
        });
        let of_roles = std::iter::once(role).chain(former_roles.values()).filter_map(|read| match read {
            Ok(held) => held.as_ref()?.policy.as_ref().err(),
            Err(failure) => Some(failure),
        });
        let of_policies = bucket_policies.values().filter_map(|read| read.as_ref().err());
        let of_keys = keys.values().filter_map(|read| read.as_ref().err());
        let others = configuration.as_ref().err().into_iter().chain(object_lock.as_ref().err());
        of_buckets.chain(of_roles).chain(of_policies).chain(of_keys).chain(others)
    }

    /// Why AWS gave no answer to a read. A denial is an answer: it does not pass with time.
    pub fn unanswered(&self) -> Option<&Failure> {
        self.failures()
            .find(|failure| failure.class != FailureClass::Denied && failure.class.reason().is_no_answer())
    }

    /// The keys of replicas whose state could not be read, by ARN. Denials are left out, because S3 may use a key that
    /// the operator may not read.
    pub fn unread_keys(&self) -> impl Iterator<Item = (&str, &Failure)> + Clone {
        let unread = self.keys.iter().filter_map(|(arn, read)| Some((arn.as_str(), read.as_ref().err()?)));
        unread.filter(|(_, failure)| failure.class != FailureClass::Denied)
    }

    /// Whether the source has Object Lock, as far as that was read.
    pub fn has_object_lock(&self) -> Option<bool> {
        self.object_lock.as_ref().ok().copied().flatten()
    }

    /// The Region of a bucket, where it is known.
    pub fn region_of(&self, bucket: &ObservedBucket) -> Option<String> {
        bucket.region.clone().ok().flatten()
    }
}
