//! The backfill to apply for a replication.
//!
//! In: a `BucketReplication` with its status, if it has one. Out: a `ReplicationBackfill` for what the status reports
//! as missed, with what a person should see and may want to change, and nothing that the API server fills in.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use crate::api::{BucketReplication, GROUP, MAX_RULE_ENTRIES, RuleHealth, RuleVerdict};
use crate::replication::backfill::price;
use crate::replication::health::retried_failures::created_after;

/// The fields of the spec that choose objects.
const CHOOSING: [&str; 3] = ["statuses", "prefixes", "createdAfter"];

/// The resource, as a manifest; `choices` are fields of the spec that were chosen. Where they choose the objects, the
/// status does not.
pub fn propose(replication: &BucketReplication, name: Option<&str>, choices: &Map<String, Value>) -> Value {
    let parent = replication.name_any();
    let name = name.map_or_else(|| format!("{parent}-backfill"), str::to_owned);
    let mut metadata = Map::from_iter([("name".to_owned(), json!(name))]);
    metadata.extend(replication.namespace().map(|namespace| ("namespace".to_owned(), json!(namespace))));
    let mut spec = Map::from_iter([
        ("replicationRef".to_owned(), json!({"name": parent})),
        ("statuses".to_owned(), json!(["NotReplicated", "Failed"])),
    ]);
    if !CHOOSING.iter().any(|field| choices.contains_key(*field)) {
        spec.extend(failed(replication));
    }
    spec.extend(choices.clone());
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "ReplicationBackfill",
        "metadata": metadata,
        "spec": spec,
    })
}

/// The fields that choose what failed; none where nothing did.
fn failed(replication: &BucketReplication) -> Map<String, Value> {
    let mut fields = Map::new();
    let failing = failing_rules(replication);
    if failing.is_empty() {
        return fields;
    }
    fields.insert("statuses".to_owned(), json!(["Failed"]));
    if let Some(failed) = prefixes(replication, &failing) {
        fields.insert("prefixes".to_owned(), json!(failed));
    }
    let created = failed_since(replication).and_then(created_after);
    fields.extend(created.map(|created| ("createdAfter".to_owned(), json!(created.to_string()))));
    fields
}

/// The rules that fail, and those whose failures nothing replicated since.
fn failing_rules(replication: &BucketReplication) -> Vec<&RuleHealth> {
    let health = replication.status.as_ref().and_then(|status| status.health.as_ref());
    let rules = health.map(|health| health.rules.as_slice()).unwrap_or_default();
    let misses = |rule: &&RuleHealth| {
        rule.verdict == RuleVerdict::Failing || rule.failed.is_some_and(|failed| failed > 0)
    };
    rules.iter().filter(misses).collect()
}

fn failed_since(replication: &BucketReplication) -> Option<Timestamp> {
    let health = replication.status.as_ref()?.health.as_ref()?;
    health.failed_since.as_ref().map(|time| time.0)
}

/// The prefixes of the rules that fail. `None`: one of them replicates every key, or the status does not name them all.
fn prefixes(replication: &BucketReplication, failing: &[&RuleHealth]) -> Option<BTreeSet<String>> {
    if failing.len() >= MAX_RULE_ENTRIES {
        return None;
    }
    let prefix = |health: &&RuleHealth| {
        let rule = replication.spec.rules.iter().find(|rule| rule.id == health.id)?;
        rule.filter.as_ref()?.prefix.clone().filter(|prefix| !prefix.is_empty())
    };
    failing.iter().map(prefix).collect()
}

