//! The operator's process ends, or should: Kubernetes starts it again in the same pod.

use anyhow::{Result, ensure};
use serde_json::json;

use super::case::Case;
use super::failover::lives_again;
use super::ground::Ground;
use super::node;
use super::site::Site;

pub fn asked_to_end(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let site = Site::own(ground, "asked", json!({})).await?;
        let leader = site.leader().await?;
        let case = Case::ready(&site, "steady").await?;
        case.drift().await?;
        node::signal(ground, &leader, "TERM").await?;
        site.another_leads(&leader).await?;
        case.put_right().await?;
        let again = site.pod("it is ready again", |pod| lives_again(pod, &leader)).await?;
        ensure!(again.exit_code == Some(0), "it ended with {:?}", again.exit_code);
        case.delete().await?;
        site.close().await
    })
}

pub fn hung(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let often = json!({"livenessProbe": {"periodSeconds": 2, "failureThreshold": 2}});
        let site = Site::own(ground, "hung", often).await?;
        let leader = site.leader().await?;
        let case = Case::ready(&site, "steady").await?;
        case.drift().await?;
        // A stopped process has its sockets still, and answers nothing.
        node::signal(ground, &leader, "STOP").await?;
        let next = site.another_leads(&leader).await?;
        case.put_right().await?;
        let again = site.pod("the hung one is ready again", |pod| lives_again(pod, &leader)).await?;
        // It did not see the request to end: it was killed in the end.
        ensure!(again.exit_code == Some(137), "it ended with {:?}", again.exit_code);
        site.wrote_one_after_the_other(&[&leader, &next]).await?;
        case.delete().await?;
        site.close().await
    })
}
