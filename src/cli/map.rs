//! `map`: resources in, which bucket replicates into which out, by account and Region.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use crate::cli::fleet::{BucketView, ReplicationView, Summary, Verdict, views};
use crate::cli::kubernetes::{KubeArgs, KubernetesError, ScopeArgs};
use crate::cli::output::{PrintError, print};
use crate::cli::status::exit_code;
use crate::cli::terminal::{Color, Layout, Tone, pad, printable, tone};

#[derive(Debug, Args)]
pub struct MapArgs {
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
    let views = views(found, &[], typed);
    print(&text(&views, &Layout::of_stdout(args.color)))?;
    Ok(exit_code(&views))
}

/// One bucket that replicates into another, by a rule.
struct Arrow<'a> {
    source: &'a BucketView,
    destination: &'a BucketView,
    verdict: Verdict,
    enabled: bool,
    rule: String,
}

/// The map: below each place (account and Region) its sources, and below each source its destinations.
pub fn text(views: &[ReplicationView], layout: &Layout) -> String {
    let summary = Summary::of(views.iter().map(|view| view.verdict));
    let mut text = format!("{}\n", layout.paint(Tone::Strong, &summary.sentence()));
    let arrows = views.iter().flat_map(|view| {
        view.rules.iter().map(|rule| Arrow {
            source: &view.source,
            destination: &rule.destination,
            verdict: view.verdict,
            enabled: rule.enabled,
            rule: format!("{} rule {}", view.full_name(), rule.id),
        })
    });
    let mut places: BTreeMap<String, BTreeMap<&str, Vec<Arrow<'_>>>> = BTreeMap::new();
    for arrow in arrows {
        let sources = places.entry(place(arrow.source)).or_default();
        sources.entry(&arrow.source.bucket).or_default().push(arrow);
    }
    for (place, sources) in places {
        text.push_str(&format!("\n{}\n", layout.paint(Tone::Strong, &printable(&place))));
        for (source, arrows) in sources {
            text.push_str(&format!("  {}\n", printable(source)));
            for (index, arrow) in arrows.iter().enumerate() {
                let elbow = if index + 1 == arrows.len() { "└" } else { "├" };
                let shaft = if arrow.enabled { "─▶" } else { "┄▷" };
                let sign = layout.paint(tone(arrow.verdict), arrow.verdict.sign());
                let bucket = pad(&printable(&arrow.destination.bucket), 32);
                let disabled = if arrow.enabled { "" } else { ", Disabled" };
                let rule = layout.paint(Tone::Dim, &printable(&format!("{}{disabled}", arrow.rule)));
                let place = printable(&self::place(arrow.destination));
                text.push_str(&format!("  {elbow}{shaft} {sign} {bucket} {place}  {rule}\n"));
            }
        }
    }
    text
}

/// The account and the Region of a bucket, as far as they are known.
pub fn place(bucket: &BucketView) -> String {
    let account = bucket.account.clone().or_else(|| bucket.account_ref.clone());
    let account = account.unwrap_or_else(|| "unknown account".to_owned());
    format!("{account} {}", bucket.region.as_deref().unwrap_or("unknown Region"))
}
