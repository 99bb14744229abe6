//! The founding example: one resource in, replication on.

use anyhow::Result;
use serde_json::json;

use crate::support::{reason, replication, world};

#[tokio::test]
async fn one_resource_switches_replication_on() -> Result<()> {
    let (world, _operator) = world("founding").await?;
    let source = world.bucket("us-east-1").await?;
    let destination = world.bucket("eu-west-1").await?;
    world.apply(&replication("orders", &source, &destination).to_string()).await?;
    let status = &world.wait_ready("orders").await?["status"];

    assert_eq!(reason(status, "Ready"), "Applied");
    assert_eq!(
        status["source"],
        json!({"bucket": source, "region": "us-east-1", "account": world.account, "versioning": "Enabled"})
    );
    assert_eq!(status["destinations"][0]["region"], "eu-west-1");
    let held = world.s3("us-east-1").get_bucket_replication().bucket(&source).send().await?;
    let rules = held.replication_configuration().unwrap().rules();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].id(), Some("ReplicateToEU"));
    for call in world.proxy.calls() {
        println!("{call}");
    }
    println!("round trips {}", world.proxy.round_trips());
    for r in world.kube_requests()? {
        println!("{r:?}");
    }
    println!("{status:#}");
    Ok(())
}
