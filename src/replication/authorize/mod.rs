//! Who may replicate what: what the administrators of accounts allow a resource, told before anything is asked of
//! AWS.
//!
//! Everything is looked at on every reconcile and as the spec holds it, whatever admission let pass: a name is
//! compared as a name, byte by byte, and what is no name of a bucket matches no pattern.

pub mod accounts;

use std::collections::BTreeMap;

use wildmatch::WildMatch;

use crate::api::{
    BucketReplicationSpec, BucketReplicationStatus, ConditionType, Namespaces, Reason, ReplicationRule,
};
use crate::iam::arn::{account_of_arn, path_of_role_arn, role_of_arn};
use crate::replication::authorize::accounts::{Account, Accounts};
use crate::replication::refusal::Refusal;
use crate::replication::resource::Replication;

/// The labels of a resource's namespace. `None`: not known, which matches no labels.
pub type Labels<'a> = Option<&'a BTreeMap<String, String>>;

/// Whether the labels of a namespace decide anything: they cost a request to know.
pub fn labels_matter(accounts: &Accounts) -> bool {
    let mut namespaces = all(accounts).filter_map(|account| account.spec.namespaces.as_ref());
    namespaces.any(|namespaces| !namespaces.match_labels.is_empty())
}

/// Refuses what the administrators of the accounts do not allow. The message names the account and the pattern.
pub fn authorize(replication: &Replication<'_>, labels: Labels<'_>) -> Result<(), Refusal> {
    let Replication { spec, status, id, accounts } = *replication;
    let namespace = || all(accounts).find_map(|a| namespace_is_allowed(&id.namespace, labels, a));
    let rules = || spec.rules.iter().find_map(|rule| destination_is_allowed(rule, accounts));
    let source = || {
        let account = accounts.source.as_ref()?;
        let role = || role_is_allowed(spec, status, &replication.role_name(), account);
        source_is_allowed(&spec.source.bucket, account).or_else(role)
    };
    match namespace().or_else(source).or_else(rules) {
        Some(found) => Err(Refusal::new(found.reason, ConditionType::Ready, found.message)),
        None => Ok(()),
    }
}

/// Whether an account admits resources of a namespace that replicate from a bucket.
pub fn admits(account: &Account, namespace: &str, labels: Labels<'_>, bucket: &str) -> bool {
    namespace_is_allowed(namespace, labels, account).is_none() && source_is_allowed(bucket, account).is_none()
}

struct Found {
    reason: Reason,
    message: String,
}

fn not_allowed(message: String) -> Option<Found> {
    Some(Found { reason: Reason::NotAllowed, message })
}

fn all(accounts: &Accounts) -> impl Iterator<Item = &Account> {
    accounts.source.iter().chain(accounts.destinations.values())
}

fn namespace_is_allowed(
    namespace: &str,
    labels: Labels<'_>,
    Account { name, spec }: &Account,
) -> Option<Found> {
    let fix = format!("ask who administers AwsAccount {name} to allow it in spec.namespaces");
    let nobody = Namespaces::default();
    let Namespaces { match_names, match_labels } = spec.namespaces.as_ref().unwrap_or(&nobody);
    if match_names.is_empty() && match_labels.is_empty() {
        return not_allowed(format!(
            "namespace {namespace} may not use AwsAccount {name}, which allows no namespace; {fix}"
        ));
    }
    if !match_names.is_empty() && !match_names.iter().any(|allowed| allowed == namespace) {
        return not_allowed(format!(
            "namespace {namespace} may not use AwsAccount {name}, which allows the namespaces {}; {fix}",
            listed(match_names)
        ));
    }
    let has = |(key, value): (&String, &String)| labels.is_some_and(|labels| labels.get(key) == Some(value));
    if match_labels.iter().all(has) {
        return None;
    }
    let wanted: Vec<String> = match_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let lacks =
        if labels.is_some() { "does not have them all" } else { "has labels that are not known here" };
    not_allowed(format!(
        "namespace {namespace} may not use AwsAccount {name}, which allows namespaces with the labels {}: it {lacks}; {fix}",
        listed(&wanted)
    ))
}

fn source_is_allowed(bucket: &str, Account { name, spec }: &Account) -> Option<Found> {
    if matches(&spec.sources, bucket) {
        return None;
    }
    not_allowed(format!(
        "source.bucket: bucket {bucket} may not be replicated from under AwsAccount {name}, which allows the sources {}; ask who administers it to add a pattern for {bucket} to spec.sources",
        listed(&spec.sources)
    ))
}

