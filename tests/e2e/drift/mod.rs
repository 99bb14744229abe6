//! Changes that someone else makes in AWS. With `Observe` the status lists each field; with `Enforce` the operator
//! corrects the field and records that. Changes of the spec, and changes that mean the same, are no drift.

mod configuration;
mod equivalence;
mod reporting;
mod requested_checks;
mod role;

use anyhow::{Context, Result};
use aws_sdk_iam::types::Tag as RoleTag;
use aws_sdk_s3::types::{BucketVersioningStatus, ReplicationConfiguration, Tag};
use rig::world::condition;
use serde_json::{Value, json};

use crate::support::{POLICY, ROLE, SOURCE_REGION, Scene, SceneBuilder, decode_policy, reason};

/// A scene whose operator tries calls again that fail. On a busy machine an answer may come too late, and no correction
/// is recorded whose answer is lost.
fn scene_named(name: &str) -> SceneBuilder<'_> {
    Scene::named(name)
}

impl Scene {
    async fn edit_configuration(&self, edit: impl FnOnce(&mut ReplicationConfiguration)) -> Result<()> {
        let mut held = self.configuration().await?;
        edit(&mut held);
        let s3 = self.world.s3(SOURCE_REGION);
        s3.put_bucket_replication().bucket(&self.source).replication_configuration(held).send().await?;
        Ok(())
    }

    async fn edit_policy(&self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let iam = self.world.iam();
        let held = iam.get_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
        let mut document = decode_policy(held.policy_document())?;
        edit(&mut document);
        self.put_policy(&document.to_string()).await
    }

    async fn put_policy(&self, document: &str) -> Result<()> {
        let iam = self.world.iam();
        iam.put_role_policy().role_name(ROLE).policy_name(POLICY).policy_document(document).send().await?;
        Ok(())
    }

    async fn put_trust(&self, document: &str) -> Result<()> {
        let iam = self.world.iam();
        iam.update_assume_role_policy().role_name(ROLE).policy_document(document).send().await?;
        Ok(())
    }

    async fn tag(&self, key: &str, value: &str) -> Result<()> {
        let tag = RoleTag::builder().key(key).value(value).build()?;
        self.world.iam().tag_role().role_name(ROLE).tags(tag).send().await?;
        Ok(())
    }

    async fn untag(&self, key: &str) -> Result<()> {
        self.world.iam().untag_role().role_name(ROLE).tag_keys(key).send().await?;
        Ok(())
    }

    async fn delete_policy(&self) -> Result<()> {
        self.world.iam().delete_role_policy().role_name(ROLE).policy_name(POLICY).send().await?;
        Ok(())
    }

    async fn suspend(&self, region: &str, bucket: &str) -> Result<()> {
        self.world.set_versioning(region, bucket, BucketVersioningStatus::Suspended).await
    }

    /// Checks a change that was just made in AWS: with Observe the status lists it and nothing is written; with Enforce
    /// it is corrected and recorded. Leaves the resource with Observe.
    async fn check_reported_and_corrected(
        &self,
        what: &str,
        about: &str,
        expected: Vec<Value>,
    ) -> Result<()> {
        let expected = Value::Array(expected);
        let count = expected.as_array().map_or(0, Vec::len);
        self.world.proxy.clear();
        let seen = self.check().await?;
        assert_eq!(seen["drift"], expected, "{what}");
        assert_eq!(seen["driftCount"], count, "{what}");
        for condition_type in ["Ready", about, "InSync"] {
            let found = condition(&seen, condition_type).with_context(|| format!("no {condition_type}"))?;
            assert_eq!(
                (&found["status"], &found["reason"]),
                (&json!("False"), &json!("Drifted")),
                "{what}: {found}"
            );
        }
        assert!(
            self.world.proxy.writes().is_empty(),
            "{what}: written in Observe mode: {:?}",
            self.world.proxy.writes()
        );

        let corrected = self.manage("Enforce").await?;
        assert_eq!(corrected["drift"], Value::Null, "{what}");
        assert_eq!(corrected["driftCount"], 0, "{what}");
        assert_eq!(corrected["lastCorrection"]["items"], expected, "{what}");
        assert_eq!(corrected["lastCorrection"]["count"], count, "{what}");
        assert!(!self.world.proxy.writes().is_empty(), "{what}: nothing was written in Enforce mode");

        let after = self.manage("Observe").await?;
        assert_in_sync(&after, what);
        assert_eq!(after["lastCorrection"], corrected["lastCorrection"], "{what}: it stays to be seen");
        Ok(())
    }
}

fn assert_in_sync(status: &Value, what: &str) {
    assert_eq!(reason(status, "Ready"), "Applied", "{what}: {status:#}");
    assert_eq!(reason(status, "InSync"), "Applied", "{what}: {status:#}");
    assert_eq!((&status["drift"], &status["driftCount"]), (&Value::Null, &json!(0)), "{what}");
}

/// An entry of `status.drift`.
fn differs(resource: &str, name: &str, path: impl Into<String>, want: &str, got: &str) -> Value {
    json!({"resource": resource, "name": name, "path": path.into(), "want": want, "got": got})
}

/// A statement of a policy by its Sid.
fn statement<'a>(policy: &'a mut Value, sid: &str) -> &'a mut Value {
    policy["Statement"].as_array_mut().unwrap().iter_mut().find(|s| s["Sid"] == sid).unwrap()
}

/// An edit, and the drift entries that it causes.
struct Edit<T> {
    what: &'static str,
    make: Box<dyn FnOnce(&mut T)>,
    expected: Vec<Value>,
}

fn edit<T>(what: &'static str, expected: Vec<Value>, make: impl FnOnce(&mut T) + 'static) -> Edit<T> {
    Edit { what, make: Box::new(make), expected }
}

fn eu(configuration: &mut ReplicationConfiguration) -> &mut aws_sdk_s3::types::ReplicationRule {
    configuration.rules.iter_mut().find(|r| r.id() == Some("ReplicateToEU")).unwrap()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}
