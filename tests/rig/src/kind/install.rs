//! Installs on a cluster: the emulator in place of AWS, and the operator with its chart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::cloud::{ACCOUNT, CloudInCluster};
use super::images::Images;
use super::kubectl::Kubectl;
use super::{Helm, Kind};
use crate::emulator::SECRET;
use crate::paths;

/// The namespace of the emulator.
pub const AWS_NAMESPACE: &str = "aws";

/// The namespace of the operator, as the documentation has it.
pub const OPERATOR_NAMESPACE: &str = "s3-replication-system";

/// The name of a release, as the documentation has it, and so of its Deployment and Lease.
pub const RELEASE: &str = "s3-replication-operator";

/// The pods at work, and not those of `helm test`.
pub const PODS: &str = "app.kubernetes.io/name=s3-replication-operator,app.kubernetes.io/component=operator";

/// The Secret that holds the operator's access key.
const CREDENTIALS: &str = "aws";

/// The port of the emulator.
pub const AWS_PORT: u16 = 4566;

/// How long a pod may take to be ready: a busy machine, and CoreDNS of a cluster that has just begun.
const READY: Duration = Duration::from_secs(180);

/// How long a namespace may take to be gone: its pods are stopped first.
const GONE: Duration = Duration::from_secs(120);

/// A release of the chart in a namespace of its own.
#[derive(Debug, Clone)]
pub struct Release {
    /// Its namespace.
    pub namespace: String,
    /// The AWS account that it acts in.
    pub account: String,
    /// Values of the chart besides the image and AWS.
    pub values: Value,
}

/// The chart of this repository.
pub fn chart() -> PathBuf {
    paths::repository().join("charts/s3-replication-operator")
}

/// Installs the emulator and waits until it answers.
pub async fn emulator(kind: &Kind) -> Result<CloudInCluster> {
    let kubectl = &kind.kubectl;
    kubectl.apply(&manifest("emulator.yaml", &kind.images)?).await?;
    rolled_out(kubectl, AWS_NAMESPACE, "emulator").await?;
    Ok(CloudInCluster::new(kubectl.forward(AWS_NAMESPACE, "deployment/emulator", AWS_PORT)?))
}

/// Waits until a Deployment is rolled out.
pub async fn rolled_out(kubectl: &Kubectl, namespace: &str, deployment: &str) -> Result<()> {
    let deployment = format!("deployment/{deployment}");
    let waited = kubectl.wait(&["-n", namespace, "rollout", "status", &deployment], READY).await;
    match waited {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(reasons(kubectl, namespace).await)),
    }
}

impl Release {
    /// The documented one, with the chart's defaults but for one: an AwsAccount would count for the resources of every
    /// other suite on the cluster too.
    pub fn documented() -> Self {
        let namespace = OPERATOR_NAMESPACE.to_owned();
        let values = json!({"operator": {"requireAccount": false}});
        Self { namespace, account: ACCOUNT.to_owned(), values }
    }

