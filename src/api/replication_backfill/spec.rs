//! The spec of a `ReplicationBackfill`: every field that a user can write, with its schema and its admission rules.
//!
//! In: the YAML of a user, or what the subcommand `backfill` creates. Out: typed values, the CRD in `crds/` and
//! `docs/fields.md`. A new field begins here; one that makes the job is also fixed in `validation.rs` and goes into the
//! request in `replication/backfill/request.rs`. The columns of `kubectl get` are here too.
//!
//! A backfill is one job. The creation of the resource fixes its job: a user can set only `approved` and `cancel`
//! later, and can take back neither.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn(…) has its own type_")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use crate::api::replication_backfill::status::ReplicationBackfillStatus;
use crate::api::replication_backfill::validation as b;
use crate::api::validation as v;

/// The priority of a job whose spec gives none.
pub const DEFAULT_JOB_PRIORITY: i32 = 10;

/// One S3 Batch Replication job, which replicates what a BucketReplication missed.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "s3replication.dev",
    version = "v1alpha1",
    kind = "ReplicationBackfill",
    plural = "replicationbackfills",
    shortname = "rbf",
    category = "aws",
    category = "s3",
    namespaced,
    status = "ReplicationBackfillStatus",
    derive = "PartialEq",
    doc = "ReplicationBackfill replicates once what a BucketReplication missed: objects that were there before its rules, and objects that failed. The operator starts exactly one S3 Batch Replication job, which costs money, and follows it to its end.",
    printcolumn(name = "Replication", type_ = "string", json_path = ".spec.replicationRef.name"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "The state of the job in S3"
    ),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.progress.percent"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.progress.failed"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Job", type_ = "string", json_path = ".status.jobId", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = b::spec_is_immutable())]
#[x_kube(validation = b::approved_is_final())]
#[x_kube(validation = b::cancel_is_final())]
#[x_kube(validation = b::created_after_comes_first())]
pub struct ReplicationBackfillSpec {
    /// The BucketReplication whose missed objects are replicated. It is in the same namespace.
    pub replication_ref: ReplicationRef,

    /// The replication status of the objects to replicate: `NotReplicated` were never replicated, `Failed` could not be,
    /// `Replicated` are replicated already and are wanted in a destination that was added since, `Replica` came from
    /// another bucket.
    #[serde(default = "default_statuses")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(validation = b::statuses_are_distinct())]
    pub statuses: Vec<ObjectReplicationStatus>,

    /// Only objects created after this time. Absent: from the first one on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_after: Option<Time>,

    /// Only objects created before this time. Absent: before the operator starts the job; `status.createdBefore` shows
    /// the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_before: Option<Time>,

    /// Only objects whose key begins with one of these. Absent: every object that a rule replicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 1024)))]
    pub prefixes: Vec<String>,

    /// Where S3 reports each object. Absent: S3 counts them and reports none by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<BackfillReport>,

    /// The role that S3 Batch Operations assumes. Absent: the operator creates one for this job and deletes it after the
    /// job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<BackfillRole>,

    /// The priority of the job among those of the account and Region: S3 pauses jobs with a lower number for it.
    #[serde(default = "default_priority")]
    #[schemars(range(min = 0))]
    pub priority: i32,

    /// `Automatic` runs the job as soon as S3 has listed the objects. `Manual` then waits for `approved: true`: the status
    /// shows the number of objects and what they cost.
    #[serde(default)]
    pub approval: Approval,

    /// Runs a job that waits for approval. Cannot be taken back.
    #[serde(default)]
    pub approved: bool,

    /// Ends the job, or keeps it from being started. Cannot be taken back.
    #[serde(default)]
    pub cancel: bool,
}

fn default_statuses() -> Vec<ObjectReplicationStatus> {
    vec![ObjectReplicationStatus::NotReplicated, ObjectReplicationStatus::Failed]
}

fn default_priority() -> i32 {
    DEFAULT_JOB_PRIORITY
}

impl Default for ReplicationBackfillSpec {
    fn default() -> Self {
        ReplicationBackfillSpec {
            replication_ref: ReplicationRef::default(),
            statuses: default_statuses(),
            created_after: None,
            created_before: None,
            prefixes: Vec::new(),
            report: None,
            role: None,
            priority: DEFAULT_JOB_PRIORITY,
            approval: Approval::Automatic,
            approved: false,
            cancel: false,
        }
    }
}

/// A BucketReplication of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationRef {
    /// The resource's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = b::replication_name())]
    pub name: String,
}

/// The replication status of an object, as S3 keeps it.
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
pub enum ObjectReplicationStatus {
    NotReplicated,
    Failed,
    Replicated,
    Replica,
}

impl ObjectReplicationStatus {
    /// The name that S3 Batch Operations uses
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_JobManifestGeneratorFilter.html>).
    pub fn as_filter(self) -> &'static str {
        match self {
            ObjectReplicationStatus::NotReplicated => "NONE",
            ObjectReplicationStatus::Failed => "FAILED",
            ObjectReplicationStatus::Replicated => "COMPLETED",
            ObjectReplicationStatus::Replica => "REPLICA",
        }
    }
}

/// The completion report that S3 writes at the end of the job.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BackfillReport {
    /// The bucket that S3 writes the report into. It belongs to the source's account, and the AwsAccount lists it among
    /// its `destinations`.
    #[schemars(length(max = 63))]
    #[x_kube(validation = v::bucket_name(), validation = v::not_a_directory_bucket(), validation = v::not_an_access_point())]
    pub bucket: String,

    /// The beginning of the keys of the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = b::report_prefix())]
    pub prefix: Option<String>,

    /// `FailedOnly` lists the objects that failed, `All` every object. Absent: `FailedOnly`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ReportScope>,

    /// ARN of the KMS key that the bucket encrypts new objects with, if it uses one. The job's own role may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = v::kms_key_arn())]
    pub kms_key_arn: Option<String>,
}

/// Which objects the report lists.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ReportScope {
    #[default]
    FailedOnly,
    All,
}

/// An existing role, which the operator checks and never writes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BackfillRole {
    /// The role's ARN. It trusts `batchoperations.s3.amazonaws.com`.
    #[schemars(length(max = 640))]
    #[x_kube(validation = v::role_arn())]
    pub arn: String,
}

/// Whether the job runs without being asked for again.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Approval {
    #[default]
    Automatic,
    Manual,
}
