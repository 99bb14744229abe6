//! The output of `report`, in each format.

use std::collections::{BTreeMap, BTreeSet};

use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::json;

use crate::api::Switch;
use crate::aws::{Importable, ListedBucket};
use crate::cli::fleet::samples::{TYPED, all, found, full, resource};
use crate::cli::fleet::{Pointers, view_all};
use crate::cli::report::data::{BucketReport, Covered, FleetReport, ReadAccount, ReadBucket};
use crate::cli::report::{bucket, html, markdown};
use crate::replication::Configuration;
use crate::replication::configuration::{Rule, RuleDestination, RuleFilter};

fn now() -> Timestamp {
    "2026-03-01T12:30:00Z".parse().unwrap()
}

fn sample() -> FleetReport {
    let mut drifted = resource("bills", &[["Ready", "True", "Applied", "m"]]);
    let entry = json!({
        "resource": "ReplicationConfiguration", "name": "bills-source", "path": "rules[all].status",
        "want": "Enabled", "got": "Disabled",
    });
    drifted["status"]["lastCorrection"] =
        json!({"time": "2026-02-27T12:00:00Z", "count": 7, "items": [entry]});
    let views = all([
        drifted,
        resource("orders", &[["Ready", "False", "ForeignRole", "The role orders exists."]]),
        resource("paused", &[["Ready", "Unknown", "Suspended", "m"]]),
    ]);
    let bucket = |name: &str, destinations| ReadBucket { name: name.to_owned(), destinations };
    let buckets = vec![
        bucket("lonely", Ok(None)),
        bucket("by-hand", Ok(Some(vec!["elsewhere".to_owned()]))),
        bucket("denied", Err("access denied: s3:GetReplicationConfiguration on denied".to_owned())),
    ];
    let account = |id: &str, buckets| ReadAccount { account_id: id.to_owned(), account_ref: None, buckets };
    let accounts =
        vec![account("111111111111", Ok(buckets)), account("222222222222", Err("no session".to_owned()))];
    let covered = Covered::by(&views);
    FleetReport::new(views, covered, accounts, now())
}

/// The form for programs of everything that a report may hold.
pub fn json_sample() -> serde_json::Value {
    let report = FleetReport { coverage_unknown: Some("it is unknown".to_owned()), ..sample() };
    let mut accounts = report.accounts.clone();
    accounts[0].account_ref = Some("prod".to_owned());
    let replications = vec![full()];
    serde_json::to_value(FleetReport { accounts, replications, ..report }).unwrap()
}

#[test]
fn markdown_begins_with_the_verdict() {
    assert_snapshot!(markdown::markdown(&sample()));
}

#[test]
fn accounts_without_buckets_are_not_counted_in_zeros() {
    let account =
        |id: &str| ReadAccount { account_id: id.to_owned(), account_ref: None, buckets: Ok(vec![]) };
    let coverage = |accounts: &[&str]| {
        let accounts = accounts.iter().map(|id| account(id)).collect();
        FleetReport::new(vec![], Covered::by(&[]), accounts, now()).coverage(str::to_owned)
    };
    assert_eq!(coverage(&["111111111111"]), "The account has no buckets.");
    assert_eq!(coverage(&["111111111111", "222222222222"]), "The accounts have no buckets.");
}

#[test]
fn markdown_has_the_map_and_the_drift_of_the_page() {
    let mut drifted = resource("bills", &[["Ready", "False", "Drifted", "m"]]);
    let entry = |n: usize| json!({"resource": "Role", "name": "r", "path": format!("path{n}"), "want": "a", "got": "b"});
    drifted["status"]["drift"] = (0..7).map(entry).collect();
    drifted["status"]["driftCount"] = json!(9);
    let mut disabled = resource("off", &[["Ready", "True", "Applied", "m"]]);
    disabled["spec"]["rules"][0]["status"] = json!("Disabled");
    let well = (0..7).map(|n| resource(&format!("orders{n}"), &[["Ready", "True", "Applied", "m"]]));
    let views = all(well.chain([drifted, disabled]));
    let text = markdown::markdown(&FleetReport::new(views, Ok(Covered::default()), Vec::new(), now()));
    let scopes = "| 111111111111 us-east-1 | 222222222222 eu-west-1 | ✗ 1 failing, ✓ 7 applied |";
    let row = text.lines().find(|line| line.starts_with(scopes)).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains("| bills-source → bills-copy<br>") && row.ends_with("<br>and 3 more |"), "{row}");
    assert!(!row.contains("✓ 8"), "a disabled rule is no arrow: {row}");
    let row = text.lines().find(|line| line.starts_with("| differs now | data/bills |")).unwrap();
    assert!(row.contains("path4") && !row.contains("path5") && row.ends_with("<br>and 4 more |"), "{row}");
    assert!(markdown::markdown(&sample()).contains("| corrected | data/bills | 2026-02-27T12"), "{text}");
}

