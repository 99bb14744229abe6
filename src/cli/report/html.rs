//! A report as one HTML page that needs no network.
//!
//! In: a [`FleetReport`]. Out: the page. Every text of a resource, of AWS or of a user goes through the template, which
//! escapes it. Besides, the page's own policy lets no script run but the one whose hash it names, and nothing be
//! loaded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};
use strum::VariantArray;

use crate::api::DriftEntry;
use crate::cli::fleet::{ReplicationView, Verdict};
use crate::cli::map::account_and_region;
use crate::cli::report::chart::chart;
use crate::cli::report::data::{
    AccountReport, BucketReport, ChangeReport, FleetReport, IMPORT, UnknownReport,
};
use crate::cli::terminal::printable;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Entries of drift that a row shows.
const SHOWN: usize = 5;

/// The page.
pub fn page(report: &FleetReport) -> String {
    let FleetReport { generated, replications, accounts, not_replicated, not_managed, unknown, .. } = report;
    let sentence = report.headline(str::to_owned);
    let verdict = if report.is_wrong() { "verdict attention" } else { "verdict" };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "S3 replication: " (sentence) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#replications" { "To the replications" }
                header {
                    h1 { "S3 replication" }
                    p class=(verdict) { (sentence) }
                    p { (report.coverage(str::to_owned)) }
                    p class="dim" { "As of " time datetime=(generated) { (generated) } "." }
                }
                main {
                    @if !replications.is_empty() {
                        section aria-labelledby="map" {
                            h2 id="map" { "Map" }
                            (chart(replications))
                        }
                    }
                    (replication_table(replications))
                    (change_table(&report.changes()))
                    (bucket_table("not-replicated", "Buckets that do not replicate", accounts, not_replicated))
                    (bucket_table("not-managed", "Buckets that replicate without a resource in this cluster", accounts, not_managed))
                    @if !not_managed.is_empty() {
                        p { code { (IMPORT) } " prints a resource for one of them." }
                    }
                    (unknown_table(unknown))
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

/// Nothing is loaded, and no script or style applies but those of this page.
fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE),
    )
}

/// The class of a verdict: the same colours as in the map.
fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Failing => "v wrong",
        Verdict::Delayed | Verdict::Retrying => "v late",
        Verdict::Deleting | Verdict::Waiting | Verdict::Unproven | Verdict::Suspended | Verdict::Disabled => {
            "v unsure"
        }
        Verdict::Applied | Verdict::Arriving => "v well",
    }
}

/// A table with its controls, which the script shows.
fn table(id: &str, title: &str, heads: &[&str], verdicts: &[Verdict], rows: &Markup) -> Markup {
    html! {
        section data-table=(id) aria-labelledby=(id) {
            h2 id=(id) { (title) }
            div class="controls" hidden {
                div {
                    label for=(format!("{id}-search")) { "Filter by words" }
                    input type="search" id=(format!("{id}-search")) autocomplete="off";
                }
                @if !verdicts.is_empty() {
                    div {
                        label for=(format!("{id}-verdict")) { "Verdict" }
                        select id=(format!("{id}-verdict")) {
                            option value="" { "every verdict" }
                            @for verdict in verdicts {
                                option value=(format!("{verdict:?}")) { (verdict.sign()) " " (verdict.word()) }
                            }
                        }
                    }
                }
                span class="dim" role="status" {}
            }
            div class="scroll" tabindex="0" role="region" aria-labelledby=(id) {
                table {
                    thead { tr {
                        @for head in heads { th scope="col" aria-sort="none" { button type="button" disabled { (head) } } }
                    } }
                    tbody { (rows) }
                }
            }
        }
    }
}

fn replication_table(replications: &[ReplicationView]) -> Markup {
    if replications.is_empty() {
        return html! { section { h2 id="replications" { "Replications" } p { "There are none." } } };
    }
    let present = |verdict: &&Verdict| replications.iter().any(|view| view.verdict == **verdict);
    let verdicts: Vec<Verdict> = Verdict::VARIANTS.iter().filter(present).copied().collect();
    let rows = html! {
        @for view in replications {
            tr data-verdict=(format!("{:?}", view.verdict)) {
                td data-key=(view.verdict as u8) {
                    span class=(class(view.verdict)) { (view.verdict.sign()) " " (view.verdict.word()) }
                }
                td { (view.full_name()) }
                td { (view.source.bucket) " " span class="dim scope-of" { (account_and_region(&view.source)) } }
                td {
                    @for (n, rule) in view.rules.iter().enumerate() {
                        @if n > 0 { " " }
                        (rule.destination.bucket) @if !rule.enabled { " (Disabled)" } " "
                        span class="dim scope-of" { (account_and_region(&rule.destination)) }
                    }
                }
                td {
                    @match view.link() {
                        Some(link) => { a href=(link) rel="noreferrer" { (view.reason) } }
                        None => { (view.reason) }
                    }
                }
                td { (why(view)) }
            }
        }
    };
    let heads = ["Verdict", "Replication", "Source", "Destinations", "Reason", "Why, and what to do"];
    table("replications", "Replications", &heads, &verdicts, &rows)
}

/// The message and the commands of what needs attention; a healthy resource needs no words.
fn why(view: &ReplicationView) -> Markup {
    // An Unproven replication needs nobody, and its message says what is missing for a proof.
    let attention = view.verdict.is_wrong() || view.verdict == Verdict::Unproven;
    html! {
        @if attention {
            (printable(view.message_beside_link()))
            @for command in &view.next { code class="next" { (printable(command)) } }
        } @else {
            (view.meaning)
        }
    }
}

fn change_table(changes: &[ChangeReport<'_>]) -> Markup {
    if changes.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for ChangeReport { view, corrected, entries, count } in changes {
            tr {
                td { @if corrected.is_some() { "corrected" } @else { "differs now" } }
                td { (view.full_name()) }
                td {
                    @if let Some(corrected) = corrected {
                        @let time = corrected.to_string();
                        time datetime=(time) { (time) }
                    }
                }
                td {
                    @for DriftEntry { resource, name, path, want, got } in entries.iter().take(SHOWN) {
                        div { (resource.as_str()) " " (name) " " code { (path) } ": want " code { (want) } ", got " code { (got) } }
                    }
                    @let left = count.saturating_sub(entries.len().min(SHOWN));
                    @if left > 0 { div class="dim" { "and " (left) " more" } }
                }
            }
        }
    };
    table("changes", "Drift and corrections", &["What", "Replication", "When", "Fields"], &[], &rows)
}

fn bucket_table(id: &str, title: &str, accounts: &[AccountReport], buckets: &[BucketReport]) -> Markup {
    if accounts.is_empty() {
        return html! {};
    }
    if buckets.is_empty() {
        return html! { section { h2 id=(id) { (title) } p { "None of those that could be read." } } };
    }
    let rows = html! {
        @for BucketReport { account_id, bucket } in buckets { tr { td { (account_id) } td { (bucket) } } }
    };
    table(id, title, &["Account", "Bucket"], &[], &rows)
}

fn unknown_table(unknown: &[UnknownReport]) -> Markup {
    if unknown.is_empty() {
        return html! {};
    }
    let rows = html! {
        @for UnknownReport { account_id, bucket, why } in unknown {
            tr {
                td { (account_id) }
                td { @match bucket { Some(bucket) => { (bucket) }, None => { "every bucket" } } }
                td { (printable(why)) }
            }
        }
    };
    table("unknown", "Unknown", &["Account", "Bucket", "Why"], &[], &rows)
}
