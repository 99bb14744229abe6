//! Decides whether the administrators of accounts allow what a resource asks for.
//!
//! In: a resource, its accounts, and the labels of its namespace. Out: nothing, or a refusal that names the account and the
//! pattern. It is decided on every reconcile, before any call to AWS.

pub mod accounts;
mod buckets;
mod labels;
mod namespaces;
mod roles;

pub use labels::Labels;

use crate::replication::authorize::accounts::{Account, Accounts};
use crate::replication::authorize::buckets::{require_destination, require_report, require_source};
use crate::replication::authorize::namespaces::require_namespace;
use crate::replication::authorize::roles::require_role;
use crate::replication::refusal::Refusal;
use crate::replication::resource::Replication;

/// Whether the labels of a namespace matter. Reading them costs a request.
pub fn labels_matter(accounts: &Accounts) -> bool {
    let mut namespaces = all(accounts).filter_map(|account| account.spec.namespaces.as_ref());
    namespaces.any(|namespaces| !namespaces.match_labels.is_empty())
}

/// Decides whether a resource may do what it asks for.
///
/// # Errors
/// Everything that an administrator does not allow, as one refusal.
pub fn authorize(replication: &Replication<'_>, labels: Labels<'_>) -> Result<(), Refusal> {
    Refusal::all(refusals(replication, labels))
}

/// Everything that a resource asks for and an administrator does not allow.
pub fn refusals<'a>(
    replication: &'a Replication<'_>,
    labels: Labels<'a>,
) -> impl Iterator<Item = Refusal> + 'a {
    let Replication { spec, id, accounts, .. } = *replication;
    let namespaces = all(accounts).map(move |account| require_namespace(&id.namespace, labels, account));
    let source = accounts.source.iter().flat_map(move |account| {
        [require_source(&spec.source.bucket, account), require_role(replication, account)]
    });
    let destinations = spec.rules.iter().map(move |rule| require_destination(rule, accounts));
    namespaces.chain(source).chain(destinations).filter_map(Result::err)
}

/// Whether an account admits resources of a namespace that replicate from a bucket.
pub fn admits(account: &Account, namespace: &str, labels: Labels<'_>, bucket: &str) -> bool {
    require_namespace(namespace, labels, account).and_then(|()| require_source(bucket, account)).is_ok()
}

/// Whether an account lets a job write its report into a bucket.
///
/// # Errors
/// `NotAllowed`, with the patterns that the account allows.
pub fn require_report_bucket(bucket: &str, account: &Account) -> Result<(), Refusal> {
    require_report(bucket, account)
}

fn all(accounts: &Accounts) -> impl Iterator<Item = &Account> {
    accounts.source.iter().chain(accounts.destinations.values())
}
