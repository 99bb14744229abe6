//! Decides to which resource a role in AWS belongs, by its tags.
//!
//! In: a resource's cluster, namespace, name and UID; the tags of a role. Out: whether the role is the resource's own;
//! the default name of a role; and the name of the sessions of the resource, which CloudTrail shows. Whether a role of
//! someone else may be adopted is decided in `plan/preconditions/to_write.rs`.

use std::collections::BTreeMap;

use crate::api::GROUP;
use crate::iam::bucket_policy;
use crate::iam::digest::sha256_prefix;
use crate::mutants::{Mutant, is_on};

/// The longest name IAM allows a role, and STS a session.
const MAX_ROLE_NAME: usize = 64;

/// A `BucketReplication` among all clusters. The UID distinguishes it from one that was deleted and made again under
/// the same name, and the cluster from one of the same name elsewhere: a name alone takes over no role.
///
/// `cluster` and `uid` are absent when a file is planned without a cluster; they then match any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResourceId {
    /// UID of the `kube-system` namespace.
    pub cluster: Option<String>,
    /// UIDs of `kube-system` in clusters that this one replaces: everything in AWS of the resource of this namespace
    /// and name there belongs to this one (`run --former-cluster`).
    pub former_clusters: Vec<String>,
    pub namespace: String,
    pub name: String,
    pub uid: Option<String>,
}

impl ResourceId {
    /// The resource that the tags of a managed role name. `None`: they do not name one, or not its cluster.
    pub fn of_tags(tags: &BTreeMap<String, String>) -> Option<ResourceId> {
        let value = |key: &str| value_of(tags, &tag(key)).cloned();
        Some(ResourceId {
            cluster: Some(value("cluster")?),
            former_clusters: Vec::new(),
            namespace: value("namespace")?,
            name: value("name")?,
            uid: Some(value("uid")?),
        })
    }

    /// The tags that a role lacks for `of_tags`. None: nothing says that an operator made the role.
    pub fn missing_tags(tags: &BTreeMap<String, String>) -> Option<Vec<String>> {
        let all = ["cluster", "namespace", "name", "uid"];
        let missing: Vec<String> =
            all.into_iter().map(tag).filter(|key| value_of(tags, key).is_none()).collect();
        (missing.len() < all.len()).then_some(missing)
    }

    /// The id for calls that are about an `AwsAccount` itself, which has no namespace.
    pub fn of_account(name: &str) -> ResourceId {
        ResourceId { namespace: "awsaccount".to_owned(), name: name.to_owned(), ..ResourceId::default() }
    }

    /// The id for calls that read the metrics of all resources of an account.
    pub fn of_sweep() -> ResourceId {
        ResourceId { namespace: "metrics".to_owned(), name: "health".to_owned(), ..ResourceId::default() }
    }

