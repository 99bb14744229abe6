//! The surroundings of one test, apart from all other tests: a namespace, an AWS account and a proxy of its own.

mod aws;
mod kube;
mod replication;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use anyhow::Result;

pub use self::kube::condition;

use crate::clients::Clients;
use crate::cluster::{KubeRequest, OPERATOR};
use crate::emulator::{Auth, Emulator};
use crate::jobs::Jobs;
use crate::operator::{Logs, OperatorBuilder};
use crate::process::tail;
use crate::proxy::Proxy;
use crate::{Cluster, Rig, Tools};

/// How long a test waits for an expected fact, also on a machine that does much else.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// The surroundings of one test.
pub struct World {
    /// The namespace that the operator of this world watches.
    pub namespace: String,
    /// The AWS account, twelve digits.
    pub account: String,
    /// The proxy that the operator of this world uses as AWS.
    pub proxy: Proxy,
    /// A client for the test's own use.
    pub kube: ::kube::Client,
    cluster: &'static Cluster,
    emulator: &'static Emulator,
    clients: Clients,
    logs: Logs,
    /// The cluster of this world alone, if it has one; dropped with the world.
    _own: Option<OwnCluster>,
    /// The emulator of this world alone, if it has one; dropped with the world.
    _own_emulator: Option<OwnEmulator>,
}

impl World {
    /// A new world. The names of its namespace and its buckets begin with this name.
    pub async fn new(name: &str) -> Result<Self> {
        let rig = Rig::shared().await?;
        Self::on(name, &rig.cluster, &rig.emulator).await
    }

    /// A new world on an API server whose audit log and store can be read, also if `RIG_KUBECONFIG` names another.
    pub async fn with_insight(name: &str) -> Result<Self> {
        Self::on(name, Rig::own_cluster().await?, &Rig::shared().await?.emulator).await
    }

    /// A new world for a test with `AwsAccount`s, on an API server that it shares with no test without them. Its audit
    /// log and store can be read, also if `RIG_KUBECONFIG` names another.
    pub async fn with_accounts(name: &str) -> Result<Self> {
        Self::on(name, Rig::accounts_cluster().await?, &Rig::shared().await?.emulator).await
    }

    /// As `with_accounts`, on an emulator that verifies signatures and enforces policies.
    pub async fn with_accounts_and_auth(name: &str) -> Result<Self> {
        Self::on(name, Rig::accounts_cluster().await?, Rig::auth_emulator().await?).await
    }

    /// A new world on an emulator that verifies signatures and enforces policies.
    pub async fn with_auth(name: &str) -> Result<Self> {
        let rig = Rig::shared().await?;
        Self::on(name, &rig.cluster, Rig::auth_emulator().await?).await
    }

    /// A new world with a Kubernetes API of its own, for cluster-scoped objects that other tests would meet. It takes
    /// some seconds more. The rig starts this API also if `RIG_KUBECONFIG` names another.
    pub async fn alone(name: &str) -> Result<Self> {
        Self::apart(name, &Rig::shared().await?.emulator).await
    }

    /// As `alone`, on a cluster without the definitions of this repository.
    pub async fn bare(name: &str) -> Result<Self> {
        Self::apart_on(name, &Rig::shared().await?.emulator, Cluster::start).await
    }

    /// As `alone`, on an emulator that verifies signatures and enforces policies.
    pub async fn alone_with_auth(name: &str) -> Result<Self> {
        Self::apart(name, Rig::auth_emulator().await?).await
    }

    /// As `alone`, on an emulator of its own too: for names of buckets, account ids and UIDs that were recorded.
    pub async fn sealed(name: &str) -> Result<Self> {
        let own = OwnEmulator::start().await?;
        let world = Self::apart(name, own.0).await?;
        Ok(Self { _own_emulator: Some(own), ..world })
    }

    async fn apart(name: &str, emulator: &'static Emulator) -> Result<Self> {
        Self::apart_on(name, emulator, crate::start_cluster).await
    }

    async fn apart_on(
        name: &str,
        emulator: &'static Emulator,
        start: fn(&Tools) -> Result<Cluster>,
    ) -> Result<Self> {
        let own = OwnCluster::start(start).await?;
        let world = Self::on(name, own.0, emulator).await?;
        Ok(Self { _own: Some(own), ..world })
    }

    async fn on(name: &str, cluster: &'static Cluster, emulator: &'static Emulator) -> Result<Self> {
        let namespace = unique(name);
        let client = cluster.client().await?;
        kube::create_namespace(&client, &namespace, &[]).await?;
        let account = new_account();
        Ok(Self {
            proxy: Proxy::start(([127, 0, 0, 1], emulator.port()).into()).await?,
            clients: Clients::new(&emulator.url(), &account),
            namespace,
            account,
            kube: client,
            cluster,
            emulator,
            logs: Arc::new(Mutex::new(Vec::new())),
            _own: None,
            _own_emulator: None,
        })
    }

