//! Lays out one resource as a tree.
//!
//! In: the resource as people read it, the width of the terminal, and the time. Out: text: the verdict, why and what to
//! do first; then buckets, rules, settings, drift and backfills.

use jiff::{SignedDuration, Timestamp};

use crate::api::{DriftEntry, RuleHealth, RuleVerdict};
use crate::cli::counted::counted;
use crate::cli::fleet::{BackfillView, BucketView, ConditionView, ReplicationView, RuleView, Verdict};
use crate::cli::terminal::{Layout, Tone, printable, tone};
use crate::replication::status::runbooks::unlinked;

/// The differences that are shown; the count of the others follows.
const SHOWN: usize = 10;
/// As many fields of the last correction: nobody has to act on them.
const SHOWN_CORRECTED: usize = 3;

/// A part of the tree: a line, and the lines below it.
struct Branch {
    line: String,
    below: Vec<Branch>,
}

impl Branch {
    fn leaf(line: impl Into<String>) -> Branch {
        Branch { line: line.into(), below: Vec::new() }
    }

    fn new(line: impl Into<String>, below: Vec<Branch>) -> Branch {
        Branch { line: line.into(), below }
    }
}

/// The screen of one resource. `now` dates what happened.
pub fn tree(view: &ReplicationView, layout: &Layout, now: Timestamp) -> String {
    let verdict = format!("{} {}: {}", view.verdict.sign(), view.full_name(), view.verdict.word());
    let title = format!(
        "{} {}",
        layout.paint(tone(view.verdict), &verdict),
        layout.paint(Tone::Dim, &format!("({})", view.reason)),
    );
    let mut text = format!("{}\n", layout.fill(&title, "", "  "));
    text.push_str(&layout.wrap(&format!("{}.", capitalized(&view.meaning)), "  "));
    text.push('\n');
    if let Some(since) = view.deleted.as_ref().and_then(|deleted| deleted.parse().ok()) {
        text.push_str(&layout.wrap(&format!("Its deletion was asked for {}.", ago(since, now)), "  "));
        text.push('\n');
    }
    if view.verdict.is_wrong() || view.verdict == Verdict::Unproven {
        text.push_str(&layout.wrap(unlinked(&view.message), "  "));
        text.push('\n');
    }
    for command in &view.next {
        text.push_str(&format!("  → {}\n", layout.paint(Tone::Strong, command)));
    }
    if let Some(runbook) = &view.runbook {
        text.push_str(&format!("  Runbook: {}\n", printable(runbook)));
    }
    text.push('\n');
    let mut branches: Vec<Branch> =
        view.rules.iter().map(|rule| rule_branch(rule, view, layout, now)).collect();
    branches.extend(view.role.as_ref().map(|role| {
        let whose = if role.managed { "managed by the operator" } else { "existing, never written" };
        Branch::leaf(format!("role {} {}", role.arn, layout.paint(Tone::Dim, &format!("({whose})"))))
    }));
    let canary = view.health.as_ref().and_then(|health| health.canary.as_ref());
    branches.extend(canary.map(|canary| {
        let result = canary.result.as_deref().unwrap_or("Pending");
        let sent = canary.sent_at.as_ref().map(|time| format!(", sent {}", ago(time.0, now)));
        let took = canary.latency_seconds.map(|seconds| format!(", took {seconds} s"));
        let facts = [sent, took].into_iter().flatten().collect::<String>();
        Branch::leaf(format!("canary {}{}", printable(result), layout.paint(Tone::Dim, &facts)))
    }));
    branches.push(settings(view, layout, now));
    if view.drift_count > 0 {
        let title = format!("differs from the spec in {}", fields(view.drift_count));
        let below = entries(&view.drift, view.drift_count, SHOWN);
        branches.push(Branch::new(layout.paint(Tone::Warning, &title), below));
    }
    if let Some(correction) = &view.last_correction {
        let title = format!("last correction {}: {}", ago(correction.time.0, now), fields(correction.count));
        branches.push(Branch::new(title, entries(&correction.items, correction.count, SHOWN_CORRECTED)));
    }
    branches.extend(view.backfills.iter().map(|backfill| {
        let commands = backfill.next.iter();
        let commands =
            commands.map(|command| Branch::leaf(format!("→ {}", layout.paint(Tone::Strong, command))));
        let runbook = backfill.runbook.iter();
        let runbook = runbook.map(|runbook| Branch::leaf(format!("Runbook: {}", printable(runbook))));
        Branch::new(backfill_line(backfill), commands.chain(runbook).collect())
    }));
    text.push_str(&format!("{}\n", layout.fill(&bucket_line(&view.source, layout), "", "│   ")));
    draw(&branches, "", layout, &mut text);
    text
}

/// Draws branches below a line that begins with `indent`. A long line goes on below, beside the rail.
fn draw(branches: &[Branch], indent: &str, layout: &Layout, text: &mut String) {
    for (index, Branch { line, below }) in branches.iter().enumerate() {
        let is_last = index + 1 == branches.len();
        let (elbow, rail) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let begun = if below.is_empty() { "  " } else { "│ " };
        let (first, more) = (format!("{indent}{elbow}"), format!("{indent}{rail}{begun}"));
        text.push_str(&layout.fill(line, &first, &more));
        text.push('\n');
        draw(below, &format!("{indent}{rail}"), layout, text);
    }
}

