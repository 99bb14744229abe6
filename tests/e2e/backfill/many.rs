//! A hundred backfills at once: what each costs, and what they leave to the checks of other resources.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use rig::proxy::{GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::json;

use super::backfill;
use crate::support::{
    DESTINATION_REGION, SOURCE_REGION, check_now, operator_of, replication, turn_of_a_busy_test,
};

const COUNT: usize = 100;

/// The calls before a job without a report.
const MOST_CALLS: usize = 8;

fn name_of(number: usize) -> String {
    format!("missed-{number}")
}

async fn replicate(world: &World, name: &str) -> Result<()> {
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    world.apply(&replication(name, &source, &destination).to_string()).await?;
    world.wait_ready(name).await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_backfills_make_few_calls_each_and_another_resource_is_checked_meanwhile() -> Result<()> {
    let _turn = turn_of_a_busy_test().await;
    let world = World::new("backfill-many").await?;
    // The gate holds a request until all backfills are applied, and no second one is to be sent meanwhile.
    let args = ["--backfill-settle", "0", "--aws-attempt-timeout", "300"];
    let _operator = operator_of(&world).args(args).start().await?;
    replicate(&world, "other").await?;
    let names: Vec<String> = (0..COUNT).map(name_of).collect();
    for ten in names.chunks(10) {
        try_join_all(ten.iter().map(|name| replicate(&world, name))).await?;
    }
    world.proxy.clear();
    let gate = world.proxy.gate(Matcher::operation("CreateJob"), GateAt::BeforeForward);
    for name in &names {
        let mut manifest = backfill(name, json!({}));
        manifest["spec"]["replicationRef"]["name"] = json!(name);
        world.apply(&manifest.to_string()).await?;
    }
    gate.reached(DEADLINE).await?;
    check_now(&world, "other").await?;
    ensure!(world.jobs().all().await?.is_empty(), "no backfill goes on before the gate is open");
    gate.release();

    for name in &names {
        world.wait_backfill(name, |status| status["jobId"].is_string(), "to have a job").await?;
    }
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for call in world.proxy.calls() {
        if call.service == "s3control" || call.subject.starts_with("backfill+") {
            *calls.entry(call.operation).or_default() += 1;
        }
    }
    assert_eq!(calls.get("CreateJob"), Some(&COUNT), "{calls:?}");
    let all: usize = calls.values().sum();
    ensure!(all <= COUNT * MOST_CALLS, "{calls:?}");
    Ok(())
}
