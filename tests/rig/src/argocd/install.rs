//! Argo CD's objects in a cluster: those of its own manifests that its controller reads.

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::Cluster;

pub(super) const NAMESPACE: &str = "argocd";

/// Applies them, and merges a patch file into its ConfigMap as a user would.
pub(super) fn apply(cluster: &Cluster, crds: &Path, config: &Path) -> Result<()> {
    cluster.apply_crds(crds)?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects()});
    kubectl(cluster, &["apply", "--server-side", "-f", "-"], &list.to_string())?;
    let config = config.to_string_lossy();
    kubectl(cluster, &["patch", "cm", "argocd-cm", "-n", NAMESPACE, "--patch-file", &config], "")
}

fn objects() -> Vec<Value> {
    let named = |kind: &str, name: &str| {
        json!({
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/part-of": "argocd"},
            },
        })
    };
    let secret = |name: &str, key: &str, text: &str| {
        let mut secret = named("Secret", name);
        secret["stringData"] = json!({ key: text });
        secret
    };
    let project = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"namespace": "*", "server": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        },
    });
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        named("ConfigMap", "argocd-cm"),
        named("ConfigMap", "argocd-rbac-cm"),
        secret("argocd-secret", "server.secretkey", "of no use without the server"),
        secret("argocd-redis", "auth", ""),
        project,
    ]
}

fn kubectl(cluster: &Cluster, args: &[&str], input: &str) -> Result<()> {
    let output = cluster.kubectl_with_input(args, input)?;
    if !output.status.success() {
        bail!("kubectl {} fails: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
