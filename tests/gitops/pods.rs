//! Runs the operator's pods, because the rig has no nodes. Each pod of the Deployment becomes a process with the pod's
//! arguments, variables and service account. It is probed, reported as ready, and ended with its pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use rig::operator::Operator;
use rig::world::World;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The namespace of the chart.
const NAMESPACE: &str = "s3-replication-system";

/// The operator's pods, as processes. Dropping this ends them.
pub struct Pods(JoinHandle<()>);

impl Pods {
    /// Starts watching for pods.
    pub fn run(world: Arc<World>) -> Self {
        Self(tokio::spawn(async move { keep(&world).await }))
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(world: &World) {
    let pods: Api<Pod> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let operators = watcher::Config::default().labels("app.kubernetes.io/component=operator");
    let mut events = std::pin::pin!(watcher(pods.clone(), operators).default_backoff());
    let mut running: BTreeMap<String, Operator> = BTreeMap::new();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(pod) | Event::InitApply(pod))) => {
                if running.contains_key(&pod.name_any()) || pod.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                match start(world, &pods, &pod).await {
                    Ok(operator) => drop(running.insert(pod.name_any(), operator)),
                    // The test that waits for the pod fails; this line shows why.
                    Err(error) => eprintln!("pod {}: {error:#}", pod.name_any()),
                }
            }
            Ok(Some(Event::Delete(pod))) => {
                if let Some(Err(error)) = end(running.remove(&pod.name_any())).await {
                    eprintln!("pod {}: {error:#}", pod.name_any());
                }
            }
            Ok(Some(Event::Init | Event::InitDone)) | Err(_) => {}
            Ok(None) => return,
        }
    }
}

async fn end(operator: Option<Operator>) -> Option<Result<i32>> {
    match operator {
        Some(operator) => Some(operator.terminate().await),
        None => None,
    }
}

/// Starts a pod's process, waits until it is ready, and sets that in the pod's status.
async fn start(world: &World, pods: &Api<Pod>, pod: &Pod) -> Result<Operator> {
    let data = serde_json::to_value(pod)?;
    let container = &data["spec"]["containers"][0];
    let kubeconfig = write_kubeconfig(world, data["spec"]["serviceAccountName"].as_str()).await?;
    let args = container["args"].as_array().map(Vec::as_slice).unwrap_or_default();
    // The rig sets the subcommand and the address.
    let args = args
        .iter()
        .filter_map(Value::as_str)
        .filter(|arg| *arg != "run" && !arg.starts_with("--http-address"));
    let mut operator = world
        .operator()
        .binary(env!("CARGO_BIN_EXE_s3-replication-operator"))
        .namespaces::<String>([])
        .kubeconfig(&kubeconfig)
        .args(args);
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = variable["name"].as_str().context("a variable without a name")?;
        operator = match variable["value"].as_str() {
            Some(value) => operator.env(name, value),
            None if variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name" => {
                operator.env(name, pod.name_any())
            }
            None => anyhow::bail!("no value is known here for {variable}"),
        };
    }
    let operator = operator.start().await?;
    operator.wait_ready().await?;
    let ready = json!({"status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": pod.creation_timestamp()}],
    }});
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(ready)).await?;
    Ok(operator)
}

/// Writes a kubeconfig with the token of a service account, which a pod would have. Returns its path.
async fn write_kubeconfig(world: &World, account: Option<&str>) -> Result<std::path::PathBuf> {
    let account = account.context("the pod names no service account")?;
    let accounts: Api<ServiceAccount> = Api::namespaced(world.kube.clone(), NAMESPACE);
    let (params, request) = (PostParams::default(), TokenRequest::default());
    let token = accounts.create_token_request(account, &params, &request).await?;
    let token = token.status.context("the request for a token was not answered")?.token;
    let mut config: Value = serde_json::from_slice(&std::fs::read(world.cluster().admin_kubeconfig())?)?;
    config["users"][0]["user"] = json!({"token": token});
    let file = rig::paths::scratch_dir("pod")?.join("kubeconfig");
    std::fs::write(&file, config.to_string())?;
    Ok(file)
}
