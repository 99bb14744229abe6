//! The report of drift that an event announced, in statuses and accounts.

use anyhow::{Context, Result};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use rig::Clients;
use rig::proxy::Call;
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use super::{EventScene, TwoAccounts, metric, with_queue};
use crate::support::{DESTINATION_REGION, SOURCE_REGION, reason};

async fn suspend_versioning(somebody: &Clients, bucket: &str) -> Result<()> {
    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let s3 = somebody.s3(DESTINATION_REGION);
    s3.put_bucket_versioning().bucket(bucket).versioning_configuration(suspended).send().await?;
    Ok(())
}

#[tokio::test]
async fn drift_under_observe_is_reported_by_its_event_and_a_gone_bucket_too() -> Result<()> {
    let scene = EventScene::new("event-observe").await?;
    let observe = |spec: &mut Value| spec["managementPolicy"] = json!("Observe");
    let (_, destination) = scene.replicate("orders").await?;
    let (source, _) = scene.replicate("gone").await?;
    scene.cover(&["orders", "gone"]).await?;
    let mut resource = json!({"spec": {}});
    observe(&mut resource["spec"]);
    crate::support::patch(&scene.world, "orders", resource).await?;
    crate::support::check_now(&scene.world, "orders").await?;

    let somebody = scene.world.somebody().await?;
    suspend_versioning(&somebody, &destination).await?;
    let drifted = |status: &Value| reason(status, "VersioningReady") == "Drifted";
    scene.world.wait("orders", drifted, "to report drift").await?;
    somebody.s3(SOURCE_REGION).delete_bucket().bucket(&source).send().await?;
    let missing = |status: &Value| reason(status, "Ready") == "SourceBucketNotFound";
    scene.world.wait("gone", missing, "to report the missing bucket").await?;
    Ok(())
}

#[tokio::test]
async fn a_bucket_policy_of_another_account_is_corrected_by_its_event_and_the_account_reports_its_events()
-> Result<()> {
    let world = World::with_accounts("event-abroad").await?;
    let queue = world.event_queue().await?;
    let operator = with_queue(&world, &queue).start().await?;
    let accounts = TwoAccounts::new(&world).await?;
    let TwoAccounts { home, abroad, abroad_id, role } = &accounts;
    let not_seen = |status: &Value| reason(status, "EventsReceived") == "EventsNotSeen";
    world.wait_account(abroad, not_seen, "to report that no event has come").await?;

    let (source, destination) = accounts.buckets(&world).await?;
    world.apply(&accounts.replication("orders", &source, &destination).to_string()).await?;
    world.wait_ready("orders").await?;
    for account in [home, abroad] {
        let received = |status: &Value| reason(status, "EventsReceived") == "EventsReceived";
        world.wait_account(account, received, "to report that events arrive").await?;
    }
    crate::support::check_now(&world, "orders").await?;

    let theirs = world.as_account(abroad_id).through(&world.proxy.url());
    theirs.s3(DESTINATION_REGION).delete_bucket_policy().bucket(&destination).send().await?;
    let corrected = |status: &Value| !status["lastCorrection"].is_null() && status["driftCount"] == 0;
    world.wait("orders", corrected, "to have its statements again").await?;
    metric(&operator, "drift_found_by_total", &[("by", "event")], |n| n >= 1.0, "to be by the event").await?;

    // The role that the operator assumes: STS is asked whether it still may.
    world.proxy.clear();
    let tag = aws_sdk_iam::types::Tag::builder().key("owner").value("somebody").build()?;
    let (_, name) = role.rsplit_once('/').context("no role")?;
    theirs.iam().tag_role().role_name(name).tags(tag).send().await?;
    let asked = |calls: &[Call]| {
        calls.iter().any(|call| call.operation == "GetCallerIdentity" && call.account == *abroad_id)
    };
    world.proxy.wait_for(asked, DEADLINE).await?;
    Ok(())
}
