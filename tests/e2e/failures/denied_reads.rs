//! AWS denies the operator one read of a resource that was Ready, and it still corrects what does not need the read. A
//! read that is optional fails otherwise: it is named, and made again soon.

use anyhow::{Context, Result};
use rig::proxy::{Answer, Fault, Matcher};
use serde_json::{Value, json};

use crate::support::{
    DESTINATION_REGION, NAME, POLICY, ROLE, SOURCE_REGION, Scene, decode_policy, message, reason,
};

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

fn success(body: String) -> Answer {
    Answer::Custom { status: 200, headers: Vec::new(), body }
}

/// The status of a condition of the resource.
fn state<'a>(status: &'a Value, about: &str) -> &'a str {
    let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == about);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

#[tokio::test]
async fn a_new_role_may_read_locks_while_s3_does_not_say_whether_there_are_any() -> Result<()> {
    let scene = impatient("unread-locks").empty().await?;
    let matching = || Matcher::operation("GetObjectLockConfiguration");
    let fault = scene.world.proxy.inject(Fault::always(matching(), Answer::slow_down()));
    scene.apply(|_| {}).await?;
    let status = scene.world.wait_ready(NAME).await?["status"].clone();
    assert_eq!((state(&status, "RoleReady"), reason(&status, "RoleReady")), ("Unknown", "Throttled"));
    let text = message(&status, "RoleReady");
    for part in ["s3:GetBucketObjectLockConfiguration", &scene.source] {
        assert!(text.contains(part), "{text}");
    }
    let policy = async || {
        let held = scene.world.iam().get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
        anyhow::Ok(decode_policy(held.policy_document())?.to_string())
    };
    assert!(policy().await?.contains("s3:GetObjectRetention"));

    // It is read again without a request, long before the interval is over. The bucket turns out to have none.
    scene.world.proxy.remove(fault);
    let is_known =
        |status: &Value| state(status, "RoleReady") == "True" && reason(status, "Ready") == "Applied";
    let status = scene.world.wait(NAME, is_known, "to be known").await?["status"].clone();
    assert!(status["lastCorrection"].is_null(), "nobody else changed it: {status:#}");
    assert!(!policy().await?.contains("s3:GetObjectRetention"));
    Ok(())
}

#[tokio::test]
async fn a_configuration_waits_until_the_state_of_a_new_key_can_be_read() -> Result<()> {
    let scene = impatient("unread-key").empty().await?;
    let key = format!("arn:aws:kms:{DESTINATION_REGION}:{}:key/replicas", scene.world.account);
    let matching = || Matcher::operation("DescribeKey");
    let body = json!({"__type": "ThrottlingException", "message": "Rate exceeded"}).to_string();
    let throttled = Answer::Custom { status: 400, headers: Vec::new(), body };
    let fault = scene.world.proxy.inject(Fault::always(matching(), throttled));
    scene
        .apply(|spec| {
            spec["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
            spec["rules"][0]["destination"]["kmsKeyArn"] = json!(key);
        })
        .await?;
    let is_throttled = |status: &Value| reason(status, "Ready") == "Throttled";
    let status = scene.world.wait(NAME, is_throttled, "to be throttled").await?["status"].clone();
    let text = message(&status, "ReplicationReady");
    assert!(text.contains("kms:DescribeKey") && text.contains(&key), "{text}");
    assert!(scene.world.proxy.writes().is_empty(), "{:?}", scene.world.proxy.writes());

    let metadata = |state: &str| {
        let metadata = json!({"KeyId": "replicas", "Arn": key, "KeyState": state, "KeyManager": "CUSTOMER"});
        success(json!({"KeyMetadata": metadata}).to_string())
    };
    scene.world.proxy.remove(fault);
    let fault = scene.world.proxy.inject(Fault::always(matching(), metadata("PendingDeletion")));
    let is_refused = |status: &Value| message(status, "Ready").contains("PendingDeletion");
    scene.world.wait(NAME, is_refused, "to be refused").await?;
    assert!(scene.world.proxy.writes().is_empty(), "{:?}", scene.world.proxy.writes());

    scene.world.proxy.remove(fault);
    scene.world.proxy.inject(Fault::always(matching(), metadata("Enabled")));
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    Ok(())
}
