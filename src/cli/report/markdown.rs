//! A report as Markdown, for a pull request or a ticket.
//!
//! In: a [`FleetReport`]. Out: the text: the verdict, the resources that need attention with a command for each, the map,
//! drift and corrections, and the rest folded away. Every text of a resource, of AWS or of a user is escaped. However large
//! the fleet is, the text is as short as a pull request takes it, and counts what it leaves out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cli::fleet::{ReplicationView, Verdict};
use crate::cli::map::account_and_region;
use crate::cli::report::data::{BucketReport, ChangeReport, FleetReport, IMPORT, UnknownReport};
use crate::cli::terminal::{is_command, printable};

/// The most bytes of the text. GitHub refuses a body of more than 65,536 characters (`Body is too long`).
const LONGEST: usize = 65_000;

/// The most rows of a list; the count of the others follows.
const LISTED: usize = 200;

/// The most bytes of a text in a row, with its escapes; `…` takes the place of the rest.
const CELL: usize = 1000;

/// The most bytes of the line that counts what a list leaves out.
const MORE: usize = 100;

/// Pairs of buckets, or entries of drift, that a row shows.
const SHOWN: usize = 5;

/// The head of a table of replications.
const REPLICATIONS: &str =
    "| Verdict | Replication | Source → destination | Reason | Why |\n| --- | --- | --- | --- | --- |\n";

/// A list, and what stands around it.
struct Listing {
    head: String,
    /// The first rows, each with the end of its line.
    rows: Vec<String>,
    /// The number of rows.
    all: usize,
    foot: String,
}

impl Listing {
    /// `None`: there is nothing to list.
    fn new<T>(head: String, items: &[T], row: impl Fn(&T) -> String) -> Option<Listing> {
        let rows = items.iter().take(LISTED).map(row).collect();
        (!items.is_empty()).then_some(Listing { head, rows, all: items.len(), foot: String::new() })
    }

    /// The bytes that all of it takes at most.
    fn length(&self) -> usize {
        self.head.len() + self.rows.iter().map(String::len).sum::<usize>() + MORE + self.foot.len()
    }

    /// As much of it as these bytes hold.
    fn within(&self, bytes: usize) -> String {
        let mut text = self.head.clone();
        let mut listed = 0;
        for row in &self.rows {
            if text.len() + row.len() + MORE + self.foot.len() > bytes {
                break;
            }
            text.push_str(row);
            listed += 1;
        }
        match self.all - listed {
            0 => {}
            left => text.push_str(&format!("\nAnd {left} more: `-o html` and `-o json` list all.\n")),
        }
        text + &self.foot
    }
}

/// The most bytes that a list may take so that all fit: the short ones whole, and the long ones an equal share of the rest.
fn share(lengths: impl Iterator<Item = usize>, bytes: usize) -> usize {
    let mut lengths: Vec<usize> = lengths.collect();
    lengths.sort_unstable();
    let mut rest = bytes;
    for (n, length) in lengths.iter().enumerate() {
        let equal = rest / (lengths.len() - n);
        if *length > equal {
            return equal;
        }
        rest -= length;
    }
    usize::MAX
}

/// The report as Markdown.
pub fn markdown(report: &FleetReport) -> String {
    let worst = report.replications.iter().map(|view| view.verdict).min();
    let sign = if report.is_wrong() { "✗" } else { worst.unwrap_or(Verdict::Applied).sign() };
    let mut text = format!(
        "# S3 replication\n\n{sign} **{}**\n\n{}\n\nAs of {}.\n",
        report.headline(escaped),
        report.coverage(escaped),
        time(&report.generated)
    );
    let listings = lists(report);
    let rest = LONGEST.saturating_sub(text.len());
    let bytes = share(listings.iter().map(Listing::length), rest);
    text.extend(listings.iter().map(|list| list.within(bytes)));
    text
}

