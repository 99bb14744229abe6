//! The cluster that all tests share: how it is made or found, the emulator and the default release on it, and which
//! tests may run at the same time.

use std::env;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kube::Client;
use rig::kind::cloud::CloudInCluster;
use rig::kind::install;
use rig::kind::{DOCUMENTED, Images, Kind, Method, choose_method};
use rig::wait;
use tokio::runtime::Runtime;

use super::node;
use super::release::OperatorRelease;

/// The nodes of a new cluster: a control plane, and two of which one can be drained.
const NODES: u8 = 3;

/// The variable with the operator's image on an existing cluster.
const OPERATOR_IMAGE: &str = "RIG_KIND_OPERATOR_IMAGE";

/// How long to wait for a fact: Kubernetes waits longer before each restart of a pod.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The cluster, with clients for it and for AWS on it.
pub struct Cluster {
    pub kind: Kind,
    pub kube: Client,
    pub cloud: CloudInCluster,
    runtime: Runtime,
    default_release: Mutex<()>,
    nodes: RwLock<()>,
}

/// A thing that a test uses and no other test may use at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Nothing: it has its own release.
    OwnRelease,
    /// The default release.
    DefaultRelease,
    /// All nodes, at least two besides the control plane. No other test runs meanwhile.
    Nodes,
    /// The cluster, whose nodes have the operator's image under its documented name. No other test runs meanwhile.
    WholeCluster,
}

/// Where the cluster comes from.
#[derive(Debug, Clone)]
pub enum ClusterSource {
    /// The rig makes it.
    New(Method),
    /// It exists; this is its kubeconfig.
    Existing(PathBuf),
    /// No test will run.
    NotNeeded,
}

impl ClusterSource {
    /// Chooses from the environment variables and the machine, or says why there can be no cluster.
    pub fn choose() -> Result<Self, String> {
        if env::var_os("RIG_KIND").is_some_and(|value| value == "off") {
            return Err("RIG_KIND is off".to_owned());
        }
        if let Some(kubeconfig) = env::var_os("RIG_KIND_KUBECONFIG") {
            return Ok(Self::Existing(kubeconfig.into()));
        }
        match choose_method(false) {
            Ok(method) => method.map(Self::New),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// The number of nodes besides the control plane. Of an existing cluster `RIG_KIND_NODES` says it; without it the
    /// number is 0 and no node is drained.
    pub fn workers(&self) -> usize {
        let nodes = match self {
            Self::New(_) => usize::from(NODES),
            Self::Existing(_) => {
                env::var("RIG_KIND_NODES").ok().and_then(|nodes| nodes.parse().ok()).unwrap_or_default()
            }
            Self::NotNeeded => 0,
        };
        nodes.saturating_sub(1)
    }

    /// Whether the nodes have the operator's image under its documented name.
    pub fn has_documented_image(&self) -> bool {
        match self {
            Self::New(_) => true,
            Self::Existing(_) => env::var(OPERATOR_IMAGE).map_or(true, |image| image == DOCUMENTED),
            Self::NotNeeded => false,
        }
    }

    fn start(&self) -> Result<Kind> {
        match self {
            Self::New(method) => Kind::start(*method, NODES),
            Self::Existing(kubeconfig) => {
                let image = |name: &str| env::var(name).ok();
                let images = image(OPERATOR_IMAGE).zip(image("RIG_KIND_EMULATOR_IMAGE"));
                Kind::attach(kubeconfig, images.map(|(operator, emulator)| Images { operator, emulator }))
            }
            Self::NotNeeded => Err(anyhow!("no test will run")),
        }
    }
}

impl Cluster {
    /// Makes the cluster. This thread, and every thread that it starts from now on, is in the network of the cluster.
    pub fn prepare(source: &ClusterSource) -> Result<Self> {
        let kind = source.start()?;
        let runtime = Runtime::new()?;
        let (cloud, kube) = runtime.block_on(async {
            let on_nodes = node::prepare(&kind);
            let cloud = async {
                let cloud = install::emulator(&kind).await?;
                // All releases use its CRDs.
                OperatorRelease::install_default(&kind).await?;
                anyhow::Ok(cloud)
            };
            let (on_nodes, cloud) = tokio::join!(on_nodes, cloud);
            on_nodes?;
            anyhow::Ok((cloud?, kind.kubectl.client().await?))
        })?;
        Ok(Self { kind, kube, cloud, runtime, default_release: Mutex::new(()), nodes: RwLock::new(()) })
    }

    /// Runs a test.
    pub fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        self.runtime.block_on(test)
    }

    /// Runs a test as soon as no other test uses what it needs for itself.
    pub fn with(&self, share: Share, test: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        // A test that panicked poisons the locks; the next one may run all the same.
        if matches!(share, Share::Nodes | Share::WholeCluster) {
            let _all = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
            return test(self);
        }
        let _usual = (share == Share::DefaultRelease)
            .then(|| self.default_release.lock().unwrap_or_else(PoisonError::into_inner));
        let _nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        test(self)
    }

    /// Waits for a fact, as `wait::until` does.
    pub async fn until<T>(&self, what: &str, ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
        wait::until(what, DEADLINE, ask).await
    }

    /// Deletes the cluster if the rig made it.
    pub fn close(self) -> Result<()> {
        let Self { kind, kube, cloud, runtime, .. } = self;
        drop((kube, cloud, runtime));
        kind.stop().context("stopping")
    }
}
