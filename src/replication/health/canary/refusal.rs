//! Why a rule has no canary.
//!
//! In: a canary, its buckets and the accounts they are in. Out: a refusal. An object that could not be deleted everywhere,
//! or that the rule would not replicate, is not written.

use std::collections::BTreeMap;

use crate::api::{Activity, Destination, ReplicationRule};
use crate::replication::authorize::accounts::{Account, Accounts};
use crate::replication::failure::Failure;
use crate::replication::health::canary::facts::{BucketFacts, CanaryFacts};
use crate::replication::health::canary::probe::{Probe, Probes};

/// Why the operator writes no canary for a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// S3 would apply another rule to it. `always`: as to every other object of the rule.
    UnderAnotherRule { rule: String, always: bool },
    /// The source encrypts with a KMS key, and the rule leaves such objects out.
    NotEligible,
    /// The key would be longer than S3 takes.
    KeyTooLong,
    /// The resource has more rules than there are canaries.
    TooMany,
    /// An `AwsAccount` does not allow canaries.
    NotAllowed { account: String },
    /// The operator has no identity in the account of a destination.
    NoIdentity { bucket: String, account: String },
    /// Versions can be deleted only with an MFA device.
    MfaDelete { bucket: String },
    /// Object Lock keeps new versions.
    Retention { bucket: String },
    /// Whether a version could be deleted is not known.
    Unread(Failure),
    /// The operator writes nothing to AWS for this resource.
    NotWriting,
}

impl Refused {
    /// Why, and what to do.
    pub fn message(&self) -> String {
        match self {
            Refused::UnderAnotherRule { rule, always: true } => format!(
                "rule {rule} has the same destination and a higher priority, and matches every object of this rule; give this rule a higher priority, or delete it"
            ),
            Refused::UnderAnotherRule { rule, always: false } => format!(
                "S3 would apply rule {rule} to the canary, which has the same destination and a higher priority; set spec.health.canary.prefix to a prefix that rule {rule} does not match"
            ),
            Refused::NotEligible => "the source bucket encrypts new objects with a KMS key, and S3 replicates no such object by this rule; set kmsEncryptedObjects: Enabled and destination.kmsKeyArn in the rule".to_owned(),
            Refused::KeyTooLong => "the key of a canary would be longer than 1,024 bytes; shorten spec.health.canary.prefix".to_owned(),
            Refused::TooMany => "a resource has at most 100 canaries, for the first rules of its list; set destination.metrics: Enabled in this rule".to_owned(),
            Refused::NotAllowed { account } => format!(
                "AwsAccount {account} does not allow canaries; ask the person who administers it to add Canary to spec.allow"
            ),
            Refused::NoIdentity { bucket, account } => format!(
                "the replica in bucket {bucket} could not be deleted, because the operator has no identity in account {account}; set destination.accountRef to an AwsAccount of {account}"
            ),
            Refused::MfaDelete { bucket } => format!(
                "bucket {bucket} has MFA delete, so that the operator cannot delete a version from it; remove spec.health.canary and set destination.metrics: Enabled"
            ),
            Refused::Retention { bucket } => format!(
                "bucket {bucket} has Object Lock with a default retention, so that no version can be deleted from it before the retention ends; remove spec.health.canary and set destination.metrics: Enabled"
            ),
            Refused::NotWriting => "managementPolicy is Observe, or the operator runs with --read-only, so that it writes nothing to AWS; set managementPolicy: Enforce, or set destination.metrics: Enabled".to_owned(),
            Refused::Unread(failure) => format!(
                "whether a canary could be deleted again is not known: {}",
                failure.message()
            ),
        }
    }
}

/// What the refusal of a canary depends on beside the facts about buckets.
#[derive(Clone, Copy, Debug)]
pub struct Permissions<'a> {
    pub accounts: &'a Accounts,
    pub rules: &'a [ReplicationRule],
    /// The id of the account of the source.
    pub account_id: &'a str,
}

/// Whether the accounts of a canary allow it.
///
/// # Errors
/// The account that does not, or the destination in which the operator has no identity.
pub fn require_allowed(probe: &Probe, permissions: Permissions<'_>) -> Result<(), Refused> {
    let Permissions { accounts, rules, account_id } = permissions;
    let Some(source) = &accounts.source else { return require_identities(probe, rules, account_id) };
    require_activity(source)?;
    require_identities(probe, rules, account_id)?;
    let named = destinations(probe, rules).filter_map(|to| to.account_ref.as_ref());
    named.filter_map(|name| accounts.destinations.get(name)).try_for_each(require_activity)
}

fn require_activity(Account { name, spec }: &Account) -> Result<(), Refused> {
    match spec.allow.contains(&Activity::Canary) {
        true => Ok(()),
        false => Err(Refused::NotAllowed { account: name.clone() }),
    }
}

/// In another account the operator acts only where the spec names an `AwsAccount`.
fn require_identities(probe: &Probe, rules: &[ReplicationRule], own: &str) -> Result<(), Refused> {
    let stranger = destinations(probe, rules).find_map(|to| {
        let account = to.account.as_ref().filter(|id| *id != own && to.account_ref.is_none())?;
        Some(Refused::NoIdentity { bucket: to.bucket.clone(), account: account.clone() })
    });
    stranger.map_or(Ok(()), Err)
}

/// The destinations of the rules that S3 applies to a canary.
fn destinations<'r>(probe: &'r Probe, rules: &'r [ReplicationRule]) -> impl Iterator<Item = &'r Destination> {
    let applied = rules.iter().filter(|rule| probe.arrivals.values().any(|id| *id == rule.id));
    applied.map(|rule| &rule.destination)
}

/// Whether a canary could be deleted from each bucket that it reaches.
///
/// # Errors
/// The first bucket that keeps it, or of which that is not known.
pub fn require_deletable(probe: &Probe, source: &str, facts: &CanaryFacts) -> Result<(), Refused> {
    let buckets = std::iter::once(source).chain(probe.arrivals.keys().map(String::as_str));
    buckets.filter_map(|bucket| Some((bucket, facts.buckets.get(bucket)?))).try_for_each(|(bucket, facts)| {
        let BucketFacts { mfa_delete, default_retention } = facts;
        let bucket = bucket.to_owned();
        match (mfa_delete, default_retention) {
            (Ok(true), _) => Err(Refused::MfaDelete { bucket }),
            (_, Ok(true)) => Err(Refused::Retention { bucket }),
            (Err(failure), _) | (_, Err(failure)) => Err(Refused::Unread(failure.clone())),
            (Ok(false), Ok(false)) => Ok(()),
        }
    })
}

/// Takes the canaries that are refused out, each with the rules that it would have proved.
pub fn refuse(probes: Probes, require: impl Fn(&Probe) -> Result<(), Refused>) -> Probes {
    let Probes { probes, mut refused } = probes;
    let mut kept = Vec::new();
    let mut without: BTreeMap<String, Refused> = BTreeMap::new();
    for probe in probes {
        match require(&probe) {
            Ok(()) => kept.push(probe),
            Err(why) => without.extend(probe.arrivals.into_values().map(|rule| (rule, why.clone()))),
        }
    }
    // Another canary may prove the same rule.
    without.retain(|rule, _| !kept.iter().any(|probe| probe.arrivals.values().any(|held| held == rule)));
    refused.extend(without);
    Probes { probes: kept, refused }
}