    /// The cluster, shared with other tests unless this world is alone.
    pub fn cluster(&self) -> &'static Cluster {
        self.cluster
    }

    /// The address of the emulator, past the proxy.
    pub fn emulator_url(&self) -> String {
        self.emulator.url()
    }

    /// A unique name, for cluster-scoped objects.
    pub fn unique(&self, name: &str) -> String {
        unique(name)
    }

    /// S3 as this world's account, past the proxy: its calls are not counted, and the proxy rejects none.
    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        self.clients.s3(region)
    }

    /// IAM as this world's account, past the proxy.
    pub fn iam(&self) -> aws_sdk_iam::Client {
        self.clients.iam()
    }

    /// The jobs of S3 Batch Operations in this world's account.
    pub fn jobs(&self) -> Jobs {
        Jobs::new(&self.emulator.url(), &self.account)
    }

    /// Clients as another account's root, past the proxy.
    pub fn as_account(&self, account: &str) -> Clients {
        Clients::new(&self.emulator.url(), account)
    }

    /// Clients as this world's account through the proxy, as the operator sees AWS.
    pub fn through_proxy(&self) -> Clients {
        Clients::new(&self.proxy.url(), &self.account)
    }

    /// The operator, ready to be started. It watches only this namespace, acts as the root of this account, and calls
    /// the proxy.
    pub fn operator(&self) -> OperatorBuilder {
        let (kubeconfig, logs) = (self.cluster.operator_kubeconfig(), Arc::clone(&self.logs));
        OperatorBuilder::new(kubeconfig, &self.account, &self.proxy.url(), logs).namespaces([&self.namespace])
    }

    /// Lets the operator of this world hold a Lease of that name in this namespace.
    pub async fn allow_lease(&self, name: &str) -> Result<()> {
        let (cluster, namespace, name) = (self.cluster, self.namespace.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || cluster.allow_lease(&namespace, &name)).await?
    }

    /// The operator's requests to Kubernetes in this namespace.
    pub fn kube_requests(&self) -> Result<Vec<KubeRequest>> {
        self.cluster.requests(OPERATOR, Some(&self.namespace))
    }

    /// The ends of the logs of all operators of this world.
    pub fn operator_logs(&self, lines: usize) -> String {
        let paths = match self.logs.lock() {
            Ok(paths) => paths.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        let show = |path: &std::path::PathBuf| {
            let log = std::fs::read(path).unwrap_or_default();
            let end = tail(&String::from_utf8_lossy(&log), lines);
            format!("--- {} ends:\n{end}\n", path.display())
        };
        paths.iter().map(show).collect()
    }
}

/// A cluster that ends with its world.
///
/// Its description is leaked, because tests move a reference to it into other threads.
struct OwnCluster(&'static Cluster);

impl OwnCluster {
    async fn start(start: fn(&Tools) -> Result<Cluster>) -> Result<Self> {
        let tools = &Rig::shared().await?.tools;
        let cluster = tokio::task::spawn_blocking(move || start(tools)).await??;
        Ok(Self(Box::leak(Box::new(cluster))))
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// An emulator that enforces no policies and ends with its world. Its description is leaked, as that of a cluster.
struct OwnEmulator(&'static Emulator);

impl OwnEmulator {
    async fn start() -> Result<Self> {
        let tools = &Rig::shared().await?.tools;
        let start = || Emulator::start(&tools.python, Auth::Open);
        let emulator = tokio::task::spawn_blocking(start).await??;
        Ok(Self(Box::leak(Box::new(emulator))))
    }
}

impl Drop for OwnEmulator {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A name that is valid for namespaces and buckets and that nobody else has: the letters differ between runs, the
/// number within a run. Letters alone are not enough: a test of a hundred buckets meets the same five once in some
/// thousand runs.
pub fn unique(name: &str) -> String {
    static RUN: LazyLock<String> =
        LazyLock::new(|| std::iter::repeat_with(fastrand::lowercase).take(5).collect());
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let start: String = name.to_lowercase().replace('_', "-").chars().take(48).collect();
    format!("{start}-{}{}", *RUN, NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn new_account() -> String {
    fastrand::u64(100_000_000_000..1_000_000_000_000).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::unique;

    #[test]
    fn a_hundred_thousand_names_are_all_different_and_fit_a_bucket() {
        let long = "a-name-that-is-longer-than-what-a-bucket-or-a-namespace-can-have";
        let names: BTreeSet<String> = (0..100_000).map(|_| unique(long)).collect();
        assert_eq!(names.len(), 100_000);
        assert!(names.iter().all(|name| name.len() <= 63), "{:?}", names.last());
    }
}
