//! Each change that the operator takes from events: nothing is read in the minute before, and the change is corrected,
//! reported or at least read again within seconds of its event.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_iam::types::Tag;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ObjectLockConfiguration, ObjectLockEnabled, ReplicationRuleStatus,
    VersioningConfiguration,
};
use rig::Clients;
use rig::proxy::{Call, TrailFaults, event};
use rig::world::{DEADLINE, World};
use s3_replication_operator::replication::events::EventName;
use serde_json::{Value, json};
use strum::VariantArray;

use super::{EventScene, TwoAccounts, with_queue};
use crate::support::{DESTINATION_REGION, POLICY, SOURCE_REGION, message, reason};

/// Longer than the interval of polling with its jitter.
const IDLE: Duration = Duration::from_secs(70);

const BOUNDARY: &str = "arn:aws:iam::aws:policy/ReadOnlyAccess";

/// How the operator shows that it saw a change.
enum Seen {
    /// The status records a correction, and that nothing differs any more.
    Corrected,
    /// The status is as wanted.
    Reported(fn(&Value) -> bool),
    /// A call whose operation and subject these are: the check found nothing to report, or wrote what is needed now.
    Called(&'static str, String),
}

/// A resource that one change concerns, and what belongs to it.
struct Subject {
    change: EventName,
    source: String,
    destination: String,
    /// The key of its replicas, where the change is one of a key.
    key: Option<String>,
}

impl Subject {
    fn name(&self) -> String {
        self.change.as_str().to_lowercase()
    }

    fn role(&self) -> String {
        format!("{}-role", self.name())
    }

    /// Makes what the change needs, past the proxy.
    async fn new(change: EventName, world: &World, accounts: &TwoAccounts) -> Result<Subject> {
        let (source, destination) = accounts.buckets(world).await?;
        let key = match change.service().as_str() {
            "kms" => {
                let kms = world.as_account(&accounts.abroad_id).kms(DESTINATION_REGION);
                // A key without material, which the emulator can be asked to delete.
                let imported = change == EventName::DeleteImportedKeyMaterial;
                let origin = imported.then_some(aws_sdk_kms::types::OriginType::External);
                let created = kms.create_key().set_origin(origin).send().await?;
                Some(created.key_metadata().and_then(|key| key.arn()).context("no key")?.to_owned())
            }
            _ => None,
        };
        Ok(Subject { change, source, destination, key })
    }

    fn resource(&self, accounts: &TwoAccounts) -> Value {
        let mut resource = accounts.replication(&self.name(), &self.source, &self.destination);
        let spec = &mut resource["spec"];
        match self.change {
            EventName::TagRole | EventName::UntagRole => spec["role"]["tags"] = json!({"team": "data"}),
            EventName::DeleteRolePermissionsBoundary => spec["role"]["permissionsBoundary"] = json!(BOUNDARY),
            EventName::CreateRole => {
                spec["managementPolicy"] = json!("Observe");
                spec["interval"] = json!("24h");
            }
            _ => {}
        }
        if let Some(key) = &self.key {
            spec["rules"][0]["kmsEncryptedObjects"] = json!("Enabled");
            spec["rules"][0]["destination"]["kmsKeyArn"] = json!(key);
            // No event can prove KMS, and a resource that is not Ready depends on nothing that could be proved.
            spec["interval"] = json!("24h");
        }
        resource
    }

    /// Brings about what the change ends, past the proxy: no event announces it.
    async fn prepare(&self, world: &World, accounts: &TwoAccounts) -> Result<()> {
        let kms = world.as_account(&accounts.abroad_id).kms(DESTINATION_REGION);
        let key = self.key.as_deref().unwrap_or_default();
        match self.change {
            EventName::EnableKey => drop(kms.disable_key().key_id(key).send().await?),
            EventName::CancelKeyDeletion => drop(kms.schedule_key_deletion().key_id(key).send().await?),
            _ => {}
        }
        Ok(())
    }

