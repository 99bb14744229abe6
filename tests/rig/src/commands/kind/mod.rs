//! `rig kind`: the operator in a pod of a real cluster.

mod story;

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use rig::kind::{Images, Kind, look};
use tokio::runtime::Runtime;
use tokio::signal::ctrl_c;

use story::Story;

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
    let outcome = runtime.block_on(show(&kind, args.keep));
    // What was started is ended in any case.
    let stopped = kind.stop();
    outcome.and(stopped)
}

async fn show(kind: &Kind, keep: bool) -> Result<()> {
    let mut story = Story::new(kind)?;
    let told = tokio::select! {
        biased;
        interrupt = ctrl_c() => interrupt.map_err(Into::into).and(Err(anyhow!(Interrupted))),
        told = story.tell(keep) => told,
    };
    let interrupted = matches!(&told, Err(error) if error.is::<Interrupted>());
    if keep && !interrupted {
        if let Err(error) = &told {
            eprintln!("rig: {error:#}");
        }
        println!("\nAll of it stays up until Ctrl-C. In another terminal:\n");
        kind.how_to_talk().iter().for_each(|line| println!("{line}"));
        story.how_to_talk().iter().for_each(|line| println!("{line}"));
        ctrl_c().await?;
    }
    if !kind.is_ours() {
        story.remove().await?;
    }
    told
}

/// Someone pressed Ctrl-C.
#[derive(Debug)]
struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

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
