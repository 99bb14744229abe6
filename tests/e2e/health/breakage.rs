//! Replication is broken, and fixed.

use anyhow::Result;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, NotificationConfiguration, QueueConfiguration, ServerSideEncryption,
    ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use aws_sdk_sqs::types::QueueAttributeName;
use rig::World;
use serde_json::{Value, json};

use super::{DESTINATION_REGION, OFTEN, SOURCE_REGION, Scene, publish_metrics, replicating, scene_named};
use crate::support::{NAME, ROLE, operator_of};

/// One way in which people break replication.
#[derive(Clone, Copy, Debug)]
enum Breakage {
    /// The trust policy of the role no longer names S3.
    Trust,
    /// A policy of the role denies it explicitly.
    Deny,
    /// The policy of the key that encrypts replicas names neither the role nor its account.
    KeyPolicy,
    /// The policy of the key that encrypts the source's objects names neither.
    SourceKeyPolicy,
    /// The policy of a destination in another account is removed.
    BucketPolicy,
    /// The destination is deleted.
    Gone,
    /// The versioning of the destination is suspended.
    Versioning,
}

impl Breakage {
    /// The part of the operator's own check that explains it; `None`: nothing that it reads does. `key`: the one that
    /// is closed.
    fn cause(self, key: &str) -> Option<String> {
        match self {
            Breakage::Trust => Some(format!("Role {ROLE} trustPolicy")),
            Breakage::Gone => Some("does not exist".to_owned()),
            Breakage::Versioning => Some("BucketVersioning".to_owned()),
            Breakage::KeyPolicy => Some(format!(
                "may not encrypt replicas with key {key}, because the key's policy names neither the role nor its account"
            )),
            Breakage::SourceKeyPolicy => Some(format!(
                "may not decrypt objects of the source with key {key}, because the key's policy names neither the role nor its account"
            )),
            Breakage::Deny | Breakage::BucketPolicy => None,
        }
    }

    /// Breaks replication, reads what the status says, fixes it, and reads that objects arrive again.
    async fn is_reported_and_fixed(self, name: &str) -> Result<()> {
        let broken = Broken::new(self, name).await?;
        broken.break_it().await?;
        fails(&broken.scene, self.cause(broken.closed_key().1).as_deref()).await?;
        broken.fix().await?;
        let status = broken.scene.write_until("ObjectsArriving").await?;
        assert_eq!(replicating(&status).0, "True");
        let expected = format!("objects arrive: rule ReplicateToEU to {}", broken.scene.destination);
        assert_eq!(replicating(&status).2, expected);
        assert!(status["health"]["failedSince"].is_null(), "the count begins again: {status:#}");
        assert!(status["health"]["rules"][0]["failed"].is_null(), "{status:#}");
        Ok(())
    }
}

/// A scene in which objects arrived, and that is broken in one way.
struct Broken {
    breakage: Breakage,
    scene: Scene,
    /// The account of the destination.
    abroad: String,
    /// The ARN of the key of the replicas; empty: they have none.
    key: String,
    /// The ARN of the key of the source's objects, likewise.
    source_key: String,
}

