//! Decides which buckets an account allows a resource to replicate from and into.
//!
//! The spec is compared as it is, even if it was stored past admission: a name character by character, and a text that is no
//! name of a bucket matches no pattern.

use wildmatch::WildMatch;

use crate::api::{ConditionType, Reason, ReplicationRule};
use crate::replication::authorize::accounts::{Account, Accounts};
use crate::replication::refusal::{Refusal, not_allowed};

/// The account allows replicating from the source bucket.
pub(super) fn require_source(bucket: &str, Account { name, spec }: &Account) -> Result<(), Refusal> {
    if matches(&spec.sources, bucket) {
        return Ok(());
    }
    not_allowed(format!(
        "source.bucket: bucket {bucket} may not be replicated from under AwsAccount {name}, which allows the sources {}; ask its administrator to add a pattern for {bucket} to spec.sources",
        listed(&spec.sources)
    ))
}

/// The account that a destination is in allows replicating into it: the one that it refers to, else the source's.
pub(super) fn require_destination(rule: &ReplicationRule, accounts: &Accounts) -> Result<(), Refusal> {
    let to = &rule.destination;
    let field = format!("rules[{}].destination", rule.id);
    let bucket = &to.bucket;
    let within = |Account { name, spec }: &Account| {
        if matches(&spec.destinations, bucket) {
            return Ok(());
        }
        not_allowed(format!(
            "{field}.bucket: bucket {bucket} may not be replicated into under AwsAccount {name}, which allows the destinations {}; ask its administrator to add a pattern for {bucket} to spec.destinations",
            listed(&spec.destinations)
        ))
    };
    if let Some(account) = to.account_ref.as_ref().and_then(|name| accounts.destinations.get(name)) {
        let Account { name, spec } = account;
        return match &to.account {
            Some(id) if *id != spec.account_id => Err(Refusal::new(
                Reason::AccountMismatch,
                ConditionType::Ready,
                format!(
                    "{field}.account is {id}, and {field}.accountRef names AwsAccount {name} with the id {}; correct one of the two, or leave account out",
                    spec.account_id
                ),
            )),
            _ => within(account),
        };
    }
    let Some(source) = &accounts.source else { return Ok(()) };
    let Account { name, spec } = source;
    match &to.account {
        Some(id) if *id != spec.account_id => {
            if !is_name(bucket) {
                return not_allowed(format!(
                    "{field}.bucket: {bucket} is no name of a bucket, and AwsAccount {name} allows only buckets that are named; correct it"
                ));
            }
            if spec.destination_accounts.contains(id) {
                return Ok(());
            }
            not_allowed(format!(
                "{field}.account: account {id} may not be replicated into from AwsAccount {name}, which allows the accounts {}; name an AwsAccount by {field}.accountRef, or ask the administrator of {name} to add {id} to spec.destinationAccounts",
                listed(&spec.destination_accounts)
            ))
        }
        _ => within(source),
    }
}

/// Whether a pattern matches the name of a bucket: character by character, `*` for any characters. A pattern with `?`, which
/// only a write past admission can store, matches nothing.
fn matches(patterns: &[String], bucket: &str) -> bool {
    let mut readable = patterns.iter().filter(|pattern| !pattern.contains('?'));
    is_name(bucket) && readable.any(|pattern| WildMatch::new(pattern).matches(bucket))
}

fn is_name(bucket: &str) -> bool {
    (3..=63).contains(&bucket.len())
        && bucket.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

fn listed(items: &[String]) -> String {
    const SHOWN: usize = 10;
    if items.is_empty() {
        return "(none)".to_owned();
    }
    let more = if items.len() > SHOWN { format!(" and {} more", items.len() - SHOWN) } else { String::new() };
    format!("{}{more}", items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
}
