//! The spec of a `BucketReplication`: every field that a user can write, with its schema and its admission rules.
//!
//! In: the YAML of a user. Out: typed values, the CRD in `crds/` and `docs/fields.md`. A new field begins here, one of
//! a rule in [`ReplicationRule`] or [`Destination`]: `replication/desired/mod.rs` does not compile until it handles the
//! field. A field that S3 holds continues in `replication/configuration.rs`. The columns of `kubectl get` are here too,
//! also those that show the status.
//!
//! Defaults inside lists are in code, never in the CRD: the API server would add them to each item, and GitOps tools
//! would report a difference forever.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn(…) has its own type_")]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::api::bucket_replication::health::Health;
use crate::api::bucket_replication::status::BucketReplicationStatus;
use crate::api::interval::Interval;
use crate::api::validation as v;

/// The path of managed roles unless `role.path` is set. With a single path an administrator can limit the operator's
/// IAM permissions to it.
pub const DEFAULT_ROLE_PATH: &str = "/s3-replication/";

/// The replication of one source bucket into one or more destination buckets.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "s3replication.dev",
    version = "v1alpha1",
    kind = "BucketReplication",
    plural = "bucketreplications",
    shortname = "br",
    category = "aws",
    category = "s3",
    namespaced,
    status = "BucketReplicationStatus",
    derive = "PartialEq",
    doc = "BucketReplication keeps the replication of one Amazon S3 bucket into others switched on, and reports in its status what AWS holds.",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.source.bucket"),
    printcolumn(
        name = "Destination",
        type_ = "string",
        json_path = ".spec.rules[0].destination.bucket",
        description = "The first rule's destination"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "In sync",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"InSync\")].status"
    ),
    printcolumn(
        name = "Replicating",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Replicating\")].status",
        description = "Whether objects arrive"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Objects",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Replicating\")].reason",
        description = "Why objects arrive or not: the reason of Replicating",
        priority = 1
    ),
    printcolumn(
        name = "Latency",
        type_ = "integer",
        json_path = ".status.health.latencySeconds",
        description = "The longest time, in seconds, that a destination is behind",
        priority = 1
    ),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules", priority = 1),
    printcolumn(name = "Role", type_ = "string", json_path = ".status.role.arn", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    ),
    printcolumn(
        name = "Objects message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Replicating\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = v::destination_is_not_the_source())]
#[x_kube(validation = v::role_path_is_immutable())]
pub struct BucketReplicationSpec {
    /// The bucket to replicate from.
    pub source: Source,

    /// The IAM role that S3 assumes to replicate. Absent: a managed role, with a name derived from the resource's
    /// namespace and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,

    /// Whether S3 replicates tags and ACLs with each object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicate: Option<Replicate>,

    /// The replication rules: which objects S3 replicates, and into which bucket.
    #[schemars(length(min = 1, max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[x_kube(validation = v::priorities_are_present())]
    #[x_kube(validation = v::priorities_are_unique())]
    #[x_kube(validation = v::priorities_are_unique_in_long_lists())]
    pub rules: Vec<ReplicationRule>,

    /// How the operator finds out whether objects arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,

    /// `Enforce` corrects differences in AWS; `Observe` reports them and writes nothing to AWS.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// The effect on AWS when this resource is deleted: `Delete` removes the replication configuration that it created,
    /// the managed role, and its statements in bucket policies; `Retain` leaves all of them.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// The treatment of a role or a replication configuration that someone else created: `Refuse` leaves it alone and
    /// reports it, `Adopt` takes it over.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// The time between two checks of AWS, in hours, minutes and seconds such as `10m` or `1h30m`; from `1m` to
    /// `24h`; after a check for another reason up to a tenth more. Absent: the operator's flag `--interval`, `10m` by
    /// default. The operator raises a value below its flag `--min-interval`, `1m` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = v::interval())]
    pub interval: Option<Interval>,

    /// `true` stops every call to AWS for this resource, also requested checks. Deletion still works.
    #[serde(default)]
    pub suspend: bool,
}

/// The bucket to replicate from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The bucket's name. Immutable.
    #[schemars(length(max = 63))]
    #[x_kube(validation = v::bucket_name(), validation = v::not_a_directory_bucket(), validation = v::not_an_access_point())]
    #[x_kube(validation = v::source_bucket_is_immutable())]
    pub bucket: String,

    /// The bucket's Region. Absent: discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = v::region())]
    pub region: Option<String>,

    /// The `AwsAccount` that the bucket is in. The operator uses its AWS identity for the bucket and the role. Absent:
    /// the `AwsAccount` named `default`. If there is none, the operator refuses the resource; only an operator that
    /// requires no `AwsAccount`, and has never seen one, then uses its own AWS identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = v::account_ref())]
    pub account_ref: Option<String>,

    /// `Managed` enables versioning; `Required` only checks that it is enabled.
    #[serde(default)]
    pub versioning: VersioningPolicy,

    /// ARNs of the KMS keys that encrypt the source objects. The role may use them to decrypt. Absent: any key of
    /// the source's Region, and only if a rule replicates KMS-encrypted objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = v::kms_key_arns())]
    pub kms_key_arns: Vec<String>,
}

/// The IAM role that S3 assumes: either a managed one (`name`, `path`, `permissionsBoundary`, `tags`) or an existing
/// one (`arn`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = v::role_arn_excludes_the_rest())]
pub struct Role {
    /// The managed role's name. Absent: derived from the resource's namespace and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = v::role_name())]
    pub name: Option<String>,

