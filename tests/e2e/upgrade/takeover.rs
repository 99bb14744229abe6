//! Resources under `AwsAccount`s, which the former release left in every state: in order, drifted, suspended, observed,
//! in the middle of a rename and of a deletion.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use kube::api::{Patch, PatchParams};
use rig::aws_state::AwsState;
use rig::{Call, pages};
use serde_json::{Value, json};

use super::former::{Former, NAMESPACE, is_ready, type_in};
use crate::support::reason;

/// The resources that are enforced and stay.
const ENFORCED: [&str; 4] = ["orders", "invoices", "logs", "renamed"];

#[tokio::test]
async fn the_operator_takes_over_what_the_former_release_left() -> Result<()> {
    let former = Former::restored("with-accounts").await?;
    let world = &former.world;
    former.upgrade_definitions()?;
    let _operator = former.operator().start().await?;

    // One that was being deleted is deleted to the end.
    let leaving = world.api_in(NAMESPACE);
    world.wait_on(&leaving, "leaving", |object| object.is_none(), "to be gone").await?;
    let checked = try_join_all(ENFORCED.map(|name| former.check(name))).await?;
    for (name, object) in ENFORCED.iter().zip(&checked) {
        ensure!(is_ready(object), "{name}: {:#}", object["status"]);
        check_status(former.state.replication(name)?, object).with_context(|| format!("status of {name}"))?;
    }
    for name in ["default", "dr"] {
        let is_verified = |status: &Value| reason(status, "Ready") == "Verified";
        world.wait_account(name, is_verified, "to be verified").await?;
    }

    // The operator does not write where the resource only observes, and reports as before.
    let audit = former.check("audit").await?;
    check_observed(&former.state.replication("audit")?["status"], &audit["status"])?;
    let listed = type_in(world, &pages::block("docs/operations.md", "status.drift", file!())?)?;
    let drift = "ReplicationConfiguration rules[all].destination.storageClass: want STANDARD, got GLACIER";
    ensure!(listed.starts_with("data/audit\n") && listed.contains(drift), "{listed}");
    let archive = former.object("archive").await?;
    ensure!(reason(&archive["status"], "Ready") == "Suspended", "{:#}", archive["status"]);
    ensure!(
        archive["status"]["appliedHash"] == former.state.replication("archive")?["status"]["appliedHash"]
    );

    check_writes(&former, &world.proxy.writes())?;
    check_replicated(&former, &former.aws_now().await?)?;

    // The deletion of an observed resource would leave everything on purpose.
    for (name, spec) in
        [("audit", json!({"managementPolicy": "Enforce"})), ("archive", json!({"suspend": false}))]
    {
        let (api, change) = (world.api_in(NAMESPACE), Patch::Merge(json!({"spec": spec})));
        api.patch(name, &PatchParams::default(), &change).await?;
        let is_taken_over = |object: Option<&Value>| object.is_some_and(is_ready);
        world.wait_on(&api, name, is_taken_over, "to be Ready").await?;
    }
    for name in ["orders", "invoices", "logs", "renamed", "audit", "archive"] {
        former.delete(name).await?;
    }
    let left = former.aws_now().await?;
    let roles: Vec<&str> = left.roles_at("/s3-replication/").map(|role| role.name.as_str()).collect();
    ensure!(roles.is_empty(), "roles are left: {roles:?}");
    for bucket in left.accounts.values().flat_map(|account| &account.buckets) {
        ensure!(bucket.replication.is_none() && bucket.policy.is_none(), "{bucket:?}");
        ensure!(bucket.versioning.as_deref() == Some("Enabled"), "{bucket:?}");
    }
    Ok(())
}

/// Checks what became of each field of the recorded status.
fn check_status(recorded: &Value, object: &Value) -> Result<()> {
    let (before, now) = (&recorded["status"], &object["status"]);
    for field in ["source", "destinations", "bucketPolicies", "rules"] {
        ensure!(before[field] == now[field], "{field} was {} and is {}", before[field], now[field]);
    }
    ensure!(before["role"]["arn"] == now["role"]["arn"] && now["role"]["managed"] == true, "{now:#}");
    // The correction by the former release stays in the status until the operator corrects something else.
    if before["lastCorrection"].is_object() {
        ensure!(before["lastCorrection"] == now["lastCorrection"], "{:#}", now["lastCorrection"]);
    }
    ensure!(now["formerRoles"].is_null(), "{:#}", now["formerRoles"]);
    // After an upgrade a difference may come from another wish of this version. The operator applies it, and does not
    // call it a correction.
    if before["lastCorrection"].is_null() {
        ensure!(now["lastCorrection"].is_null(), "{:#}", now["lastCorrection"]);
    }
    // The former release did not say how the configuration came to be the resource's own.
    ensure!(before["configuration"].is_null() && now["configuration"] == "Created", "{now:#}");
    Ok(())
}

/// Checks the status of a resource that is only observed: the drift that was known, and what this version asks of the
/// role's policy.
fn check_observed(before: &Value, now: &Value) -> Result<()> {
    let entries = |status: &Value| status["drift"].as_array().cloned().unwrap_or_default();
    let known = entries(before);
    ensure!(known.len() == 1 && entries(now).contains(&known[0]), "{now:#}");
    for entry in entries(now).iter().filter(|entry| !known.contains(entry)) {
        let want = entry["want"].as_str().unwrap_or_default();
        ensure!(entry["resource"] == "RolePolicy" && want.contains("s3:ResourceAccount"), "{entry:#}");
    }
    ensure!(reason(now, "InSync") == "Drifted", "{now:#}");
    Ok(())
}

/// Checks that each write to AWS has a reason, and that none takes anything away from a replication.
fn check_writes(former: &Former, writes: &[Call]) -> Result<()> {
    for write in writes {
        ensure!(why(write).is_some(), "written without a reason: {write}\n{}\nof {writes:#?}", write.body);
        former.check_takes_nothing_away(write)?;
    }
    Ok(())
}

/// The reason for a write, if there is one.
fn why(write: &Call) -> Option<&'static str> {
    match (write.operation.as_str(), write.subject.as_str()) {
        ("PutRolePolicy", "data.orders" | "data.invoices" | "data.logs" | "renamed-after") => {
            Some("the policy names the owner of the buckets now")
        }
        ("PutBucketReplication", "former-logs-source") => Some("someone has changed it"),
        ("DeleteRolePolicy" | "DeleteRole", "renamed-before") => Some("the role has another name now"),
        ("DeleteBucketReplication", "former-leaving-source") => Some("its resource is deleted"),
        ("DeleteRolePolicy" | "DeleteRole", "leaving-role") => Some("its resource is deleted"),
        _ => None,
    }
}

/// Checks that every source replicates as it did, and the drifted one as it should.
fn check_replicated(former: &Former, now: &AwsState) -> Result<()> {
    for name in ["orders", "invoices", "renamed", "audit", "archive"] {
        let source = format!("former-{name}-source");
        let (before, now) = (former.state.aws.bucket(&source)?, now.bucket(&source)?);
        ensure!(before == now, "{source} was\n{before:#?}\nand is\n{now:#?}");
    }
    let logs = now.bucket("former-logs-source")?.replication.as_deref().context("logs is not replicated")?;
    ensure!(logs.contains("STANDARD") && !logs.contains("GLACIER"), "{logs}");
    let source = &former.state.replication("logs")?["spec"]["source"];
    ensure!(*source == json!({"bucket": "former-logs-source", "versioning": "Managed"}), "{source}");
    Ok(())
}
