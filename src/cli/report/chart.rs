//! Draws the map of a report as SVG.
//!
//! In: the resources of the report. Out: each account and Region with its buckets, sources on the left and
//! destinations on the right, and an arrow for each bucket that replicates into another. A large fleet has an arrow for
//! each pair of accounts and Regions and verdict instead, because single ones would not be readable.
//!
//! Verdicts differ by colour, by the form of the line, and by the sign in the legend. The table below the map says the
//! same in text.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::cli::counted::{counted, form};
use crate::cli::fleet::{BucketView, ReplicationView, Verdict};
use crate::cli::map::account_and_region;

/// Up to this many arrows each bucket has its own row.
const DETAILED: usize = 60;
/// Pairs of accounts and Regions that are drawn; the table has the others too.
const PAIRS: usize = 60;
/// The distance of parallel arrows between the same rows.
const APART: i32 = 4;

const WIDTH: i32 = 1000;
const BOX: i32 = 345;
const ROW: i32 = 20;
const HEAD: i32 = 26;
const GAP: i32 = 16;
/// Characters that a row has room for.
const LETTERS: usize = 48;

/// The form of an arrow, by verdict: a reader has to distinguish only these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Wrong,
    Late,
    Unsure,
    Well,
}

impl Form {
    const ALL: [Form; 4] = [Form::Wrong, Form::Late, Form::Unsure, Form::Well];

    fn of(verdict: Verdict) -> Form {
        match verdict {
            Verdict::Failing => Form::Wrong,
            Verdict::Delayed | Verdict::Retrying => Form::Late,
            Verdict::Deleting
            | Verdict::Waiting
            | Verdict::Unproven
            | Verdict::Suspended
            | Verdict::Disabled => Form::Unsure,
            Verdict::Applied | Verdict::Arriving => Form::Well,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Form::Wrong => "wrong",
            Form::Late => "late",
            Form::Unsure => "unsure",
            Form::Well => "well",
        }
    }

    fn legend(self) -> &'static str {
        match self {
            Form::Wrong => "✗ failing",
            Form::Late => "! delayed or retrying",
            Form::Unsure => "? waiting, suspended or not proven",
            Form::Well => "✓ applied or arriving",
        }
    }
}

/// One side of the map: boxes, each with its rows.
#[derive(Default)]
struct Side {
    boxes: BTreeMap<String, BTreeSet<String>>,
}

/// Where the rows of a side are.
struct Placed {
    rows: BTreeMap<(String, String), i32>,
    boxes: Vec<(String, i32, Vec<String>)>,
    height: i32,
}

impl Side {
    fn add(&mut self, scope: &str, row: &str) {
        self.boxes.entry(scope.to_owned()).or_default().insert(row.to_owned());
    }

    fn placed(self) -> Placed {
        let mut placed = Placed { rows: BTreeMap::new(), boxes: Vec::new(), height: GAP };
        for (scope, rows) in self.boxes {
            let top = placed.height;
            for (row, n) in rows.iter().zip(0..) {
                placed.rows.insert((scope.clone(), row.clone()), top + HEAD + n * ROW + ROW / 2);
            }
            let rows: Vec<String> = rows.into_iter().collect();
            placed.height += HEAD + ROW * i32::try_from(rows.len()).unwrap_or(i32::MAX / ROW) + GAP;
            placed.boxes.push((scope, top, rows));
        }
        placed
    }
}

/// A row of the map: the account and Region it is in, and its text.
type Row = (String, String);

/// The arrows to draw, and how many buckets replicate along each.
type Arrows = BTreeMap<(Form, Row, Row), usize>;

