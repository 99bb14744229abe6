//! Replication is broken, and mended.

use anyhow::Result;
use aws_sdk_s3::types::BucketVersioningStatus;
use serde_json::{Value, json};

use super::{DESTINATION_REGION, Scene, publish_metrics, replicating, scene};
use crate::support::{NAME, ROLE};

/// A scene in which objects arrive and the operator corrects nothing.
async fn arriving(name: &str) -> Result<Scene> {
    let scene = scene(name).ready().await?;
    scene.write_object("first").await?;
    let status = scene.wait_verdict("ObjectsArriving").await?;
    let (verdict, _, message) = replicating(&status);
    let expected = format!("objects arrive: rule ReplicateToEU to {}", scene.destination);
    assert_eq!((verdict, message), ("True", expected.as_str()));
    assert_eq!(status["health"]["rules"][0]["verdict"], "Arriving", "{status:#}");
    scene.manage("Observe").await?;
    Ok(scene)
}

/// Writes an object that fails, and checks what the status says of it.
async fn fails(scene: &Scene, cause: &str) -> Result<Value> {
    scene.write_object("lost").await?;
    scene.wait_verdict("ObjectsFailing").await?;
    // The cause that the operator's own check finds follows.
    scene.check().await?;
    let found = |status: &Value| {
        let (_, reason, message) = replicating(status);
        let told = message.split_once("; the likely cause: ").is_some_and(|(_, why)| why.contains(cause));
        reason == "ObjectsFailing" && told
    };
    let object = scene.world.wait(NAME, found, &format!("to name {cause:?}")).await?;
    let status = object["status"].clone();
    let (verdict, _, message) = replicating(&status);
    let about = format!("of rule ReplicateToEU to {} failed; ", scene.destination);
    assert!(message.starts_with("objects do not arrive: ") && message.contains(&about), "{message}");
    assert_eq!(verdict, "False");
    let rule = &status["health"]["rules"][0];
    assert_eq!((rule["verdict"].as_str(), rule["failed"].as_i64()), (Some("Failing"), Some(1)), "{rule:#}");
    assert!(status["health"]["failedSince"].is_string() && rule["lastFailure"].is_string(), "{status:#}");
    Ok(status)
}

#[tokio::test]
async fn a_trust_policy_without_s3_is_told_and_objects_arrive_again_once_it_is_mended() -> Result<()> {
    let scene = arriving("health-trust").await?;
    let nobody = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let iam = scene.world.iam();
    iam.update_assume_role_policy().role_name(ROLE).policy_document(nobody.to_string()).send().await?;
    fails(&scene, &format!("Role {ROLE} trustPolicy")).await?;

    scene.manage("Enforce").await?;
    let status = scene.write_until("ObjectsArriving").await?;
    assert_eq!(replicating(&status).0, "True");
    assert!(status["health"]["failedSince"].is_null(), "the count begins anew: {status:#}");
    assert!(status["health"]["rules"][0]["failed"].is_null(), "{status:#}");
    Ok(())
}

#[tokio::test]
async fn an_explicit_deny_on_the_role_is_told() -> Result<()> {
    let scene = arriving("health-deny").await?;
    let deny = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "s3:ReplicateObject", "Resource": "*"}]});
    let iam = scene.world.iam();
    let put = iam.put_role_policy().role_name(ROLE).policy_name("guardrail");
    put.policy_document(deny.to_string()).send().await?;
    scene.write_object("lost").await?;
    let status = scene.wait_verdict("ObjectsFailing").await?;
    let (_, _, message) = replicating(&status);
    assert!(
        message.contains("OperationFailedReplication"),
        "nothing of the operator's own explains it: {message}"
    );
    Ok(())
}

#[tokio::test]
async fn a_destination_without_versioning_is_told() -> Result<()> {
    let scene = arriving("health-versioning").await?;
    let suspended = BucketVersioningStatus::Suspended;
    scene.world.set_versioning(DESTINATION_REGION, &scene.destination, suspended).await?;
    fails(&scene, "BucketVersioning").await.map(drop)
}

#[tokio::test]
async fn a_destination_that_is_gone_is_told() -> Result<()> {
    let scene = arriving("health-gone").await?;
    let s3 = scene.world.s3(DESTINATION_REGION);
    let versions = s3.list_object_versions().bucket(&scene.destination).send().await?;
    for version in versions.versions() {
        let delete = s3.delete_object().bucket(&scene.destination);
        delete.set_key(version.key.clone()).set_version_id(version.version_id.clone()).send().await?;
    }
    s3.delete_bucket().bucket(&scene.destination).send().await?;
    fails(&scene, "does not exist").await.map(drop)
}

#[tokio::test]
async fn objects_that_stay_pending_are_late_and_arrive_once_released() -> Result<()> {
    let late = |spec: &mut Value| {
        publish_metrics(spec);
        spec["health"] = json!({"maxLatency": "1m"});
    };
    let scene = scene("health-late").edit(late).ready().await?;
    let idle = scene.wait_verdict("NothingPending").await?;
    assert_eq!(replicating(&idle).0, "True");

    scene.world.hold_replication(&scene.source, 1234).await?;
    scene.write_object("slow").await?;
    let status = scene.wait_verdict("ObjectsDelayed").await?;
    let (verdict, _, message) = replicating(&status);
    assert_eq!(verdict, "False");
    assert!(message.contains("(1 pending, 1200 seconds behind)"), "{message}");
    assert_eq!(status["health"]["latencySeconds"], 1200, "{status:#}");

    scene.world.release_replication(&scene.source).await?;
    scene.write_until("ObjectsArriving").await.map(drop)
}
