//! There is one job, whatever dies or is lost on the way.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use rig::proxy::{Answer, Call, Fault, GateAt, Matcher};
use rig::world::DEADLINE;
use serde_json::json;

use super::{
    BACKFILL, apply, check_job, complete_by_another_operator, finish, job_id, role_of, scene_with_objects,
};
use crate::support::reason;

/// The writes to AWS between an empty account and the end of a backfill.
const WRITES: [&str; 5] = ["CreateRole", "PutRolePolicy", "CreateJob", "DeleteRolePolicy", "DeleteRole"];

/// Kills the operator at one write, starts another one, and lets the backfill end.
async fn kill_at(write: &str, at: GateAt) -> Result<()> {
    let scene = scene_with_objects("backfill-killed", &["one", "two"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let of_role = write.ends_with("Role") || write.ends_with("RolePolicy");
    let matcher = Matcher::operation(write);
    let matcher = if of_role { matcher.about(&role_of(world)) } else { matcher };
    let gate = world.proxy.gate(matcher, at);
    apply(world, BACKFILL, json!({})).await?;
    let ends = write.starts_with("Delete");
    if ends {
        let id = job_id(world).await?;
        jobs.advance_to(&id, "Complete").await?;
        super::patch(world, json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": "now"}}}))
            .await?;
    }
    gate.reached(DEADLINE).await?;
    scene.operator.kill().await?;
    gate.release();
    complete_by_another_operator(&scene, ends).await
}

async fn kill_at_each(at: GateAt) -> Result<()> {
    try_join_all(WRITES.map(|write| async move {
        kill_at(write, at).await.with_context(|| format!("killed at {write}, {at:?}"))
    }))
    .await
    .map(drop)
}

#[tokio::test]
async fn an_operator_that_is_killed_before_any_write_leaves_one_job_to_the_next() -> Result<()> {
    kill_at_each(GateAt::BeforeForward).await
}

#[tokio::test]
async fn an_operator_that_is_killed_after_any_write_leaves_one_job_to_the_next() -> Result<()> {
    kill_at_each(GateAt::AfterForward).await
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_job() -> Result<()> {
    let scene = scene_with_objects("backfill-lost", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    world.proxy.inject(Fault::times(3, Matcher::operation("CreateJob"), Answer::DropAfter));
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    assert_eq!(jobs.only().await?["id"], id.as_str());
    let done = finish(world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "Completed");
    Ok(())
}

#[tokio::test]
async fn a_token_that_s3_takes_for_used_leads_to_the_job_that_used_it() -> Result<()> {
    let scene = scene_with_objects("backfill-token", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    world.proxy.inject(Fault::times(1, Matcher::operation("CreateJob"), Answer::DropAfter));
    let used = Answer::error(400, "IdempotencyException", "The token was used with another request");
    // The oldest fault answers the first request, and this one the second.
    world.proxy.inject(Fault::times(1, Matcher::operation("CreateJob"), used));
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    let was_refused = |call: &Call| call.operation == "CreateJob" && call.status == Some(400);
    assert!(world.proxy.calls().iter().any(was_refused), "{:?}", world.proxy.calls());
    assert_eq!(jobs.only().await?["id"], id.as_str());
    check_job(world).await?;
    jobs.only().await?;
    Ok(())
}
