//! The status of a `BucketReplication`: what is true in AWS, field by field.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most entries `status.drift` and `status.lastCorrection.items` hold; `driftCount` and `count` are the whole.
pub const MAX_DRIFT_ENTRIES: usize = 100;

/// What the operator last saw and did.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BucketReplicationStatus {
    /// The generation this status speaks of; -1 before the operator has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, VersioningReady, RoleReady, ReplicationReady, InSync; Reconciling and Stalled only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The source bucket as it is in AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<BucketStatus>,

    /// The destination buckets as they are in AWS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<BucketStatus>,

    /// The role S3 assumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,

    /// ARNs of managed roles from before a rename that are not deleted yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub former_roles: Vec<String>,

    /// Policies of destination buckets of other accounts in which the operator has statements, which it removes when
    /// nothing is replicated there any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bucket_policies: Vec<BucketPolicyStatus>,

    /// How many rules the replication configuration in AWS has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<i32>,

    /// What differs now between spec and AWS; the first 100 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftEntry>,

    /// How many differences there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_count: Option<i32>,

    /// What was last put right, so that it can be seen afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_correction: Option<Correction>,

    /// Hash of what was last fully applied: tells drift from a change of the spec that is still to be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_hash: Option<String>,

    /// The last value of the annotation `s3replication.dev/requestedAt` that was acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
}

/// A bucket as it is in AWS.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// The bucket's name.
    pub bucket: String,
    /// The Region it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The account that owns it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The `AwsAccount` as whose identity the operator acts on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
    /// Its versioning: `Enabled`, `Suspended`, `Disabled` (never enabled) or `Unknown` (may not be read).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<String>,
}

/// A bucket in whose policy the operator has statements.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BucketPolicyStatus {
    /// The bucket's name.
    pub bucket: String,
    /// The Region it is in.
    pub region: String,
    /// The account that owns it.
    pub account: String,
    /// The `AwsAccount` as whose identity the operator acts on it.
    pub account_ref: String,
}

/// The role S3 assumes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// Its ARN.
    pub arn: String,
    /// Whether the operator made it and writes it.
    pub managed: bool,
}

/// The kinds of thing in AWS that a difference can be in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AwsResource {
    BucketVersioning,
    Role,
    RolePolicy,
    ReplicationConfiguration,
    DestinationBucketPolicy,
}

impl AwsResource {
    pub fn as_str(self) -> &'static str {
        match self {
            AwsResource::BucketVersioning => "BucketVersioning",
            AwsResource::Role => "Role",
            AwsResource::RolePolicy => "RolePolicy",
            AwsResource::ReplicationConfiguration => "ReplicationConfiguration",
            AwsResource::DestinationBucketPolicy => "DestinationBucketPolicy",
        }
    }
}

/// One field in which AWS differs from the spec.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// The kind of thing in AWS.
    pub resource: AwsResource,
    /// The bucket or the role.
    pub name: String,
    /// The field, in the words of the spec, such as `rules[ReplicateToEU].destination.storageClass`.
    pub path: String,
    /// What the spec asks for; `absent` for nothing.
    pub want: String,
    /// What AWS holds; `absent` for nothing.
    pub got: String,
}

/// What was put right at one time.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Correction {
    /// When.
    pub time: Time,
    /// How many differences were put right.
    pub count: i32,
    /// The first 100 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<DriftEntry>,
}