    /// The managed role's path; it begins and ends with `/`. Immutable. Absent: `/s3-replication/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = v::role_path())]
    pub path: Option<String>,

    /// ARN of the policy that is the managed role's permissions boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = v::policy_arn())]
    pub permissions_boundary: Option<String>,

    /// Tags of the managed role, in addition to the operator's own four.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "v::role_tags_schema")]
    #[x_kube(validation = v::role_tags())]
    pub tags: BTreeMap<String, String>,

    /// ARN of an existing role. The operator checks it and never writes it. Excludes every other field of `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 640))]
    #[x_kube(validation = v::role_arn())]
    pub arn: Option<String>,
}

/// The data that S3 replicates along with each object. Each switch grants the role the permissions that S3 needs for
/// it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Replicate {
    /// Object tags (`s3:GetObjectVersionTagging`, `s3:ReplicateTags`, `s3:PutObjectTagging`). Absent: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<bool>,

    /// Object ACLs (`s3:GetObjectVersionAcl`, `s3:PutObjectAcl`). Absent: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acls: Option<bool>,
}

/// One rule of the replication configuration.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = v::no_delete_markers_with_tags())]
#[x_kube(validation = v::kms_fields_come_together())]
pub struct ReplicationRule {
    /// The rule's ID in S3, unique in this resource: 1 to 255 printable ASCII characters.
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(validation = v::rule_id())]
    pub id: String,

    /// Whether S3 applies the rule. Absent: `Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Switch>,

    /// Which rule S3 applies if two rules with the same destination match an object: the one with the higher number.
    /// Unique. Optional only with a single rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub priority: Option<i32>,

    /// Which objects S3 replicates. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,

    /// The bucket that S3 replicates into, and how.
    pub destination: Destination,

    /// Whether S3 replicates delete markers. Absent: `Disabled`. Not possible with a tag filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_markers: Option<Switch>,

    /// Whether S3 replicates changes to a replica's metadata back, for two-way replication. Absent: `Disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_modifications: Option<Switch>,

    /// Whether S3 replicates objects that are encrypted with KMS keys. Absent: `Disabled`. Needs
    /// `destination.kmsKeyArn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_encrypted_objects: Option<Switch>,
}

/// Which objects a rule replicates: those with this prefix and all of these tags.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// The beginning of the object key. Empty: every key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prefix: Option<String>,

    /// Object tags that must all be present; at most 10.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "v::filter_tags_schema")]
    #[x_kube(validation = v::filter_tags())]
    pub tags: BTreeMap<String, String>,
}

/// The bucket a rule replicates into, and how.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = v::ownership_needs_account())]
#[x_kube(validation = v::replication_time_brings_metrics())]
pub struct Destination {
    /// The bucket's name.
    #[schemars(length(max = 63))]
    #[x_kube(validation = v::bucket_name(), validation = v::not_a_directory_bucket(), validation = v::not_an_access_point())]
    pub bucket: String,

    /// The bucket's Region. Absent: discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = v::region())]
    pub region: Option<String>,

    /// The id of the AWS account that owns the bucket, if it is not the source's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = v::account_id())]
    pub account: Option<String>,

    /// The `AwsAccount` that the bucket is in. The operator then manages the bucket's versioning and, if the account
    /// is not the source's, its own statements in the bucket's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = v::account_ref())]
    pub account_ref: Option<String>,

    /// `Managed` enables versioning; `Required` only checks that it is enabled. Absent: `Managed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<VersioningPolicy>,

    /// The storage class of the replicas. Absent: the class of the source object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<StorageClass>,

    /// `Destination` makes the destination's account the owner of the replicas. Needs `account` or
    /// `accountRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Ownership>,

    /// ARN of the KMS key that encrypts the replicas. Needs the rule's `kmsEncryptedObjects: Enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = v::kms_key_arn())]
    pub kms_key_arn: Option<String>,

    /// S3 Replication Time Control: 99.99 % of objects within 15 minutes, at a price. Includes `metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_time_control: Option<Switch>,

    /// CloudWatch metrics of this rule. Absent: `Disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Switch>,
}

/// `Enabled` or `Disabled`: the form of every switch of a rule in S3.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default, IntoStaticStr,
)]
pub enum Switch {
    Enabled,
    #[default]
    Disabled,
}

impl Switch {
    pub fn is_enabled(self) -> bool {
        self == Switch::Enabled
    }

    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Whether the operator enables a bucket's versioning or only checks it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum VersioningPolicy {
    #[default]
    Managed,
    Required,
}

/// Whether the operator corrects a difference between spec and AWS or only reports it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ManagementPolicy {
    #[default]
    Enforce,
    Observe,
}

/// The effect on AWS when the resource is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

/// The treatment of a foreign role or configuration.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AdoptionPolicy {
    #[default]
    Refuse,
    Adopt,
}

/// The owner of a replica (`AccessControlTranslation` in S3).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Ownership {
    #[default]
    Destination,
}

/// The storage classes S3 accepts for replicas.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default, IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StorageClass {
    #[default]
    Standard,
    ReducedRedundancy,
    StandardIa,
    #[serde(rename = "ONEZONE_IA")]
    #[strum(serialize = "ONEZONE_IA")]
    OneZoneIa,
    IntelligentTiering,
    Glacier,
    DeepArchive,
    GlacierIr,
}

impl StorageClass {
    /// The name S3 uses.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
