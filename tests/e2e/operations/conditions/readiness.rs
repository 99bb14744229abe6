//! Ready, kstatus and `kubectl wait` agree in every state.

use anyhow::{Context, Result};
use kube::api::{DeleteParams, Patch, PatchParams};
use rig::world::{DEADLINE, World, condition};
use rig::{Answer, Fault, GateAt, Matcher};
use serde_json::{Value, json};

use crate::support::{NAME, ROLE, patch, reason, replication};

use super::{ALWAYS, Versions, assert_consistent, kstatus, kubectl_wait, scene_named, start, types};

#[tokio::test]
async fn a_resource_is_progressing_from_its_creation_until_it_is_ready() -> Result<()> {
    let world = World::new("conditions-first").await?;
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let seen = Versions::of(&world, NAME);
    let created = world.apply(&replication(NAME, &source, &destination).to_string()).await?;
    for object in [&created[0], &world.get(NAME).await?] {
        let status = &object["status"];
        assert_eq!(status["observedGeneration"], -1);
        assert_eq!(types(status), ["Ready", "Replicating"]);
        for about in types(status) {
            let unseen = condition(status, about).context("no condition")?;
            assert_eq!((&unseen["status"], &unseen["reason"]), (&json!("Unknown"), &json!("Progressing")));
        }
        assert_eq!(kstatus(object), "InProgress");
    }
    assert!(!kubectl_wait(&world, "1s")?, "nobody has made it Ready");

    let waiting = {
        let (cluster, namespace) = (world.cluster(), world.namespace.clone());
        let args = ["wait", "--for=condition=Ready", "--timeout=60s", "br", NAME, "--namespace"];
        tokio::task::spawn_blocking(move || cluster.kubectl(args.into_iter().chain([namespace.as_str()])))
    };
    let _operator = start(&world).await?;
    assert!(waiting.await??.status.success());
    let object = world.get(NAME).await?;
    assert_eq!(condition(&object["status"], "Ready").context("no Ready")?["status"], "True");
    assert_eq!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
    assert_eq!(kstatus(&object), "Current");

    let versions = seen.up_to(&object).await?;
    assert!(versions.len() >= 2, "at least the first and the last");
    versions.iter().for_each(assert_consistent);
    Ok(())
}

#[tokio::test]
async fn ready_of_an_older_generation_does_not_count_as_ready() -> Result<()> {
    let scene = scene_named("conditions-stale").ready().await?;
    assert!(kubectl_wait(&scene.world, "1s")?);
    let gate = scene.world.proxy.gate(Matcher::operation("PutBucketReplication"), GateAt::BeforeForward);
    let rule = json!({"id": "ReplicateToEU", "priority": 2, "destination": {"bucket": scene.destination}});
    patch(&scene.world, NAME, json!({"spec": {"rules": [rule]}})).await?;
    gate.reached(DEADLINE).await?;
    let object = scene.world.get(NAME).await?;
    assert_eq!(reason(&object["status"], "Ready"), "Applied", "it speaks of the generation before");
    assert_eq!(kstatus(&object), "InProgress");
    assert!(!kubectl_wait(&scene.world, "1s")?);
    gate.release();
    assert!(kubectl_wait(&scene.world, "60s")?);
    assert_eq!(kstatus(&scene.world.get(NAME).await?), "Current");
    Ok(())
}

