//! A role that gets another name: the former role is deleted, now or as soon as possible.

use anyhow::{Context, Result};
use rig::world::condition;
use rig::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use crate::support::{NAME, ROLE, Scene, message, reason};

use super::{READ_ONLY, TRUST};

#[tokio::test]
async fn a_renamed_role_leaves_no_orphan() -> Result<()> {
    let scene = Scene::named("own-rename").ready().await?;
    scene.patch_spec(json!({"role": {"name": "renamed"}})).await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert_eq!(scene.rules_and_role().await?, Some((vec!["ReplicateToEU".to_owned()], "renamed".to_owned())));
    assert!(!scene.role_exists(ROLE).await?, "the role of before is gone");
    assert!(
        status["role"]["arn"].as_str().is_some_and(|arn| arn.ends_with("/renamed")),
        "{}",
        status["role"]
    );
    assert_eq!(status["lastCorrection"], Value::Null, "a change of the spec is not a correction");

    // The configuration always named an existing role.
    let writes = scene.world.proxy.writes();
    let at = |operation: &str, role: &str| {
        writes
            .iter()
            .position(|c| c.operation == operation && c.subject == role)
            .with_context(|| format!("no {operation}"))
    };
    let moved = writes.iter().rposition(|c| c.operation == "PutBucketReplication").context("not moved")?;
    assert!(at("PutRolePolicy", "renamed")? < moved && moved < at("DeleteRolePolicy", ROLE)?);

    scene.world.iam().create_role().role_name("by-hand").assume_role_policy_document(TRUST).send().await?;
    let arn = format!("arn:aws:iam::{}:role/by-hand", scene.world.account);
    scene.patch_spec(json!({"role": {"name": null, "arn": arn}})).await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert_eq!(scene.rules_and_role().await?, Some((vec!["ReplicateToEU".to_owned()], "by-hand".to_owned())));
    assert!(!scene.role_exists("renamed").await?);
    assert_eq!(status["role"], json!({"arn": arn, "managed": false}));

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert!(scene.role_exists("by-hand").await?, "a role that is only used is not removed");
    assert_eq!(scene.rules_and_role().await?, None);
    Ok(())
}

#[tokio::test]
async fn a_former_role_whose_deletion_fails_is_deleted_later() -> Result<()> {
    let scene = Scene::named("own-denied").ready().await?;
    scene.world.proxy.inject(Fault::always(Matcher::operation("DeleteRole"), Answer::access_denied()));
    scene.patch_spec(json!({"role": {"name": "renamed"}})).await?;
    for _ in 0..2 {
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "AccessDenied");
        let text = message(&status, "Ready");
        assert!(text.contains("iam:DeleteRole") && text.contains(ROLE), "{text}");
        assert_eq!((&status["drift"], &status["lastCorrection"]), (&Value::Null, &Value::Null));
    }
    scene.world.proxy.remove_faults();
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    assert!(!scene.role_exists(ROLE).await? && scene.role_exists("renamed").await?);
    Ok(())
}

#[tokio::test]
async fn a_former_role_with_another_policy_is_deleted_once_that_policy_is_removed() -> Result<()> {
    let scene = Scene::named("own-former").ready().await?;
    let iam = scene.world.iam();
    iam.attach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    scene.patch_spec(json!({"role": {"name": "renamed"}})).await?;
    for _ in 0..2 {
        let status = scene.check().await?;
        let role = condition(&status, "RoleReady").context("no RoleReady")?;
        assert_eq!((&role["status"], &role["reason"]), (&json!("False"), &json!("DeletionBlocked")));
        let text = message(&status, "RoleReady");
        assert!(text.contains(ROLE) && text.contains(READ_ONLY), "{text}");
        assert_eq!(reason(&status, "Ready"), "Applied", "replication is as the spec says");
    }
    assert_eq!(scene.rules_and_role().await?, Some((vec!["ReplicateToEU".to_owned()], "renamed".to_owned())));
    assert!(scene.role_exists(ROLE).await?);

    iam.detach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    scene.check().await?;
    assert!(!scene.role_exists(ROLE).await?);
    let status = scene.check().await?;
    assert_eq!(reason(&status, "RoleReady"), "Applied");
    assert!(
        status["role"]["arn"].as_str().is_some_and(|arn| arn.ends_with("/renamed")),
        "{}",
        status["role"]
    );
    Ok(())
}

#[tokio::test]
async fn a_role_renamed_twice_leaves_no_orphan_when_a_deletion_fails_between() -> Result<()> {
    let scene = Scene::named("own-twice").ready().await?;
    let iam = scene.world.iam();
    iam.attach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    scene.patch_spec(json!({"role": {"name": "second"}})).await?;
    scene.check().await?;
    let fault =
        scene.world.proxy.inject(Fault::always(Matcher::operation("DeleteRole"), Answer::access_denied()));
    scene.patch_spec(json!({"role": {"name": "third"}})).await?;
    scene.check().await?;
    scene.world.proxy.remove(fault);
    iam.detach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    scene.check().await?;
    scene.check().await?;
    for (role, exists) in [(ROLE, false), ("second", false), ("third", true)] {
        assert_eq!(scene.role_exists(role).await?, exists, "{role}");
    }
    Ok(())
}

#[tokio::test]
async fn a_managed_role_that_is_named_by_its_arn_is_no_longer_deleted() -> Result<()> {
    let scene = Scene::named("own-handed-over").ready().await?;
    let arn = format!("arn:aws:iam::{}:role/s3-replication/{ROLE}", scene.world.account);
    scene.patch_spec(json!({"role": {"name": null, "arn": arn}})).await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert_eq!(status["role"], json!({"arn": arn, "managed": false}));
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.rules_and_role().await?, None);
    assert!(scene.role_exists(ROLE).await?);
    Ok(())
}
