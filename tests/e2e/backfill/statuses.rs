//! There is one job, wherever the operator dies among its own writes of the status.

use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use futures::future::try_join_all;
use kube::api::{ListParams, WatchEvent, WatchParams};
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

/// A version of the store of the API server, and the status that the backfill has in it, if there is one.
struct Before {
    version: String,
    status: Option<Value>,
}

impl Before {
    async fn read(world: &World) -> Result<Before> {
        let list = world.backfills().list(&ListParams::default()).await?;
        let status = list.items.into_iter().next().map(|object| object.data["status"].clone());
        Ok(Before { version: list.metadata.resource_version.context("a list without a version")?, status })
    }

    /// Waits until the backfill was written so often with another status than before. A watch that lists first would not see
    /// the writes that came before its list.
    async fn wait_for_statuses(self, world: &World, count: usize) -> Result<()> {
        let only = WatchParams::default().fields(&format!("metadata.name={BACKFILL}")).disable_bookmarks();
        let api = world.backfills();
        let mut events = Box::pin(api.watch(&only, &self.version).await?);
        let (mut last, mut seen) = (self.status, 0);
        let wait = async {
            while seen < count {
                let status = match events.try_next().await? {
                    Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                        object.data["status"].clone()
                    }
                    other => bail!("the watch brought {other:?}"),
                };
                // The status that the API server gives a new object is nobody's write.
                let written = last.as_ref().is_some_and(|last| *last != status);
                last = Some(status);
                seen += usize::from(written);
            }
            Ok(())
        };
        let waited = tokio::time::timeout(DEADLINE, wait).await;
        waited.with_context(|| format!("{seen} statuses of {count}: {last:#?}"))?
    }
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
        let before = Before::read(world).await?;
        jobs.advance_to(&id, "Complete").await?;
        patch(world, json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": "now"}}})).await?;
        before.wait_for_statuses(world, count - BEGINNING).await?;
    } else {
        let before = Before::read(world).await?;
        apply(world, BACKFILL, json!({})).await?;
        before.wait_for_statuses(world, count).await?;
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
