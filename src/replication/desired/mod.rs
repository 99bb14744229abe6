//! Derives the desired state from the spec.
//!
//! In: a resource, and the facts discovered in AWS. Out: names, documents and rules, with every default filled in. A
//! new field of the spec does not compile until it is handled here.

mod discovered;
pub mod permissions;

pub use discovered::Discovered;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::{
    self, BucketReplicationSpec, DEFAULT_ROLE_PATH, Replicate, ReplicationRule, Source, StorageClass, Switch,
    VersioningPolicy,
};
use crate::iam::bucket_policy;
use crate::iam::digest::sha256_prefix;
use crate::iam::document::{PolicyDocument, Statement, trust_policy};
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::{Rule, RuleDestination, RuleFilter};
use crate::replication::desired::permissions::{Extent, permissions};
use crate::replication::observed::Caller;
use crate::replication::resource::Replication;

/// The service that assumes the role.
pub const S3: &str = "s3.amazonaws.com";

/// The state that AWS has to hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Desired {
    pub source: DesiredBucket,
    /// Each bucket once, however many rules name it.
    pub destinations: Vec<DesiredBucket>,
    pub role: DesiredRole,
    pub rules: BTreeMap<String, Rule>,
    /// The statements that must be in the policies of destinations of other accounts, by bucket; only of those that the
    /// operator may act in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bucket_policies: BTreeMap<String, Vec<Statement>>,
    /// The beginning of the Sids of these statements.
    #[serde(skip)]
    pub sid: String,
}

/// A bucket that is to be versioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DesiredBucket {
    pub name: String,
    /// The id of the account that owns it, where that is not the source's.
    pub account_id: Option<String>,
    /// The `AwsAccount` with whose credentials the operator acts on it. `None`: those of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
    pub versioning: VersioningPolicy,
}

/// The role S3 assumes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum DesiredRole {
    Managed(ManagedRole),
    /// An existing one, by its ARN.
    Existing {
        arn: String,
    },
}

/// A role that the operator makes and keeps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ManagedRole {
    pub name: String,
    pub path: String,
    pub permissions_boundary: Option<String>,
    /// The user's and the identity's.
    pub tags: BTreeMap<String, String>,
    pub trust: PolicyDocument,
    pub permissions: PolicyDocument,
}

impl DesiredRole {
    pub fn name(&self) -> &str {
        match self {
            DesiredRole::Managed(role) => &role.name,
            DesiredRole::Existing { arn } => crate::iam::arn::role_of_arn(arn),
        }
    }

    pub fn arn(&self, caller: &Caller) -> String {
        match self {
            DesiredRole::Managed(role) => caller.partition.role_arn(&caller.account, &role.path, &role.name),
            DesiredRole::Existing { arn } => arn.clone(),
        }
    }
}

impl Desired {
    pub fn new(replication: &Replication<'_>, discovered: &Discovered) -> Desired {
        let context = RuleContext { replication, discovered };
        // Exhaustive, so that a new field of the spec cannot be forgotten here. The policies, the pace
        // and the evidence are the planner's and the controller's business.
        let BucketReplicationSpec {
            source,
            role,
            replicate,
            rules,
            management_policy: _,
            health: _,
            deletion_policy: _,
            adoption_policy: _,
            interval: _,
            suspend: _,
        } = replication.spec;
        let Source { bucket, region: _, account_ref: _, versioning, kms_key_arns } = source;
        let rules: BTreeMap<String, Rule> =
            rules.iter().map(|rule| (rule.id.clone(), context.rule(rule))).collect();
        let Replicate { tags, acls } = replicate.clone().unwrap_or_default();
        let extent = Extent {
            tags: tags.unwrap_or(true),
            acls: acls.unwrap_or(true),
            object_lock: discovered.object_lock,
            source_keys: kms_key_arns.clone(),
        };
        let role =
            desired_role(role.as_ref(), replication, || permissions(bucket, discovered, &extent, &rules));
        let destinations = context.destinations();
        let source = DesiredBucket {
            name: bucket.clone(),
            account_id: None,
            account_ref: None,
            versioning: *versioning,
        };
        let sid = replication.sid();
        let mut desired =
            Desired { source, destinations, role, rules, bucket_policies: BTreeMap::new(), sid };
        desired.bucket_policies = bucket_policies(&desired, &discovered.caller);
        desired
    }

    /// Distinguishes one desired state from another: equal hashes mean that the spec asks for nothing new.
    pub fn hash(&self) -> String {
        sha256_prefix(&serde_json::to_vec(self).unwrap_or_default(), 16)
    }
}

