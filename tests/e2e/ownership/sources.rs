//! Several resources with one source: one owns it, and the others name the owner.

use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::DeleteParams;
use rig::world::World;
use serde_json::{Value, json};

use crate::support::{
    NAME, ROLE, Scene, check_now, message, operator_of, reason, replication, set, until_younger,
    world_with_operator,
};

use super::by_operator;

#[tokio::test]
async fn of_two_resources_on_one_source_the_older_owns_it_and_the_other_takes_over() -> Result<()> {
    let scene = Scene::named("own-conflict").ready().await?;
    let world = &scene.world;
    until_younger(&world.get(NAME).await?).await?;
    world.proxy.clear();
    let other = world.bucket("eu-west-1").await?;
    let mut second = replication("second", &scene.source, &other);
    second["spec"]["interval"] = json!("24h");
    world.apply(&second.to_string()).await?;
    let conflict = |status: &Value| reason(status, "Ready") == "SourceConflict";
    let lost = world.wait("second", conflict, "to lose").await?;
    let text = message(&lost["status"], "Ready");
    assert!(text.contains(&format!("{}/{NAME}", world.namespace)) && text.contains(&scene.source), "{text}");
    for condition_type in ["ReplicationReady", "Stalled"] {
        assert_eq!(reason(&lost["status"], condition_type), "SourceConflict");
    }

    // Deleting a third resource, which does not own the source, changes nothing in AWS.
    world.apply(&replication("third", &scene.source, &other).to_string()).await?;
    world.wait("third", conflict, "to lose").await?;
    world.api().delete("third", &DeleteParams::default()).await?;
    world.wait_gone("third").await?;
    scene.check_nothing_written();
    assert_eq!(scene.rules_and_role().await?, by_operator());

    scene.delete().await?;
    world.wait_gone(NAME).await?;
    world.wait_ready("second").await?;
    assert_eq!(
        scene.rules_and_role().await?,
        Some((vec!["ReplicateToEU".to_owned()], "second-role".to_owned()))
    );
    assert!(!scene.role_exists(ROLE).await?);
    Ok(())
}

#[tokio::test]
async fn of_two_resources_made_in_one_second_the_first_keeps_the_source() -> Result<()> {
    let (world, _operator) = world_with_operator("own-twins").await?;
    let destination = world.bucket("eu-west-1").await?;
    // The UIDs are random: both orders occur.
    for n in 0..8 {
        let source = world.bucket("us-east-1").await?;
        let (first, second) = (format!("first-{n}"), format!("second-{n}"));
        let fraction = jiff::Timestamp::now().subsec_millisecond();
        tokio::time::sleep(Duration::from_millis(1000 - u64::try_from(fraction)?)).await;
        world.apply(&replication(&first, &source, &destination).to_string()).await?;
        if n % 2 == 0 {
            world.wait_ready(&first).await?;
        } else {
            // The source is claimed before the finalizer is set, when nothing is applied yet.
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
async fn a_resource_that_lost_its_source_leaves_the_owners_configuration() -> Result<()> {
    let scene = Scene::named("own-loser").with_insight().empty().await?;
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
    until_younger(&world.get(NAME).await?).await?;
    let mut younger = replication("younger", &scene.source, &scene.destination);
    younger["spec"]["adoptionPolicy"] = json!("Adopt");
    world.apply(&younger.to_string()).await?;
    world.wait_ready("younger").await?;

    scene.patch_spec(json!({"rules": rules})).await?;
    world.wait_ready(NAME).await?;
    let lost = check_now(world, "younger").await?;
    assert_eq!(reason(&lost["status"], "Ready"), "SourceConflict");
    world.api().delete("younger", &DeleteParams::default()).await?;
    world.wait_gone("younger").await?;
    assert_eq!(scene.rules_and_role().await?, by_operator());
    assert!(!scene.role_exists("younger-role").await?);
    Ok(())
}

#[tokio::test]
async fn resources_of_all_namespaces_are_listed_before_one_owns_a_source() -> Result<()> {
    // The operator waits for the initial lists of both namespaces.
    for _ in 0..4 {
        let (one, two) = (World::new("own-ns-one").await?, World::new("own-ns-two").await?);
        let (source, destination) = (one.bucket("us-east-1").await?, one.bucket("eu-west-1").await?);
        one.apply(&replication(NAME, &source, &destination).to_string()).await?;
        until_younger(&one.get(NAME).await?).await?;
        two.apply(&replication("second", &source, &destination).to_string()).await?;
        let _operator = operator_of(&one).args(["--namespaces", &two.namespace]).start().await?;
        one.wait_ready(NAME).await?;
        let conflict = |status: &Value| reason(status, "Ready") == "SourceConflict";
        let lost = two.wait("second", conflict, "to lose").await?;
        let text = message(&lost["status"], "Ready");
        assert!(text.contains(&format!("{}/{NAME}", one.namespace)), "{text}");
        one.api().delete(NAME, &DeleteParams::default()).await?;
        one.wait_gone(NAME).await?;
        two.wait_ready("second").await?;
    }
    Ok(())
}
