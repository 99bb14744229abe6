//! A requested check reads everything again, also answers that other checks remember.

use anyhow::{Result, ensure};
use rig::proxy::{Answer, Fault, Matcher};
use rig::world::{World, condition};
use serde_json::json;

use crate::support::{
    DESTINATION_REGION, NAME, POLICY, ROLE, SOURCE_REGION, Scene, decode_policy, message, operator_of,
    reason, replication,
};

fn success(body: String) -> Answer {
    Answer::Custom { status: 200, headers: Vec::new(), body }
}

#[tokio::test]
async fn object_lock_that_was_switched_on_gives_the_role_its_rights() -> Result<()> {
    let scene = Scene::named("requested-lock").ready().await?;
    let locked = "<?xml version=\"1.0\"?><ObjectLockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                  <ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let matching = Matcher::operation("GetObjectLockConfiguration");
    scene.world.proxy.inject(Fault::always(matching, success(locked.to_owned())));
    scene.check().await?;
    scene.world.wait_ready(NAME).await?;
    may_read_locks(&scene).await
}

async fn may_read_locks(scene: &Scene) -> Result<()> {
    let held = scene.world.iam().get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
    let policy = decode_policy(held.policy_document())?.to_string();
    for action in ["s3:GetObjectRetention", "s3:GetObjectLegalHold"] {
        ensure!(policy.contains(action), "{action} is not in {policy}");
    }
    Ok(())
}

/// S3 does not replicate locked objects without these rights.
#[tokio::test]
async fn rights_for_object_lock_stay_while_it_cannot_be_read() -> Result<()> {
    let world = World::new("unread-lock").await?;
    let (source, destination) = (world.bucket_name(), world.bucket(DESTINATION_REGION).await?);
    let s3 = world.s3(SOURCE_REGION);
    s3.create_bucket().bucket(&source).object_lock_enabled_for_bucket(true).send().await?;
    let first = operator_of(&world).start().await?;
    world.apply(&replication(NAME, &source, &destination).to_string()).await?;
    world.wait_ready(NAME).await?;
    let mut scene = Scene { world, operator: first, source, destination };
    may_read_locks(&scene).await?;
    for answer in [Answer::error(403, "AccessDenied", "no"), Answer::slow_down()] {
        let unreadable = Matcher::operation("GetObjectLockConfiguration");
        scene.world.proxy.remove_faults();
        scene.world.proxy.inject(Fault::always(unreadable, answer));
        scene.check().await?;
        may_read_locks(&scene).await?;
        // A process that remembers no earlier answer.
        let next = operator_of(&scene.world).start().await?;
        std::mem::replace(&mut scene.operator, next).terminate().await?;
        scene.check().await?;
        scene.world.wait_ready(NAME).await?;
        may_read_locks(&scene).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_scheduled_for_deletion_is_seen() -> Result<()> {
    let scene = Scene::named("requested-key").empty().await?;
    let key = format!("arn:aws:kms:{DESTINATION_REGION}:{}:key/replicas", scene.world.account);
    let describe = |state: &str| {
        let metadata = json!({"KeyId": "replicas", "Arn": key, "KeyState": state, "KeyManager": "CUSTOMER"});
        success(json!({"KeyMetadata": metadata}).to_string())
    };
    let matching = || Matcher::operation("DescribeKey");
    let enabled = scene.world.proxy.inject(Fault::always(matching(), describe("Enabled")));
    scene
        .apply(|spec| {
            spec["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
            spec["rules"][0]["destination"]["kmsKeyArn"] = json!(key);
        })
        .await?;
    scene.world.wait_ready(NAME).await?;
    let before = scene.configuration().await?;

    scene.world.proxy.remove(enabled);
    let pending = scene.world.proxy.inject(Fault::always(matching(), describe("PendingDeletion")));
    let status = scene.check().await?;
    let ready = condition(&status, "Ready").map(|ready| ready["status"].clone());
    assert_eq!(ready, Some(json!("False")), "{status:#}");
    let text = message(&status, "Ready");
    ensure!(text.contains(&key) && text.contains("PendingDeletion"), "{text}");
    assert_eq!(scene.configuration().await?, before, "the configuration is left as it is");

    scene.world.proxy.remove(pending);
    scene.world.proxy.inject(Fault::always(matching(), describe("Enabled")));
    let status = scene.check().await?;
    assert_eq!(reason(&status, "Ready"), "Applied", "{status:#}");
    Ok(())
}
