//! The operator's pod goes, and another one comes.

use std::time::Duration;

use anyhow::{Result, ensure};
use rig::kind::install::OPERATOR_NAMESPACE;

use super::case::Case;
use super::ground::Ground;
use super::pod::OperatorPod;

/// How long it may take to drain a node.
const DRAIN: Duration = Duration::from_secs(120);

pub fn deleted(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let case = Case::ready(ground, "deleted").await?;
        let before = OperatorPod::current(ground).await?;
        case.drift().await?;
        let delete = ["-n", OPERATOR_NAMESPACE, "delete", "pod", &before.name, "--grace-period=0", "--force"];
        ground.kubectl.wait(&delete, DRAIN).await?;
        OperatorPod::wait(ground, "another pod is ready", |pod| pod.uid != before.uid).await?;
        case.put_right().await?;
        case.delete().await
    })
}

pub fn drained(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let case = Case::ready(ground, "drained").await?;
        let before = OperatorPod::current(ground).await?;
        case.drift().await?;
        let drain = ["drain", &before.node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"];
        ground.kubectl.wait(&drain, DRAIN).await?;
        let after = OperatorPod::wait(ground, "another pod is ready", |pod| pod.uid != before.uid).await;
        let put_right = case.put_right().await;
        ground.kubectl.run(["uncordon", &before.node]).await?;
        let after = after?;
        ensure!(after.node != before.node, "it stayed on a node that was drained: {after:?}");
        put_right?;
        case.delete().await
    })
}