/// Remarks for the person who applies it, as the lines of a comment.
pub fn remarks(replication: &BucketReplication) -> Vec<String> {
    let source = &replication.spec.source.bucket;
    let mut lines = vec![
        format!(
            "Replicates once the objects of bucket {source} that BucketReplication {} missed: those from before its rules,",
            replication.name_any()
        ),
        "and those that failed. It starts one S3 Batch Replication job, which costs".to_owned(),
        format!("{}.", price::describe(None)),
    ];
    let since = failed_since(replication).map(|since| format!(" since {since}")).unwrap_or_default();
    let failing = failing_rules(replication);
    for RuleHealth { id, destination, failed, .. } in &failing {
        let count = match failed {
            Some(1) => "1 operation of".to_owned(),
            Some(failed) => format!("{failed} operations of"),
            None => "operations of".to_owned(),
        };
        lines.push(format!("Failed{since}: {count} rule {id}, to bucket {destination}."));
    }
    if !failing.is_empty() {
        lines.extend(
            [
                "The status reports failures, so that this asks for what failed. S3 may try for hours: createdAfter is 25 hours",
                "before the first failure. Once it has completed, the count of these failures starts again.",
            ]
            .map(str::to_owned),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replication_with(health: Value) -> BucketReplication {
        let rule = |id: &str, filter: Value| json!({"id": id, "filter": filter, "destination": {"bucket": "copies"}});
        serde_json::from_value(json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": "orders-to-eu", "namespace": "data"},
            "spec": {"source": {"bucket": "orders"}, "rules": [
                rule("invoices", json!({"prefix": "invoices/"})),
                rule("logs", json!({"prefix": "logs/"})),
                rule("all", json!({})),
            ]},
            "status": {"health": health},
        }))
        .unwrap()
    }

    fn rule(id: &str, verdict: &str, failed: i64) -> Value {
        json!({"id": id, "destination": "copies", "verdict": verdict, "failed": failed})
    }

    fn spec(replication: &BucketReplication, choices: Value) -> Value {
        propose(replication, None, choices.as_object().unwrap())["spec"].clone()
    }

    #[test]
    fn where_nothing_failed_everything_that_was_missed_is_asked_for() {
        let everything =
            json!({"replicationRef": {"name": "orders-to-eu"}, "statuses": ["NotReplicated", "Failed"]});
        for health in [json!(null), json!({"rules": [rule("invoices", "Arriving", 0)]})] {
            let replication = replication_with(health);
            assert_eq!(spec(&replication, json!({})), everything);
            assert_eq!(remarks(&replication).len(), 3);
        }
    }

    #[test]
    fn failed_objects_are_asked_for_by_the_prefixes_of_their_rules_and_from_more_than_a_day_before_the_first_failure()
     {
        let rules = [rule("invoices", "Failing", 12), rule("logs", "Arriving", 0)];
        let replication = replication_with(json!({"failedSince": "2026-03-02T10:00:00Z", "rules": rules}));
        assert_eq!(
            spec(&replication, json!({})),
            json!({"replicationRef": {"name": "orders-to-eu"}, "statuses": ["Failed"], "prefixes": ["invoices/"],
                "createdAfter": "2026-03-01T09:00:00Z"})
        );
        let failed =
            "Failed since 2026-03-02T10:00:00Z: 12 operations of rule invoices, to bucket copies.".to_owned();
        assert!(remarks(&replication).contains(&failed), "{:?}", remarks(&replication));
    }

    #[test]
    fn a_rule_whose_failures_are_not_proven_to_be_over_is_asked_for_too() {
        let silent = json!({"id": "logs", "destination": "copies", "verdict": "Unknown", "failed": 3});
        let replication = replication_with(json!({"rules": [rule("invoices", "Failing", 12), silent]}));
        assert_eq!(spec(&replication, json!({}))["prefixes"], json!(["invoices/", "logs/"]));
    }

    #[test]
    fn a_rule_for_every_key_that_fails_leaves_no_prefix_out() {
        let rules = [rule("invoices", "Failing", 1), rule("all", "Failing", 2)];
        let replication = replication_with(json!({"rules": rules}));
        let every_key = json!({"replicationRef": {"name": "orders-to-eu"}, "statuses": ["Failed"]});
        assert_eq!(spec(&replication, json!({})), every_key);
        let gone = replication_without_rule();
        assert_eq!(spec(&gone, json!({})), every_key, "nobody knows the prefix of a rule that is gone");
    }

    fn replication_without_rule() -> BucketReplication {
        replication_with(json!({"rules": [rule("removed", "Failing", 1)]}))
    }

    #[test]
    fn a_person_who_chooses_the_objects_gets_what_they_chose() {
        let replication = replication_with(json!({"rules": [rule("invoices", "Failing", 12)]}));
        let chosen = spec(&replication, json!({"prefixes": ["2026/"]}));
        assert_eq!(chosen["statuses"], json!(["NotReplicated", "Failed"]));
        assert_eq!(chosen["prefixes"], json!(["2026/"]));
        let manual = spec(&replication, json!({"approval": "Manual"}));
        assert_eq!((&manual["statuses"], &manual["approval"]), (&json!(["Failed"]), &json!("Manual")));
    }
}
