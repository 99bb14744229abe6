//! `rig kind`: makes real clusters, shows the operator in pods on each, runs both suites, and deletes the clusters.

mod story;
mod suites;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use rig::jobs::Worker;
use rig::kind::install;
use rig::kind::{Images, Kind, choose_method};
use rig::operator;
use tokio::runtime::Runtime;
use tokio::signal::ctrl_c;

use super::by_hand;
use story::Story;
use suites::Suites;

/// The sizes of the clusters, made one after the other unless a size is given.
const NODES: [u8; 2] = [1, 3];

/// The options of `rig kind`.
#[derive(Debug, Args)]
pub struct KindArgs {
    /// Number of nodes; the first is the control plane. Without it: a cluster of one, then one of three
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5))]
    nodes: Option<u8>,
    /// Show the quickstart only, without the suites
    #[arg(long)]
    story: bool,
    /// At the end, apply the example and stay up until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Only a cluster with the emulator in place of AWS, until Ctrl-C: you install the operator yourself
    #[arg(long, conflicts_with_all = ["story", "keep", "kubeconfig"])]
    empty: bool,
    /// Use an existing cluster instead of making one
    #[arg(long, value_name = "FILE", conflicts_with = "nodes")]
    kubeconfig: Option<PathBuf>,
    /// The operator's image, which that cluster pulls
    #[arg(long, value_name = "NAME", requires = "kubeconfig", requires = "emulator_image")]
    operator_image: Option<String>,
    /// The emulator's image, which that cluster pulls
    #[arg(long, value_name = "NAME", requires = "operator_image")]
    emulator_image: Option<String>,
}

/// Makes clusters, shows and tests the operator on each, and deletes them.
///
/// # Errors
/// If no cluster can be made, or a step or a test fails on one.
pub fn run(args: &KindArgs) -> Result<()> {
    if args.empty {
        return empty(args.nodes.unwrap_or(1));
    }
    let suites = (!args.story).then(|| Runtime::new()?.block_on(Suites::build())).transpose()?;
    if let Some(kubeconfig) = &args.kubeconfig {
        let images = args.operator_image.clone().zip(args.emulator_image.clone());
        let images = images.map(|(operator, emulator)| Images { operator, emulator });
        return on(Kind::attach(kubeconfig, images)?, None, suites.as_ref(), args.keep);
    }
    let method = choose_method(true)?.or_else(|why| bail!(why))?;
    let numbers = args.nodes.map_or(NODES.to_vec(), |nodes| vec![nodes]);
    let last = numbers.last().copied();
    numbers.into_iter().try_for_each(|nodes| {
        println!("\n== A cluster of {nodes} {}\n", if nodes == 1 { "node" } else { "nodes" });
        on(Kind::start(method, nodes)?, Some(nodes), suites.as_ref(), args.keep && last == Some(nodes))
    })
}

/// The page that installs the operator on such a cluster.
const LOCAL: &str = "docs/local-cluster.md";

/// Makes a cluster without the operator, and keeps it until a person has done with it.
fn empty(nodes: u8) -> Result<()> {
    let method = choose_method(true)?.or_else(|why| bail!(why))?;
    let program = operator::build()?;
    let kind = Kind::start(method, nodes)?;
    // Its threads start in the network that this thread is in now.
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(stay(&kind, &program));
    drop(runtime);
    let stopped = kind.stop();
    outcome.and(stopped)
}

async fn stay(kind: &Kind, program: &Path) -> Result<()> {
    let cloud = install::emulator(kind).await?;
    let _worker = Worker::start(&cloud.url());
    by_hand::create_boundary(&cloud.url()).await?;
    if let Some(enter) = kind.how_to_enter() {
        // A shell that takes a paste as a whole would run the other lines only after this one has ended.
        println!("# The cluster has a network of its own. First open a shell in it:\n{enter}");
        println!("# Then paste the rest into that shell:");
    }
    println!("export KUBECONFIG={}", kind.kubectl.kubeconfig().display());
    let tools = [kind.kubectl.program(), kind.helm.program()];
    let lines = by_hand::environment(&cloud.url(), program, &tools)?;
    lines.iter().for_each(|line| println!("{line}"));
    println!("{}", by_hand::steps(&[LOCAL, by_hand::FIRST])?);
    eprintln!("rig: the cluster is up; Ctrl-C deletes it");
    by_hand::until_asked_to_end().await
}

/// Shows and tests the operator on one cluster.
fn on(kind: Kind, nodes: Option<u8>, suites: Option<&Suites>, keep: bool) -> Result<()> {
    // A runtime for each cluster: its threads start in the network that this thread is in now.
    let runtime = Runtime::new()?;
    let outcome = runtime.block_on(show(&kind, nodes, suites, keep));
    drop(runtime);
    // Also after a failure.
    let stopped = kind.stop();
    outcome.and(stopped)
}

async fn show(kind: &Kind, nodes: Option<u8>, suites: Option<&Suites>, keep: bool) -> Result<()> {
    let mut story = Story::new(kind)?;
    let all = async {
        story.run().await?;
        if let Some(suites) = suites {
            suites.run(kind, nodes, keep || !kind.is_made_by_rig()).await?;
        }
        if keep { story.apply().await } else { Ok(()) }
    };
    let done = tokio::select! {
        biased;
        interrupt = ctrl_c() => interrupt.map_err(Into::into).and(Err(anyhow!(Interrupted))),
        done = all => done,
    };
    let interrupted = matches!(&done, Err(error) if error.is::<Interrupted>());
    if keep && !interrupted {
        if let Err(error) = &done {
            eprintln!("rig: {error:#}");
        }
        println!("\nEverything stays up until Ctrl-C. In another terminal:\n");
        kind.how_to_use().iter().for_each(|line| println!("{line}"));
        story.how_to_use().iter().for_each(|line| println!("{line}"));
        ctrl_c().await?;
    }
    if !kind.is_made_by_rig() {
        story.remove().await?;
    }
    done
}

/// A person pressed Ctrl-C.
#[derive(Debug)]
struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}
