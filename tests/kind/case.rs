//! A resource of a test's own, with buckets of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, StorageClass};
use rig::Clients;
use rig::kind::Kubectl;
use serde_json::json;

use super::ground::Ground;

const HERE: &str = "us-east-1";
const THERE: &str = "eu-west-1";

/// How long what must come is waited for: a pod that is restarted has a pause before it, which grows.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A `BucketReplication` from one bucket into another.
pub struct Case<'a> {
    ground: &'a Ground,
    clients: Clients,
    name: String,
    source: String,
}

impl<'a> Case<'a> {
    /// Makes the buckets and the resource, and waits until it is Ready.
    pub async fn ready(ground: &'a Ground, name: &str) -> Result<Self> {
        let case = Self::apply(ground, name).await?;
        case.wait_ready().await?;
        Ok(case)
    }

    /// Makes the buckets and the resource.
    pub async fn apply(ground: &'a Ground, name: &str) -> Result<Self> {
        let clients = ground.cloud.clients();
        // A cluster that is given may have those of an earlier run.
        let unique = format!("{name}-{:x}", std::process::id());
        let (source, destination) = (format!("{unique}-from"), format!("{unique}-to"));
        clients.s3(HERE).create_bucket().bucket(&source).send().await?;
        let place = BucketLocationConstraint::from(THERE);
        let place = CreateBucketConfiguration::builder().location_constraint(place).build();
        let create = clients.s3(THERE).create_bucket().bucket(&destination);
        create.create_bucket_configuration(place).send().await?;
        let resource = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": unique, "namespace": "default"},
            "spec": {
                "source": {"bucket": source},
                "rules": [{"id": "all", "destination": {"bucket": destination, "storageClass": "STANDARD"}}],
            },
        });
        ground.kubectl.apply(&resource.to_string()).await?;
        Ok(Self { ground, clients, name: unique, source })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub async fn wait_ready(&self) -> Result<()> {
        let resource = format!("br/{}", self.name);
        self.ground.kubectl.wait(&["wait", "--for=condition=Ready", &resource], DEADLINE).await
    }

    /// Changes the configuration in AWS behind the operator's back.
    pub async fn drift(&self) -> Result<()> {
        let s3 = self.clients.s3(HERE);
        let held = s3.get_bucket_replication().bucket(&self.source).send().await?;
        let mut configuration =
            held.replication_configuration().context("there is no configuration")?.clone();
        for rule in &mut configuration.rules {
            if let Some(destination) = &mut rule.destination {
                destination.storage_class = Some(StorageClass::Glacier);
            }
        }
        let put = s3.put_bucket_replication().bucket(&self.source).replication_configuration(configuration);
        put.send().await?;
        ensure!(self.storage_class().await? == Some(StorageClass::Glacier), "the change did not last");
        Ok(())
    }

    /// Waits until the configuration is as the resource says.
    pub async fn put_right(&self) -> Result<()> {
        let look = async |_: &Kubectl| {
            Ok((self.storage_class().await? == Some(StorageClass::Standard)).then_some(()))
        };
        self.ground.kubectl.until("the configuration is put right", DEADLINE, look).await
    }

    /// Deletes the resource and sees that its configuration goes with it.
    pub async fn delete(self) -> Result<()> {
        self.ground.kubectl.wait(&["delete", &format!("br/{}", self.name)], DEADLINE).await?;
        let held = self.clients.s3(HERE).get_bucket_replication().bucket(&self.source).send().await;
        ensure!(held.is_err(), "the configuration outlived its resource");
        Ok(())
    }

    async fn storage_class(&self) -> Result<Option<StorageClass>> {
        let held = self.clients.s3(HERE).get_bucket_replication().bucket(&self.source).send().await?;
        let rule = held.replication_configuration().and_then(|configuration| configuration.rules().first());
        Ok(rule.and_then(|rule| rule.destination()?.storage_class().cloned()))
    }
}