    /// The tags of a managed role. An unknown cluster or UID has none.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let mut tags =
            BTreeMap::from([(tag("namespace"), self.namespace.clone()), (tag("name"), self.name.clone())]);
        tags.extend(self.cluster.clone().map(|cluster| (tag("cluster"), cluster)));
        tags.extend(self.uid.clone().map(|uid| (tag("uid"), uid)));
        tags
    }

    /// Whether a role with these tags is this resource's: none of them names another, and the ones that are there name
    /// this one. The UID alone does, and so do the others without it: a tag that someone removed is drift and does not
    /// make the role foreign. A role of the same resource in a former cluster counts with any UID.
    pub fn owns(&self, tags: &BTreeMap<String, String>) -> bool {
        let ours = self.tags();
        if self.is_of_former_cluster(tags) && is_named_by(tags, self) {
            return true;
        }
        let contradicted =
            ours.iter().any(|(key, value)| value_of(tags, key).is_some_and(|held| held != value));
        let uid = tag("uid");
        let by_uid = ours.get(&uid).is_some_and(|value| value_of(tags, &uid) == Some(value));
        let by_the_others = ours.keys().filter(|key| **key != uid).all(|key| value_of(tags, key).is_some());
        !contradicted && (by_uid || by_the_others)
    }

    /// This id, with the cluster and UID that it lacks taken from the tags of a role that is otherwise its own.
    pub fn completed_from(mut self, tags: &BTreeMap<String, String>) -> ResourceId {
        if self.owns(tags) {
            self.cluster = self.cluster.or_else(|| value_of(tags, &tag("cluster")).cloned());
            self.uid = self.uid.or_else(|| value_of(tags, &tag("uid")).cloned());
        }
        self
    }

    fn is_of_former_cluster(&self, tags: &BTreeMap<String, String>) -> bool {
        value_of(tags, &tag("cluster"))
            .is_some_and(|held| self.former_clusters.contains(held) || is_on(Mutant::AnotherClustersRole))
    }

    /// Whether tags name a cluster that is neither this resource's nor one that it replaces.
    fn is_of_another_cluster(&self, tags: &BTreeMap<String, String>) -> bool {
        let held = value_of(tags, &tag("cluster"));
        held.zip(self.cluster.as_ref()).is_some_and(|(held, own)| held != own)
            && !self.is_of_former_cluster(tags)
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

    /// The name of the role that is made for the job of a `ReplicationBackfill`: `backfill+NAMESPACE.NAME`. No other
    /// kind's role has it, for no name in Kubernetes holds a `+`.
    pub fn backfill_role_name(&self) -> String {
        shortened(format!("backfill+{}.{}", self.namespace, self.name))
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

/// Whether IAM takes two keys of tags for one: it does not distinguish them by case, in any alphabet
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html>).
pub fn is_same_key(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}

/// The value of a tag, by its key in any case.
pub fn value_of<'a>(tags: &'a BTreeMap<String, String>, key: &str) -> Option<&'a String> {
    tags.get(key).or_else(|| tags.iter().find(|(held, _)| is_same_key(held, key)).map(|(_, value)| value))
}

/// Whether a tag is one of those that name the owner of a role. Admission keeps them out of a spec.
pub fn is_owner_tag(key: &str) -> bool {
    key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'))
}

/// The tag of a role that a resource took over. It goes along with the role, so that a deletion knows that the operator
/// did not make it, whatever became of the status.
pub fn adopted_tag() -> (String, String) {
    (tag("adopted"), "true".to_owned())
}

/// Whether a role was made by someone else and taken over.
pub fn is_adopted(tags: &BTreeMap<String, String>) -> bool {
    value_of(tags, &tag("adopted")).is_some()
}

/// The keys of the tags with which a role was taken over. Without them it is nobody's again.
pub fn owner_keys(tags: &BTreeMap<String, String>) -> Vec<String> {
    tags.keys().filter(|key| is_owner_tag(key)).cloned().collect()
}

/// Whether tags name a resource, as those with which a role is taken over do.
pub fn names_owner(tags: &BTreeMap<String, String>) -> bool {
    [tag("namespace"), tag("name")].iter().all(|key| tags.contains_key(key))
}

/// Whether the tags of a role name another resource than this one, by cluster, namespace and name.
pub fn belongs_to_another(tags: &BTreeMap<String, String>, id: &ResourceId) -> bool {
    let other = |key: &str, own: &str| value_of(tags, &tag(key)).is_some_and(|held| held != own);
    other("namespace", &id.namespace) || other("name", &id.name) || id.is_of_another_cluster(tags)
}

/// Whether the tags of a role name this resource, by namespace and name, and no other cluster.
pub fn is_named_by(tags: &BTreeMap<String, String>, id: &ResourceId) -> bool {
    let named = |key: &str, own: &str| value_of(tags, &tag(key)).is_some_and(|held| held == own);
    named("namespace", &id.namespace) && named("name", &id.name) && !id.is_of_another_cluster(tags)
}

/// Words of messages about roles of others, by which the commands that fix them are chosen.
pub const UNOWNED: &str = "was not made by this operator";
pub const OF_ANOTHER_CLUSTER: &str = ", which is not this cluster";
pub const ADOPT_IT: &str = "set adoptionPolicy: Adopt to take it over";
pub const ONLY_TAGGED: &str = "allows adopting only roles tagged for this resource";