    /// Makes the change, as somebody at home and somebody abroad do.
    async fn change(&self, scene: &EventScene, home: &Clients, abroad: &Clients) -> Result<()> {
        let (s3, theirs, iam) = (home.s3(SOURCE_REGION), abroad.s3(DESTINATION_REGION), home.iam());
        let kms = abroad.kms(DESTINATION_REGION);
        let (source, destination, role) = (&self.source, &self.destination, self.role());
        let key = self.key.as_deref().unwrap_or_default();
        let document = |principal: &str| {
            json!({"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"},
            ]})
            .to_string()
        };
        let nothing = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": format!("arn:aws:s3:::{source}")},
        ]})
        .to_string();
        match self.change {
            // In us-east-1 the owner of a bucket may create it again, and nothing changes.
            EventName::CreateBucket => drop(s3.create_bucket().bucket(source).send().await?),
            EventName::DeleteBucket => drop(s3.delete_bucket().bucket(source).send().await?),
            EventName::PutBucketVersioning => {
                let suspended =
                    VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
                let request = theirs.put_bucket_versioning().bucket(destination);
                request.versioning_configuration(suspended).send().await?;
            }
            EventName::PutBucketReplication => {
                let read =
                    scene.world.s3(SOURCE_REGION).get_bucket_replication().bucket(source).send().await?;
                let mut held = read.replication_configuration.context("no configuration")?;
                held.rules.iter_mut().for_each(|rule| rule.status = ReplicationRuleStatus::Disabled);
                let request = s3.put_bucket_replication().bucket(source);
                request.replication_configuration(held).send().await?;
            }
            EventName::DeleteBucketReplication => {
                s3.delete_bucket_replication().bucket(source).send().await?;
            }
            EventName::PutBucketPolicy => {
                let other = json!({"Version": "2012-10-17", "Statement": [{
                    "Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket",
                    "Resource": format!("arn:aws:s3:::{destination}"),
                }]});
                theirs.put_bucket_policy().bucket(destination).policy(other.to_string()).send().await?;
            }
            EventName::DeleteBucketPolicy => {
                theirs.delete_bucket_policy().bucket(destination).send().await?;
            }
            EventName::PutObjectLockConfiguration => lock(&s3, source).await?,
            EventName::PutBucketObjectLockConfiguration => {
                lock(&scene.world.s3(SOURCE_REGION), source).await?;
                self.send_by_hand(scene).await?;
            }
            EventName::CreateRole => {
                let trust = document("s3.amazonaws.com");
                iam.create_role().role_name(role).assume_role_policy_document(trust).send().await?;
            }
            EventName::DeleteRole => {
                // Only the event of the second call is to be seen.
                scene.world.iam().delete_role_policy().role_name(&role).policy_name(POLICY).send().await?;
                iam.delete_role().role_name(&role).send().await?;
            }
            EventName::UpdateAssumeRolePolicy => {
                let trust = document("ec2.amazonaws.com");
                iam.update_assume_role_policy().role_name(role).policy_document(trust).send().await?;
            }
            EventName::PutRolePolicy => {
                let request = iam.put_role_policy().role_name(role).policy_name(POLICY);
                request.policy_document(nothing).send().await?;
            }
            EventName::DeleteRolePolicy => {
                iam.delete_role_policy().role_name(role).policy_name(POLICY).send().await?;
            }
            EventName::TagRole => {
                let tag = Tag::builder().key("team").value("sales").build()?;
                iam.tag_role().role_name(role).tags(tag).send().await?;
            }
            EventName::UntagRole => drop(iam.untag_role().role_name(role).tag_keys("team").send().await?),
            EventName::PutRolePermissionsBoundary => {
                let request = iam.put_role_permissions_boundary().role_name(role);
                request.permissions_boundary(BOUNDARY).send().await?;
            }
            EventName::DeleteRolePermissionsBoundary => {
                iam.delete_role_permissions_boundary().role_name(role).send().await?;
            }
            EventName::DisableKey => drop(kms.disable_key().key_id(key).send().await?),
            EventName::EnableKey => drop(kms.enable_key().key_id(key).send().await?),
            EventName::ScheduleKeyDeletion => {
                kms.schedule_key_deletion().key_id(key).send().await?;
            }
            EventName::CancelKeyDeletion => drop(kms.cancel_key_deletion().key_id(key).send().await?),
            EventName::PutKeyPolicy => {
                kms.put_key_policy().key_id(key).policy(nothing).send().await?;
            }
            EventName::DeleteImportedKeyMaterial => {
                kms.delete_imported_key_material().key_id(key).send().await?;
            }
        }
        Ok(())
    }

    /// Sends the event of a change that the emulator knows by another name.
    async fn send_by_hand(&self, scene: &EventScene) -> Result<()> {
        let calls = scene.world.proxy.calls();
        let like = calls.iter().find(|call| call.service == "s3" && call.region == SOURCE_REGION);
        let operation = self.change.as_str().to_owned();
        let access_key = "ASIASOMEBODY".to_owned();
        let call =
            Call { operation, subject: self.source.clone(), access_key, ..like.context("no call")?.clone() };
        let sqs = scene.world.as_account(&scene.world.account).sqs(SOURCE_REGION);
        let body = event(&call, None).to_string();
        sqs.send_message().queue_url(&scene.queue).message_body(body).send().await?;
        Ok(())
    }

    fn seen(&self) -> Seen {
        let key = || self.key.clone().unwrap_or_default();
        match self.change {
            EventName::CreateBucket => Seen::Called("GetBucketVersioning", self.source.clone()),
            EventName::DeleteBucket => Seen::Reported(|s| reason(s, "Ready") == "SourceBucketNotFound"),
            // The role must read the retention of objects from now on.
            EventName::PutObjectLockConfiguration | EventName::PutBucketObjectLockConfiguration => {
                Seen::Called("PutRolePolicy", self.role())
            }
            // It has none of the operator's tags.
            EventName::CreateRole => {
                Seen::Reported(|s| s["drift"].to_string().contains("tags.s3replication.dev/uid"))
            }
            EventName::DisableKey => Seen::Reported(|s| message(s, "Ready").contains("Disabled")),
            EventName::EnableKey => Seen::Reported(|s| reason(s, "Ready") == "Applied"),
            EventName::ScheduleKeyDeletion => {
                Seen::Reported(|s| message(s, "Ready").contains("PendingDeletion"))
            }
            // AWS leaves the key disabled.
            EventName::CancelKeyDeletion => Seen::Reported(|s| message(s, "Ready").contains("Disabled")),
            EventName::PutKeyPolicy | EventName::DeleteImportedKeyMaterial => {
                Seen::Called("DescribeKey", key())
            }
            EventName::PutBucketVersioning
            | EventName::PutBucketReplication
            | EventName::DeleteBucketReplication
            | EventName::PutBucketPolicy
            | EventName::DeleteBucketPolicy
            | EventName::DeleteRole
            | EventName::UpdateAssumeRolePolicy
            | EventName::PutRolePolicy
            | EventName::DeleteRolePolicy
            | EventName::TagRole
            | EventName::UntagRole
            | EventName::PutRolePermissionsBoundary
            | EventName::DeleteRolePermissionsBoundary => Seen::Corrected,
        }
    }

    /// Waits until the operator has seen the change.
    async fn wait(&self, scene: &EventScene) -> Result<()> {
        let (world, name) = (&scene.world, self.name());
        let corrected = |status: &Value| {
            !status["lastCorrection"].is_null()
                && status["driftCount"] == 0
                && reason(status, "Ready") == "Applied"
        };
        match self.seen() {
            Seen::Corrected => world.wait(&name, corrected, "to be corrected").await.map(drop),
            Seen::Reported(wanted) => world.wait(&name, wanted, "to report the change").await.map(drop),
            Seen::Called(operation, subject) => {
                let called = |call: &Call| call.operation == operation && call.subject == subject;
                let seen = |calls: &[Call]| calls.iter().any(called);
                world.proxy.wait_for(seen, DEADLINE).await.map(drop)
            }
        }
    }

    /// The calls that name something of this resource.
    fn calls(&self, calls: &[Call]) -> Vec<String> {
        let own = [&self.source, &self.destination, &self.role()].map(String::clone);
        let concerns = |call: &&Call| {
            own.contains(&call.subject) || self.key.as_deref().is_some_and(|key| call.subject == key)
        };
        calls.iter().filter(concerns).map(ToString::to_string).collect()
    }
}

