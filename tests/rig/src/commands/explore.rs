//! `rig explore`: runs the exploration, which is an example of the operator's crate. The crate is compiled for it with
//! the feature `simulation`, so that no program that the other tests run holds any of it.

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use rig::paths;

/// The arguments of an exploration.
#[derive(Args)]
pub struct ExploreArgs {
    /// The order in which traces of the same length are tried
    #[arg(long)]
    seed: Option<u64>,
    /// The most interferences in a trace
    #[arg(long)]
    depth: Option<usize>,
    /// How long to explore, in minutes
    #[arg(long)]
    minutes: Option<f64>,
    /// Explore this scene alone
    #[arg(long)]
    scene: Option<String>,
    /// Switch on one plausible fault after the other, and print the shortest trace that finds it
    #[arg(long)]
    mutants: bool,
    /// Replay one trace
    #[arg(long)]
    replay: Option<String>,
    /// Switch on this fault in the replay; without --replay, print the shortest trace that finds it
    #[arg(long, conflicts_with = "mutants")]
    mutant: Option<String>,
}

/// Builds the exploration in the profile of this program, and runs it.
///
/// # Errors
/// If it does not build, if a property does not hold, or if a mutant is not found.
pub fn run(args: &ExploreArgs) -> Result<()> {
    let exe = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--package", "s3-replication-operator", "--example", "explore"]);
    command.args(["--features", "simulation"]).current_dir(paths::repository());
    command.arg("--target-dir").arg(paths::target());
    if exe.components().any(|part| part.as_os_str() == "release") {
        command.arg("--release");
    }
    command.arg("--");
    let options = [
        ("--seed", args.seed.map(|seed| seed.to_string())),
        ("--depth", args.depth.map(|depth| depth.to_string())),
        ("--minutes", args.minutes.map(|minutes| minutes.to_string())),
        ("--scene", args.scene.clone()),
        ("--replay", args.replay.clone()),
        ("--mutant", args.mutant.clone()),
    ];
    for (name, value) in options {
        command.args(value.into_iter().flat_map(|value| [name.to_owned(), value]));
    }
    command.args(args.mutants.then_some("--mutants"));
    let status = command.status().context("cannot run cargo, which builds the exploration")?;
    if !status.success() {
        bail!("the exploration failed: see above");
    }
    Ok(())
}
