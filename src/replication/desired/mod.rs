//! What the spec asks of AWS, worked out in full: names, documents and rules, with every default filled in.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::api::{
    self, BucketReplicationSpec, DEFAULT_ROLE_PATH, Replicate, ReplicationRule, Source, StorageClass, Switch,
    VersioningPolicy,
};
use crate::iam::bucket_policy;
use crate::iam::document::{PolicyDocument, Statement, trust_policy};
use crate::replication::authorize::accounts::Accounts;
use crate::replication::configuration::{Filter, Rule, RuleDestination};
use crate::replication::observed::Caller;
use crate::replication::resource_id::{ResourceId, hex};

/// What AWS shall hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Desired {
    pub source: DesiredBucket,
    /// Each bucket once, however many rules name it.
    pub destinations: Vec<DesiredBucket>,
    pub role: DesiredRole,
    pub rules: BTreeMap<String, Rule>,
    /// What is to be in the policies of destinations of other accounts, by bucket; only of those the operator may
    /// act in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bucket_policies: BTreeMap<String, Vec<Statement>>,
    /// What the Sids of these statements begin with.
    #[serde(skip)]
    pub sid: String,
}

/// A bucket that is to be versioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DesiredBucket {
    pub bucket: String,
    /// The owner's account id, where it is not the source's.
    pub account: Option<String>,
    /// The `AwsAccount` as whose identity the operator acts on it. `None`: as on the source.
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

/// What has to be known before the spec can be worked out.
#[derive(Clone, Debug)]
pub struct Discovered<'a> {
    pub caller: Caller,
    /// By bucket. A bucket that is not there has none; only KMS statements need it.
    pub regions: BTreeMap<String, String>,
    pub accounts: &'a Accounts,
    /// The source has Object Lock: its retention and legal holds go along.
    pub object_lock: bool,
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
    pub fn new(spec: &BucketReplicationSpec, identity: &ResourceId, facts: &Discovered<'_>) -> Desired {
        // Exhaustive, so that a new field of the spec cannot be forgotten here. The policies and the pace are
        // the planner's and the controller's business.
        let BucketReplicationSpec {
            source,
            role,
            replicate,
            rules,
            management_policy: _,
            deletion_policy: _,
            adoption_policy: _,
            interval: _,
            suspend: _,
        } = spec;
        let Source { bucket, region: _, account_ref: _, versioning, kms_key_arns: _ } = source;
        let role = desired_role(role.as_ref(), identity, facts.accounts, || {
            permissions(source, replicate.as_ref(), rules, facts)
        });
        let destinations = destinations(rules, facts);
        let rules: BTreeMap<String, Rule> =
            rules.iter().map(|rule| (rule.id.clone(), desired_rule(rule, facts))).collect();
        let source = DesiredBucket {
            bucket: bucket.clone(),
            account: None,
            account_ref: None,
            versioning: *versioning,
        };
        let sid = bucket_policy::sid(identity, bucket);
        let bucket_policies = bucket_policies(&destinations, &rules, &role.arn(&facts.caller), &sid, facts);
        Desired { source, destinations, role, rules, bucket_policies, sid }
    }

    /// Tells one desired state from another: equal hashes mean that nothing new is asked for.
    pub fn hash(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        hex(&Sha256::digest(&json))[..16].to_owned()
    }
}

/// The name of the role the spec asks for, which can be told without knowing anything of AWS.
pub fn role_name(spec: &BucketReplicationSpec, identity: &ResourceId) -> String {
    let role = spec.role.as_ref();
    match role.and_then(|r| r.arn.as_deref()) {
        Some(arn) => crate::iam::arn::role_of_arn(arn).to_owned(),
        None => role.and_then(|r| r.name.clone()).unwrap_or_else(|| identity.default_role_name()),
    }
}

