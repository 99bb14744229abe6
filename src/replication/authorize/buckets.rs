//! Decides which buckets an account allows a resource to replicate from and into, and to write a report into.
//!
//! In: the buckets that a spec names, and the patterns and account ids of an `AwsAccount`. Out: nothing, or a refusal
//! that names the field, the bucket and the pattern to add. The spec is compared as it is, even if it was stored past
//! admission: a name character by character, and a text that is no name of a bucket matches no pattern.

use std::collections::{BTreeMap, BTreeSet};

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
        "source.bucket: AwsAccount {name} does not allow replicating from bucket {bucket}; it allows the sources {}; ask its administrator to add a pattern for {bucket} to spec.sources",
        listed(&spec.sources)
    ))
}

/// The accounts that destinations are in allow replicating into them: the one that a destination refers to, else the
/// source's. There is one refusal for each account, which names every field and bucket.
pub(super) fn require_destinations(
    rules: &[ReplicationRule],
    accounts: &Accounts,
    usable: impl Fn(&Account) -> bool,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let mut forbidden: BTreeMap<&str, Forbidden<'_>> = BTreeMap::new();
    for rule in rules {
        let referred = rule.destination.account_ref.as_ref().and_then(|name| accounts.destinations.get(name));
        let Some(judge) = referred.or(accounts.source.as_ref()).filter(|judge| usable(judge)) else {
            continue;
        };
        match judge_destination(rule, judge, referred.is_some()) {
            Ok(()) => {}
            Err(Unfit::Bucket) => {
                let found = Forbidden { account: judge, rules: Vec::new() };
                forbidden.entry(&judge.name).or_insert(found).rules.push(rule);
            }
            Err(Unfit::Other(refusal)) => refusals.push(refusal),
        }
    }
    refusals.extend(forbidden.into_values().map(Forbidden::refusal));
    refusals
}

/// The most buckets that a message names: as many as fit into the message of a condition, be their names as long as S3
/// allows.
const BUCKETS: usize = 40;

/// Rules whose buckets an account does not name.
struct Forbidden<'a> {
    account: &'a Account,
    rules: Vec<&'a ReplicationRule>,
}

impl Forbidden<'_> {
    fn refusal(self) -> Refusal {
        let Account { name, spec } = self.account;
        let fields = self.rules.iter().map(|rule| format!("rules[{}].destination.bucket", rule.id));
        let buckets: BTreeSet<&String> = self.rules.iter().map(|rule| &rule.destination.bucket).collect();
        let buckets: Vec<String> = buckets.into_iter().cloned().collect();
        let (bucket, patterns) = match buckets.as_slice() {
            [one] => ("bucket", format!("a pattern for {one}")),
            _ => ("buckets", "patterns for them".to_owned()),
        };
        let message = format!(
            "{}: AwsAccount {name} does not allow replicating into {bucket} {}; it allows the destinations {}; ask its administrator to add {patterns} to spec.destinations",
            listed(&fields.collect::<Vec<_>>()),
            first(&buckets, BUCKETS),
            listed(&spec.destinations)
        );
        Refusal::new(Reason::NotAllowed, ConditionType::Ready, message)
    }
}

/// Why a destination is refused.
enum Unfit {
    /// The account does not name its bucket.
    Bucket,
    Other(Refusal),
}

/// `referred`: the destination refers to the account; otherwise it is the source's.
fn judge_destination(rule: &ReplicationRule, judge: &Account, referred: bool) -> Result<(), Unfit> {
    let (to, Account { name, spec }) = (&rule.destination, judge);
    let (field, bucket) = (format!("rules[{}].destination", rule.id), &to.bucket);
    let Some(id) = to.account.as_ref().filter(|id| **id != spec.account_id) else {
        return if matches(&spec.destinations, bucket) { Ok(()) } else { Err(Unfit::Bucket) };
    };
    let refuse = |reason, message| Err(Unfit::Other(Refusal::new(reason, ConditionType::Ready, message)));
    if referred {
        return refuse(
            Reason::AccountMismatch,
            format!(
                "{field}.account is {id}, and {field}.accountRef names AwsAccount {name} with the id {}; correct one of the two, or leave account out",
                spec.account_id
            ),
        );
    }
    if !is_name(bucket) {
        return refuse(
            Reason::NotAllowed,
            format!(
                "{field}.bucket: {bucket} is no name of a bucket, and AwsAccount {name} allows only buckets that are named; correct it"
            ),
        );
    }
    if spec.destination_accounts.contains(id) {
        return Ok(());
    }
    refuse(
        Reason::NotAllowed,
        format!(
            "{field}.account: AwsAccount {name} does not allow replicating into account {id}; it allows the accounts {}; name an AwsAccount by {field}.accountRef, or ask the administrator of {name} to add {id} to spec.destinationAccounts",
            listed(&spec.destination_accounts)
        ),
    )
}

/// Whether the account allows replicating into a bucket of its own.
pub(super) fn allows_destination(bucket: &str, account: &Account) -> bool {
    matches(&account.spec.destinations, bucket)
}

/// The account allows writing a report into a bucket, as it allows replicating into it.
pub(super) fn require_report(bucket: &str, Account { name, spec }: &Account) -> Result<(), Refusal> {
    if matches(&spec.destinations, bucket) {
        return Ok(());
    }
    not_allowed(format!(
        "report.bucket: AwsAccount {name} does not allow writing into bucket {bucket}; it allows the destinations {}; ask its administrator to add a pattern for {bucket} to spec.destinations",
        listed(&spec.destinations)
    ))
}

/// Whether a pattern matches the name of a bucket: character by character, `*` for any characters. A pattern with `?`,
/// which only a write past admission can store, matches nothing.
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
    if items.is_empty() { "(none)".to_owned() } else { first(items, SHOWN) }
}

/// The first items, and how many more there are.
fn first(items: &[String], shown: usize) -> String {
    let more = items.len().saturating_sub(shown);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", items.iter().take(shown).cloned().collect::<Vec<_>>().join(", "))
}
