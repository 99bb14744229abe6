//! The scene on a backfill: an object from before the rule, one job, its progress, and the object at the destination.

use anyhow::{Context, Result};
use rig::jobs::Jobs;
use rig::paths;
use serde_json::{Value, json};

use super::cloud::Object;
use super::stage::{ACCOUNT, Stage};

/// The object that is there before the rule.
pub const OLD: &str = "orders/2023/0001.json";

const NAME: &str = "missed";
const MESSAGE: &str = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;

/// Writes the object that the scene is about. There is no rule yet.
pub async fn prepare(stage: &Stage<'_>) -> Result<()> {
    let object = Object {
        key: OLD.to_owned(),
        body: r#"{"order": 0}"#.to_owned(),
        metadata: [("written-by".to_owned(), "the past".to_owned())].into(),
        tags: [("team".to_owned(), "data".to_owned())].into(),
    };
    stage.cloud.write(&object).await
}

/// Plays the scene.
pub async fn play(stage: &mut Stage<'_>) -> Result<()> {
    stage.step(
        "Replicate what was there before",
        "S3 never replicates objects from before a rule. A ReplicationBackfill starts one S3 Batch Replication job for them.",
    );
    stage.see(&format!("{OLD} is not at the destination"), stage.cloud.replica(OLD).await?.is_none())?;
    let manifest = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "ReplicationBackfill",
        "metadata": {"name": NAME},
        "spec": {"replicationRef": {"name": stage.example.name}, "approval": "Manual"},
    });
    let file = paths::scratch_dir("backfill")?.join("backfill.yaml");
    std::fs::write(&file, serde_saphyr::to_string(&manifest)?)?;
    stage.kubectl(&["apply", "-f", &file.to_string_lossy()]).await?;
    let jobs = Jobs::new(&stage.emulator_url(), ACCOUNT);
    job_id(stage).await?;
    until_job_is(stage, "Suspended").await?;
    request_check(stage, "listed").await?;
    let message = stage.kubectl(&["get", "rbf", NAME, "-o", MESSAGE]).await?;
    stage.see(
        "it says how many objects are missing, and what they cost",
        message.contains("1 object") && message.contains('$'),
    )?;

    stage.kubectl(&["patch", "rbf", NAME, "--type=merge", "-p", r#"{"spec":{"approved":true}}"#]).await?;
    until_job_is(stage, "Complete").await?;
    request_check(stage, "done").await?;
    stage.kubectl(&["get", "rbf"]).await?;
    let (replica, status) = stage.cloud.replica(OLD).await?.context("the object has not arrived")?;
    stage.show(&format!("destination  {replica}, {status}"));
    stage.see("the object is there, with its tags", status == "REPLICA" && !replica.tags.is_empty())?;
    let all = jobs.all().await?;
    stage.see("there was one job, and the role that was made for it is gone", all.len() == 1)?;
    stage.kubectl(&["delete", "rbf", NAME, "--timeout=30s"]).await.map(drop)
}

/// Replicates the objects that failed, without approval.
pub async fn replicate_failed(stage: &Stage<'_>) -> Result<()> {
    let manifest = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "ReplicationBackfill",
        "metadata": {"name": NAME},
        "spec": {"replicationRef": {"name": stage.example.name}, "statuses": ["Failed"]},
    });
    let file = paths::scratch_dir("backfill")?.join("failed.yaml");
    std::fs::write(&file, serde_saphyr::to_string(&manifest)?)?;
    stage.kubectl(&["apply", "-f", &file.to_string_lossy()]).await?;
    job_id(stage).await?;
    until_job_is(stage, "Complete").await?;
    request_check(stage, "failed").await?;
    stage.kubectl(&["get", "rbf"]).await?;
    stage.kubectl(&["delete", "rbf", NAME, "--timeout=30s"]).await.map(drop)
}

/// The id of the job, once there is one.
async fn job_id(stage: &Stage<'_>) -> Result<String> {
    stage
        .until("a job", async || {
            let object = stage.object("rbf", NAME).await?;
            Ok(object.pointer("/status/jobId").and_then(Value::as_str).map(str::to_owned))
        })
        .await
}

/// Waits until the youngest job is in a state.
async fn until_job_is(stage: &Stage<'_>, state: &str) -> Result<()> {
    let jobs = Jobs::new(&stage.emulator_url(), ACCOUNT);
    let is_there =
        async || Ok(jobs.all().await?.last().is_some_and(|job| job["status"] == state).then_some(()));
    stage.until(&format!("the job to be {state}"), is_there).await
}

/// Requests a check of the job, which the operator makes every 30 seconds otherwise.
async fn request_check(stage: &Stage<'_>, request: &str) -> Result<()> {
    stage
        .kubectl(&[
            "annotate",
            "rbf",
            NAME,
            "--overwrite",
            &format!("s3replication.dev/requestedAt={request}"),
        ])
        .await?;
    let looked = format!("--for=jsonpath={{.status.lastHandledRequest}}={request}");
    stage.kubectl(&["wait", &looked, &format!("rbf/{NAME}"), "--timeout=30s"]).await.map(drop)
}