/// A report whose operator, or whose reader, has a site of the documentation.
fn with_site() -> FleetReport {
    let site = "https://docs.example.com".parse().unwrap();
    let linked = "access to s3:PutReplicationConfiguration is denied; see https://wiki.example.com/reasons/AccessDenied/";
    let objects = [
        resource("bills", &[["Ready", "True", "Applied", "m"]]),
        resource("orders", &[["Ready", "False", "AccessDenied", linked]]),
        resource("paused", &[["Ready", "Unknown", "Suspended", "m"]]),
        resource("new", &[["Ready", "False", "OfTomorrow", "m"]]),
    ];
    let pointers = Pointers { typed: TYPED, cluster: "", runbooks: Some(&site) };
    let views = view_all(objects.into_iter().map(found).collect(), &[], pointers);
    FleetReport::new(views, Ok(Covered::default()), Vec::new(), now())
}

#[test]
fn markdown_links_each_reason_that_is_not_well_to_its_runbook() {
    assert_snapshot!(markdown::markdown(&with_site()));
}

#[test]
fn a_page_links_each_reason_that_is_not_well_to_its_runbook() {
    let page = html::page(&with_site());
    let cells =
        page.split("<td>").filter(|cell| cell.contains("/reasons/")).map(|cell| cell.split("</td>").next());
    let cells: Vec<&str> = cells.flatten().collect();
    assert_snapshot!(cells.join("\n"));
}

#[test]
fn a_report_without_a_site_has_no_link_that_leads_nowhere() {
    for text in [html::page(&sample()), markdown::markdown(&sample())] {
        assert!(!text.contains("reasons.md") && !text.contains("](docs"), "{text}");
    }
}

#[test]
fn markdown_lists_as_in_need_of_attention_what_its_sign_counts() {
    let text = |objects: Vec<serde_json::Value>| {
        let views = all(objects);
        markdown::markdown(&FleetReport::new(views, Ok(Covered::default()), Vec::new(), now()))
    };
    let unproven = || {
        let conditions = [["Ready", "True", "Applied", "m"], ["Replicating", "Unknown", "NotProven", "m"]];
        resource("orders", &conditions)
    };
    let uncertain = text(vec![unproven()]);
    assert!(uncertain.contains("? **The replication is not proven.**"), "{uncertain}");
    assert!(!uncertain.contains("Needs attention"), "{uncertain}");
    let wrong = text(vec![unproven(), resource("bills", &[["Ready", "False", "ForeignRole", "m"]])]);
    let attention = wrong.split("<details>").next().unwrap();
    assert!(wrong.contains("✗ **1 of 2") && attention.contains("## Needs attention"), "{wrong}");
    assert!(attention.contains("data/bills") && !attention.contains("data/orders"), "{wrong}");
}

#[test]
fn the_form_for_programs_is_stable() {
    let mut report = serde_json::to_value(sample()).unwrap();
    // Their form has its own test.
    report["replications"] = json!(report["replications"].as_array().unwrap().len());
    assert_snapshot!(serde_json::to_string_pretty(&report).unwrap());
}

/// A text that would be a script, an image or a link if any part of the page took it as markup.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload=\"alert(3) &amp; ' [a](http://b) `|\n# Title @org/team #1 www.b.example ![a](http://b) **a** __a__ ~~a~~ $a$ \u{1b}[2J";

