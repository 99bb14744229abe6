//! A report as Markdown, for a pull request or a ticket.
//!
//! In: a [`FleetReport`]. Out: the text: the verdict, the resources that need attention with a command for each, the map,
//! drift and corrections, and the rest folded away. Every text of a resource, of AWS or of a user is escaped.

use std::collections::BTreeMap;

use crate::api::DriftEntry;
use crate::cli::fleet::{ReplicationView, Verdict};
use crate::cli::map::account_and_region;
use crate::cli::report::data::{BucketReport, FleetReport, IMPORT, UnknownReport};

/// Buckets that are listed by name; the count of the others follows.
const LISTED: usize = 200;

/// Pairs of buckets, or entries of drift, that a row shows.
const SHOWN: usize = 5;

/// The report as Markdown.
pub fn markdown(report: &FleetReport) -> String {
    let worst = report.replications.iter().map(|view| view.verdict).min();
    let sign = if report.is_wrong() { "✗" } else { worst.unwrap_or(Verdict::Applied).sign() };
    let mut text = format!(
        "# S3 replication\n\n{sign} **{}**\n\n{}\n\nAs of {}.\n",
        report.headline(escaped),
        report.coverage(),
        report.generated
    );
    let (attention, well): (Vec<&ReplicationView>, Vec<&ReplicationView>) =
        report.replications.iter().partition(|view| view.verdict.is_wrong());
    if !attention.is_empty() {
        text.push_str(
            "\n## Needs attention\n\n| Verdict | Replication | Source → destination | Reason | Why |\n",
        );
        text.push_str("| --- | --- | --- | --- | --- |\n");
        text.extend(attention.iter().map(|view| row(view, view.message_beside_link())));
        text.push_str("\nNext:\n\n");
        for view in &attention {
            let commands = view.next.iter().map(|command| format!("    {}\n", one_line(command)));
            text.extend(commands.take(1));
        }
    }
    if !well.is_empty() {
        text.push_str(&format!("\n<details><summary>Without a need to act: {}</summary>\n\n", well.len()));
        text.push_str("| Verdict | Replication | Source → destination | Reason | Why |\n| --- | --- | --- | --- | --- |\n");
        text.extend(well.iter().map(|view| row(view, &view.meaning)));
        text.push_str("\n</details>\n");
    }
    text.push_str(&map(&report.replications));
    text.push_str(&changes(&report.replications));
    text.push_str(&buckets("Buckets that do not replicate", &report.not_replicated));
    text.push_str(&buckets("Buckets that replicate without a resource", &report.not_managed));
    if !report.not_managed.is_empty() {
        text.push_str(&format!("\nTo have a resource for one of them printed:\n\n    {IMPORT}\n"));
    }
    if !report.unknown.is_empty() {
        text.push_str("\n## Unknown\n\n| Account | Bucket | Why |\n| --- | --- | --- |\n");
        for UnknownReport { account_id, bucket, why } in report.unknown.iter().take(LISTED) {
            let bucket = bucket.as_deref().unwrap_or("every bucket");
            text.push_str(&format!("| {} | {} | {} |\n", escaped(account_id), escaped(bucket), escaped(why)));
        }
        text.push_str(&more(report.unknown.len()));
    }
    text
}

fn row(view: &ReplicationView, why: &str) -> String {
    let destinations: Vec<&str> = view.rules.iter().map(|rule| rule.destination.bucket.as_str()).collect();
    format!(
        "| {} {} | {} | {} → {} | {} | {} |\n",
        view.verdict.sign(),
        view.verdict.word(),
        escaped(&view.full_name()),
        escaped(&view.source.bucket),
        escaped(&destinations.join(", ")),
        reason(view),
        escaped(why),
    )
}

/// What a row of the map holds: how many arrows have each verdict, and the buckets, those first that need someone.
#[derive(Default)]
struct MapRow {
    verdicts: BTreeMap<Verdict, usize>,
    buckets: Vec<String>,
}

