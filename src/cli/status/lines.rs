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
/// On a terminal, a column is not made wider for a longer text while the reasons in words need the room.
const WIDEST: usize = 44;
/// Where lines may have any length, one longer text does not move the columns of all others: its row alone is longer.
const WIDEST_IN_A_PIPE: usize = 80;
/// The columns that the reason in words gets, if need be at the expense of names.
const REASON: usize = 40;
/// The column of names is not made narrower.
const NAME: usize = 24;
/// The column of buckets is left out rather than made narrower.
const BUCKETS: usize = 16;
/// The reason in words gets these columns before the buckets get any.
const WORTH: usize = 30;
/// A reason in fewer columns says nothing.
const SHORTEST: usize = 12;

/// The widths of the columns. One of width 0 is left out.
#[derive(Clone, Copy)]
struct Columns {
    name: usize,
    buckets: usize,
    status: usize,
    why: usize,
}

impl Columns {
    /// Columns for texts of these widths within the width of the terminal. The reason in words is worth more than the
    /// ends of long names. The buckets are left out where they leave no room for the fault.
    fn within(all: Option<usize>, [name, buckets, status, why]: [usize; 4]) -> Columns {
        let Some(all) = all else {
            let [name, buckets, status] = [name, buckets, status].map(|width| width.min(WIDEST_IN_A_PIPE));
            return Columns { name, buckets, status, why: usize::MAX };
        };
        let longest = [name, buckets];
        let [wanted, mut buckets, mut status] = [name, buckets, status].map(|width| width.min(WIDEST));
        let used = |name: usize, buckets: usize, status: usize| {
            SIGN + name + GAP + status + GAP + if buckets > 0 { buckets + GAP } else { 0 }
        };
        if used(wanted.min(NAME), buckets.min(BUCKETS), status) + WORTH > all {
            buckets = 0;
        }
        let missing = (used(wanted, buckets, status) + REASON).saturating_sub(all);
        let cut = missing.min(buckets.saturating_sub(BUCKETS));
        buckets -= cut;
        let mut name = wanted - (missing - cut).min(wanted.saturating_sub(NAME));
        // No gap follows the last column.
        let beyond = |name: usize, status: usize| used(name, buckets, status).saturating_sub(all + GAP);
        status -= beyond(name, status).min(status.saturating_sub(SHORTEST));
        name -= beyond(name, status).min(name.saturating_sub(SHORTEST));
        let rest = all.saturating_sub(used(name, buckets, status));
        if rest < SHORTEST {
            // Nobody else needs it.
            name = wanted.min(name + (all + GAP).saturating_sub(used(name, buckets, status)));
        }
        let why_or_none = if rest < SHORTEST { 0 } else { rest };
        Columns { name, buckets, status, why: why_or_none }.widened(longest, why)
    }

    /// Gives the room that the reasons in words leave to the buckets, and then to the names, up to the longest of them.
    fn widened(self, [name, buckets]: [usize; 2], why: usize) -> Columns {
        let mut free = self.why.saturating_sub(why);
        let mut grown = |width: usize, longest: usize| {
            let more = free.min(longest.saturating_sub(width));
            free -= more;
            width + more
        };
        let buckets = if self.buckets > 0 { grown(self.buckets, buckets) } else { 0 };
        let name = grown(self.name, name);
        let taken = name + buckets - self.name - self.buckets;
        Columns { name, buckets, why: self.why - taken, ..self }
    }
}

/// The table of resources, which are in the order in which they need someone.
///
/// `program`: as it was typed, and the flags that named the cluster.
pub fn lines(views: &[ReplicationView], layout: &Layout, program: (&str, &str)) -> String {
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
        texts.chain(header.get(column).map(|text| text.width())).max().unwrap_or_default()
    };
    let columns = Columns::within(layout.width, [width(0), width(1), width(2), width(3)]);
    let line = |cells: [&str; 4]| {
        let [name, buckets, status, why] = cells;
        let cell = |text: &str, width: usize| match width {
            0 => String::new(),
            // A text that is longer than its column, which nothing cuts in a pipe, is still a word of its own.
            width => format!("{}{}", pad(&layout.cut(text, width), width), " ".repeat(GAP)),
        };
        let why = if columns.why == 0 { String::new() } else { layout.cut(why, columns.why) };
        let Columns { name: first, buckets: second, status: third, .. } = columns;
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
        let command = first.status_command(program);
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
