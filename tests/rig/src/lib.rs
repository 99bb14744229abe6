//! The test rig: real parts, no mocks. An etcd and a kube-apiserver, an AWS emulator, and a recording proxy in front of
//! it that counts requests, rejects those that AWS rejects, and injects faults.
//!
//! A test starts with `World::new("what-it-tests").await?`: a namespace, an AWS account and a proxy of its own, on
//! parts that all tests of the process share. A test with `AwsAccount`s starts with `World::with_accounts`.

mod health;
mod objects;
mod test_filter;

pub mod argocd;
pub mod aws_state;
pub mod clients;
pub mod cluster;
pub mod emulator;
pub mod former_release;
pub mod forwarder;
pub mod hostile;
pub mod jobs;
pub mod kind;
pub mod operator;
pub mod pages;
pub mod paths;
pub mod process;
pub mod progress;
pub mod promtool;
pub mod proxy;
pub mod system;
pub mod tools;
pub mod usage;
pub mod wait;
pub mod world;

use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, Result, anyhow};

pub use clients::Clients;
pub use cluster::{Cluster, Controllers, KubeRequest};
pub use emulator::{Auth, Emulator};
pub use forwarder::Forwarder;
pub use operator::{Operator, OperatorBuilder};
pub use proxy::{Answer, Call, Fault, Gate, GateAt, Matcher, Proxy};
pub use test_filter::will_run;
pub use tools::Tools;
pub use world::World;

/// The parts that all tests of a process share.
#[derive(Debug)]
pub struct Rig {
    /// The Kubernetes API, with the CRDs of this repository applied.
    pub cluster: Cluster,
    /// The AWS emulator, without authorisation.
    pub emulator: Emulator,
    tools: Tools,
}

impl Rig {
    /// Builds missing tools and starts everything. Blocks the thread.
    pub fn start() -> Result<Self> {
        paths::prune();
        let tools = Tools::ensure()?;
        let (cluster, emulator) = thread::scope(|scope| {
            let emulator = scope.spawn(|| Emulator::start(&tools.python, Auth::Open));
            let cluster = match Cluster::given(&tools) {
                Ok(Some(given)) => prepared(given),
                Ok(None) => start_cluster(&tools),
                Err(error) => Err(error),
            };
            (cluster, emulator.join())
        });
        Ok(Self {
            cluster: cluster?,
            emulator: emulator.map_err(|_| anyhow!("the start of the emulator panicked"))??,
            tools,
        })
    }

    /// The rig of this process; the first call starts it.
    ///
    /// # Errors
    /// When it cannot be started; every caller gets the same error.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Rig, String>> = OnceLock::new();
        once(&SHARED, Self::start).await
    }

    /// An emulator that verifies signatures and enforces IAM policies, one for the process; the first call starts it.
    pub async fn auth_emulator() -> Result<&'static Emulator> {
        static SHARED: OnceLock<Result<Emulator, String>> = OnceLock::new();
        let tools = &Self::shared().await?.tools;
        once(&SHARED, || Emulator::start(&tools.python, Auth::Enforced)).await
    }

    /// An emulator without authorisation and without an API server, for tests that need nothing else; one for the
    /// process. The first call starts it.
    pub async fn emulator_alone() -> Result<&'static Emulator> {
        static ALONE: OnceLock<Result<Emulator, String>> = OnceLock::new();
        once(&ALONE, || Emulator::start(&Tools::python()?, Auth::Open)).await
    }

    /// A cluster whose audit log and store can be read: the shared one, or one of the rig's beside it if
    /// `RIG_KUBECONFIG` names another; one for the process.
    pub async fn own_cluster() -> Result<&'static Cluster> {
        static OWN: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let rig = Self::shared().await?;
        match rig.cluster.is_made_by_rig() {
            true => Ok(&rig.cluster),
            false => once(&OWN, || start_cluster(&rig.tools)).await,
        }
    }

    /// A cluster for tests with `AwsAccount`s, one for the process. They are cluster-scoped, and an operator that has
    /// seen one refuses every resource without an account: tests without accounts could not run beside them.
    pub async fn accounts_cluster() -> Result<&'static Cluster> {
        static ACCOUNTS: OnceLock<Result<Cluster, String>> = OnceLock::new();
        let rig = Self::shared().await?;
        once(&ACCOUNTS, || start_cluster(&rig.tools)).await
    }

    /// The operator, ready to be started. It watches all namespaces, acts as the root of an account, and calls this
    /// endpoint instead of AWS.
    pub fn operator(&self, account: &str, endpoint: &str) -> OperatorBuilder {
        let kubeconfig = self.cluster.operator_kubeconfig();
        OperatorBuilder::new(kubeconfig, account, endpoint, Default::default())
    }

    /// Ends everything and waits for its end.
    pub fn shutdown(self) {
        self.cluster.shutdown();
        self.emulator.shutdown();
    }
}

/// A cluster with the definitions of this repository.
fn start_cluster(tools: &Tools) -> Result<Cluster> {
    prepared(Cluster::start(tools)?)
}

/// Applies the definitions, and grants the operator its rights and no others.
fn prepared(cluster: Cluster) -> Result<Cluster> {
    let crds = paths::repository().join("crds");
    if crds.is_dir() {
        cluster.apply_crds(&crds).context("the CRDs in crds/ are not accepted")?;
    }
    cluster.grant()
}

/// Fills a cell once, off the runtime's threads. Later callers wait.
async fn once<T: Send + Sync>(
    cell: &'static OnceLock<Result<T, String>>,
    start: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<&'static T> {
    let fill = move || cell.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    match tokio::task::spawn_blocking(fill).await? {
        Ok(value) => Ok(value),
        Err(error) => Err(anyhow!("{error}")),
    }
}
