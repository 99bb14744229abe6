//! The kind `AwsAccount`: the AWS identity of the operator in one account, and the limits on what resources of which
//! namespaces may do there.
//!
//! In: the YAML of an administrator; the status that `replication/status/aws_account.rs` makes. Out: typed values, the
//! CRD in `crds/` and `docs/fields.md`. The columns of `kubectl get` are here too. Whether a resource keeps within the
//! limits is decided in `replication/authorize/`.

#![allow(clippy::duplicated_attributes, reason = "each printcolumn(…) has its own type_")]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::validation as v;

/// The name of the `AwsAccount` that applies to resources without `accountRef`, if it exists.
pub const DEFAULT_ACCOUNT: &str = "default";

/// An AWS account: the AWS identity of the operator there, and what it may do there for which namespaces.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "s3replication.dev",
    version = "v1alpha1",
    kind = "AwsAccount",
    plural = "awsaccounts",
    shortname = "awsacct",
    category = "aws",
    status = "AwsAccountStatus",
    derive = "PartialEq",
    doc = "AwsAccount is an AWS account that BucketReplication resources may refer to: the AWS identity that the operator uses there, and which namespaces may replicate from and into which of its buckets. Anything that it does not list is not allowed.",
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.accountId"),
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
    printcolumn(name = "Replications", type_ = "integer", json_path = ".status.replications"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identity.arn", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AwsAccountSpec {
    /// The account id, in quotes. Immutable. The operator refuses an AWS identity in another account with
    /// `AccountMismatch`.
    #[schemars(length(max = 12))]
    #[x_kube(validation = v::aws_account_id(), validation = v::account_id_is_immutable())]
    pub account_id: String,

    /// The role that the operator assumes there. Absent: the operator uses its own AWS identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRole>,

    /// The namespaces whose resources may refer to this `AwsAccount`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Namespaces>,

    /// Names of buckets of this account that resources may replicate from; `*` stands for any characters. Absent:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = v::bucket_patterns("sources"))]
    pub sources: Vec<String>,

    /// Names of buckets of this account that resources may replicate into; `*` stands for any characters. Absent:
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = v::bucket_patterns("destinations"))]
    pub destinations: Vec<String>,

    /// Ids of other accounts. With `destination.account` and no `accountRef`, resources may replicate from this account
    /// into buckets of these accounts. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 12)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = v::account_ids())]
    pub destination_accounts: Vec<String>,

    /// The path and the permissions boundary that every role of a replication from this account must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Roles>,

    /// The activities that this account allows to resources besides keeping replication configured. Canary: write and
    /// delete small objects that prove that objects arrive. Backfill: start S3 Batch Replication jobs, which cost
    /// money. Absent: neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allow: Vec<Activity>,
}

/// An activity that a resource may do in an account only if its `AwsAccount` allows it: it writes objects, or it costs
/// money.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Activity {
    Canary,
    Backfill,
}

/// The role that the operator assumes in an account (`sts:AssumeRole`).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, Default)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// The role's ARN.
    #[schemars(length(max = 640))]
    #[x_kube(validation = v::assumed_role_arn())]
    pub arn: String,

    /// The external id that the role's trust policy asks for. It prevents the confused deputy problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224))]
    #[x_kube(validation = v::external_id())]
    pub external_id: Option<String>,

    /// The beginning of session names: `NAME@NAMESPACE.RESOURCE`. CloudTrail then shows for which resource a call was
    /// made. Absent: `NAMESPACE.RESOURCE`. The operator shortens names to 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = v::session_name())]
    pub session_name: Option<String>,
}

/// A selection of namespaces. If both fields are given, a namespace needs both: the name and the labels.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub match_names: Vec<String>,

    /// Labels that a namespace must have, all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// The path and the permissions boundary that every role of a replication must have.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Roles {
    /// The path of every role. The operator refuses a `role.path` that differs and a `role.arn` at another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = v::role_path())]
    pub path: Option<String>,

    /// ARN of the permissions boundary of every role. The operator refuses a boundary that differs, and an existing
    /// role without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = v::policy_arn())]
    pub permissions_boundary: Option<String>,
}

/// The state of an `AwsAccount` as the operator last observed it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AwsAccountStatus {
    /// The generation that this status describes; -1 before the operator has seen the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready; Reconciling and Stalled only while true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The operator's AWS identity there, as STS returned it (`sts:GetCallerIdentity`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<CallerIdentity>,

    /// The number of BucketReplication resources that refer to this `AwsAccount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replications: Option<i32>,
}

/// A caller identity in AWS.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CallerIdentity {
    /// The ARN of the user or role.
    pub arn: String,
    /// The id of the account that the user or role is in.
    pub account_id: String,
}