fn hostile() -> FleetReport {
    let mut object = resource("orders", &[["Ready", "False", "ForeignRole", HOSTILE]]);
    object["spec"]["source"]["bucket"] = json!(HOSTILE);
    object["spec"]["source"]["region"] = json!(HOSTILE);
    object["spec"]["rules"][0]["id"] = json!(HOSTILE);
    object["spec"]["rules"][0]["filter"] = json!({"prefix": HOSTILE, "tags": {HOSTILE: HOSTILE}});
    object["spec"]["rules"][0]["destination"]["bucket"] = json!(HOSTILE);
    object["status"]["conditions"][0]["reason"] = json!(HOSTILE);
    let entry =
        json!({"resource": "Role", "name": HOSTILE, "path": HOSTILE, "want": HOSTILE, "got": HOSTILE});
    object["status"]["drift"] = json!([entry]);
    object["status"]["driftCount"] = json!(1);
    let bucket = |destinations| ReadBucket { name: format!("{HOSTILE}2"), destinations };
    let buckets = vec![bucket(Ok(None)), bucket(Err(HOSTILE.to_owned())), bucket(Ok(Some(Vec::new())))];
    let account = ReadAccount { account_id: HOSTILE.to_owned(), account_ref: None, buckets: Ok(buckets) };
    let views = all([object]);
    let covered = Covered::by(&views);
    FleetReport::new(views, covered, vec![account], now())
}

/// Requires that no markup of a text from elsewhere is markup of the page.
fn require_no_markup(page: &str) {
    // An indented line is code, in which nothing is markup.
    for line in page.lines().filter(|line| !line.starts_with("    ")) {
        for part in
            ["<script", "<img", "[a](", "`", "@", "#1 ", "www.", "http:", "**a", "__a", "~~", "$", "\u{1b}"]
        {
            assert!(!line.contains(part), "{part}: {line}");
        }
        assert!(!line.starts_with("# Title"), "a text begins a line: {page}");
    }
}

/// Where strings are in a value, as JSON pointers.
fn strings(value: &serde_json::Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(_) => found.push(pointer.to_owned()),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| strings(item, &format!("{pointer}/{n}"), found));
        }
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(key, item)| strings(item, &format!("{pointer}/{key}"), found));
        }
        _ => {}
    }
}

#[test]
fn no_string_of_a_report_becomes_markup_whichever_it_is() {
    let mut report = json_sample();
    let mut wrong = report["replications"][0].clone();
    wrong["verdict"] = json!("Failing");
    report["replications"].as_array_mut().unwrap().push(wrong);
    let page_of = |value: &serde_json::Value| {
        let report: FleetReport = serde_json::from_value(value.clone()).ok()?;
        Some((markdown::markdown(&report), html::page(&report)))
    };
    let (_, harmless) = page_of(&report).unwrap();
    let tags = |page: &str| ["<script", "<img", "<a ", "<style"].map(|tag| page.matches(tag).count());
    let mut pointers = Vec::new();
    strings(&report, "", &mut pointers);
    let mut all = report.clone();
    let mut taken = Vec::new();
    for pointer in pointers {
        let mut one = report.clone();
        *one.pointer_mut(&pointer).unwrap() = json!(HOSTILE);
        // A time, a verdict or a kind of resource can be no other text.
        let Some((text, page)) = page_of(&one) else { continue };
        require_no_markup(&text);
        assert_eq!(tags(&page), tags(&harmless), "an element begins in {pointer}");
        assert!(!page.contains("\" onload=\""), "an attribute ends in {pointer}");
        *all.pointer_mut(&pointer).unwrap() = json!(HOSTILE);
        taken.push(pointer);
    }
    require_no_markup(&page_of(&all).unwrap().0);
    for pointer in ["/generated", "/coverageUnknown", "/replications/1/message", "/unknown/0/why"] {
        assert!(taken.iter().any(|one| one == pointer), "{pointer} of {taken:?}");
    }
}

#[test]
fn text_from_elsewhere_stays_text() {
    let page = html::page(&hostile());
    let harmless = html::page(&sample());
    let tags = |page: &str| ["<script", "<img", "<a ", "<style"].map(|tag| page.matches(tag).count());
    assert_eq!(tags(&page), tags(&harmless), "no element begins in a text");
    // A quotation mark would end an attribute.
    assert!(!page.contains("\" onload=\""), "an attribute ends in a text");
    assert!(page.contains("&lt;script&gt;"), "the text itself is there");

    let text = markdown::markdown(&hostile());
    require_no_markup(&text);
    for line in text.lines().filter(|line| line.starts_with("| ✗")) {
        assert_eq!(line.matches('|').count(), 6, "a cell ends in a text: {line}");
    }
}

