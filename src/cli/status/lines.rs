//! Lays out a line for each resource, under the verdict of all of them.
//!
//! In: the resources, the ones that need someone first, and the width of the terminal. Out: a table as text, and the
//! command that shows more of the worst.

use unicode_width::UnicodeWidthStr;

use crate::cli::fleet::{FleetSummary, ReplicationView};
use crate::cli::terminal::{Layout, Tone, pad, printable, tone};

const GAP: usize = 2;
/// The columns of the sign before each line.
const SIGN: usize = 2;
/// A column is not made wider for a longer text, where the width is limited.
const WIDEST: usize = 44;
/// The columns that the reason in words gets, if need be at the expense of names.
const REASON: usize = 40;
/// A column of names is not made narrower.
const NARROWEST: usize = 16;

/// The table of resources, which are in the order in which they need someone.
pub fn lines(views: &[ReplicationView], layout: &Layout, typed: &str) -> String {
    let summary = FleetSummary::of(views.iter().map(|view| view.verdict));
    let worst = views.first().map_or(Tone::Strong, |view| tone(view.verdict));
    let mut text = format!("{}\n", layout.paint(worst, &layout.wrap(&summary.sentence(), "")));
    if views.is_empty() {
        return text;
    }
    let rows: Vec<[String; 4]> = views.iter().map(row).collect();
    let header = ["NAMESPACE/NAME", "SOURCE → DESTINATION", "STATUS", "WHY"];
    let width = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column)).map(|text| text.width());
        let widest = texts.chain(header.get(column).map(|text| text.width())).max().unwrap_or_default();
        if layout.width.is_some() { widest.min(WIDEST) } else { widest }
    };
    let (mut name, mut buckets, status) = (width(0), width(1), width(2));
    if let Some(all) = layout.width {
        // The reason is worth more than the ends of long names.
        let missing = (SIGN + name + buckets + status + 3 * GAP + REASON).saturating_sub(all);
        let cut = missing.min(buckets.saturating_sub(NARROWEST));
        buckets -= cut;
        name -= (missing - cut).min(name.saturating_sub(NARROWEST));
    }
    let widths = [name, buckets, status];
    let used = SIGN + widths.iter().map(|width| width + GAP).sum::<usize>();
    let rest = layout.width.map_or(usize::MAX, |all| all.saturating_sub(used));
    let line = |cells: [&str; 4]| {
        let [name, buckets, status, why] = cells;
        let cell = |text: &str, width: usize| pad(&layout.cut(text, width), width + GAP);
        let [first, second, third] = widths;
        let why = if rest < 12 { String::new() } else { layout.cut(why, rest) };
        [cell(name, first), cell(buckets, second), cell(status, third), why].concat().trim_end().to_owned()
    };
    text.push('\n');
    text.push_str(&layout.paint(Tone::Dim, &format!("  {}", line(header))));
    text.push('\n');
    for (view, [name, buckets, status, why]) in views.iter().zip(&rows) {
        let sign = layout.paint(tone(view.verdict), view.verdict.sign());
        text.push_str(&format!("{sign} {}\n", line([name, buckets, status, why])));
    }
    if let Some(first) = views.first().filter(|view| view.verdict.is_wrong()) {
        let command = format!("{typed} status {} -n {}", first.name, first.namespace);
        text.push_str(&format!("\n→ {}\n", layout.paint(Tone::Strong, &command)));
    }
    text
}

fn row(view: &ReplicationView) -> [String; 4] {
    let destination = match view.rules.as_slice() {
        [] => "?".to_owned(),
        [one] => one.destination.bucket.clone(),
        [first, rest @ ..] => format!("{} +{}", first.destination.bucket, rest.len()),
    };
    let buckets = format!("{} → {destination}", view.source.bucket);
    let why = match view.verdict.is_wrong() {
        true => view.message.clone(),
        false => view.meaning.clone(),
    };
    [view.full_name(), printable(&buckets), view.reason.clone(), printable(&why)]
}