fn destination_is_allowed(rule: &ReplicationRule, accounts: &Accounts) -> Option<Found> {
    let to = &rule.destination;
    let field = format!("rules[{}].destination", rule.id);
    let bucket = &to.bucket;
    let within = |Account { name, spec }: &Account| {
        if matches(&spec.destinations, bucket) {
            return None;
        }
        not_allowed(format!(
            "{field}.bucket: bucket {bucket} may not be replicated into under AwsAccount {name}, which allows the destinations {}; ask who administers it to add a pattern for {bucket} to spec.destinations",
            listed(&spec.destinations)
        ))
    };
    if let Some(account) = to.account_ref.as_ref().and_then(|name| accounts.destinations.get(name)) {
        let Account { name, spec } = account;
        return match &to.account {
            Some(id) if *id != spec.account_id => Some(Found {
                reason: Reason::AccountMismatch,
                message: format!(
                    "{field}.account is {id}, and {field}.accountRef names AwsAccount {name} with the id {}; correct one of the two, or leave account out",
                    spec.account_id
                ),
            }),
            _ => within(account),
        };
    }
    let source = accounts.source.as_ref()?;
    let Account { name, spec } = source;
    match &to.account {
        Some(id) if *id != spec.account_id => {
            if !is_name(bucket) {
                return not_allowed(format!(
                    "{field}.bucket: {bucket} is no name of a bucket, and AwsAccount {name} allows only buckets that are named; correct it"
                ));
            }
            if spec.destination_accounts.contains(id) {
                return None;
            }
            not_allowed(format!(
                "{field}.account: account {id} may not be replicated into from AwsAccount {name}, which allows the accounts {}; name an AwsAccount by {field}.accountRef, or ask who administers {name} to add {id} to spec.destinationAccounts",
                listed(&spec.destination_accounts)
            ))
        }
        _ => within(source),
    }
}

/// Roles are the source account's, and what is imposed on them is imposed on an existing one too: or `role.arn`
/// would be the way around it.
fn role_is_allowed(
    spec: &BucketReplicationSpec,
    status: &BucketReplicationStatus,
    named: &str,
    Account { name, spec: account }: &Account,
) -> Option<Found> {
    let role = spec.role.as_ref();
    let arn = role.and_then(|r| r.arn.as_deref());
    if let Some(arn) = arn
        && account_of_arn(arn) != Some(account.account_id.as_str())
    {
        return not_allowed(format!(
            "role.arn: role {arn} is not in account {} of AwsAccount {name}; name a role of that account, or leave role.arn out to have one managed",
            account.account_id
        ));
    }
    let imposed = account.roles.as_ref();
    if let Some(path) = imposed.and_then(|roles| roles.path.as_deref()) {
        let given = role.and_then(|r| r.path.as_deref());
        if let Some(given) = given.filter(|given| *given != path) {
            return not_allowed(format!(
                "role.path is {given}, and AwsAccount {name} imposes the path {path} on roles; leave role.path out"
            ));
        }
        if let Some(arn) = arn.filter(|arn| path_of_role_arn(arn) != path) {
            return not_allowed(format!(
                "role.arn: role {arn} is not at the path {path} that AwsAccount {name} imposes on roles; name a role at that path, or leave role.arn out to have one managed"
            ));
        }
        let held = status.role.as_ref().filter(|held| held.managed && arn.is_none()).map(|held| &held.arn);
        if let Some(held) = held.filter(|held| path_of_role_arn(held) != path && role_of_arn(held) == named) {
            return not_allowed(format!(
                "role {held} is not at the path {path} that AwsAccount {name} now imposes on roles, and IAM cannot move a role; set role.name to another name to have a new role made at that path"
            ));
        }
    }
    let boundary = imposed.and_then(|roles| roles.permissions_boundary.as_deref())?;
    let given = role.and_then(|r| r.permissions_boundary.as_deref());
    let given = given.filter(|given| *given != boundary)?;
    not_allowed(format!(
        "role.permissionsBoundary is {given}, and AwsAccount {name} imposes {boundary} on roles; leave role.permissionsBoundary out"
    ))
}

/// Whether a pattern matches the name of a bucket: letter by letter, `*` for any characters. Of a pattern that was stored
/// past admission, `?` is a letter that no name has, and not a wildcard.
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
