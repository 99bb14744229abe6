//! Messages in every form that may reach the queue.

use anyhow::{Result, ensure};
use rig::Clients;
use rig::proxy::TrailFaults;
use rig::world::DEADLINE;
use serde_json::{Value, json};

use super::EventScene;
use crate::support::{POLICY, reason};

/// Deletes the policy of a role as somebody does, and waits until the event has had it corrected.
async fn drift_is_corrected(scene: &EventScene, somebody: &Clients, name: &str) -> Result<()> {
    let role = format!("{name}-role");
    somebody.iam().delete_role_policy().role_name(role).policy_name(POLICY).send().await?;
    let corrected =
        |status: &Value| !status["lastCorrection"].is_null() && reason(status, "Ready") == "Applied";
    scene.world.wait(name, corrected, "to be corrected").await?;
    Ok(())
}

#[tokio::test]
async fn events_are_read_wrapped_by_sns_and_with_their_parameters_cut() -> Result<()> {
    let scene = EventScene::new("event-forms").await?;
    let names = ["wrapped", "cut"];
    for name in names {
        scene.replicate(name).await?;
    }
    scene.cover(&names).await?;
    let somebody = scene.world.somebody().await?;
    let wrapped = TrailFaults { wrapped: true, ..TrailFaults::default() };
    scene.world.proxy.set_trail_faults(wrapped);
    drift_is_corrected(&scene, &somebody, "wrapped").await?;
    scene.world.proxy.set_trail_faults(TrailFaults { without_parameters: true, ..TrailFaults::default() });
    drift_is_corrected(&scene, &somebody, "cut").await?;
    Ok(())
}

#[tokio::test]
async fn garbage_is_counted_and_deleted_and_the_next_event_is_acted_on() -> Result<()> {
    let scene = EventScene::new("event-garbage").await?;
    scene.replicate("orders").await?;
    scene.cover(&["orders"]).await?;
    let somebody = scene.world.somebody().await?;
    let sqs = scene.world.as_account(&scene.world.account).sqs("us-east-1");
    let large = json!({"detail": "x".repeat(300 * 1024)}).to_string();
    let deep = "[".repeat(10_000);
    let other = json!({"source": "aws.ec2", "detail": {"eventSource": "ec2.amazonaws.com"}}).to_string();
    for body in ["garbage", "{}", "null", &large, &deep, &other] {
        sqs.send_message().queue_url(&scene.queue).message_body(body).send().await?;
    }
    scene
        .metric("events_received_total", &[("outcome", "unreadable")], |n| n == 4.0, "to be 4 unreadable")
        .await?;
    scene.metric("events_received_total", &[("outcome", "unknown")], |n| n >= 2.0, "to be 2 unknown").await?;
    drift_is_corrected(&scene, &somebody, "orders").await?;
    // None waits, and none is hidden while it is handled: all were deleted.
    use aws_sdk_sqs::types::QueueAttributeName::{
        ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible,
    };
    let counts = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
    let start = std::time::Instant::now();
    loop {
        let request = sqs.get_queue_attributes().queue_url(&scene.queue);
        let held =
            request.set_attribute_names(Some(counts.to_vec())).send().await?.attributes.unwrap_or_default();
        if counts.iter().all(|count| held.get(count).map(String::as_str) == Some("0")) {
            return Ok(());
        }
        ensure!(start.elapsed() < DEADLINE, "messages are left: {held:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
