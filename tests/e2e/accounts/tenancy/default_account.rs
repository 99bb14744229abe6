//! Resources that name no account: the one named `default`, and `--require-account`.

use anyhow::{Context, Result};
use kube::api::DeleteParams;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{check_now, message, operator, reason, replication, set};

use super::{ACCOUNT, EAST, ORDERS, TO_REF, WEST, apply_account};

/// A resource of a world with a cluster of its own that refers to no account, and its buckets.
async fn unreferring(world: &World) -> Result<Value> {
    let (source, destination) = (world.bucket(EAST).await?, world.bucket(WEST).await?);
    Ok(replication(ORDERS, &source, &destination))
}

fn for_all_of(world: &World) -> Value {
    let pattern = json!([format!("{}-*", world.namespace)]);
    json!({
        "namespaces": {"matchNames": [world.namespace]},
        "sources": pattern,
        "destinations": pattern,
    })
}

async fn is_told(world: &World, expected: &str, part: &str) -> Result<()> {
    let told = |status: &Value| reason(status, "Ready") == expected;
    let told = world.wait(ORDERS, told, &format!("to be {expected}")).await?;
    let words = message(&told["status"], "Ready");
    assert!(words.contains(part), "{part:?} is not in {words:?}");
    Ok(())
}

#[tokio::test]
async fn the_account_named_default_is_everyone_s_where_it_exists() -> Result<()> {
    let world = World::alone("tenancy-default").await?;
    let _operator = operator(&world).start().await?;
    let resource = unreferring(&world).await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready(ORDERS).await?;

    // From now on it says what may be done, and what it does not say is not allowed.
    world.proxy.clear();
    apply_account(&world, "default", &world.account, &json!({})).await?;
    is_told(&world, "NotAllowed", "AwsAccount default, which allows no namespace").await?;
    let reads = || {
        let mut calls = world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    };
    assert!(reads().is_empty(), "{:?}", reads());
    apply_account(&world, "default", &world.account, &for_all_of(&world)).await?;
    is_told(&world, "Applied", "").await?;
    let status = check_now(&world, ORDERS).await?["status"].take();
    assert_eq!(status["source"]["accountRef"], "default", "{status:#}");

    // One that cannot be read is not one that is not there.
    let mut broken = world.account("default").await?;
    set(&mut broken, "spec.sources", json!({"all": true}));
    let generation = broken["metadata"]["generation"].as_i64().context("no generation")?;
    set(&mut broken, "metadata.generation", json!(generation + 1));
    world.proxy.clear();
    world.cluster().store("awsaccounts", &broken).await?;
    check_now(&world, ORDERS).await?;
    is_told(&world, "InvalidSpec", "AwsAccount default cannot be read").await?;
    assert!(reads().is_empty(), "{:?}", reads());

    // And where there is none, nothing is restricted.
    world.accounts().delete("default", &DeleteParams::default()).await?;
    is_told(&world, "Applied", "").await?;
    let status = check_now(&world, ORDERS).await?["status"].take();
    assert_eq!(status["source"].get("accountRef"), None, "{status:#}");
    assert!(world.proxy.writes().is_empty(), "{:?}", world.proxy.writes());
    Ok(())
}

#[tokio::test]
async fn an_operator_that_requires_accounts_refuses_who_names_none() -> Result<()> {
    let world = World::alone("tenancy-required").await?;
    let _operator = operator(&world).arg("--require-account").start().await?;
    let mut resource = unreferring(&world).await?;
    apply_account(&world, "dr", &world.account, &for_all_of(&world)).await?;
    let reads = || {
        let mut calls = world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    };
    world.apply(&resource.to_string()).await?;
    is_told(&world, "NotAllowed", "--require-account").await?;
    // The account of a destination is none of the source.
    set(&mut resource, TO_REF, json!("dr"));
    world.apply(&resource.to_string()).await?;
    let status = check_now(&world, ORDERS).await?["status"].take();
    assert_eq!(reason(&status, "Ready"), "NotAllowed", "{status:#}");
    assert!(reads().is_empty(), "{:?}", reads());

    set(&mut resource, ACCOUNT, json!("dr"));
    world.apply(&resource.to_string()).await?;
    world.wait_ready(ORDERS).await?;
    set(&mut resource, ACCOUNT, Value::Null);
    world.apply(&resource.to_string()).await?;
    is_told(&world, "NotAllowed", "--require-account").await?;
    apply_account(&world, "default", &world.account, &for_all_of(&world)).await?;
    is_told(&world, "Applied", "").await
}
