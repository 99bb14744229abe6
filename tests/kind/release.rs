//! A release of the operator that a test works with: its pods, who of them leads, and what they asked of AWS.

use std::ops::Deref;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use rig::Clients;
use rig::kind::cloud::Recorded;
use rig::kind::install::{PODS, RELEASE, Release};
use rig::kind::{Kind, writers};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::pod::OperatorPod;

/// The label that says which release a resource is for; one without it is for the usual one.
const LABEL: &str = "site";

pub struct OperatorRelease<'a> {
    pub cluster: &'a Cluster,
    pub release: Release,
    /// The namespace of its resources.
    pub namespace: String,
    /// The beginning of names that nobody else has.
    pub name: String,
    own: bool,
}

/// Who holds the Lease: one life of a pod.
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
    /// Installs the usual release: the chart's defaults, but that the resources of other sites are not its.
    pub async fn install_default(kind: &Kind) -> Result<String> {
        Self::default_release().install(kind).await
    }

    fn default_release() -> Release {
        let operator = json!({"selector": format!("!{LABEL}"), "requireAccount": false});
        Release { values: json!({"operator": operator}), ..Release::documented() }
    }

    /// The usual release, which the test has for itself.
    pub async fn shared(cluster: &'a Cluster, test: &str) -> Result<Self> {
        let (name, namespace) = (unique(test), "default".to_owned());
        let operator = Self { cluster, release: Self::default_release(), namespace, name, own: false };
        // A test that failed may have left none.
        if operator.pods().await?.is_empty() {
            operator.release.install(&cluster.kind).await?;
        }
        Ok(operator)
    }

    /// A release of a test's own, with these values beside, in an account of its own.
    pub async fn own(cluster: &'a Cluster, test: &str, values: Value) -> Result<Self> {
        let name = unique(test);
        let mut all = json!({
            // An AwsAccount is cluster-scoped, so it would count for the other releases too.
            "operator": {"selector": format!("{LABEL}={name}"), "requireAccount": false},
            // These are the usual release's.
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

    /// What marks a resource as this site's.
    pub fn labels(&self) -> Value {
        if self.own { json!({LABEL: self.name}) } else { json!({}) }
    }

    /// AWS as the root of its account.
    pub fn clients(&self) -> Clients {
        self.cluster.cloud.clients_of(&self.release.account)
    }

    /// Its pods, those too that are about to end.
    pub async fn pods(&self) -> Result<Vec<OperatorPod>> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
        Ok(pods.list(&ListParams::default().labels(PODS)).await?.iter().map(OperatorPod::from).collect())
    }

    /// Waits until a pod is as wanted.
    pub async fn pod(&self, what: &str, wanted: impl Fn(&OperatorPod) -> bool) -> Result<OperatorPod> {
        self.cluster.until(what, async || Ok(self.pods().await?.into_iter().find(|pod| wanted(pod)))).await
    }

    /// Waits until there are so many pods, all of them ready and none about to end.
    pub async fn all_ready(&self, count: usize) -> Result<Vec<OperatorPod>> {
        let look = async || {
            let pods = self.pods().await?;
            Ok((pods.len() == count && pods.iter().all(|pod| pod.ready && !pod.ending)).then_some(pods))
        };
        self.cluster.until("all pods are ready", look).await
    }

    /// Waits until one leads.
    pub async fn leader(&self) -> Result<Leader> {
        self.leads("a pod leads", |_| true).await
    }

    /// Waits until another leads than before: another pod, or another life of the same.
    pub async fn another_leads(&self, before: &Leader) -> Result<Leader> {
        self.leads("another leads", |leader| leader.identity != before.identity).await
    }

    async fn leads(&self, what: &str, wanted: impl Fn(&Leader) -> bool) -> Result<Leader> {
        let look = async || Ok(self.holder().await?.filter(|leader| wanted(leader)));
        self.cluster.until(what, look).await
    }

    /// The pod that the Lease names; nothing while nobody holds it.
    pub async fn holder(&self) -> Result<Option<Leader>> {
        let leases: Api<Lease> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
        let lease = leases.get(RELEASE).await?;
        let identity = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
        // The end after the name is the process's own.
        let Some((name, _)) = identity.rsplit_once('_') else {
            return Ok(None);
        };
        let pod = self.pods().await?.into_iter().find(|pod| pod.name == name);
        Ok(pod.map(|pod| Leader { pod, identity: identity.clone() }))
    }

    /// Waits until a pod has logged these, one after the other.
    pub async fn logged(&self, pod: &OperatorPod, texts: &[&str]) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
        let look = async || {
            let log = pods.logs(&pod.name, &LogParams::default()).await?;
            let rest = texts.iter().try_fold(log.as_str(), |log, text| Some(log.split_once(text)?.1));
            Ok(rest.map(drop))
        };
        self.cluster.until(&format!("{} logs {texts:?}", pod.name), look).await
    }

    /// What a person would look at next, for error messages: the pods, who leads, and what they log.
    pub async fn diagnostics(&self) -> String {
        let look = async {
            let mut words = format!("holder: {:?}\n", self.holder().await?);
            let pods: Api<Pod> = Api::namespaced(self.cluster.kube.clone(), &self.release.namespace);
            let last = LogParams { tail_lines: Some(30), ..LogParams::default() };
            for pod in self.pods().await? {
                words += &format!("{pod:?}\n{}\n", pods.logs(&pod.name, &last).await.unwrap_or_default());
            }
            anyhow::Ok(words)
        };
        look.await.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// What its pods asked AWS to change, in order of arrival.
    pub async fn writes(&self) -> Result<Vec<Recorded>> {
        let calls = self.cluster.cloud.calls(&self.release.account).await?;
        // The test itself has no name.
        Ok(calls.into_iter().filter(|call| call.is_write() && !call.app.is_empty()).collect())
    }

    /// Sees that these pods wrote, in this order, no other did, and no two at the same time.
    pub async fn check_writers(&self, pods: &[&OperatorPod]) -> Result<()> {
        let writes = self.writes().await?;
        writers::check_one_at_a_time(&writes)?;
        let mut expected: Vec<&str> = pods.iter().map(|pod| pod.name.as_str()).collect();
        expected.dedup();
        let order = writers::order(&writes);
        ensure!(order == expected, "others wrote than {expected:?}: {order:?}");
        Ok(())
    }

    /// Uninstalls it and waits until its pods are gone, which Helm does not.
    pub async fn uninstall(&self) -> Result<()> {
        self.release.uninstall(&self.cluster.kind.helm).await?;
        let look = async || Ok(self.pods().await?.is_empty().then_some(()));
        self.cluster.until("the pods are gone", look).await
    }

    /// From now on AWS answers slowly, so that work takes a while.
    pub async fn slow_down(&self) -> Result<()> {
        self.cluster.cloud.set_latency(&self.release.account, 0.5).await
    }

    /// AWS answers at once again.
    pub async fn speed_up(&self) -> Result<()> {
        self.cluster.cloud.set_latency(&self.release.account, 0.0).await
    }

    /// Sees that the operator has left no role in its account.
    pub async fn check_no_role_is_left(&self) -> Result<()> {
        let roles = self.clients().iam().list_roles().path_prefix("/s3-replication/").send().await;
        let roles: Vec<String> = roles
            .context("cannot list the roles")?
            .roles()
            .iter()
            .map(|role| role.role_name().to_owned())
            .collect();
        // The account of the usual release is that of other tests too.
        let ours = roles.iter().any(|role| self.own || role.contains(&self.name));
        ensure!(!ours, "roles are left: {roles:?}");
        Ok(())
    }

    /// Takes a release of a test's own away again; what becomes of it is not waited for.
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

/// A cluster that is given may have what an earlier run has left.
fn unique(test: &str) -> String {
    let end: String = std::iter::repeat_with(fastrand::lowercase).take(5).collect();
    format!("{test}-{end}")
}
