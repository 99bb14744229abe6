//! A report as Markdown, for a pull request or a ticket.
//!
//! In: a [`FleetReport`]. Out: the text: the verdict, the resources that need attention with a command for each, and the
//! rest folded away. Every text of a resource, of AWS or of a user is escaped.

use crate::cli::fleet::{ReplicationView, Verdict};
use crate::cli::report::data::{BucketReport, FleetReport, IMPORT, UnknownReport};

/// Buckets that are listed by name; the count of the others follows.
const LISTED: usize = 200;

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
