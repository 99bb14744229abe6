//! The parts of a resource that users and their tools read, from the first moment on: conditions, kstatus, `kubectl
//! wait`, columns, events and messages.

mod messages;
mod readiness;

use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::types::BucketVersioningStatus;
use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use rig::Tools;
use rig::operator::Operator;
use rig::world::{DEADLINE, World, condition};
use serde_json::Value;

use crate::support::{NAME, Scene, SceneBuilder, operator_of};

/// The conditions that are always there once the operator has seen a resource.
const ALWAYS: [&str; 6] =
    ["Ready", "VersioningReady", "RoleReady", "ReplicationReady", "InSync", "Replicating"];

/// A scene whose operator reports the first failure.
fn scene_named(name: &str) -> SceneBuilder<'_> {
    Scene::named(name).fail_fast()
}

impl Scene {
    /// Suspends the versioning of the destination.
    async fn suspend_destination(&self) -> Result<()> {
        self.world.set_versioning("eu-west-1", &self.destination, BucketVersioningStatus::Suspended).await
    }
}

/// An operator that gives up on a call at the first failure.
async fn start(world: &World) -> Result<Operator> {
    operator_of(world).args(["--aws-attempt-timeout", "30", "--aws-attempts", "1"]).start().await
}

fn types(status: &Value) -> Vec<&str> {
    status["conditions"].as_array().into_iter().flatten().filter_map(|c| c["type"].as_str()).collect()
}

/// The status that kstatus, and with it Flux, computes for a resource.
fn kstatus(object: &Value) -> String {
    let reported = Tools::kstatus().and_then(|kstatus| kstatus.assess(std::slice::from_ref(object)));
    reported.unwrap().remove(0).status
}

/// Every version of a resource that the API server shows while this lives.
struct Versions {
    versions: Arc<Mutex<Vec<Value>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Versions {
    fn of(world: &World, name: &str) -> Versions {
        let versions = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&versions);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let stream = watcher(world.api(), config).applied_objects();
        let task = tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Ok(Some(object)) = stream.try_next().await {
                seen.lock().unwrap().extend(serde_json::to_value(&object));
            }
        });
        Versions { versions, task }
    }

    /// All versions up to this one.
    async fn up_to(&self, last: &Value) -> Result<Vec<Value>> {
        let version = &last["metadata"]["resourceVersion"];
        let arrived = async {
            while !self.versions.lock().unwrap().iter().any(|v| v["metadata"]["resourceVersion"] == *version)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(DEADLINE, arrived)
            .await
            .context("the watch shows fewer versions than there are")?;
        Ok(self.versions.lock().unwrap().clone())
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The properties of every version of a resource that anyone can ever see.
fn assert_consistent(object: &Value) {
    let status = &object["status"];
    let found = types(status);
    let untouched = status["observedGeneration"] == -1;
    // The definition gives a new resource these two.
    let expected: &[&str] = if untouched { &["Ready", "Replicating"] } else { &ALWAYS };
    assert!(found.starts_with(expected), "{found:?}");
    let rest = &found[expected.len()..];
    assert!(matches!(rest, [] | ["Reconciling"] | ["Stalled"]), "{found:?}");
    for c in status["conditions"].as_array().unwrap() {
        if rest.contains(&c["type"].as_str().unwrap()) {
            assert_eq!(c["status"], "True", "present only while true: {c}");
        }
        if !untouched {
            assert_eq!(c["observedGeneration"], status["observedGeneration"], "{c}");
        }
        assert!(
            c["lastTransitionTime"].is_string() && c["reason"].is_string() && c["message"].is_string(),
            "{c}"
        );
    }
    let ready = condition(status, "Ready").is_some_and(|c| c["status"] == "True");
    let current = status["observedGeneration"] == object["metadata"]["generation"];
    if object["metadata"]["deletionTimestamp"].is_null() {
        assert_eq!(kstatus(object) == "Current", ready && current, "{object:#}");
    }
}

fn kubectl(world: &World, args: &[&str]) -> Result<Output> {
    world.cluster().kubectl(args.iter().copied().chain(["--namespace", &world.namespace]))
}

/// Whether `kubectl wait --for=condition=Ready` ends well within a time.
fn kubectl_wait(world: &World, timeout: &str) -> Result<bool> {
    let output = kubectl(world, &["wait", "--for=condition=Ready", "--timeout", timeout, "br", NAME])?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success() || error.contains("timed out"), "kubectl wait: {error}");
    Ok(output.status.success())
}
