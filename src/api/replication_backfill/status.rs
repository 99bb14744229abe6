//! The status of a `ReplicationBackfill`: the job that the operator asked for, and what S3 reports of it.
//!
//! In: what `replication/backfill/status.rs` makes of the request and of S3's answers. Out: typed values, their part of
//! the CRD, and what the operator needs to find its job again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::RoleStatus;

/// The job that the operator asked for, and its result.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationBackfillStatus {
    /// The generation that this status describes; -1 before the operator has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready; Reconciling and Stalled only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The source bucket, and where its job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<BackfillSource>,

    /// The role of the job. Absent once a role that the operator created for the job is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleStatus>,

    /// Objects that were created later are not part of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Time>,

    /// The token by which S3 recognizes a request for the same job (`ClientRequestToken`). It is here before the operator
    /// sends the request, so that there is never a second job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,

    /// The description by which the operator finds its job among those of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,

    /// The time of the last request for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<Time>,

    /// The job's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,

    /// The job's state, in S3's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// The time at which S3 accepted the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// The time at which the backfill ended, with or without a job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,

    /// The value of the annotation `s3replication.dev/requestedAt` for which the operator last checked the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,

    /// How far the job has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<BackfillProgress>,
}

/// The source bucket, its Region and account, and the `AwsAccount` whose AWS identity the operator uses there.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BackfillSource {
    /// The bucket's name.
    pub bucket: String,
    /// The Region of the bucket and of the job.
    pub region: String,
    /// The id of the account of the bucket and of the job.
    pub account: String,
    /// The `AwsAccount`; absent: the operator's own AWS identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
}

/// How far a job has come.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BackfillProgress {
    /// The number of objects, once S3 has listed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// The number of objects that are replicated.
    pub succeeded: i64,
    /// The number of objects that could not be replicated.
    pub failed: i64,
    /// The share of the objects that are done, such as `42%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
}
