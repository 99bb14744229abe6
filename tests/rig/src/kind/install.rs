//! What the tests have on a cluster: the emulator in the place of AWS, and the operator.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::kubectl::{Forward, Kubectl};
use super::ours::Images;
use crate::clients::Clients;
use crate::paths;

/// The namespace of the emulator.
pub const AWS_NAMESPACE: &str = "aws";

/// The namespace of the operator.
pub const OPERATOR_NAMESPACE: &str = "s3-replication";

/// The account that the operator acts in.
pub const ACCOUNT: &str = "111122223333";

/// The port of the emulator.
const AWS_PORT: u16 = 4566;

/// How long a pod may take to be ready: a busy machine, and CoreDNS of a cluster that has just begun.
const READY: Duration = Duration::from_secs(180);

/// AWS as the cluster has it.
#[derive(Debug)]
pub struct CloudInCluster {
    forward: Forward,
}

impl CloudInCluster {
    /// Clients as the root of the operator's account.
    pub fn clients(&self) -> Clients {
        Clients::new(&self.forward.url(), ACCOUNT)
    }

    /// The address for `AWS_ENDPOINT_URL`, on this machine.
    pub fn url(&self) -> String {
        self.forward.url()
    }
}

/// Installs the emulator and waits until it answers.
pub async fn emulator(kubectl: &Kubectl, images: &Images) -> Result<CloudInCluster> {
    kubectl.apply(&manifest("emulator.yaml", images)?).await?;
    rolled_out(kubectl, AWS_NAMESPACE, "emulator").await?;
    Ok(CloudInCluster { forward: kubectl.forward(AWS_NAMESPACE, "deployment/emulator", AWS_PORT)? })
}

/// Installs the operator and waits until it is ready.
pub async fn operator(kubectl: &Kubectl, images: &Images) -> Result<()> {
    let crds = paths::repository().join("crds");
    let crds = crds.to_string_lossy();
    kubectl.run(["apply", "--server-side", "--force-conflicts", "-f", &crds]).await?;
    kubectl.wait(&["wait", "--for=condition=Established", "-f", &crds], READY).await?;
    kubectl.apply(&manifest("operator.yaml", images)?).await?;
    rolled_out(kubectl, OPERATOR_NAMESPACE, "s3-replication-operator").await
}

/// Waits until all pods of a Deployment are those that it asks for, and ready.
pub async fn rolled_out(kubectl: &Kubectl, namespace: &str, deployment: &str) -> Result<()> {
    let deployment = format!("deployment/{deployment}");
    let waited = kubectl.wait(&["-n", namespace, "rollout", "status", &deployment], READY).await;
    match waited {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(reasons(kubectl, namespace).await)),
    }
}

/// What a person would look at next: the pods and what they say.
async fn reasons(kubectl: &Kubectl, namespace: &str) -> String {
    let look = |args: Vec<String>| async move {
        kubectl.run(&args).await.unwrap_or_else(|error| format!("{error:#}\n"))
    };
    let args = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let pods = look(args(&format!("-n {namespace} get pods -o wide"))).await;
    let events = look(args(&format!("-n {namespace} get events"))).await;
    format!("not rolled out in {namespace}:\n{pods}{events}")
}

fn manifest(name: &str, images: &Images) -> Result<String> {
    let path = paths::repository().join("tests/kind").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.replace("OPERATOR_IMAGE", &images.operator).replace("EMULATOR_IMAGE", &images.emulator))
}
