//! Whose something in AWS is: the tags that a managed role carries.

use std::collections::BTreeMap;

use crate::api::GROUP;
use crate::iam::bucket_policy;
use crate::iam::digest::sha256_prefix;

/// The longest name IAM allows a role, and STS a session.
const MAX_ROLE_NAME: usize = 64;

/// A `BucketReplication` among all clusters. The UID is the identity: a resource deleted and made again under
/// the same name is another one, so that nobody takes over another's role by a name.
///
/// `cluster` and `uid` are absent when a file is planned without a cluster; they then match any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceId {
    /// UID of the `kube-system` namespace.
    pub cluster: Option<String>,
    pub namespace: String,
    pub name: String,
    pub uid: Option<String>,
}

impl ResourceId {
    /// The operator about an `AwsAccount` itself, which has no namespace.
    pub fn of_account(name: &str) -> ResourceId {
        ResourceId { cluster: None, namespace: "awsaccount".to_owned(), name: name.to_owned(), uid: None }
    }

    /// The tags of a managed role. An unknown cluster or UID has none.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags =
            BTreeMap::from([(tag("namespace"), self.namespace.clone()), (tag("name"), self.name.clone())]);
        tags.extend(self.cluster.clone().map(|c| (tag("cluster"), c)));
        tags.extend(self.uid.clone().map(|u| (tag("uid"), u)));
        tags
    }

    /// Whether a role with these tags is this resource's: none of them names another, and what is left of them
    /// names this one. The UID alone does, and so do the others without it: a tag that someone removed is drift
    /// and does not make the role foreign.
    pub fn owns(&self, tags: &BTreeMap<String, String>) -> bool {
        let ours = self.tags();
        let uid = tag("uid");
        let contradicted = ours.iter().any(|(key, value)| tags.get(key).is_some_and(|held| held != value));
        let by_uid = ours.get(&uid).is_some_and(|value| tags.get(&uid) == Some(value));
        let by_the_others = ours.keys().filter(|key| **key != uid).all(|key| tags.contains_key(key));
        !contradicted && (by_uid || by_the_others)
    }

    /// This identity with what it lacks taken from the tags of a role that is otherwise its own.
    pub fn completed_from(mut self, tags: &BTreeMap<String, String>) -> ResourceId {
        if self.owns(tags) {
            self.cluster = self.cluster.or_else(|| tags.get(&tag("cluster")).cloned());
            self.uid = self.uid.or_else(|| tags.get(&tag("uid")).cloned());
        }
        self
    }

    /// The beginning of the Sids of this resource's statements in the policies of destination buckets. It
    /// distinguishes them from the statements of others. The role is not part of it, so that a renamed role changes
    /// the statements and leaves none behind.
    pub fn policy_sid(&self, source: &str) -> String {
        bucket_policy::sid(&[&self.namespace, &self.name, source])
    }

    /// The name of a managed role whose spec gives none: `NAMESPACE.NAME`, which no other resource of the
    /// cluster has (a namespace holds no dot); shortened with a hash where IAM would not take it.
    pub fn default_role_name(&self) -> String {
        shortened(format!("{}.{}", self.namespace, self.name))
    }

    /// The name of the sessions in which the operator acts for this resource, which CloudTrail shows. STS takes
    /// names of as many characters as IAM takes for a role.
    pub fn session_name(&self, prefix: Option<&str>) -> String {
        match prefix {
            Some(prefix) => shortened(format!("{prefix}@{}.{}", self.namespace, self.name)),
            None => self.default_role_name(),
        }
    }
}

/// A name that IAM takes; names that are too long keep apart by a hash.
fn shortened(name: String) -> String {
    if name.len() <= MAX_ROLE_NAME {
        return name;
    }
    let kept = (0..=MAX_ROLE_NAME - 9).rev().find_map(|end| name.get(..end)).unwrap_or_default();
    format!("{kept}-{}", sha256_prefix(name.as_bytes(), 8))
}

/// Whether the tags of a role name another resource than this one, by namespace and name: the same resource of a
/// cluster that was rebuilt is no other.
pub fn belongs_to_another(tags: &BTreeMap<String, String>, identity: &ResourceId) -> bool {
    let other = |key: &str, own: &str| tags.get(&tag(key)).is_some_and(|held| held != own);
    other("namespace", &identity.namespace) || other("name", &identity.name)
}

/// Whether the tags of a role name this resource, by namespace and name.
pub fn is_named_by(tags: &BTreeMap<String, String>, identity: &ResourceId) -> bool {
    let named = |key: &str, own: &str| tags.get(&tag(key)).is_some_and(|held| held == own);
    named("namespace", &identity.namespace) && named("name", &identity.name)
}

/// Who a role with these tags belongs to, for a message.
pub fn owner_of(tags: &BTreeMap<String, String>) -> String {
    match (tags.get(&tag("namespace")), tags.get(&tag("name"))) {
        (Some(namespace), Some(name)) => {
            let cluster = tags.get(&tag("cluster")).map_or("unknown", String::as_str);
            let uid = tags.get(&tag("uid")).map_or("unknown", String::as_str);
            format!("belongs to BucketReplication {namespace}/{name} (uid {uid}) of cluster {cluster}")
        }
        _ => "was not made by this operator".to_owned(),
    }
}

fn tag(key: &str) -> String {
    format!("{GROUP}/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(namespace: &str, name: &str) -> ResourceId {
        ResourceId {
            cluster: Some("c".into()),
            namespace: namespace.into(),
            name: name.into(),
            uid: Some("u".into()),
        }
    }

    #[test]
    fn a_role_is_owned_only_by_the_resource_with_the_same_uid_in_the_same_cluster() {
        let ours = identity("data", "orders");
        assert!(ours.owns(&ours.tags()));
        for other in [
            ResourceId { uid: Some("v".into()), ..ours.clone() },
            ResourceId { cluster: Some("d".into()), ..ours.clone() },
            identity("data", "other"),
        ] {
            assert!(!ours.owns(&other.tags()), "{other:?}");
        }
        assert!(!ours.owns(&BTreeMap::new()));
    }

    #[test]
    fn a_role_that_lost_one_of_its_tags_is_still_owned() {
        let ours = identity("data", "orders");
        for key in ours.tags().keys() {
            let mut tags = ours.tags();
            tags.remove(key);
            assert!(ours.owns(&tags), "without {key}");
        }
        let mut tags = ours.tags();
        tags.retain(|key, _| *key == tag("namespace") || *key == tag("name"));
        assert!(!ours.owns(&tags), "another cluster may have a resource of this name");
    }

    #[test]
    fn default_role_names_are_unique_and_fit() {
        assert_eq!(identity("a-b", "c").default_role_name(), "a-b.c");
        assert_ne!(identity("a-b", "c").default_role_name(), identity("a", "b-c").default_role_name());
        let long = "x".repeat(63);
        let one = identity(&long, "one").default_role_name();
        assert_eq!(one.len(), 64);
        assert_ne!(one, identity(&long, "two").default_role_name());
    }
}
