//! The quickstart: one resource switches replication on.

use anyhow::Result;
use serde_json::json;

use crate::support::{NAME, Scene, reason};

#[tokio::test]
async fn one_resource_switches_replication_on() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        Scene::named("quickstart").ready().await?;
    let status = &world.wait_ready(NAME).await?["status"];

    assert_eq!(reason(status, "Ready"), "Applied");
    let bucket = |name: &str, region: &str| json!({"bucket": name, "region": region, "account": world.account, "versioning": "Enabled"});
    assert_eq!(status["source"], bucket(&source, "us-east-1"));
    assert_eq!(status["destinations"], json!([bucket(&destination, "eu-west-1")]));
    assert_eq!((&status["rules"], &status["driftCount"]), (&json!(1), &json!(0)));

    let held = world.s3("us-east-1").get_bucket_replication().bucket(&source).send().await?;
    let configuration = held.replication_configuration().unwrap();
    assert_eq!(status["role"], json!({"arn": configuration.role(), "managed": true}));
    let rules: Vec<_> = configuration.rules().iter().filter_map(|rule| rule.id()).collect();
    assert_eq!(rules, ["ReplicateToEU"]);
    Ok(())
}
