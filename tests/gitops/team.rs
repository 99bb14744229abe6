//! A team: a repository with one resource, the Application of that repository, a namespace and buckets.

use anyhow::{Context, Result};
use rig::argocd::Repository;
use serde_json::{Value, json};

use super::application::{self, Application};
use super::environment::{ACCOUNT, Environment, LABEL};

/// The name of its resource.
pub const NAME: &str = "orders";

pub const SOURCE_REGION: &str = "us-east-1";
pub const DESTINATION_REGION: &str = "eu-west-1";

pub struct Team<'a> {
    pub environment: &'a Environment,
    pub application: Application<'a>,
    pub namespace: String,
    pub source: String,
    repository: Repository,
    resource: Value,
}

impl<'a> Team<'a> {
    /// Creates everything but the buckets.
    pub async fn new(
        environment: &'a Environment,
        name: &str,
        source: &str,
        destination: &str,
    ) -> Result<Self> {
        // The other Application of the same file installs the operator.
        environment.application(application::OPERATOR).wait_healthy().await?;
        // A resource that is there before its account is verified may report that first.
        let verified = |status: &Value| {
            rig::world::condition(status, "Ready").is_some_and(|ready| ready["status"] == "True")
        };
        environment.world.wait_account(ACCOUNT, verified, "to be verified").await?;
        let resource = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": NAME},
            "spec": {
                "source": {"bucket": source},
                "rules": [{"id": "all", "destination": {"bucket": destination, "storageClass": "STANDARD"}}],
            },
        });
        let repository = environment.argocd.git.repository(&format!("teams/{name}.git"))?;
        repository.write("orders.yaml", &resource.to_string())?;
        repository.commit("Orders are replicated")?;
        let namespace = environment.world.namespace(&[(LABEL, "gitops")]).await?;
        let manifest = of_repository(environment, name, &namespace, repository.url())?;
        let application = Application::apply(environment, &manifest)?;
        Ok(Self { environment, application, namespace, source: source.to_owned(), repository, resource })
    }

    /// Creates a team with its buckets, and waits until the resource is healthy.
    pub async fn healthy(environment: &'a Environment, name: &str) -> Result<Self> {
        let (source, destination) = (
            environment.world.bucket(SOURCE_REGION).await?,
            environment.world.bucket(DESTINATION_REGION).await?,
        );
        let team = Self::new(environment, name, &source, &destination).await?;
        team.application.wait_healthy().await?;
        Ok(team)
    }

    /// Changes the spec of the resource in the repository.
    pub async fn commit(&mut self, change: impl FnOnce(&mut Value)) -> Result<Value> {
        change(&mut self.resource["spec"]);
        self.repository.write("orders.yaml", &self.resource.to_string())?;
        self.repository.commit("Something else")?;
        self.application.compare().await
    }

    /// Removes the resource from the repository. Another file stays: Argo CD does not prune everything.
    pub async fn remove(&self) -> Result<Value> {
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}});
        self.repository.write("orders.yaml", &other.to_string())?;
        self.repository.commit("No more")?;
        self.application.compare().await
    }

    /// Waits until the Application shows this health of the resource. Returns its message.
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

    /// The message of the condition Ready, as the operator wrote it.
    pub async fn message(&self) -> Result<String> {
        let object = self.environment.world.api_in(&self.namespace).get(NAME).await?;
        let status = object.data["status"].clone();
        let ready = rig::world::condition(&status, "Ready").context("no condition Ready")?;
        Ok(ready["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether the source has a replication configuration.
    pub async fn is_configured(&self) -> Result<bool> {
        use aws_sdk_s3::error::ProvideErrorMetadata;
        match self
            .environment
            .world
            .s3(SOURCE_REGION)
            .get_bucket_replication()
            .bucket(&self.source)
            .send()
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ReplicationConfigurationNotFoundError") => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// The Application of the resources in the file that a user applies, for another repository and namespace.
pub fn of_repository(environment: &Environment, name: &str, namespace: &str, url: &str) -> Result<Value> {
    let [_, mut manifest] = environment.applications()?;
    manifest["metadata"]["name"] = json!(name);
    manifest["spec"]["source"]["repoURL"] = json!(url);
    manifest["spec"]["destination"]["namespace"] = json!(namespace);
    Ok(manifest)
}
