//! There is one job, wherever the operator dies among its own writes of the status.

use anyhow::{Context, Result};
use futures::TryStreamExt;
use futures::future::try_join_all;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use super::{
    BACKFILL, apply, check_job, complete_by_another_operator, job_id, patch, scene_with_objects, wait_reason,
};

/// The writes of the status before S3 has answered that it accepted the job: the role, what it waits for, the intent,
/// the job's id, the condition.
const BEGINNING: usize = 5;

/// The writes from the end of the job on: its figures, and the result.
const ENDING: usize = 2;

/// Waits until the watch has brought so many statuses that differ from the one before.
async fn statuses(world: &World, count: usize) -> Result<()> {
    let config = watcher::Config::default().fields(&format!("metadata.name={BACKFILL}"));
    let mut events = Box::pin(watcher::watcher(world.backfills(), config));
    let mut last: Option<Value> = None;
    let mut seen = 0;
    let wait = async {
        while let Some(event) = events.try_next().await? {
            let (Event::Apply(object) | Event::InitApply(object)) = event else { continue };
            let status = serde_json::to_value(object)?["status"].clone();
            // The status that the API server gives a new object is nobody's write.
            let written = last.as_ref().is_some_and(|last| *last != status);
            last = Some(status);
            seen += usize::from(written);
            if seen >= count {
                return anyhow::Ok(());
            }
        }
        Ok(())
    };
    let waited = tokio::time::timeout(DEADLINE, wait).await;
    waited.with_context(|| format!("{seen} statuses of {count}: {last:#?}"))?
}

/// Kills the operator as soon as it has written so many statuses, starts another one, and lets the backfill end.
async fn kill_after(count: usize) -> Result<()> {
    let scene = scene_with_objects("backfill-status-killed", &["one", "two"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let ends = count > BEGINNING;
    if ends {
        apply(world, BACKFILL, json!({})).await?;
        wait_reason(world, "Preparing").await?;
        let id = job_id(world).await?;
        check_job(world).await?;
        jobs.advance_to(&id, "Complete").await?;
        let asked = async {
            patch(world, json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": "now"}}})).await
        };
        let (waited, asked) = tokio::join!(statuses(world, count - BEGINNING), asked);
        asked?;
        waited?;
    } else {
        let (waited, applied) = tokio::join!(statuses(world, count), apply(world, BACKFILL, json!({})));
        applied?;
        waited?;
    }
    scene.operator.kill().await?;
    complete_by_another_operator(&scene, ends).await
}

#[tokio::test]
async fn an_operator_that_is_killed_after_any_write_of_the_status_leaves_one_job_to_the_next() -> Result<()> {
    try_join_all((1..=BEGINNING + ENDING).map(|count| async move {
        kill_after(count).await.with_context(|| format!("killed after status {count}"))
    }))
    .await
    .map(drop)
}
