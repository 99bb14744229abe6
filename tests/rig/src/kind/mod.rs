//! A real cluster, whose pods really run: made by kind, also where no image can be pulled.

mod cluster;
mod command;
mod engine;
mod image;
mod kubectl;
mod machine;
mod node;
mod rootfs;

use std::path::PathBuf;

use anyhow::Result;

pub use kubectl::{Forward, Kubectl};
pub use machine::{Way, look};

use cluster::{KindProgram, OwnCluster};
use engine::Engine;
use node::Node;

use crate::progress;
use crate::tools::Tools;

/// A running cluster.
#[derive(Debug)]
pub struct Kind {
    /// The cluster as kubectl has it.
    pub kubectl: Kubectl,
    // In the order in which they are ended.
    cluster: OwnCluster,
    engine: Option<Engine>,
}

impl Kind {
    /// Makes one with so many nodes. Without Docker, this thread is in the network of an engine of our own from then
    /// on, where no registry is in reach.
    pub fn start(way: Way, nodes: u8) -> Result<Self> {
        let kubectl = Tools::ensure()?.kubectl;
        let path = Tools::kind()?;
        let (engine, image, environment) = match way {
            Way::Docker => (None, None, Vec::new()),
            Way::Own => {
                let node = Node::ensure()?;
                let engine = progress::step("starting a Docker engine of our own", Engine::start)?;
                let image = node.image(&engine)?;
                let environment = engine.environment().to_vec();
                (Some(engine), Some(image), environment)
            }
        };
        let kind = KindProgram { path, environment };
        let cluster = progress::step("creating a cluster with kind", || {
            OwnCluster::create(kind, nodes, image.as_deref())
        })?;
        Ok(Self { kubectl: Kubectl::new(&kubectl, &cluster.kubeconfig()), cluster, engine })
    }

    /// How a person talks to it: lines for a shell.
    pub fn how_to_talk(&self) -> Vec<String> {
        let kubectl = self.kubectl.program().display();
        let kubeconfig = self.kubectl.kubeconfig().display();
        let prefix = self.engine.as_ref().map(|engine| format!("{} ", engine.command_prefix()));
        vec![
            format!("export KUBECONFIG={kubeconfig}"),
            format!("{}{kubectl} get pods -A", prefix.unwrap_or_default()),
        ]
    }

    /// Deletes it, and ends the engine where it is ours.
    pub fn stop(self) -> Result<()> {
        let Self { cluster, engine, .. } = self;
        let deleted = progress::step("deleting the cluster", || cluster.delete());
        let stopped = engine.map_or(Ok(()), Engine::stop);
        deleted.and(stopped)
    }
}

/// Where the operator's own files for a real cluster are.
pub fn files() -> PathBuf {
    crate::paths::repository().join("tests/kind")
}
