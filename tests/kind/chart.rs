//! `helm test`, and uninstalling a release, with and without resources that are left.

use std::fs;

use anyhow::{Result, ensure};
use rig::kind::install::RELEASE;
use rig::paths;
use serde_json::Value;

use super::cluster::Cluster;
use super::release::OperatorRelease;
use super::replication::Replication;

const DEFINITIONS: [&str; 3] = [
    "awsaccounts.s3replication.dev",
    "bucketreplications.s3replication.dev",
    "replicationbackfills.s3replication.dev",
];

pub fn tested(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "tested").await?;
        let namespace = &operator.release.namespace;
        let output = cluster.kind.helm.test(namespace, RELEASE).await?;
        ensure!(output.contains("Succeeded"), "{output}");
        // The pod of the test is not a pod of the operator, and is deleted.
        operator.all_ready(2).await?;
        let pods = cluster.kind.kubectl.get(&["-n", namespace, "pods"]).await?;
        let count = pods["items"].as_array().map_or(0, Vec::len);
        ensure!(count == 2, "{count} pods are left");
        Ok(())
    })
}

/// In the order of the chart's notes: resources first.
pub fn uninstalled_in_order(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "in-order").await?;
        let notes = operator.release.install(&cluster.kind).await?;
        let at = |words: &str| notes.find(words).unwrap_or(notes.len());
        ensure!(
            at("kubectl delete replicationbackfills,bucketreplications")
                < at(&format!("helm uninstall {RELEASE}"))
                && at("helm uninstall") < notes.len(),
            "the notes do not name the order: {notes}"
        );
        let replication = Replication::ready(&operator, "there").await?;
        let namespace = operator.release.namespace.as_str();
        let manifest = cluster.kind.helm.run(&["get", "manifest", RELEASE, "--namespace", namespace]).await?;
        let file = paths::scratch_dir("manifest")?.join("manifest.yaml");
        fs::write(&file, manifest)?;

        replication.delete().await?;
        operator.uninstall().await?;
        let file = file.to_string_lossy();
        let left = cluster.kind.kubectl.run(["get", "--ignore-not-found", "-o", "name", "-f", &file]).await?;
        let mut left: Vec<&str> = left.lines().collect();
        left.sort_unstable();
        let definitions =
            DEFINITIONS.map(|name| format!("customresourcedefinition.apiextensions.k8s.io/{name}"));
        ensure!(left == definitions, "of what was installed this is left: {left:?}");
        operator.release.delete_namespace(&cluster.kind.kubectl).await?;
        operator.check_no_role_is_left().await?;
        OperatorRelease::install_default(&cluster.kind).await.map(drop)
    })
}

pub fn left_behind(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "left").await?;
        let notes = operator.release.install(&cluster.kind).await?;
        ensure!(
            notes.contains("what stays behind can be deleted only after installing again"),
            "the notes do not say it: {notes}"
        );
        let replication = Replication::ready(&operator, "there").await?;
        operator.uninstall().await?;

        // The deletion waits for an operator, and none runs.
        replication.begin_deletion().await?;
        let object = replication.object().await?;
        ensure!(object["metadata"]["deletionTimestamp"].is_string(), "it is not being deleted: {object}");
        let finalizer = Value::from("s3replication.dev/finalizer");
        let waits = object["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&finalizer));
        ensure!(waits, "it does not wait: {object}");
        ensure!(replication.is_configured().await?, "its configuration went without an operator");

        OperatorRelease::install_default(&cluster.kind).await?;
        replication.wait_deleted().await?;
        operator.check_no_role_is_left().await
    })
}
