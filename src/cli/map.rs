//! `map`: prints which bucket replicates into which.
//!
//! In: the resources of a cluster. Out: the sources of each account and Region with their destinations, as text for
//! people or as JSON or YAML.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::cli::fleet::{BucketView, FleetSummary, Pointers, ReplicationView, Verdict, view_all};
use crate::cli::kubernetes::{KubeArgs, KubernetesError, ScopeArgs};
use crate::cli::output::{Format, PrintError, formatted, print};
use crate::cli::status::exit_code;
use crate::cli::terminal::{Color, Layout, Tone, pad, printable, tone};

#[derive(Debug, Args)]
pub struct MapArgs {
    /// Print for a program instead of a person
    #[arg(long, short, value_enum)]
    output: Option<Format>,
    /// When to use colour
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    kubernetes: KubeArgs,
}

#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Print(#[from] PrintError),
}

pub async fn map(args: MapArgs, typed: &'static str) -> Result<ExitCode, MapError> {
    let kubernetes = args.kubernetes.connect().await?;
    let (found, _) = kubernetes.list(&args.scope).await?;
    let views = view_all(found, &[], Pointers { typed, cluster: &kubernetes.flags, runbooks: None });
    print(&match args.output {
        Some(format) => formatted(&Map::of(&views), format)?,
        None if views.is_empty() => kubernetes.nothing(&args.scope, typed),
        None => text(&views, &Layout::of_stdout(args.color), (typed, &kubernetes.flags)),
    })?;
    Ok(exit_code(&views))
}

/// The map, for a program.
#[derive(Serialize)]
struct Map<'a> {
    summary: FleetSummary,
    arrows: Vec<Arrow<'a>>,
}

/// One bucket that replicates into another, by a rule.
#[derive(Serialize)]
struct Arrow<'a> {
    namespace: &'a str,
    name: &'a str,
    rule: &'a str,
    enabled: bool,
    verdict: Verdict,
    reason: &'a str,
    source: &'a BucketView,
    destination: &'a BucketView,
}

impl Map<'_> {
    fn of(views: &[ReplicationView]) -> Map<'_> {
        let summary = FleetSummary::of(views.iter().map(|view| view.verdict));
        let arrows = views.iter().flat_map(|view| {
            view.rules.iter().map(|rule| Arrow {
                namespace: &view.namespace,
                name: &view.name,
                rule: &rule.id,
                enabled: rule.enabled,
                verdict: view.verdict,
                reason: &view.reason,
                source: &view.source,
                destination: &rule.destination,
            })
        });
        Map { summary, arrows: arrows.collect() }
    }
}

/// The map: below each account and Region its sources, and below each source its destinations. Last, the command
/// that shows why the worst of them is marked.
///
/// `program`: as it was typed, and the flags that named the cluster.
pub fn text(views: &[ReplicationView], layout: &Layout, program: (&str, &str)) -> String {
    let Map { summary, arrows } = Map::of(views);
    let mut text = format!("{}\n", layout.paint(Tone::Strong, &layout.wrap(&summary.sentence(), "")));
    let mut scopes: BTreeMap<String, BTreeMap<&str, Vec<Arrow<'_>>>> = BTreeMap::new();
    for arrow in arrows {
        let sources = scopes.entry(account_and_region(arrow.source)).or_default();
        sources.entry(&arrow.source.bucket).or_default().push(arrow);
    }
    for (scope, sources) in scopes {
        text.push_str(&format!("\n{}\n", layout.paint(Tone::Strong, &printable(&scope))));
        for (source, arrows) in sources {
            text.push_str(&format!("  {}\n", printable(source)));
            for (index, arrow) in arrows.iter().enumerate() {
                let elbow = if index + 1 == arrows.len() { "└" } else { "├" };
                let shaft = if arrow.enabled { "─▶" } else { "┄▷" };
                let sign = layout.paint(tone(arrow.verdict), arrow.verdict.sign());
                let bucket = pad(&printable(&arrow.destination.bucket), 32);
                let disabled = if arrow.enabled { "" } else { ", Disabled" };
                let why =
                    if arrow.verdict.is_well() { String::new() } else { format!(" ({})", arrow.reason) };
                let rule = format!("{}/{} rule {}{disabled}{why}", arrow.namespace, arrow.name, arrow.rule);
                let rule = layout.paint(Tone::Dim, &printable(&rule));
                let scope = printable(&account_and_region(arrow.destination));
                let line = format!("{sign} {bucket} {scope}  {rule}");
                let rail = if index + 1 == arrows.len() { " " } else { "│" };
                let (first, more) = (format!("  {elbow}{shaft} "), format!("  {rail}      "));
                text.push_str(&format!("{}\n", layout.fill(&line, &first, &more)));
            }
        }
    }
    if let Some(worst) = views.iter().min_by_key(|view| view.verdict).filter(|view| view.verdict.is_wrong()) {
        let command = worst.status_command(program);
        text.push_str(&format!("\n→ {}\n", layout.paint(Tone::Strong, &command)));
    }
    text
}

