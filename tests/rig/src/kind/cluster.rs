//! A cluster that kind makes. It is deleted when the rig ends, however that happens (`cluster.sh`).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::command;
use crate::paths;
use crate::process::{Process, Spec};

/// How long a cluster may take: far above the usual 15 seconds, for a busy machine and several nodes.
const CREATE: Duration = Duration::from_secs(420);

/// How long its end may take.
const DELETE: Duration = Duration::from_secs(90);

/// How long images may take to get onto its nodes.
const LOAD: Duration = Duration::from_secs(180);

/// The kind program and its environment.
#[derive(Debug, Clone)]
pub(super) struct KindProgram {
    pub path: PathBuf,
    pub environment: Vec<(&'static str, String)>,
}

/// A cluster that the rig made.
#[derive(Debug)]
pub(super) struct OwnCluster {
    name: String,
    dir: PathBuf,
    process: Process,
}

impl KindProgram {
    fn spec(&self, name: &str, program: impl Into<PathBuf>) -> Spec {
        let spec = Spec::new(name, program).without_env(&["KIND_", "KUBECONFIG"]);
        self.environment.iter().fold(spec, |spec, (name, value)| spec.env(name, value))
    }

    /// Brings images that Docker has onto the nodes of a cluster.
    pub fn load(&self, cluster: &str, images: &[&str]) -> Result<()> {
        let spec =
            self.spec("kind-load", &self.path).args(["load", "docker-image", "--name", cluster]).args(images);
        command::run("kind load docker-image", spec, LOAD).map(drop)
    }
}

impl OwnCluster {
    /// Makes one with so many nodes, from this image or kind's default.
    pub fn create(kind: KindProgram, nodes: u8, image: Option<&str>) -> Result<Self> {
        let dir = paths::data_dir("kind")?;
        let name = format!("rig-{}", std::process::id());
        let nodes: Vec<Value> =
            (0..nodes).map(|n| json!({"role": if n == 0 { "control-plane" } else { "worker" }})).collect();
        let config = json!({
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": nodes,
        });
        let config_file = dir.join("cluster.json");
        fs::write(&config_file, serde_json::to_vec_pretty(&config)?)
            .with_context(|| format!("cannot write {}", config_file.display()))?;
        let created = dir.join("created");
        let mut spec = kind
            .spec("kind", "sh")
            .arg(paths::sources().join("src/kind/cluster.sh"))
            .arg(&kind.path)
            .arg(&name)
            .arg(&created)
            .arg("--config")
            .arg(&config_file)
            .args(["--wait", "180s"])
            .env("KUBECONFIG", dir.join("kubeconfig"))
            .data(&dir)
            .grace(DELETE);
        if let Some(image) = image {
            spec = spec.args(["--image", image]);
        }
        let process = spec.start()?;
        process.wait_ready(CREATE, || created.is_file())?;
        Ok(Self { name, dir, process })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Deletes it and waits for that.
    pub fn delete(self) -> Result<()> {
        self.process.close();
        self.process.wait_ended(DELETE).map(drop)
    }
}
