//! When events stand in for polling, and when they no longer do.

use anyhow::{Result, ensure};
use aws_sdk_s3::types::BucketVersioningStatus;
use rig::proxy::{Answer, Call, Fault, Matcher, TrailFaults};
use rig::world::DEADLINE;
use serde_json::Value;

use super::{EventScene, metric, with_queue};
use crate::support::{DESTINATION_REGION, check_now, reason};

fn read_role(calls: &[Call]) -> bool {
    calls.iter().any(|call| call.operation == "GetRole" && call.status.is_some())
}

#[tokio::test]
async fn a_change_whose_event_is_lost_is_found_by_the_long_interval_and_counted() -> Result<()> {
    let scene = EventScene::with("event-lost", &["--interval-with-events", "1m"]).await?;
    let (_, destination) = scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    // Past the proxy: no event comes.
    scene.world.set_versioning(DESTINATION_REGION, &destination, BucketVersioningStatus::Suspended).await?;
    let corrected = |status: &Value| !status["lastCorrection"].is_null();
    let deadline = 2 * DEADLINE;
    let put = |calls: &[Call]| {
        let puts = calls.iter().filter(|c| c.operation == "PutBucketVersioning" && c.subject == destination);
        puts.count() == 2
    };
    scene.world.proxy.wait_for(put, deadline).await?;
    scene.world.wait("orders", corrected, "to be corrected by the poll").await?;
    scene.metric("drift_unannounced_total", &[], |n| n == 1.0, "to be 1").await?;
    scene.metric("drift_found_by_total", &[("by", "poll")], |n| n == 1.0, "to be 1").await?;
    scene.operator.logged("a poll found a change that no event had announced", DEADLINE).await?;
    // The correction's own event proves the path again.
    scene.metric("event_coverage", &[], |n| n == 3.0, "to cover all again").await?;
    Ok(())
}

#[tokio::test]
async fn without_the_events_of_one_service_its_resources_are_polled() -> Result<()> {
    let scene = EventScene::new("event-half").await?;
    let iam = ["CreateRole", "PutRolePolicy", "TagRole"];
    scene.world.proxy.set_trail_faults(TrailFaults {
        lose: iam.iter().map(|name| (*name).to_owned()).collect(),
        ..TrailFaults::default()
    });
    scene.replicate("orders").await?;
    scene.metric("event_coverage", &[("service", "s3")], |n| n == 2.0, "to cover both Regions").await?;
    scene.metric("event_coverage", &[("service", "iam")], |n| n == 0.0, "not to cover IAM").await?;
    check_now(&scene.world, "orders").await?;
    scene.world.proxy.clear();
    scene.world.proxy.wait_for(read_role, 2 * DEADLINE).await?;
    Ok(())
}

#[tokio::test]
async fn an_outage_of_the_queue_brings_polling_back_and_its_end_ends_it() -> Result<()> {
    let scene = EventScene::new("event-outage").await?;
    scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    let fault = Fault::always(Matcher::operation("ReceiveMessage"), Answer::Drop);
    let fault = scene.world.proxy.inject(fault);
    scene.world.proxy.clear();
    scene.operator.logged("an event queue has not worked for a minute", 3 * DEADLINE).await?;
    scene.metric("event_queue_up", &[], |n| n == 0.0, "to be 0").await?;
    scene.world.proxy.wait_for(read_role, 2 * DEADLINE).await?;
    scene.world.proxy.remove(fault);
    scene.metric("event_queue_up", &[], |n| n == 1.0, "to be 1").await?;
    scene.metric("event_coverage", &[], |n| n == 3.0, "to be remembered").await?;
    Ok(())
}

#[tokio::test]
async fn a_queue_whose_messages_cannot_be_deleted_brings_polling_back() -> Result<()> {
    let scene = EventScene::new("event-undeleted").await?;
    scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    let fault = Fault::always(Matcher::operation("DeleteMessageBatch"), Answer::access_denied());
    let fault = scene.world.proxy.inject(fault);
    let somebody = scene.world.somebody().await?;
    let tag = aws_sdk_iam::types::Tag::builder().key("theirs").value("1").build()?;
    somebody.iam().tag_role().role_name("orders-role").tags(tag).send().await?;
    scene.operator.logged("an event queue has not worked for a minute", 3 * DEADLINE).await?;
    ensure!(scene.operator.log().contains("sqs:DeleteMessage"), "{}", scene.operator.log());
    scene.metric("event_queue_up", &[], |n| n == 0.0, "to be 0").await?;
    scene.world.proxy.remove(fault);
    scene.metric("event_queue_up", &[], |n| n == 1.0, "to be 1").await?;
    Ok(())
}

#[tokio::test]
async fn a_new_leader_reads_the_queue_and_the_old_one_no_longer() -> Result<()> {
    let scene = EventScene::new("event-leader").await?;
    // The operator of the scene takes part in no election.
    scene.operator.terminate().await?;
    let (world, lease) = (&scene.world, "events");
    world.allow_lease(lease).await?;
    let candidate = || {
        with_queue(world, &scene.queue)
            .env("POD_NAMESPACE", &world.namespace)
            .args(["--leader-elect", "--lease-name", lease])
            .args(["--lease-duration", "11s", "--renew-deadline", "4s", "--retry-period", "500ms"])
            .args(["--aws-attempt-timeout", "6"])
    };
    let one = candidate().env("POD_NAME", "one").start().await?;
    let (_, destination) = scene.replicate("orders").await?;
    metric(&one, "events_received_total", &[], |n| n >= 5.0, "to count the first events").await?;
    let two = candidate().env("POD_NAME", "two").start().await?;
    two.logged("following", DEADLINE).await?;
    metric(&two, "events_received_total", &[], |n| n == 0.0, "to be 0 while it follows").await?;
    one.terminate().await?;
    metric(&two, "leader", &[], |n| n == 1.0, "to be 1").await?;
    check_now(world, "orders").await?;

    let somebody = world.somebody().await?;
    let suspended = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Suspended)
        .build();
    somebody
        .s3(DESTINATION_REGION)
        .put_bucket_versioning()
        .bucket(&destination)
        .versioning_configuration(suspended)
        .send()
        .await?;
    let corrected =
        |status: &Value| !status["lastCorrection"].is_null() && reason(status, "Ready") == "Applied";
    // SQS may have given the event to the request that the old leader left open: it comes again after ten seconds.
    world.wait("orders", corrected, "to be corrected by the new leader").await?;
    metric(&two, "drift_found_by_total", &[("by", "event")], |n| n >= 1.0, "to be by the event").await?;
    Ok(())
}
