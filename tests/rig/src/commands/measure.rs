//! The means by which `budget` and `scale` measure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{DynamicObject, Patch, PatchParams};
use rig::proxy::Call;
use rig::world::DEADLINE;
use rig::{KubeRequest, Operator, OperatorBuilder, World};
use serde_json::{Value, json};

/// The annotation that asks for a check at once, which is acknowledged in the status.
const REQUESTED_AT: &str = "s3replication.dev/requestedAt";

/// An annotation that means nothing: a change of it causes a check like any other.
const TOUCHED: &str = "rig/touched";

/// A resource with one rule. Regions are named in it where they are given.
pub fn replication(name: &str, source: &str, destination: &str, regions: Option<(&str, &str)>) -> Value {
    let mut resource = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": name},
        "spec": {
            "source": {"bucket": source},
            "rules": [{
                "id": "ReplicateToEU",
                "priority": 1,
                "filter": {"prefix": ""},
                "destination": {"bucket": destination, "storageClass": "STANDARD"},
            }],
        },
    });
    if let Some((from, to)) = regions {
        resource["spec"]["source"]["region"] = json!(from);
        resource["spec"]["rules"][0]["destination"]["region"] = json!(to);
    }
    resource
}

/// Starts the operator and waits until it has its caller identity, which it reads once.
pub async fn start(world: &World, program: &PathBuf, args: &[&str]) -> Result<Operator> {
    start_built(world, world.operator().binary(program).args(args)).await
}

/// Starts an operator and waits until it has its caller identity.
pub async fn start_built(world: &World, builder: OperatorBuilder) -> Result<Operator> {
    let operator = builder.start().await?;
    let knows = |calls: &[Call]| {
        let asked = |c: &Call| c.operation == "GetCallerIdentity" && c.status.is_some();
        calls.iter().any(asked)
    };
    world.proxy.wait_for(knows, DEADLINE).await.with_context(|| operator.log())?;
    world.proxy.clear();
    Ok(operator)
}

/// Causes a check as the interval does, waits for its end, and returns what it asked of AWS.
pub async fn check(world: &World, operator: &Operator, names: &[&str]) -> Result<Vec<Call>> {
    // Periodic checks of other resources may end meanwhile.
    let checks = || -> Vec<usize> {
        let (log, named) = (operator.log(), |name: &&str| format!(" name=\"{name}\""));
        let of = |name: String| log.lines().filter(|l| l.contains(" checked ") && l.contains(&name)).count();
        names.iter().map(|name| of(named(name))).collect()
    };
    let before = checks();
    world.proxy.clear();
    for name in names {
        annotate(world, name, TOUCHED).await?;
    }
    let done = async {
        while checks().iter().zip(&before).any(|(now, before)| now <= before) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, done)
        .await
        .with_context(|| format!("the check of {names:?} did not come; the log:\n{}", operator.log()))?;
    Ok(world.proxy.calls())
}

/// Asks for a check and waits until it is acknowledged.
pub async fn check_on_request(world: &World, name: &str) -> Result<()> {
    let value = annotate(world, name, REQUESTED_AT).await?;
    let acknowledged = |status: &Value| status["lastHandledRequest"] == value.as_str();
    world.wait(name, acknowledged, "to acknowledge the request for a check").await.map(drop)
}

async fn annotate(world: &World, name: &str, annotation: &str) -> Result<String> {
    let value = format!("{:016x}", fastrand::u64(..));
    let patch: Patch<Value> = Patch::Merge(json!({"metadata": {"annotations": {annotation: value}}}));
    let _: DynamicObject = world.api().patch(name, &PatchParams::default(), &patch).await?;
    Ok(value)
}

/// The requests about objects that the operator sent to Kubernetes, without those that it sends once at its start.
pub fn object_requests(world: &World) -> Result<Vec<KubeRequest>> {
    let mut requests = world.kube_requests()?;
    requests.retain(|r| !matches!(r.verb.as_str(), "list" | "watch"));
    Ok(requests)
}

/// `3 GetRole, 1 PutRolePolicy`.
pub fn summary(names: impl IntoIterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}

/// The operations of some calls, counted.
pub fn operations(calls: &[Call]) -> String {
    summary(calls.iter().map(|call| call.operation.clone()))
}

/// The requests to Kubernetes, counted: `1 patch bucketreplications/status`.
pub fn kube_operations(requests: &[KubeRequest]) -> String {
    summary(requests.iter().map(|r| match r.subresource.as_str() {
        "" => format!("{} {}", r.verb, r.resource),
        sub => format!("{} {}/{sub}", r.verb, r.resource),
    }))
}
