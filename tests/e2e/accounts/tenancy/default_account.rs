//! Resources that name no account: the one named `default`, and `--require-account`.

use anyhow::{Context, Result};
use kube::api::DeleteParams;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{check_now, message, operator_of, reason, replication, set};

use super::{ACCOUNT, EAST, ORDERS, TO_REF, WEST, apply_account};

/// A resource without an `accountRef`, with its buckets.
async fn without_account(world: &World) -> Result<Value> {
    let (source, destination) = (world.bucket(EAST).await?, world.bucket(WEST).await?);
    Ok(replication(ORDERS, &source, &destination))
}

fn allowing_all(world: &World) -> Value {
    let pattern = json!([format!("{}-*", world.namespace)]);
    json!({
        "namespaces": {"matchNames": [world.namespace]},
        "sources": pattern,
        "destinations": pattern,
    })
}

async fn check_reason(world: &World, expected: &str, part: &str) -> Result<()> {
    let reported = |status: &Value| reason(status, "Ready") == expected;
    let reported = world.wait(ORDERS, reported, &format!("to be {expected}")).await?;
    let text = message(&reported["status"], "Ready");
    assert!(text.contains(part), "{part:?} is not in {text:?}");
    Ok(())
}

#[tokio::test]
async fn the_account_named_default_applies_to_resources_without_one() -> Result<()> {
    let world = World::alone("tenancy-default").await?;
    let _operator = operator_of(&world).start().await?;
    let resource = without_account(&world).await?;
    world.apply(&resource.to_string()).await?;
    world.wait_ready(ORDERS).await?;

    // From now on only what this account allows is allowed.
    world.proxy.clear();
    apply_account(&world, "default", &world.account, &json!({})).await?;
    check_reason(&world, "NotAllowed", "AwsAccount default, which allows no namespace").await?;
    let reads = || {
        let mut calls = world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    };
    assert!(reads().is_empty(), "{:?}", reads());
    apply_account(&world, "default", &world.account, &allowing_all(&world)).await?;
    check_reason(&world, "Applied", "").await?;
    let status = check_now(&world, ORDERS).await?["status"].take();
    assert_eq!(status["source"]["accountRef"], "default", "{status:#}");

    // An unreadable account is not a missing one.
    let mut broken = world.account("default").await?;
    set(&mut broken, "spec.sources", json!({"all": true}));
    let generation = broken["metadata"]["generation"].as_i64().context("no generation")?;
    set(&mut broken, "metadata.generation", json!(generation + 1));
    world.proxy.clear();
    world.cluster().store("awsaccounts", &broken).await?;
    check_now(&world, ORDERS).await?;
    check_reason(&world, "InvalidSpec", "AwsAccount default cannot be read").await?;
    assert!(reads().is_empty(), "{:?}", reads());

    // Deleting the account allows no more than before, and no call to AWS is made.
    world.accounts().delete("default", &DeleteParams::default()).await?;
    check_reason(&world, "AccountNotFound", "no AwsAccount named default").await?;
    check_now(&world, ORDERS).await?;
    assert!(reads().is_empty(), "{:?}", reads());
    Ok(())
}

#[tokio::test]
async fn an_operator_that_requires_accounts_refuses_resources_without_one() -> Result<()> {
    let world = World::alone("tenancy-required").await?;
    let _operator = operator_of(&world).arg("--require-account").start().await?;
    let mut resource = without_account(&world).await?;
    apply_account(&world, "dr", &world.account, &allowing_all(&world)).await?;
    let reads = || {
        let mut calls = world.proxy.calls();
        calls.retain(|call| call.service != "sts");
        calls
    };
    world.apply(&resource.to_string()).await?;
    check_reason(&world, "NotAllowed", "--require-account").await?;
    // An account on the destination does not count for the source.
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
    check_reason(&world, "NotAllowed", "--require-account").await?;
    apply_account(&world, "default", &world.account, &allowing_all(&world)).await?;
    check_reason(&world, "Applied", "").await
}
