//! Missed objects arrive, with what belongs to them.

use anyhow::{Context, Result};
use aws_sdk_s3::types::{BucketVersioningStatus, ReplicationStatus};
use rig::world::condition;
use serde_json::json;

use super::{
    BACKFILL, apply, arrived, check_job, finish, job_id, put, role_of, roles_left, scene_with_objects,
    wait_reason,
};
use crate::support::{DESTINATION_REGION, NAME, POLICY, ROLE, SOURCE_REGION, message, reason};

#[tokio::test]
async fn objects_from_before_the_rule_arrive_with_their_tags_and_metadata() -> Result<()> {
    let scene = scene_with_objects("backfill-old", &["a/1", "b/2"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    assert!(arrived(&scene).await?.is_empty(), "S3 replicates nothing from before the rule");
    apply(world, BACKFILL, json!({})).await?;

    let id = job_id(world).await?;
    let asked = jobs.only().await?;
    assert_eq!(asked["asked"]["Statuses"], json!(["NONE", "FAILED"]));
    assert_eq!(asked["asked"]["EligibleForReplication"], true);
    assert_eq!(asked["asked"]["ExpectedBucketOwner"], world.account.as_str());
    jobs.advance_to(&id, "Active").await?;
    jobs.work(&id, 1).await?;
    let running = check_job(world).await?;
    assert_eq!(reason(&running, "Ready"), "Running");
    assert_eq!(running["progress"], json!({"total": 2, "succeeded": 1, "failed": 0, "percent": "50%"}));
    assert!(condition(&running, "Reconciling").is_some(), "kstatus: in progress");

    let done = finish(world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "Completed", "{done:#}");
    assert_eq!(message(&done, "Ready"), "2 of 2 objects replicated, 0 failed");
    assert!(condition(&done, "Reconciling").is_none() && condition(&done, "Stalled").is_none());
    assert_eq!(arrived(&scene).await?, ["a/1", "b/2"]);
    let s3 = world.s3(DESTINATION_REGION);
    let replica = s3.get_object().bucket(&scene.destination).key("a/1").send().await?;
    assert_eq!(replica.metadata().and_then(|held| held.get("origin")).map(String::as_str), Some("before"));
    let tags = s3.get_object_tagging().bucket(&scene.destination).key("a/1").send().await?;
    assert_eq!(tags.tag_set().iter().map(|tag| tag.value()).collect::<Vec<_>>(), ["data"]);
    assert!(roles_left(world).await?.is_empty(), "the role was made for the job and goes with it");
    Ok(())
}

#[tokio::test]
async fn objects_that_failed_arrive_after_the_cause_is_corrected() -> Result<()> {
    let scene = scene_with_objects("backfill-failed", &[]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    // Not the state before the operator's own write, which would be taken for an answer of IAM from before it.
    let nothing = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListAllMyBuckets","Resource":"*"}]}"#;
    let policy = world.iam().put_role_policy().role_name(ROLE).policy_name(POLICY);
    policy.policy_document(nothing).send().await?;
    put(&scene, "lost").await?;
    let head = world.s3(SOURCE_REGION).head_object().bucket(&scene.source).key("lost").send().await?;
    assert_eq!(head.replication_status(), Some(&ReplicationStatus::Failed));
    scene.check().await?;

    apply(world, BACKFILL, json!({"statuses": ["Failed"]})).await?;
    let id = job_id(world).await?;
    let done = finish(world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "Completed", "{done:#}");
    assert_eq!(arrived(&scene).await?, ["lost"]);
    let head = world.s3(SOURCE_REGION).head_object().bucket(&scene.source).key("lost").send().await?;
    assert_eq!(head.replication_status(), Some(&ReplicationStatus::Completed));
    Ok(())
}

#[tokio::test]
async fn only_objects_of_the_prefixes_and_statuses_are_replicated_and_the_rest_is_nothing_to_do() -> Result<()>
{
    let scene = scene_with_objects("backfill-some", &["a/1", "b/2"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, BACKFILL, json!({"prefixes": ["a/"]})).await?;
    let id = job_id(world).await?;
    finish(world, &jobs, &id).await?;
    assert_eq!(arrived(&scene).await?, ["a/1"]);
    super::delete(world).await?;
    super::wait_gone(world).await?;

    apply(world, BACKFILL, json!({"prefixes": ["a/"]})).await?;
    let id = job_id(world).await?;
    jobs.advance_to(&id, "Failed").await?;
    let status = check_job(world).await?;
    assert_eq!(reason(&status, "Ready"), "NothingToDo", "{status:#}");
    assert_eq!(condition(&status, "Ready").context("Ready")?["status"], "True");
    assert_eq!(arrived(&scene).await?, ["a/1"]);
    Ok(())
}

#[tokio::test]
async fn objects_that_fail_again_are_counted_and_the_message_says_where_the_report_is() -> Result<()> {
    let scene = scene_with_objects("backfill-report", &["one", "two"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let reports = world.bucket(SOURCE_REGION).await?;
    apply(world, BACKFILL, json!({"report": {"bucket": reports, "prefix": "backfill/"}})).await?;
    let id = job_id(world).await?;
    jobs.advance_to(&id, "Active").await?;
    jobs.work(&id, 1).await?;
    // The destination does not take the second object.
    world.set_versioning(DESTINATION_REGION, &scene.destination, BucketVersioningStatus::Suspended).await?;
    let done = finish(world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "CompletedWithFailures", "{done:#}");
    let text = message(&done, "Ready");
    let folder = format!("s3://{reports}/backfill/job-{id}/");
    assert!(text.contains("1 failed") && text.contains(&folder), "{text}");
    let key = format!("backfill/job-{id}/results/1.csv");
    let report = world.s3(SOURCE_REGION).get_object().bucket(&reports).key(&key).send().await?;
    let text = String::from_utf8(report.body.collect().await?.to_vec())?;
    assert!(text.contains("two") && text.contains("failed") && !text.contains("one"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_job_that_waits_for_approval_says_how_many_objects_it_has_and_what_they_cost() -> Result<()> {
    let scene = scene_with_objects("backfill-manual", &["one", "two"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, BACKFILL, json!({"approval": "Manual"})).await?;
    let id = job_id(world).await?;
    jobs.advance_to(&id, "Suspended").await?;
    let waiting = check_job(world).await?;
    assert_eq!(reason(&waiting, "Ready"), "AwaitingApproval");
    let text = message(&waiting, "Ready");
    assert!(text.contains("2 objects") && text.contains("$0.25") && text.contains("approved"), "{text}");
    check_job(world).await?;
    assert!(arrived(&scene).await?.is_empty(), "nothing runs before someone approves it");

    super::patch(world, json!({"spec": {"approved": true}})).await?;
    wait_reason(world, "Running").await?;
    assert_eq!(jobs.only().await?["status"], "Ready");
    let done = finish(world, &jobs, &id).await?;
    assert_eq!(reason(&done, "Ready"), "Completed");
    assert_eq!(arrived(&scene).await?, ["one", "two"]);
    Ok(())
}

#[tokio::test]
async fn a_second_backfill_of_a_replication_waits_for_the_first() -> Result<()> {
    let scene = scene_with_objects("backfill-two", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    apply(world, "first", json!({})).await?;
    let first = |status: &serde_json::Value| status["jobId"].is_string();
    let first = world.wait_backfill("first", first, "to have a job").await?;
    apply(world, BACKFILL, json!({})).await?;
    let waiting = wait_reason(world, "Waiting").await?;
    assert!(message(&waiting, "Ready").contains("first"));
    jobs.only().await?;

    let id = first["status"]["jobId"].as_str().context("jobId")?;
    jobs.advance_to(id, "Complete").await?;
    let change = json!({"metadata": {"annotations": {"s3replication.dev/requestedAt": "now"}}});
    let change = kube::api::Patch::Merge(change);
    world.backfills().patch("first", &kube::api::PatchParams::default(), &change).await?;
    world.wait_backfill("first", |status| reason(status, "Ready") == "Completed", "Completed").await?;
    // It begins without being asked: the end of the first wakes it.
    job_id(world).await?;
    assert_eq!(jobs.all().await?.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_calls_before_a_job_are_few_and_each_check_is_one() -> Result<()> {
    let scene = scene_with_objects("backfill-cost", &["one"]).await?;
    let (world, jobs) = (&scene.world, scene.world.jobs());
    let about = |calls: Vec<rig::Call>| -> Vec<String> {
        let ours = |call: &rig::Call| call.subject == role_of(world) || call.service == "s3control";
        calls.into_iter().filter(ours).map(|call| call.operation).collect()
    };
    world.proxy.clear();
    apply(world, BACKFILL, json!({})).await?;
    let id = job_id(world).await?;
    let before = about(world.proxy.calls());
    assert_eq!(before, ["GetRole", "CreateRole", "PutRolePolicy", "CreateJob"]);
    world.proxy.clear();
    check_job(world).await?;
    check_job(world).await?;
    assert_eq!(about(world.proxy.calls()), ["DescribeJob", "DescribeJob"]);
    world.proxy.clear();
    finish(world, &jobs, &id).await?;
    let end = about(world.proxy.calls());
    assert_eq!(end, ["DescribeJob", "GetRole", "DeleteRolePolicy", "DeleteRole"]);
    world.proxy.clear();
    let change = json!({"metadata": {"labels": {"seen": "true"}}});
    super::patch(world, change).await?;
    scene.check().await?;
    assert!(about(world.proxy.calls()).is_empty(), "a backfill that has ended costs nothing");
    let object = world.get(NAME).await?;
    assert!(object["status"]["configuredAt"].is_string());
    Ok(())
}
