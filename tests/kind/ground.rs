//! The cluster that all tests share, with emulator and operator on it: made when the first test begins.

use std::cell::RefCell;
use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use rig::kind::install::{self, CloudInCluster};
use rig::kind::{Images, Kind, Kubectl, Way, look};
use tokio::runtime::Runtime;

/// Nodes of a cluster of our own: a control plane, and two of which one can be drained.
const NODES: u8 = 3;

/// What the tests stand on.
pub struct Ground {
    pub kubectl: Kubectl,
    pub images: Images,
    pub cloud: CloudInCluster,
    kind: Kind,
    runtime: Runtime,
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

    /// Nothing is looked for.
    pub fn unasked() -> Result<Self, String> {
        Ok(Self::Unasked)
    }

    /// Nodes that take pods, besides the control plane. Of a given cluster nothing is known, and none is drained.
    pub fn workers(&self) -> usize {
        match self {
            Self::Own(_) => usize::from(NODES) - 1,
            Self::Given(_) | Self::Unasked => 0,
        }
    }

    fn cluster(&self) -> Result<Kind> {
        match self {
            Self::Own(way) => Kind::start(*way, NODES),
            Self::Given(kubeconfig) => {
                let image = |name: &str| env::var(name).ok();
                let images = image("RIG_KIND_OPERATOR_IMAGE").zip(image("RIG_KIND_EMULATOR_IMAGE"));
                Kind::attach(kubeconfig, images.map(|(operator, emulator)| Images { operator, emulator }))
            }
            Self::Unasked => Err(anyhow!("no test was to run")),
        }
    }
}

impl Ground {
    fn prepare(machine: &Machine) -> Result<Self> {
        let kind = machine.cluster()?;
        let runtime = Runtime::new()?;
        let kubectl = kind.kubectl.clone();
        let cloud = runtime.block_on(async {
            let cloud = install::emulator(&kubectl, &kind.images).await?;
            install::operator(&kubectl, &kind.images).await?;
            anyhow::Ok(cloud)
        })?;
        Ok(Self { kubectl, images: kind.images.clone(), cloud, kind, runtime })
    }

    /// Runs what a test does.
    pub fn block_on<T>(&self, test: impl Future<Output = T>) -> T {
        self.runtime.block_on(test)
    }
}

thread_local! {
    // Of this thread, which is in the network of the cluster.
    static GROUND: RefCell<Option<Result<Ground, String>>> = const { RefCell::new(None) };
}

/// Calls a test with the ground, prepared if it is the first.
pub fn with<T>(test: impl FnOnce(&Ground) -> Result<T>) -> Result<T> {
    GROUND.with_borrow_mut(|ground| {
        let ground = ground.get_or_insert_with(|| {
            let machine = Machine::look().map_err(|why| anyhow!(why));
            machine.and_then(|machine| Ground::prepare(&machine)).map_err(|error| format!("{error:#}"))
        });
        test(ground.as_ref().map_err(|error| anyhow!("{error}"))?)
    })
}

/// Ends the cluster, if there is one.
pub fn close() -> Result<()> {
    match GROUND.take() {
        Some(Ok(Ground { kind, runtime, .. })) => {
            drop(runtime);
            kind.stop().context("stopping")
        }
        Some(Err(_)) | None => Ok(()),
    }
}
