//! Whose a role and a configuration are: what someone else made is left alone or adopted, one resource owns a
//! source, and deletion removes what is ours and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::types::Tag as RoleTag;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    BucketVersioningStatus, DeleteMarkerReplication, DeleteMarkerReplicationStatus, Destination,
    ReplicationConfiguration, ReplicationRule, ReplicationRuleFilter, ReplicationRuleStatus, StorageClass,
};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use rig::operator::Operator;
use rig::world::{DEADLINE, World, condition};
use rig::{Answer, Fault, GateAt, Matcher};
use serde_json::{Value, json};

use crate::support::{
    check_now, drift, message, operator, patch, reason, replication, request_check, set, world,
    world_with_insight,
};

const NAME: &str = "orders";
const ROLE: &str = "orders-role";
const POLICY: &str = "s3-replication";
const FINALIZER: &str = "s3replication.dev/finalizer";
const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const READ_ONLY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

/// A world with two buckets, and hands that reach AWS past the proxy.
struct Scene {
    world: World,
    operator: Operator,
    source: String,
    destination: String,
}

impl Scene {
    async fn new(name: &str) -> Result<Scene> {
        Self::of(world(name).await?).await
    }

    async fn of((world, operator): (World, Operator)) -> Result<Scene> {
        let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
        Ok(Scene { world, operator, source, destination })
    }

    /// A scene with `NAME` applied and Ready.
    async fn ready(name: &str, edit: impl FnOnce(&mut Value)) -> Result<Scene> {
        let scene = Scene::new(name).await?;
        scene.apply(edit).await?;
        scene.world.wait_ready(NAME).await?;
        Ok(scene)
    }

    async fn apply(&self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let mut resource = replication(NAME, &self.source, &self.destination);
        edit(&mut resource["spec"]);
        self.world.apply(&resource.to_string()).await.map(drop)
    }

    async fn change(&self, spec: Value) -> Result<()> {
        patch(&self.world, NAME, json!({"spec": spec})).await
    }

    async fn check(&self) -> Result<Value> {
        Ok(check_now(&self.world, NAME).await?["status"].take())
    }

