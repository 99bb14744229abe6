//! What one test needs, apart from all other tests: a namespace, an AWS
//! account and a proxy of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use kube::runtime::watcher::watch_object;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;

use crate::clients::Clients;
use crate::cluster::{KubeRequest, OPERATOR};
use crate::emulator::Emulator;
use crate::objects;
use crate::operator::{Logs, OperatorBuilder};
use crate::process::tail;
use crate::proxy::Proxy;
use crate::{Cluster, Rig};

/// How long a test waits for something that must come.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The surroundings of one test.
pub struct World {
    /// The namespace that the operator of this world looks at.
    pub namespace: String,
    /// The AWS account, twelve digits.
    pub account: String,
    /// What the operator of this world speaks to instead of AWS.
    pub proxy: Proxy,
    /// A client for the test's own use.
    pub kube: kube::Client,
    rig: &'static Rig,
    emulator: &'static Emulator,
    clients: Clients,
    logs: Logs,
}

impl World {
    /// A new one. The name is the beginning of its namespace's and buckets' names.
    pub async fn new(name: &str) -> Result<Self> {
        let rig = Rig::shared().await?;
        Self::on(name, rig, &rig.emulator).await
    }

    /// A new one, on an emulator that verifies signatures and enforces policies.
    pub async fn with_auth(name: &str) -> Result<Self> {
        let rig = Rig::shared().await?;
        Self::on(name, rig, Rig::auth_emulator().await?).await
    }

    async fn on(name: &str, rig: &'static Rig, emulator: &'static Emulator) -> Result<Self> {
        let namespace = unique(name);
        let kube = rig.cluster.client().await?;
        create_namespace(&kube, &namespace).await?;
        let account = new_account();
        Ok(Self {
            proxy: Proxy::start(([127, 0, 0, 1], emulator.port()).into()).await?,
            clients: Clients::new(&emulator.url(), &account),
            namespace,
            account,
            kube,
            rig,
            emulator,
            logs: Arc::new(Mutex::new(Vec::new())),
        })
    }

