//! `rig kind`: the operator in a pod of a real cluster.

use anyhow::{Result, bail};
use clap::Args;
use rig::kind::{Kind, look};

/// What can be asked of it.
#[derive(Debug, Args)]
pub struct KindArgs {
    /// How many nodes: the first is the control plane
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: u8,
    /// Stay up at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Makes a cluster, shows the operator on it, and deletes it.
pub fn run(args: &KindArgs) -> Result<()> {
    let way = match look(true)? {
        Ok(way) => way,
        Err(why) => bail!(why),
    };
    let kind = Kind::start(way, args.nodes)?;
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{}", runtime.block_on(kind.kubectl.run(["get", "nodes", "-o", "wide"]))?);
    if args.keep {
        kind.how_to_talk().iter().for_each(|line| println!("{line}"));
        runtime.block_on(tokio::signal::ctrl_c())?;
    }
    kind.stop()
}
