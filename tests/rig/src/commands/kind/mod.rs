//! `rig kind`: the operator in a pod of a real cluster.

mod story;

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use rig::kind::{Images, Kind, look};
use tokio::runtime::Runtime;
use tokio::signal::ctrl_c;

/// What can be asked of it.
#[derive(Debug, Args)]
pub struct KindArgs {
    /// How many nodes: the first is the control plane
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    /// Stay up at the end, with the example applied, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// A cluster that is there, to be used instead of one of our own
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    kubeconfig: Option<PathBuf>,
    /// The operator's image, where that cluster pulls it from
    #[arg(long, value_name = "NAME", requires = "kubeconfig", requires = "emulator_image")]
    operator_image: Option<String>,
    /// The emulator's image, where that cluster pulls it from
    #[arg(long, value_name = "NAME", requires = "operator_image")]
    emulator_image: Option<String>,
}

/// Makes a cluster, shows the operator on it, and deletes it.
///
/// # Errors
/// When no cluster can be made here, or the operator did not do its job on it.
pub fn run(args: &KindArgs) -> Result<()> {
    let kind = cluster(args)?;
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            interrupt = ctrl_c() => interrupt.map_err(Into::into).and(Err(anyhow!("interrupted"))),
            told = tell(&kind, args.keep) => told,
        }
    });
    // What was started is ended in any case.
    let stopped = kind.stop();
    outcome.and(stopped)
}

fn cluster(args: &KindArgs) -> Result<Kind> {
    if let Some(kubeconfig) = &args.kubeconfig {
        let images = args.operator_image.clone().zip(args.emulator_image.clone());
        return Kind::attach(kubeconfig, images.map(|(operator, emulator)| Images { operator, emulator }));
    }
    match look(true)? {
        Ok(way) => Kind::start(way, args.nodes),
        Err(why) => bail!(why),
    }
}

async fn tell(kind: &Kind, keep: bool) -> Result<()> {
    let mut story = story::Story::begin(kind).await?;
    let told = story.tell().await;
    if keep {
        if let Err(error) = &told {
            eprintln!("rig: {error:#}");
        } else {
            story.apply_again().await?;
        }
        println!("\nAll of it stays up until Ctrl-C. In another terminal:\n");
        kind.how_to_talk().iter().for_each(|line| println!("{line}"));
        println!("export AWS_ENDPOINT_URL={} AWS_REGION=us-east-1", story.cloud_url());
        std::future::pending::<()>().await;
    }
    if !kind.is_ours() {
        story.remove().await?;
    }
    told
}
