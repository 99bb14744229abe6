//! Roles that IAM or S3 would not accept.

use anyhow::{Result, bail};
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::support::{Scene, message, reason, replication, request_check};

use super::impatient;

/// Each destination makes the role's policy longer, and IAM accepts 10,240 characters.
#[tokio::test]
async fn a_policy_that_would_not_fit_is_refused_before_it_is_sent() -> Result<()> {
    let Scene { world, operator: _operator, .. } = impatient("too-large").empty().await?;
    let source = world.bucket("us-east-1").await?;
    let long = format!("{}-{}", world.bucket_name(), "x".repeat(63));
    let names: Vec<String> = (0..130).map(|i| format!("{}{i:03}", &long[..60])).collect();
    try_join_all(names.iter().map(|name| world.create_bucket(&world.account, "eu-west-1", name))).await?;
    let mut resource = replication("orders", &source, &names[0]);
    let rule =
        |(i, name): (usize, &String)| json!({"id": name, "priority": i, "destination": {"bucket": name}});
    resource["spec"]["rules"] = names.iter().enumerate().map(rule).collect();
    world.apply(&resource.to_string()).await?;
    let refused = |status: &Value| reason(status, "Ready") == "PolicyTooLarge";
    let found = world.wait("orders", refused, "to be refused").await?;
    let text = message(&found["status"], "Ready");
    let size: Option<u32> = text.split_whitespace().find_map(|word| word.parse().ok());
    assert!(size.is_some_and(|size| size > 10_240), "{text}");
    assert!(text.contains("10240") && text.contains("role.arn"), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);

    resource["spec"]["rules"] = json!([resource["spec"]["rules"][0]]);
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await.map(drop)
}

#[tokio::test]
async fn an_existing_role_must_exist_and_trust_s3() -> Result<()> {
    let Scene { world, operator: _operator, source, destination } =
        impatient("existing-role").empty().await?;
    let mut resource = replication("orders", &source, &destination);
    let arn = format!("arn:aws:iam::{}:role/by-hand", world.account);
    resource["spec"]["role"] = json!({"arn": arn});
    world.apply(&resource.to_string()).await?;
    let missing = |status: &Value| reason(status, "Ready") == "RoleNotFound";
    let found = world.wait("orders", missing, "to miss its role").await?;
    assert!(message(&found["status"], "Ready").contains(&arn), "{found:#}");

    let trust = |service: &str| {
        json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole",
        }]})
        .to_string()
    };
    let iam = world.iam();
    let wrong = trust("ec2.amazonaws.com");
    iam.create_role().role_name("by-hand").assume_role_policy_document(wrong).send().await?;
    let untrusted = |status: &Value| reason(status, "Ready") == "RoleNotTrusted";
    let found = world.wait("orders", untrusted, "to find a role that does not trust S3").await?;
    let text = message(&found["status"], "Ready");
    assert!(text.contains("s3.amazonaws.com") && text.contains("sts:AssumeRole"), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);

    let right = trust("s3.amazonaws.com");
    iam.update_assume_role_policy().role_name("by-hand").policy_document(right).send().await?;
    request_check(&world, "orders").await?;
    world.wait_ready("orders").await?;
    let written: Vec<String> = world.proxy.writes().into_iter().map(|c| c.operation).collect();
    if written.iter().any(|operation| operation.contains("Role")) {
        bail!("an existing role is never written: {written:?}");
    }
    Ok(())
}
