//! `helm test`, and uninstalling a release, with and without resources that are left.

use std::fs;

use anyhow::{Context, Result, ensure};
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
        let (namespace, kubectl) = (operator.release.namespace.as_str(), &cluster.kind.kubectl);
        let leader = operator.leader().await?;
        let output = cluster.kind.helm.test(namespace, RELEASE).await?;
        ensure!(output.contains("Succeeded"), "{output}");
        // The pod of the test is not a pod of the operator, and is deleted.
        operator.all_ready(2).await?;
        check_nothing_is_left_of_the_test(&operator, 2).await?;
        ensure!(operator.leader().await?.name == leader.name, "another pod leads");

        // An operator that someone stopped stays stopped: it would correct what is changed now.
        let replication = Replication::ready(&operator, "stopped").await?;
        operator.release.scale(kubectl, 0).await?;
        replication.change_in_aws().await?;
        let writes = operator.writes().await?.len();
        let failed = cluster.kind.helm.test(namespace, RELEASE).await;
        let printed = failed.map_or_else(|error| format!("{error:#}"), |passed| format!("passes: {passed}"));
        ensure!(printed.contains("is scaled to 0, so that no operator runs"), "{printed}");
        ensure!(operator.holder().await?.is_none(), "the test leads");
        ensure!(operator.writes().await?.len() == writes, "the test writes to AWS");
        kubectl.run(["-n", namespace, "delete", "pod", &format!("{RELEASE}-test")]).await?;
        check_nothing_is_left_of_the_test(&operator, 0).await?;
        operator.release.scale(kubectl, 2).await?;
        replication.wait_corrected().await?;
        replication.delete().await
    })
}

/// Checks that there are so many pods, and that the right of the test is taken away.
async fn check_nothing_is_left_of_the_test(operator: &OperatorRelease<'_>, pods: usize) -> Result<()> {
    let namespace = operator.release.namespace.as_str();
    let left = operator.cluster.kind.kubectl.get(&["-n", namespace, "pods,roles,rolebindings"]).await?;
    let items = left["items"].as_array().into_iter().flatten();
    let (found, rights): (Vec<&Value>, Vec<&Value>) = items.partition(|item| item["kind"] == "Pod");
    ensure!(found.len() == pods, "{} pods are left", found.len());
    let name = format!("{RELEASE}-test");
    ensure!(rights.iter().all(|item| item["metadata"]["name"] != name.as_str()), "{rights:?}");
    Ok(())
}

/// The commands of the chart's notes for uninstalling.
fn commands_to_uninstall(notes: &str) -> Result<String> {
    let (_, rest) = notes.split_once("To uninstall").context("the notes do not say how to uninstall")?;
    Ok(rest.lines().filter_map(|line| line.strip_prefix("  ")).collect::<Vec<_>>().join("\n"))
}

/// By the commands of the chart's notes: resources first.
pub fn uninstalled_in_order(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::shared(cluster, "in-order").await?;
        let notes = operator.release.install(&cluster.kind).await?;
        let replication = Replication::ready(&operator, "there").await?;
        let namespace = operator.release.namespace.as_str();
        let manifest = cluster.kind.helm.run(&["get", "manifest", RELEASE, "--namespace", namespace]).await?;
        let file = paths::scratch_dir("manifest")?.join("manifest.yaml");
        fs::write(&file, manifest)?;

        cluster.kind.shell(&commands_to_uninstall(&notes)?, &paths::repository()).await?;
        replication.wait_deleted().await?;
        // It waits for the end of the pods.
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
