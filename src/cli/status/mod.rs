//! `status`: prints what is true of resources.
//!
//! In: the resources of a cluster and their backfills. Out: a tree for one, a line each for many, the ones that need
//! someone first; JSON or YAML for a program; and an exit code that says whether something is wrong. A new
//! flag begins here.

mod lines;
#[cfg(test)]
mod tests;
mod tree;
mod watch;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cli::fleet::{FleetSummary, ReplicationView, RunbookArgs, Verdict, view_all};
use crate::cli::kubernetes::{KubeArgs, Kubernetes, KubernetesError, ScopeArgs, object_name};
use crate::cli::output::{Format, PrintError, formatted, print};
use crate::cli::shell::{about_cluster, word};
use crate::cli::terminal::{Color, Layout};
use crate::cli::wait::Timeout;
use crate::runtime::clock::Clock;

pub use tree::tree;

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Name of one BucketReplication; absent: all of the namespace
    #[arg(conflicts_with_all = ["all_namespaces", "selector"], value_parser = object_name)]
    name: Option<String>,
    /// Print again whenever something changes, until Ctrl-C; with -o each resource that changes
    #[arg(long, short)]
    watch: bool,
    /// How long to watch; 0 looks once, and a negative duration watches without limit
    #[arg(
        long,
        default_value = "-1s",
        value_name = "DURATION",
        allow_hyphen_values = true,
        requires = "watch"
    )]
    timeout: Timeout,
    /// Print for a program instead of a person
    #[arg(long, short, value_enum)]
    output: Option<Format>,
    /// When to use colour
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    #[command(flatten)]
    runbooks: RunbookArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    kubernetes: KubeArgs,
}

impl StatusArgs {
    /// The command that watches the same.
    fn command(&self, typed: &str, namespace: &str) -> String {
        let StatusArgs { name, scope: ScopeArgs { all_namespaces, selector }, kubernetes, .. } = self;
        let name = name.as_ref().map(|name| format!(" {}", word(name)));
        let scope = if *all_namespaces { " -A".to_owned() } else { format!(" -n {}", word(namespace)) };
        let selector = selector.as_ref().map(|selector| format!(" -l {}", word(selector)));
        let (name, selector) = (name.unwrap_or_default(), selector.unwrap_or_default());
        let command = format!("{typed} status{name} -w{scope}{selector}");
        about_cluster(&command, &kubernetes.cluster.flags())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
    #[error("{why}\n→ {again}")]
    Timeout { why: String, again: String },
    #[error("stopped before the API server had answered, so that nothing is known")]
    InterruptedEarly,
}

/// The exit code when something about a replication is wrong, and nothing about the command.
pub const WRONG: u8 = 2;

/// Several resources, for a program.
#[derive(Serialize)]
struct StatusList<'a> {
    summary: FleetSummary,
    items: &'a [ReplicationView],
}

pub async fn status(args: StatusArgs, typed: &'static str) -> Result<ExitCode, StatusError> {
    let kubernetes = args.kubernetes.connect().await?;
    let layout = Layout::of_stdout(args.color);
    if args.watch {
        return watch::watch(&kubernetes, &args, layout, typed).await;
    }
    let views = read(&kubernetes, &args, typed).await?;
    let text = match (args.output, &args.name, views.as_slice()) {
        (Some(format), Some(_), [one]) => formatted(one, format)?,
        (Some(format), _, all) => formatted(&StatusList { summary: summary(all), items: all }, format)?,
        (None, ..) if views.is_empty() => kubernetes.nothing(&args.scope, typed),
        (None, ..) => render(&views, &args, &layout, typed),
    };
    print(&text)?;
    Ok(exit_code(&views))
}

/// 2 if something about a resource is wrong.
pub fn exit_code(views: &[ReplicationView]) -> ExitCode {
    let wrong = views.iter().any(|view| view.verdict.is_wrong());
    if wrong { ExitCode::from(WRONG) } else { ExitCode::SUCCESS }
}

/// The summary of resources.
fn summary(views: &[ReplicationView]) -> FleetSummary {
    FleetSummary::of(views.iter().map(|view| -> Verdict { view.verdict }))
}

/// The text for people: a tree for a resource that was named, else lines.
fn render(views: &[ReplicationView], args: &StatusArgs, layout: &Layout, typed: &str) -> String {
    match (&args.name, views) {
        (Some(_), [one]) => tree(one, layout, Clock::System.timestamp()),
        _ => lines::lines(views, layout, (typed, &args.kubernetes.cluster.flags())),
    }
}

/// The form for programs of everything that a list of resources may hold.
#[cfg(test)]
pub fn json_sample() -> serde_json::Value {
    let all = [crate::cli::fleet::samples::full()];
    serde_json::to_value(StatusList { summary: summary(&all), items: &all }).unwrap()
}

/// Reads the resources that the arguments select, with their backfills.
async fn read(
    kubernetes: &Kubernetes,
    args: &StatusArgs,
    typed: &'static str,
) -> Result<Vec<ReplicationView>, KubernetesError> {
    let found = match &args.name {
        // The right to get is enough.
        Some(name) => vec![kubernetes.get(name, typed).await?],
        None => kubernetes.list(&args.scope).await?.0,
    };
    let backfills = kubernetes.backfills(&args.scope).await?.unwrap_or_default();
    Ok(view_all(found, &backfills, args.runbooks.pointers(typed, &kubernetes.flags)))
}
