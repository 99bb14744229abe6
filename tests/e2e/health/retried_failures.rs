//! Objects failed, the cause is corrected, and a backfill replicates what is missing.

use anyhow::Result;
use aws_sdk_s3::types::BucketVersioningStatus;

use super::{DESTINATION_REGION, Scene, publish_metrics, replicating};
use crate::backfill::{BACKFILL, finish, job_id};
use crate::support::{NAME, operator_of, reason};

/// Failures count for ten minutes here, so that nothing but the backfill can clear them.
const ARGS: [&str; 6] = ["--health-interval", "1s", "--health-window", "10m", "--backfill-settle", "0"];

#[tokio::test]
async fn a_completed_backfill_clears_the_failures_and_the_status_says_when() -> Result<()> {
    let scene = Scene::named("health-retried").args(&ARGS).edit(publish_metrics).ready().await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    scene.write_object("first").await?;
    scene.wait_verdict("ObjectsArriving").await?;
    scene.manage("Observe").await?;
    let suspended = BucketVersioningStatus::Suspended;
    world.set_versioning(DESTINATION_REGION, &scene.destination, suspended).await?;
    scene.write_object("lost").await?;
    let failing = scene.wait_verdict("ObjectsFailing").await?;
    assert_eq!(failing["health"]["rules"][0]["failed"], 1, "{failing:#}");
    let command = format!("kubectl s3replication backfill {NAME} -n {} --wait", world.namespace);
    assert!(replicating(&failing).2.contains(&command), "{failing:#}");

    world.set_versioning(DESTINATION_REGION, &scene.destination, BucketVersioningStatus::Enabled).await?;
    let enforced = scene.manage("Enforce").await?;
    assert_eq!(replicating(&enforced).1, "ObjectsFailing", "the object is still missing: {enforced:#}");
    assert!(enforced["health"]["backfilledAt"].is_null(), "{enforced:#}");
    // The backfill that the command line prints for these failures covers fewer objects than all, and is enough.
    let resource = world.get(NAME).await?.to_string();
    let printed =
        operator_of(world).run(["backfill", "-f", "-", "--backfill-name", BACKFILL], &resource).await?;
    let printed = String::from_utf8(printed.stdout)?;
    assert!(printed.contains("createdAfter"), "{printed}");
    world.apply(&printed).await?;
    let id = job_id(world).await?;
    let done = finish(world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "Completed", "{done:#}");

    let status = scene.wait_verdict("ObjectsArriving").await?;
    assert_eq!(status["health"]["backfilledAt"], done["finishedAt"], "{status:#}");
    assert!(status["health"]["failedSince"].is_null(), "{status:#}");
    assert!(status["health"]["rules"][0]["failed"].is_null(), "{status:#}");
    Ok(())
}
