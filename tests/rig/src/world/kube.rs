//! Applies objects in Kubernetes for a test, and waits for their status.

use std::collections::BTreeMap;

use ::kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use ::kube::runtime::watcher::watch_object;
use ::kube::runtime::{WatchStreamExt, watcher};
use anyhow::{Context, Result, anyhow};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::Value;

use super::{DEADLINE, World, unique};
use crate::objects;

impl World {
    /// Creates one more namespace, with these labels, and returns its name.
    pub async fn namespace(&self, labels: &[(&str, &str)]) -> Result<String> {
        let name = unique(&self.namespace);
        create_namespace(&self.kube, &name, labels).await?;
        Ok(name)
    }

    /// The `BucketReplication`s of this namespace, as data.
    pub fn api(&self) -> Api<DynamicObject> {
        self.api_in(&self.namespace)
    }

    /// The `BucketReplication`s of a namespace, as data.
    pub fn api_in(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.kube.clone(), namespace, &objects::bucket_replication())
    }

    /// The `ReplicationBackfill`s of this namespace, as data.
    pub fn backfills(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.kube.clone(), &self.namespace, &objects::replication_backfill())
    }

    /// The `AwsAccount`s, as data. They are cluster-scoped, so those of other tests are among them.
    pub fn accounts(&self) -> Api<DynamicObject> {
        Api::all_with(self.kube.clone(), &objects::aws_account())
    }

    /// Applies the documents of a YAML text server-side, into this namespace if they name none, and returns them as the
    /// API server stored them.
    ///
    /// # Errors
    /// If the API server rejects one; its message is in the error's chain (`{:#}`).
    pub async fn apply(&self, yaml: &str) -> Result<Vec<Value>> {
        let applied = objects::apply(&self.kube, &self.namespace, yaml).await?;
        applied.iter().map(as_value).collect()
    }

    /// A `BucketReplication`, as data.
    pub async fn get(&self, name: &str) -> Result<Value> {
        as_value(&self.api().get(name).await?)
    }

    /// An `AwsAccount`, as data.
    pub async fn account(&self, name: &str) -> Result<Value> {
        as_value(&self.accounts().get(name).await?)
    }

    /// A `ReplicationBackfill`, as data.
    pub async fn backfill(&self, name: &str) -> Result<Value> {
        as_value(&self.backfills().get(name).await?)
    }

    /// Waits until the status of a `ReplicationBackfill` is as wanted, as `wait` does.
    pub async fn wait_backfill(
        &self,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
        what: &str,
    ) -> Result<Value> {
        self.wait_status(&self.backfills(), name, wanted, what).await
    }

    /// Waits until the status of a `BucketReplication` is as wanted, and returns the whole object.
    ///
    /// # Errors
    /// After 60 seconds. The message shows the object's status and the end of the operator's log.
    pub async fn wait(&self, name: &str, wanted: impl Fn(&Value) -> bool, what: &str) -> Result<Value> {
        self.wait_status(&self.api(), name, wanted, what).await
    }

    /// Waits until the status of a `BucketReplication` of another namespace is as wanted, as `wait` does.
    pub async fn wait_in(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
        what: &str,
    ) -> Result<Value> {
        self.wait_status(&self.api_in(namespace), name, wanted, what).await
    }

    /// Waits until the status of an `AwsAccount` is as wanted, as `wait` does.
    pub async fn wait_account(
        &self,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
        what: &str,
    ) -> Result<Value> {
        self.wait_status(&self.accounts(), name, wanted, what).await
    }

    async fn wait_status(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
        what: &str,
    ) -> Result<Value> {
        let found = self.wait_on(api, name, |o| o.is_some_and(|o| wanted(&o["status"])), what).await?;
        found.context("an object that is not there has no status")
    }

    /// Waits until a `BucketReplication` is Ready for its current generation.
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

    /// Waits until a `BucketReplication` no longer exists.
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
        self.wait_on(&self.api(), name, wanted, what).await
    }

    /// Waits until an object of any kind, or its absence, is as wanted.
    pub async fn wait_on(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        wanted: impl Fn(Option<&Value>) -> bool,
        what: &str,
    ) -> Result<Option<Value>> {
        let mut last = None;
        let watch = async {
            let stream = watch_object(api.clone(), name).backoff(watcher::DefaultBackoff::default());
            let mut stream = std::pin::pin!(stream);
            // The stream itself starts a watch again that was cut.
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
}

/// The condition of a type in a status.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

pub(super) async fn create_namespace(
    client: &::kube::Client,
    name: &str,
    labels: &[(&str, &str)],
) -> Result<()> {
    let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .with_context(|| format!("cannot create the namespace {name}"))?;
    Ok(())
}

fn as_value(object: &DynamicObject) -> Result<Value> {
    Ok(serde_json::to_value(object)?)
}