async fn lock(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<()> {
    let enabled = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build();
    s3.put_object_lock_configuration().bucket(bucket).object_lock_configuration(enabled).send().await?;
    Ok(())
}

#[tokio::test]
async fn after_an_idle_minute_without_a_call_each_change_is_seen_within_seconds_of_its_event() -> Result<()> {
    let world = World::with_accounts("event-each").await?;
    let queue = world.event_queue().await?;
    let operator = with_queue(&world, &queue).start().await?;
    let accounts = TwoAccounts::new(&world).await?;
    let scene = EventScene { world, operator, queue };
    let world = &scene.world;
    let mut subjects = Vec::new();
    for change in EventName::VARIANTS {
        let subject = Subject::new(*change, world, &accounts).await?;
        world.apply(&subject.resource(&accounts).to_string()).await?;
        subjects.push(subject);
    }
    for subject in &subjects {
        let name = subject.name();
        match subject.change {
            EventName::DeleteImportedKeyMaterial => {
                let refused = |status: &Value| message(status, "Ready").contains("PendingImport");
                world.wait(&name, refused, "to report that the key has no material").await?;
            }
            EventName::CreateRole => {
                let drifted = |status: &Value| reason(status, "Ready") == "Drifted";
                world.wait(&name, drifted, "to report that there is no role").await?;
            }
            _ => drop(world.wait_ready(&name).await?),
        }
        subject.prepare(world, &accounts).await?;
    }
    let names: Vec<String> = subjects.iter().map(Subject::name).collect();
    scene.cover(&names.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let (home, abroad) =
        (world.somebody().await?, world.as_account(&accounts.abroad_id).through(&world.proxy.url()));
    // Twice, and not in their order.
    world.proxy.set_trail_faults(TrailFaults { copies: 1, reorder: true, ..TrailFaults::default() });
    world.proxy.clear();
    // Nothing but time shows that nothing happens.
    tokio::time::sleep(IDLE).await;
    assert_eq!(world.proxy.calls().len(), 0, "{:?}", world.proxy.calls());

    // One after the other: the machine does nothing else meanwhile.
    let mut corrections = 0;
    for subject in &subjects {
        let before = subject.calls(&world.proxy.calls());
        ensure!(before.is_empty(), "{}: read without an event: {before:?}", subject.change);
        subject.change(&scene, &home, &abroad).await?;
        let unseen = || {
            let status = format!("{}: not seen after its event", subject.change);
            format!("{status}\n{:?}\n{}", subject.calls(&world.proxy.calls()), scene.operator.log())
        };
        subject.wait(&scene).await.with_context(unseen)?;
        corrections += usize::from(matches!(subject.seen(), Seen::Corrected));
    }
    let by = |by| [("by", by)];
    let least = f64::from(u32::try_from(corrections)?);
    scene.metric("drift_found_by_total", &by("event"), |n| n >= least, "to be by events").await?;
    scene.metric("drift_found_by_total", &by("poll"), |n| n == 0.0, "to be 0 by polls").await?;
    scene.metric("drift_latency_seconds_count", &[], |n| n >= least, "to be measured").await?;
    scene.metric("drift_unannounced_total", &[], |n| n == 0.0, "to be 0").await?;
    Ok(())
}