/// The map: a row for each pair of accounts and Regions between which buckets replicate by an enabled rule.
fn map(views: &[ReplicationView]) -> String {
    let mut rows: BTreeMap<(String, String), MapRow> = BTreeMap::new();
    for view in views {
        for rule in view.rules.iter().filter(|rule| rule.enabled) {
            let row = rows
                .entry((account_and_region(&view.source), account_and_region(&rule.destination)))
                .or_default();
            *row.verdicts.entry(view.verdict).or_default() += 1;
            row.buckets.push(format!("{} → {}", view.source.bucket, rule.destination.bucket));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "\n## Map\n\n| From | To | Verdicts | Buckets |\n| --- | --- | --- | --- |\n".to_owned();
    for ((from, to), MapRow { verdicts, buckets }) in rows.iter().take(LISTED) {
        let verdicts: Vec<String> = verdicts
            .iter()
            .map(|(verdict, count)| format!("{} {count} {}", verdict.sign(), verdict.word()))
            .collect();
        let buckets = shown(buckets.iter().map(|bucket| escaped(bucket)), buckets.len());
        text.push_str(&format!(
            "| {} | {} | {} | {buckets} |\n",
            escaped(from),
            escaped(to),
            verdicts.join(", ")
        ));
    }
    text + &more(rows.len())
}

/// What differs from the spec now, and what the operator corrected last.
fn changes(views: &[ReplicationView]) -> String {
    let row = |what: &str, view: &ReplicationView, when: &str, entries: &[DriftEntry], count: i32| {
        let count = usize::try_from(count).unwrap_or_default();
        let fields = shown(entries.iter().map(|entry| escaped(&entry.to_string())), count);
        format!("| {what} | {} | {when} | {fields} |\n", escaped(&view.full_name()))
    };
    let rows: Vec<String> = views
        .iter()
        .flat_map(|view| {
            let differs =
                (view.drift_count > 0).then(|| row("differs now", view, "", &view.drift, view.drift_count));
            let corrected = view.last_correction.as_ref().map(|correction| {
                let when = escaped(&correction.time.0.to_string());
                row("corrected", view, &when, &correction.items, correction.count)
            });
            [differs, corrected].into_iter().flatten()
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let head =
        "\n## Drift and corrections\n\n| What | Replication | When | Fields |\n| --- | --- | --- | --- |\n";
    let listed: String = rows.iter().take(LISTED).map(String::as_str).collect();
    format!("{head}{listed}{}", more(rows.len()))
}

/// The first of some texts, and the count of the others, as one cell.
fn shown(texts: impl Iterator<Item = String>, count: usize) -> String {
    let mut shown: Vec<String> = texts.take(SHOWN).collect();
    let left = count.saturating_sub(shown.len());
    if left > 0 {
        shown.push(format!("and {left} more"));
    }
    shown.join("<br>")
}

/// The reason, which leads to its runbook where a page can link to it.
fn reason(view: &ReplicationView) -> String {
    match view.link() {
        Some(link) => format!("[{}]({link})", escaped(&view.reason)),
        None => escaped(&view.reason),
    }
}

fn buckets(title: &str, buckets: &[BucketReport]) -> String {
    if buckets.is_empty() {
        return String::new();
    }
    let lines = buckets.iter().take(LISTED);
    let lines = lines.map(|BucketReport { account_id, bucket }| {
        format!("- {} {}\n", escaped(account_id), escaped(bucket))
    });
    format!("\n## {title}\n\n{}{}", lines.collect::<String>(), more(buckets.len()))
}

fn more(count: usize) -> String {
    match count.saturating_sub(LISTED) {
        0 => String::new(),
        left => format!("\nAnd {left} more: `-o json` lists all.\n"),
    }
}

/// Text that stays text: no table cell, link, mention, emphasis or HTML begins in it.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '@' | '!' | '$' | ':' => {
                format!("&#{};", u32::from(character))
            }
            control if control.is_control() => " ".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

/// An indented block of code ends with its line, and needs no escapes.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
