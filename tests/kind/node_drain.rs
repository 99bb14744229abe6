//! Draining the node of the leader.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::cluster::Cluster;
use super::release::OperatorRelease;
use super::replication::Replication;

/// How long draining a node may take.
const DRAIN: Duration = Duration::from_secs(120);

pub fn drained(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::own(cluster, "drained", json!({})).await?;
        let pods = operator.all_ready(2).await?;
        let nodes: Vec<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
        ensure!(nodes.first() != nodes.last(), "both are on one node: {pods:?}");
        let leader = operator.leader().await?;
        let replication = Replication::ready(&operator, "steady").await?;
        replication.change_in_aws().await?;

        let kubectl = &cluster.kind.kubectl;
        let drain = ["drain", &leader.node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"];
        kubectl.wait(&drain, DRAIN).await?;
        let moved = async {
            let next = operator.another_leads(&leader).await?;
            replication.wait_corrected().await?;
            let pods = operator.all_ready(2).await?;
            let stayed = pods.iter().find(|pod| pod.node == leader.node);
            ensure!(stayed.is_none(), "one stayed on a node that was drained: {stayed:?}");
            anyhow::Ok(next)
        };
        let moved = moved.await;
        kubectl.run(["uncordon", &leader.node]).await?;
        let next = moved?;
        replication.delete().await?;
        operator.check_writers(&[&leader, &next]).await?;
        operator.close().await
    })
}
