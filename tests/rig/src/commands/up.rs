//! `rig up`: a Kubernetes API and an AWS to play with, until Ctrl-C.

use anyhow::Result;
use rig::{Proxy, Rig};

/// What to type in another terminal, as comments, so that the whole output can be pasted.
const NEXT: &str = "\
# in another terminal, with these variables, at the root of the repository:
#   cargo run -- run
# and in a third one:
#   aws s3api create-bucket --bucket source-bucket-us-east-1
#   aws s3api create-bucket --bucket dest-bucket-eu-west-1 --region eu-west-1 \\
#     --create-bucket-configuration LocationConstraint=eu-west-1
#   kubectl apply -f deploy/samples/quickstart.yaml
#   cargo run -- status orders-to-eu";

/// Starts everything, prints how to talk to it, and stays.
pub fn run() -> Result<()> {
    let rig = Rig::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let proxy = Proxy::start(([127, 0, 0, 1], rig.emulator.port()).into()).await?;
        println!("export KUBECONFIG={}", rig.cluster.admin_kubeconfig().display());
        println!("export AWS_ENDPOINT_URL={}", proxy.url());
        println!("export AWS_ACCESS_KEY_ID=111122223333 AWS_SECRET_ACCESS_KEY=test");
        println!("export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1");
        println!("{NEXT}");
        eprintln!("rig: up; Ctrl-C ends it");
        tokio::signal::ctrl_c().await?;
        anyhow::Ok(())
    })?;
    rig.shutdown();
    Ok(())
}
