//! One `BucketReplication` with its buckets.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, StorageClass};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};

use super::release::OperatorRelease;

const SOURCE_REGION: &str = "us-east-1";
const DESTINATION_REGION: &str = "eu-west-1";

/// Creates a bucket to replicate from and one to replicate into.
pub async fn create_buckets(operator: &OperatorRelease<'_>, source: &str, destination: &str) -> Result<()> {
    let clients = operator.clients();
    clients.s3(SOURCE_REGION).create_bucket().bucket(source).send().await?;
    let region = BucketLocationConstraint::from(DESTINATION_REGION);
    let configuration = CreateBucketConfiguration::builder().location_constraint(region).build();
    let create = clients.s3(DESTINATION_REGION).create_bucket().bucket(destination);
    create.create_bucket_configuration(configuration).send().await?;
    Ok(())
}

/// A `BucketReplication` from one bucket into another.
pub struct Replication<'a> {
    operator: &'a OperatorRelease<'a>,
    name: String,
    source: String,
}

impl<'a> Replication<'a> {
    /// Creates the buckets and the resource, and waits until it is Ready.
    pub async fn ready(operator: &'a OperatorRelease<'a>, name: &str) -> Result<Self> {
        let replication = Self::apply(operator, name).await?;
        replication.wait_ready().await?;
        Ok(replication)
    }

    /// Creates the buckets and the resource.
    pub async fn apply(operator: &'a OperatorRelease<'a>, name: &str) -> Result<Self> {
        let name = format!("{}-{name}", operator.name);
        let (source, destination) = (format!("{name}-from"), format!("{name}-to"));
        create_buckets(operator, &source, &destination).await?;
        let resource = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": name, "namespace": operator.namespace, "labels": operator.labels()},
            "spec": {
                "source": {"bucket": source},
                "rules": [{"id": "all", "destination": {"bucket": destination, "storageClass": "STANDARD"}}],
            },
        });
        let replication = Self { operator, name, source };
        let params = PatchParams::apply("test").force();
        replication.api().patch(&replication.name, &params, &Patch::Apply(resource)).await?;
        Ok(replication)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    fn api(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("s3replication.dev", "v1alpha1", "BucketReplication");
        let client = self.operator.cluster.kube.clone();
        Api::namespaced_with(client, &self.operator.namespace, &ApiResource::from_gvk(&kind))
    }

    /// The current object.
    pub async fn object(&self) -> Result<Value> {
        Ok(serde_json::to_value(self.api().get(&self.name).await?)?)
    }

    /// Waits until it is Ready for its current generation.
    pub async fn wait_ready(&self) -> Result<()> {
        let ask = async || {
            let object = self.object().await?;
            let (status, generation) = (&object["status"], &object["metadata"]["generation"]);
            let all = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ready = all.iter().any(|c| {
                c["type"] == "Ready" && c["status"] == "True" && &c["observedGeneration"] == generation
            });
            Ok(ready.then_some(()))
        };
        self.until("is Ready", ask).await
    }

    /// Waits until its Ready has this reason.
    pub async fn wait_for_reason(&self, reason: &str) -> Result<()> {
        let ask = async || {
            let object = self.object().await?;
            let all = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
            Ok(all.iter().any(|c| c["type"] == "Ready" && c["reason"] == reason).then_some(()))
        };
        self.until(&format!("says {reason}"), ask).await
    }

    async fn until(&self, what: &str, ask: impl AsyncFnMut() -> Result<Option<()>>) -> Result<()> {
        match self.operator.cluster.until(&format!("{} {what}", self.name), ask).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let object = self.object().await.unwrap_or_default();
                Err(error.context(format!("{object:#}\n{}", self.operator.diagnostics().await)))
            }
        }
    }

    /// Changes the configuration in AWS, as another tool would.
    pub async fn change_in_aws(&self) -> Result<()> {
        let s3 = self.operator.clients().s3(SOURCE_REGION);
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

    /// Waits until the operator has corrected the configuration.
    pub async fn wait_corrected(&self) -> Result<()> {
        let ask = async || Ok((self.storage_class().await? == Some(StorageClass::Standard)).then_some(()));
        self.until("is corrected in AWS", ask).await
    }

    async fn storage_class(&self) -> Result<Option<StorageClass>> {
        let s3 = self.operator.clients().s3(SOURCE_REGION);
        let held = s3.get_bucket_replication().bucket(&self.source).send().await?;
        let rule = held.replication_configuration().and_then(|configuration| configuration.rules().first());
        Ok(rule.and_then(|rule| rule.destination()?.storage_class().cloned()))
    }

    /// Requests its deletion.
    pub async fn begin_deletion(&self) -> Result<()> {
        self.api().delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until it is deleted, and checks that its configuration is too.
    pub async fn wait_deleted(&self) -> Result<()> {
        let ask = async || Ok(self.api().get_opt(&self.name).await?.is_none().then_some(()));
        self.until("is gone", ask).await?;
        ensure!(!self.is_configured().await?, "the configuration of {} outlived it", self.name);
        Ok(())
    }

    /// Whether its source bucket has a replication configuration.
    pub async fn is_configured(&self) -> Result<bool> {
        let s3 = self.operator.clients().s3(SOURCE_REGION);
        match s3.get_bucket_replication().bucket(&self.source).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the resource, and checks that its configuration is deleted too.
    pub async fn delete(self) -> Result<()> {
        self.begin_deletion().await?;
        self.wait_deleted().await
    }
}
