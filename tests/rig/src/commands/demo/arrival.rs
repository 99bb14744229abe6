//! The scene on objects: they stop arriving, `kubectl get br` says so and why, and after the fix they arrive again,
//! those that failed too.

use anyhow::Result;
use serde_json::Value;

use super::backfill;
use super::cloud::Object;
use super::stage::Stage;

const METRICS: &str = r#"[{"op":"add","path":"/spec/rules/0/destination/metrics","value":"Enabled"}]"#;
const OBSERVE: &str = r#"{"spec":{"managementPolicy":"Observe"}}"#;
const ENFORCE: &str = r#"{"spec":{"managementPolicy":"Enforce"}}"#;
const MESSAGE: &str = r#"jsonpath={.status.conditions[?(@.type=="Replicating")].message}"#;

/// The object that fails.
const LOST: &str = "orders/2024/0004.json";

/// Plays the scene.
pub async fn play(stage: &mut Stage<'_>) -> Result<()> {
    let name = stage.example.name.clone();
    stage.step(
        "Ask whether objects arrive",
        "Settings can be right while nothing arrives. With metrics, REPLICATING says what S3 reports about the objects.",
    );
    stage.kubectl(&["patch", "br", &name, "--type=json", "-p", METRICS]).await?;
    stage.check_now(&name, "metrics").await?;
    write(stage, "orders/2024/0003.json").await?;
    see_verdict(stage, "True", "ObjectsArriving").await?;

    stage.step(
        "Objects stop arriving",
        "The operator only observes, and someone suspends the destination's versioning: S3 then fails to replicate.",
    );
    stage.kubectl(&["patch", "br", &name, "--type=merge", "-p", OBSERVE]).await?;
    stage.cloud.suspend_destination().await?;
    stage.check_now(&name, "suspended").await?;
    write(stage, LOST).await?;
    see_verdict(stage, "False", "ObjectsFailing").await?;
    stage.check_now(&name, "why").await?;
    let message = stage.kubectl(&["get", "br", &name, "-o", MESSAGE]).await?;
    stage.see("it says why", message.contains("the likely cause") && message.contains("BucketVersioning"))?;

    stage.step(
        "Fix it, and replicate what failed",
        "S3 never tries a failed object again. A backfill replicates it, and the count of failures begins again.",
    );
    stage.kubectl(&["patch", "br", &name, "--type=merge", "-p", ENFORCE]).await?;
    stage.kubectl(&["wait", "--for=condition=InSync", &format!("br/{name}"), "--timeout=30s"]).await?;
    stage.see(&format!("{LOST} is not at the destination"), stage.cloud.replica(LOST).await?.is_none())?;
    backfill::replicate_failed(stage).await?;
    stage.see("now it is", stage.cloud.replica(LOST).await?.is_some())?;
    write(stage, "orders/2024/0005.json").await?;
    see_verdict(stage, "True", "ObjectsArriving").await
}

async fn write(stage: &Stage<'_>, key: &str) -> Result<()> {
    let body = r#"{"order": 2}"#.to_owned();
    let object = Object { key: key.to_owned(), body, metadata: [].into(), tags: [].into() };
    stage.cloud.write(&object).await?;
    stage.show(&format!("source       {object}"));
    Ok(())
}

/// Waits until `Replicating` has this status and reason, and shows the resource.
async fn see_verdict(stage: &Stage<'_>, status: &str, reason: &str) -> Result<()> {
    let what = format!("Replicating is {status}, because of {reason}");
    stage
        .until(&what, async || {
            let resource = stage.resource().await?;
            let found = rig::world::condition(&resource["status"], "Replicating").cloned();
            let found = found.unwrap_or(Value::Null);
            Ok((found["status"] == status && found["reason"] == reason).then_some(()))
        })
        .await?;
    stage.kubectl(&["get", "br"]).await?;
    stage.see(&what, true)
}
