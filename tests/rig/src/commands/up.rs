//! `rig up`: a Kubernetes API, an AWS and the operator to play with, until Ctrl-C.
//!
//! It prints lines for a shell: the environment, and as comments the commands of the page on a first replication.

use std::path::Path;

use anyhow::Result;
use rig::jobs::Worker;
use rig::{Operator, Proxy, Rig, operator};

use super::by_hand;

/// Nobody who plays waits for the 15 minutes that a backfill waits by default.
const SETTINGS: [(&str, &str); 1] = [("BACKFILL_SETTLE", "0")];

/// Starts everything, prints how to use it, and stays.
pub fn run(without_operator: bool) -> Result<()> {
    let program = operator::build()?;
    let rig = Rig::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(stay(&rig, &program, without_operator));
    rig.shutdown();
    outcome
}

async fn stay(rig: &Rig, program: &Path, without_operator: bool) -> Result<()> {
    let proxy = Proxy::start(([127, 0, 0, 1], rig.emulator.port()).into()).await?;
    let _worker = Worker::start(&rig.emulator.url());
    by_hand::create_boundary(&rig.emulator.url()).await?;
    let operator = match without_operator {
        true => None,
        false => Some(start_operator(rig, program, &proxy).await?),
    };
    println!("export KUBECONFIG={}", rig.cluster.admin_kubeconfig().display());
    let lines = by_hand::environment(&proxy.url(), program, &[rig.cluster.kubectl_program()])?;
    lines.iter().for_each(|line| println!("{line}"));
    match &operator {
        Some(operator) => println!("# The operator runs. Its log: {}", operator.log_path().display()),
        None => {
            let settings = SETTINGS.map(|(name, value)| format!("{name}={value}")).join(" ");
            println!("# No operator runs yet: {settings} s3-replication-operator run --require-account");
        }
    }
    println!("{}", by_hand::steps(&[by_hand::FIRST])?);
    eprintln!("rig: up; Ctrl-C ends it");
    by_hand::until_asked_to_end().await?;
    if let Some(operator) = operator {
        // The guard kills an operator that does not end on SIGTERM.
        let _ = operator.terminate().await;
    }
    Ok(())
}

/// The operator as the chart starts it: it refuses resources without an `AwsAccount`.
async fn start_operator(rig: &Rig, program: &Path, proxy: &Proxy) -> Result<Operator> {
    let operator = rig.operator(by_hand::ACCOUNT, &proxy.url()).binary(program).arg("--require-account");
    SETTINGS.into_iter().fold(operator, |operator, (name, value)| operator.env(name, value)).start().await
}
