//! What the tests share: manifests, and words for what they ask of the status.

use anyhow::{Context, Result};
use rig::operator::{Operator, OperatorBuilder};
use rig::world::{World, condition};
use serde_json::{Value, json};

/// The operator of this world, ready to be started.
pub fn operator(world: &World) -> OperatorBuilder {
    world.operator().binary(env!("CARGO_BIN_EXE_s3-replication-operator"))
}

/// A world with its operator running.
pub async fn world(name: &str) -> Result<(World, Operator)> {
    let world = World::new(name).await?;
    let operator = operator(&world).start().await?;
    Ok((world, operator))
}

/// A resource that replicates `source` to `destination` with one rule, `ReplicateToEU`.
pub fn replication(name: &str, source: &str, destination: &str) -> Value {
    json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": name},
        "spec": {
            "source": {"bucket": source},
            "role": {"name": format!("{name}-role")},
            "rules": [{
                "id": "ReplicateToEU",
                "priority": 1,
                "filter": {"prefix": ""},
                "destination": {"bucket": destination, "storageClass": "STANDARD"},
            }],
        },
    })
}

/// The reason of a condition, or nothing.
pub fn reason<'a>(status: &'a Value, condition_type: &str) -> &'a str {
    condition(status, condition_type).and_then(|c| c["reason"].as_str()).unwrap_or_default()
}

/// The message of a condition, or nothing.
pub fn message<'a>(status: &'a Value, condition_type: &str) -> &'a str {
    condition(status, condition_type).and_then(|c| c["message"].as_str()).unwrap_or_default()
}

/// The entry of `status.drift` with this path.
pub fn drift<'a>(status: &'a Value, path: &str) -> Result<&'a Value> {
    let entries = status["drift"].as_array().map(Vec::as_slice).unwrap_or_default();
    entries.iter().find(|d| d["path"] == path).with_context(|| format!("no drift at {path}: {status:#}"))
}
