//! Decides which namespaces may use an account.
//!
//! In: a namespace with its labels, and `spec.namespaces` of the `AwsAccount`. Out: nothing, or a refusal that names no
//! other namespace.

use crate::api::Namespaces;
use crate::mutants::{Mutant, is_on};
use crate::replication::authorize::accounts::Account;
use crate::replication::authorize::labels::Labels;
use crate::replication::refusal::{Refusal, not_allowed};

/// The account names the namespace, and the namespace has the labels that the account requires. The message does not
/// name other namespaces that the account allows.
///
/// # Errors
/// `NotAllowed`, with the namespace and the account.
pub fn require_namespace(
    namespace: &str,
    labels: Labels<'_>,
    Account { name, spec }: &Account,
) -> Result<(), Refusal> {
    let fix = format!("ask the administrator of AwsAccount {name} to allow it in spec.namespaces");
    let nobody = Namespaces::default();
    let Namespaces { match_names, match_labels } = spec.namespaces.as_ref().unwrap_or(&nobody);
    if match_names.is_empty() && match_labels.is_empty() {
        return not_allowed(format!(
            "namespace {namespace} may not use AwsAccount {name}, which allows no namespace; {fix}"
        ));
    }
    if !match_names.is_empty() && !match_names.iter().any(|allowed| allowed == namespace) {
        return not_allowed(format!(
            "namespace {namespace} may not use AwsAccount {name}, which does not name it; {fix}"
        ));
    }
    if !match_names.is_empty() && is_on(Mutant::NamesInPlaceOfLabels) {
        return Ok(());
    }
    let has = |(key, value): (&String, &String)| labels.is_some_and(|labels| labels.get(key) == Some(value));
    if match_labels.iter().all(has) {
        return Ok(());
    }
    let lacks = if labels.is_some() {
        "does not have all of these labels"
    } else {
        "has labels that are not known here"
    };
    not_allowed(format!(
        "namespace {namespace} may not use AwsAccount {name}, which allows namespaces by their labels: it {lacks}; {fix}"
    ))
}
