//! The cluster that all tests share, with the emulator and the usual release of the operator on it.

use std::env;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use kube::Client;
use rig::kind::cloud::CloudInCluster;
use rig::kind::install;
use rig::kind::{DOCUMENTED, Images, Kind, Way, look};
use tokio::runtime::Runtime;

use super::node;
use super::site::Site;

/// Nodes of a cluster of our own: a control plane, and two of which one can be drained.
const NODES: u8 = 3;

/// Names the operator's image for a cluster that is given.
const OPERATOR_IMAGE: &str = "RIG_KIND_OPERATOR_IMAGE";

/// How long what must come is waited for: a pod that is restarted has a pause before it, which grows.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// How often a fact is looked for that nobody tells.
const POLL: Duration = Duration::from_millis(200);

/// What the tests stand on.
pub struct Ground {
    pub kind: Kind,
    pub kube: Client,
    pub cloud: CloudInCluster,
    runtime: Runtime,
    usual: Mutex<()>,
    nodes: RwLock<()>,
}

/// What a test must have for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// A release of its own.
    Own,
    /// The usual release, which all others leave alone meanwhile.
    Usual,
    /// All nodes, and at least two of them beside the control plane: nothing else runs meanwhile.
    Workers,
    /// The cluster, with the operator's image under the name that the pages give it: nothing else runs meanwhile.
    All,
}

/// Where the cluster comes from.
#[derive(Debug, Clone)]
pub enum Machine {
    /// It is made here.
    Own(Way),
    /// It is there.
    Given(PathBuf),
    /// No test is going to run.
    Unasked,
}

impl Machine {
    /// What there is, or why no cluster can be had.
    pub fn look() -> Result<Self, String> {
        if env::var_os("RIG_KIND").is_some_and(|wish| wish == "off") {
            return Err("RIG_KIND is off".to_owned());
        }
        if let Some(kubeconfig) = env::var_os("RIG_KIND_KUBECONFIG") {
            return Ok(Self::Given(kubeconfig.into()));
        }
        match look(false) {
            Ok(way) => way.map(Self::Own),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    /// Nodes that take pods, besides the control plane. Of a given cluster nothing is known unless it is told, and
    /// none is drained.
    pub fn workers(&self) -> usize {
        let nodes = match self {
            Self::Own(_) => usize::from(NODES),
            Self::Given(_) => {
                env::var("RIG_KIND_NODES").ok().and_then(|nodes| nodes.parse().ok()).unwrap_or_default()
            }
            Self::Unasked => 0,
        };
        nodes.saturating_sub(1)
    }

    /// Whether nodes have the operator's image under the name that the pages give it.
    pub fn has_documented_image(&self) -> bool {
        match self {
            Self::Own(_) => true,
            Self::Given(_) => env::var(OPERATOR_IMAGE).map_or(true, |image| image == DOCUMENTED),
            Self::Unasked => false,
        }
    }

    fn cluster(&self) -> Result<Kind> {
        match self {
            Self::Own(way) => Kind::start(*way, NODES),
            Self::Given(kubeconfig) => {
                let image = |name: &str| env::var(name).ok();
                let images = image(OPERATOR_IMAGE).zip(image("RIG_KIND_EMULATOR_IMAGE"));
                Kind::attach(kubeconfig, images.map(|(operator, emulator)| Images { operator, emulator }))
            }
            Self::Unasked => Err(anyhow!("no test was to run")),
        }
    }
}

impl Ground {
    /// Makes it. This thread, and those that it starts from now on, are in the network of the cluster.
    pub fn prepare(machine: &Machine) -> Result<Self> {
        let kind = machine.cluster()?;
        let runtime = Runtime::new()?;
        let (cloud, kube) = runtime.block_on(async {
            let on_nodes = node::prepare(&kind);
            let cloud = async {
                let cloud = install::emulator(&kind).await?;
                // Its definitions are everybody's.
                Site::install_usual(&kind).await?;
                anyhow::Ok(cloud)
            };
            let (on_nodes, cloud) = tokio::join!(on_nodes, cloud);
            on_nodes?;
            anyhow::Ok((cloud?, kind.kubectl.client().await?))
        })?;
        Ok(Self { kind, kube, cloud, runtime, usual: Mutex::new(()), nodes: RwLock::new(()) })
    }

    /// Runs what a test does.
    pub fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        self.runtime.block_on(test)
    }

    /// Calls a test once it has what it must have for itself.
    pub fn with(&self, share: Share, test: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        // A test that failed is no reason for the next one to.
        if matches!(share, Share::Workers | Share::All) {
            let _all = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
            return test(self);
        }
        let _usual =
            (share == Share::Usual).then(|| self.usual.lock().unwrap_or_else(PoisonError::into_inner));
        let _nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        test(self)
    }

    /// Looks until what is looked for is there.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
        let begun = Instant::now();
        loop {
            // A server that is just away, or an object that is just not there, may be there at the next look.
            match look().await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) if begun.elapsed() > DEADLINE => {
                    bail!("this did not come within {DEADLINE:?}: {what}")
                }
                Err(error) if begun.elapsed() > DEADLINE => {
                    return Err(error.context(format!("this did not come within {DEADLINE:?}: {what}")));
                }
                Ok(None) | Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Ends the cluster where it is ours.
    pub fn close(self) -> Result<()> {
        let Self { kind, kube, cloud, runtime, .. } = self;
        drop((kube, cloud, runtime));
        kind.stop().context("stopping")
    }
}
