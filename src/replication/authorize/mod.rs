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
use crate::replication::authorize::buckets::{require_destination, require_source};
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
/// The first thing that an administrator does not allow.
pub fn authorize(replication: &Replication<'_>, labels: Labels<'_>) -> Result<(), Refusal> {
    let Replication { spec, id, accounts, .. } = *replication;
    all(accounts).try_for_each(|account| require_namespace(&id.namespace, labels, account))?;
    if let Some(account) = &accounts.source {
        require_source(&spec.source.bucket, account)?;
        require_role(replication, account)?;
    }
    spec.rules.iter().try_for_each(|rule| require_destination(rule, accounts))
}

/// Whether an account admits resources of a namespace that replicate from a bucket.
pub fn admits(account: &Account, namespace: &str, labels: Labels<'_>, bucket: &str) -> bool {
    require_namespace(namespace, labels, account).and_then(|()| require_source(bucket, account)).is_ok()
}

fn all(accounts: &Accounts) -> impl Iterator<Item = &Account> {
    accounts.source.iter().chain(accounts.destinations.values())
}