/// Which resource a role with these tags belongs to, for a message.
pub fn owner_of(tags: &BTreeMap<String, String>, id: &ResourceId) -> String {
    let value = |key: &str| value_of(tags, &tag(key)).map(String::as_str);
    let (Some(namespace), Some(name)) = (value("namespace"), value("name")) else {
        return UNOWNED.to_owned();
    };
    let (cluster, uid) = (value("cluster").unwrap_or("unknown"), value("uid").unwrap_or("unknown"));
    let elsewhere = match id.is_of_another_cluster(tags) {
        true => format!("{OF_ANOTHER_CLUSTER}: while cluster {cluster} exists, do not adopt it"),
        false => String::new(),
    };
    format!("belongs to BucketReplication {namespace}/{name} (uid {uid}) of cluster {cluster}{elsewhere}")
}

fn tag(key: &str) -> String {
    format!("{GROUP}/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str) -> ResourceId {
        ResourceId {
            cluster: Some("c".into()),
            former_clusters: Vec::new(),
            namespace: namespace.into(),
            name: name.into(),
            uid: Some("u".into()),
        }
    }

    #[test]
    fn the_same_name_in_another_cluster_is_another_resource_unless_this_cluster_replaces_that_one() {
        let ours = id("data", "orders");
        let elsewhere =
            ResourceId { cluster: Some("d".into()), uid: Some("v".into()), ..id("data", "orders") };
        assert!(!ours.owns(&elsewhere.tags()));
        assert!(!is_named_by(&elsewhere.tags(), &ours));
        assert!(belongs_to_another(&elsewhere.tags(), &ours));
        assert!(owner_of(&elsewhere.tags(), &ours).contains("while cluster d exists, do not adopt it"));
        let rebuilt = ResourceId { former_clusters: vec!["d".into()], ..ours };
        assert!(rebuilt.owns(&elsewhere.tags()));
        assert!(is_named_by(&elsewhere.tags(), &rebuilt) && !belongs_to_another(&elsewhere.tags(), &rebuilt));
        let other = ResourceId { name: "invoices".into(), ..elsewhere };
        assert!(!rebuilt.owns(&other.tags()), "another resource of the former cluster stays another");
    }

    #[test]
    fn tags_have_no_case() {
        let ours = id("data", "orders");
        let folded = |tags: BTreeMap<String, String>| {
            tags.into_iter().map(|(key, value)| (key.to_uppercase(), value)).collect::<BTreeMap<_, _>>()
        };
        assert!(ours.owns(&folded(ours.tags())));
        assert!(belongs_to_another(&folded(id("data", "other").tags()), &ours));
        let held = BTreeMap::from([("équipe".to_owned(), "data".to_owned())]);
        assert_eq!(value_of(&held, "Équipe").map(String::as_str), Some("data"));
        assert_eq!(value_of(&held, "Equipe"), None);
    }

    #[test]
    fn a_role_is_owned_only_by_the_resource_with_the_same_uid_in_the_same_cluster() {
        let ours = id("data", "orders");
        assert!(ours.owns(&ours.tags()));
        for other in [
            ResourceId { uid: Some("v".into()), ..ours.clone() },
            ResourceId { cluster: Some("d".into()), ..ours.clone() },
            id("data", "other"),
        ] {
            assert!(!ours.owns(&other.tags()), "{other:?}");
        }
        assert!(!ours.owns(&BTreeMap::new()));
    }

    #[test]
    fn a_role_that_lost_one_of_its_tags_is_still_owned() {
        let ours = id("data", "orders");
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
        assert_eq!(id("a-b", "c").default_role_name(), "a-b.c");
        assert_ne!(id("a-b", "c").default_role_name(), id("a", "b-c").default_role_name());
        let long = "x".repeat(63);
        let one = id(&long, "one").default_role_name();
        assert_eq!(one.len(), 64);
        assert_ne!(one, id(&long, "two").default_role_name());
    }

    /// A prefix of an object from before admission may have any characters.
    #[test]
    fn a_name_that_is_too_long_is_cut_between_two_characters() {
        for length in 0..MAX_ROLE_NAME {
            let prefix = format!("{}{}", "x".repeat(length), "é".repeat(MAX_ROLE_NAME));
            let name = id("a", "b").session_name(Some(&prefix));
            assert!(name.len() <= MAX_ROLE_NAME, "{name}");
            assert_ne!(name, id("a", "c").session_name(Some(&prefix)));
        }
    }
}