fn desired_role(
    role: Option<&api::Role>,
    identity: &ResourceId,
    accounts: &Accounts,
    permissions: impl FnOnce() -> PolicyDocument,
) -> DesiredRole {
    let api::Role { name, path, permissions_boundary, tags, arn } = role.cloned().unwrap_or_default();
    if let Some(arn) = arn {
        return DesiredRole::Existing { arn };
    }
    let mut all_tags = tags;
    all_tags.extend(identity.tags());
    let imposed = accounts.source.as_ref().and_then(|account| account.spec.roles.clone()).unwrap_or_default();
    DesiredRole::Managed(ManagedRole {
        name: name.unwrap_or_else(|| identity.default_role_name()),
        path: path.or(imposed.path).unwrap_or_else(|| DEFAULT_ROLE_PATH.to_owned()),
        permissions_boundary: permissions_boundary.or(imposed.permissions_boundary),
        tags: all_tags,
        trust: trust_policy(),
        permissions: permissions(),
    })
}

/// The distinct destinations. Where rules disagree, `Required` wins: nothing is then written to the bucket.
fn destinations(rules: &[ReplicationRule], facts: &Discovered<'_>) -> Vec<DesiredBucket> {
    let mut buckets: BTreeMap<&str, DesiredBucket> = BTreeMap::new();
    for rule in rules {
        let to = &rule.destination;
        let versioning = to.versioning.unwrap_or_default();
        let bucket = buckets.entry(&to.bucket).or_insert_with(|| DesiredBucket {
            bucket: to.bucket.clone(),
            account: None,
            account_ref: None,
            versioning,
        });
        bucket.account = bucket.account.take().or_else(|| other_account(to, facts));
        bucket.account_ref = bucket.account_ref.take().or_else(|| to.account_ref.clone());
        if versioning == VersioningPolicy::Required {
            bucket.versioning = VersioningPolicy::Required;
        }
    }
    buckets.into_values().collect()
}

/// The account that owns a destination, where the spec names it and, by an `accountRef`, it is not the source's own.
/// An own account given by its id is kept: it is what the spec says.
fn other_account(to: &api::Destination, facts: &Discovered<'_>) -> Option<String> {
    let owner = facts.accounts.owner_of(to.account_ref.as_deref(), to.account.as_deref())?;
    (to.account.is_some() || owner != facts.caller.account).then_some(owner)
}

/// The statements in the policies of buckets of other accounts, where the operator may act.
fn bucket_policies(
    destinations: &[DesiredBucket],
    rules: &BTreeMap<String, Rule>,
    role: &str,
    sid: &str,
    facts: &Discovered<'_>,
) -> BTreeMap<String, Vec<Statement>> {
    let partition = facts.caller.partition;
    let abroad = |bucket: &&DesiredBucket| {
        bucket.account_ref.is_some() && bucket.account.as_ref().is_some_and(|a| *a != facts.caller.account)
    };
    let statements = |bucket: &DesiredBucket| {
        let arn = partition.bucket_arn(&bucket.bucket);
        let changes_hands =
            |rule: &Rule| rule.destination.bucket == arn && rule.destination.ownership.is_some();
        let override_owner = rules.values().any(changes_hands);
        (bucket.bucket.clone(), bucket_policy::statements(sid, role, &arn, override_owner))
    };
    destinations.iter().filter(abroad).map(statements).collect()
}

