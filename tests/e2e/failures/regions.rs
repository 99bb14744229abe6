//! Regions that specs name.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{NAME, message, reason};

use super::impatient;

#[tokio::test]
async fn a_region_that_aws_does_not_have_is_refused_without_a_request_to_it() -> Result<()> {
    let scene = impatient("no-region").empty().await?;
    scene.apply(|spec| spec["rules"][0]["destination"]["region"] = json!("zz-fake-1")).await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let status = scene.world.wait(NAME, refused, "to be refused").await?["status"].clone();
    let text = message(&status, "Ready");
    for part in [&scene.destination, "zz-fake-1", "no such Region"] {
        ensure!(text.contains(part), "{part} is not in: {text}");
    }
    let calls = scene.world.proxy.calls();
    assert!(calls.iter().all(|call| call.subject != scene.destination), "{calls:?}");
    scene.apply(|_| {}).await?;
    scene.world.wait_ready(NAME).await?;
    Ok(())
}

#[tokio::test]
async fn a_destination_in_another_partition_is_refused_without_a_request_to_it() -> Result<()> {
    let scene = impatient("other-partition").empty().await?;
    scene
        .apply(|spec| {
            spec["source"]["region"] = json!("us-east-1");
            spec["rules"][0]["destination"]["region"] = json!("cn-north-1");
        })
        .await?;
    let refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    let status = scene.world.wait(NAME, refused, "to be refused").await?["status"].clone();
    let text = message(&status, "Ready");
    for part in [&scene.destination, "destination.region is cn-north-1", "source.region is us-east-1"] {
        ensure!(text.contains(part), "{part} is not in: {text}");
    }
    let calls = scene.world.proxy.calls();
    assert!(calls.iter().all(|call| call.subject != scene.destination), "{calls:?}");
    scene.apply(|_| {}).await?;
    scene.world.wait_ready(NAME).await?;
    Ok(())
}
