//! Selects the resources that may take over a source when its owner goes or may no longer own it.
//!
//! In: the source bucket, and what the watches last saw. Out: the keys of the resources to check. The oldest resource
//! that is authorized owns a source, so that the answer ends with the first one that certainly is authorized. A check
//! of the others could change nothing. It would cost the square of their number when many resources of one source are
//! deleted.

use kube::Resource;

use crate::api::BucketReplication;
use crate::controllers::Guarded;
use crate::controllers::index::Index;
use crate::controllers::settings::Settings;
use crate::replication::authorize::accounts::WithoutAccount;
use crate::replication::authorize::{authorize, labels_matter};
use crate::replication::{Accounts, Replication};
use crate::runtime::store::Key;

/// The resources that may own a source, oldest first.
pub fn successors(source: &str, index: &Index, settings: &Settings) -> Vec<Key> {
    let age = |object: &Guarded| object.meta().creation_timestamp.as_ref().map(|time| time.0);
    let may_own = |object: &Guarded| match &object.0 {
        Ok(resource) => may_own(resource, index, settings),
        Err(_) => Some(false),
    };
    // Of resources of the same age, the one that already holds the source owns it, and that is not known here.
    let mut owner = None;
    let candidates = index.by_source_until(source, |object| {
        let younger = owner.is_some_and(|owner| age(object) > owner);
        if owner.is_none() && may_own(object) == Some(true) {
            owner = Some(age(object));
        }
        younger
    });
    let candidates = candidates.iter().filter(|object| owner.is_none_or(|owner| age(object) <= owner));
    let candidates = candidates.filter(|object| may_own(object) != Some(false));
    candidates.map(|object| Key::of(object.meta())).collect()
}

/// Whether a resource is authorized; `None` where that depends on the labels of its namespace, which only the API
/// server knows.
fn may_own(resource: &BucketReplication, index: &Index, settings: &Settings) -> Option<bool> {
    let without = WithoutAccount::of(settings.require_account, index.has_seen_accounts());
    let Ok(accounts) = Accounts::resolve(&resource.spec, |name| index.account(name), without) else {
        return Some(false);
    };
    if labels_matter(&accounts) {
        return None;
    }
    let status = resource.status.clone().unwrap_or_default();
    let id = settings.resource_id(&resource.metadata);
    let replication = Replication { spec: &resource.spec, status: &status, id: &id, accounts: &accounts };
    Some(authorize(&replication, None).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::index::tests::resource;
    use crate::controllers::settings::tests::settings;

    #[test]
    fn of_ten_thousand_resources_of_one_source_the_oldest_is_checked_when_the_owner_goes() {
        let index = Index::default();
        for n in 0..10_000 {
            index.apply(resource(&format!("r{n}"), "bucket", None, n));
        }
        index.replications.remove(&Key::namespaced("data", "r0"));
        index.replications.take_visits();
        assert_eq!(successors("bucket", &index, &settings()), [Key::namespaced("data", "r1")]);
        assert!(index.replications.take_visits() <= 3);
    }

    #[test]
    fn a_resource_that_is_refused_is_passed_over() {
        let index = Index::default();
        index.apply(resource("refused", "bucket", Some("missing"), 1));
        index.apply(resource("next", "bucket", None, 2));
        index.apply(resource("of-the-same-age", "bucket", None, 2));
        index.apply(resource("young", "bucket", None, 3));
        let named = |name: &str| Key::namespaced("data", name);
        let mut found = successors("bucket", &index, &settings());
        found.sort();
        assert_eq!(found, [named("next"), named("of-the-same-age")]);
    }
}
