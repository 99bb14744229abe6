//! The output of `status`: for every reason, for one resource, for many.

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::fleet::Verdict;
use crate::cli::fleet::samples::{TYPED, all, reasons, resource, with_backfill, with_reason};
use crate::cli::status::lines::lines;
use crate::cli::status::{StatusList, summary, tree};
use crate::cli::terminal::Layout;

const PIPE: Layout = Layout { width: None, height: None, color: false };
const TERMINAL: Layout = Layout { width: Some(100), height: Some(30), color: false };

fn now() -> Timestamp {
    "2026-03-01T12:30:00Z".parse().unwrap()
}

/// The first lines of a tree: the verdict, why, and what to do.
fn head(text: &str) -> String {
    text.split("\n\n").next().unwrap_or_default().to_owned()
}

#[test]
fn a_name_that_is_longer_than_its_column_is_a_word_of_its_own_in_a_pipe() {
    let long = "orders-".repeat(12) + "eu";
    let views = all([resource(&long, &[["Ready", "False", "ForeignRole", "m"]])]);
    let text = lines(&views, &PIPE, ("kubectl s3replication", ""));
    let row = text.lines().find(|line| line.starts_with('✗')).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert!(words[1].ends_with("-eu") && words.contains(&"→") && words.contains(&"ForeignRole"), "{row}");
}

#[test]
fn names_are_whole_and_aligned_where_there_is_room_for_them() {
    let (long, short) = ("orders-".repeat(3) + "eu", "bills");
    let views =
        all([long.as_str(), short].map(|name| resource(name, &[["Ready", "False", "ForeignRole", "m"]])));
    for layout in [PIPE, Layout { width: Some(280), ..TERMINAL }] {
        let text = lines(&views, &layout, ("kubectl s3replication", ""));
        assert!(!text.contains('…') && text.contains(&format!("{long}-source → ")), "{text}");
        let column = |line: &str, word: &str| {
            let before = line.split(word).next().unwrap_or_default();
            before.chars().count()
        };
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('✗')).collect();
        let header = text.lines().find(|line| line.contains("STATUS")).unwrap();
        let columns: Vec<usize> = rows.iter().map(|row| column(row, "ForeignRole")).collect();
        assert_eq!(columns, [column(header, "STATUS"); 2], "{text}");
    }
}

#[test]
fn every_reason_has_its_verdict_its_meaning_and_a_next_command() {
    let mut text = String::new();
    for reason in reasons() {
        let view = all([with_reason(reason)]).pop().unwrap();
        assert!(!view.next.is_empty(), "{reason} has no command");
        assert!(view.next.iter().all(|command| !command.contains("  ")), "{reason}: {:?}", view.next);
        let shown = head(&tree(&view, &PIPE, now()));
        assert!(shown.contains(reason.as_str()) && shown.contains("→ "), "{reason}: {shown}");
        text.push_str(&format!("{shown}\n\n"));
    }
    assert_snapshot!(text);
}

#[test]
fn a_resource_that_is_being_deleted_is_no_longer_called_well() {
    let deleted = |conditions: &[[&str; 4]]| {
        let mut object = resource("orders", conditions);
        object["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:27:00Z");
        all([object]).pop().unwrap()
    };
    let going = deleted(&[["Ready", "True", "Applied", "m"]]);
    assert_eq!((going.verdict, going.deleted.as_deref()), (Verdict::Deleting, Some("2026-03-01T12:27:00Z")));
    let shown = tree(&going, &PIPE, now());
    assert!(shown.starts_with("- data/orders: being deleted (Applied)\n  Someone deleted"), "{shown}");
    assert!(shown.contains("  Its deletion was asked for 3 min ago.\n"), "{shown}");
    let blocked = deleted(&[["Ready", "False", "DeletionBlocked", "Someone attached a policy."]]);
    assert!(blocked.verdict.is_wrong(), "what keeps it from being deleted needs someone");
    assert!(tree(&blocked, &PIPE, now()).contains("Its deletion was asked for 3 min ago."));
}

#[test]
fn a_link_of_the_operator_is_shown_once_as_the_runbook() {
    let page = "https://docs.example.com/reasons/ForeignRole/";
    let message = format!("The role exists. See {page}");
    let view = all([resource("orders", &[["Ready", "False", "ForeignRole", &message]])]).pop().unwrap();
    let shown = tree(&view, &PIPE, now());
    assert_eq!(shown.matches(page).count(), 1, "{shown}");
    assert!(shown.contains(&format!("\n  Runbook: {page}\n")), "{shown}");
    assert_eq!(view.message, message, "a program reads the message of the condition");
    let well = all([resource("orders", &[["Ready", "True", "Applied", "m"]])]).pop().unwrap();
    assert_eq!(well.runbook, None);
}

#[test]
fn a_reason_of_a_newer_operator_is_shown_as_it_is() {
    let view =
        all([resource("orders", &[["Ready", "False", "BrandNew", "The operator says so."]])]).pop().unwrap();
    let shown = tree(&view, &PIPE, now());
    assert_eq!(view.verdict, Verdict::Failing);
    assert!(shown.contains("BrandNew") && shown.contains("The operator says so."), "{shown}");
    assert!(shown.contains("→ kubectl describe bucketreplication orders -n data"), "{shown}");
}

