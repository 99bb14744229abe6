//! The requirements of a canary besides a rule that S3 applies to it.
//!
//! In: a canary, its buckets and the accounts they are in. Out: nothing, or a refusal.

use std::collections::BTreeMap;

use crate::api::{Activity, Destination, ReplicationRule};
use crate::mutants::{Mutant, is_on};
use crate::replication::authorize::accounts::{Account, Accounts};
use crate::replication::health::canary::facts::{BucketFacts, CanaryFacts};
use crate::replication::health::canary::probe::{Probe, Probes};
use crate::replication::health::canary::refusal::Refused;

/// The rules and the rights that decide about a canary, besides the facts about buckets.
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
    let named = named.filter(|_| !is_on(Mutant::DestinationNotAsked));
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
        if bucket != source && is_on(Mutant::RetentionAbroadIgnored) {
            return Ok(());
        }
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