#[test]
fn ten_thousand_replications_are_a_page_of_a_few_megabytes() {
    let views =
        all((0..10_000).map(|n| resource(&format!("replication-{n}"), &[["Ready", "True", "Applied", "m"]])));
    let page = html::page(&FleetReport::new(views, Ok(Covered::default()), Vec::new(), now()));
    assert_eq!(page.matches("<tr data-verdict").count(), 10_000, "every row is there without the script");
    assert!(page.len() < 8_000_000, "{} bytes", page.len());
    // The map counts what it could not draw.
    assert!(page.contains(": ✓ 10000"), "the map has no count");
    assert!(page.matches("class=\"arrow").count() < 20, "one arrow for all");
}

/// The most characters of the body of a pull request or a comment on GitHub.
const GITHUB: usize = 65_536;

/// A fleet in which every list of a report has thousands of rows, with long texts full of what is escaped.
fn large_fleet(message: &str) -> FleetReport {
    let entry = json!({"resource": "Role", "name": "r", "path": message, "want": "a", "got": "b"});
    let objects = (0..10_000).map(|n| {
        let ready = if n % 2 == 0 { "ForeignRole" } else { "Applied" };
        let status = if n % 2 == 0 { "False" } else { "True" };
        let mut object = resource(&format!("replication-{n:05}"), &[["Ready", status, ready, message]]);
        object["status"]["source"]["account"] = json!(format!("{n:012}"));
        object["status"]["drift"] = json!([entry, entry, entry, entry, entry, entry]);
        object["status"]["driftCount"] = json!(6);
        let day = n % 28 + 1;
        object["status"]["lastCorrection"] =
            json!({"time": format!("2026-02-{day:02}T12:00:00Z"), "count": 1, "items": [entry]});
        object
    });
    let views = all(objects);
    let buckets = (0..3000).map(|n| {
        let destinations = match n % 3 {
            0 => Ok(None),
            1 => Ok(Some(vec!["elsewhere".to_owned()])),
            _ => Err(message.to_owned()),
        };
        ReadBucket { name: format!("bucket-{n}"), destinations }
    });
    let unread = (0..3000).map(|n| ReadAccount {
        account_id: format!("{n:012}"),
        account_ref: None,
        buckets: Err(message.to_owned()),
    });
    let read = ReadAccount {
        account_id: "999999999999".to_owned(),
        account_ref: None,
        buckets: Ok(buckets.collect()),
    };
    let covered = Covered::by(&views);
    FleetReport::new(views, covered, unread.chain([read]).collect(), now())
}

#[test]
fn markdown_of_ten_thousand_replications_fits_a_pull_request_and_counts_what_it_leaves_out() {
    for message in ["m".to_owned(), "it is a|b: @x ".repeat(500)] {
        let text = markdown::markdown(&large_fleet(&message));
        assert!(text.chars().count() < GITHUB, "{} characters", text.chars().count());
        let heads =
            ["## Needs attention", "Next:", "<details>", "## Map", "## Drift", "## Buckets that do not"];
        for head in heads.into_iter().chain(["## Buckets that replicate", "## Unknown", "</details>"]) {
            assert!(text.contains(head), "{head}: {text}");
        }
        assert!(text.contains(" more: `-o html` and `-o json` list all."), "{text}");
        let attention = text.split("<details>").next().unwrap_or_default();
        let rows = attention.matches("| ✗ failing |").count();
        assert!(rows > 0 && attention.contains(&format!("And {} more", 5000 - rows)), "{rows}: {attention}");
        let folded = text.split("<details>").nth(1).and_then(|rest| rest.split("</details>").next()).unwrap();
        let rows = folded.matches("| ✓ applied |").count();
        assert!(rows > 0 && folded.contains(&format!("And {} more", 5000 - rows)), "{rows}: {folded}");
    }
}

#[test]
fn markdown_of_few_replications_leaves_nothing_out() {
    let objects = (0..150).map(|n| {
        let ready = if n % 2 == 0 {
            ["Ready", "False", "ForeignRole", "m"]
        } else {
            ["Ready", "True", "Applied", "m"]
        };
        resource(&format!("replication-{n}"), &[ready])
    });
    let views = all(objects);
    let text = markdown::markdown(&FleetReport::new(views, Ok(Covered::default()), Vec::new(), now()));
    assert_eq!(text.matches("data/replication-").count(), 150, "{text}");
    assert!(!text.contains("list all"), "{text}");
}

