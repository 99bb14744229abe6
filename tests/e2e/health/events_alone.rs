//! The operator reads no metrics: S3's failure events are the evidence.

use std::time::Duration;

use anyhow::{Result, ensure};
use rig::World;
use rig::world::DEADLINE;
use serde_json::json;

use super::breakage::{break_versioning, fix_versioning, send_failures};
use super::{DESTINATION_REGION, SOURCE_REGION, Scene, publish_metrics, replicating};
use crate::support::{NAME, operator_of};

#[tokio::test]
async fn a_failure_event_reaches_the_verdict_where_no_metrics_are_read() -> Result<()> {
    let world = World::new("events-alone").await?;
    let queue = world.event_queue().await?;
    let args = ["--health-interval", "0", "--event-queue", queue.as_str()];
    let first = operator_of(&world).args(args).start().await?;
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    let mut scene = Scene { world, operator: first, source, destination };
    send_failures(&scene, &queue).await?;
    scene.apply(publish_metrics).await?;
    scene.world.wait_ready(NAME).await?;
    let status = scene.wait_verdict("NoEvidence").await?;
    assert!(replicating(&status).2.contains("--health-interval 0"), "{status:#}");
    scene.manage("Observe").await?;
    break_versioning(&scene).await?;
    scene.write_object("lost").await?;
    let failing = scene.wait_verdict("ObjectsFailing").await?;
    let (verdict, _, message) = replicating(&failing);
    assert_eq!(verdict, "False");
    let reported = format!(
        "1 operation of rule ReplicateToEU to {} failed; S3 reports DstBucketUnversioned: ",
        scene.destination
    );
    assert!(message.contains(&reported), "{message}");
    let rule = &failing["health"]["rules"][0];
    assert_eq!((&rule["failed"], &rule["reason"]), (&json!(1), &json!("DstBucketUnversioned")), "{rule:#}");

    // Neither a check nor another process forgets it.
    assert_eq!(replicating(&scene.check().await?), replicating(&failing));
    scene.operator.kill().await?;
    scene.operator = operator_of(&scene.world).args(args).start().await?;
    assert_eq!(replicating(&scene.check().await?), replicating(&failing));
    assert_eq!(scene.readings(SOURCE_REGION) + scene.readings(DESTINATION_REGION), 0);

    // A canary that arrives later proves that objects do.
    fix_versioning(&scene).await?;
    scene.manage("Enforce").await?;
    scene.patch_spec(json!({"health": {"canary": {}}})).await?;
    // Within the minute of the failure a canary proves nothing; each requested check sends one.
    let start = std::time::Instant::now();
    let mut status = scene.check().await?;
    while replicating(&status).1 != "ObjectsArriving" {
        ensure!(start.elapsed() < 2 * DEADLINE, "no canary clears the failure: {status:#}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        status = scene.check().await?;
    }
    assert!(status["health"]["failedSince"].is_null(), "{status:#}");
    Ok(())
}
