//! The obstacles to the beginning of a backfill. The message of each says what to do, and each ends without a request.

use anyhow::{Context, Result};
use rig::world::World;
use serde_json::{Value, json};

use super::{BACKFILL, apply, backfill, job_id, put, scene_with_objects, wait_reason};
use crate::support::{NAME, Scene, message, operator_of, patch_account, reason, replication};

#[tokio::test]
async fn a_replication_that_is_not_ready_holds_its_backfill_up_until_it_is() -> Result<()> {
    let scene = scene_with_objects("backfill-unready", &["one"]).await?;
    let world = &scene.world;
    for (spec, says) in [
        (json!({"suspend": true}), "suspended"),
        (json!({"suspend": false, "managementPolicy": "Observe"}), "only observed"),
    ] {
        scene.patch_spec(spec).await?;
        apply(world, BACKFILL, json!({})).await?;
        let wanted = |status: &Value| {
            reason(status, "Ready") == "ReplicationNotReady" && message(status, "Ready").contains(says)
        };
        world.wait_backfill(BACKFILL, wanted, says).await?;
    }
    assert!(world.jobs().all().await?.is_empty());
    scene.patch_spec(json!({"managementPolicy": "Enforce"})).await?;
    job_id(world).await?;
    world.jobs().only().await?;
    Ok(())
}

#[tokio::test]
async fn a_backfill_waits_after_the_operators_own_write_of_the_configuration() -> Result<()> {
    let scene = Scene::named("backfill-settle").ready().await?;
    put(&scene, "one").await?;
    let world = &scene.world;
    apply(world, BACKFILL, json!({})).await?;
    let status = wait_reason(world, "Settling").await?;
    let text = message(&status, "Ready");
    assert!(text.contains(&scene.source) && text.contains("--backfill-settle"), "{text}");
    assert!(world.jobs().all().await?.is_empty());
    Ok(())
}

/// A world with one account, and a replication and a backfill under it.
pub async fn under_account(name: &str) -> Result<(World, String, rig::Operator)> {
    let world = World::with_accounts(name).await?;
    let operator = operator_of(&world).args(["--backfill-settle", "0"]).start().await?;
    let account = world.unique(name);
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let manifest = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "AwsAccount",
        "metadata": {"name": account},
        "spec": {
            "accountId": world.account,
            "namespaces": {"matchNames": [world.namespace]},
            "sources": [source],
            "destinations": [destination],
        },
    });
    world.apply(&manifest.to_string()).await?;
    let mut resource = replication(NAME, &source, &destination);
    resource["spec"]["source"]["accountRef"] = json!(account);
    world.apply(&resource.to_string()).await?;
    world.wait_ready(NAME).await?;
    Ok((world, account, operator))
}

#[tokio::test]
async fn an_account_that_does_not_allow_backfills_refuses_them_until_it_does() -> Result<()> {
    let (world, account, _operator) = under_account("backfill-allowed").await?;
    world.proxy.clear();
    apply(&world, BACKFILL, json!({})).await?;
    let status = wait_reason(&world, "NotAllowed").await?;
    let text = message(&status, "Ready");
    assert!(text.contains("spec.allow") && text.contains(&account), "{text}");
    assert!(world.proxy.calls().iter().all(|call| call.service != "s3control"));
    patch_account(&world, &account, json!({"spec": {"allow": ["Backfill"]}})).await?;
    job_id(&world).await?;
    Ok(())
}

#[tokio::test]
async fn a_report_goes_only_into_a_bucket_that_the_account_lists() -> Result<()> {
    let (world, account, _operator) = under_account("backfill-report-bucket").await?;
    patch_account(&world, &account, json!({"spec": {"allow": ["Backfill"]}})).await?;
    apply(&world, BACKFILL, json!({"report": {"bucket": "payroll"}})).await?;
    let status = wait_reason(&world, "NotAllowed").await?;
    assert!(message(&status, "Ready").contains("report.bucket"), "{status:#}");
    assert!(world.jobs().all().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn an_existing_role_is_checked_and_never_written() -> Result<()> {
    let scene = scene_with_objects("backfill-own-role", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let arn = format!("arn:aws:iam::{}:role/batch", world.account);
    apply(world, BACKFILL, json!({"role": {"arn": arn}})).await?;
    wait_reason(world, "RoleNotFound").await?;
    let trust = |service: &str| {
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": {"Service": service}}]})
        .to_string()
    };
    let iam = world.iam();
    iam.create_role()
        .role_name("batch")
        .assume_role_policy_document(trust("s3.amazonaws.com"))
        .send()
        .await?;
    wait_reason(world, "RoleNotTrusted").await?;
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let put = iam.put_role_policy().role_name("batch").policy_name("all").policy_document(policy.to_string());
    put.send().await?;
    let trusted = trust("batchoperations.s3.amazonaws.com");
    iam.update_assume_role_policy().role_name("batch").policy_document(trusted).send().await?;
    super::patch(world, json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": "now"}}}))
        .await?;
    let id = job_id(world).await?;
    let done = super::finish(world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "Completed", "{done:#}");
    let role = world.iam().get_role().role_name("batch").send().await?;
    assert_eq!(role.role().context("the role is gone")?.arn(), arn);
    Ok(())
}

#[tokio::test]
async fn a_backfill_of_no_replication_says_so() -> Result<()> {
    let scene = Scene::named("backfill-alone").empty().await?;
    let world = &scene.world;
    let mut object = backfill(BACKFILL, json!({}));
    object["spec"]["replicationRef"]["name"] = json!("nothing");
    world.apply(&object.to_string()).await?;
    let status = wait_reason(world, "ReplicationNotReady").await?;
    let text = message(&status, "Ready");
    assert!(text.contains("nothing") && text.contains("kubectl get br"), "{text}");
    Ok(())
}
