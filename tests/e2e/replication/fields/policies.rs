//! Versioning, Regions, `suspend`, `interval` and the three policies: management, deletion and adoption.

use std::collections::BTreeSet;

use anyhow::Result;
use aws_sdk_s3::types as s3;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::{
    DESTINATION_REGION, SOURCE_REGION, Scene, left_in_aws, reason, replication, set, world_with_operator,
};

#[tokio::test]
async fn versioning_is_enabled_if_managed_and_only_read_if_required() -> Result<()> {
    let enabled = Some(s3::BucketVersioningStatus::Enabled);
    let orders = Scene::named("managed-versioning").ready().await?;
    assert_eq!(orders.versioning(SOURCE_REGION, &orders.source).await?, enabled);
    assert_eq!(orders.versioning(DESTINATION_REGION, &orders.destination).await?, enabled);

    let (world, _operator) = world_with_operator("required").await?;
    let source = world.bucket(SOURCE_REGION).await?;
    let destination = world.bucket(DESTINATION_REGION).await?;
    let mut manifest = replication("orders", &source, &destination);
    set(&mut manifest, "spec.source.versioning", json!("Required"));
    set(&mut manifest, "spec.rules.0.destination.versioning", json!("Required"));
    world.apply(&manifest.to_string()).await?;
    let missing = |bucket: &str| {
        let bucket = bucket.to_owned();
        move |status: &Value| {
            let reported = crate::support::message(status, "VersioningReady");
            reason(status, "Ready") == "VersioningNotEnabled" && reported.contains(&bucket)
        }
    };
    let turn_on = async |region: &str, bucket: &str| -> Result<()> {
        world.set_versioning(region, bucket, s3::BucketVersioningStatus::Enabled).await?;
        crate::support::request_check(&world, "orders").await.map(drop)
    };
    world.wait("orders", missing(&destination), "to miss the destination's versioning").await?;
    assert_eq!(world.proxy.count("PutBucketVersioning"), 0);
    turn_on(DESTINATION_REGION, &destination).await?;
    world.wait("orders", missing(&source), "to miss the source's versioning").await?;
    turn_on(SOURCE_REGION, &source).await?;
    world.wait_ready("orders").await?;
    assert_eq!(world.proxy.count("PutBucketVersioning"), 0);

    // The next destination is managed.
    let next = world.bucket(DESTINATION_REGION).await?;
    set(&mut manifest, "spec.rules.0.destination", json!({"bucket": next}));
    world.apply(&manifest.to_string()).await?;
    world.wait_ready("orders").await?;
    let held = world.s3(DESTINATION_REGION).get_bucket_versioning().bucket(&next).send().await?;
    assert_eq!(held.status, enabled);
    Ok(())
}

