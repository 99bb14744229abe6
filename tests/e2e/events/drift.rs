//! Each kind of drift, found by its event.

use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use rig::Clients;
use rig::proxy::Call;
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use super::{EventScene, metric, with_queue};
use crate::support::{DESTINATION_REGION, POLICY, SOURCE_REGION, reason, replication};

/// Longer than the shortest interval of polling with its jitter.
const IDLE: Duration = Duration::from_secs(70);

async fn suspend_versioning(somebody: &Clients, bucket: &str) -> Result<()> {
    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let s3 = somebody.s3(DESTINATION_REGION);
    s3.put_bucket_versioning().bucket(bucket).versioning_configuration(suspended).send().await?;
    Ok(())
}

#[tokio::test]
async fn after_an_idle_minute_without_a_call_each_kind_of_drift_is_corrected_by_its_event() -> Result<()> {
    let scene = EventScene::new("event-drift").await?;
    let world = &scene.world;
    let kinds = ["configuration", "policy", "trust", "tags", "boundary", "role", "versioning"];
    let mut buckets = Vec::new();
    for kind in kinds {
        buckets.push(scene.replicate(kind).await?);
    }
    scene.cover(&kinds).await?;
    world.proxy.clear();
    // Nothing but time shows that nothing happens.
    tokio::time::sleep(IDLE).await;
    assert_eq!(world.proxy.calls().len(), 0, "{:?}", world.proxy.calls());

    let somebody = world.somebody().await?;
    let (iam, role) = (somebody.iam(), |kind: &str| format!("{kind}-role"));
    somebody.s3(SOURCE_REGION).delete_bucket_replication().bucket(&buckets[0].0).send().await?;
    iam.delete_role_policy().role_name(role("policy")).policy_name(POLICY).send().await?;
    let nobody = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]});
    iam.update_assume_role_policy()
        .role_name(role("trust"))
        .policy_document(nobody.to_string())
        .send()
        .await?;
    iam.untag_role().role_name(role("tags")).tag_keys("s3replication.dev/name").send().await?;
    iam.put_role_permissions_boundary()
        .role_name(role("boundary"))
        .permissions_boundary("arn:aws:iam::aws:policy/ReadOnlyAccess")
        .send()
        .await?;
    iam.delete_role_policy().role_name(role("role")).policy_name(POLICY).send().await?;
    iam.delete_role().role_name(role("role")).send().await?;
    suspend_versioning(&somebody, &buckets[6].1).await?;
    for kind in kinds {
        let corrected = |status: &Value| {
            !status["lastCorrection"].is_null()
                && status["driftCount"] == 0
                && reason(status, "Ready") == "Applied"
        };
        world.wait(kind, corrected, "to be corrected by the event").await?;
    }
    let by = |by| [("by", by)];
    scene.metric("drift_found_by_total", &by("event"), |n| n >= 7.0, "to be 7 by events").await?;
    scene.metric("drift_found_by_total", &by("poll"), |n| n == 0.0, "to be 0 by polls").await?;
    scene.metric("drift_latency_seconds_count", &[], |n| n >= 7.0, "to be measured").await?;
    scene.metric("drift_unannounced_total", &[], |n| n == 0.0, "to be 0").await?;
    Ok(())
}

#[tokio::test]
async fn drift_under_observe_is_reported_by_its_event_and_a_gone_bucket_too() -> Result<()> {
    let scene = EventScene::new("event-observe").await?;
    let observe = |spec: &mut Value| spec["managementPolicy"] = json!("Observe");
    let (_, destination) = scene.replicate("orders").await?;
    let (source, _) = scene.replicate("gone").await?;
    scene.cover(&["orders", "gone"]).await?;
    let mut resource = json!({"spec": {}});
    observe(&mut resource["spec"]);
    crate::support::patch(&scene.world, "orders", resource).await?;
    crate::support::check_now(&scene.world, "orders").await?;

    let somebody = scene.world.somebody().await?;
    suspend_versioning(&somebody, &destination).await?;
    let drifted = |status: &Value| reason(status, "VersioningReady") == "Drifted";
    scene.world.wait("orders", drifted, "to report drift").await?;
    somebody.s3(SOURCE_REGION).delete_bucket().bucket(&source).send().await?;
    let missing = |status: &Value| reason(status, "Ready") == "SourceBucketNotFound";
    scene.world.wait("gone", missing, "to report the missing bucket").await?;
    Ok(())
}

