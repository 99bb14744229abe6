//! The things that no resource owns any more, as data.
//!
//! In: the decisions of `find.rs`. Out: [`Findings`] with its [`Orphan`]s: the steps that delete each, and what is listed
//! or deleted where the command asks for a part. Its JSON form is documented in `docs/command-line.md` and stable. Pure.

use serde::Serialize;

use crate::cli::shell::word;
use crate::replication::backfill::role::KIND_TAG;
use crate::replication::resource_id::is_adopted;
use crate::replication::{BucketAddress, ObservedRole, ResourceId, Step};

/// The kind of the resource of a role without a tag for it.
pub const REPLICATION: &str = "BucketReplication";

/// The things that are left over of resources that are gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Findings {
    pub orphans: Vec<Orphan>,
    /// Roles whose resource is gone, and with which a bucket still replicates: `deletionPolicy: Retain` and
    /// `managementPolicy: Observe` leave them so on purpose.
    pub still_replicating: Vec<Orphan>,
    /// Roles whose tags name another cluster: never touched.
    pub of_other_clusters: usize,
    /// Roles that are none of the above for the sole reason that their tags name another namespace than the one that was
    /// asked for: not listed, and never touched.
    pub of_other_namespaces: usize,
    /// Statements of an operator whose role is gone, so that nothing says which cluster's they are: never touched.
    pub unclear: Vec<Unclear>,
    /// Roles of which nothing says whether they are left over: never touched.
    pub unclear_roles: Vec<UnclearRole>,
    /// Accounts that could not be read: what they hold is unknown.
    pub unknown: Vec<UnreadAccount>,
}

/// An account that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadAccount {
    pub account_id: String,
    pub why: String,
}

/// A role whose resource is gone, with what names it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    pub account_id: String,
    pub role: String,
    pub arn: String,
    /// The kind of the resource that the tags name: `BucketReplication` or `ReplicationBackfill`.
    pub kind: &'static str,
    /// The resource that the tags name.
    pub namespace: String,
    pub name: String,
    /// Buckets whose replication configuration names the role.
    pub configurations: Vec<BucketAddress>,
    /// Bucket policies with statements for the role, with the beginning of their Sids.
    pub statements: Vec<Statements>,
    /// Policies of others on the role. IAM deletes no role that has any.
    pub blocked_by: Vec<String>,
    /// All that the tags name.
    #[serde(skip)]
    pub id: ResourceId,
    #[serde(skip)]
    pub has_policy: bool,
    /// Whether a bucket replicates with it.
    #[serde(skip)]
    pub replicates: bool,
}

/// The statements of one resource in the policy of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Statements {
    pub bucket: BucketAddress,
    pub sid: String,
}

/// Statements that an operator wrote, for a principal that is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unclear {
    pub bucket: String,
    pub sid: String,
    pub principals: Vec<String>,
}

/// A role of which nothing says whether it is left over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnclearRole {
    pub account_id: String,
    pub arn: String,
    /// The namespace that its tags name; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub why: String,
    /// The action that makes it clear the next time.
    pub fix: String,
}

impl Orphan {
    /// The steps that delete it: what needs the role first, and the role last. None for the role while others have
    /// attached policies to it, because IAM would refuse.
    pub fn steps(&self) -> Vec<Step> {
        let configurations =
            self.configurations.iter().map(|bucket| Step::DeleteReplication { bucket: bucket.clone() });
        let statements = self.statements.iter().map(|Statements { bucket, sid }| Step::PutBucketPolicy {
            bucket: bucket.clone(),
            sid: sid.clone(),
            statements: Vec::new(),
            expands: false,
        });
        let role = self.role.clone();
        let policy = self.has_policy.then(|| Step::DeleteRolePolicy { role: role.clone() });
        let role = self.blocked_by.is_empty().then_some(Step::DeleteRole { role });
        configurations.chain(statements).chain(policy).chain(role).collect()
    }

    /// The commands that take the policies of others off the role, so that IAM deletes it.
    pub fn unblocking(&self) -> Vec<String> {
        let role = word(&self.role);
        let command = |policy: &String| match policy.starts_with("arn:") {
            true => format!("aws iam detach-role-policy --role-name {role} --policy-arn {}", word(policy)),
            false => format!("aws iam delete-role-policy --role-name {role} --policy-name {}", word(policy)),
        };
        self.blocked_by.iter().map(command).collect()
    }

