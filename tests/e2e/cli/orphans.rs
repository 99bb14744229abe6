//! `orphans`: what a resource that is gone left behind, found and deleted; everything else is left alone.

use anyhow::{Context, Result};
use rig::operator::OperatorBuilder;
use rig::proxy::{GateAt, Matcher};
use rig::world::{DEADLINE, World};
use serde_json::{Value, json};

use super::{stderr, stdout};
use crate::support::{NAME, ROLE, Scene, left_in_aws, operator_of, patch, patch_account};

/// A person who may read the cluster and change the account.
fn administrator(world: &World) -> OperatorBuilder {
    operator_of(world).kubeconfig(world.cluster().admin_kubeconfig())
}

/// Runs `orphans` as an administrator. Returns its code, its output and its errors.
pub async fn orphans(world: &World, args: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = administrator(world).run([&["orphans"], args].concat(), "").await?;
    Ok((output.status.code(), stdout(&output), stderr(&output)))
}

/// Disables the rules of a bucket: its replication configuration names the role, and replicates nothing.
async fn pause(scene: &Scene) -> Result<()> {
    let s3 = scene.world.s3("us-east-1");
    let held = s3.get_bucket_replication().bucket(&scene.source).send().await?;
    let mut configuration = held.replication_configuration().context("a configuration")?.clone();
    for rule in &mut configuration.rules {
        rule.status = aws_sdk_s3::types::ReplicationRuleStatus::Disabled;
    }
    let put = s3.put_bucket_replication().bucket(&scene.source);
    put.replication_configuration(configuration).send().await?;
    Ok(())
}

/// Removes a resource as someone does who takes its finalizer away: AWS keeps everything.
async fn abandon(scene: &Scene) -> Result<()> {
    scene.operator.kill().await?;
    patch(&scene.world, NAME, json!({"metadata": {"finalizers": null}})).await?;
    scene.delete().await?;
    scene.world.wait_gone(NAME).await
}

