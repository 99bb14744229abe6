//! Backfills that are cancelled, deleted, ended by someone else, or forgotten by S3.

use anyhow::Result;
use kube::api::{DeleteParams, Patch, PatchParams};
use rig::world::condition;
use serde_json::json;

use super::{
    BACKFILL, apply, arrived, check_job, delete, job_id, patch, roles_left, scene_with_objects, wait_gone,
    wait_reason,
};
use crate::support::{NAME, message, reason};

#[tokio::test]
async fn cancel_ends_a_running_job_and_the_status_says_how_far_it_was() -> Result<()> {
    let scene = scene_with_objects("backfill-cancel", &["one", "two"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    jobs.advance_to(&id, "Active").await?;
    jobs.work(&id, 1).await?;
    patch(world, json!({"spec": {"cancel": true}})).await?;
    wait_reason(world, "Cancelling").await?;
    assert_eq!(jobs.only().await?["status"], "Cancelling");
    jobs.advance_to(&id, "Cancelled").await?;
    let status = wait_reason(world, "Cancelled").await?;
    let text = message(&status, "Ready");
    assert!(text.starts_with("cancelled") && text.contains("1 of 2 objects"), "{text}");
    assert!(condition(&status, "Stalled").is_some(), "kstatus: failed");
    assert_eq!(arrived(&scene).await?.len(), 1);
    assert!(roles_left(world).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_backfill_that_is_cancelled_from_the_beginning_asks_aws_for_nothing() -> Result<()> {
    let scene = scene_with_objects("backfill-never", &["one"]).await?;
    let world = &scene.world;
    world.proxy.clear();
    apply(world, BACKFILL, json!({"cancel": true})).await?;
    let status = wait_reason(world, "Cancelled").await?;
    assert!(status["finishedAt"].is_string(), "{status:#}");
    assert!(world.proxy.calls().iter().all(|call| call.service != "s3control"));
    assert!(world.jobs().all().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn deletion_ends_the_job_waits_for_its_end_and_leaves_no_role() -> Result<()> {
    let scene = scene_with_objects("backfill-deleted", &["one", "two"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    jobs.advance_to(&id, "Active").await?;
    delete(world).await?;
    wait_reason(world, "Cancelling").await?;
    let object = world.backfill(BACKFILL).await?;
    assert!(object["metadata"]["deletionTimestamp"].is_string(), "it stays until the job has ended");
    jobs.advance_to(&id, "Cancelled").await?;
    wait_gone(world).await?;
    assert!(roles_left(world).await?.is_empty());
    assert_eq!(jobs.only().await?["status"], "Cancelled");
    Ok(())
}

#[tokio::test]
async fn deletion_after_the_end_asks_aws_for_nothing() -> Result<()> {
    let scene = scene_with_objects("backfill-after", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    super::finish(world, &jobs, &id).await?;
    wait_reason(world, "Completed").await?;
    world.proxy.clear();
    delete(world).await?;
    wait_gone(world).await?;
    let calls = world.proxy.calls();
    assert!(
        calls.iter().all(|call| call.service != "s3control" && call.operation != "DeleteRole"),
        "{calls:?}"
    );
    assert_eq!(arrived(&scene).await?, ["one"]);
    Ok(())
}

#[tokio::test]
async fn a_job_that_someone_else_cancels_or_that_s3_forgets_has_its_own_reason_and_is_not_started_again()
-> Result<()> {
    let scene = scene_with_objects("backfill-others", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    jobs.put(&id, "Cancelled", "too-expensive").await?;
    let status = check_job(world).await?;
    assert_eq!(reason(&status, "Ready"), "Cancelled");
    let text = message(&status, "Ready");
    assert!(text.contains("someone else") && text.contains("too-expensive"), "{text}");
    delete(world).await?;
    wait_gone(world).await?;

    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    jobs.forget(&id).await?;
    let status = check_job(world).await?;
    assert_eq!(reason(&status, "Ready"), "Preparing", "for a minute S3 may not show a new job: {status:#}");
    let two_minutes_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(2);
    let earlier = json!({"status": {"startedAt": two_minutes_ago.strftime("%FT%TZ").to_string()}});
    world.backfills().patch_status(BACKFILL, &PatchParams::default(), &Patch::Merge(earlier)).await?;
    let status = check_job(world).await?;
    assert_eq!(reason(&status, "Ready"), "JobVanished", "{status:#}");
    assert!(message(&status, "Ready").contains("90 days"));
    assert_eq!(jobs.all().await?.len(), 1, "only the cancelled one is left");
    Ok(())
}

#[tokio::test]
async fn a_replication_is_deleted_at_once_while_its_backfill_is_followed_to_its_end() -> Result<()> {
    let scene = scene_with_objects("backfill-orphan", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    jobs.advance_to(&id, "Active").await?;
    world.api().delete(NAME, &DeleteParams::default()).await?;
    world.wait_gone(NAME).await?;
    jobs.advance_to(&id, "Complete").await?;
    let status = check_job(world).await?;
    // The rules went with the replication, so S3 replicates nothing more.
    assert_eq!(reason(&status, "Ready"), "CompletedWithFailures", "{status:#}");
    apply(world, "later", json!({})).await?;
    let not_ready = |status: &serde_json::Value| reason(status, "Ready") == "ReplicationNotReady";
    world.wait_backfill("later", not_ready, "to wait for the replication").await?;
    assert_eq!(jobs.all().await?.len(), 1);
    Ok(())
}
