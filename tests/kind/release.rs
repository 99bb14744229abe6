//! A release of the operator in the cluster: its pods, which of them leads, and their requests to AWS.

use std::ops::Deref;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use rig::Clients;
use rig::kind::cloud::Recorded;
use rig::kind::install::{PODS, RELEASE, Release};
use rig::kind::{Kind, write_order};
use rig::world::unique;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::pod::OperatorPod;

/// The label that assigns a resource to a release. A resource without it belongs to the default release.
const LABEL: &str = "site";

pub struct OperatorRelease<'a> {
    pub cluster: &'a Cluster,
    pub release: Release,
    /// The namespace of its resources.
    pub namespace: String,
    /// A unique prefix for names.
    pub name: String,
    own: bool,
}

/// The holder of the Lease: one run of a pod's process.
#[derive(Debug, Clone)]
pub struct Leader {
    pub pod: OperatorPod,
    identity: String,
}

impl Deref for Leader {
    type Target = OperatorPod;

    fn deref(&self) -> &OperatorPod {
        &self.pod
    }
}

impl<'a> OperatorRelease<'a> {
    /// Installs the default release: the chart's defaults, except that it ignores the resources of other releases.
    pub async fn install_default(kind: &Kind) -> Result<String> {
        Self::default_release().install(kind).await
    }

    fn default_release() -> Release {
        let operator = json!({"selector": format!("!{LABEL}"), "requireAccount": false});
        Release { values: json!({"operator": operator}), ..Release::documented() }
    }

    /// The default release, which no other test uses meanwhile.
    pub async fn shared(cluster: &'a Cluster, test: &str) -> Result<Self> {
        let (name, namespace) = (unique(test), "default".to_owned());
        let operator = Self { cluster, release: Self::default_release(), namespace, name, own: false };
        // A failed test may have removed it.
        if operator.pods().await?.is_empty() {
            operator.release.install(&cluster.kind).await?;
        }
        Ok(operator)
    }

    /// Installs another release in a new account, with additional values.
    pub async fn own(cluster: &'a Cluster, test: &str, values: Value) -> Result<Self> {
        let name = unique(test);
        let mut all = json!({
            // An AwsAccount is cluster-scoped, so it would count for the other releases too.
            "operator": {"selector": format!("{LABEL}={name}"), "requireAccount": false},
            // The default release has these.
            "crds": {"install": false},
            "rbac": {"aggregate": false},
        });
        if let (Some(all), Some(values)) = (all.as_object_mut(), values.as_object()) {
            all.extend(values.clone());
        }
        let account = fastrand::u64(100_000_000_000..1_000_000_000_000).to_string();
        let release = Release { namespace: name.clone(), account, values: all };
        release.install(&cluster.kind).await?;
        Ok(Self { cluster, release, namespace: name.clone(), name, own: true })
    }

    /// Sets a value of the chart for the next upgrade.
    pub fn set_value(&mut self, name: &str, value: Value) {
        if let Some(values) = self.release.values.as_object_mut() {
            values.insert(name.to_owned(), value);
        }
    }

    /// The labels of a resource of this release.
    pub fn labels(&self) -> Value {
        if self.own { json!({LABEL: self.name}) } else { json!({}) }
    }

    /// AWS as the root of its account.
    pub fn clients(&self) -> Clients {
        self.cluster.cloud.clients_of(&self.release.account)
    }

