//! Deletion: what is removed from AWS, what stays, and what blocks it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::BucketVersioningStatus;
use rig::world::DEADLINE;
use rig::{GateAt, Matcher};
use serde_json::{Value, json};

use crate::support::{
    NAME, POLICY, ROLE, Scene, check_now, message, operator_of, patch, reason, request_check,
};

use super::{FINALIZER, READ_ONLY, by_operator};

#[tokio::test]
async fn deletion_removes_the_configuration_and_the_role_and_nothing_else() -> Result<()> {
    let scene = Scene::named("own-delete").ready().await?;
    scene.make_role("theirs", &BTreeMap::new()).await?;
    scene.world.proxy.clear();
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    let writes: Vec<String> =
        scene.world.proxy.writes().iter().map(|c| format!("{} {}", c.operation, c.subject)).collect();
    assert_eq!(
        writes,
        [
            format!("DeleteBucketReplication {}", scene.source),
            format!("DeleteRolePolicy {ROLE}"),
            format!("DeleteRole {ROLE}")
        ]
    );
    assert_eq!(scene.rules_and_role().await?, None);
    assert!(!scene.role_exists(ROLE).await? && scene.role_exists("theirs").await?);
    let enabled = Some(BucketVersioningStatus::Enabled);
    assert_eq!(scene.versioning("us-east-1", &scene.source).await?, enabled);
    assert_eq!(scene.versioning("eu-west-1", &scene.destination).await?, enabled);
    Ok(())
}

#[tokio::test]
async fn removing_another_finalizer_during_deletion_repeats_no_cleanup() -> Result<()> {
    let scene = Scene::named("own-finalizers").ready().await?;
    let gate = scene.world.proxy.gate(Matcher::operation("DeleteRole"), GateAt::AfterForward);
    // Like the garbage collector's finalizer in a foreground deletion, which a real cluster removes immediately.
    patch(&scene.world, NAME, json!({"metadata": {"finalizers": [FINALIZER, "example.com/other"]}})).await?;
    scene.delete().await?;
    gate.reached(DEADLINE).await?;
    patch(&scene.world, NAME, json!({"metadata": {"finalizers": [FINALIZER]}})).await?;
    gate.release();
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.world.proxy.count("DeleteRole"), 1);
    ensure!(!scene.operator.log().contains("trying again"), "{}", scene.operator.log());
    Ok(())
}

