//! Resources for the tests of everything that prints them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use strum::VariantArray;

use crate::api::{BucketReplication, Reason};
use crate::cli::fleet::{Pointers, ReplicationView, view_all};
use crate::cli::kubernetes::{FoundObject, Undecodable};

pub const TYPED: &str = "kubectl s3replication";
pub const POINTERS: Pointers<'static> = Pointers { typed: TYPED, cluster: "", runbooks: None };

/// A resource `data/NAME` as the API server holds it, with these conditions: type, status, reason, message.
pub fn resource(name: &str, conditions: &[[&str; 4]]) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|[kind, status, reason, message]| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-03-01T10:00:00Z", "observedGeneration": 1,
            })
        })
        .collect();
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {
            "namespace": "data", "name": name, "generation": 1, "uid": name,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "source": {"bucket": format!("{name}-source")},
            "rules": [{
                "id": "all",
                "destination": {"bucket": format!("{name}-copy"), "account": "222222222222"},
            }],
        },
        "status": {
            "observedGeneration": 1,
            "conditions": conditions,
            "source": {
                "bucket": format!("{name}-source"), "region": "us-east-1", "account": "111111111111",
                "versioning": "Enabled",
            },
            "destinations": [{
                "bucket": format!("{name}-copy"), "region": "eu-west-1", "account": "222222222222",
                "versioning": "Enabled",
            }],
            "role": {"arn": format!("arn:aws:iam::111111111111:role/s3-replication/{name}"), "managed": true},
        },
    })
}

/// The resource as it was read from a cluster.
pub fn found(object: Value) -> FoundObject<BucketReplication> {
    let resource: BucketReplication = serde_json::from_value(object).unwrap();
    FoundObject { metadata: resource.metadata.clone(), object: Ok(resource) }
}

/// The resource `data/NAME` of another version with this spec.
pub fn undecodable(name: &str, spec: Value) -> FoundObject<BucketReplication> {
    let FoundObject { metadata, .. } = found(resource(name, &[]));
    let message = "it is from another version".to_owned();
    FoundObject { metadata, object: Err(Undecodable { message, spec }) }
}

pub fn all(objects: impl IntoIterator<Item = Value>) -> Vec<ReplicationView> {
    view_all(objects.into_iter().map(found).collect(), &[], POINTERS)
}

/// One resource with one backfill.
pub fn with_backfill(object: Value, backfill: Value) -> ReplicationView {
    let backfill: DynamicObject = serde_json::from_value(backfill).unwrap();
    view_all(vec![found(object)], &[backfill], POINTERS).pop().unwrap()
}

/// A resource of which everything is known that a resource may have.
pub fn full() -> ReplicationView {
    let time = "2026-03-01T11:00:00Z";
    let mut object = resource("orders", &[["Ready", "False", "ForeignRole", "The role orders exists."]]);
    object["metadata"]["deletionTimestamp"] = json!(time);
    object["spec"]["source"]["accountRef"] = json!("prod");
    object["spec"]["rules"][0]["filter"] = json!({"prefix": "in/", "tags": {"team": "data"}});
    object["spec"]["rules"][0]["destination"]["metrics"] = json!("Enabled");
    object["status"]["source"]["accountRef"] = json!("prod");
    object["status"]["role"]["tags"] = json!(["team"]);
    let entry = json!({"resource": "Role", "name": "r", "path": "tags[team]", "want": "a", "got": "b"});
    object["status"]["drift"] = json!([entry]);
    object["status"]["driftCount"] = json!(2);
    object["status"]["lastCorrection"] = json!({"time": time, "count": 2, "items": [entry]});
    object["status"]["health"] = json!({
        "since": time, "failedSince": time, "backfilledAt": time, "latencySeconds": 5,
        "rules": [{
            "id": "all", "destination": "orders-copy", "verdict": "Failing", "failed": 1, "operations": 2,
            "failedSince": time, "notCounted": [{"minute": time, "operations": 1}], "backfilledTo": time,
            "pending": 3, "latencySeconds": 5, "lastArrival": time, "lastFailure": time, "reason": "r",
            "failureEvent": {"at": time, "reason": "r"}, "metricsSince": time,
        }],
        "canary": {"sentAt": time, "arrivedAt": time, "latencySeconds": 5, "result": "Arrived"},
    });
    let backfill = json!({
        "apiVersion": "s3replication.dev/v1alpha1", "kind": "ReplicationBackfill",
        "metadata": {"namespace": "data", "name": "november"},
        "spec": {"replicationRef": {"name": "orders"}},
        "status": {
            "state": "Failed",
            "conditions": [{"type": "Ready", "status": "False", "reason": "JobFailed", "message": "m"}],
            "progress": {"total": 3000, "succeeded": 1200, "failed": 60},
            "finishedAt": time,
        },
    });
    with_backfill(object, backfill)
}

/// A resource whose verdict follows from this reason.
pub fn with_reason(reason: Reason) -> Value {
    let message = format!("This is what the operator says about {reason}.");
    let (status, name) = (reason.ready().as_str(), reason.as_str());
    let of_objects = matches!(
        reason,
        Reason::ObjectsArriving
            | Reason::NothingPending
            | Reason::ObjectsFailing
            | Reason::ObjectsDelayed
            | Reason::NoEvidence
            | Reason::NotProven
            | Reason::NoData
            | Reason::CanaryRefused
    );
    match of_objects {
        true => resource(
            "orders",
            &[["Ready", "True", "Applied", "AWS matches."], ["Replicating", status, name, &message]],
        ),
        false => resource("orders", &[["Ready", status, name, &message]]),
    }
}

/// Every reason.
pub fn reasons() -> impl Iterator<Item = Reason> {
    Reason::VARIANTS.iter().copied()
}

/// A condition's own type holds no surprise: it has these fields only.
#[test]
fn a_sample_is_a_resource_that_the_operator_could_have_written() {
    let FoundObject { object, .. } = found(resource("orders", &[["Ready", "True", "Applied", "m"]]));
    let status = object.unwrap().status.unwrap();
    let [Condition { type_, .. }] = status.conditions.as_slice() else { panic!("{status:?}") };
    assert_eq!(type_, "Ready");
}
