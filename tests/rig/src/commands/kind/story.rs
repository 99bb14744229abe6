//! Shows the quickstart on a real cluster: installs the operator, applies the example, replicates an object, and
//! deletes the example. Every step is checked.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use rig::kind::cloud::CloudInCluster;
use rig::kind::install::{self, AWS_NAMESPACE, Release};
use rig::kind::{Kind, Kubectl};
use rig::{Clients, paths, wait};
use serde_json::Value;

const MANIFEST: &str = "deploy/samples/quickstart.yaml";
const REGIONS: [&str; 2] = ["us-east-1", "eu-west-1"];

/// How long to wait for a fact.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Story<'a> {
    kind: &'a Kind,
    kubectl: &'a Kubectl,
    cloud: Option<CloudInCluster>,
    name: String,
    source: String,
    destination: String,
}

impl<'a> Story<'a> {
    /// Reads the manifest of the example.
    pub fn new(kind: &'a Kind) -> Result<Self> {
        let manifest: Value =
            serde_saphyr::from_str(&fs::read_to_string(paths::repository().join(MANIFEST))?)
                .with_context(|| format!("{MANIFEST} is no YAML"))?;
        let at = |pointer: &str| {
            let text = manifest.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            text.with_context(|| format!("{MANIFEST} has no {pointer}"))
        };
        Ok(Self {
            kind,
            kubectl: &kind.kubectl,
            cloud: None,
            name: at("/metadata/name")?,
            source: at("/spec/source/bucket")?,
            destination: at("/spec/rules/0/destination/bucket")?,
        })
    }

    /// Runs all steps and checks each.
    pub async fn run(&mut self) -> Result<()> {
        let clients = self.install().await?;
        self.create_buckets(&clients).await?;
        self.apply().await?;
        self.check_configuration(&clients).await?;
        self.replicate_an_object(&clients).await?;
        self.delete().await?;
        let configured = clients.s3(REGIONS[0]).get_bucket_replication().bucket(&self.source).send().await;
        ensure!(configured.is_err(), "the configuration is still there after the resource was deleted");
        println!("✓ the resource is deleted, and so is its configuration");
        Ok(())
    }

    /// Returns a shell command with which a person uses AWS.
    pub fn how_to_use(&self) -> Option<String> {
        let cloud = self.cloud.as_ref()?;
        Some(format!("export AWS_ENDPOINT_URL={} AWS_REGION=us-east-1", cloud.url()))
    }

    /// Removes everything from a cluster that stays, except the CRDs: others may have resources.
    pub async fn remove(&self) -> Result<()> {
        let definition =
            ["get", "crd", "bucketreplications.s3replication.dev", "--ignore-not-found", "-o", "name"];
        if !self.kubectl.run(definition).await?.is_empty() {
            self.delete().await?;
        }
        let release = Release::documented();
        release.uninstall(&self.kind.helm).await?;
        release.delete_namespace(self.kubectl).await?;
        self.kubectl.wait(&["delete", "namespace", AWS_NAMESPACE, "--ignore-not-found"], DEADLINE).await
    }

    async fn install(&mut self) -> Result<Clients> {
        let kubectl = self.kubectl;
        println!("\n{}", kubectl.run(["get", "nodes", "-o", "wide"]).await?);
        println!("Installing the AWS emulator and the operator.");
        let cloud = install::emulator(self.kind).await?;
        let clients = cloud.clients();
        self.cloud = Some(cloud);
        println!("\n{}", Release::documented().install(self.kind).await?);
        println!("\n{}", kubectl.run(["get", "pods", "-A", "-o", "wide"]).await?);
        Ok(clients)
    }

    /// Applies the example and waits until it is Ready.
    pub async fn apply(&self) -> Result<()> {
        let manifest = paths::repository().join(MANIFEST);
        self.kubectl.run(["apply".as_ref(), "-f".as_ref(), manifest.as_os_str()]).await?;
        let resource = format!("br/{}", self.name);
        let ready = self.kubectl.wait(&["wait", "--for=condition=Ready", &resource], DEADLINE).await;
        println!("\n{}", self.kubectl.run(["get", "br"]).await?);
        ready
    }

    async fn check_configuration(&self, clients: &Clients) -> Result<()> {
        let configured = clients.s3(REGIONS[0]).get_bucket_replication().bucket(&self.source).send().await;
        let rules = configured.context("the source has no replication configuration")?;
        let rules = rules.replication_configuration().map_or(0, |configuration| configuration.rules().len());
        ensure!(rules == 1, "the configuration has {rules} rules");
        println!("✓ the emulator has the replication configuration");
        Ok(())
    }

    async fn create_buckets(&self, clients: &Clients) -> Result<()> {
        clients.s3(REGIONS[0]).create_bucket().bucket(&self.source).send().await?;
        let location = BucketLocationConstraint::from(REGIONS[1]);
        let location = CreateBucketConfiguration::builder().location_constraint(location).build();
        let create = clients.s3(REGIONS[1]).create_bucket().bucket(&self.destination);
        create.create_bucket_configuration(location).send().await?;
        println!("✓ buckets {} and {} exist, and nothing else", self.source, self.destination);
        Ok(())
    }

    async fn replicate_an_object(&self, clients: &Clients) -> Result<()> {
        let (key, body) = ("orders/1", "one order");
        let put = clients.s3(REGIONS[0]).put_object().bucket(&self.source).key(key);
        put.body(body.as_bytes().to_vec().into()).send().await?;
        let destination = clients.s3(REGIONS[1]);
        let read = async || {
            let got = destination.get_object().bucket(&self.destination).key(key).send().await?;
            Ok(Some(got.body.collect().await?.to_vec()))
        };
        let replica = wait::until("the replica of an object", DEADLINE, read).await?;
        ensure!(replica == body.as_bytes(), "the replica has different content");
        println!("✓ an object written to {} is in {}", self.source, self.destination);
        Ok(())
    }

    async fn delete(&self) -> Result<()> {
        let resource = format!("br/{}", self.name);
        self.kubectl.wait(&["delete", &resource, "--ignore-not-found"], DEADLINE).await
    }
}