#[tokio::test]
async fn a_key_that_someone_disables_is_reported_by_its_event() -> Result<()> {
    let scene = EventScene::new("event-key").await?;
    let somebody = scene.world.somebody().await?;
    let kms = somebody.kms(DESTINATION_REGION);
    let created = kms.create_key().send().await?;
    let key = created.key_metadata().and_then(|key| key.arn()).context("no key")?.to_owned();
    scene
        .replicate_with("orders", |spec| {
            spec["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
            spec["rules"][0]["destination"]["kmsKeyArn"] = json!(key);
        })
        .await?;
    scene.cover(&["orders"]).await?;
    kms.disable_key().key_id(&key).send().await?;
    let refused = |status: &Value| reason(status, "Ready") != "Applied";
    let seen = scene.world.wait("orders", refused, "to report the disabled key").await?;
    assert!(seen["status"].to_string().contains(&key), "{:#}", seen["status"]);
    kms.enable_key().key_id(&key).send().await?;
    scene.world.wait_ready("orders").await?;
    Ok(())
}

#[tokio::test]
async fn a_bucket_policy_of_another_account_is_corrected_by_its_event_and_the_account_reports_its_events()
-> Result<()> {
    const ALL: &str =
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    let world = World::with_accounts("event-abroad").await?;
    let queue = world.event_queue().await?;
    let operator = with_queue(&world, &queue).start().await?;
    let abroad_id = world.another_account();
    let role = world.assumable_role(&abroad_id, "operator", &world.account, None, ALL).await?;
    let (home, abroad) = (world.unique("home"), world.unique("abroad"));
    for (name, id, role) in [(&home, &world.account, None), (&abroad, &abroad_id, Some(role.clone()))] {
        let mut account = json!({
            "apiVersion": "s3replication.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": name},
            "spec": {
                "accountId": id, "namespaces": {"matchNames": [world.namespace]},
                "sources": [format!("{}-*", world.namespace)], "destinations": [format!("{}-*", world.namespace)],
            },
        });
        if let Some(arn) = role {
            account["spec"]["assumeRole"] = json!({"arn": arn});
        }
        world.apply(&account.to_string()).await?;
    }
    let not_seen = |status: &Value| reason(status, "EventsReceived") == "EventsNotSeen";
    world.wait_account(&abroad, not_seen, "to report that no event has come").await?;

    let source = world.bucket(SOURCE_REGION).await?;
    let destination = world.bucket_of(&abroad_id, DESTINATION_REGION).await?;
    let mut resource = replication("orders", &source, &destination);
    resource["spec"]["source"]["accountRef"] = json!(home);
    resource["spec"]["rules"][0]["destination"]["accountRef"] = json!(abroad);
    world.apply(&resource.to_string()).await?;
    world.wait_ready("orders").await?;
    for account in [&home, &abroad] {
        let received = |status: &Value| reason(status, "EventsReceived") == "EventsReceived";
        world.wait_account(account, received, "to report that events arrive").await?;
    }
    crate::support::check_now(&world, "orders").await?;

    let theirs = world.as_account(&abroad_id).through(&world.proxy.url());
    theirs.s3(DESTINATION_REGION).delete_bucket_policy().bucket(&destination).send().await?;
    let corrected = |status: &Value| !status["lastCorrection"].is_null() && status["driftCount"] == 0;
    world.wait("orders", corrected, "to have its statements again").await?;
    metric(&operator, "drift_found_by_total", &[("by", "event")], |n| n >= 1.0, "to be by the event").await?;

    // The role that the operator assumes: STS is asked whether it still may.
    world.proxy.clear();
    let tag = aws_sdk_iam::types::Tag::builder().key("owner").value("somebody").build()?;
    let (_, name) = role.rsplit_once('/').context("no role")?;
    theirs.iam().tag_role().role_name(name).tags(tag).send().await?;
    let asked = |calls: &[Call]| {
        calls.iter().any(|call| call.operation == "GetCallerIdentity" && call.account == abroad_id)
    };
    world.proxy.wait_for(asked, DEADLINE).await?;
    Ok(())
}
