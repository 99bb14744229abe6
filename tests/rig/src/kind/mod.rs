//! A real cluster that runs pods, made by kind. Goes in: how to make it and with how many nodes. Comes out: kubectl and
//! Helm for it, with the images of this project on its nodes.

pub mod cloud;
pub mod install;
pub mod write_order;

mod cluster;
mod command;
mod helm;
mod images;
mod kubectl;
mod machine;
mod offline;
mod shell;

use std::path::Path;

use anyhow::{Context, Result, bail};

pub use helm::Helm;
pub use images::{DOCUMENTED, Images};
pub use kubectl::{Forward, Kubectl};
pub use machine::{Method, choose_method};

use cluster::{KindProgram, OwnCluster};
use offline::{Engine, Offline};

use crate::progress;
use crate::tools::Tools;

/// A running cluster.
#[derive(Debug)]
pub struct Kind {
    /// kubectl for this cluster.
    pub kubectl: Kubectl,
    /// Helm for this cluster.
    pub helm: Helm,
    /// The images of this project, which its nodes have.
    pub images: Images,
    // Dropped in this order. A cluster that the rig did not make has neither.
    cluster: Option<OwnCluster>,
    engine: Option<Engine>,
}

impl Kind {
    /// Makes a cluster with so many nodes. With `Method::Offline`, this thread is in the network of an engine from then
    /// on, where no registry is in reach.
    pub fn start(method: Method, nodes: u8) -> Result<Self> {
        let tools = Tools::ensure()?;
        let path = Tools::kind()?;
        // Downloaded before this thread enters the engine's network.
        Tools::helm()?;
        match method {
            Method::Docker => {
                let images = images::build_with_docker()?;
                let kind = KindProgram { path, environment: Vec::new() };
                Self::create(&tools, kind, nodes, images, None)
            }
            Method::Offline => {
                let Offline { engine, node, images } = Offline::prepare(&tools)?;
                let kind = KindProgram { path, environment: engine.environment().to_vec() };
                Self::create(&tools, kind, nodes, images, Some((engine, node)))
            }
        }
    }

    /// `engine`: where no registry is in reach, with the image of its nodes.
    fn create(
        tools: &Tools,
        kind: KindProgram,
        nodes: u8,
        images: Images,
        engine: Option<(Engine, String)>,
    ) -> Result<Self> {
        let (engine, node_image) = engine.unzip();
        let cluster = progress::step("creating a cluster with kind", || {
            OwnCluster::create(kind.clone(), nodes, node_image.as_deref())
        })?;
        progress::step("loading the images of the operator and the emulator", || {
            kind.load(cluster.name(), &[&images.operator, &images.emulator])
        })?;
        let kubeconfig = cluster.kubeconfig();
        let kubectl = Kubectl::new(&tools.kubectl, &kubeconfig);
        let helm = Helm::new(&Tools::helm()?, &kubeconfig);
        Ok(Self { kubectl, helm, images, cluster: Some(cluster), engine })
    }

    /// Uses an existing cluster. Without `images`, builds them with Docker and loads them, if it is a kind cluster.
    ///
    /// # Errors
    /// If no images are given and they cannot be loaded.
    pub fn attach(kubeconfig: &Path, images: Option<Images>) -> Result<Self> {
        let tools = Tools::ensure()?;
        let images = match images {
            Some(images) => images,
            None => load_into(kubeconfig)?,
        };
        let kubectl = Kubectl::new(&tools.kubectl, kubeconfig);
        let helm = Helm::new(&Tools::helm()?, kubeconfig);
        Ok(Self { kubectl, helm, images, cluster: None, engine: None })
    }

    /// Whether the rig made the cluster, and deletes it.
    pub fn is_made_by_rig(&self) -> bool {
        self.cluster.is_some()
    }

    /// Returns a command that opens a shell from which the cluster is in reach, where this one is not.
    pub fn how_to_enter(&self) -> Option<String> {
        self.engine.as_ref().map(Engine::how_to_enter)
    }

    /// Returns shell commands with which a person uses it.
    pub fn how_to_use(&self) -> Vec<String> {
        let kubeconfig = format!("export KUBECONFIG={}", self.kubectl.kubeconfig().display());
        let kubectl = format!("{} get pods -A", self.kubectl.program().display());
        [Some(kubeconfig), self.how_to_enter(), Some(kubectl)].into_iter().flatten().collect()
    }

    /// Deletes the cluster if the rig made it, and ends its engine.
    pub fn stop(self) -> Result<()> {
        let Self { cluster, engine, .. } = self;
        let deleted = cluster
            .map_or(Ok(()), |cluster| progress::step("deleting the cluster", || OwnCluster::delete(cluster)));
        let stopped = engine.map_or(Ok(()), Engine::stop);
        deleted.and(stopped)
    }
}

/// Builds the images with Docker and loads them onto an existing kind cluster.
fn load_into(kubeconfig: &Path) -> Result<Images> {
    let config = kube::config::Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let context = config.current_context.unwrap_or_default();
    let Some(cluster) = context.strip_prefix("kind-") else {
        bail!(
            "{context} is not a kind cluster, so no image can be loaded onto it: name images that it can pull"
        )
    };
    if !machine::docker_runs() {
        bail!(
            "Docker does not run here, so no image can be built for {context}: name images that it can pull"
        );
    }
    let kind = KindProgram { path: Tools::kind()?, environment: Vec::new() };
    let images = images::build_with_docker()?;
    kind.load(cluster, &[&images.operator, &images.emulator])?;
    Ok(images)
}
