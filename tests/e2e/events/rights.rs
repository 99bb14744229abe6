//! The rights that `policy` prints are enough to read a queue.

use anyhow::{Context, Result, ensure};
use rig::world::World;
use serde_json::{Value, json};

use super::{metric, with_queue};
use crate::support::{DESTINATION_REGION, SOURCE_REGION, person, replication};

#[tokio::test]
async fn the_operator_reads_its_queue_with_the_statement_that_policy_prints() -> Result<()> {
    let world = World::with_auth("event-rights").await?;
    let queue = world.event_queue().await?;
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    let resource = replication("orders", &source, &destination).to_string();
    let args = ["policy", "-f", "-", "-o", "json", "--event-queue", &queue, "--region", "us-east-1"];
    let output = person(&world).run(args, &resource).await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout)?;
    let name = queue.rsplit('/').next().context("no name")?;
    ensure!(printed[format!("policy of event queue {name}")]["Statement"].is_array(), "{printed:#}");
    let own = printed["policy of the operator"]["Statement"].as_array().context("no statements")?;
    let mut events = own.iter().find(|s| s["Sid"] == "Events").context("no statement for events")?.clone();
    // IAM knows no action for deleting several messages; the emulator asks for one.
    events["Action"].as_array_mut().context("no actions")?.push(json!("sqs:DeleteMessageBatch"));
    let others = json!({"Effect": "Allow", "Action": ["s3:*", "iam:*", "sts:*"], "Resource": "*"});
    let policy = json!({"Version": "2012-10-17", "Statement": [events, others]});
    let (key, secret) = world.user("operator", &policy.to_string()).await?;
    let operator = with_queue(&world, &queue).credentials(&key, &secret).start().await?;
    world.apply(&resource).await?;
    world.wait_ready("orders").await?;
    metric(&operator, "events_received_total", &[("outcome", "own")], |n| n == 5.0, "to be 5").await?;
    ensure!(!operator.log().contains("does not work"), "messages cannot be deleted:\n{}", operator.log());
    Ok(())
}
