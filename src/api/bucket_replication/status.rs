//! The status of a `BucketReplication`: what the operator last observed in AWS and did there, field by field.
//!
//! In: what `replication/status/` reports of a check. Out: typed values, their part of the CRD, and the memory of the
//! next check and of a deletion. One difference ([`DriftEntry`]) gets its words here, for conditions, events, plans and
//! the command line alike.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::api::bucket_replication::canary_place_status::CanaryPlaceStatus;
use crate::api::bucket_replication::health::HealthStatus;

/// The maximum number of entries in `status.drift` and `status.lastCorrection.items`. `driftCount` and `count` give
/// the number of all.
pub const MAX_DRIFT_ENTRIES: usize = 100;

/// The state that the operator last observed, and its own writes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BucketReplicationStatus {
    /// The generation that this status describes; -1 before the operator has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, VersioningReady, RoleReady, ReplicationReady, InSync, Replicating; Reconciling and Stalled only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The source bucket as it is in AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<BucketStatus>,

    /// The destination buckets as they are in AWS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub destinations: Vec<BucketStatus>,

    /// The role that S3 assumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,

    /// ARNs of managed roles from before a rename that the operator has not deleted yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub former_roles: Vec<String>,

    /// Policies of destination buckets in other accounts that hold statements of the operator. It removes these
    /// statements when the resource no longer replicates there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bucket_policies: Vec<BucketPolicyStatus>,

    /// Folders in buckets that may hold canaries of this resource. The operator deletes them there when the resource is
    /// deleted, or no longer asks for canaries in that place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary_places: Vec<CanaryPlaceStatus>,

    /// How the replication configuration came to be this resource's: `Created` by the operator, `Adopted` from someone
    /// else, or `Found` as the spec asks for it, and never written. Deletion removes what was created, what was adopted
    /// only under `adoptionPolicy: Adopt`, and never what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ConfigurationOrigin>,

    /// The replication configuration that the operator is about to write, or wrote without an answer of S3. One on the
    /// source bucket that equals it is this resource's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced_configuration: Option<AnnouncedConfiguration>,

    /// ARN of the role in the replication configuration that was last applied. A configuration with another role is
    /// someone else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_role: Option<String>,

    /// The time at which the operator last wrote the replication configuration. A backfill waits for a while after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_at: Option<Time>,

    /// The number of rules in the replication configuration in AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<i32>,

    /// The fields in which AWS differs from the spec now; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftEntry>,

    /// The number of all differences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_count: Option<i32>,

    /// The last correction, so that it stays visible afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_correction: Option<Correction>,

    /// Whether objects arrive, rule by rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthStatus>,

    /// Hash of the desired state that was last fully applied. It distinguishes drift from a change of the spec that is
    /// not applied yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_hash: Option<String>,

    /// The value of the annotation `s3replication.dev/requestedAt` for which the operator last checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,
}

/// A bucket as it is in AWS.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// The bucket's name.
    pub bucket: String,
    /// The Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The id of the account that owns the bucket, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The `AwsAccount` whose AWS identity the operator uses for the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
    /// The bucket's versioning: `Enabled`, `Suspended`, `Disabled` (never enabled) or `Unknown` (the operator may not
    /// read it).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<String>,
}

/// A bucket whose policy holds statements of the operator.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BucketPolicyStatus {
    /// The bucket's name.
    pub bucket: String,
    /// The Region of the bucket.
    pub region: String,
    /// The id of the account that owns the bucket.
    pub account: String,
    /// The `AwsAccount` whose AWS identity the operator uses for the bucket.
    pub account_ref: String,
}

/// The role that S3 assumes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// The role's ARN.
    pub arn: String,
    /// Whether the operator manages the role: it created or adopted the role, and writes it.
    pub managed: bool,
    /// Keys of the tags that the operator set on the role as `role.tags` says. It removes those that the spec no longer
    /// names, and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// How a replication configuration came to be a resource's own. The operator put it where there was none, or put it
/// instead of a foreign one, or found one that equals the spec before it ever wrote one.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigurationOrigin {
    Created,
    Adopted,
    Found,
}

/// A replication configuration that the status names before the operator writes it. The process may end after the write
/// and before its report. The role by which the configuration would be recognized may be gone by then.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedConfiguration {
    /// Digest of the source bucket's name, the role's ARN and the rules.
    pub digest: String,
    /// The same of the configuration that it replaces; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The value of `configuration` once it is written.
    pub origin: ConfigurationOrigin,
}

/// The kinds of AWS resource that can differ.
#[derive(
    JsonSchema,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    IntoStaticStr,
)]
pub enum AwsResource {
    BucketVersioning,
    Role,
    RolePolicy,
    ReplicationConfiguration,
    DestinationBucketPolicy,
}

impl AwsResource {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One field in which AWS differs from the spec.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// The kind of AWS resource.
    pub resource: AwsResource,
    /// The name of the bucket or the role.
    pub name: String,
    /// The field, in the words of the spec, such as `rules[ReplicateToEU].destination.storageClass`.
    pub path: String,
    /// The value that the spec asks for; `absent` if it asks for none.
    pub want: String,
    /// The value in AWS; `absent` if there is none.
    pub got: String,
}

/// One difference as conditions, events, plans and `status` show it.
impl fmt::Display for DriftEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DriftEntry { resource, name, path, want, got } = self;
        write!(f, "{} {name} {path}: want {}, got {}", resource.as_str(), quoted(want), quoted(got))
    }
}

/// A value in quotes on one line. One that holds quotes, as the conditions of a policy do, stands in single ones, so that
/// it can be read and copied.
fn quoted(value: &str) -> String {
    let escaped = format!("{value:?}");
    match escaped.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if value.contains('"') && !value.contains('\'') => {
            format!("'{}'", inner.replace("\\\"", "\""))
        }
        _ => escaped,
    }
}

/// The differences that the operator corrected in one check.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Correction {
    /// The time of the correction.
    pub time: Time,
    /// The number of corrected differences.
    pub count: i32,
    /// The first 100 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<DriftEntry>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_holds_quotes_can_be_read_and_stays_on_one_line() {
        for (value, text) in [
            ("Enabled", r#""Enabled""#),
            ("a\nb", r#""a\nb""#),
            (r#"Allow if {"bool":{}}"#, r#"'Allow if {"bool":{}}'"#),
            ("say \"it's\"\n", r#""say \"it's\"\n""#),
        ] {
            assert_eq!(quoted(value), text);
        }
    }
}