impl Broken {
    /// Objects arrive, and the operator corrects nothing.
    async fn new(breakage: Breakage, name: &str) -> Result<Broken> {
        let mut scene = scene_named(name).empty().await?;
        let (mut abroad, mut key, mut source_key) =
            (scene.world.account.clone(), String::new(), String::new());
        if let Breakage::BucketPolicy = breakage {
            abroad = scene.world.another_account();
            scene.destination = scene.world.versioned_bucket_of(&abroad, DESTINATION_REGION).await?;
        }
        if let Breakage::KeyPolicy | Breakage::SourceKeyPolicy = breakage {
            key = new_key(&scene.world, DESTINATION_REGION).await?;
        }
        if let Breakage::SourceKeyPolicy = breakage {
            source_key = new_key(&scene.world, SOURCE_REGION).await?;
            encrypt_source(&scene, &source_key).await?;
        }
        let broken = Broken { breakage, scene, abroad, key, source_key };
        let own = &broken.scene.world.account;
        if broken.abroad != *own {
            broken.put_bucket_policy().await?;
        }
        let edit = |spec: &mut Value| {
            publish_metrics(spec);
            if !broken.key.is_empty() {
                spec["rules"][0]["destination"]["kmsKeyArn"] = json!(broken.key);
                spec["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
            }
            if !broken.source_key.is_empty() {
                spec["source"]["kmsKeyArns"] = json!([broken.source_key]);
            }
            if broken.abroad != *own {
                spec["rules"][0]["destination"]["account"] = json!(broken.abroad);
            }
        };
        broken.scene.apply(edit).await?;
        broken.scene.world.wait_ready(NAME).await?;
        broken.scene.write_object("first").await?;
        let status = broken.scene.wait_verdict("ObjectsArriving").await?;
        assert_eq!(status["health"]["rules"][0]["verdict"], "Arriving", "{status:#}");
        broken.scene.manage("Observe").await?;
        Ok(broken)
    }

    async fn break_it(&self) -> Result<()> {
        let Broken { scene, abroad, .. } = self;
        let iam = scene.world.iam();
        match self.breakage {
            Breakage::Trust => {
                let nobody = json!({"Version": "2012-10-17", "Statement": [{
                    "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
                let update = iam.update_assume_role_policy().role_name(ROLE);
                update.policy_document(nobody.to_string()).send().await?;
            }
            Breakage::Deny => {
                let deny = json!({"Version": "2012-10-17", "Statement": [
                    {"Effect": "Deny", "Action": "s3:ReplicateObject", "Resource": "*"}]});
                let put = iam.put_role_policy().role_name(ROLE).policy_name("guardrail");
                put.policy_document(deny.to_string()).send().await?;
            }
            Breakage::KeyPolicy | Breakage::SourceKeyPolicy => {
                let other =
                    json!({"AWS": format!("arn:aws:iam::{}:user/administrator", scene.world.account)});
                self.put_key_policy(&other).await?;
            }
            Breakage::BucketPolicy => {
                let s3 = scene.world.as_account(abroad).s3(DESTINATION_REGION);
                s3.delete_bucket_policy().bucket(&scene.destination).send().await?;
            }
            Breakage::Gone => delete_destination(scene).await?,
            Breakage::Versioning => break_versioning(scene).await?,
        }
        Ok(())
    }

    async fn fix(&self) -> Result<()> {
        let Broken { scene, abroad, .. } = self;
        match self.breakage {
            // The operator fixes what is its own.
            Breakage::Trust => drop(scene.manage("Enforce").await?),
            Breakage::Deny => {
                let iam = scene.world.iam();
                iam.delete_role_policy().role_name(ROLE).policy_name("guardrail").send().await?;
            }
            Breakage::KeyPolicy | Breakage::SourceKeyPolicy => {
                self.put_key_policy(&self.account_root()).await?;
            }
            Breakage::BucketPolicy => self.put_bucket_policy().await?,
            Breakage::Gone => {
                scene.world.create_bucket(abroad, DESTINATION_REGION, &scene.destination).await?;
                fix_versioning(scene).await?;
            }
            Breakage::Versioning => fix_versioning(scene).await?,
        }
        Ok(())
    }

    /// Lets the role write replicas into the destination, as its owner does.
    async fn put_bucket_policy(&self) -> Result<()> {
        let Scene { world, destination, .. } = &self.scene;
        let statement = json!({
            "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{}:root", world.account)},
            "Action": ["s3:ReplicateObject", "s3:ReplicateDelete"], "Resource": format!("arn:aws:s3:::{destination}/*"),
        });
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let s3 = world.as_account(&self.abroad).s3(DESTINATION_REGION);
        s3.put_bucket_policy().bucket(destination).policy(policy).send().await?;
        Ok(())
    }

    /// The principal in the policy that KMS gives a new key.
    fn account_root(&self) -> Value {
        json!({"AWS": format!("arn:aws:iam::{}:root", self.scene.world.account)})
    }

    /// The Region and the ARN of the key that the role may no longer use.
    fn closed_key(&self) -> (&'static str, &str) {
        match self.breakage {
            Breakage::SourceKeyPolicy => (SOURCE_REGION, &self.source_key),
            _ => (DESTINATION_REGION, &self.key),
        }
    }

    /// A policy of the key that lets only these principals use it.
    async fn put_key_policy(&self, principal: &Value) -> Result<()> {
        let world = &self.scene.world;
        let statement =
            json!({"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let (region, key) = self.closed_key();
        let kms = world.as_account(&world.account).kms(region);
        kms.put_key_policy().key_id(key).policy_name("default").policy(policy).send().await?;
        Ok(())
    }
}

/// Makes a key, and returns its ARN.
async fn new_key(world: &World, region: &str) -> Result<String> {
    let made = world.as_account(&world.account).kms(region).create_key().send().await?;
    Ok(made.key_metadata().and_then(|made| made.arn()).unwrap_or_default().to_owned())
}

/// Has S3 encrypt what is written to the source with a key.
async fn encrypt_source(scene: &Scene, key: &str) -> Result<()> {
    let with_key = ServerSideEncryptionByDefault::builder();
    let with_key = with_key.sse_algorithm(ServerSideEncryption::AwsKms).kms_master_key_id(key).build()?;
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(with_key).build();
    let encryption = ServerSideEncryptionConfiguration::builder().rules(rule).build()?;
    let put = scene.world.s3(SOURCE_REGION).put_bucket_encryption().bucket(&scene.source);
    put.server_side_encryption_configuration(encryption).send().await?;
    Ok(())
}

/// Suspends the versioning of the destination.
pub(super) async fn break_versioning(scene: &Scene) -> Result<()> {
    let suspended = BucketVersioningStatus::Suspended;
    scene.world.set_versioning(DESTINATION_REGION, &scene.destination, suspended).await
}

pub(super) async fn fix_versioning(scene: &Scene) -> Result<()> {
    let enabled = BucketVersioningStatus::Enabled;
    scene.world.set_versioning(DESTINATION_REGION, &scene.destination, enabled).await
}

async fn delete_destination(scene: &Scene) -> Result<()> {
    let s3 = scene.world.s3(DESTINATION_REGION);
    let versions = s3.list_object_versions().bucket(&scene.destination).send().await?;
    for version in versions.versions() {
        let delete = s3.delete_object().bucket(&scene.destination);
        delete.set_key(version.key.clone()).set_version_id(version.version_id.clone()).send().await?;
    }
    s3.delete_bucket().bucket(&scene.destination).send().await?;
    Ok(())
}

/// Writes an object that fails, and checks what the status says of it.
async fn fails(scene: &Scene, cause: Option<&str>) -> Result<()> {
    scene.write_object("lost").await?;
    scene.wait_verdict("ObjectsFailing").await?;
    // The cause that the operator's own check finds follows.
    scene.check().await?;
    let found = |status: &Value| {
        let (_, reason, message) = replicating(status);
        let reported = message.split_once("; the likely cause: ").map(|(_, why)| why);
        let is_reported = match cause {
            Some(cause) => reported.is_some_and(|reported| reported.contains(cause)),
            // Nothing of the operator's own explains it: the message says how to learn why.
            None => reported.is_none() && message.contains("OperationFailedReplication"),
        };
        reason == "ObjectsFailing" && is_reported
    };
    let object = scene.world.wait(NAME, found, &format!("to name {cause:?}")).await?;
    let status = object["status"].clone();
    let (verdict, _, message) = replicating(&status);
    let about = format!("of rule ReplicateToEU to {} failed; ", scene.destination);
    assert!(message.starts_with("objects do not arrive: ") && message.contains(&about), "{message}");
    assert_eq!(verdict, "False");
    let rule = &status["health"]["rules"][0];
    assert_eq!((rule["verdict"].as_str(), rule["failed"].as_i64()), (Some("Failing"), Some(1)), "{rule:#}");
    assert!(status["health"]["failedSince"].is_string() && rule["lastFailure"].is_string(), "{status:#}");
    Ok(())
}

#[tokio::test]
async fn a_trust_policy_without_s3_is_reported_and_objects_arrive_again_once_it_is_fixed() -> Result<()> {
    Breakage::Trust.is_reported_and_fixed("health-trust").await
}

#[tokio::test]
async fn an_explicit_deny_on_the_role_is_reported_and_objects_arrive_again_once_it_is_gone() -> Result<()> {
    Breakage::Deny.is_reported_and_fixed("health-deny").await
}

#[tokio::test]
async fn a_key_that_does_not_name_the_role_is_reported_and_objects_arrive_again_once_it_names_its_account()
-> Result<()> {
    Breakage::KeyPolicy.is_reported_and_fixed("health-key").await
}

#[tokio::test]
async fn a_key_of_the_source_that_does_not_name_the_role_is_reported_and_objects_arrive_again_once_it_names_its_account()
-> Result<()> {
    Breakage::SourceKeyPolicy.is_reported_and_fixed("health-source-key").await
}

#[tokio::test]
async fn a_removed_policy_of_a_bucket_of_another_account_is_reported_and_objects_arrive_again_once_it_is_back()
-> Result<()> {
    Breakage::BucketPolicy.is_reported_and_fixed("health-abroad").await
}

#[tokio::test]
async fn a_missing_destination_is_reported_and_objects_arrive_again_once_it_is_back() -> Result<()> {
    Breakage::Gone.is_reported_and_fixed("health-gone").await
}

#[tokio::test]
async fn a_destination_without_versioning_is_reported_and_objects_arrive_again_once_it_has_it() -> Result<()>
{
    Breakage::Versioning.is_reported_and_fixed("health-versioning").await
}

#[tokio::test]
async fn a_correction_is_named_as_the_cause_of_failures_before_it() -> Result<()> {
    let scene = scene_named("health-corrected").ready().await?;
    scene.wait_verdict("NothingPending").await?;
    break_versioning(&scene).await?;
    scene.write_object("lost").await?;
    scene.wait_verdict("ObjectsFailing").await?;
    scene.check().await?;
    let cause = format!(
        "; the likely cause: AWS differed from the spec in BucketVersioning {} status, which the operator has corrected",
        scene.destination
    );
    let reported = |status: &Value| replicating(status).2.contains(&cause);
    scene.world.wait(NAME, reported, "to name what was corrected").await.map(drop)
}

#[tokio::test]
async fn objects_that_stay_pending_are_late_and_arrive_once_released() -> Result<()> {
    let late = |spec: &mut Value| {
        publish_metrics(spec);
        spec["health"] = json!({"maxLatency": "1m"});
    };
    let scene = scene_named("health-late").edit(late).ready().await?;
    let idle = scene.wait_verdict("NothingPending").await?;
    assert_eq!(replicating(&idle).0, "True");

    scene.world.hold_replication(&scene.source, 1234).await?;
    scene.write_object("slow").await?;
    let status = scene.wait_verdict("ObjectsDelayed").await?;
    let (verdict, _, message) = replicating(&status);
    assert_eq!(verdict, "False");
    assert!(message.contains("(1 pending, 1200 seconds behind)"), "{message}");
    assert_eq!(status["health"]["latencySeconds"], 1200, "{status:#}");

    scene.world.release_replication(&scene.source).await?;
    scene.write_until("ObjectsArriving").await.map(drop)
}

#[tokio::test]
async fn a_failure_event_gives_the_reason_of_s3_and_what_to_do() -> Result<()> {
    let world = World::new("health-event").await?;
    let queue = world.event_queue().await?;
    let operator = operator_of(&world).args(OFTEN).args(["--event-queue", queue.as_str()]).start().await?;
    let (source, destination) = (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
    let scene = Scene { world, operator, source, destination };
    send_failures(&scene, &queue).await?;
    scene.apply(publish_metrics).await?;
    scene.world.wait_ready(NAME).await?;
    scene.wait_verdict("NothingPending").await?;
    scene.manage("Observe").await?;

    break_versioning(&scene).await?;
    scene.write_object("lost").await?;
    let reported = |status: &Value| {
        replicating(status).2.contains("; S3 reports DstBucketUnversioned: the destination has no versioning")
    };
    let object = scene.world.wait(NAME, reported, "to quote S3").await?;
    let rule = &object["status"]["health"]["rules"][0];
    assert_eq!(rule["reason"], "DstBucketUnversioned", "{rule:#}");
    Ok(())
}

/// Has S3 send failure events to a queue, as a user does.
pub(super) async fn send_failures(scene: &Scene, queue: &str) -> Result<()> {
    let name = queue.rsplit('/').next().unwrap_or_default();
    let arn = format!("arn:aws:sqs:{SOURCE_REGION}:{}:{name}", scene.world.account);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}]});
    let sqs = scene.world.as_account(&scene.world.account).sqs(SOURCE_REGION);
    let set = sqs.set_queue_attributes().queue_url(queue);
    set.attributes(QueueAttributeName::Policy, policy.to_string()).send().await?;
    let failed = Event::from("s3:Replication:OperationFailedReplication");
    let to = QueueConfiguration::builder().queue_arn(arn).events(failed).build()?;
    let notification = NotificationConfiguration::builder().queue_configurations(to).build();
    let put = scene.world.s3(SOURCE_REGION).put_bucket_notification_configuration().bucket(&scene.source);
    put.notification_configuration(notification).send().await?;
    Ok(())
}
