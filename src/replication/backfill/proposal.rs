//! The backfill to apply for a replication.
//!
//! In: a `BucketReplication`. Out: a `ReplicationBackfill` with what a person should see and may want to change, and nothing
//! that the API server fills in.

use kube::ResourceExt;
use serde_json::{Map, Value, json};

use crate::api::{BucketReplication, GROUP};
use crate::replication::backfill::price;

/// The resource, as a manifest; `choices` are fields of the spec that were chosen.
pub fn propose(replication: &BucketReplication, name: Option<&str>, choices: &Map<String, Value>) -> Value {
    let parent = replication.name_any();
    let name = name.map_or_else(|| format!("{parent}-backfill"), str::to_owned);
    let mut metadata = Map::from_iter([("name".to_owned(), json!(name))]);
    metadata.extend(replication.namespace().map(|namespace| ("namespace".to_owned(), json!(namespace))));
    let mut spec = Map::from_iter([
        ("replicationRef".to_owned(), json!({"name": parent})),
        ("statuses".to_owned(), json!(["NotReplicated", "Failed"])),
    ]);
    spec.extend(choices.clone());
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "ReplicationBackfill",
        "metadata": metadata,
        "spec": spec,
    })
}

/// What a person should know before applying it, as the lines of a comment.
pub fn remarks(replication: &BucketReplication) -> Vec<String> {
    let source = &replication.spec.source.bucket;
    vec![
        format!(
            "Replicates once the objects of bucket {source} that BucketReplication {} missed: those from before its rules,",
            replication.name_any()
        ),
        "and those that failed. It starts one S3 Batch Replication job, which costs".to_owned(),
        format!("{}.", price::describe(None)),
    ]
}
