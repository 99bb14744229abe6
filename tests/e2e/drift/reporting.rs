//! The report of drift in the status, in each mode and over time.

use anyhow::{Context, Result};
use aws_sdk_s3::types::StorageClass;
use rig::world::condition;
use rig::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use crate::support::{
    DESTINATION_REGION, NAME, POLICY, SOURCE_REGION, check_now, message, patch, reason, replication,
    see_own_writes,
};

use super::{assert_in_sync, differs, eu, scene_named};

#[tokio::test]
async fn a_change_of_the_spec_is_never_called_drift() -> Result<()> {
    let scene = scene_named("drift-pending").ready().await?;
    let proxy = &scene.world.proxy;
    let before = scene.check().await?["appliedHash"].clone();
    proxy.inject(Fault::always(Matcher::operation("PutBucketReplication"), Answer::access_denied()));

    // The change takes two writes: that of the policy succeeds, that of the configuration is denied.
    let another = scene.world.versioned_bucket(DESTINATION_REGION).await?;
    let change = |bucket: &str| {
        let rule = json!({"id": "ReplicateToEU", "priority": 1, "destination": {"bucket": bucket, "storageClass": "GLACIER"}});
        json!({"spec": {"rules": [rule]}})
    };
    patch(&scene.world, NAME, change(&another)).await?;
    for what in ["at first", "again"] {
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "AccessDenied", "{what}");
        assert_eq!((&status["drift"], &status["driftCount"]), (&Value::Null, &json!(0)), "{what}");
        assert_eq!(condition(&status, "InSync").unwrap()["status"], "False", "{what}");
        assert_ne!(reason(&status, "InSync"), "Drifted", "{what}");
        assert_ne!(status["appliedHash"], before, "{what}: neither the old nor the new is applied");
    }
    assert_eq!(proxy.count("PutRolePolicy"), 2, "once to begin with, and once for the change");

    // The spec is reverted before it was fully applied; the difference is no drift either.
    let back = change(&scene.destination);
    patch(&scene.world, NAME, back).await?;
    let status = scene.check().await?;
    assert_eq!((&status["drift"], &status["driftCount"]), (&Value::Null, &json!(0)));

    proxy.remove_faults();
    let status = scene.check().await?;
    assert_in_sync(&status, "once it may be written");
    assert_eq!(status["lastCorrection"], Value::Null);
    assert_eq!(
        scene.configuration().await?.rules[0].destination.as_ref().unwrap().storage_class,
        Some(StorageClass::Glacier)
    );
    Ok(())
}

#[tokio::test]
async fn drift_stays_listed_while_its_correction_fails() -> Result<()> {
    let scene = scene_named("drift-failing").ready().await?;
    scene
        .world
        .proxy
        .inject(Fault::always(Matcher::operation("PutBucketReplication"), Answer::access_denied()));
    scene.edit_configuration(|c| eu(c).priority = Some(5)).await?;
    let expected = json!([differs(
        "ReplicationConfiguration",
        &scene.source,
        "rules[ReplicateToEU].priority",
        "1",
        "5"
    )]);
    for _ in 0..2 {
        let status = scene.check().await?;
        assert_eq!(status["drift"], expected);
        assert_eq!(reason(&status, "Ready"), "AccessDenied");
        assert!(
            message(&status, "Ready").contains("s3:PutReplicationConfiguration"),
            "{}",
            message(&status, "Ready")
        );
        assert_eq!(reason(&status, "InSync"), "Drifted");
        assert_eq!(status["lastCorrection"], Value::Null);
    }
    scene.world.proxy.remove_faults();
    let status = scene.check().await?;
    assert_in_sync(&status, "once it may be written");
    assert_eq!(status["lastCorrection"]["items"], expected);
    Ok(())
}