/// The lists of the report, in order.
fn lists(report: &FleetReport) -> Vec<Listing> {
    let (attention, well): (Vec<&ReplicationView>, Vec<&ReplicationView>) =
        report.replications.iter().partition(|view| view.verdict.is_wrong());
    let head = format!("\n## Needs attention\n\n{REPLICATIONS}");
    let table = Listing::new(head, &attention, |view| row(view, view.message_beside_link()));
    let commands: Vec<&String> = attention.iter().filter_map(|view| view.next.first()).collect();
    let next =
        Listing::new("\nNext:\n\n".to_owned(), &commands, |command| format!("    {}\n", printable(command)));
    let summary = format!("Without a need to act: {}", well.len());
    let head = format!("\n<details><summary>{summary}</summary>\n\n{REPLICATIONS}");
    let folded = Listing::new(head, &well, |view| row(view, &view.meaning))
        .map(|list| Listing { foot: "\n</details>\n".to_owned(), ..list });
    let not_managed = buckets("Buckets that replicate without a resource", &report.not_managed);
    let import = format!("\nTo have a resource for one of them printed:\n\n    {IMPORT}\n");
    let head = "\n## Unknown\n\n| Account | Bucket | Why |\n| --- | --- | --- |\n".to_owned();
    let unknown = Listing::new(head, &report.unknown, |UnknownReport { account_id, bucket, why }| {
        let bucket = bucket.as_deref().unwrap_or("every bucket");
        format!("| {} | {} | {} |\n", escaped(account_id), escaped(bucket), escaped(why))
    });
    [
        table,
        next,
        folded,
        map(&report.replications),
        changes(&report.changes()),
        buckets("Buckets that do not replicate", &report.not_replicated),
        not_managed.map(|list| Listing { foot: import, ..list }),
        unknown,
    ]
    .into_iter()
    .flatten()
    .collect()
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

/// A row of the map: how many arrows have each verdict, and the buckets, those first that need someone.
#[derive(Default)]
struct MapRow {
    verdicts: BTreeMap<Verdict, usize>,
    buckets: Vec<String>,
}

/// The map: a row for each pair of accounts and Regions between which buckets replicate by an enabled rule.
fn map(views: &[ReplicationView]) -> Option<Listing> {
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
    let head = "\n## Map\n\n| From | To | Verdicts | Buckets |\n| --- | --- | --- | --- |\n".to_owned();
    let rows: Vec<((String, String), MapRow)> = rows.into_iter().collect();
    Listing::new(head, &rows, |((from, to), MapRow { verdicts, buckets })| {
        let verdicts: Vec<String> = verdicts
            .iter()
            .map(|(verdict, count)| format!("{} {count} {}", verdict.sign(), verdict.word()))
            .collect();
        let buckets = shown(buckets.iter().map(|bucket| escaped(bucket)), buckets.len());
        format!("| {} | {} | {} | {buckets} |\n", escaped(from), escaped(to), verdicts.join(", "))
    })
}

/// The present differences from the spec, and the operator's last corrections.
fn changes(changes: &[ChangeReport<'_>]) -> Option<Listing> {
    let head =
        "\n## Drift and corrections\n\n| What | Replication | When | Fields |\n| --- | --- | --- | --- |\n";
    Listing::new(head.to_owned(), changes, |ChangeReport { view, corrected, entries, count }| {
        let what = if corrected.is_some() { "corrected" } else { "differs now" };
        let when = corrected.map(|time| time.to_string()).unwrap_or_default();
        let fields = shown(entries.iter().map(|entry| escaped(&entry.to_string())), *count);
        format!("| {what} | {} | {when} | {fields} |\n", escaped(&view.full_name()))
    })
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
    match view.link().filter(|link| link.len() <= CELL) {
        Some(link) => format!("[{}]({link})", escaped(&view.reason)),
        None => escaped(&view.reason),
    }
}

fn buckets(title: &str, buckets: &[BucketReport]) -> Option<Listing> {
    Listing::new(format!("\n## {title}\n\n"), buckets, |BucketReport { account_id, bucket }| {
        format!("- {} {}\n", escaped(account_id), escaped(bucket))
    })
}

/// A time as it is: nothing begins in one. A report that is read may have other text in place of it.
fn time(text: &str) -> String {
    text.parse::<Timestamp>().map_or_else(|_| escaped(text), |time| time.to_string())
}

/// Text that stays text: no table cell, link, mention, emphasis or HTML begins in it. A long one is cut.
fn escaped(text: &str) -> String {
    let mut cell = String::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let piece = match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            // GitHub links an address that begins with www.
            '.' if cell.to_ascii_lowercase().ends_with("www") => "&#46;".to_owned(),
            // Before a blank it begins no emoji, and ends no scheme of a link.
            ':' if characters.peek().is_none_or(|next| next.is_whitespace()) => ":".to_owned(),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '#' | '@' | '!' | '$' | ':' => {
                format!("&#{};", u32::from(character))
            }
            command if is_command(command) => " ".to_owned(),
            other => other.to_string(),
        };
        if cell.len() + piece.len() > CELL {
            cell.push('…');
            break;
        }
        cell.push_str(&piece);
    }
    cell
}