/// The map of these resources; empty without any.
pub fn chart(views: &[ReplicationView]) -> Markup {
    let arrows = views.iter().flat_map(|view| {
        let enabled = view.rules.iter().filter(|rule| rule.enabled);
        enabled.map(|rule| (&view.source, &rule.destination, Form::of(view.verdict)))
    });
    let arrows: Vec<(&BucketView, &BucketView, Form)> = arrows.collect();
    if arrows.is_empty() {
        return html! {};
    }
    let (drawn, left_out) =
        if arrows.len() <= DETAILED { (detailed(&arrows), 0) } else { counted_pairs(&arrows) };
    let (mut left, mut right) = (Side::default(), Side::default());
    for (_, from, to) in drawn.keys() {
        left.add(&from.0, &from.1);
        right.add(&to.0, &to.1);
    }
    let (left, right) = (left.placed(), right.placed());
    let height = left.height.max(right.height);
    let label = format!(
        "Map: {} from source to destination buckets, by account and Region",
        counted(arrows.len(), "arrow")
    );
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(label) class="map" {
            defs {
                @for form in Form::ALL {
                    marker id=(format!("head-{}", form.class())) viewBox="0 0 8 8" refX="7" refY="4"
                        markerUnits="userSpaceOnUse" markerWidth="11" markerHeight="11" orient="auto" {
                        path d="M0 0L8 4L0 8z" class=(format!("head {}", form.class())) {}
                    }
                }
            }
            (boxes(&left, 0)) (boxes(&right, WIDTH - BOX))
            // Failures are drawn last, above the rest.
            @for ((form, from, to), count) in drawn.iter().rev() {
                @let lane = if arrows.len() <= DETAILED { 0 } else { APART * (index(*form) - 1) };
                @let (y1, y2) = (height_of(&left, from) + lane, height_of(&right, to) + lane);
                @let (x1, x2) = (BOX + 4, WIDTH - BOX - 4);
                @let middle = i32::midpoint(x1, x2);
                path class=(format!("arrow {}", form.class()))
                    d=(format!("M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"))
                    marker-end=(format!("url(#head-{})", form.class())) {
                    title { (from.0) " → " (to.0) ": " (form.legend()) " (" (count) ")" }
                }
            }
        }
        ul class="legend" aria-label="Legend of the map" {
            @for form in Form::ALL {
                li {
                    svg viewBox="0 0 40 10" aria-hidden="true" {
                        path class=(format!("arrow {}", form.class())) d="M0 5H40" {}
                    }
                    (form.legend())
                }
            }
        }
        @if left_out > 0 { p class="dim" {
            (left_out) " more " (form(left_out, "pair of accounts and Regions is", "pairs of accounts and Regions are")) " in the table below."
        } }
    }
}

/// An arrow for each bucket that replicates into another.
fn detailed(arrows: &[(&BucketView, &BucketView, Form)]) -> Arrows {
    let mut drawn = Arrows::new();
    for (source, destination, form) in arrows {
        let from = (account_and_region(source), source.bucket.clone());
        let to = (account_and_region(destination), destination.bucket.clone());
        *drawn.entry((*form, from, to)).or_default() += 1;
    }
    drawn
}

/// An arrow for each pair of accounts and Regions and form, the pairs with what is wrong first; and the number of pairs
/// left out.
fn counted_pairs(arrows: &[(&BucketView, &BucketView, Form)]) -> (Arrows, usize) {
    let mut pairs: BTreeMap<(String, String), BTreeMap<Form, usize>> = BTreeMap::new();
    for (source, destination, form) in arrows {
        let forms = pairs.entry((account_and_region(source), account_and_region(destination))).or_default();
        *forms.entry(*form).or_default() += 1;
    }
    let mut ordered: Vec<((String, String), BTreeMap<Form, usize>)> = pairs.into_iter().collect();
    ordered.sort_by_key(|(pair, forms)| {
        let of = |form: Form| std::cmp::Reverse(forms.get(&form).copied().unwrap_or_default());
        (Form::ALL.map(of), pair.clone())
    });
    let left_out = ordered.len().saturating_sub(PAIRS);
    let mut drawn = Arrows::new();
    for ((from, to), forms) in ordered.into_iter().take(PAIRS) {
        let counts: Vec<String> =
            forms.iter().map(|(form, count)| format!("{} {count}", sign(*form))).collect();
        let row = (from.clone(), format!("→ {to}: {}", counts.join("  ")));
        for (form, count) in forms {
            drawn.insert((form, row.clone(), (to.clone(), format!("← {from}"))), count);
        }
    }
    (drawn, left_out)
}

fn height_of(side: &Placed, row: &(String, String)) -> i32 {
    side.rows.get(row).copied().unwrap_or_default()
}

fn index(form: Form) -> i32 {
    Form::ALL.iter().zip(0..).find(|(held, _)| **held == form).map_or(0, |(_, index)| index)
}

fn sign(form: Form) -> &'static str {
    match form {
        Form::Wrong => "✗",
        Form::Late => "!",
        Form::Unsure => "?",
        Form::Well => "✓",
    }
}

fn boxes(side: &Placed, x: i32) -> Markup {
    html! {
        @for (scope, top, rows) in &side.boxes {
            @let height = HEAD + ROW * i32::try_from(rows.len()).unwrap_or_default();
            rect class="scope" x=(x + 1) y=(top) width=(BOX - 2) height=(height) rx="6" {}
            text class="scope-name" x=(x + 10) y=(top + 17) { (short(scope)) }
            @for (row, n) in rows.iter().zip(0..) {
                text class="bucket" x=(x + 10) y=(top + HEAD + n * ROW + 14) { (short(row)) title { (row) } }
            }
        }
    }
}

/// A text that fits a row.
fn short(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
