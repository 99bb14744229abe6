//! A change that S3 refuses: the rules that replicated before go on replicating.

use anyhow::{Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use rig::proxy::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use super::impatient;
use crate::support::{DESTINATION_REGION, NAME, POLICY, ROLE, SOURCE_REGION, Scene, decode_policy, reason};

/// Writes an object into the source. Returns its replication status there.
async fn send_object(scene: &Scene, key: &str) -> Result<String> {
    let s3 = scene.world.s3(SOURCE_REGION);
    let body = ByteStream::from_static(b"order");
    s3.put_object().bucket(&scene.source).key(key).body(body).send().await?;
    let head = s3.head_object().bucket(&scene.source).key(key).send().await?;
    Ok(head.replication_status().map(|status| status.as_str().to_owned()).unwrap_or_default())
}

async fn role_policy(scene: &Scene) -> Result<String> {
    let held = scene.world.iam().get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    Ok(decode_policy(held.policy_document())?.to_string())
}

#[tokio::test]
async fn a_destination_that_s3_refuses_leaves_the_former_replication_whole() -> Result<()> {
    leaves_the_former_replication_whole("refused-change", |_, policy| policy).await
}

/// Someone wrote the role's policy by a pattern: it is no less in use.
#[tokio::test]
async fn a_destination_that_s3_refuses_leaves_what_the_role_has_by_wildcards() -> Result<()> {
    let widened = |scene: &Scene, policy: String| policy.replace(&scene.destination, "*");
    leaves_the_former_replication_whole("refused-wide", widened).await
}

/// `edit`: what someone makes of the role's policy before the change.
async fn leaves_the_former_replication_whole(
    name: &str,
    edit: impl FnOnce(&Scene, String) -> String,
) -> Result<()> {
    let scene = impatient(name).ready().await?;
    let edited = edit(&scene, role_policy(&scene).await?);
    let put = scene.world.iam().put_role_policy().role_name(ROLE).policy_name(POLICY);
    put.policy_document(edited).send().await?;
    let other = scene.world.versioned_bucket(DESTINATION_REGION).await?;
    let refused = Answer::error(400, "InvalidRequest", "This configuration is refused.");
    let fault = scene.world.proxy.inject(Fault::always(Matcher::operation("PutBucketReplication"), refused));
    let rule = json!({"id": "ReplicateToEU", "priority": 1, "destination": {"bucket": other}});
    scene.patch_spec(json!({"rules": [rule]})).await?;
    let is_refused = |status: &Value| reason(status, "Ready") == "InvalidRequest";
    scene.world.wait(NAME, is_refused, "to be refused").await?;

    let policy = role_policy(&scene).await?;
    for bucket in [&scene.destination, &other] {
        ensure!(policy.contains(&format!("arn:aws:s3:::{bucket}/*")), "{bucket} is not in {policy}");
    }
    assert_eq!(send_object(&scene, "while-refused").await?, "COMPLETED");

    scene.world.proxy.remove(fault);
    scene.check().await?;
    scene.world.wait_ready(NAME).await?;
    let policy = role_policy(&scene).await?;
    ensure!(!policy.contains(&scene.destination), "the former destination is still in {policy}");
    assert_eq!(send_object(&scene, "after").await?, "COMPLETED");
    Ok(())
}