#[tokio::test]
async fn retain_and_observe_leave_everything_at_deletion() -> Result<()> {
    for (name, spec) in [
        ("own-retain", json!({"deletionPolicy": "Retain"})),
        ("own-observe", json!({"managementPolicy": "Observe"})),
    ] {
        let scene = Scene::named(name).ready().await?;
        scene.patch_spec(spec).await?;
        scene.check().await?;
        scene.world.proxy.clear();
        scene.delete().await?;
        scene.world.wait_gone(NAME).await?;
        scene.check_nothing_written();
        assert_eq!(scene.rules_and_role().await?, by_operator(), "{name}");
        assert!(scene.role_exists(ROLE).await?, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_resource_created_again_after_retain_is_refused_until_it_adopts() -> Result<()> {
    let scene =
        Scene::named("own-again").edit(|spec| spec["deletionPolicy"] = json!("Retain")).ready().await?;
    let before = scene.world.get(NAME).await?["metadata"]["uid"].as_str().context("no UID")?.to_owned();
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    scene.world.proxy.clear();
    scene.apply(|_| {}).await?;
    scene.check_refused("ForeignRole", "RoleReady", &[&before, "adoptionPolicy: Adopt"]).await?;
    scene.patch_spec(json!({"adoptionPolicy": "Adopt"})).await?;
    scene.world.wait_ready(NAME).await?;
    let writes: Vec<String> = scene.world.proxy.writes().into_iter().map(|c| c.operation).collect();
    assert_eq!(writes, ["TagRole"], "only the owner's name was not as it should be");
    Ok(())
}

#[tokio::test]
async fn deletion_works_whatever_changed_in_aws() -> Result<()> {
    let scene = Scene::named("own-bucket-gone").ready().await?;
    scene.world.s3("us-east-1").delete_bucket().bucket(&scene.source).send().await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert!(!scene.role_exists(ROLE).await?);

    // The bucket was created again in another Region while no operator ran: the Region in the status is stale.
    let mut scene = Scene::named("own-bucket-moved").ready().await?;
    scene.operator.kill().await?;
    let Scene { world, source, .. } = &scene;
    world.s3("us-east-1").delete_bucket().bucket(source).send().await?;
    world.create_bucket(&world.account, "eu-central-1", source).await?;
    scene.delete().await?;
    scene.operator = operator_of(&scene.world).start().await?;
    scene.world.wait_gone(NAME).await?;
    assert!(!scene.role_exists(ROLE).await?);

    let scene = Scene::named("own-role-gone").ready().await?;
    let iam = scene.world.iam();
    iam.delete_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    iam.delete_role().role_name(ROLE).send().await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.rules_and_role().await?, None);

    // A configuration that someone else put in its place stays.
    let scene = Scene::named("own-config-replaced").ready().await?;
    let theirs = scene.make_role("theirs", &BTreeMap::new()).await?;
    scene.make_configuration(&theirs, "TheirRule").await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.rules_and_role().await?, Some((vec!["TheirRule".to_owned()], "theirs".to_owned())));
    assert!(!scene.role_exists(ROLE).await? && scene.role_exists("theirs").await?);
    Ok(())
}

#[tokio::test]
async fn deletion_works_whatever_changed_in_the_spec() -> Result<()> {
    let missing =
        json!([{"id": "ReplicateToEU", "priority": 1, "destination": {"bucket": "there-is-no-such-bucket"}}]);
    for (name, spec, expected) in [
        ("own-spec-missing", json!({"rules": missing}), "DestinationBucketNotFound"),
        ("own-spec-foreign", json!({"role": {"name": "theirs"}}), "ForeignRole"),
        ("own-spec-suspended", json!({"suspend": true}), "Suspended"),
    ] {
        let scene = Scene::named(name).ready().await?;
        scene.make_role("theirs", &BTreeMap::new()).await?;
        scene.patch_spec(spec).await?;
        scene.world.wait(NAME, |status| reason(status, "Ready") == expected, expected).await?;
        scene.delete().await?;
        scene.world.wait_gone(NAME).await?;
        assert_eq!(scene.rules_and_role().await?, None, "{name}");
        assert!(!scene.role_exists(ROLE).await?, "{name}");
        assert!(scene.role_exists("theirs").await?, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_someone_attached_to_the_role_blocks_deletion_until_it_is_removed() -> Result<()> {
    let scene = Scene::named("own-blocked").ready().await?;
    let iam = scene.world.iam();
    iam.attach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}"#;
    iam.put_role_policy().role_name(ROLE).policy_name("theirs").policy_document(document).send().await?;
    scene.delete().await?;
    let blocked = |status: &Value| reason(status, "Ready") == "DeletionBlocked";
    let object = scene.world.wait(NAME, blocked, "to be blocked").await?;
    let text = message(&object["status"], "Ready");
    assert!(
        [ROLE, READ_ONLY, "theirs", "deletionPolicy: Retain"].iter().all(|part| text.contains(part)),
        "{text}"
    );
    assert_eq!(reason(&object["status"], "RoleReady"), "DeletionBlocked");
    assert_eq!(object["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(scene.rules_and_role().await?, None, "what can be removed is removed");
    assert!(scene.role_exists(ROLE).await?);

    iam.detach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    let object = check_now(&scene.world, NAME).await?;
    let text = message(&object["status"], "Ready");
    assert!(text.contains("theirs") && !text.contains(READ_ONLY), "{text}");

    iam.delete_role_policy().role_name(ROLE).policy_name("theirs").send().await?;
    // It may be gone before the request for a check arrives.
    request_check(&scene.world, NAME).await.ok();
    scene.world.wait_gone(NAME).await?;
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}
