//! Several operators that share the resources by their labels. Each names itself in the `User-Agent` of its requests.

use anyhow::{Context, Result};
use kube::api::DeleteParams;
use rig::operator::Operator;
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use crate::support::{check_now, left_in_aws, operator_of, patch, reason, replication};

/// An operator for the resources with these labels.
async fn shard(world: &World, name: &str, selector: &str) -> Result<Operator> {
    operator_of(world).env("AWS_SDK_UA_APP_ID", name).args(["--selector", selector]).start().await
}

/// Applies a resource with this label, or without one. Returns it and its source.
async fn labelled(world: &World, name: &str, shard: Option<&str>) -> Result<(Value, String)> {
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let mut resource = replication(name, &source, &destination);
    if let Some(shard) = shard {
        resource["metadata"]["labels"] = json!({"shard": shard});
    }
    world.apply(&resource.to_string()).await?;
    Ok((resource, source))
}

/// The operators that sent requests about this bucket since the record was cleared.
fn callers(world: &World, bucket: &str) -> Vec<String> {
    let calls = world.proxy.calls();
    let app = |agent: &str| agent.split(' ').find_map(|part| part.strip_prefix("app/")).map(str::to_owned);
    let about = calls.iter().filter(|call| call.subject == bucket);
    let mut callers: Vec<String> = about.filter_map(|call| app(&call.user_agent)).collect();
    callers.sort();
    callers.dedup();
    callers
}

#[tokio::test]
async fn each_operator_reconciles_only_the_resources_that_it_selects() -> Result<()> {
    let world = World::new("shards").await?;
    let _a = shard(&world, "a", "shard=a").await?;
    let _rest = shard(&world, "rest", "shard notin (a, c)").await?;
    let (_, of_c) = labelled(&world, "of-c", Some("c")).await?;
    let (_, of_a) = labelled(&world, "of-a", Some("a")).await?;
    let (_, of_nobody_else) = labelled(&world, "of-nobody-else", None).await?;
    world.wait_ready("of-a").await?;
    world.wait_ready("of-nobody-else").await?;
    assert_eq!(callers(&world, &of_a), ["a"]);
    assert_eq!(callers(&world, &of_nobody_else), ["rest"]);
    // It was created first, and no operator has reconciled it.
    assert_eq!(callers(&world, &of_c), [""; 0]);
    assert_eq!(world.get("of-c").await?["status"]["observedGeneration"], -1);
    Ok(())
}

#[tokio::test]
async fn a_resource_that_gets_another_label_passes_to_another_operator() -> Result<()> {
    let world = World::new("moved").await?;
    let _a = shard(&world, "a", "shard=a").await?;
    let _b = shard(&world, "b", "shard=b").await?;
    let (_, source) = labelled(&world, "orders", Some("a")).await?;
    world.wait_ready("orders").await?;
    assert_eq!(callers(&world, &source), ["a"]);
    world.proxy.clear();
    patch(&world, "orders", json!({"metadata": {"labels": {"shard": "b"}}})).await?;
    let object = check_now(&world, "orders").await?;
    assert!(object["status"]["lastCorrection"].is_null(), "nothing was different: {object:#}");
    assert_eq!(callers(&world, &source), ["b"]);
    assert_eq!(world.proxy.writes().len(), 0);

    world.api().delete("orders", &DeleteParams::default()).await?;
    world.wait_gone("orders").await?;
    assert_eq!(left_in_aws(&world, "us-east-1", &source, "orders-role").await?, [""; 0]);
    assert_eq!(callers(&world, &source), ["b"]);
    Ok(())
}

/// Two resources for one source belong to different operators, and neither operator sees the other's. The second is
/// refused because of what is in AWS.
#[tokio::test]
async fn a_source_that_another_operators_resource_owns_is_refused() -> Result<()> {
    let world = World::new("unseen").await?;
    let _a = shard(&world, "a", "shard=a").await?;
    let _b = shard(&world, "b", "shard=b").await?;
    let (mut resource, _) = labelled(&world, "orders", Some("a")).await?;
    world.wait_ready("orders").await?;
    resource["metadata"] = json!({"name": "rival", "labels": {"shard": "b"}});
    resource["spec"]["role"]["name"] = json!("rival-role");
    world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "ForeignConfiguration";
    world.wait("rival", refused, "to be refused").await?;
    Ok(())
}

#[tokio::test]
async fn a_lease_shared_by_operators_with_different_selectors_is_reported() -> Result<()> {
    let world = World::new("one-lease").await?;
    for lease in ["s3-replication-operator", "of-b"] {
        world.allow_lease(lease).await?;
    }
    let election = ["--leader-elect", "--lease-namespace", &world.namespace];
    let start = async |selector: &str| {
        operator_of(&world).args(election).args(["--selector", selector]).start().await
    };
    let a = start("shard=a").await?;
    a.logged("leading", DEADLINE).await?;
    let b = start("shard=b").await?;
    let text = b.logged("following an operator that works on other resources", DEADLINE).await?;
    assert!(text.contains("selector: shard=a") && text.contains("need a --lease-name each"), "{text}");

    let c = operator_of(&world)
        .args(election)
        .args(["--selector", "shard=b", "--lease-name", "of-b"])
        .start()
        .await?;
    c.logged("leading", DEADLINE).await?;
    labelled(&world, "orders", Some("b")).await?;
    world.wait_ready("orders").await?;
    Ok(())
}

#[tokio::test]
async fn an_invalid_selector_is_reported_at_startup() -> Result<()> {
    let world = World::new("no-selector").await?;
    let args = ["run", "--http-address", "127.0.0.1:0", "--selector", "shard in a"];
    let output = operator_of(&world).run(args, "").await?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.starts_with("error: ")).context("no error")?;
    assert!(line.contains("--selector \"shard in a\" is not a label selector"), "{line}");
    Ok(())
}
