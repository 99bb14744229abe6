//! Roles and configurations that someone else made: refused, shown, or adopted.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_s3::types::StorageClass;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{NAME, POLICY, ROLE, Scene, drift, message, reason};

use super::{TRUST, by_operator};

#[tokio::test]
async fn a_role_that_someone_else_made_is_refused_and_unchanged() -> Result<()> {
    let scene = Scene::named("own-role").empty().await?;
    let cluster = scene.cluster().await?;
    let whose = format!("belongs to BucketReplication {}/{NAME}", scene.world.namespace);
    let cases = [
        ("by-hand", BTreeMap::new(), "was not made by this operator".to_owned()),
        (
            "tagged-by-hand",
            [("team".to_owned(), "data".to_owned())].into(),
            "was not made by this operator".to_owned(),
        ),
        (
            "of-another-cluster",
            scene.tags_of("another-cluster", "some-uid").await,
            format!("{whose} (uid some-uid) of cluster another-cluster"),
        ),
        (
            "of-an-earlier-one",
            scene.tags_of(&cluster, "earlier-uid").await,
            format!("{whose} (uid earlier-uid) of cluster {cluster}"),
        ),
    ];
    for (role, tags, _) in &cases {
        scene.make_role(role, tags).await?;
    }
    scene.apply(|spec| spec["role"]["name"] = json!(cases[0].0)).await?;
    for (role, tags, owner) in &cases {
        scene.patch_spec(json!({"role": {"name": role}})).await?;
        let parts = [*role, owner.as_str(), "choose another role.name", "adoptionPolicy: Adopt"];
        scene.check_refused("ForeignRole", "RoleReady", &parts).await?;
        assert_eq!(scene.all_role_tags(role).await?, *tags);
    }
    assert_eq!(scene.versioning("us-east-1", &scene.source).await?, None, "not even versioning");

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    scene.check_nothing_written();
    for (role, ..) in &cases {
        assert!(scene.role_exists(role).await?, "{role}");
    }
    Ok(())
}

#[tokio::test]
async fn a_role_recreated_by_someone_else_under_the_same_name_is_foreign() -> Result<()> {
    let scene = Scene::named("own-again").ready().await?;
    scene.see_own_writes().await?;
    let iam = scene.world.iam();
    iam.delete_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    iam.delete_role().role_name(ROLE).send().await?;
    scene.make_role(ROLE, &BTreeMap::new()).await?;
    scene.world.proxy.clear();
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "ForeignRole");
    scene.check_nothing_written();

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.rules_and_role().await?, None, "the configuration was the resource's");
    assert!(scene.role_exists(ROLE).await?, "the role was not");
    Ok(())
}

#[tokio::test]
async fn observing_a_foreign_role_and_configuration_lists_them_and_writes_nothing() -> Result<()> {
    let scene = Scene::named("own-watch").empty().await?;
    let role = scene.make_role(ROLE, &BTreeMap::new()).await?;
    scene.make_configuration(&role, "TheirRule").await?;
    scene.apply(|spec| spec["managementPolicy"] = json!("Observe")).await?;
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "Drifted");
    for path in ["tags.s3replication.dev/uid", "rules[ReplicateToEU]", "rules[TheirRule]"] {
        drift(&status, path)?;
    }
    assert_eq!(status["role"]["managed"], false, "it is someone else's");
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    scene.check_nothing_written();
    assert_eq!(scene.rules_and_role().await?, Some((vec!["TheirRule".to_owned()], ROLE.to_owned())));
    Ok(())
}

#[tokio::test]
async fn a_role_with_another_path_is_refused_even_when_adopting() -> Result<()> {
    let scene = Scene::named("own-path").empty().await?;
    scene
        .world
        .iam()
        .create_role()
        .role_name(ROLE)
        .path("/elsewhere/")
        .assume_role_policy_document(TRUST)
        .send()
        .await?;
    scene.apply(|spec| spec["adoptionPolicy"] = json!("Adopt")).await?;
    scene.check_refused("ForeignRole", "RoleReady", &["/elsewhere/", "/s3-replication/", "role.arn"]).await
}

#[tokio::test]
async fn a_configuration_that_someone_else_made_is_refused_and_unchanged() -> Result<()> {
    let scene = Scene::named("own-config").empty().await?;
    let role = scene.make_role("theirs", &BTreeMap::new()).await?;
    scene.make_configuration(&role, "TheirRule").await?;
    scene.apply(|_| {}).await?;
    let rule = format!("TheirRule (Enabled, prefix \"theirs/\", to arn:aws:s3:::{})", scene.destination);
    let parts = [scene.source.as_str(), role.as_str(), rule.as_str(), "remove it", "adoptionPolicy: Adopt"];
    scene.check_refused("ForeignConfiguration", "ReplicationReady", &parts).await?;
    assert!(!scene.role_exists(ROLE).await?);

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    scene.check_nothing_written();
    assert_eq!(scene.rules_and_role().await?, Some((vec!["TheirRule".to_owned()], "theirs".to_owned())));
    Ok(())
}

