//! The operator's pods and the nodes that they are on.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::case::Case;
use super::ground::Ground;
use super::site::Site;

/// How long it may take to drain a node.
const DRAIN: Duration = Duration::from_secs(120);

pub fn drained(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::own(ground, "drained", json!({})).await?;
        let pods = site.all_ready(2).await?;
        let nodes: Vec<&str> = pods.iter().map(|pod| pod.node.as_str()).collect();
        ensure!(nodes.first() != nodes.last(), "both are on one node: {pods:?}");
        let leader = site.leader().await?;
        let case = Case::ready(&site, "steady").await?;
        case.drift().await?;

        let kubectl = &ground.kind.kubectl;
        let drain = ["drain", &leader.node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"];
        kubectl.wait(&drain, DRAIN).await?;
        let moved = async {
            let next = site.another_leads(&leader).await?;
            case.put_right().await?;
            let pods = site.all_ready(2).await?;
            let stayed = pods.iter().find(|pod| pod.node == leader.node);
            ensure!(stayed.is_none(), "one stayed on a node that was drained: {stayed:?}");
            anyhow::Ok(next)
        };
        let moved = moved.await;
        kubectl.run(["uncordon", &leader.node]).await?;
        let next = moved?;
        case.delete().await?;
        site.wrote_one_after_the_other(&[&leader, &next]).await?;
        site.close().await
    })
}