    /// Its pods, including those that are terminating.
    pub async fn pods(&self) -> Result<Vec<OperatorPod>> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
        Ok(pods.list(&ListParams::default().labels(PODS)).await?.iter().map(OperatorPod::from).collect())
    }

    /// Waits for a pod in this state.
    pub async fn pod(&self, what: &str, wanted: impl Fn(&OperatorPod) -> bool) -> Result<OperatorPod> {
        self.cluster.until(what, async || Ok(self.pods().await?.into_iter().find(|pod| wanted(pod)))).await
    }

    /// Waits until there are so many pods, all ready and none terminating.
    pub async fn all_ready(&self, count: usize) -> Result<Vec<OperatorPod>> {
        let ask = async || {
            let pods = self.pods().await?;
            Ok((pods.len() == count && pods.iter().all(|pod| pod.ready && !pod.ending)).then_some(pods))
        };
        self.cluster.until("all pods are ready", ask).await
    }

    /// Waits for a leader.
    pub async fn leader(&self) -> Result<Leader> {
        self.leads("a pod leads", |_| true).await
    }

    /// Waits until the leader is another pod, or the same pod after a restart.
    pub async fn another_leads(&self, before: &Leader) -> Result<Leader> {
        self.leads("another leads", |leader| leader.identity != before.identity).await
    }

    async fn leads(&self, what: &str, wanted: impl Fn(&Leader) -> bool) -> Result<Leader> {
        let ask = async || Ok(self.holder().await?.filter(|leader| wanted(leader)));
        self.cluster.until(what, ask).await
    }

    /// The pod that holds the Lease, if one does.
    pub async fn holder(&self) -> Result<Option<Leader>> {
        let leases: Api<Lease> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
        let lease = leases.get(RELEASE).await?;
        let identity = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        // The suffix after the name is unique to the process.
        let Some((name, _)) = identity.rsplit_once('_') else {
            return Ok(None);
        };
        let pod = self.pods().await?.into_iter().find(|pod| pod.name == name);
        Ok(pod.map(|pod| Leader { pod, identity: identity.clone() }))
    }

    /// Waits until a pod has logged these texts in this order.
    pub async fn logged(&self, pod: &OperatorPod, texts: &[&str]) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
        let ask = async || {
            let log = pods.logs(&pod.name, &LogParams::default()).await?;
            let rest = texts.iter().try_fold(log.as_str(), |log, text| Some(log.split_once(text)?.1));
            Ok(rest.map(drop))
        };
        self.cluster.until(&format!("{} logs {texts:?}", pod.name), ask).await
    }

    /// For error messages: the pods, the leader, and their logs.
    pub async fn diagnostics(&self) -> String {
        let ask = async {
            let mut words = format!("holder: {:?}\n", self.holder().await?);
            let pods: Api<Pod> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
            let last = LogParams { tail_lines: Some(30), ..LogParams::default() };
            for pod in self.pods().await? {
                words += &format!("{pod:?}\n{}\n", pods.logs(&pod.name, &last).await.unwrap_or_default());
            }
            anyhow::Ok(words)
        };
        ask.await.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// The writes of its pods to AWS, in order of arrival.
    pub async fn writes(&self) -> Result<Vec<Recorded>> {
        let calls = self.cluster.cloud.calls(&self.release.account).await?;
        // The test's own clients send no name.
        Ok(calls.into_iter().filter(|call| call.is_write() && !call.app.is_empty()).collect())
    }

    /// Checks that only these pods wrote, in this order, and no two at the same time.
    pub async fn check_writers(&self, pods: &[&OperatorPod]) -> Result<()> {
        let writes = self.writes().await?;
        write_order::check_one_at_a_time(&writes)?;
        let mut expected: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        expected.dedup();
        let order = write_order::order(&writes);
        ensure!(order == expected, "others wrote than {expected:?}: {order:?}");
        Ok(())
    }

    /// Uninstalls it and waits until its pods are gone; Helm does not wait for that.
    pub async fn uninstall(&self) -> Result<()> {
        self.release.uninstall(&self.cluster.kind.helm).await?;
        let ask = async || Ok(self.pods().await?.is_empty().then_some(()));
        self.cluster.until("the pods are gone", ask).await
    }

    /// Makes AWS answer slowly, so that work takes a while.
    pub async fn slow_down(&self) -> Result<()> {
        self.cluster.cloud.set_latency(&self.release.account, 0.5).await
    }

    /// Makes AWS answer immediately again.
    pub async fn speed_up(&self) -> Result<()> {
        self.cluster.cloud.set_latency(&self.release.account, 0.0).await
    }

    /// Checks that the operator left no role in its account.
    pub async fn check_no_role_is_left(&self) -> Result<()> {
        let roles = self.clients().iam().list_roles().path_prefix("/s3-replication/").send().await;
        let roles: Vec<String> = roles
            .context("cannot list the roles")?
            .roles()
            .iter()
            .map(|role| role.role_name().to_owned())
            .collect();
        // Other tests use the account of the default release too.
        let ours = roles.iter().any(|role| self.own || role.contains(&self.name));
        ensure!(!ours, "roles are left: {roles:?}");
        Ok(())
    }

    /// Removes the release unless it is the default one, without waiting for the end.
    pub async fn close(self) -> Result<()> {
        if self.own {
            let helm = &self.cluster.kind.helm;
            helm.run(&["uninstall", RELEASE, "--namespace", &self.release.namespace]).await?;
            let delete = ["delete", "namespace", &self.release.namespace, "--wait=false"];
            self.cluster.kind.kubectl.run(delete).await?;
        }
        Ok(())
    }
}