#[tokio::test]
async fn a_refusal_ends_without_a_restart_once_the_foreign_configuration_is_removed() -> Result<()> {
    let scene = Scene::named("own-gone").empty().await?;
    let role = scene.make_role("theirs", &BTreeMap::new()).await?;
    scene.make_configuration(&role, "TheirRule").await?;
    scene.apply(|_| {}).await?;
    scene.check_refused("ForeignConfiguration", "ReplicationReady", &[]).await?;
    scene.world.s3("us-east-1").delete_bucket_replication().bucket(&scene.source).send().await?;
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    assert_eq!(scene.rules_and_role().await?, by_operator());
    Ok(())
}

#[tokio::test]
async fn adopted_roles_and_configurations_are_deleted_with_the_resource() -> Result<()> {
    let scene = Scene::named("own-adopt").empty().await?;
    let foreign = scene.tags_of("another-cluster", "another-uid").await;
    let role = scene.make_role(ROLE, &foreign).await?;
    scene.make_configuration(&role, "TheirRule").await?;
    scene.apply(|_| {}).await?;
    scene.check_refused("ForeignRole", "RoleReady", &["another-cluster"]).await?;

    scene.patch_spec(json!({"adoptionPolicy": "Adopt"})).await?;
    let adopted = scene.world.wait_ready(NAME).await?;
    assert_eq!(scene.rules_and_role().await?, by_operator());
    let uid = adopted["metadata"]["uid"].as_str().context("no UID")?;
    let mut tags = scene.tags_of(&scene.cluster().await?, uid).await;
    tags.insert("s3replication.dev/adopted".to_owned(), "true".to_owned());
    assert_eq!(scene.all_role_tags(ROLE).await?, tags);
    assert_eq!(adopted["status"]["role"], json!({"arn": role, "managed": true}));
    assert_eq!(adopted["status"]["configuration"], "Adopted");
    assert_eq!(adopted["status"]["lastCorrection"], Value::Null, "taking over corrects no drift");

    // An adopted role stays the resource's own when adoptionPolicy is removed.
    scene.patch_spec(json!({"adoptionPolicy": "Refuse"})).await?;
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    scene.patch_spec(json!({"adoptionPolicy": "Adopt"})).await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.rules_and_role().await?, None);
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn a_configuration_changed_to_another_role_is_drift_and_not_foreign() -> Result<()> {
    let scene = Scene::named("own-pointed").ready().await?;
    let theirs = scene.make_role("theirs", &scene.tags_of("another-cluster", "another-uid").await).await?;
    let mut held = scene.configuration().await?;
    held.role = theirs.clone();
    let s3 = scene.world.s3("us-east-1");
    s3.put_bucket_replication().bucket(&scene.source).replication_configuration(held).send().await?;
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied");
    let items = status["lastCorrection"]["items"].as_array().context("nothing was corrected")?;
    let paths: Vec<&str> = items.iter().filter_map(|d| d["path"].as_str()).collect();
    assert_eq!(paths, ["role"]);
    assert_eq!(scene.rules_and_role().await?, by_operator());
    assert!(scene.role_exists("theirs").await?, "the other role is not the resource's to remove");

    // With another role and other rules it is someone else's.
    scene.make_configuration(&theirs, "TheirRule").await?;
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "ForeignConfiguration");
    assert!(message(&status, "Ready").contains("TheirRule"), "{}", message(&status, "Ready"));
    Ok(())
}

#[tokio::test]
async fn a_resource_without_its_status_recognizes_its_role_by_the_tags() -> Result<()> {
    let scene = Scene::named("own-status").ready().await?;
    scene.operator.kill().await?;
    let nothing = json!({"status": null});
    scene.world.api().patch_status(NAME, &PatchParams::default(), &Patch::Merge(nothing)).await?;
    assert_eq!(scene.world.get(NAME).await?["status"]["appliedHash"], Value::Null);
    let mut held = scene.configuration().await?;
    held.rules[0].destination.as_mut().unwrap().storage_class = Some(StorageClass::Glacier);
    let s3 = scene.world.s3("us-east-1");
    s3.put_bucket_replication().bucket(&scene.source).replication_configuration(held).send().await?;

    let _operator = crate::support::operator_of(&scene.world).start().await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert!(status["role"]["managed"].as_bool().unwrap_or_default());
    let held = scene.configuration().await?;
    assert_eq!(held.rules[0].destination.as_ref().unwrap().storage_class, Some(StorageClass::Standard));
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.rules_and_role().await?, None);
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn a_missing_second_destination_keeps_everything_unwritten_until_it_exists() -> Result<()> {
    let scene = Scene::named("own-missing").empty().await?;
    let missing = scene.world.bucket_name();
    scene
        .apply(|spec| {
            let mut second = spec["rules"][0].clone();
            second["id"] = json!("ReplicateToUS");
            second["priority"] = json!(2);
            second["destination"]["bucket"] = json!(missing);
            spec["rules"].as_array_mut().unwrap().push(second);
        })
        .await?;
    for _ in 0..2 {
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "DestinationBucketNotFound");
        assert!(message(&status, "Ready").contains(&missing), "{}", message(&status, "Ready"));
    }
    scene.check_nothing_written();

    scene.world.create_bucket(&scene.world.account, "us-west-2", &missing).await?;
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    let ids = scene.rules_and_role().await?.context("no configuration")?.0;
    assert_eq!(ids, ["ReplicateToEU", "ReplicateToUS"]);
    Ok(())
}
