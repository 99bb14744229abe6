//! S3 keeps one replication configuration a bucket: of several resources for one source, one owns it.

use kube::ResourceExt;

use crate::api::BucketReplication;

/// The owner of the source among resources for the same bucket: the oldest, then the one with the smaller UID.
///
/// Age counts in whole seconds: of two made within the same one, who was there first and already `holds` the
/// source keeps it, or the second would find the first's configuration in its way, or overwrite it.
pub fn owner<'a>(
    resources: impl Iterator<Item = &'a BucketReplication>,
    holds: impl Fn(&BucketReplication) -> bool,
) -> Option<&'a BucketReplication> {
    resources.min_by(|a, b| {
        let key = |r: &BucketReplication| (r.creation_timestamp().map(|t| t.0), !holds(r), r.uid());
        key(a).cmp(&key(b))
    })
}

/// What a resource is told that is not the owner.
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
    fn of_the_same_age_who_already_holds_the_source_keeps_it() {
        let (old, young, twin) =
            (resource("old", 1, "z"), resource("young", 2, "a"), resource("twin", 1, "y"));
        let owner_if = |holder: &str, all: &[&BucketReplication]| {
            owner(all.iter().copied(), |r| r.name_any() == holder).map(ResourceExt::name_any)
        };
        assert_eq!(owner_if("old", &[&twin, &old]).as_deref(), Some("old"));
        assert_eq!(owner_if("young", &[&young, &old]).as_deref(), Some("old"), "age comes first");
    }
}
