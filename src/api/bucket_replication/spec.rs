//! The specification of a `BucketReplication`: every field a user can write.
//!
//! Defaults inside lists live in code, never in the CRD: the API server would add them to each item and
//! GitOps tools would see a difference for ever.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn(…) has a type of its own")]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::bucket_replication::status::BucketReplicationStatus;
use crate::api::interval::Interval;
use crate::api::validation as v;

/// Where managed roles live unless `role.path` says otherwise: one path lets an administrator confine the
/// operator's IAM permissions to it.
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
    doc = "BucketReplication keeps the replication of one Amazon S3 bucket into others switched on, and reports in its status what is true in AWS.",
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
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules", priority = 1),
    printcolumn(name = "Role", type_ = "string", json_path = ".status.role.arn", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = v::destination_is_not_the_source())]
#[x_kube(validation = v::role_path_is_immutable())]
pub struct BucketReplicationSpec {
    /// The bucket to replicate from.
    pub source: Source,

    /// The IAM role S3 assumes to replicate. Absent: a managed role with a name derived from namespace and name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,

    /// What goes along with an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicate: Option<Replicate>,

    /// What is replicated, and where to.
    #[schemars(length(min = 1, max = 1000))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".into()]))]
    #[x_kube(validation = v::priorities_are_present())]
    #[x_kube(validation = v::priorities_are_unique())]
    #[x_kube(validation = v::priorities_are_unique_in_long_lists())]
    pub rules: Vec<ReplicationRule>,

    /// `Enforce` corrects what differs in AWS; `Observe` reports it and writes nothing to AWS.
    #[serde(default)]
    pub management_policy: ManagementPolicy,

    /// What happens in AWS when this resource is deleted: `Delete` removes the replication configuration and
    /// the managed role, `Retain` leaves both.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// What to do with a role or a replication configuration that exists and that someone else made:
    /// `Refuse` leaves it alone and says so, `Adopt` takes it over.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,

    /// How often AWS is checked, as hours, minutes and seconds such as `10m` or `1h30m`; from `1m` to `24h`.
    /// Up to a tenth is added at random. Absent: as the operator's flag `--interval` says, `10m` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = v::interval())]
    pub interval: Option<Interval>,

    /// `true` stops every call to AWS for this resource; a check that is asked for waits too. Deletion still
    /// works.
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

    /// The `AwsAccount` the bucket is in, as whose identity the operator acts on the bucket and the role. Absent:
    /// the one named `default` where it exists, else the operator's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = v::account_ref())]
    pub account_ref: Option<String>,

    /// `Managed` turns versioning on; `Required` only checks that it is on.
    #[serde(default)]
    pub versioning: VersioningPolicy,

    /// ARNs of the KMS keys the source objects are encrypted with, which the role may use to decrypt. Absent:
    /// any key of the source's Region, and only when a rule replicates KMS-encrypted objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = v::kms_key_arns())]
    pub kms_key_arns: Vec<String>,
}

/// The IAM role S3 assumes: either managed here (`name`, `path`, `permissionsBoundary`, `tags`) or an existing
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

    /// The managed role's path, which begins and ends with `/`. Immutable; `/s3-replication/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = v::role_path())]
    pub path: Option<String>,

    /// ARN of the policy that bounds the managed role's permissions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = v::policy_arn())]
    pub permissions_boundary: Option<String>,

    /// Tags of the managed role, beside the operator's own four.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "v::role_tags_schema")]
    #[x_kube(validation = v::role_tags())]
    pub tags: BTreeMap<String, String>,

    /// ARN of an existing role, which is checked and never written. Excludes every other field of `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 640))]
    #[x_kube(validation = v::role_arn())]
    pub arn: Option<String>,
}

/// What goes along with an object. Each switch grants the role the permissions S3 needs for it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Replicate {
    /// Object tags (`s3:GetObjectVersionTagging`, `s3:ReplicateTags`, `s3:PutObjectTagging`); `true` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<bool>,

    /// Object ACLs (`s3:GetObjectVersionAcl`, `s3:PutObjectAcl`); `true` when absent.
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

    /// Whether the rule is in force; `Enabled` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Switch>,

    /// Which rule wins where two with the same destination match an object: the higher number. Unique;
    /// optional only with a single rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub priority: Option<i32>,

    /// Which objects are replicated; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,

    /// Where the replicas go.
    pub destination: Destination,

    /// Whether delete markers are replicated; `Disabled` when absent. Not possible with a tag filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_markers: Option<Switch>,

    /// Whether changes to a replica's metadata are replicated back, for two-way replication; `Disabled` when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_modifications: Option<Switch>,

    /// Whether objects encrypted with KMS keys are replicated; `Disabled` when absent. Needs
    /// `destination.kmsKeyArn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_encrypted_objects: Option<Switch>,
}

/// Which objects a rule replicates: those with this prefix and all of these tags.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// The object key's beginning; empty matches all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prefix: Option<String>,

    /// Object tags that must all be present: at most 10.
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

    /// The id of the account that owns the bucket, when it is not the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = v::account_id())]
    pub account: Option<String>,

    /// The `AwsAccount` the bucket is in: the operator then manages the bucket's versioning and, when the account is
    /// not the source's, its own statements in the bucket's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = v::account_ref())]
    pub account_ref: Option<String>,

    /// `Managed` (when absent) turns versioning on; `Required` only checks that it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<VersioningPolicy>,

    /// The replicas' storage class; the source object's when absent.
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

    /// S3 Replication Time Control: 99.99 % of objects within 15 minutes, at a price. Brings `metrics` with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_time_control: Option<Switch>,

    /// CloudWatch metrics of this rule; `Disabled` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Switch>,
}

/// `Enabled` or `Disabled`, as S3 writes every switch of a rule.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
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
        match self {
            Switch::Enabled => "Enabled",
            Switch::Disabled => "Disabled",
        }
    }
}

/// Who turns a bucket's versioning on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum VersioningPolicy {
    #[default]
    Managed,
    Required,
}

/// What the operator does about a difference between spec and AWS.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ManagementPolicy {
    #[default]
    Enforce,
    Observe,
}

/// What happens in AWS when the resource is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
}

/// What to do with what someone else made.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AdoptionPolicy {
    #[default]
    Refuse,
    Adopt,
}

/// Who owns a replica (`AccessControlTranslation` in S3).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Ownership {
    #[default]
    Destination,
}

/// The storage classes S3 accepts for replicas.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StorageClass {
    #[default]
    Standard,
    ReducedRedundancy,
    StandardIa,
    #[serde(rename = "ONEZONE_IA")]
    OneZoneIa,
    IntelligentTiering,
    Glacier,
    DeepArchive,
    GlacierIr,
}

impl StorageClass {
    /// The name S3 uses.
    pub fn as_str(self) -> &'static str {
        match self {
            StorageClass::Standard => "STANDARD",
            StorageClass::ReducedRedundancy => "REDUCED_REDUNDANCY",
            StorageClass::StandardIa => "STANDARD_IA",
            StorageClass::OneZoneIa => "ONEZONE_IA",
            StorageClass::IntelligentTiering => "INTELLIGENT_TIERING",
            StorageClass::Glacier => "GLACIER",
            StorageClass::DeepArchive => "DEEP_ARCHIVE",
            StorageClass::GlacierIr => "GLACIER_IR",
        }
    }
}
