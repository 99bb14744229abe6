//! The CustomResourceDefinition of each kind, as shipped in `crds/`.
//!
//! In: the schemas that are derived from the types of the kinds. Out: definitions that the API server accepts, in which
//! a new resource is `Unknown` until the operator has seen it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::api::{AwsAccount, BucketReplication, ConditionType, Reason, ReplicationBackfill};

/// The definition of every kind, in order of their names, in the form that the API server accepts.
///
/// # Errors
/// If a derived schema is not valid JSON for a definition. A test rules that out.
pub fn all() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    Ok(vec![aws_account()?, bucket_replication()?, replication_backfill()?])
}

/// The definition of `BucketReplication`.
///
/// # Errors
/// The same as [`all`].
pub fn bucket_replication() -> Result<CustomResourceDefinition, serde_json::Error> {
    finished(BucketReplication::crd(), &[ConditionType::Ready, ConditionType::Replicating])
}

/// The definition of `AwsAccount`.
///
/// # Errors
/// The same as [`all`].
pub fn aws_account() -> Result<CustomResourceDefinition, serde_json::Error> {
    finished(AwsAccount::crd(), &[ConditionType::Ready])
}

/// The definition of `ReplicationBackfill`.
///
/// # Errors
/// The same as [`all`].
pub fn replication_backfill() -> Result<CustomResourceDefinition, serde_json::Error> {
    finished(ReplicationBackfill::crd(), &[ConditionType::Ready])
}

/// Adds a default status, so that these conditions of a resource, `Ready` first, are `Unknown` from the moment it
/// exists, before the operator has seen it. `kubectl wait` and kstatus are then right in the first second too. The
/// Gateway API and Flux follow the same convention.
fn finished(
    derived: CustomResourceDefinition,
    unknown: &[ConditionType],
) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(derived)?;
    tidy(&mut crd);
    if let Some(status) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status") {
        let unseen = |about: &ConditionType| {
            json!({
                "type": about.as_str(),
                "status": "Unknown",
                "reason": Reason::Progressing.as_str(),
                "message": "Waiting for the operator to see this resource",
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        };
        let conditions: Vec<Value> = unknown.iter().map(unseen).collect();
        status["default"] = json!({"observedGeneration": -1, "conditions": conditions});
    }
    serde_json::from_value(crd)
}

/// Removes formats of unsigned integers, which the API server does not know, and `nullable` and `null` defaults, which
/// nothing uses: an absent field means the same.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with("uint")) {
                map.remove("format");
            }
            if map.contains_key("type") || map.contains_key("enum") {
                map.remove("nullable");
            }
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}