    /// Makes its namespace, which admits restricted pods only, and the Secret with its access key.
    pub async fn prepare(&self, kubectl: &Kubectl) -> Result<()> {
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": self.namespace,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": CREDENTIALS, "namespace": self.namespace},
                "stringData": {"AWS_ACCESS_KEY_ID": self.account, "AWS_SECRET_ACCESS_KEY": SECRET},
            },
        ]});
        kubectl.apply(&objects.to_string()).await
    }

    /// Installs it from a chart, or upgrades it, waits until its pods are ready, and returns what Helm prints.
    pub async fn upgrade(&self, kind: &Kind, chart: &Path) -> Result<String> {
        let upgraded =
            kind.helm.upgrade(&self.namespace, RELEASE, chart, &self.all_values(&kind.images)).await;
        match upgraded {
            Ok(output) => Ok(output),
            Err(error) => Err(error.context(reasons(&kind.kubectl, &self.namespace).await)),
        }
    }

    /// Prepares and installs it from the chart of this repository.
    pub async fn install(&self, kind: &Kind) -> Result<String> {
        self.prepare(&kind.kubectl).await?;
        self.upgrade(kind, &chart()).await
    }

    /// Has so many pods, and waits for it: until they are ready, or until all are gone.
    pub async fn scale(&self, kubectl: &Kubectl, replicas: u8) -> Result<()> {
        let (namespace, deployment) = (self.namespace.as_str(), format!("deployment/{RELEASE}"));
        let wanted = format!("--replicas={replicas}");
        kubectl.run(["-n", namespace, "scale", &deployment, &wanted]).await?;
        rolled_out(kubectl, namespace, RELEASE).await?;
        if replicas == 0 {
            let pods = ["-n", namespace, "wait", "--for=delete", "pod", "-l", PODS];
            kubectl.wait(&pods, READY).await?;
        }
        Ok(())
    }

    /// Uninstalls it. Its pods may still be ending then.
    pub async fn uninstall(&self, helm: &Helm) -> Result<String> {
        helm.uninstall(&self.namespace, RELEASE).await
    }

    /// Deletes its namespace, and waits until that is gone.
    pub async fn delete_namespace(&self, kubectl: &Kubectl) -> Result<()> {
        kubectl.wait(&["delete", "namespace", &self.namespace, "--ignore-not-found"], GONE).await
    }

    fn all_values(&self, images: &Images) -> Value {
        let mut values = json!({
            "image": image(&images.operator),
            "aws": {
                "region": "us-east-1",
                // By a name that has to be completed with the domains to search.
                "endpointUrl": format!("http://emulator.{AWS_NAMESPACE}"),
                "credentialsSecret": CREDENTIALS,
            },
            // The emulator's pod listens on another port than its Service.
            "networkPolicy": {"extraEgress": [{"ports": [{"port": AWS_PORT, "protocol": "TCP"}]}]},
            // The emulator records the pod of each request.
            "extraEnv": [{"name": "AWS_SDK_UA_APP_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        });
        if let (Some(all), Some(own)) = (values.as_object_mut(), self.values.as_object()) {
            all.extend(own.clone());
        }
        values
    }
}

/// Splits the name of an image into the chart's values.
fn image(name: &str) -> Value {
    if let Some((repository, digest)) = name.split_once('@') {
        return json!({"repository": repository, "digest": digest});
    }
    let after_host = name.rfind('/').map_or(0, |at| at + 1);
    match name.rfind(':').filter(|at| *at >= after_host).and_then(|at| name.split_at_checked(at)) {
        Some((repository, tag)) => json!({"repository": repository, "tag": tag.trim_start_matches(':')}),
        None => json!({"repository": name, "tag": "latest"}),
    }
}

/// For error messages: the pods and the events.
async fn reasons(kubectl: &Kubectl, namespace: &str) -> String {
    let show = |args: Vec<String>| async move {
        kubectl.run(&args).await.unwrap_or_else(|error| format!("{error:#}\n"))
    };
    let args = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let pods = show(args(&format!("-n {namespace} get pods -o wide"))).await;
    let events = show(args(&format!("-n {namespace} get events"))).await;
    format!("not rolled out in {namespace}:\n{pods}{events}")
}

fn manifest(name: &str, images: &Images) -> Result<String> {
    let path = paths::repository().join("tests/kind").join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.replace("EMULATOR_IMAGE", &images.emulator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_s_name_is_taken_apart_at_its_tag_or_digest_and_not_at_a_port() {
        assert_eq!(image("a/b:1"), json!({"repository": "a/b", "tag": "1"}));
        assert_eq!(image("host:5000/b"), json!({"repository": "host:5000/b", "tag": "latest"}));
        assert_eq!(image("host:5000/b:1"), json!({"repository": "host:5000/b", "tag": "1"}));
        assert_eq!(image("host:5000/b@sha256:0"), json!({"repository": "host:5000/b", "digest": "sha256:0"}));
    }
}