#[test]
fn corrections_are_listed_with_the_newest_first_in_each_format() {
    let objects = (0..1000).map(|n| {
        let mut object = resource(&format!("replication-{n:04}"), &[["Ready", "True", "Applied", "m"]]);
        let time = format!("2026-02-27T{:02}:{:02}:00Z", n / 60, n % 60);
        object["status"]["lastCorrection"] = json!({"time": time, "count": 1, "items": []});
        object
    });
    let report = FleetReport::new(all(objects), Ok(Covered::default()), Vec::new(), now());
    let page = html::page(&report);
    let changes = page.split("id=\"changes\"").nth(1).unwrap();
    let times: Vec<&str> =
        changes.split("<time datetime=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!((times.len(), times[0], times[999]), (1000, "2026-02-27T16:39:00Z", "2026-02-27T00:00:00Z"));
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");

    let text = markdown::markdown(&report);
    let corrected: Vec<&str> = text.lines().filter(|line| line.starts_with("| corrected")).collect();
    assert!(corrected[0].contains("replication-0999") && corrected[1].contains("replication-0998"), "{text}");
    assert!(text.contains(&format!("And {} more", 1000 - corrected.len())), "{text}");
}

#[test]
fn a_page_is_complete_without_its_script() {
    let page = html::page(&sample());
    for part in
        ["1 of 3 replications needs attention", "ForeignRole", "lonely", "by-hand", "no session", "corrected"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_report_for_programs_is_read_back_as_it_was() {
    let report = sample();
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<FleetReport>(&text).unwrap(), report);
}

/// A bucket as AWS answers, with a rule for each of these destinations.
fn held(name: &str, rules: &[(&str, Switch)]) -> ListedBucket {
    let rule = |(destination, status): &(&str, Switch)| Rule {
        status: *status,
        priority: None,
        filter: RuleFilter::default(),
        delete_markers: Switch::Disabled,
        replica_modifications: Switch::Disabled,
        kms_encrypted_objects: Switch::Disabled,
        destination: RuleDestination {
            bucket: format!("arn:aws:s3:::{destination}"),
            account: None,
            storage_class: None,
            ownership: None,
            kms_key: None,
            replication_time_control: Switch::Disabled,
            metrics: Switch::Disabled,
        },
    };
    let rules: BTreeMap<String, Rule> =
        rules.iter().map(|of_rule| (of_rule.0.to_owned(), rule(of_rule))).collect();
    let configuration = Importable {
        region: "us-east-1".to_owned(),
        account_id: "111111111111".to_owned(),
        configuration: Configuration { role: "arn:aws:iam::111111111111:role/r".to_owned(), rules },
        existing_objects: Vec::new(),
        repeated_ids: BTreeSet::new(),
        unknown_elements: BTreeSet::new(),
    };
    ListedBucket { name: name.to_owned(), configuration: Ok(Some(configuration)) }
}

#[test]
fn a_destination_that_s3_names_by_its_arn_is_replicated_into_and_a_disabled_rule_replicates_nothing() {
    let without = |name: &str| ListedBucket { name: name.to_owned(), configuration: Ok(None) };
    let buckets = [
        held("by-hand", &[("copy", Switch::Enabled), ("former-copy", Switch::Disabled)]),
        held("paused", &[("paused-copy", Switch::Disabled)]),
        without("copy"),
        without("former-copy"),
        without("paused-copy"),
    ];
    let account = ReadAccount {
        account_id: "111111111111".to_owned(),
        account_ref: None,
        buckets: Ok(buckets.into_iter().map(bucket).collect()),
    };
    let report = FleetReport::new(Vec::new(), Ok(Covered::default()), vec![account], now());
    let names = |buckets: &[BucketReport]| -> Vec<String> {
        buckets.iter().map(|bucket| bucket.bucket.clone()).collect()
    };
    assert_eq!(names(&report.not_managed), ["by-hand"]);
    assert_eq!(names(&report.not_replicated), ["former-copy", "paused", "paused-copy"]);
}
