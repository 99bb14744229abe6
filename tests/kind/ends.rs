//! The operator's process ends, or should: Kubernetes starts it again in the same pod.

use anyhow::{Result, ensure};

use super::case::Case;
use super::ground::Ground;
use super::node;
use super::pod::OperatorPod;

/// Sends the operator a signal and waits until its pod has restarted it and is ready.
async fn restarted(ground: &Ground, signal: &str) -> Result<OperatorPod> {
    let before = OperatorPod::current(ground).await?;
    node::signal(ground, &before, signal).await?;
    let what = format!("the operator is restarted after SIG{signal}");
    let after = OperatorPod::wait(ground, &what, |pod| pod.restarts > before.restarts).await?;
    ensure!(after.uid == before.uid, "it is another pod: {after:?}, was {before:?}");
    Ok(after)
}

pub fn asked_to_end(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let case = Case::ready(ground, "asked").await?;
        let pod = restarted(ground, "TERM").await?;
        ensure!(pod.exit_code == Some(0), "it ended with {:?}", pod.exit_code);
        case.delete().await
    })
}

pub fn killed(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        let case = Case::ready(ground, "killed").await?;
        // Without a restart it would not look for minutes.
        case.drift().await?;
        let pod = restarted(ground, "KILL").await?;
        ensure!(pod.exit_code == Some(137), "it ended with {:?}", pod.exit_code);
        case.put_right().await?;
        case.delete().await
    })
}

pub fn hung(ground: &Ground) -> Result<()> {
    ground.block_on(async {
        // A stopped process has its sockets still, and answers nothing.
        let pod = restarted(ground, "STOP").await?;
        // It did not see the request to end: it was killed in the end.
        ensure!(pod.exit_code == Some(137), "it ended with {:?}", pod.exit_code);
        Case::ready(ground, "hung").await?.delete().await
    })
}