    /// The cluster, shared with other tests.
    pub fn cluster(&self) -> &'static Cluster {
        &self.rig.cluster
    }

    /// S3 as this world's account, past the proxy: not counted, nothing refused.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        self.clients.s3(region)
    }

    /// IAM as this world's account, past the proxy.
    pub fn iam(&self) -> aws_sdk_iam::Client {
        self.clients.iam()
    }

    /// Clients as another account's root, past the proxy.
    pub fn as_account(&self, account: &str) -> Clients {
        Clients::new(&self.emulator.url(), account)
    }

    /// Clients as this world's account, through the proxy, as the operator sees AWS.
    pub fn through_proxy(&self) -> Clients {
        Clients::new(&self.proxy.url(), &self.account)
    }

    /// Creates an IAM user of this account with one inline policy, and returns
    /// its access key id and secret. Useful where policies are enforced.
    pub async fn user(&self, name: &str, policy: &str) -> Result<(String, String)> {
        let iam = self.iam();
        iam.create_user().user_name(name).send().await?;
        iam.put_user_policy()
            .user_name(name)
            .policy_name("inline")
            .policy_document(policy)
            .send()
            .await
            .with_context(|| format!("the policy of user {name} is not accepted"))?;
        let created = iam.create_access_key().user_name(name).send().await?;
        let key =
            created.access_key().with_context(|| format!("the emulator gave user {name} no access key"))?;
        Ok((key.access_key_id().to_owned(), key.secret_access_key().to_owned()))
    }

    /// Another account, that no other test uses.
    pub fn another_account(&self) -> String {
        new_account()
    }

    /// A name for a bucket that no other test uses.
    pub fn bucket_name(&self) -> String {
        unique(&self.namespace)
    }

    /// Creates a bucket, not versioned, and returns its name.
    pub async fn bucket(&self, region: &str) -> Result<String> {
        self.bucket_of(&self.account, region).await
    }

    /// Creates a bucket that belongs to another account.
    pub async fn bucket_of(&self, account: &str, region: &str) -> Result<String> {
        let name = self.bucket_name();
        self.create_bucket(account, region, &name).await?;
        Ok(name)
    }

    /// Creates a bucket and turns versioning on.
    pub async fn versioned_bucket(&self, region: &str) -> Result<String> {
        let name = self.bucket(region).await?;
        self.set_versioning(region, &name, BucketVersioningStatus::Enabled).await?;
        Ok(name)
    }

    /// Creates a bucket of a given name.
    pub async fn create_bucket(&self, account: &str, region: &str, name: &str) -> Result<()> {
        let mut request = self.as_account(account).s3(region).create_bucket().bucket(name);
        // S3 refuses the one region that is the default when it is named.
        if region != "us-east-1" {
            let place = BucketLocationConstraint::from(region);
            request = request.create_bucket_configuration(
                CreateBucketConfiguration::builder().location_constraint(place).build(),
            );
        }
        request.send().await.with_context(|| format!("cannot create the bucket {name} in {region}"))?;
        Ok(())
    }

    /// Turns a bucket's versioning on or suspends it, as a person would.
    pub async fn set_versioning(
        &self,
        region: &str,
        bucket: &str,
        status: BucketVersioningStatus,
    ) -> Result<()> {
        self.s3(region)
            .put_bucket_versioning()
            .bucket(bucket)
            .versioning_configuration(VersioningConfiguration::builder().status(status).build())
            .send()
            .await
            .with_context(|| format!("cannot set the versioning of {bucket}"))?;
        Ok(())
    }

    /// The operator, to be started: it looks at this namespace alone, acts as
    /// the root of this account, and speaks to the proxy.
    pub fn operator(&self) -> OperatorBuilder {
        OperatorBuilder::new(
            &self.namespace,
            self.rig.cluster.operator_kubeconfig(),
            &self.account,
            &self.proxy.url(),
            Arc::clone(&self.logs),
        )
    }

    /// What the operator asked of Kubernetes in this namespace.
    pub fn kube_requests(&self) -> Result<Vec<KubeRequest>> {
        self.rig.cluster.requests(OPERATOR, Some(&self.namespace))
    }

    /// The `BucketReplication`s of this namespace, as data.
    pub fn api(&self) -> Api<DynamicObject> {
        let resource = objects::bucket_replication();
        Api::namespaced_with(self.kube.clone(), &self.namespace, &resource)
    }

    /// Applies the documents of a YAML text server-side, into this namespace
    /// where they name none, and returns what the API server made of them.
    ///
    /// # Errors
    /// When the API server refuses; its words are in the error's chain (`{:#}`).
    pub async fn apply(&self, yaml: &str) -> Result<Vec<Value>> {
        let applied = objects::apply(&self.kube, &self.namespace, yaml).await?;
        applied.iter().map(as_value).collect()
    }

    /// A `BucketReplication`, as data.
    pub async fn get(&self, name: &str) -> Result<Value> {
        as_value(&self.api().get(name).await?)
    }

    /// Waits until the status of a `BucketReplication` is as wanted, and
    /// returns the whole object.
    ///
    /// # Errors
    /// After 60 seconds; the message shows the object's status and the end of
    /// the operator's log.
    pub async fn wait(&self, name: &str, wanted: impl Fn(&Value) -> bool, what: &str) -> Result<Value> {
        let found = self.wait_object(name, |o| o.is_some_and(|o| wanted(&o["status"])), what).await?;
        found.context("an object that is not there has no status")
    }

    /// Waits until a `BucketReplication` says that its spec, as it is now, is Ready.
    pub async fn wait_ready(&self, name: &str) -> Result<Value> {
        let ready = |object: Option<&Value>| {
            object.is_some_and(|object| {
                let status = &object["status"];
                status["observedGeneration"] == object["metadata"]["generation"]
                    && condition(status, "Ready").is_some_and(|c| c["status"] == "True")
            })
        };
        let found = self.wait_object(name, ready, "to be Ready").await?;
        found.context("an object that is not there is not Ready")
    }

    /// Waits until a `BucketReplication` is no longer there.
    pub async fn wait_gone(&self, name: &str) -> Result<()> {
        self.wait_object(name, |object| object.is_none(), "to be gone").await.map(drop)
    }

    /// Waits until a `BucketReplication`, or its absence, is as wanted.
    pub async fn wait_object(
        &self,
        name: &str,
        wanted: impl Fn(Option<&Value>) -> bool,
        what: &str,
    ) -> Result<Option<Value>> {
        let mut last = None;
        let watch = async {
            let stream = watch_object(self.api(), name).backoff(watcher::DefaultBackoff::default());
            let mut stream = std::pin::pin!(stream);
            // A watch that was cut is begun again by the stream itself.
            loop {
                let Ok(event) = stream.try_next().await else {
                    continue;
                };
                let Some(object) = event else {
                    return Err(anyhow!("the watch of {name} has ended"));
                };
                last = object.as_ref().map(as_value).transpose()?;
                if wanted(last.as_ref()) {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(DEADLINE, watch).await {
            Ok(Ok(())) => Ok(last),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.not_yet(name, what, last.as_ref())),
        }
    }

    fn not_yet(&self, name: &str, what: &str, last: Option<&Value>) -> anyhow::Error {
        let state = match last {
            Some(object) => serde_json::to_string_pretty(&object["status"]).unwrap_or_default(),
            None => "(there is no such object)".to_owned(),
        };
        anyhow!(
            "waited {DEADLINE:?} for {name} {what}; its status:\n{state}\nAWS requests so far: {}\n{}",
            self.proxy.calls().len(),
            self.operator_logs(40)
        )
    }

    /// The ends of the logs of all operators of this world.
    pub fn operator_logs(&self, lines: usize) -> String {
        let paths = match self.logs.lock() {
            Ok(paths) => paths.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        let show = |path: &std::path::PathBuf| {
            let log = std::fs::read(path).unwrap_or_default();
            let end = tail(&String::from_utf8_lossy(&log), lines);
            format!("--- {} ends:\n{end}\n", path.display())
        };
        paths.iter().map(show).collect()
    }
}

/// The condition of a type in a status.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

async fn create_namespace(client: &kube::Client, name: &str) -> Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("cannot create the namespace {name}"))?;
    Ok(())
}

/// A name that is valid for namespaces and buckets, with a random end.
fn unique(name: &str) -> String {
    let end: String = std::iter::repeat_with(fastrand::lowercase).take(5).collect();
    let start: String = name.to_lowercase().replace('_', "-").chars().take(50).collect();
    format!("{start}-{end}")
}

fn new_account() -> String {
    fastrand::u64(100_000_000_000..1_000_000_000_000).to_string()
}

fn as_value(object: &DynamicObject) -> Result<Value> {
    Ok(serde_json::to_value(object)?)
}