/// The account and the Region of a bucket, as far as they are known.
pub fn account_and_region(bucket: &BucketView) -> String {
    let account = bucket.account.clone();
    let account = account.or_else(|| bucket.account_ref.as_ref().map(|name| format!("AwsAccount {name}")));
    let account = account.unwrap_or_else(|| "unknown account".to_owned());
    format!("{account} {}", bucket.region.as_deref().unwrap_or("unknown Region"))
}

/// The form for programs of everything that a map may hold.
#[cfg(test)]
pub fn json_sample() -> serde_json::Value {
    serde_json::to_value(Map::of(&[crate::cli::fleet::samples::full()])).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fleet::samples::{TYPED, all, resource};

    #[test]
    fn a_map_with_a_mark_ends_with_the_command_that_explains_the_worst() {
        let layout = Layout { width: None, height: None, color: false };
        let well = || resource("bills", &[["Ready", "True", "Applied", "m"]]);
        let failing = resource("orders", &[["Ready", "False", "ForeignRole", "m"]]);
        let shown = text(&all([well(), failing]), &layout, (TYPED, ""));
        assert!(shown.ends_with("\n→ kubectl s3replication status orders -n data\n"), "{shown}");
        assert!(!text(&all([well()]), &layout, (TYPED, "")).contains('→'));
    }

    #[test]
    fn what_another_resource_knows_of_a_bucket_is_reported_for_it_where_it_is_in_conflict() {
        let layout = Layout { width: None, height: None, color: false };
        let owner = resource("orders", &[["Ready", "True", "Applied", "m"]]);
        let mut second = resource("copy", &[["Ready", "False", "SourceConflict", "data/orders owns it."]]);
        second["spec"]["source"]["bucket"] = "orders-source".into();
        second["status"]["source"] = serde_json::Value::Null;
        second["status"]["destinations"] = serde_json::json!([]);
        let shown = text(&all([owner, second.clone()]), &layout, (TYPED, ""));
        assert!(!shown.contains("unknown account unknown Region\n"), "{shown}");
        assert_eq!(shown.matches("\n111111111111 us-east-1\n").count(), 1, "{shown}");
        assert!(shown.contains("data/copy rule all (SourceConflict)\n"), "{shown}");
        assert!(shown.contains("data/orders rule all\n"), "{shown}");
        second["spec"]["source"]["accountRef"] = "prod".into();
        let alone = text(&all([second]), &layout, (TYPED, ""));
        assert!(alone.contains("\nAwsAccount prod unknown Region\n"), "{alone}");
    }

    /// The form that programs read: a change of it is a change for them.
    #[test]
    fn the_form_for_programs_is_stable() {
        let views = all([resource("orders", &[["Ready", "True", "Applied", "m"]])]);
        insta::assert_snapshot!(serde_json::to_string_pretty(&Map::of(&views)).unwrap());
    }
}
