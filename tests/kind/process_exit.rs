//! The operator's process ends or hangs: Kubernetes restarts it in the same pod.

use anyhow::{Result, ensure};
use serde_json::json;

use super::cluster::Cluster;
use super::failover::has_restarted;
use super::node;
use super::release::OperatorRelease;
use super::replication::Replication;

pub fn asked_to_end(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let operator = OperatorRelease::own(cluster, "asked", json!({})).await?;
        let leader = operator.leader().await?;
        let replication = Replication::ready(&operator, "steady").await?;
        replication.change_in_aws().await?;
        node::signal(cluster, &leader, "TERM").await?;
        operator.another_leads(&leader).await?;
        replication.wait_corrected().await?;
        let again = operator.pod("it is ready again", |pod| has_restarted(pod, &leader)).await?;
        ensure!(again.exit_code == Some(0), "it ended with {:?}", again.exit_code);
        replication.delete().await?;
        operator.close().await
    })
}

pub fn hung(cluster: &Cluster) -> Result<()> {
    cluster.block_on(async {
        let often = json!({"livenessProbe": {"periodSeconds": 2, "failureThreshold": 2}});
        let operator = OperatorRelease::own(cluster, "hung", often).await?;
        let leader = operator.leader().await?;
        let replication = Replication::ready(&operator, "steady").await?;
        replication.change_in_aws().await?;
        // A stopped process keeps its sockets and does not answer.
        node::signal(cluster, &leader, "STOP").await?;
        let next = operator.another_leads(&leader).await?;
        replication.wait_corrected().await?;
        let again = operator.pod("the hung one is ready again", |pod| has_restarted(pod, &leader)).await?;
        // It could not handle SIGTERM, so it was killed.
        ensure!(again.exit_code == Some(137), "it ended with {:?}", again.exit_code);
        operator.check_writers(&[&leader, &next]).await?;
        replication.delete().await?;
        operator.close().await
    })
}