fn desired_rule(rule: &ReplicationRule, facts: &Discovered<'_>) -> Rule {
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
        filter: Filter { prefix: filter.prefix.unwrap_or_default(), tags: filter.tags },
        delete_markers: delete_markers.unwrap_or_default(),
        replica_modifications: replica_modifications.unwrap_or_default(),
        kms_encrypted_objects: kms_encrypted_objects.unwrap_or_default(),
        destination: RuleDestination {
            bucket: facts.caller.partition.bucket_arn(bucket),
            account: other_account(destination, facts),
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

/// What the role may do: each action only on the resources it needs and only for what is asked for
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html>).
fn permissions(
    source: &Source,
    replicate: Option<&Replicate>,
    rules: &[ReplicationRule],
    facts: &Discovered<'_>,
) -> PolicyDocument {
    let partition = facts.caller.partition;
    let Replicate { tags, acls } = replicate.cloned().unwrap_or_default();
    let (tags, acls) = (tags.unwrap_or(true), acls.unwrap_or(true));

    let mut read = vec!["s3:GetObjectVersionForReplication"];
    let mut write = vec!["s3:ReplicateObject", "s3:ReplicateDelete"];
    if acls {
        read.push("s3:GetObjectVersionAcl");
        write.push("s3:PutObjectAcl");
    }
    if tags {
        read.push("s3:GetObjectVersionTagging");
        write.extend(["s3:ReplicateTags", "s3:PutObjectTagging"]);
    }
    if facts.object_lock {
        read.extend(["s3:GetObjectRetention", "s3:GetObjectLegalHold"]);
    }

    let objects = |rules: &mut dyn Iterator<Item = &ReplicationRule>| -> BTreeSet<String> {
        rules.map(|r| partition.objects_arn(&r.destination.bucket)).collect()
    };
    let mut statements = vec![
        Statement::allow(
            "SourceBucket",
            ["s3:GetReplicationConfiguration", "s3:ListBucket"],
            [partition.bucket_arn(&source.bucket)],
        ),
        Statement::allow("SourceObjects", read, [partition.objects_arn(&source.bucket)]),
        Statement::allow("DestinationObjects", write, objects(&mut rules.iter())),
    ];
    let owned = objects(&mut rules.iter().filter(|r| r.destination.ownership.is_some()));
    if !owned.is_empty() {
        statements.push(Statement::allow("DestinationOwner", ["s3:ObjectOwnerOverrideToBucketOwner"], owned));
    }
    statements.extend(kms_statements(source, rules, facts));
    PolicyDocument::new(statements)
}

/// Decrypt with the source's keys and encrypt with each destination's, through S3 only and for these buckets
/// only. The encryption context is the object's ARN, or the bucket's where S3 Bucket Keys are on: both are
/// allowed, because the wrong one alone replicates nothing
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>).
fn kms_statements(source: &Source, rules: &[ReplicationRule], facts: &Discovered<'_>) -> Vec<Statement> {
    let partition = facts.caller.partition;
    let encrypted: Vec<&ReplicationRule> =
        rules.iter().filter(|r| r.kms_encrypted_objects.unwrap_or_default().is_enabled()).collect();
    if encrypted.is_empty() {
        return Vec::new();
    }
    let through_s3 = |statement: Statement, bucket: &str| {
        let region = facts.regions.get(bucket).map_or("*", String::as_str);
        statement.when("StringLike", "kms:ViaService", vec![partition.s3_via_service(region)]).when(
            "StringLike",
            "kms:EncryptionContext:aws:s3:arn",
            vec![partition.bucket_arn(bucket), partition.objects_arn(bucket)],
        )
    };
    let keys = if source.kms_key_arns.is_empty() {
        let region = facts.regions.get(&source.bucket).map_or("*", String::as_str);
        vec![format!("arn:{}:kms:{region}:{}:key/*", partition.id(), facts.caller.account)]
    } else {
        source.kms_key_arns.clone()
    };
    let mut statements =
        vec![through_s3(Statement::allow("DecryptSource", ["kms:Decrypt"], keys), &source.bucket)];

    let mut by_bucket: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in encrypted {
        let keys = by_bucket.entry(&rule.destination.bucket).or_default();
        keys.extend(rule.destination.kms_key_arn.as_deref());
    }
    statements.extend(by_bucket.into_iter().enumerate().map(|(i, (bucket, keys))| {
        let sid = format!("EncryptDestination{i}");
        through_s3(Statement::allow(&sid, ["kms:Encrypt", "kms:GenerateDataKey"], keys), bucket)
    }));
    statements
}