#[tokio::test]
async fn observing_from_the_start_lists_everything_and_enforcing_applies_it() -> Result<()> {
    let scene = scene_named("drift-modes").empty().await?;
    let mut resource = replication(NAME, &scene.source, &scene.destination);
    resource["spec"]["managementPolicy"] = json!("Observe");
    scene.world.apply(&resource.to_string()).await?;
    let status = scene.check().await?;
    let listed: Vec<(&str, &str)> = status["drift"]
        .as_array()
        .context("nothing is listed")?
        .iter()
        .map(|d| (d["resource"].as_str().unwrap_or_default(), d["path"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        listed,
        [
            ("BucketVersioning", "status"),
            ("BucketVersioning", "status"),
            ("Role", "arn"),
            ("ReplicationConfiguration", "rules[ReplicateToEU]"),
        ]
    );
    assert_eq!(reason(&status, "Ready"), "Drifted");
    assert!(scene.world.proxy.writes().is_empty());

    let status = scene.manage("Enforce").await?;
    assert_in_sync(&status, "enforced");
    assert_eq!(status["lastCorrection"], Value::Null, "what was never applied is not corrected");

    // With Observe a change of the spec is listed as drift; with Enforce the operator applies it.
    let rule = |class: &str| {
        let to = json!({"bucket": scene.destination, "storageClass": class});
        json!({"spec": {"rules": [{"id": "ReplicateToEU", "priority": 1, "destination": to}]}})
    };
    scene.manage("Observe").await?;
    patch(&scene.world, NAME, rule("GLACIER")).await?;
    let status = scene.check().await?;
    let path = "rules[ReplicateToEU].destination.storageClass";
    assert_eq!(
        status["drift"],
        json!([differs("ReplicationConfiguration", &scene.source, path, "GLACIER", "STANDARD")])
    );
    let status = scene.manage("Enforce").await?;
    assert_in_sync(&status, "the new storage class");
    assert_eq!(status["lastCorrection"], Value::Null, "a change of the spec is not a correction");
    Ok(())
}

#[tokio::test]
async fn the_annotation_requests_an_immediate_check_and_is_acknowledged() -> Result<()> {
    let scene = scene_named("drift-request").edit(|spec| spec["interval"] = json!("24h")).ready().await?;
    scene.edit_configuration(|c| eu(c).priority = Some(5)).await?;
    scene.world.proxy.clear();
    let request =
        json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": "2026-01-02T03:04:05Z"}}});
    patch(&scene.world, NAME, request.clone()).await?;
    let acknowledged = |status: &Value| status["lastHandledRequest"] == "2026-01-02T03:04:05Z";
    let object = scene.world.wait(NAME, acknowledged, "to acknowledge the request").await?;
    assert_eq!(object["status"]["lastCorrection"]["count"], 1);
    assert_eq!(scene.world.proxy.count("PutBucketReplication"), 1);

    // Repeating a request causes no check: the next check is that of the next request.
    let checks = scene.world.proxy.count("GetRole");
    patch(&scene.world, NAME, request).await?;
    scene.check().await?;
    assert_eq!(scene.world.proxy.count("GetRole"), checks + 1);
    Ok(())
}

#[tokio::test]
async fn of_more_than_a_hundred_differences_the_first_hundred_are_listed_and_all_counted() -> Result<()> {
    let scene = scene_named("drift-many").empty().await?;
    let mut resource = replication(NAME, &scene.source, &scene.destination);
    resource["spec"]["managementPolicy"] = json!("Observe");
    let template = resource["spec"]["rules"][0].take();
    let rules = (0..150).map(|n| {
        let mut rule = template.clone();
        rule["id"] = json!(format!("rule-{n:03}"));
        rule["priority"] = json!(n);
        rule["filter"]["prefix"] = json!(format!("{n}/"));
        rule
    });
    resource["spec"]["rules"] = rules.collect();
    scene.world.apply(&resource.to_string()).await?;

    // Two buckets without versioning, no role, and 150 rules.
    let status = scene.check().await?;
    assert_eq!(status["drift"].as_array().map(Vec::len), Some(100));
    assert_eq!(status["driftCount"], 153);
    let text = message(&status, "Ready");
    assert!(text.contains(&scene.source) && text.contains(&scene.destination), "{text}");
    let more = text.strip_suffix(" more").and_then(|text| text.rsplit_once("; and ")).map(|(_, count)| count);
    let more: usize = more.with_context(|| text.to_owned())?.parse()?;
    let named = (0..150).filter(|n| text.contains(&format!("rules[rule-{n:03}]"))).count();
    assert!(named > 0 && more > 0 && 3 + named + more == 153, "{named} named: {text}");

    scene.manage("Enforce").await?;
    scene.see_own_writes().await?;
    scene.world.s3(SOURCE_REGION).delete_bucket_replication().bucket(&scene.source).send().await?;
    let status = scene.check().await?;
    assert_in_sync(&status, "corrected");
    assert_eq!(status["lastCorrection"]["count"], 150);
    assert_eq!(status["lastCorrection"]["items"].as_array().map(Vec::len), Some(100));
    Ok(())
}

#[tokio::test]
async fn the_operator_backs_off_when_another_tool_keeps_changing_a_field() -> Result<()> {
    let scene = scene_named("drift-fight").ready().await?;
    let world = &scene.world;
    let (other_source, other_destination) =
        (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    world.apply(&replication("invoices", &other_source, &other_destination).to_string()).await?;
    world.wait_ready("invoices").await?;

    let set_priority = |priority: i32| scene.edit_configuration(move |c| eu(c).priority = Some(priority));
    for round in 1..=3 {
        set_priority(50).await?;
        let status = scene.check().await?;
        assert_eq!(reason(&status, "Ready"), "Applied", "round {round}");
        assert_eq!(scene.configuration().await?.rules[0].priority, Some(1), "round {round}");
        scene.see_own_writes().await?;
    }

    set_priority(50).await?;
    world.proxy.clear();
    for _ in 0..2 {
        let status = scene.check().await?;
        let ready = condition(&status, "Ready").context("no Ready")?;
        assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Drifted")));
        let text = message(&status, "Ready");
        assert!(text.contains("another tool keeps changing rules[ReplicateToEU].priority"), "{text}");
        assert!(text.contains(&scene.source) && text.contains("managementPolicy: Observe"), "{text}");
        assert_eq!(reason(&status, "InSync"), "Drifted");
        assert_eq!(status["driftCount"], 1);
    }
    assert!(world.proxy.writes().is_empty(), "{:?}", world.proxy.writes());

    // Another resource is still corrected.
    see_own_writes(world, "invoices").await?;
    world.iam().delete_role_policy().role_name("invoices-role").policy_name(POLICY).send().await?;
    let other = check_now(world, "invoices").await?;
    assert_in_sync(&other["status"], "the other resource");
    assert_eq!(world.proxy.writes().len(), 1);

    // The other tool stops.
    set_priority(1).await?;
    assert_in_sync(&scene.check().await?, "at peace");
    Ok(())
}