#[tokio::test]
async fn a_role_and_configuration_without_a_resource_are_found_and_deleted_on_request() -> Result<()> {
    let scene = Scene::named("orphans").ready().await?;
    let (code, text, error) = orphans(&scene.world, &[]).await?;
    assert_eq!(code, Some(0), "the resource is there: {text}{error}");

    abandon(&scene).await?;
    pause(&scene).await?;
    let world = &scene.world;
    let (code, text, error) = orphans(world, &[]).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(text.starts_with("1 role is left over of a resource that is gone:"), "{text}");
    for part in [&format!("role/s3-replication/{ROLE} of {}/{NAME}", world.namespace), &scene.source] {
        assert!(text.contains(part.as_str()), "{part}: {text}");
    }
    let left = left_in_aws(world, "us-east-1", &scene.source, ROLE).await?;
    assert_eq!(left.len(), 2, "reading deletes nothing: {left:?}");

    let (code, json, _) = orphans(world, &["-o", "json"]).await?;
    let findings: Value = serde_json::from_str(&json)?;
    assert_eq!((code, &findings["orphans"][0]["role"]), (Some(2), &json!(ROLE)));

    let (code, _, error) = orphans(world, &["--delete"]).await?;
    assert_eq!(code, Some(1), "there is no terminal to ask on");
    assert!(error.contains("--yes"), "{error}");
    assert_eq!(left_in_aws(world, "us-east-1", &scene.source, ROLE).await?.len(), 2);

    let (code, text, error) = orphans(world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    assert_eq!(text.matches("done: ").count(), 3, "{text}");
    assert_eq!(left_in_aws(world, "us-east-1", &scene.source, ROLE).await?, Vec::<String>::new());
    let (code, text, _) = orphans(world, &[]).await?;
    assert_eq!((code, text.as_str()), (Some(0), "Nothing is left over of resources that are gone.\n"));
    Ok(())
}

#[tokio::test]
async fn a_replication_that_its_resource_was_to_leave_behind_is_deleted_only_on_request() -> Result<()> {
    let scene =
        Scene::named("orphans-retain").edit(|spec| spec["deletionPolicy"] = json!("Retain")).ready().await?;
    scene.delete().await?;
    let world = &scene.world;
    world.wait_gone(NAME).await?;
    let left = async || left_in_aws(world, "us-east-1", &scene.source, ROLE).await;
    let all = left().await?;
    assert_eq!(all.len(), 2, "{all:?}");

    world.proxy.clear();
    let (code, text, error) = orphans(world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    for part in ["still replicates", "is kept", "deletionPolicy: Retain", &scene.source] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(world.proxy.writes().len(), 0, "{text}");
    assert_eq!(left().await?, all);
    let (_, json, _) = orphans(world, &["-o", "json"]).await?;
    let findings: Value = serde_json::from_str(&json)?;
    assert_eq!((&findings["orphans"], &findings["stillReplicating"][0]["role"]), (&json!([]), &json!(ROLE)));

    let (code, text, error) = orphans(world, &["--delete", "--including-replicating", "--yes"]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    assert_eq!(left().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_role_with_the_tags_of_another_cluster_is_never_touched() -> Result<()> {
    let scene = Scene::named("orphans-other").ready().await?;
    abandon(&scene).await?;
    let world = &scene.world;
    let tag = aws_sdk_iam::types::Tag::builder().key("s3replication.dev/cluster").value("another").build()?;
    world.iam().tag_role().role_name(ROLE).tags(tag).send().await?;
    world.proxy.clear();
    let (code, text, error) = orphans(world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains("Not touched: roles of other clusters (1)."), "{text}");
    assert_eq!(world.proxy.writes().len(), 0);
    assert_eq!(left_in_aws(world, "us-east-1", &scene.source, ROLE).await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn an_account_that_cannot_be_read_stops_the_deletion() -> Result<()> {
    use rig::proxy::{Answer, Fault, Matcher};
    let scene = Scene::named("orphans-denied").ready().await?;
    abandon(&scene).await?;
    let world = &scene.world;
    let denied = Answer::error(403, "AccessDenied", "Access Denied");
    world.proxy.inject(Fault::always(Matcher::operation("ListRoles"), denied));
    let (code, _, error) = orphans(world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(1));
    assert!(error.contains("iam:ListRoles") && error.contains("nothing is deleted"), "{error}");
    let left = left_in_aws(world, "us-east-1", &scene.source, ROLE).await?;
    left.first().context("everything is left")?;
    Ok(())
}

/// A role as the operator makes it for a resource of this cluster, at a path, with more tags or others.
pub async fn role_at(world: &World, path: &str, name: &str, more: &[(&str, &str)]) -> Result<()> {
    let kube_system =
        world.cluster().kubectl(["get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}"])?;
    let cluster = stdout(&kube_system);
    let tags = [("cluster", cluster.as_str()), ("namespace", "gone"), ("name", name), ("uid", "no-such-uid")];
    let tags = tags.into_iter().filter(|(key, _)| !more.iter().any(|(other, _)| other == key));
    let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let mut request = world.iam().create_role().path(path).role_name(name).assume_role_policy_document(trust);
    for (key, value) in tags.chain(more.iter().copied()) {
        let key = format!("s3replication.dev/{key}");
        request = request.tags(aws_sdk_iam::types::Tag::builder().key(key).value(value).build()?);
    }
    request.send().await?;
    Ok(())
}

#[tokio::test]
async fn the_role_of_a_backfill_that_is_gone_is_found() -> Result<()> {
    let world = World::new("orphans-backfill").await?;
    role_at(&world, "/s3-replication/", "backfill+gone", &[("kind", "ReplicationBackfill")]).await?;
    let (code, text, error) = orphans(&world, &[]).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(
        text.contains("role/s3-replication/backfill+gone of ReplicationBackfill gone/backfill+gone"),
        "{text}"
    );
    let (code, text, error) = orphans(&world, &["-A", "--delete", "--yes"]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(world.iam().list_roles().send().await?.roles().is_empty(), "{text}");
    Ok(())
}

#[tokio::test]
async fn roles_are_looked_for_at_the_path_that_an_account_imposes() -> Result<()> {
    let world = World::with_accounts("orphans-path").await?;
    role_at(&world, "/team/", "elsewhere", &[]).await?;
    let account = format!("path-{}", world.namespace);
    let manifest = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": account},
        "spec": {"accountId": world.account, "namespaces": {"matchNames": []}, "sources": ["*"], "destinations": ["*"]},
    });
    world.apply(&manifest.to_string()).await?;
    let (code, text, error) = orphans(&world, &["--account", &account]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    patch_account(&world, &account, json!({"spec": {"roles": {"path": "/team/"}}})).await?;
    let (code, text, error) = orphans(&world, &["--account", &account]).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(text.contains("role/team/elsewhere of gone/elsewhere"), "{text}");
    Ok(())
}

#[tokio::test]
async fn an_unclear_role_is_named_with_the_fix_and_exits_with_two() -> Result<()> {
    let scene = Scene::named("orphans-unclear").ready().await?;
    abandon(&scene).await?;
    pause(&scene).await?;
    let world = &scene.world;
    role_at(world, "/s3-replication/", "half-tagged", &[]).await?;
    world.iam().untag_role().role_name("half-tagged").tag_keys("s3replication.dev/uid").send().await?;
    let named = "half-tagged, account";
    let (code, text, error) = orphans(world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(2), "something is left that nobody could decide on: {text}{error}");
    assert!(text.contains("done: "), "what is clear is deleted: {text}");
    assert!(text.contains(named) && text.contains("lacks s3replication.dev/uid"), "{text}");

    let (code, text, error) = orphans(world, &[]).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(text.starts_with("No role, configuration or statement is certainly left over"), "{text}");
    assert!(text.contains(named) && text.contains("→ set what is missing"), "{text}");
    let (code, json, _) = orphans(world, &["-o", "json"]).await?;
    let findings: Value = serde_json::from_str(&json)?;
    assert_eq!((code, findings["unclearRoles"].as_array().map(Vec::len)), (Some(2), Some(1)), "{json}");

    let uid = aws_sdk_iam::types::Tag::builder().key("s3replication.dev/uid").value("no-such-uid").build()?;
    world.iam().tag_role().role_name("half-tagged").tags(uid).send().await?;
    let (code, text, error) = orphans(world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(0), "it is clear now: {text}{error}");
    Ok(())
}

#[tokio::test]
async fn one_account_of_two_that_cannot_be_read_is_unclear_and_named() -> Result<()> {
    use rig::proxy::{Answer, Fault, Matcher};
    let world = World::with_accounts("orphans-half").await?;
    let other = world.another_account();
    let all =
        r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;
    let role = world.assumable_role(&other, "operator", &world.account, None, all).await?;
    let names = ["here", "there"].map(|name| world.unique(name));
    for (name, id, assume) in [(&names[0], &world.account, None), (&names[1], &other, Some(&role))] {
        let mut manifest = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "AwsAccount",
            "metadata": {"name": name},
            "spec": {"accountId": id, "namespaces": {"matchNames": []}, "sources": ["*"], "destinations": ["*"]},
        });
        if let Some(arn) = assume {
            manifest["spec"]["assumeRole"] = json!({"arn": arn});
        }
        world.apply(&manifest.to_string()).await?;
    }
    let denied = Answer::error(403, "AccessDenied", "Access Denied");
    let lists = Matcher::operation("ListRoles");
    world.proxy.inject(Fault::always(lists.clone().in_account(&other), denied.clone()));
    let both = ["--account", &names[0], "--account", &names[1]];
    let (code, text, error) = orphans(&world, &both).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(error.contains(&format!("unknown: account {other}: ")), "{error}");
    assert!(text.contains(&format!("account {other} could not be read")), "{text}");
    assert!(error.contains("iam:ListRoles"), "the action to allow: {error}");

    world.proxy.inject(Fault::always(lists, denied));
    let (code, text, error) = orphans(&world, &both).await?;
    assert_eq!(code, Some(1), "nothing could be read: {text}{error}");
    assert!(!text.contains("Nothing is left over"), "{text}");
    Ok(())
}

/// The names of the roles of the account.
async fn roles(world: &World) -> Result<Vec<String>> {
    let listed = world.iam().list_roles().path_prefix("/s3-replication/").send().await?;
    let mut names: Vec<String> = listed.roles().iter().map(|role| role.role_name().to_owned()).collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn a_namespace_limits_what_is_listed_and_what_is_deleted() -> Result<()> {
    let world = World::new("orphans-namespace").await?;
    role_at(&world, "/s3-replication/", "mine", &[("namespace", "mine")]).await?;
    role_at(&world, "/s3-replication/", "theirs", &[("namespace", "theirs")]).await?;
    let (code, text, error) = orphans(&world, &["-n", "mine"]).await?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(text.starts_with("1 role is left over of a resource of namespace mine that is gone:"), "{text}");
    assert!(text.contains("Left out: 1 role of resources of other namespaces."), "{text}");
    assert!(!text.contains("theirs") && text.contains(" -n mine --delete\n"), "{text}");

    let (code, text, error) = orphans(&world, &["-n", "mine", "--delete", "--yes"]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    assert_eq!(roles(&world).await?, ["theirs"], "{text}");
    let (code, json, _) = orphans(&world, &["-n", "mine", "-o", "json"]).await?;
    let findings: Value = serde_json::from_str(&json)?;
    assert_eq!(
        (code, &findings["orphans"], &findings["ofOtherNamespaces"]),
        (Some(0), &json!([]), &json!(1))
    );

    let (code, text, error) = orphans(&world, &["-n", "mine", "-A", "--delete", "--yes"]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(roles(&world).await?.is_empty(), "with both flags all namespaces count: {text}");
    Ok(())
}

#[tokio::test]
async fn a_role_that_is_taken_over_during_the_deletion_is_left() -> Result<()> {
    let world = World::new("orphans-taken").await?;
    for name in ["first", "second"] {
        role_at(&world, "/s3-replication/", name, &[]).await?;
    }
    let gate = world.proxy.gate(Matcher::operation("DeleteRole").about("first"), GateAt::BeforeForward);
    let take_over = async {
        gate.reached(DEADLINE).await?;
        let tag =
            aws_sdk_iam::types::Tag::builder().key("s3replication.dev/uid").value("a-new-one").build()?;
        world.iam().tag_role().role_name("second").tags(tag).send().await?;
        gate.release();
        anyhow::Ok(())
    };
    let delete = ["--delete", "--yes"];
    let ((code, text, error), ()) = tokio::try_join!(orphans(&world, &delete), take_over)?;
    assert_eq!(code, Some(2), "{text}{error}");
    assert!(
        text.contains("left: ") && text.contains("role/s3-replication/second is another's by now"),
        "{text}"
    );
    assert_eq!(roles(&world).await?, ["second"], "{text}{error}");
    Ok(())
}

#[tokio::test]
async fn a_role_with_policies_of_others_stays_and_is_named_with_the_command_that_helps() -> Result<()> {
    let world = World::new("orphans-blocked").await?;
    role_at(&world, "/s3-replication/", "kept", &[]).await?;
    let document = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}"#;
    for policy in ["s3-replication", "by-hand"] {
        let put = world.iam().put_role_policy().role_name("kept").policy_name(policy);
        put.policy_document(document).send().await?;
    }
    let command = "→ aws iam delete-role-policy --role-name kept --policy-name by-hand";
    let (code, text, error) = orphans(&world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(2), "the role stays: {text}{error}");
    let (_, after) = text.split_once("done: ").context("its own policy is deleted")?;
    assert!(
        after.contains("left: ") && after.contains("someone attached by-hand") && after.contains(command),
        "{text}"
    );
    let (code, text, error) = orphans(&world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(2), "nothing more can be deleted: {text}{error}");
    assert!(text.contains(command) && !text.contains("done: "), "{text}");

    world.iam().delete_role_policy().role_name("kept").policy_name("by-hand").send().await?;
    let (code, text, error) = orphans(&world, &["--delete", "--yes"]).await?;
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(roles(&world).await?.is_empty(), "{text}");
    Ok(())
}