#[tokio::test]
async fn a_region_in_the_spec_is_used_and_a_missing_one_is_discovered() -> Result<()> {
    let found = Scene::named("regions-found").ready().await?;
    assert!(found.world.proxy.count("HeadBucket") + found.world.proxy.count("GetBucketLocation") > 0);

    let given = Scene::named("regions-given")
        .edit(|spec| {
            set(spec, "source.region", json!(SOURCE_REGION));
            set(spec, "rules.0.destination.region", json!(DESTINATION_REGION));
        })
        .ready()
        .await?;
    for (orders, looked_for) in [(&found, true), (&given, false)] {
        let status = &orders.world.get("orders").await?["status"];
        assert_eq!(status["source"]["region"], SOURCE_REGION);
        assert_eq!(status["destinations"][0]["region"], DESTINATION_REGION);
        let looked = orders
            .world
            .proxy
            .calls()
            .iter()
            .any(|c| c.operation == "GetBucketLocation" || c.operation == "HeadBucket");
        assert_eq!(looked, looked_for);
        let regions: BTreeSet<(String, String)> = orders
            .world
            .proxy
            .calls()
            .into_iter()
            .filter(|c| c.operation == "GetBucketVersioning")
            .map(|c| (c.subject, c.region))
            .collect();
        assert_eq!(
            regions,
            BTreeSet::from([
                (orders.source.clone(), SOURCE_REGION.to_owned()),
                (orders.destination.clone(), DESTINATION_REGION.to_owned())
            ])
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_suspended_resource_causes_no_request_to_aws_and_can_be_deleted() -> Result<()> {
    let orders = Scene::named("suspend").ready().await?;
    orders.edit_spec(&[("suspend", json!(true))]).await?;
    let suspended = |status: &Value| reason(status, "Ready") == "Suspended";
    orders.world.wait("orders", suspended, "to be Suspended").await?;
    orders.world.proxy.clear();
    orders.edit_spec(&[("rules.0.priority", json!(9))]).await?;
    let generation = orders.world.get("orders").await?["metadata"]["generation"].clone();
    let seen = |status: &Value| status["observedGeneration"] == generation && suspended(status);
    orders.world.wait("orders", seen, "to have seen the change and be Suspended").await?;
    let calls: Vec<String> = orders.world.proxy.calls().iter().map(ToString::to_string).collect();
    assert_eq!(calls, Vec::<String>::new());

    orders.change_spec(&[("suspend", json!(false))]).await?;
    assert_eq!(orders.rule().await?["Priority"], 9);

    orders.edit_spec(&[("suspend", json!(true))]).await?;
    orders.world.wait("orders", suspended, "to be Suspended").await?;
    orders.world.api().delete("orders", &DeleteParams::default()).await?;
    orders.world.wait_gone("orders").await?;
    let left = left_in_aws(&orders.world, SOURCE_REGION, &orders.source, "orders-role").await?;
    assert_eq!(left, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn retained_objects_outlive_the_resource() -> Result<()> {
    for (policy, expected) in [("Retain", 2), ("Delete", 0)] {
        let orders = Scene::named("retain").ready().await?;
        orders.change_spec(&[("deletionPolicy", json!(policy))]).await?;
        orders.world.api().delete("orders", &DeleteParams::default()).await?;
        orders.world.wait_gone("orders").await?;
        let left = left_in_aws(&orders.world, SOURCE_REGION, &orders.source, "orders-role").await?;
        assert_eq!(left.len(), expected, "{policy}: {left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn observing_writes_nothing_until_the_policy_is_enforce() -> Result<()> {
    let orders = Scene::named("observe").ready().await?;
    orders.change_spec(&[("managementPolicy", json!("Observe"))]).await?;
    orders.world.proxy.clear();
    orders.edit_spec(&[("rules.0.priority", json!(3))]).await?;
    let drifted = |status: &Value| reason(status, "Ready") == "Drifted";
    let status = &orders.world.wait("orders", drifted, "to be Drifted").await?["status"];
    let entry = crate::support::drift(status, "rules[ReplicateToEU].priority")?;
    assert_eq!((&entry["want"], &entry["got"]), (&json!("3"), &json!("1")));
    assert!(orders.world.proxy.writes().is_empty());

    orders.change_spec(&[("managementPolicy", json!("Enforce"))]).await?;
    assert_eq!(orders.rule().await?["Priority"], 3);
    Ok(())
}

#[tokio::test]
async fn a_foreign_role_is_adopted_only_with_the_adoption_policy() -> Result<()> {
    let (world, _operator) = world_with_operator("adopt").await?;
    let source = world.versioned_bucket(SOURCE_REGION).await?;
    let destination = world.versioned_bucket(DESTINATION_REGION).await?;
    let trust = json!({"Version": "2012-10-17", "Statement": []});
    let create = world.iam().create_role().role_name("orders-role").path("/s3-replication/");
    create.assume_role_policy_document(trust.to_string()).send().await?;
    let mut manifest = replication("orders", &source, &destination);
    world.apply(&manifest.to_string()).await?;
    world.wait("orders", |s| reason(s, "Ready") == "ForeignRole", "to meet a foreign role").await?;
    assert!(world.proxy.writes().is_empty());

    set(&mut manifest, "spec.adoptionPolicy", json!("Adopt"));
    world.apply(&manifest.to_string()).await?;
    world.wait_ready("orders").await?;
    Ok(())
}

#[tokio::test]
async fn the_interval_can_be_set_and_removed_without_a_write_to_aws() -> Result<()> {
    let orders = Scene::named("interval").ready().await?;
    orders.world.proxy.clear();
    for interval in [json!("1m"), json!("24h"), json!(null)] {
        orders.change_spec(&[("interval", interval)]).await?;
    }
    assert!(orders.world.proxy.writes().is_empty());
    Ok(())
}
