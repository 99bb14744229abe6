//! The account of a destination that the operator cannot reach any more.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use kube::api::DeleteParams;
use rig::proxy::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use crate::support::{
    DESTINATION_REGION, SOURCE_REGION, check_now, message, patch, patch_account, reason, request_check,
    see_own_writes,
};

use super::{ALL, TwoAccounts, account, policy_of};

impl TwoAccounts {
    /// Whether each rule of the configuration is enabled; empty where there is none.
    async fn enabled(&self) -> Result<Vec<bool>> {
        let held = self.world.s3(SOURCE_REGION).get_bucket_replication().bucket(&self.source).send().await;
        match held {
            Ok(held) => {
                let rules = held.replication_configuration().context("no configuration")?.rules().to_vec();
                Ok(rules.iter().map(|rule| rule.status().as_str() == "Enabled").collect())
            }
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Names another role in the `AwsAccount` of the destination.
    async fn assume(&self, role: &str) -> Result<()> {
        patch_account(&self.world, &self.abroad, json!({"spec": {"assumeRole": {"arn": role}}})).await
    }
}

#[tokio::test]
async fn copies_are_restored_stopped_and_deleted_while_the_account_of_their_destination_is_mistaken()
-> Result<()> {
    let two = TwoAccounts::ready("unreached").await?;
    let world = &two.world;
    let right = world.account(&two.abroad).await?["spec"]["assumeRole"]["arn"].clone();
    let right = right.as_str().context("no role")?;
    see_own_writes(world, "orders").await?;

    let elsewhere = world.assumable_role(&world.account, "elsewhere", &world.account, None, ALL).await?;
    two.assume(&elsewhere).await?;
    let mistaken = |status: &Value| reason(status, "Ready") == "AccountMismatch";
    request_check(world, "orders").await?;
    world.wait("orders", mistaken, "to report the mistake").await?;
    world.s3(SOURCE_REGION).delete_bucket_replication().bucket(&two.source).send().await?;
    let status = check_now(world, "orders").await?["status"].clone();
    assert_eq!(
        (two.enabled().await?, reason(&status, "Ready")),
        (vec![true], "AccountMismatch"),
        "{status:#}"
    );
    assert_eq!(two.send_object("restored").await?, ("COMPLETED".to_owned(), true));

    patch(
        world,
        "orders",
        json!({"spec": {"rules": [{
            "id": "ReplicateToEU", "status": "Disabled", "priority": 1, "filter": {"prefix": ""},
            "destination": {"bucket": two.destination, "storageClass": "STANDARD", "accountRef": two.abroad},
        }]}}),
    )
    .await?;
    let generation = world.get("orders").await?["metadata"]["generation"].clone();
    let seen = |status: &Value| status["observedGeneration"] == generation && mistaken(status);
    let status = world.wait("orders", seen, "to be checked").await?["status"].clone();
    assert_eq!(two.enabled().await?, [false], "{status:#}");

    world.api().delete("orders", &DeleteParams::default()).await?;
    let waits = |status: &Value| message(status, "Ready").starts_with("cannot delete what is left");
    let status = world.wait("orders", waits, "to wait").await?["status"].clone();
    assert_eq!((two.enabled().await?, reason(&status, "Ready")), (vec![], "AccountMismatch"), "{status:#}");
    for part in [two.destination.as_str(), &two.abroad, &two.abroad_id, r#"{"deletionPolicy":"Retain"}"#] {
        ensure!(message(&status, "Ready").contains(part), "{part} is not in: {status:#}");
    }
    ensure!(two.policy().await?.is_some(), "it cannot be reached");
    two.assume(right).await?;
    world.wait_gone("orders").await?;
    ensure!(two.policy().await?.is_none(), "the operator's statements are left behind");
    let role = world.iam().get_role().role_name("orders-role").send().await;
    assert_eq!(role.err().and_then(|error| error.code().map(str::to_owned)).as_deref(), Some("NoSuchEntity"));
    Ok(())
}

/// Another account for a second destination.
#[tokio::test]
async fn every_account_that_stops_trusting_the_operator_is_named_by_a_deletion() -> Result<()> {
    let two = TwoAccounts::new("distrusted").await?;
    let world = &two.world;
    let third_id = world.another_account();
    let third = world.unique("third");
    let role = world.assumable_role(&third_id, "operator", &world.account, None, ALL).await?;
    world.apply(&account(world, &third, &third_id, Some(&role)).to_string()).await?;
    let more = world.bucket_of(&third_id, DESTINATION_REGION).await?;
    let mut resource = two.resource();
    let rule = json!({"id": "More", "priority": 2, "filter": {"prefix": ""},
        "destination": {"bucket": more, "accountRef": third}});
    resource["spec"]["rules"].as_array_mut().context("no rules")?.push(rule);
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    assert_eq!(two.enabled().await?, [true, true]);

    // A session that goes on is that of the former role.
    for (name, id) in [(&two.abroad, &two.abroad_id), (&third, &third_id)] {
        let distrusting = format!("arn:aws:iam::{id}:role/distrusting");
        let denied = Answer::error(403, "AccessDenied", "not authorized to perform: sts:AssumeRole");
        world.proxy.inject(Fault::always(Matcher::operation("AssumeRole").about(&distrusting), denied));
        patch_account(world, name, json!({"spec": {"assumeRole": {"arn": distrusting}}})).await?;
    }
    world.api().delete("orders", &DeleteParams::default()).await?;
    let waits = |status: &Value| message(status, "Ready").starts_with("cannot delete what is left");
    let status = world.wait("orders", waits, "to wait").await?["status"].clone();
    let text = message(&status, "Ready");
    for part in [&two.destination, &more, &two.abroad, &third, &two.abroad_id, &third_id] {
        ensure!(text.contains(part.as_str()), "{part} is not in: {text}");
    }
    assert_eq!((two.enabled().await?, reason(&status, "Ready")), (vec![], "AccessDenied"));
    patch(world, "orders", json!({"spec": {"deletionPolicy": "Retain"}})).await?;
    world.wait_gone("orders").await?;
    let there = world.as_account(&third_id).s3(DESTINATION_REGION);
    ensure!(policy_of(&there, &more).await?.is_some(), "deletionPolicy: Retain leaves it");
    Ok(())
}
