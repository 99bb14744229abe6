//! AWS denies the operator one read of a resource that was Ready: what does not need the read is still corrected.

use anyhow::{Context, Result};
use rig::proxy::{Answer, Fault, Matcher};
use serde_json::Value;

use crate::support::{NAME, POLICY, ROLE, SOURCE_REGION, Scene, decode_policy, message, reason};

use super::impatient;

/// A Ready resource. AWS has shown the operator what it wrote, and denies one read from now on.
async fn denied(name: &str, operation: &str) -> Result<Scene> {
    let scene = impatient(name).ready().await?;
    scene.check().await?;
    scene.world.proxy.inject(Fault::always(Matcher::operation(operation), Answer::access_denied()));
    Ok(scene)
}

/// The status once the operator has corrected something, and not before AWS shows it as someone else's change.
async fn corrected(scene: &Scene, action: &str, subject: &str) -> Result<Value> {
    let is_corrected = |status: &Value| status["lastCorrection"].is_object();
    let status = scene.world.wait(NAME, is_corrected, "to be corrected").await?["status"].clone();
    assert_eq!(reason(&status, "Ready"), "AccessDenied", "{status:#}");
    let text = message(&status, "Ready");
    assert!(text.contains(action) && text.contains(subject), "{text}");
    Ok(status)
}

#[tokio::test]
async fn a_configuration_is_restored_although_the_role_or_its_policy_may_not_be_read() -> Result<()> {
    for (operation, action) in [("GetRole", "iam:GetRole"), ("GetRolePolicy", "iam:GetRolePolicy")] {
        let scene = denied(&format!("denied-{}", operation.to_lowercase()), operation).await?;
        let before = scene.configuration().await?;
        scene.world.s3(SOURCE_REGION).delete_bucket_replication().bucket(&scene.source).send().await?;
        scene.check().await?;
        corrected(&scene, action, ROLE).await?;
        assert_eq!(scene.configuration().await?, before, "{operation}");
        let writes: Vec<String> = scene.world.proxy.writes().iter().map(|c| c.operation.clone()).collect();
        let last = writes.last().map(String::as_str);
        assert_eq!(last, Some("PutBucketReplication"), "{operation}: {writes:?}");
        scene.world.proxy.remove_faults();
        scene.check().await?;
        scene.world.wait_ready(NAME).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_role_gets_back_what_it_lacks_and_keeps_the_rest_while_the_configuration_may_not_be_read()
-> Result<()> {
    let scene = denied("denied-configuration", "GetBucketReplication").await?;
    let iam = scene.world.iam();
    let theirs = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::theirs/*"}]}"#;
    iam.put_role_policy().role_name(ROLE).policy_name(POLICY).policy_document(theirs).send().await?;
    scene.check().await?;
    corrected(&scene, "s3:GetReplicationConfiguration", &scene.source).await?;
    let held = iam.get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    let policy = decode_policy(held.policy_document())?.to_string();
    for part in ["s3:ReplicateObject", "arn:aws:s3:::theirs/*"] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    scene.world.proxy.remove_faults();
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    let held = iam.get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    let policy = decode_policy(held.policy_document()).context("policy")?.to_string();
    assert!(!policy.contains("theirs"), "{policy}");
    Ok(())
}
