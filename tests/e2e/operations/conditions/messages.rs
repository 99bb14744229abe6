//! Columns, events and messages, and how few writes to Kubernetes they take.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_sdk_s3::types::BucketVersioningStatus;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams};
use rig::world::{DEADLINE, World};
use rig::{Answer, Fault, Matcher};
use serde_json::json;

use crate::support::{NAME, POLICY, ROLE, message, patch, reason};

use super::{kubectl, scene_named, start};

/// The table that kubectl prints of one object, as pairs of column and cell.
fn columns(output: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let (header, row) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    // A column begins where its name does: names are separated by at least three spaces.
    let names: Vec<&str> = header.split("   ").map(str::trim).filter(|name| !name.is_empty()).collect();
    let starts: Vec<usize> =
        names.iter().map(|name| header.find(&format!("{name}  ")).or(header.find(name)).unwrap()).collect();
    let ends = starts.iter().skip(1).copied().chain([row.len()]);
    let cells = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| row.get(*start..end).unwrap_or_default().trim().to_owned());
    names.into_iter().map(str::to_owned).zip(cells).collect()
}

#[tokio::test]
async fn kubectl_get_shows_what_matters() -> Result<()> {
    let scene = scene_named("conditions-columns").ready().await?;
    let role = format!("arn:aws:iam::{}:role/s3-replication/{ROLE}", scene.world.account);
    let text = format!("bucket {} replicates to {} (1 rule)", scene.source, scene.destination);
    let narrow = [
        ("NAME", NAME),
        ("SOURCE", scene.source.as_str()),
        ("DESTINATION", scene.destination.as_str()),
        ("READY", "True"),
        ("STATUS", "Applied"),
        ("IN SYNC", "True"),
        ("REPLICATING", "Unknown"),
    ];
    let wide = [
        ("OBJECTS", "NoEvidence"),
        ("LATENCY", ""),
        ("RULES", "1"),
        ("ROLE", role.as_str()),
        ("MESSAGE", text.as_str()),
    ];
    let shown = |args: &[&str]| -> Result<Vec<(String, String)>> {
        let mut cells = columns(&kubectl(&scene.world, args)?);
        let age = cells.iter().position(|(name, _)| name == "AGE").context("no AGE")?;
        let (_, age) = cells.remove(age);
        assert!(age.ends_with('s'), "{age}");
        Ok(cells)
    };
    let pairs = |table: &[(&str, &str)]| {
        table.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(shown(&["get", "br"])?, pairs(&narrow));
    let mut shown_wide = shown(&["get", "br", "-o", "wide"])?;
    let (last, why) = shown_wide.pop().context("no column")?;
    assert_eq!(last, "OBJECTS MESSAGE");
    assert!(why.starts_with("nothing shows whether objects arrive"), "{why}");
    assert_eq!(shown_wide, pairs(&[&narrow[..], &wide[..]].concat()));
    for category in ["aws", "s3"] {
        assert!(
            String::from_utf8_lossy(&kubectl(&scene.world, &["get", category])?.stdout).contains(NAME),
            "{category}"
        );
    }

    scene.manage("Observe").await?;
    scene.suspend_destination().await?;
    scene.check_object().await?;
    let drifted = shown(&["get", "br"])?;
    let cell = |name: &str| drifted.iter().find(|(n, _)| n == name).map(|(_, cell)| cell.as_str());
    assert_eq!(
        (cell("READY"), cell("STATUS"), cell("IN SYNC")),
        (Some("False"), Some("Drifted"), Some("False"))
    );
    Ok(())
}

/// Reason, type and note of the events about `NAME`, oldest first.
async fn events(world: &World) -> Result<Vec<(String, String, String)>> {
    let api: Api<Event> = Api::namespaced(world.kube.clone(), &world.namespace);
    let mut events = api.list(&ListParams::default()).await?.items;
    events.retain(|e| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(NAME));
    events.sort_by_key(|e| e.event_time.as_ref().map(|t| t.0));
    let text = |field: Option<String>| field.unwrap_or_default();
    Ok(events.into_iter().map(|e| (text(e.reason), text(e.type_), text(e.note))).collect())
}

#[tokio::test]
async fn events_report_each_write_and_each_drift_once() -> Result<()> {
    let pages = ["--runbook-url", "https://docs.example.com/"];
    let scene = scene_named("conditions-events").args(&pages).ready().await?;
    let (source, destination) = (scene.source.as_str(), scene.destination.as_str());
    // The events of a check come after its status: those of a check are all there when the next has ended.
    let expect = async |what: &str, kind: &str, reason: &str, note: &[&str], count: usize| -> Result<()> {
        for _ in 0..4 {
            scene.check_object().await?;
        }
        let reported = events(&scene.world).await?;
        assert_eq!(reported.len(), count, "{what}, and three more checks: {reported:#?}");
        let (event_reason, event_type, text) = reported.last().context("no event")?;
        assert_eq!((event_reason.as_str(), event_type.as_str()), (reason, kind), "{what}");
        for part in note {
            assert!(text.contains(part), "{what}: {part:?} is not in {text:?}");
        }
        Ok(())
    };
    let writes = [
        format!("enable versioning of bucket {source} in us-east-1"),
        format!("enable versioning of bucket {destination} in eu-west-1"),
        format!("create role /s3-replication/{ROLE}"),
        format!("set the policy {POLICY} of role {ROLE}"),
        format!("set the replication configuration of bucket {source}: ReplicateToEU to {destination}"),
    ];
    assert_eq!(scene.world.proxy.writes().len(), writes.len());
    expect("applied", "Normal", "Applied", &writes.each_ref().map(String::as_str), 1).await?;

    scene.manage("Observe").await?;
    scene.suspend_destination().await?;
    let difference = format!("BucketVersioning {destination} status: want \"Enabled\", got \"Suspended\"");
    expect("drift", "Warning", "DriftDetected", &[&difference], 2).await?;

    scene.manage("Enforce").await?;
    expect("correction", "Warning", "DriftCorrected", &[&difference, &writes[1]], 3).await?;

    scene.world.proxy.inject(Fault::always(Matcher::operation("GetRole"), Answer::access_denied()));
    let page = "see https://docs.example.com/reasons/AccessDenied/";
    expect("denial", "Warning", "AccessDenied", &["iam:GetRole", ROLE, page], 4).await?;
    let denied = scene.check().await?;
    for about in ["Ready", "RoleReady", "Reconciling"] {
        assert!(message(&denied, about).ends_with(page), "{about}: {:?}", message(&denied, about));
    }
    assert!(!message(&denied, "VersioningReady").contains("https://"), "it is well: {denied:#}");
    scene.world.proxy.remove_faults();
    scene.check_object().await?;

    scene.world.api().delete(NAME, &DeleteParams::default()).await?;
    scene.world.wait_gone(NAME).await?;
    let reported = events(&scene.world).await?;
    let (event_reason, event_type, text) = reported.last().context("no event")?;
    assert_eq!(
        (reported.len(), event_reason.as_str(), event_type.as_str()),
        (5, "Deleted", "Normal"),
        "{reported:#?}"
    );
    for part in ["remove the replication configuration", "delete the policy", "delete role"] {
        assert!(text.contains(part), "{text}");
    }
    Ok(())
}

/// Waits until the audit log, which a watch can be ahead of, shows as many writes of the operator as these, and
/// sees that they are these.
async fn check_kubernetes_writes(world: &World, expected: &[&str]) -> Result<()> {
    let writes = || -> Result<Vec<String>> {
        let requests = world.kube_requests()?.into_iter().filter(|r| r.is_write());
        Ok(requests.map(|r| format!("{} {}/{}", r.verb, r.resource, r.subresource)).collect())
    };
    let logged = async {
        while writes()?.len() < expected.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        writes()
    };
    let mut found =
        tokio::time::timeout(DEADLINE, logged).await.context("the operator wrote less than this")??;
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    Ok(())
}

#[tokio::test]
async fn a_check_that_finds_nothing_writes_nothing_to_kubernetes() -> Result<()> {
    let scene = scene_named("conditions-quiet").with_insight().ready().await?;
    let world = &scene.world;
    let answer = "patch bucketreplications/status";
    // The status is written before the first write to AWS too.
    let mut expected = vec!["patch bucketreplications/", answer, answer, "create events/"];
    check_kubernetes_writes(world, &expected).await?;

    // Any annotation makes the operator check; only one of them wants an answer.
    // Versioning that was read a moment ago is not read again.
    let checked = |calls: &[rig::Call]| {
        let answered = |operation: &str| calls.iter().any(|c| c.operation == operation && c.status.is_some());
        answered("GetRolePolicy") && answered("GetBucketReplication")
    };
    for n in 0..3 {
        world.proxy.clear();
        patch(world, NAME, json!({"metadata": {"annotations": {"example.com/touched": n.to_string()}}}))
            .await?;
        world.proxy.wait_for(checked, DEADLINE).await?;
    }
    scene.check_object().await?;
    expected.push(answer);
    check_kubernetes_writes(world, &expected).await?;

    // Nor does a new operator that finds all as the one before left it.
    scene.operator.kill().await?;
    world.proxy.clear();
    let _operator = start(world).await?;
    world.proxy.wait_for(checked, DEADLINE).await?;
    scene.check_object().await?;
    expected.push(answer);
    check_kubernetes_writes(world, &expected).await
}

#[tokio::test]
async fn messages_name_the_bucket_the_action_and_the_remedy_and_do_not_change() -> Result<()> {
    let scene = scene_named("conditions-messages").ready().await?;
    let (world, source, destination) = (&scene.world, scene.source.as_str(), scene.destination.as_str());
    let says = async |expected: &str, about: &str, parts: &[&str]| -> Result<()> {
        let first = scene.check().await?;
        assert_eq!(reason(&first, "Ready"), expected);
        assert_eq!(reason(&first, about), expected, "{first:#}");
        for part in parts {
            assert!(
                message(&first, "Ready").contains(part),
                "{part:?} is not in {:?}",
                message(&first, "Ready")
            );
        }
        let second = scene.check().await?;
        assert_eq!(first["conditions"], second["conditions"], "two identical tries say the same");
        Ok(())
    };
    let denials = [
        ("GetBucketReplication", "ReplicationReady", "s3:GetReplicationConfiguration", source),
        ("GetRole", "RoleReady", "iam:GetRole", ROLE),
        ("GetRolePolicy", "RoleReady", "iam:GetRolePolicy", ROLE),
    ];
    for (operation, about, action, subject) in denials {
        world.proxy.inject(Fault::always(Matcher::operation(operation), Answer::access_denied()));
        says("AccessDenied", about, &[action, subject, &format!("allow {action} on {subject}")]).await?;
        world.proxy.remove_faults();
    }

    let write = Fault::always(Matcher::operation("PutBucketVersioning"), Answer::access_denied());
    scene.suspend_destination().await?;
    world.proxy.inject(write);
    let action = "s3:PutBucketVersioning";
    says(
        "AccessDenied",
        "VersioningReady",
        &[action, destination, &format!("allow {action} on {destination}")],
    )
    .await?;
    world.proxy.remove_faults();

    scene.manage("Observe").await?;
    says("Drifted", "VersioningReady", &[destination, "want \"Enabled\", got \"Suspended\""]).await?;
    scene.manage("Enforce").await?;

    let rule = |bucket: &str, versioning: &str| {
        let to = json!({"bucket": bucket, "storageClass": "STANDARD", "versioning": versioning});
        json!({"spec": {"rules": [{"id": "ReplicateToEU", "priority": 1, "destination": to}]}})
    };
    let missing = world.bucket_name();
    patch(world, NAME, rule(&missing, "Managed")).await?;
    says(
        "DestinationBucketNotFound",
        "ReplicationReady",
        &[&missing, "create it or correct destination.bucket"],
    )
    .await?;

    patch(world, NAME, rule(destination, "Required")).await?;
    scene.suspend_destination().await?;
    says("VersioningNotEnabled", "VersioningReady", &[destination, "enable it, or set versioning: Managed"])
        .await?;

    patch(world, NAME, rule(destination, "Managed")).await?;
    world.set_versioning("eu-west-1", destination, BucketVersioningStatus::Enabled).await?;
    scene.check_object().await?;
    world.proxy.set_mfa_delete(destination);
    scene.suspend_destination().await?;
    says("MfaDeleteEnabled", "VersioningReady", &[destination, "enable versioning there by hand"]).await
}
