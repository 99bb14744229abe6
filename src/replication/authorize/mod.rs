//! Decides whether the administrators of accounts allow what a resource asks for.
//!
//! In: a resource, its accounts, and the labels of its namespace. Out: nothing, or a refusal that names each account
//! and pattern. It is decided on every reconcile, before any call to AWS.

pub mod accounts;
mod buckets;
mod labels;
mod namespaces;
mod roles;

use std::collections::BTreeSet;

pub use labels::Labels;
pub use namespaces::require_namespace;

use crate::mutants::{Mutant, is_on};
use crate::replication::authorize::accounts::{Account, Accounts};
use crate::replication::authorize::buckets::{
    allows_destination, require_destinations, require_report, require_source,
};
use crate::replication::authorize::roles::require_role;
use crate::replication::refusal::Refusal;
use crate::replication::resource::Replication;

/// Whether the labels of a namespace matter. Reading them costs a request.
pub fn labels_matter(accounts: &Accounts) -> bool {
    let destinations_count = !is_on(Mutant::DestinationLabelsIgnored);
    let counted = all(accounts).take(if destinations_count { usize::MAX } else { 1 });
    let mut namespaces = counted.filter_map(|account| account.spec.namespaces.as_ref());
    namespaces.any(|namespaces| !namespaces.match_labels.is_empty())
}

/// Decides whether a resource may do what it asks for.
///
/// # Errors
/// Everything that administrators do not allow, as one refusal.
pub fn authorize(replication: &Replication<'_>, labels: Labels<'_>) -> Result<(), Refusal> {
    Refusal::all(refusals(replication, labels))
}

/// Everything that a resource asks for and administrators do not allow. Of an account that the namespace may not use,
/// nothing else is named: its patterns are not for that namespace.
pub fn refusals(replication: &Replication<'_>, labels: Labels<'_>) -> Vec<Refusal> {
    let Replication { id, accounts, .. } = *replication;
    let namespace = |account: &Account| require_namespace(&id.namespace, labels, account);
    let usable = |account: &Account| namespace(account).is_ok();
    let mut named = BTreeSet::new();
    let each = all(accounts).filter(|account| named.insert(&account.name));
    let mut refusals: Vec<Refusal> = each.filter_map(|account| namespace(account).err()).collect();
    refusals.extend(refusals_of_spec(replication, usable));
    refusals
}

/// The refusals of a spec that hold for every namespace.
pub fn refusals_in_any_namespace(replication: &Replication<'_>) -> Vec<Refusal> {
    refusals_of_spec(replication, |_| true)
}

/// The refusals of a spec by the accounts that the namespace may use.
fn refusals_of_spec(replication: &Replication<'_>, usable: impl Fn(&Account) -> bool) -> Vec<Refusal> {
    let Replication { spec, accounts, .. } = *replication;
    let mut refusals = Vec::new();
    if let Some(account) = accounts.source.as_ref().filter(|account| usable(account)) {
        refusals.extend(require_source(&spec.source.bucket, account).err());
        refusals.extend(require_role(replication, account).err());
    }
    refusals.extend(require_destinations(&spec.rules, accounts, usable));
    refusals
}

/// Whether an account admits resources of a namespace that replicate into a bucket of its own.
pub fn admits_destination(account: &Account, namespace: &str, labels: Labels<'_>, bucket: &str) -> bool {
    require_namespace(namespace, labels, account).is_ok() && allows_destination(bucket, account)
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