fn bucket_line(bucket: &BucketView, layout: &Layout) -> String {
    let BucketView { bucket: name, region, account, account_ref, versioning } = bucket;
    let versioning = versioning.as_ref().map(|versioning| format!("versioning {versioning}"));
    let account_ref = account_ref.as_ref().map(|name| format!("AwsAccount {name}"));
    let facts: Vec<String> =
        [region.clone(), account.clone(), account_ref, versioning].into_iter().flatten().collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    format!("{}{}", layout.paint(Tone::Strong, &printable(name)), layout.paint(Tone::Dim, &printable(&facts)))
}

fn rule_branch(rule: &RuleView, view: &ReplicationView, layout: &Layout, now: Timestamp) -> Branch {
    let RuleView { id, enabled, prefix, tags, metrics, destination } = rule;
    let prefix = prefix.as_ref().filter(|prefix| !prefix.is_empty()).map(|prefix| format!("prefix {prefix}"));
    let tags = tags.iter().map(|(key, value)| format!("tag {key}={value}"));
    let filter: Vec<String> = prefix.into_iter().chain(tags).collect();
    let filter = if filter.is_empty() { "every object".to_owned() } else { filter.join(", ") };
    let disabled = if *enabled { "" } else { ", Disabled" };
    let metrics = if *metrics { ", with metrics" } else { "" };
    let line = format!("rule {}: {}{disabled}{metrics}", printable(id), printable(&filter));
    let health = view.health.iter().flat_map(|health| &health.rules);
    let health = health.filter(|health| health.id == *id && health.destination == destination.bucket);
    let below = [Branch::leaf(format!("→ {}", bucket_line(destination, layout)))];
    let below = below.into_iter().chain(health.map(|health| Branch::leaf(health_line(health, layout, now))));
    Branch::new(line, below.collect())
}

/// Whether the objects of a rule arrive, with the figures that say so.
fn health_line(health: &RuleHealth, layout: &Layout, now: Timestamp) -> String {
    let RuleHealth {
        verdict, failed, operations, pending, latency_seconds, last_arrival, last_failure, ..
    } = health;
    let (sign, tone, word) = match verdict {
        RuleVerdict::Failing => ("✗", Tone::Bad, "objects fail"),
        RuleVerdict::Delayed => ("!", Tone::Warning, "objects are late"),
        RuleVerdict::Arriving => ("✓", Tone::Good, "objects arrive"),
        RuleVerdict::Unknown => ("?", Tone::Warning, "not known whether objects arrive"),
    };
    let failed = failed.map(|failed| match operations {
        Some(operations) => format!("{failed} of {operations} failed"),
        None => format!("{failed} failed"),
    });
    let figures = [
        failed,
        pending.map(|pending| format!("{pending} pending")),
        latency_seconds.map(|seconds| format!("{seconds} s behind")),
        last_arrival.as_ref().map(|time| format!("last arrival {}", ago(time.0, now))),
        last_failure.as_ref().map(|time| format!("last failure {}", ago(time.0, now))),
        health.reason.as_deref().map(printable),
    ];
    let figures: Vec<String> = figures.into_iter().flatten().collect();
    let figures = if figures.is_empty() { String::new() } else { format!(": {}", figures.join(", ")) };
    format!("{} {word}{}", layout.paint(tone, sign), layout.paint(Tone::Dim, &figures))
}

fn settings(view: &ReplicationView, layout: &Layout, now: Timestamp) -> Branch {
    let line = |condition: &ConditionView| {
        let (sign, tone) = match (condition.r#type.as_str(), condition.status.as_str()) {
            ("Reconciling", _) => ("…", Tone::Dim),
            ("Stalled", _) => ("✗", Tone::Bad),
            (_, "True") => ("✓", Tone::Good),
            (_, "False") => ("✗", Tone::Bad),
            _ => ("?", Tone::Warning),
        };
        let since = condition.since.as_ref().and_then(|since| since.parse().ok());
        let since = since.map(|since| format!(", {}", ago(since, now))).unwrap_or_default();
        let reason = layout.paint(Tone::Dim, &format!("({}{since})", condition.reason));
        format!("{} {} {reason}", layout.paint(tone, sign), condition.r#type)
    };
    let mut title = "settings".to_owned();
    if view.management_policy == "Observe" {
        title.push_str(", observed and never written");
    }
    Branch::new(title, view.conditions.iter().map(|condition| Branch::leaf(line(condition))).collect())
}

fn entries(entries: &[DriftEntry], count: i32, at_most: usize) -> Vec<Branch> {
    let lines = entries.iter().take(at_most).map(|entry| Branch::leaf(printable(&entry.to_string())));
    let left = usize::try_from(count).unwrap_or_default().saturating_sub(entries.len().min(at_most));
    let more = (left > 0).then(|| Branch::leaf(format!("and {left} more")));
    lines.chain(more).collect()
}

/// A backfill in one line.
pub fn backfill_line(backfill: &BackfillView) -> String {
    let BackfillView { name, ready, reason, total, succeeded, failed, .. } = backfill;
    let progress = match (total, backfill.done()) {
        (Some(total), Some(done)) => format!(
            ": {:.0} % ({} of {total}, {} failed)",
            done * 100.0,
            succeeded.unwrap_or_default(),
            failed.unwrap_or_default()
        ),
        _ => String::new(),
    };
    let reason = if reason.is_empty() { ready } else { reason };
    format!("backfill {name} {reason}{progress}")
}

/// How long ago something was, in its largest unit.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

fn fields(count: i32) -> String {
    counted(usize::try_from(count).unwrap_or_default(), "field")
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}
