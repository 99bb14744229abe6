//! A team's own repository with one resource in it, the Application of it, its namespace and its buckets.

use anyhow::{Context, Result};
use rig::argocd::Repository;
use serde_json::{Value, json};

use super::application::{self, Application};
use super::ground::Ground;

/// What its resource is called.
pub const NAME: &str = "orders";

pub const HERE: &str = "us-east-1";
pub const THERE: &str = "eu-west-1";

pub struct Team<'a> {
    pub ground: &'a Ground,
    pub application: Application<'a>,
    pub namespace: String,
    pub source: String,
    repository: Repository,
    resource: Value,
}

impl<'a> Team<'a> {
    /// Everything but the buckets, which are the team's to make; the second name is that of the destination.
    pub async fn new(ground: &'a Ground, name: &str, source: &str, destination: &str) -> Result<Self> {
        // The operator has been installed by the other Application of the same file.
        ground.application(application::OPERATOR).wait_healthy().await?;
        let resource = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": NAME},
            "spec": {
                "source": {"bucket": source},
                "rules": [{"id": "all", "destination": {"bucket": destination, "storageClass": "STANDARD"}}],
            },
        });
        let repository = ground.argocd.git.repository(&format!("teams/{name}.git"))?;
        repository.write("orders.yaml", &resource.to_string())?;
        repository.commit("Orders are replicated")?;
        let namespace = ground.world.namespace(&[]).await?;
        let manifest = of_repository(ground, name, &namespace, repository.url())?;
        let application = Application::apply(ground, &manifest)?;
        Ok(Self { ground, application, namespace, source: source.to_owned(), repository, resource })
    }

    /// With buckets that are there, and already healthy.
    pub async fn healthy(ground: &'a Ground, name: &str) -> Result<Self> {
        let (source, destination) = (ground.world.bucket(HERE).await?, ground.world.bucket(THERE).await?);
        let team = Self::new(ground, name, &source, &destination).await?;
        team.application.wait_healthy().await?;
        Ok(team)
    }

    /// Changes the resource where it belongs: in the repository.
    pub async fn commit(&mut self, change: impl FnOnce(&mut Value)) -> Result<Value> {
        change(&mut self.resource["spec"]);
        self.repository.write("orders.yaml", &self.resource.to_string())?;
        self.repository.commit("Something else")?;
        self.application.compare().await
    }

    /// Takes the resource out of the repository, which is not empty then: Argo CD would not take that for meant.
    pub async fn remove(&self) -> Result<Value> {
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
        self.repository.write("orders.yaml", &other.to_string())?;
        self.repository.commit("No more")?;
        self.application.compare().await
    }

    /// Waits until the Application shows this health of the resource, and returns the words for it.
    pub async fn wait_health(&self, status: &str) -> Result<String> {
        let app = self
            .application
            .wait(
                |app| {
                    let (found, _) = application::health_of(app, "BucketReplication", NAME);
                    found == status && application::health(app) == status && application::is(app, "Synced")
                },
                &format!("to be synced and {status}"),
            )
            .await?;
        Ok(application::health_of(&app, "BucketReplication", NAME).1.to_owned())
    }

    /// The message of the condition Ready, as the operator has written it.
    pub async fn message(&self) -> Result<String> {
        let object = self.ground.world.api_in(&self.namespace).get(NAME).await?;
        let status = object.data["status"].clone();
        let ready = rig::world::condition(&status, "Ready").context("no condition Ready")?;
        Ok(ready["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether the replication configuration of the source is there.
    pub async fn is_configured(&self) -> Result<bool> {
        use aws_sdk_s3::error::ProvideErrorMetadata;
        match self.ground.world.s3(HERE).get_bucket_replication().bucket(&self.source).send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The Application of resources in the file that a user applies, of another repository in another namespace.
pub fn of_repository(ground: &Ground, name: &str, namespace: &str, url: &str) -> Result<Value> {
    let [_, mut manifest] = ground.applications()?;
    manifest["metadata"]["name"] = json!(name);
    manifest["spec"]["source"]["repoURL"] = json!(url);
    manifest["spec"]["destination"]["namespace"] = json!(namespace);
    Ok(manifest)
}
