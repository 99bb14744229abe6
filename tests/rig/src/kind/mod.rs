//! A real cluster, whose pods really run: made by kind, also where no image can be pulled.

pub mod cloud;
pub mod install;
pub mod writers;

mod cluster;
mod command;
mod engine;
mod helm;
mod image;
mod kubectl;
mod machine;
mod node;
mod ours;
mod rootfs;
mod shell;

use std::path::Path;

use anyhow::{Context, Result, bail};

pub use helm::Helm;
pub use kubectl::{Forward, Kubectl};
pub use machine::{Way, look};
pub use ours::{DOCUMENTED, Images};

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
    /// The cluster as Helm has it.
    pub helm: Helm,
    /// The images of ours, which its nodes have.
    pub images: Images,
    // In the order in which they are ended. A cluster that someone else made has neither.
    cluster: Option<OwnCluster>,
    engine: Option<Engine>,
}

impl Kind {
    /// Makes one with so many nodes. Without Docker, this thread is in the network of an engine of our own from then
    /// on, where no registry is in reach.
    pub fn start(way: Way, nodes: u8) -> Result<Self> {
        let tools = Tools::ensure()?;
        let path = Tools::kind()?;
        // Before the engine's network is entered.
        Tools::helm()?;
        match way {
            Way::Docker => {
                let images = ours::build_with_docker()?;
                let kind = KindProgram { path, environment: Vec::new() };
                Self::create(&tools, kind, nodes, None, images, None)
            }
            Way::Own => {
                let (node, sources) = (Node::ensure()?, ours::Sources::ensure(&tools)?);
                let engine = progress::step("starting a Docker engine of our own", Engine::start)?;
                let image = node.image(&engine)?;
                let images =
                    progress::step("making the images of operator and emulator", || sources.images(&engine))?;
                let kind = KindProgram { path, environment: engine.environment().to_vec() };
                Self::create(&tools, kind, nodes, Some(&image), images, Some(engine))
            }
        }
    }

    fn create(
        tools: &Tools,
        kind: KindProgram,
        nodes: u8,
        node_image: Option<&str>,
        images: Images,
        engine: Option<Engine>,
    ) -> Result<Self> {
        let cluster = progress::step("creating a cluster with kind", || {
            OwnCluster::create(kind.clone(), nodes, node_image)
        })?;
        progress::step("bringing the images of operator and emulator onto it", || {
            kind.load(cluster.name(), &[&images.operator, &images.emulator])
        })?;
        let kubeconfig = cluster.kubeconfig();
        let kubectl = Kubectl::new(&tools.kubectl, &kubeconfig);
        let helm = Helm::new(&Tools::helm()?, &kubeconfig);
        Ok(Self { kubectl, helm, images, cluster: Some(cluster), engine })
    }

    /// Takes a cluster that is there. Where it is one of kind's and no images are named, they are built with Docker
    /// and brought onto its nodes.
    ///
    /// # Errors
    /// When images are neither named nor can be brought there.
    pub fn attach(kubeconfig: &Path, images: Option<Images>) -> Result<Self> {
        let tools = Tools::ensure()?;
        let images = match images {
            Some(images) => images,
            None => bring(kubeconfig)?,
        };
        let kubectl = Kubectl::new(&tools.kubectl, kubeconfig);
        let helm = Helm::new(&Tools::helm()?, kubeconfig);
        Ok(Self { kubectl, helm, images, cluster: None, engine: None })
    }

    /// Whether the cluster is gone when we are.
    pub fn is_ours(&self) -> bool {
        self.cluster.is_some()
    }

    /// How a person talks to it: lines for a shell.
    pub fn how_to_talk(&self) -> Vec<String> {
        let kubeconfig = format!("export KUBECONFIG={}", self.kubectl.kubeconfig().display());
        let kubectl = format!("{} get pods -A", self.kubectl.program().display());
        let inside = self.engine.as_ref().map(Engine::how_to_enter);
        [Some(kubeconfig), inside, Some(kubectl)].into_iter().flatten().collect()
    }

    /// Deletes it where it is ours, and ends the engine that it had.
    pub fn stop(self) -> Result<()> {
        let Self { cluster, engine, .. } = self;
        let deleted = cluster
            .map_or(Ok(()), |cluster| progress::step("deleting the cluster", || OwnCluster::delete(cluster)));
        let stopped = engine.map_or(Ok(()), Engine::stop);
        deleted.and(stopped)
    }
}

/// Builds the images of ours with Docker and brings them onto a cluster of kind's that someone else made.
fn bring(kubeconfig: &Path) -> Result<Images> {
    let config = kube::config::Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let context = config.current_context.unwrap_or_default();
    let Some(cluster) = context.strip_prefix("kind-") else {
        bail!(
            "{context} is no cluster of kind's, onto which images could be brought: name images that it can pull"
        )
    };
    if !machine::docker_runs() {
        bail!(
            "Docker does not run here, with which the images for {context} are built: name images that it can pull"
        );
    }
    let kind = KindProgram { path: Tools::kind()?, environment: Vec::new() };
    let images = ours::build_with_docker()?;
    kind.load(cluster, &[&images.operator, &images.emulator])?;
    Ok(images)
}
