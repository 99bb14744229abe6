//! The fields about whether objects arrive: what a user asks the operator to observe (`spec.health`), and what the
//! operator found (`status.health`).
//!
//! In: the YAML of a user; the verdict that `replication/health/` works out. Out: typed values, and their part of the
//! CRD and of `docs/fields.md`. No I/O.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::api::interval::Interval;
use crate::api::validation as v;

/// The beginning of the keys of canaries, after the rule's own prefix, unless `health.canary.prefix` is set.
pub const DEFAULT_CANARY_PREFIX: &str = ".s3replication.dev/";

/// The maximum number of entries in `status.health.rules`: the worst come first.
pub const MAX_RULE_ENTRIES: usize = 100;

/// The maximum number of entries in `status.health.rules[].notCounted`: the last ones.
pub const MAX_NOT_COUNTED: usize = 20;

/// How the operator finds out whether objects arrive.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// The time between two readings of the CloudWatch metrics of rules with `destination.metrics` or
    /// `destination.replicationTimeControl`, from `1m` to `24h`. Absent: the operator's flag `--health-interval`, `5m`
    /// by default. The operator raises a value below its flag `--min-interval`. Where no rule publishes metrics, the
    /// operator reads none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = v::health_interval())]
    pub interval: Option<Interval>,

    /// The longest time that objects may take to arrive, from `1m` to `24h`. If a destination is behind for longer, the
    /// condition `Replicating` is `False` with reason `ObjectsDelayed`. Absent: `15m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = v::max_latency())]
    pub max_latency: Option<Interval>,

    /// Writes a small object at each interval, waits until S3 has replicated it, and deletes it at the source and the
    /// destination. Needs `allow: [Canary]` in the `AwsAccount`. Absent: the operator never writes an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// A small object that proves that objects arrive.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The time between two canaries of a rule, from `5m` to `24h`. Absent: `15m`. The operator raises both to its flag
    /// `--min-interval` where that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = v::canary_interval())]
    pub interval: Option<Interval>,

    /// The beginning of a canary's key, after the prefix of the rule. Absent: `.s3replication.dev/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = v::canary_prefix())]
    pub prefix: Option<String>,
}

/// Whether objects arrive, rule by rule. Where the operator could not find out, this is the last that it found.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct HealthStatus {
    /// When the present verdict began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// The time of the first failure of the present run of failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_since: Option<Time>,
    /// When the last ReplicationBackfill completed without a failure. If it included everything that failed, failures from
    /// before its `status.createdBefore` no longer count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfilled_at: Option<Time>,
    /// The longest time, in seconds, that a destination is behind, rounded to two digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<i64>,
    /// The enabled rules for which there is evidence, the worst first; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleHealth>,
    /// The last canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
}

/// The verdict on one rule, which follows from its evidence.
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
pub enum RuleVerdict {
    Failing,
    Delayed,
    Arriving,
    Unknown,
}

impl RuleVerdict {
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The operator's findings about one rule. Figures are rounded to two digits; times are those of the last change.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RuleHealth {
    /// The ID of the rule.
    pub id: String,
    /// The name of the destination bucket.
    pub destination: String,
    /// Whether objects of the rule arrive.
    pub verdict: RuleVerdict,
    /// The number of operations that failed in the present run of failures: an operation is one object, version, delete
    /// marker or change of metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,
    /// The number of operations that ended while these failed, successfully or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<i64>,
    /// The time of the first failure of the present run of failures of this rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_since: Option<Time>,
    /// Failures that do not count, because the object was deleted before S3 replicated it: as the operator last needed
    /// them, and at most the last 20 minutes in which there were some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_counted: Vec<NotCounted>,
    /// Failures from before this time do not count, because a ReplicationBackfill replicated the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfilled_to: Option<Time>,
    /// The number of operations that are pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<i64>,
    /// The time, in seconds, that the destination is behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<i64>,
    /// The last minute in which an operation ended successfully.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_arrival: Option<Time>,
    /// The last minute in which an operation failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Time>,
    /// Why: the `failureReason` of S3 where a failure event named it, or the reason why nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The failure event of S3 that explains failures of this rule, also before a metric shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_event: Option<FailureEventStatus>,
    /// Since when the rule publishes metrics, where that was less than 15 minutes ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_since: Option<Time>,
}

/// Failures of one minute that do not count.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NotCounted {
    /// The minute in which they failed.
    pub minute: Time,
    /// The number of operations.
    pub operations: i64,
}

/// Why S3 could not replicate an object, as a failure event has it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FailureEventStatus {
    /// When the operation failed.
    pub at: Time,
    /// The `failureReason` of S3.
    pub reason: String,
}

/// The last canary, or why there is none.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// When the operator wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Time>,
    /// When S3 had replicated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrived_at: Option<Time>,
    /// How long, in seconds, S3 took to replicate it, rounded to two digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<i64>,
    /// The result: `Arrived`, `Pending`, `Failed` or `Refused`, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}
