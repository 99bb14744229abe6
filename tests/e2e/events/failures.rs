//! S3's failure events on the same queue: why objects do not arrive.

use anyhow::Result;
use rig::world::condition;
use serde_json::{Value, json};

use super::EventScene;
use crate::support::{SOURCE_REGION, patch};

/// A notification as S3 sends it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).
fn notification(source: &str, destination: &str, key: &str, reason: &str) -> String {
    json!({"Records": [{
        "eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": SOURCE_REGION,
        "eventTime": jiff::Timestamp::now().to_string(), "eventName": "Replication:OperationFailedReplication",
        "s3": {"bucket": {"name": source, "arn": format!("arn:aws:s3:::{source}")}, "object": {"key": key}},
        "replicationEventData": {
            "replicationRuleId": "ReplicateToEU", "destinationBucket": format!("arn:aws:s3:::{destination}"),
            "s3Operation": "OBJECT_PUT", "failureReason": reason,
        },
    }]})
    .to_string()
}

#[tokio::test]
async fn the_reason_of_a_failure_event_reaches_replicating() -> Result<()> {
    let often = ["--health-interval", "1s", "--health-window", "2m"];
    let scene = EventScene::with("event-failure", &often).await?;
    let publish = |spec: &mut Value| spec["rules"][0]["destination"]["metrics"] = json!("Enabled");
    let (source, destination) = scene.replicate_with("orders", publish).await?;
    // The operator must not fix what the test breaks.
    patch(&scene.world, "orders", json!({"spec": {"managementPolicy": "Observe"}})).await?;
    let iam = scene.world.iam();
    iam.delete_role_policy().role_name("orders-role").policy_name(crate::support::POLICY).send().await?;
    let s3 = scene.world.s3(SOURCE_REGION);
    s3.put_object().bucket(&source).key("lost").body(b"an order".to_vec().into()).send().await?;
    let failing = |status: &Value| {
        condition(status, "Replicating").is_some_and(|held| held["reason"] == "ObjectsFailing")
    };
    scene.world.wait("orders", failing, "to be failing").await?;

    let sqs = scene.world.as_account(&scene.world.account).sqs("us-east-1");
    let body = notification(&source, &destination, "lost", "DstKmsKeyInvalidState");
    sqs.send_message().queue_url(&scene.queue).message_body(body).send().await?;
    let outcome = [("outcome", "notification")];
    scene.metric("events_received_total", &outcome, |n| n == 1.0, "to be 1").await?;
    let named = |status: &Value| {
        condition(status, "Replicating")
            .is_some_and(|held| held["message"].to_string().contains("DstKmsKeyInvalidState"))
    };
    scene.world.wait("orders", named, "to name the reason of S3").await?;
    Ok(())
}
