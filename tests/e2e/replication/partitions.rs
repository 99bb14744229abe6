//! Replication in other partitions of AWS: every ARN that the operator writes begins as those of the partition do.

use anyhow::{Context, Result, ensure};
use rig::world::World;
use serde_json::json;

use crate::support::{check_now, decode_policy, operator_of, reason, replication};

#[tokio::test]
async fn what_the_operator_writes_names_the_partition_of_the_region() -> Result<()> {
    for (region, home, arn) in [
        ("eusc-de-east-1", "eusc-de-east-1", "arn:aws-eusc:"),
        ("us-iso-east-1", "us-iso-west-1", "arn:aws-iso:"),
        ("us-isob-east-1", "us-isob-east-1", "arn:aws-iso-b:"),
        ("eu-isoe-west-1", "eu-isoe-west-1", "arn:aws-iso-e:"),
        // The Region of the environment is not set: it is us-east-1.
        ("us-isof-south-1", "us-east-1", "arn:aws-iso-f:"),
    ] {
        let world = World::new(&format!("in-{region}")).await?;
        let _operator = operator_of(&world).env("AWS_REGION", home).start().await?;
        let (source, destination) = (world.bucket(region).await?, world.bucket(region).await?);
        let mut resource = replication("orders", &source, &destination);
        resource["spec"]["source"]["region"] = json!(region);
        world.apply(&resource.to_string()).await?;
        let ready = world.wait_ready("orders").await?;
        let role = ready["status"]["role"]["arn"].as_str().unwrap_or_default();
        ensure!(role.starts_with(arn), "{region}: {role}");
        let held = world.s3(region).get_bucket_replication().bucket(&source).send().await?;
        let held = held.replication_configuration().context("no configuration")?;
        let to = held.rules()[0].destination().map(|to| to.bucket()).unwrap_or_default();
        ensure!(held.role() == role && to == format!("{arn}s3:::{destination}"), "{region}: {held:?}");
        let policy = world
            .iam()
            .get_role_policy()
            .role_name("orders-role")
            .policy_name("s3-replication")
            .send()
            .await?;
        let policy = decode_policy(policy.policy_document())?.to_string();
        let arns: Vec<&str> = policy.split('"').filter(|word| word.starts_with("arn:")).collect();
        ensure!(arns.len() >= 3 && arns.iter().all(|found| found.starts_with(arn)), "{region}: {policy}");
        world.proxy.clear();
        let status = check_now(&world, "orders").await?["status"].clone();
        ensure!(reason(&status, "Ready") == "Applied" && world.proxy.writes().is_empty(), "{status:#}");
    }
    Ok(())
}
