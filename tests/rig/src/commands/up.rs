//! `rig up`: a Kubernetes API and an AWS to play with, until Ctrl-C.

use anyhow::Result;
use rig::{Proxy, Rig};

/// Starts everything, prints how to talk to it, and stays.
pub fn run() -> Result<()> {
    let rig = Rig::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let proxy = Proxy::start(([127, 0, 0, 1], rig.emulator.port()).into()).await?;
        println!("export KUBECONFIG={}", rig.cluster.admin_kubeconfig().display());
        println!("export AWS_ENDPOINT_URL={}", proxy.url());
        println!("export AWS_ACCESS_KEY_ID=111122223333 AWS_SECRET_ACCESS_KEY=test");
        println!("export AWS_REGION=us-east-1");
        eprintln!("rig: up; Ctrl-C ends it");
        tokio::signal::ctrl_c().await?;
        anyhow::Ok(())
    })?;
    rig.shutdown();
    Ok(())
}