#[test]
fn one_resource_is_a_tree() {
    let mut object = resource(
        "orders",
        &[
            ["Ready", "False", "Drifted", "AWS differs from the spec in 2 fields: the policy is Observe."],
            ["VersioningReady", "True", "Applied", "m"],
            ["InSync", "False", "Drifted", "m"],
            ["Stalled", "True", "Drifted", "m"],
        ],
    );
    object["spec"]["managementPolicy"] = json!("Observe");
    object["spec"]["rules"][0]["filter"] = json!({"prefix": "logs/", "tags": {"keep": "yes"}});
    object["spec"]["rules"][0]["destination"]["metrics"] = json!("Enabled");
    let entry = |path: &str| {
        json!({
            "resource": "ReplicationConfiguration", "name": "orders-source", "path": path,
            "want": "STANDARD", "got": "GLACIER",
        })
    };
    let drift: Vec<_> = (0..12).map(|n| entry(&format!("rules[r{n}].destination.storageClass"))).collect();
    object["status"]["drift"] = json!(drift);
    object["status"]["driftCount"] = json!(140);
    let corrected: Vec<_> = (0..11).map(|_| entry("rules[all].status")).collect();
    object["status"]["lastCorrection"] =
        json!({"time": "2026-02-27T12:00:00Z", "count": 11, "items": corrected});
    let backfill = json!({
        "apiVersion": "s3replication.dev/v1alpha1", "kind": "ReplicationBackfill",
        "metadata": {"namespace": "data", "name": "november"},
        "spec": {"replicationRef": {"name": "orders"}},
        "status": {
            "state": "Active",
            "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Running", "message": "m"}],
            "progress": {"total": 3000, "succeeded": 1200, "failed": 60},
        },
    });
    assert_snapshot!(tree(&with_backfill(object, backfill), &TERMINAL, now()));
}

#[test]
fn the_rules_of_a_tree_say_whether_their_objects_arrive() {
    let failing = "12 of 12 operations of rule all to orders-copy failed.";
    let mut object = resource(
        "orders",
        &[["Ready", "True", "Applied", "m"], ["Replicating", "False", "ObjectsFailing", failing]],
    );
    object["status"]["health"] = json!({
        "failedSince": "2026-03-01T11:00:00Z",
        "rules": [{
            "id": "all", "destination": "orders-copy", "verdict": "Failing", "failed": 12, "operations": 12,
            "pending": 3, "latencySeconds": 1200, "lastFailure": "2026-03-01T12:20:00Z",
        }],
        "canary": {"sentAt": "2026-03-01T12:15:00Z", "result": "Failed"},
    });
    assert_snapshot!(tree(&all([object])[0], &TERMINAL, now()));
}

#[test]
fn many_resources_are_lines_with_those_first_that_need_someone() {
    let long =
        "S3 knows no bucket archive-copy: create it, or correct rules[all].destination.bucket; ".repeat(3);
    let mut several = resource("bills", &[["Ready", "True", "Applied", "m"]]);
    several["spec"]["rules"] = json!([
        {"id": "a", "priority": 1, "destination": {"bucket": "first"}},
        {"id": "b", "priority": 2, "destination": {"bucket": "second"}},
    ]);
    let fleet = all([
        several,
        resource("archive", &[["Ready", "False", "DestinationBucketNotFound", &long]]),
        resource("new", &[]),
        resource("paused", &[["Ready", "Unknown", "Suspended", "m"]]),
        resource("orders", &[["Ready", "False", "ForeignRole", "The role exists."]]),
    ]);
    assert_snapshot!("lines_on_a_terminal", lines(&fleet, &TERMINAL, (TYPED, "")));
    let piped = lines(&fleet, &PIPE, (TYPED, ""));
    assert!(piped.contains(long.trim_end()), "a pipe loses nothing: {piped}");
    for line in lines(&fleet, &TERMINAL, (TYPED, "")).lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 100, "{line}");
    }
    for width in [40, 60, 80, 120, 200] {
        let layout = Layout { width: Some(width), ..TERMINAL };
        let text = lines(&fleet, &layout, (TYPED, ""));
        let rows = text.lines().filter(|line| line.contains(" data/")).count();
        assert_eq!(rows, fleet.len(), "{text}");
        let is_row = |line: &&str| line.contains(" data/") || line.contains("NAMESPACE/NAME");
        for row in text.lines().filter(is_row) {
            assert!(unicode_width::UnicodeWidthStr::width(row) <= width, "{width}: {row}");
        }
    }
}

#[test]
fn an_empty_cluster_is_reported_as_empty() {
    assert_eq!(lines(&[], &TERMINAL, (TYPED, "")), "There are no replications.\n");
}

/// The form that programs read: a change of it is a change for them.
#[test]
fn the_form_for_programs_is_stable() {
    let mut object = resource("orders", &[["Ready", "False", "ForeignRole", "The role exists."]]);
    object["status"]["driftCount"] = json!(0);
    let views = all([object]);
    let list = StatusList { summary: summary(&views), items: &views };
    assert_snapshot!(serde_json::to_string_pretty(&list).unwrap());
}

#[test]
fn colour_is_never_the_only_sign() {
    let fleet = all([
        resource("orders", &[["Ready", "False", "ForeignRole", "m"]]),
        resource("bills", &[["Ready", "True", "Applied", "m"]]),
    ]);
    let coloured = lines(&fleet, &Layout { color: true, ..TERMINAL }, (TYPED, ""));
    assert!(coloured.contains('\u{1b}'));
    assert_eq!(plain(&coloured), lines(&fleet, &TERMINAL, (TYPED, "")));
}

/// Text without its escape sequences for colour.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn a_message_from_elsewhere_cannot_command_the_terminal() {
    let fleet = all([resource("orders", &[["Ready", "False", "ForeignRole", "a\u{1b}[2Jb"]])]);
    for text in [lines(&fleet, &PIPE, (TYPED, "")), tree(&fleet[0], &PIPE, now())] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
