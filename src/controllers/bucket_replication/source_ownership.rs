//! Decides which of several resources for one source bucket owns it: S3 keeps one replication configuration a bucket.
//!
//! In: the resources that name the bucket. Out: the owner, or the resources that may come before one of them.

use std::cmp::Ordering;

use kube::ResourceExt;

use crate::api::{BucketReplication, BucketReplicationStatus};
use crate::mutants::{Mutant, is_on};

/// Whether a status says that its resource applied a configuration.
pub fn has_applied(status: Option<&BucketReplicationStatus>) -> bool {
    status.is_some_and(|status| status.applied_hash.is_some())
}

/// Whether a status says that its resource applied a configuration, or that it was about to put one: the process may have
/// died after that.
pub fn may_have_put(status: Option<&BucketReplicationStatus>) -> bool {
    has_applied(status) || status.is_some_and(|status| status.announced_configuration.is_some())
}

/// How a rival's age compares with a resource's. Kubernetes counts it in whole seconds.
pub fn compare_age(rival: &BucketReplication, resource: &BucketReplication) -> Ordering {
    let created = |r: &BucketReplication| r.creation_timestamp().map(|time| time.0);
    created(rival).cmp(&created(resource))
}

/// The owner of the source among resources for the same bucket: the oldest, then the one that `holds` the source, then
/// the one with the smaller UID.
///
/// Of two that were created within the same second, the one that was first and holds the source keeps it. Otherwise the
/// second would find the configuration of the first in its way, or overwrite it.
pub fn owner<'a>(
    resources: impl Iterator<Item = &'a BucketReplication>,
    holds: impl Fn(&BucketReplication) -> bool,
) -> Option<&'a BucketReplication> {
    resources.min_by(|a, b| {
        let tie = |r: &BucketReplication| (!holds(r) && !is_on(Mutant::HolderNotAsked), r.uid());
        compare_age(a, b).then_with(|| tie(a).cmp(&tie(b)))
    })
}

/// The message for a resource that does not own its source.
pub fn message(owner: &BucketReplication) -> String {
    format!(
        "bucket {} is already the source of BucketReplication {}/{}, and S3 keeps one replication configuration a bucket; add your rules there, or delete one of the two",
        owner.spec.source.bucket,
        owner.namespace().unwrap_or_default(),
        owner.name_any()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn resource(name: &str, second: i64, uid: &str) -> BucketReplication {
        let mut resource = BucketReplication::new(name, Default::default());
        resource.metadata.creation_timestamp = jiff::Timestamp::from_second(second).ok().map(Time);
        resource.metadata.uid = Some(uid.to_owned());
        resource
    }

    #[test]
    fn the_oldest_owns_and_the_uid_breaks_ties() {
        let (old, young, twin) =
            (resource("old", 1, "z"), resource("young", 2, "a"), resource("twin", 1, "y"));
        let owner_of =
            |all: &[&BucketReplication]| owner(all.iter().copied(), |_| false).map(ResourceExt::name_any);
        assert_eq!(owner_of(&[&young, &old]).as_deref(), Some("old"));
        assert_eq!(owner_of(&[&old, &twin]).as_deref(), Some("twin"));
        assert_eq!(owner_of(&[]), None);
    }

    #[test]
    fn of_two_of_the_same_age_the_one_that_holds_the_source_keeps_it() {
        let (old, young, twin) =
            (resource("old", 1, "z"), resource("young", 2, "a"), resource("twin", 1, "y"));
        let owner_if = |holder: &str, all: &[&BucketReplication]| {
            owner(all.iter().copied(), |r| r.name_any() == holder).map(ResourceExt::name_any)
        };
        assert_eq!(owner_if("old", &[&twin, &old]).as_deref(), Some("old"));
        assert_eq!(owner_if("young", &[&young, &old]).as_deref(), Some("old"), "age comes first");
    }
}