#[tokio::test]
async fn kstatus_agrees_with_ready_in_every_state() -> Result<()> {
    let scene = scene_named("conditions-kstatus").ready().await?;
    let world = &scene.world;
    let seen = Versions::of(world, NAME);
    let types_with = |last: &'static str| [&ALWAYS[..], &[last]].concat();
    let applied = scene.check_object().await?;
    assert_eq!((kstatus(&applied).as_str(), types(&applied["status"])), ("Current", ALWAYS.to_vec()));

    world.proxy.inject(Fault::always(Matcher::operation("GetBucketReplication"), Answer::access_denied()));
    let denied = scene.check_object().await?;
    assert_eq!(reason(&denied["status"], "Ready"), "AccessDenied");
    assert_eq!(
        (kstatus(&denied).as_str(), types(&denied["status"])),
        ("InProgress", types_with("Reconciling"))
    );
    world.proxy.remove_faults();
    assert_eq!(kstatus(&scene.check_object().await?), "Current");

    scene.manage("Observe").await?;
    scene.suspend_destination().await?;
    let drifted = scene.check_object().await?;
    assert_eq!(reason(&drifted["status"], "Ready"), "Drifted");
    assert_eq!((kstatus(&drifted).as_str(), types(&drifted["status"])), ("Failed", types_with("Stalled")));
    scene.manage("Enforce").await?;
    assert_eq!(kstatus(&world.get(NAME).await?), "Current");

    world
        .iam()
        .create_role()
        .role_name("by-hand")
        .path("/s3-replication/")
        .assume_role_policy_document("{}")
        .send()
        .await?;
    patch(world, NAME, json!({"spec": {"role": {"name": "by-hand"}}})).await?;
    let refused = scene.check_object().await?;
    assert_eq!(reason(&refused["status"], "Ready"), "ForeignRole");
    assert_eq!((kstatus(&refused).as_str(), types(&refused["status"])), ("Failed", types_with("Stalled")));
    patch(world, NAME, json!({"spec": {"role": {"name": ROLE}}})).await?;
    assert_eq!(kstatus(&scene.check_object().await?), "Current");

    patch(world, NAME, json!({"spec": {"suspend": true}})).await?;
    let is_suspended = |status: &Value| reason(status, "Ready") == "Suspended";
    let suspended = world.wait(NAME, is_suspended, "to be suspended").await?;
    assert_eq!(condition(&suspended["status"], "Ready").context("no Ready")?["status"], "Unknown");
    assert_eq!((kstatus(&suspended).as_str(), types(&suspended["status"])), ("InProgress", ALWAYS.to_vec()));
    patch(world, NAME, json!({"spec": {"suspend": false}})).await?;
    assert_eq!(kstatus(&scene.check_object().await?), "Current");

    let policy = "arn:aws:iam::aws:policy/ReadOnlyAccess";
    world.iam().attach_role_policy().role_name(ROLE).policy_arn(policy).send().await?;
    world.api().delete(NAME, &DeleteParams::default()).await?;
    let blocked = |status: &Value| reason(status, "Ready") == "DeletionBlocked";
    let terminating = world.wait(NAME, blocked, "to wait with its deletion").await?;
    assert_eq!(
        (kstatus(&terminating).as_str(), types(&terminating["status"])),
        ("Terminating", types_with("Reconciling"))
    );

    let versions = seen.up_to(&terminating).await?;
    versions.iter().for_each(assert_consistent);
    Ok(())
}

#[tokio::test]
async fn a_condition_keeps_its_time_while_its_status_stays() -> Result<()> {
    let scene = scene_named("conditions-times").ready().await?;
    let world = &scene.world;
    scene.manage("Observe").await?;
    // Long ago, so that a time that is kept and one that is new cannot be taken for each other. The operator is
    // not there meanwhile: it trusts what it wrote itself a moment ago more than what it reads.
    scene.operator.kill().await?;
    let long_ago = "2020-01-01T00:00:00Z";
    let mut conditions = world.get(NAME).await?["status"]["conditions"].take();
    for c in conditions.as_array_mut().context("no conditions")? {
        c["lastTransitionTime"] = json!(long_ago);
    }
    let aged = json!({"status": {"conditions": conditions}});
    world.api().patch_status(NAME, &PatchParams::default(), &Patch::Merge(aged)).await?;
    let _operator = start(world).await?;

    scene.suspend_destination().await?;
    let status = scene.check().await?;
    let time = |kind: &str| {
        condition(&status, kind).and_then(|c| c["lastTransitionTime"].as_str()).unwrap_or_default()
    };
    for (kind, kept) in [
        ("Ready", false),
        ("VersioningReady", false),
        ("RoleReady", true),
        ("ReplicationReady", true),
        ("InSync", false),
    ] {
        assert_eq!(time(kind) == long_ago, kept, "{kind}: {status:#}");
    }
    Ok(())
}