    async fn delete(&self) -> Result<()> {
        self.world.api().delete(NAME, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Makes a role as someone else would, with these tags and a policy under the operator's name for it.
    async fn make_role(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<String> {
        let tags = tags
            .iter()
            .map(|(k, v)| RoleTag::builder().key(k).value(v).build())
            .collect::<Result<Vec<_>, _>>()?;
        let iam = self.world.iam();
        let request =
            iam.create_role().role_name(name).path("/s3-replication/").assume_role_policy_document(TRUST);
        let made = request.set_tags(Some(tags)).send().await?;
        let nothing =
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;
        iam.put_role_policy().role_name(name).policy_name(POLICY).policy_document(nothing).send().await?;
        Ok(made.role.context("no role")?.arn)
    }

    /// Gives the source a configuration as someone else would.
    async fn make_configuration(&self, role: &str, rule: &str) -> Result<()> {
        let s3 = self.world.s3("us-east-1");
        self.world.set_versioning("us-east-1", &self.source, BucketVersioningStatus::Enabled).await?;
        self.world.set_versioning("eu-west-1", &self.destination, BucketVersioningStatus::Enabled).await?;
        let markers =
            DeleteMarkerReplication::builder().status(DeleteMarkerReplicationStatus::Disabled).build();
        let rule = ReplicationRule::builder()
            .id(rule)
            .priority(9)
            .status(ReplicationRuleStatus::Enabled)
            .filter(ReplicationRuleFilter::builder().prefix("theirs/").build())
            .delete_marker_replication(markers)
            .destination(Destination::builder().bucket(format!("arn:aws:s3:::{}", self.destination)).build()?)
            .build()?;
        let configuration = ReplicationConfiguration::builder().role(role).rules(rule).build()?;
        s3.put_bucket_replication()
            .bucket(&self.source)
            .replication_configuration(configuration)
            .send()
            .await?;
        Ok(())
    }

    async fn configuration(&self) -> Result<Option<ReplicationConfiguration>> {
        let held = self.world.s3("us-east-1").get_bucket_replication().bucket(&self.source).send().await;
        match held {
            Ok(held) => Ok(held.replication_configuration),
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The IDs of the rules and the name of the role that replicate the source.
    async fn replicates(&self) -> Result<Option<(Vec<String>, String)>> {
        Ok(self.configuration().await?.map(|c| {
            let ids = c.rules.iter().filter_map(|r| r.id().map(str::to_owned)).collect();
            (ids, c.role.rsplit('/').next().unwrap_or_default().to_owned())
        }))
    }

    async fn role_exists(&self, name: &str) -> Result<bool> {
        match self.world.iam().get_role().role_name(name).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("NoSuchEntity") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn role_tags(&self, name: &str) -> Result<BTreeMap<String, String>> {
        let held = self.world.iam().list_role_tags().role_name(name).send().await?;
        Ok(held.tags().iter().map(|t| (t.key().to_owned(), t.value().to_owned())).collect())
    }

    async fn versioning(&self, region: &str, bucket: &str) -> Result<Option<BucketVersioningStatus>> {
        Ok(self.world.s3(region).get_bucket_versioning().bucket(bucket).send().await?.status)
    }

    /// The tags that a role of a resource carries.
    async fn tags_of(&self, cluster: &str, uid: &str) -> BTreeMap<String, String> {
        let tag = |key: &str, value: &str| (format!("s3replication.dev/{key}"), value.to_owned());
        let namespace = &self.world.namespace;
        [tag("cluster", cluster), tag("namespace", namespace), tag("name", NAME), tag("uid", uid)].into()
    }

    async fn cluster(&self) -> Result<String> {
        let namespaces: Api<Namespace> = Api::all(self.world.kube.clone());
        namespaces.get("kube-system").await?.uid().context("kube-system has no UID")
    }

    /// The resource is refused for this reason, and nothing at all was written to AWS.
    async fn is_refused(&self, expected: &str, about: &str, parts: &[&str]) -> Result<()> {
        let status = self.check().await?;
        assert_eq!(reason(&status, "Ready"), expected, "{status:#}");
        assert_eq!(reason(&status, about), expected, "{status:#}");
        assert_eq!(reason(&status, "Stalled"), expected, "{status:#}");
        for part in parts {
            assert!(
                message(&status, "Ready").contains(part),
                "{part:?} is not in {:?}",
                message(&status, "Ready")
            );
        }
        assert_eq!(
            (&status["drift"], &status["driftCount"]),
            (&Value::Null, &json!(0)),
            "what is foreign is no drift"
        );
        self.nothing_was_written();
        Ok(())
    }

    fn nothing_was_written(&self) {
        assert!(self.world.proxy.writes().is_empty(), "{:?}", self.world.proxy.writes());
    }
}

fn ours() -> Option<(Vec<String>, String)> {
    Some((vec!["ReplicateToEU".to_owned()], ROLE.to_owned()))
}

#[tokio::test]
async fn a_role_that_someone_else_made_is_left_alone() -> Result<()> {
    let scene = Scene::new("own-role").await?;
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
        scene.change(json!({"role": {"name": role}})).await?;
        let parts = [*role, owner.as_str(), "choose another role.name", "adoptionPolicy: Adopt"];
        scene.is_refused("ForeignRole", "RoleReady", &parts).await?;
        assert_eq!(scene.role_tags(role).await?, *tags);
    }
    assert_eq!(scene.versioning("us-east-1", &scene.source).await?, None, "not even versioning");

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    scene.nothing_was_written();
    for (role, ..) in &cases {
        assert!(scene.role_exists(role).await?, "{role}");
    }
    Ok(())
}

#[tokio::test]
async fn a_role_that_someone_made_anew_under_the_name_of_ours_is_foreign() -> Result<()> {
    let scene = Scene::ready("own-anew", |_| {}).await?;
    let iam = scene.world.iam();
    iam.delete_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    iam.delete_role().role_name(ROLE).send().await?;
    scene.make_role(ROLE, &BTreeMap::new()).await?;
    scene.world.proxy.clear();
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "ForeignRole");
    scene.nothing_was_written();

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.replicates().await?, None, "the configuration was ours");
    assert!(scene.role_exists(ROLE).await?, "the role was not");
    Ok(())
}

#[tokio::test]
async fn observing_what_someone_else_made_shows_it_and_writes_nothing() -> Result<()> {
    let scene = Scene::new("own-watch").await?;
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
    scene.nothing_was_written();
    assert_eq!(scene.replicates().await?, Some((vec!["TheirRule".to_owned()], ROLE.to_owned())));
    Ok(())
}

#[tokio::test]
async fn a_role_with_another_path_is_refused_even_when_adopting() -> Result<()> {
    let scene = Scene::new("own-path").await?;
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
    scene.is_refused("ForeignRole", "RoleReady", &["/elsewhere/", "/s3-replication/", "role.arn"]).await
}

#[tokio::test]
async fn a_configuration_that_someone_else_made_is_left_alone() -> Result<()> {
    let scene = Scene::new("own-config").await?;
    let role = scene.make_role("theirs", &BTreeMap::new()).await?;
    scene.make_configuration(&role, "TheirRule").await?;
    scene.apply(|_| {}).await?;
    let rule = format!("TheirRule (Enabled, prefix \"theirs/\", to arn:aws:s3:::{})", scene.destination);
    let parts = [scene.source.as_str(), role.as_str(), rule.as_str(), "remove it", "adoptionPolicy: Adopt"];
    scene.is_refused("ForeignConfiguration", "ReplicationReady", &parts).await?;
    assert!(!scene.role_exists(ROLE).await?);

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    scene.nothing_was_written();
    assert_eq!(scene.replicates().await?, Some((vec!["TheirRule".to_owned()], "theirs".to_owned())));
    Ok(())
}

#[tokio::test]
async fn a_refusal_ends_without_a_restart_when_the_foreign_thing_goes() -> Result<()> {
    let scene = Scene::new("own-gone").await?;
    let role = scene.make_role("theirs", &BTreeMap::new()).await?;
    scene.make_configuration(&role, "TheirRule").await?;
    scene.apply(|_| {}).await?;
    scene.is_refused("ForeignConfiguration", "ReplicationReady", &[]).await?;
    scene.world.s3("us-east-1").delete_bucket_replication().bucket(&scene.source).send().await?;
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    assert_eq!(scene.replicates().await?, ours());
    Ok(())
}

#[tokio::test]
async fn adopting_takes_both_over_and_they_go_with_the_resource() -> Result<()> {
    let scene = Scene::new("own-adopt").await?;
    let foreign = scene.tags_of("another-cluster", "another-uid").await;
    let role = scene.make_role(ROLE, &foreign).await?;
    scene.make_configuration(&role, "TheirRule").await?;
    scene.apply(|_| {}).await?;
    scene.is_refused("ForeignRole", "RoleReady", &["another-cluster"]).await?;

    scene.change(json!({"adoptionPolicy": "Adopt"})).await?;
    let adopted = scene.world.wait_ready(NAME).await?;
    assert_eq!(scene.replicates().await?, ours());
    let uid = adopted["metadata"]["uid"].as_str().context("no UID")?;
    assert_eq!(scene.role_tags(ROLE).await?, scene.tags_of(&scene.cluster().await?, uid).await);
    assert_eq!(adopted["status"]["role"], json!({"arn": role, "managed": true}));
    assert_eq!(adopted["status"]["lastCorrection"], Value::Null, "taking over corrects no drift");

    // Once taken over it is ours, with or without the word.
    scene.change(json!({"adoptionPolicy": "Refuse"})).await?;
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.replicates().await?, None);
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn of_two_resources_on_one_source_the_older_owns_it_and_the_other_takes_over() -> Result<()> {
    let scene = Scene::ready("own-conflict", |_| {}).await?;
    let world = &scene.world;
    // Age counts in seconds.
    let created = world.get(NAME).await?["metadata"]["creationTimestamp"].clone();
    let this_second = || jiff::Timestamp::from_second(jiff::Timestamp::now().as_second());
    while created == this_second()?.to_string() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.proxy.clear();
    let other = world.bucket("eu-west-1").await?;
    let mut second = replication("second", &scene.source, &other);
    second["spec"]["interval"] = json!("24h");
    world.apply(&second.to_string()).await?;
    let conflict = |status: &Value| reason(status, "Ready") == "SourceConflict";
    let lost = world.wait("second", conflict, "to lose").await?;
    let words = message(&lost["status"], "Ready");
    assert!(
        words.contains(&format!("{}/{NAME}", world.namespace)) && words.contains(&scene.source),
        "{words}"
    );
    for condition_type in ["ReplicationReady", "Stalled"] {
        assert_eq!(reason(&lost["status"], condition_type), "SourceConflict");
    }

    // A third one, deleted as a loser, leaves the owner's things alone.
    world.apply(&replication("third", &scene.source, &other).to_string()).await?;
    world.wait("third", conflict, "to lose").await?;
    world.api().delete("third", &DeleteParams::default()).await?;
    world.wait_gone("third").await?;
    scene.nothing_was_written();
    assert_eq!(scene.replicates().await?, ours());

    scene.delete().await?;
    world.wait_gone(NAME).await?;
    world.wait_ready("second").await?;
    assert_eq!(scene.replicates().await?, Some((vec!["ReplicateToEU".to_owned()], "second-role".to_owned())));
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn a_renamed_role_leaves_no_orphan() -> Result<()> {
    let scene = Scene::ready("own-rename", |_| {}).await?;
    scene.change(json!({"role": {"name": "renamed"}})).await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert_eq!(scene.replicates().await?, Some((vec!["ReplicateToEU".to_owned()], "renamed".to_owned())));
    assert!(!scene.role_exists(ROLE).await?, "the role of before is gone");
    assert!(
        status["role"]["arn"].as_str().is_some_and(|arn| arn.ends_with("/renamed")),
        "{}",
        status["role"]
    );
    assert_eq!(status["lastCorrection"], Value::Null, "a change of the spec is not a correction");

    // At every moment the configuration named a role that was there.
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
    scene.change(json!({"role": {"name": null, "arn": arn}})).await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert_eq!(scene.replicates().await?, Some((vec!["ReplicateToEU".to_owned()], "by-hand".to_owned())));
    assert!(!scene.role_exists("renamed").await?);
    assert_eq!(status["role"], json!({"arn": arn, "managed": false}));

    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert!(scene.role_exists("by-hand").await?, "a role that is only used is not removed");
    assert_eq!(scene.replicates().await?, None);
    Ok(())
}

#[tokio::test]
async fn a_former_role_whose_deletion_fails_is_not_forgotten() -> Result<()> {
    let scene = Scene::ready("own-denied", |_| {}).await?;
    scene.world.proxy.inject(Fault::always(Matcher::operation("DeleteRole"), Answer::access_denied()));
    scene.change(json!({"role": {"name": "renamed"}})).await?;
    for _ in 0..2 {
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "AccessDenied");
        let words = message(&status, "Ready");
        assert!(words.contains("iam:DeleteRole") && words.contains(ROLE), "{words}");
        assert_eq!((&status["drift"], &status["lastCorrection"]), (&Value::Null, &Value::Null));
    }
    scene.world.proxy.remove_faults();
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    assert!(!scene.role_exists(ROLE).await? && scene.role_exists("renamed").await?);
    Ok(())
}

#[tokio::test]
async fn a_former_role_with_someone_else_s_policy_goes_once_that_is_removed() -> Result<()> {
    let scene = Scene::ready("own-former", |_| {}).await?;
    let iam = scene.world.iam();
    iam.attach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    scene.change(json!({"role": {"name": "renamed"}})).await?;
    for _ in 0..2 {
        let status = scene.check().await?;
        let role = condition(&status, "RoleReady").context("no RoleReady")?;
        assert_eq!((&role["status"], &role["reason"]), (&json!("False"), &json!("DeletionBlocked")));
        let words = message(&status, "RoleReady");
        assert!(words.contains(ROLE) && words.contains(READ_ONLY), "{words}");
        assert_eq!(reason(&status, "Ready"), "Applied", "replication is as the spec says");
    }
    assert_eq!(scene.replicates().await?, Some((vec!["ReplicateToEU".to_owned()], "renamed".to_owned())));
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
async fn deletion_removes_the_configuration_and_the_role_and_nothing_else() -> Result<()> {
    let scene = Scene::ready("own-delete", |_| {}).await?;
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
    assert_eq!(scene.replicates().await?, None);
    assert!(!scene.role_exists(ROLE).await? && scene.role_exists("theirs").await?);
    let enabled = Some(BucketVersioningStatus::Enabled);
    assert_eq!(scene.versioning("us-east-1", &scene.source).await?, enabled);
    assert_eq!(scene.versioning("eu-west-1", &scene.destination).await?, enabled);
    Ok(())
}

#[tokio::test]
async fn a_finalizer_that_someone_else_takes_away_meanwhile_has_nothing_cleaned_up_again() -> Result<()> {
    let scene = Scene::ready("own-finalizers", |_| {}).await?;
    let gate = scene.world.proxy.gate(Matcher::operation("DeleteRole"), GateAt::AfterForward);
    // As that of the garbage collector in a foreground deletion, which a real cluster takes away at once.
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
        let scene = Scene::ready(name, |_| {}).await?;
        scene.change(spec).await?;
        scene.check().await?;
        scene.world.proxy.clear();
        scene.delete().await?;
        scene.world.wait_gone(NAME).await?;
        scene.nothing_was_written();
        assert_eq!(scene.replicates().await?, ours(), "{name}");
        assert!(scene.role_exists(ROLE).await?, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_resource_made_again_after_retain_is_refused_until_it_adopts() -> Result<()> {
    let scene = Scene::ready("own-again", |spec| spec["deletionPolicy"] = json!("Retain")).await?;
    let before = scene.world.get(NAME).await?["metadata"]["uid"].as_str().context("no UID")?.to_owned();
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    scene.world.proxy.clear();
    scene.apply(|_| {}).await?;
    scene.is_refused("ForeignRole", "RoleReady", &[&before, "adoptionPolicy: Adopt"]).await?;
    scene.change(json!({"adoptionPolicy": "Adopt"})).await?;
    scene.world.wait_ready(NAME).await?;
    let writes: Vec<String> = scene.world.proxy.writes().into_iter().map(|c| c.operation).collect();
    assert_eq!(writes, ["TagRole"], "only the owner's name was not as it should be");
    Ok(())
}

#[tokio::test]
async fn deletion_works_whatever_has_become_of_aws() -> Result<()> {
    let scene = Scene::ready("own-bucket-gone", |_| {}).await?;
    scene.world.s3("us-east-1").delete_bucket().bucket(&scene.source).send().await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert!(!scene.role_exists(ROLE).await?);

    // Made again in another Region while nobody looked: the Region in status is of the past.
    let mut scene = Scene::ready("own-bucket-moved", |_| {}).await?;
    scene.operator.kill().await?;
    let Scene { world, source, .. } = &scene;
    world.s3("us-east-1").delete_bucket().bucket(source).send().await?;
    world.create_bucket(&world.account, "eu-central-1", source).await?;
    scene.delete().await?;
    scene.operator = operator(&scene.world).start().await?;
    scene.world.wait_gone(NAME).await?;
    assert!(!scene.role_exists(ROLE).await?);

    let scene = Scene::ready("own-role-gone", |_| {}).await?;
    let iam = scene.world.iam();
    iam.delete_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    iam.delete_role().role_name(ROLE).send().await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.replicates().await?, None);

    // The source's one configuration was ours to keep, whatever someone put into it.
    let scene = Scene::ready("own-config-replaced", |_| {}).await?;
    let theirs = scene.make_role("theirs", &BTreeMap::new()).await?;
    scene.make_configuration(&theirs, "TheirRule").await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.replicates().await?, None);
    assert!(!scene.role_exists(ROLE).await? && scene.role_exists("theirs").await?);
    Ok(())
}

#[tokio::test]
async fn deletion_works_whatever_the_spec_now_says() -> Result<()> {
    let missing =
        json!([{"id": "ReplicateToEU", "priority": 1, "destination": {"bucket": "there-is-no-such-bucket"}}]);
    for (name, spec, expected) in [
        ("own-spec-missing", json!({"rules": missing}), "DestinationBucketNotFound"),
        ("own-spec-foreign", json!({"role": {"name": "theirs"}}), "ForeignRole"),
        ("own-spec-suspended", json!({"suspend": true}), "Suspended"),
    ] {
        let scene = Scene::ready(name, |_| {}).await?;
        scene.make_role("theirs", &BTreeMap::new()).await?;
        scene.change(spec).await?;
        scene.world.wait(NAME, |status| reason(status, "Ready") == expected, expected).await?;
        scene.delete().await?;
        scene.world.wait_gone(NAME).await?;
        assert_eq!(scene.replicates().await?, None, "{name}");
        assert!(!scene.role_exists(ROLE).await?, "{name}");
        assert!(scene.role_exists("theirs").await?, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_someone_put_on_the_role_keeps_the_resource_until_it_is_removed() -> Result<()> {
    let scene = Scene::ready("own-blocked", |_| {}).await?;
    let iam = scene.world.iam();
    iam.attach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}"#;
    iam.put_role_policy().role_name(ROLE).policy_name("theirs").policy_document(document).send().await?;
    scene.delete().await?;
    let blocked = |status: &Value| reason(status, "Ready") == "DeletionBlocked";
    let object = scene.world.wait(NAME, blocked, "to be blocked").await?;
    let words = message(&object["status"], "Ready");
    assert!(
        [ROLE, READ_ONLY, "theirs", "deletionPolicy: Retain"].iter().all(|part| words.contains(part)),
        "{words}"
    );
    assert_eq!(reason(&object["status"], "RoleReady"), "DeletionBlocked");
    assert_eq!(object["metadata"]["finalizers"], json!([FINALIZER]));
    assert_eq!(scene.replicates().await?, None, "what can be removed is removed");
    assert!(scene.role_exists(ROLE).await?);

    iam.detach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    let object = check_now(&scene.world, NAME).await?;
    let words = message(&object["status"], "Ready");
    assert!(words.contains("theirs") && !words.contains(READ_ONLY), "{words}");

    iam.delete_role_policy().role_name(ROLE).policy_name("theirs").send().await?;
    // It may be gone before it is asked to look.
    request_check(&scene.world, NAME).await.ok();
    scene.world.wait_gone(NAME).await?;
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn a_configuration_pointed_at_another_role_is_drift_and_not_foreign() -> Result<()> {
    let scene = Scene::ready("own-pointed", |_| {}).await?;
    let theirs = scene.make_role("theirs", &scene.tags_of("another-cluster", "another-uid").await).await?;
    scene.make_configuration(&theirs, "TheirRule").await?;
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied");
    let items = status["lastCorrection"]["items"].as_array().context("nothing was corrected")?;
    let paths: Vec<&str> = items.iter().filter_map(|d| d["path"].as_str()).collect();
    assert_eq!(paths, ["role", "rules[ReplicateToEU]", "rules[TheirRule]"]);
    assert_eq!(scene.replicates().await?, ours());
    assert!(scene.role_exists("theirs").await?, "the other role is not ours to remove");
    Ok(())
}

#[tokio::test]
async fn a_resource_that_lost_its_status_knows_its_own_by_the_tags_of_the_role() -> Result<()> {
    let scene = Scene::ready("own-status", |_| {}).await?;
    scene.operator.kill().await?;
    let nothing = json!({"status": null});
    scene.world.api().patch_status(NAME, &PatchParams::default(), &Patch::Merge(nothing)).await?;
    assert_eq!(scene.world.get(NAME).await?["status"]["appliedHash"], Value::Null);
    let mut held = scene.configuration().await?.context("no configuration")?;
    held.rules[0].destination.as_mut().unwrap().storage_class = Some(StorageClass::Glacier);
    let s3 = scene.world.s3("us-east-1");
    s3.put_bucket_replication().bucket(&scene.source).replication_configuration(held).send().await?;

    let _operator = crate::support::operator(&scene.world).start().await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert!(status["role"]["managed"].as_bool().unwrap_or_default());
    let held = scene.configuration().await?.context("no configuration")?;
    assert_eq!(held.rules[0].destination.as_ref().unwrap().storage_class, Some(StorageClass::Standard));
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.replicates().await?, None);
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn while_one_of_two_destinations_is_missing_nothing_is_written() -> Result<()> {
    let scene = Scene::new("own-missing").await?;
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
    scene.nothing_was_written();

    scene.world.create_bucket(&scene.world.account, "us-west-2", &missing).await?;
    assert_eq!(reason(&scene.check().await?, "Ready"), "Applied");
    let ids = scene.replicates().await?.context("no configuration")?.0;
    assert_eq!(ids, ["ReplicateToEU", "ReplicateToUS"]);
    Ok(())
}
#[tokio::test]
async fn a_role_renamed_twice_leaves_no_orphan_when_a_deletion_fails_between() -> Result<()> {
    let scene = Scene::ready("own-twice", |_| {}).await?;
    let iam = scene.world.iam();
    iam.attach_role_policy().role_name(ROLE).policy_arn(READ_ONLY).send().await?;
    scene.change(json!({"role": {"name": "second"}})).await?;
    scene.check().await?;
    let fault =
        scene.world.proxy.inject(Fault::always(Matcher::operation("DeleteRole"), Answer::access_denied()));
    scene.change(json!({"role": {"name": "third"}})).await?;
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

/// Age counts in whole seconds: waits until what is made now is younger than a resource.
async fn until_younger_is_later(world: &World, name: &str) -> Result<()> {
    let created = world.get(name).await?["metadata"]["creationTimestamp"].take();
    let created: jiff::Timestamp = created.as_str().context("no creationTimestamp")?.parse()?;
    while jiff::Timestamp::now().as_second() <= created.as_second() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test]
async fn of_two_resources_made_in_one_second_the_first_keeps_the_source() -> Result<()> {
    let (world, _operator) = world("own-twins").await?;
    let destination = world.bucket("eu-west-1").await?;
    // The UIDs are drawn at random: each of both orders comes up.
    for n in 0..8 {
        let source = world.bucket("us-east-1").await?;
        let (first, second) = (format!("first-{n}"), format!("second-{n}"));
        let fraction = jiff::Timestamp::now().subsec_millisecond();
        tokio::time::sleep(Duration::from_millis(1000 - u64::try_from(fraction)?)).await;
        world.apply(&replication(&first, &source, &destination).to_string()).await?;
        if n % 2 == 0 {
            world.wait_ready(&first).await?;
        } else {
            // The source is claimed before the finalizer is there, and nothing may be applied yet.
            let seen =
                |object: Option<&Value>| object.is_some_and(|o| o["metadata"]["finalizers"].is_array());
            world.wait_object(&first, seen, "to be seen by the operator").await?;
        }
        world.apply(&replication(&second, &source, &destination).to_string()).await?;
        world.wait_ready(&first).await?;
        let conflict = |status: &Value| reason(status, "Ready") == "SourceConflict";
        world.wait(&second, conflict, "to lose").await?;
        let status = check_now(&world, &first).await?["status"].take();
        assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    }
    Ok(())
}

#[tokio::test]
async fn a_loser_that_once_owned_the_source_leaves_the_owner_s_configuration() -> Result<()> {
    let scene = Scene::of(world_with_insight("own-loser").await?).await?;
    let world = &scene.world;
    scene.apply(|_| {}).await?;
    world.wait_ready(NAME).await?;
    let rules = world.get(NAME).await?["spec"]["rules"].clone();
    let mut unreadable = world.get(NAME).await?;
    set(&mut unreadable, "spec.rules.0.status", json!("Perhaps"));
    let generation = unreadable["metadata"]["generation"].as_i64().context("no generation")?;
    set(&mut unreadable, "metadata.generation", json!(generation + 1));
    world.cluster().store("bucketreplications", &unreadable).await?;
    world.wait(NAME, |status| reason(status, "Ready") == "InvalidSpec", "to be InvalidSpec").await?;
    until_younger_is_later(world, NAME).await?;
    let mut younger = replication("younger", &scene.source, &scene.destination);
    younger["spec"]["adoptionPolicy"] = json!("Adopt");
    world.apply(&younger.to_string()).await?;
    world.wait_ready("younger").await?;

    scene.change(json!({"rules": rules})).await?;
    world.wait_ready(NAME).await?;
    let lost = check_now(world, "younger").await?;
    assert_eq!(reason(&lost["status"], "Ready"), "SourceConflict");
    world.api().delete("younger", &DeleteParams::default()).await?;
    world.wait_gone("younger").await?;
    assert_eq!(scene.replicates().await?, ours());
    assert!(!scene.role_exists("younger-role").await?);
    Ok(())
}

#[tokio::test]
async fn a_managed_role_that_is_named_by_its_arn_is_no_longer_deleted() -> Result<()> {
    let scene = Scene::ready("own-handed-over", |_| {}).await?;
    let arn = format!("arn:aws:iam::{}:role/s3-replication/{ROLE}", scene.world.account);
    scene.change(json!({"role": {"name": null, "arn": arn}})).await?;
    let status = scene.world.wait_ready(NAME).await?["status"].take();
    assert_eq!(status["role"], json!({"arn": arn, "managed": false}));
    scene.delete().await?;
    scene.world.wait_gone(NAME).await?;
    assert_eq!(scene.replicates().await?, None);
    assert!(scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn resources_of_two_namespaces_are_all_known_before_one_owns_a_source() -> Result<()> {
    // Who waits for the lists of both must not miss the end of either.
    for _ in 0..4 {
        let (one, two) = (World::new("own-ns-one").await?, World::new("own-ns-two").await?);
        let (source, destination) = (one.bucket("us-east-1").await?, one.bucket("eu-west-1").await?);
        one.apply(&replication(NAME, &source, &destination).to_string()).await?;
        until_younger_is_later(&one, NAME).await?;
        two.apply(&replication("second", &source, &destination).to_string()).await?;
        let _operator = operator(&one).args(["--namespaces", &two.namespace]).start().await?;
        one.wait_ready(NAME).await?;
        let conflict = |status: &Value| reason(status, "Ready") == "SourceConflict";
        let lost = two.wait("second", conflict, "to lose").await?;
        let words = message(&lost["status"], "Ready");
        assert!(words.contains(&format!("{}/{NAME}", one.namespace)), "{words}");
        one.api().delete(NAME, &DeleteParams::default()).await?;
        one.wait_gone(NAME).await?;
        two.wait_ready("second").await?;
    }
    Ok(())
}
