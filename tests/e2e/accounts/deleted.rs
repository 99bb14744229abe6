//! An account that is deleted: its resources leave all as it is until it is back.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use kube::api::DeleteParams;
use rig::operator::Operator;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{check_now, message, patch, reason, world_with_accounts};

use super::{RemoteAccount, operations, replicate, wait_for_reason};

/// Two accounts with resources that are Ready; two of the resources replicate from one account into the other.
async fn settled(name: &str) -> Result<(World, Operator, RemoteAccount, RemoteAccount)> {
    let (world, operator) = world_with_accounts(name).await?;
    let (here, there) =
        (RemoteAccount::new(&world, "here").await?, RemoteAccount::new(&world, "there").await?);
    here.apply(&world).await?;
    there.apply(&world).await?;
    for (name, from, to) in [("within", &there, &there), ("across", &here, &there), ("from", &there, &here)] {
        replicate(&world, name, Some(from), Some(to)).await?;
        world.wait_ready(name).await?;
    }
    Ok((world, operator, here, there))
}

/// The traces of a resource in AWS: its configuration, its role, and the policy of its destination.
async fn parts_in_aws(
    world: &World,
    name: &str,
    from: &RemoteAccount,
    to: &RemoteAccount,
    resource: &Value,
) -> Result<Vec<String>> {
    let spec = &resource["spec"];
    let source = spec["source"]["bucket"].as_str().context("no source")?;
    let destination = spec["rules"][0]["destination"]["bucket"].as_str().context("no destination")?;
    let (at_source, at_destination) = (world.as_account(&from.id), world.as_account(&to.id));
    let mut held = Vec::new();
    let configuration = at_source.s3("us-east-1").get_bucket_replication().bucket(source).send().await;
    match configuration {
        Ok(found) => held.push(format!("{:?}", found.replication_configuration())),
        Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => {}
        Err(error) => return Err(error.into()),
    }
    match at_source.iam().get_role().role_name(format!("{name}-role")).send().await {
        Ok(found) => held.push(format!("{:?}", found.role().map(|role| role.arn()))),
        Err(error) if error.code() == Some("NoSuchEntity") => {}
        Err(error) => return Err(error.into()),
    }
    match at_destination.s3("eu-west-1").get_bucket_policy().bucket(destination).send().await {
        Ok(found) => held.push(format!("{:?}", found.policy())),
        Err(error) if error.code() == Some("NoSuchBucketPolicy") => {}
        Err(error) => return Err(error.into()),
    }
    Ok(held)
}

#[tokio::test]
async fn resources_of_a_deleted_account_change_nothing_and_continue_when_it_is_back() -> Result<()> {
    let (world, _operator, here, there) = settled("accounts-deleted").await?;
    let resources = [("within", &there, &there, 2), ("across", &here, &there, 3), ("from", &there, &here, 3)];
    let mut before = Vec::new();
    for (name, from, to, parts) in resources {
        let held = parts_in_aws(&world, name, from, to, &world.get(name).await?).await?;
        assert_eq!(held.len(), parts, "{name}: {held:#?}");
        before.push(held);
    }
    world.proxy.clear();
    world.accounts().delete(&there.name, &DeleteParams::default()).await?;
    for (name, field) in [
        ("within", "source.accountRef"),
        ("across", "rules[ReplicateToEU].destination.accountRef"),
        ("from", "source.accountRef"),
    ] {
        let status = &wait_for_reason(&world, name, "AccountNotFound").await?["status"];
        assert_eq!(reason(status, "Reconciling"), "AccountNotFound", "the operator continues automatically");
        let says = format!(
            "{field} names the AwsAccount {}, which does not exist; create it or correct {field}",
            there.name
        );
        ensure!(message(status, "Ready").starts_with(&says), "{says} is not in: {status:#}");
    }
    for name in ["within", "across", "from"] {
        let status = &check_now(&world, name).await?["status"];
        assert_eq!(reason(status, "Ready"), "AccountNotFound");
    }
    for ((name, from, to, _), before) in resources.into_iter().zip(&before) {
        assert_eq!(parts_in_aws(&world, name, from, to, &world.get(name).await?).await?, *before, "{name}");
    }
    let calls = world.proxy.calls();
    let asked = calls.iter().filter(|call| call.operation != "GetCallerIdentity");
    assert_eq!(operations(asked), BTreeSet::new(), "AWS is not asked anything of them");

    there.apply(&world).await?;
    for name in ["within", "across", "from"] {
        world.wait_ready(name).await?;
    }
    let writes = world.proxy.writes();
    assert!(writes.is_empty(), "all was still there: {writes:?}");
    Ok(())
}

#[tokio::test]
async fn a_resource_deleted_after_its_account_waits_for_it_and_then_leaves_nothing_behind() -> Result<()> {
    let (world, _operator, here, there) = settled("accounts-deleting").await?;
    let resources = [("within", &there, &there), ("across", &here, &there), ("from", &there, &here)];
    let mut objects = Vec::new();
    for (name, ..) in resources {
        objects.push(world.get(name).await?);
    }
    world.accounts().delete(&there.name, &DeleteParams::default()).await?;
    world.proxy.clear();
    for (name, ..) in resources {
        world.api().delete(name, &DeleteParams::default()).await?;
    }
    for (name, from, to) in resources {
        let waits = |status: &Value| message(status, "Ready").starts_with("cannot delete: ");
        let object = world.wait(name, waits, "to wait with its deletion").await?;
        assert_eq!(reason(&object["status"], "Ready"), "AccountNotFound");
        let text = message(&object["status"], "Ready");
        for part in [
            &format!("AwsAccount {}", there.name),
            "create the AwsAccount again",
            r#"{"deletionPolicy":"Retain"}"#,
        ] {
            ensure!(text.contains(part), "{part} is not in: {text}");
        }
        assert!(
            !parts_in_aws(&world, name, from, to, &object).await?.is_empty(),
            "{name}: nothing is torn down"
        );
    }
    assert!(world.proxy.writes().is_empty());

    // `Retain` leaves everything behind without waiting.
    patch(&world, "from", json!({"spec": {"deletionPolicy": "Retain"}})).await?;
    world.wait_gone("from").await?;
    assert_eq!(parts_in_aws(&world, "from", &there, &here, &objects[2]).await?.len(), 3);

    // Another `AwsAccount` for the same account serves, for the source and for the destination alike.
    let other = RemoteAccount { name: world.unique("other"), id: there.id.clone(), role: there.role.clone() };
    other.apply(&world).await?;
    patch(&world, "within", json!({"spec": {"source": {"accountRef": other.name}}})).await?;
    world.wait_gone("within").await?;
    world.accounts().delete(&other.name, &DeleteParams::default()).await?;

    there.apply(&world).await?;
    for ((name, from, to), object) in resources.into_iter().zip(&objects).take(2) {
        world.wait_gone(name).await?;
        assert_eq!(parts_in_aws(&world, name, from, to, object).await?, Vec::<String>::new(), "{name}");
    }
    world.wait_account(&there.name, |status| status["replications"] == 0, "to count none").await?;
    Ok(())
}