    /// Whether the tags of a role still name the resource that is gone, and nobody took the role over.
    pub fn is_of_same_resource(&self, role: &ObservedRole) -> bool {
        let kind = role.tags.get(KIND_TAG).map_or(REPLICATION, String::as_str);
        role.arn == self.arn
            && kind == self.kind
            && ResourceId::of_tags(&role.tags).as_ref() == Some(&self.id)
            && !is_adopted(&role.tags)
    }
}

impl Findings {
    /// The orphans that `--delete` deletes; `all`: also the roles that still replicate.
    pub fn to_delete(&self, all: bool) -> Vec<&Orphan> {
        let replicating = self.still_replicating.iter().filter(|_| all);
        self.orphans.iter().chain(replicating).collect()
    }

    /// The things that are left over of the resources of one namespace; `None`: of all. A thing that names no namespace
    /// stays.
    pub fn within(mut self, namespace: Option<&str>) -> Findings {
        let Some(namespace) = namespace else { return self };
        let count = |findings: &Findings| {
            findings.orphans.len() + findings.still_replicating.len() + findings.unclear_roles.len()
        };
        let all = count(&self);
        self.orphans.retain(|orphan| orphan.namespace == namespace);
        self.still_replicating.retain(|orphan| orphan.namespace == namespace);
        self.unclear_roles.retain(|role| role.namespace.as_deref().is_none_or(|named| named == namespace));
        self.of_other_namespaces = all - count(&self);
        self
    }

    /// Whether every account was read, and there is nothing to see to.
    pub fn is_empty(&self) -> bool {
        let is_known = self.unknown.is_empty() && !self.has_unclear();
        is_known && self.orphans.is_empty() && self.still_replicating.is_empty()
    }

    /// Whether it could not be decided of something whether it is left over.
    pub fn has_unclear(&self) -> bool {
        !self.unclear.is_empty() || !self.unclear_roles.is_empty()
    }
}

/// A role whose resource is gone.
#[cfg(test)]
pub fn sample() -> Orphan {
    Orphan {
        account_id: "111111111111".to_owned(),
        role: "gone".to_owned(),
        arn: "arn:aws:iam::111111111111:role/s3-replication/gone".to_owned(),
        kind: REPLICATION,
        namespace: "data".to_owned(),
        name: "gone".to_owned(),
        configurations: Vec::new(),
        statements: Vec::new(),
        blocked_by: Vec::new(),
        id: ResourceId {
            cluster: Some("c".to_owned()),
            namespace: "data".to_owned(),
            name: "gone".to_owned(),
            uid: Some("u".to_owned()),
            ..ResourceId::default()
        },
        has_policy: false,
        replicates: false,
    }
}

/// Everything that may be found, with `text` in each string that AWS or a user may have chosen.
#[cfg(test)]
pub fn full_sample(text: &str) -> Findings {
    let own = || text.to_owned();
    let bucket = BucketAddress {
        name: own(),
        region: "us-east-1".to_owned(),
        account_id: "222222222222".to_owned(),
        account_ref: Some("backup".to_owned()),
    };
    let statements = Statements { bucket: bucket.clone(), sid: "S3Replication0123456789abcdef".to_owned() };
    let orphan = Orphan {
        role: own(),
        arn: own(),
        namespace: own(),
        name: own(),
        configurations: vec![bucket],
        statements: vec![statements],
        blocked_by: vec![own(), format!("arn:aws:iam::aws:policy/{text}")],
        has_policy: true,
        ..sample()
    };
    let (account_id, sid) = ("111111111111".to_owned(), "S3Replication0123456789abcdef".to_owned());
    Findings {
        still_replicating: vec![Orphan { replicates: true, ..orphan.clone() }],
        orphans: vec![orphan],
        of_other_clusters: 1,
        of_other_namespaces: 2,
        unclear: vec![Unclear { bucket: own(), sid, principals: vec![own()] }],
        unclear_roles: vec![UnclearRole {
            account_id,
            arn: own(),
            namespace: Some(own()),
            why: own(),
            fix: own(),
        }],
        unknown: vec![UnreadAccount { account_id: own(), why: own() }],
    }
}
