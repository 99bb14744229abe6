//! There is one job, although the lease moves between two writes of one backfill.

use anyhow::{Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use rig::proxy::{GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::json;

use super::{BACKFILL, apply, finish, job_id, roles_left, wait_reason};
use crate::operations::leader_election::{TIMES, candidate, leads};
use crate::support::{DESTINATION_REGION, NAME, SOURCE_REGION, replication};

/// The leader is stopped while a request for the job is on its way: S3 has it, or will get it. Another operator leads
/// and goes on; then the first one continues.
async fn lease_moves(at: GateAt) -> Result<()> {
    let world = World::new("backfill-lease").await?;
    let short: Vec<&str> = TIMES.into_iter().chain(["--backfill-settle", "0"]).collect();
    let one = candidate(&world, "one", &short, None).await?;
    leads(&world, "one").await?;
    let two = candidate(&world, "two", &short, None).await?;
    two.logs("following").await?;
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    // S3 fails a job that finds no object.
    let object = world.s3(SOURCE_REGION).put_object().bucket(&source).key("one");
    object.body(ByteStream::from_static(b"body")).send().await?;
    world.apply(&replication(NAME, &source, &destination).to_string()).await?;
    world.wait_ready(NAME).await?;

    let gate = world.proxy.gate(Matcher::operation("CreateJob").nth(1), at);
    apply(&world, BACKFILL, json!({})).await?;
    gate.reached(DEADLINE).await?;
    one.operator.stop().await?;
    leads(&world, "two").await?;
    let id = job_id(&world).await?;
    gate.release();
    one.operator.go_on().await?;
    one.logs("no longer leading").await?;
    one.logs("following").await?;

    let jobs = world.jobs();
    ensure!(jobs.only().await?["id"] == id.as_str(), "another job");
    finish(&world, &jobs, &id).await?;
    let status = wait_reason(&world, "Completed").await?;
    ensure!(status["jobId"] == id.as_str(), "{status:#}");
    ensure!(jobs.only().await?["id"] == id.as_str(), "another job");
    world.wait_backfill(BACKFILL, |status| status["role"].is_null(), "to have no role").await?;
    ensure!(roles_left(&world).await?.is_empty(), "a role is left");
    Ok(())
}

#[tokio::test]
async fn a_job_that_the_former_leader_asked_for_is_followed_by_the_next_leader() -> Result<()> {
    lease_moves(GateAt::AfterForward).await
}

#[tokio::test]
async fn a_request_of_the_former_leader_that_comes_late_makes_no_second_job() -> Result<()> {
    lease_moves(GateAt::BeforeForward).await
}
