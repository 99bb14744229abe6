//! How metrics are read: how many calls that takes, and what happens when they cannot be read.

use std::time::Duration;

use anyhow::Result;
use rig::world::{DEADLINE, condition};
use rig::{Answer, Call, Fault, Matcher};
use serde_json::{Value, json};

use super::{DESTINATION_REGION, OFTEN, SOURCE_REGION, Scene, replicating, scene_named};
use crate::support::{NAME, reason};

#[tokio::test]
async fn without_metrics_nothing_is_read_and_the_condition_says_what_would_show_it() -> Result<()> {
    let scene = Scene::named("health-none").args(&OFTEN).ready().await?;
    let status = scene.check().await?;
    let (verdict, reason, message) = replicating(&status);
    assert_eq!((verdict, reason), ("Unknown", "NoEvidence"));
    assert!(message.contains("destination.metrics: Enabled") && message.contains("USD"), "{message}");
    let types: Vec<&str> =
        status["conditions"].as_array().into_iter().flatten().filter_map(|c| c["type"].as_str()).collect();
    assert_eq!(types, ["Ready", "VersioningReady", "RoleReady", "ReplicationReady", "InSync", "Replicating"]);
    for _ in 0..3 {
        scene.check().await?;
    }
    assert_eq!(scene.readings(SOURCE_REGION) + scene.readings(DESTINATION_REGION), 0);
    Ok(())
}

#[tokio::test]
async fn a_thousand_rules_are_read_by_four_calls_in_each_region() -> Result<()> {
    let thousand = |spec: &mut Value| {
        let rule = spec["rules"][0].clone();
        spec["rules"] = (0..1000)
            .map(|n| {
                let mut rule = rule.clone();
                rule["id"] = json!(format!("rule-{n}"));
                rule["priority"] = json!(n);
                rule["filter"] = json!({"prefix": format!("{n}/")});
                rule["destination"]["metrics"] = json!("Enabled");
                rule
            })
            .collect();
    };
    let rare = ["--health-interval", "24h", "--aws-attempt-timeout", "60"];
    let scene = Scene::named("health-thousand").args(&rare).edit(thousand).ready().await?;
    let status = scene.wait_verdict("NothingPending").await?;
    assert_eq!((scene.readings(SOURCE_REGION), scene.readings(DESTINATION_REGION)), (4, 4));
    assert_eq!(status["health"]["rules"].as_array().map(Vec::len), Some(100));
    Ok(())
}

#[tokio::test]
async fn a_denial_is_one_call_a_sweep_and_degrades_nothing_else() -> Result<()> {
    let scene = scene_named("health-denied").fail_fast().ready().await?;
    scene.wait_verdict("NothingPending").await?;
    let health = scene.world.get(NAME).await?["status"]["health"].clone();
    let denied = Fault::always(Matcher::operation("GetMetricData"), Answer::access_denied());
    scene.world.proxy.inject(denied);
    let status = scene.wait_verdict("AccessDenied").await?;
    let (verdict, _, message) = replicating(&status);
    assert_eq!(verdict, "Unknown");
    assert!(message.contains("allow cloudwatch:GetMetricData"), "{message}");
    assert_eq!(status["health"], health, "the last verdict stays");

    // A check neither reads metrics nor minds.
    let checked = scene.check().await?;
    assert_eq!(reason(&checked, "Ready"), "Applied");
    assert!(condition(&checked, "Reconciling").is_none() && condition(&checked, "Stalled").is_none());

    scene.world.proxy.remove_faults();
    scene.wait_verdict("NothingPending").await.map(drop)
}

#[tokio::test]
async fn a_suspended_resource_is_not_read() -> Result<()> {
    let scene = scene_named("health-suspended").ready().await?;
    let status = scene.wait_verdict("NothingPending").await?;
    scene.patch_spec(json!({"suspend": true})).await?;
    let suspended = scene.wait_verdict("Suspended").await?;
    assert_eq!(replicating(&suspended).0, "Unknown");
    assert_eq!(suspended["health"], status["health"], "the last verdict stays");
    // A sweep that had begun may still end: its calls get their answers, and a next one may follow.
    let is_answered = |call: &Call| call.operation != "GetMetricData" || call.status.is_some();
    let answered = |calls: &[Call]| calls.iter().all(is_answered);
    scene.world.proxy.wait_for(answered, DEADLINE).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = scene.readings(SOURCE_REGION);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(scene.readings(SOURCE_REGION), before);
    scene.patch_spec(json!({"suspend": false})).await?;
    scene.wait_verdict("NothingPending").await.map(drop)
}

#[tokio::test]
async fn an_unchanged_verdict_is_written_once_and_survives_a_restart() -> Result<()> {
    let scene = scene_named("health-quiet").with_insight().ready().await?;
    scene.wait_verdict("NothingPending").await?;
    let world = &scene.world;
    let version = async || anyhow::Ok(world.get(NAME).await?["metadata"]["resourceVersion"].clone());
    let before = version().await?;
    world.proxy.clear();
    let read =
        |calls: &[rig::Call]| calls.iter().filter(|call| call.operation == "GetMetricData").count() >= 6;
    world.proxy.wait_for(read, rig::world::DEADLINE).await?;
    assert_eq!(version().await?, before, "readings that show nothing new write nothing");

    scene.operator.kill().await?;
    world.proxy.clear();
    let _operator = crate::support::operator_of(world).args(OFTEN).start().await?;
    world.proxy.wait_for(read, rig::world::DEADLINE).await?;
    assert_eq!(version().await?, before, "a new process keeps the verdict until it has read, and then too");
    Ok(())
}