fn desired_role(
    role: Option<&api::Role>,
    replication: &Replication<'_>,
    permissions: impl FnOnce() -> PolicyDocument,
) -> DesiredRole {
    let Replication { id, accounts, .. } = *replication;
    let api::Role { name, path, permissions_boundary, tags, arn } = role.cloned().unwrap_or_default();
    if let Some(arn) = arn {
        return DesiredRole::Existing { arn };
    }
    let mut all_tags = tags;
    all_tags.extend(id.tags());
    let imposed = accounts.source.as_ref().and_then(|account| account.spec.roles.clone()).unwrap_or_default();
    DesiredRole::Managed(ManagedRole {
        name: name.unwrap_or_else(|| id.default_role_name()),
        path: path.or(imposed.path).unwrap_or_else(|| DEFAULT_ROLE_PATH.to_owned()),
        permissions_boundary: permissions_boundary
            .or(imposed.permissions_boundary.filter(|_| !is_on(Mutant::BoundaryNotImposed))),
        tags: all_tags,
        trust: trust_policy(S3),
        permissions: permissions(),
    })
}

/// The context in which a rule is derived.
struct RuleContext<'a> {
    replication: &'a Replication<'a>,
    discovered: &'a Discovered,
}

impl RuleContext<'_> {
    /// The distinct destinations. Where rules disagree, `Required` wins: nothing is then written to the bucket.
    fn destinations(&self) -> Vec<DesiredBucket> {
        let mut buckets: BTreeMap<&str, DesiredBucket> = BTreeMap::new();
        for to in self.replication.spec.rules.iter().map(|rule| &rule.destination) {
            let versioning = to.versioning.unwrap_or_default();
            let bucket = buckets.entry(&to.bucket).or_insert_with(|| DesiredBucket {
                name: to.bucket.clone(),
                account_id: None,
                account_ref: None,
                versioning,
            });
            bucket.account_id = bucket.account_id.take().or_else(|| self.other_account(to));
            bucket.account_ref = bucket.account_ref.take().or_else(|| to.account_ref.clone());
            if versioning == VersioningPolicy::Required {
                bucket.versioning = VersioningPolicy::Required;
            }
        }
        buckets.into_values().collect()
    }

    /// The account that owns a destination, where the spec names it and, by an `accountRef`, it is not the source's
    /// own. An own account given by its id is kept: it is what the spec says.
    fn other_account(&self, to: &api::Destination) -> Option<String> {
        let accounts = self.replication.accounts;
        let account_id = accounts.account_id_of(to.account_ref.as_deref(), to.account.as_deref())?;
        (to.account.is_some() || account_id != self.discovered.caller.account).then_some(account_id)
    }

    fn rule(&self, rule: &ReplicationRule) -> Rule {
        let ReplicationRule {
            id: _,
            status,
            priority,
            filter,
            destination,
            delete_markers,
            replica_modifications,
            kms_encrypted_objects,
        } = rule;
        let api::Destination {
            bucket,
            region: _,
            account: _,
            account_ref: _,
            versioning: _,
            storage_class,
            ownership,
            kms_key_arn,
            replication_time_control,
            metrics,
        } = destination;
        let filter = filter.clone().unwrap_or_default();
        let replication_time_control = replication_time_control.unwrap_or_default();
        Rule {
            status: status.unwrap_or(Switch::Enabled),
            priority: *priority,
            filter: RuleFilter { prefix: filter.prefix.unwrap_or_default(), tags: filter.tags },
            delete_markers: delete_markers.unwrap_or_default(),
            replica_modifications: replica_modifications.unwrap_or_default(),
            kms_encrypted_objects: kms_encrypted_objects.unwrap_or_default(),
            destination: RuleDestination {
                bucket: self.discovered.caller.partition.bucket_arn(bucket),
                account: self.other_account(destination),
                storage_class: storage_class.map(StorageClass::as_str).map(str::to_owned),
                ownership: ownership.map(|api::Ownership::Destination| "Destination".to_owned()),
                kms_key: kms_key_arn.clone(),
                replication_time_control,
                metrics: if replication_time_control.is_enabled() {
                    Switch::Enabled
                } else {
                    metrics.unwrap_or_default()
                },
            },
        }
    }
}

/// The statements in the policies of buckets of other accounts, where the operator may act.
fn bucket_policies(desired: &Desired, caller: &Caller) -> BTreeMap<String, Vec<Statement>> {
    let abroad = |bucket: &&DesiredBucket| {
        bucket.account_ref.is_some() && bucket.account_id.as_ref().is_some_and(|id| *id != caller.account)
    };
    let role = desired.role.arn(caller);
    let statements = |bucket: &DesiredBucket| {
        let arn = caller.partition.bucket_arn(&bucket.name);
        let mut of_bucket = desired.rules.values().filter(|rule| rule.destination.bucket == arn);
        let changes_hands = |rule: &Rule| rule.destination.ownership.is_some();
        let override_owner = match is_on(Mutant::OwnershipOfEveryRule) {
            true => of_bucket.all(changes_hands),
            false => of_bucket.any(changes_hands),
        };
        (
            bucket.name.clone(),
            bucket_policy::statements(&desired.sid, std::slice::from_ref(&role), &arn, override_owner),
        )
    };
    desired.destinations.iter().filter(abroad).map(statements).collect()
}
