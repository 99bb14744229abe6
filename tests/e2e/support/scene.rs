//! One resource with its buckets and its operator: the beginning of most tests.
//!
//! In: what differs from the default. Out: a world in which `orders` is applied and Ready, or everything but the
//! resource. Folders add methods of their own to `Scene`.

use anyhow::{Context, Result};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketVersioningStatus, ReplicationConfiguration};
use kube::api::DeleteParams;
use rig::operator::Operator;
use rig::world::World;
use serde_json::{Value, json};

use super::{check_now, operator_of, patch, replication, see_own_writes};

/// The name of the resource, of its role, and of the policy of that role.
pub const NAME: &str = "orders";
pub const ROLE: &str = "orders-role";
pub const POLICY: &str = "s3-replication";

pub const SOURCE_REGION: &str = "us-east-1";
pub const DESTINATION_REGION: &str = "eu-west-1";

/// A world with an operator and two buckets.
pub struct Scene {
    pub world: World,
    pub operator: Operator,
    pub source: String,
    pub destination: String,
}

/// The parts of a scene.
pub struct SceneBuilder<'a> {
    name: &'a str,
    insight: bool,
    args: Vec<&'a str>,
    edit: Box<dyn FnOnce(&mut Value) + Send + 'a>,
}

impl<'a> SceneBuilder<'a> {
    /// Lets the test count the operator's requests to Kubernetes and store objects past admission.
    pub fn with_insight(mut self) -> Self {
        self.insight = true;
        self
    }

    /// Adds arguments to `run`.
    pub fn args(mut self, args: &[&'a str]) -> Self {
        self.args.extend(args);
        self
    }

    /// Makes the operator report the first failure of a call instead of retrying it. A busy machine must cause none: no
    /// correction is recorded whose answer comes too late.
    pub fn fail_fast(self) -> Self {
        self.args(&["--aws-attempts", "1", "--aws-attempt-timeout", "30"])
    }

    /// Changes the spec before the resource is applied.
    pub fn edit(mut self, edit: impl FnOnce(&mut Value) + Send + 'a) -> Self {
        self.edit = Box::new(edit);
        self
    }

    /// Starts the operator and makes the buckets. Nothing is applied.
    pub async fn empty(self) -> Result<Scene> {
        Ok(self.build().await?.0)
    }

    /// The same, then applies the resource and waits until it is Ready.
    pub async fn ready(self) -> Result<Scene> {
        let (scene, edit) = self.build().await?;
        scene.apply(edit).await?;
        scene.world.wait_ready(NAME).await?;
        Ok(scene)
    }

    async fn build(self) -> Result<(Scene, Box<dyn FnOnce(&mut Value) + Send + 'a>)> {
        let Self { name, insight, args, edit } = self;
        let world = if insight { World::with_insight(name).await? } else { World::new(name).await? };
        let operator = operator_of(&world).args(args).start().await?;
        let (source, destination) =
            (world.bucket(SOURCE_REGION).await?, world.bucket(DESTINATION_REGION).await?);
        Ok((Scene { world, operator, source, destination }, edit))
    }
}

impl Scene {
    /// A scene with the default operator and the default resource. The name is part of its namespace's name.
    pub fn named(name: &str) -> SceneBuilder<'_> {
        SceneBuilder { name, insight: false, args: Vec::new(), edit: Box::new(|_| {}) }
    }

    /// Applies the resource, with its spec changed by `edit`.
    pub async fn apply(&self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let mut resource = replication(NAME, &self.source, &self.destination);
        edit(&mut resource["spec"]);
        self.world.apply(&resource.to_string()).await.map(drop)
    }

    /// Merges this into the spec.
    pub async fn patch_spec(&self, spec: Value) -> Result<()> {
        patch(&self.world, NAME, json!({"spec": spec})).await
    }

    /// Requests a check, waits for it, and returns the object after it.
    pub async fn check_object(&self) -> Result<Value> {
        check_now(&self.world, NAME).await
    }

    /// Requests a check, waits for it, and returns the status after it.
    pub async fn check(&self) -> Result<Value> {
        Ok(self.check_object().await?["status"].take())
    }

    /// Has a check see what the operator wrote last ([`see_own_writes`]).
    pub async fn see_own_writes(&self) -> Result<()> {
        see_own_writes(&self.world, NAME).await
    }

    /// Sets `managementPolicy`, and returns the status of a check with it.
    pub async fn manage(&self, policy: &str) -> Result<Value> {
        self.patch_spec(json!({"managementPolicy": policy})).await?;
        self.check().await
    }

    /// Requests the deletion of the resource.
    pub async fn delete(&self) -> Result<()> {
        self.world.api().delete(NAME, &DeleteParams::default()).await?;
        Ok(())
    }

    /// The replication configuration of the source, if it has one.
    pub async fn find_configuration(&self) -> Result<Option<ReplicationConfiguration>> {
        let s3 = self.world.s3(SOURCE_REGION);
        match s3.get_bucket_replication().bucket(&self.source).send().await {
            Ok(held) => Ok(held.replication_configuration),
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The replication configuration of the source.
    pub async fn configuration(&self) -> Result<ReplicationConfiguration> {
        self.find_configuration().await?.context("the source has no replication configuration")
    }

    /// The versioning of a bucket.
    pub async fn versioning(&self, region: &str, bucket: &str) -> Result<Option<BucketVersioningStatus>> {
        Ok(self.world.s3(region).get_bucket_versioning().bucket(bucket).send().await?.status)
    }
}
