//! Configurations that S3 may return for one spec: each means the same and is no drift.

use anyhow::{Context, Result};
use aws_sdk_s3::types as s3;
use serde_json::{Value, json};

use crate::support::{SOURCE_REGION, Scene, check_now, reason};

/// A form in which S3 may return a configuration, and edits of the spec that mean the same.
struct Wording {
    what: &'static str,
    spec: Vec<(&'static str, Value)>,
    /// Changes the rules that the operator wrote into that form.
    rules: fn(Vec<s3::ReplicationRule>) -> Vec<s3::ReplicationRule>,
}

fn each(
    rules: Vec<s3::ReplicationRule>,
    change: impl Fn(&mut s3::ReplicationRule),
) -> Vec<s3::ReplicationRule> {
    let changed = |mut rule: s3::ReplicationRule| {
        change(&mut rule);
        rule
    };
    rules.into_iter().map(changed).collect()
}

/// The first version of the schema: no filter, no priority, no `DeleteMarkerReplication`.
#[expect(deprecated, reason = "the first version of the schema has its prefix in the rule")]
fn first_version(rule: &mut s3::ReplicationRule) {
    rule.prefix = rule.filter.take().and_then(|f| f.prefix).or(Some(String::new()));
    rule.priority = None;
    rule.delete_marker_replication = None;
}

fn and(prefix: Option<&str>, tags: &[(&str, &str)]) -> s3::ReplicationRuleFilter {
    let tag =
        |(key, value): &(&str, &str)| s3::Tag::builder().key(*key).value(*value).build().expect("a tag");
    let tags = (!tags.is_empty()).then(|| tags.iter().map(tag).collect());
    let and = s3::ReplicationRuleAndOperator::builder().set_prefix(prefix.map(str::to_owned)).set_tags(tags);
    s3::ReplicationRuleFilter::builder().and(and.build()).build()
}

fn wordings() -> Vec<Wording> {
    let markers = || ("rules.0.deleteMarkers", json!("Enabled"));
    vec![
        Wording {
            what: "the first version, for all objects",
            spec: vec![markers()],
            rules: |rules| each(rules, first_version),
        },
        Wording {
            what: "the first version, with a prefix",
            spec: vec![markers(), ("rules.0.filter", json!({"prefix": "logs/"}))],
            rules: |rules| each(rules, first_version),
        },
        Wording {
            what: "an empty filter",
            spec: vec![("rules.0.filter", json!(null)), ("rules.0.deleteMarkers", json!(null))],
            rules: |rules| each(rules, |r| r.filter = Some(s3::ReplicationRuleFilter::builder().build())),
        },
        Wording {
            what: "an empty prefix",
            spec: vec![("rules.0.filter", json!({"tags": {}}))],
            rules: |rules| {
                each(rules, |r| r.filter = Some(s3::ReplicationRuleFilter::builder().prefix("").build()))
            },
        },
        Wording {
            what: "a list of one condition, a prefix",
            spec: vec![("rules.0.filter", json!({"prefix": "logs/"}))],
            rules: |rules| each(rules, |r| r.filter = Some(and(Some("logs/"), &[]))),
        },
        Wording {
            what: "a list of one condition, a tag",
            spec: vec![("rules.0.filter", json!({"tags": {"k": "v"}}))],
            rules: |rules| each(rules, |r| r.filter = Some(and(None, &[("k", "v")]))),
        },
        Wording {
            what: "a list of an empty prefix and a tag",
            spec: vec![],
            rules: |rules| each(rules, |r| r.filter = Some(and(Some(""), &[("k", "v")]))),
        },
        Wording {
            what: "tags in another order",
            spec: vec![("rules.0.filter", json!({"tags": {"k": "v", "l": "w"}}))],
            rules: |rules| each(rules, |r| r.filter = Some(and(None, &[("l", "w"), ("k", "v")]))),
        },
        Wording {
            what: "a priority that S3 chose",
            spec: vec![("rules.0.priority", json!(null)), ("rules.0.filter", json!(null))],
            rules: |rules| each(rules, |r| r.priority = Some(0)),
        },
        Wording {
            what: "switches that say Disabled",
            spec: vec![],
            rules: |rules| {
                each(rules, |r| {
                    let off = s3::ReplicaModificationsStatus::Disabled;
                    let modifications =
                        s3::ReplicaModifications::builder().status(off).build().expect("a status");
                    let criteria =
                        s3::SourceSelectionCriteria::builder().replica_modifications(modifications);
                    r.source_selection_criteria = Some(criteria.build());
                    let off =
                        s3::Metrics::builder().status(s3::MetricsStatus::Disabled).build().expect("a status");
                    if let Some(to) = r.destination.as_mut() {
                        to.metrics = Some(off);
                    }
                })
            },
        },
        Wording {
            what: "rules in another order",
            spec: vec![(
                "rules",
                json!([
                    {"id": "a", "priority": 1, "destination": {"bucket": "DESTINATION"}},
                    {"id": "b", "priority": 2, "destination": {"bucket": "DESTINATION"}},
                ]),
            )],
            rules: |mut rules| {
                rules.reverse();
                rules
            },
        },
    ]
}

#[tokio::test]
async fn an_equivalent_configuration_is_no_drift_and_causes_no_write() -> Result<()> {
    let orders = Scene::named("wordings").ready().await?;
    for Wording { what, mut spec, rules } in wordings() {
        for (_, value) in &mut spec {
            let named = value.to_string().replace("DESTINATION", &orders.destination);
            *value = serde_json::from_str(&named)?;
        }
        orders.change_spec(&spec).await.context(what)?;
        let held = orders.configuration().await?;
        let reworded = s3::ReplicationConfiguration::builder()
            .role(held.role())
            .set_rules(Some(rules(held.rules().to_vec())))
            .build()?;
        let put = orders.world.s3(SOURCE_REGION).put_bucket_replication().bucket(&orders.source);
        put.replication_configuration(reworded).send().await.context(what)?;
        orders.world.proxy.clear();
        let status = &check_now(&orders.world, "orders").await?["status"];
        assert_eq!(orders.world.proxy.count("GetBucketReplication"), 1, "{what}: was read");
        assert_eq!(status["drift"], Value::Null, "{what}");
        assert_eq!(reason(status, "Ready"), "Applied", "{what}");
        let writes: Vec<String> = orders.world.proxy.writes().iter().map(ToString::to_string).collect();
        assert_eq!(writes, Vec::<String>::new(), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn the_first_schema_version_replicates_delete_markers_which_is_drift_if_the_spec_does_not() -> Result<()>
{
    let orders = Scene::named("first-version").ready().await?;
    let held = orders.configuration().await?;
    let reworded = s3::ReplicationConfiguration::builder()
        .role(held.role())
        .set_rules(Some(each(held.rules().to_vec(), first_version)))
        .build()?;
    let put = orders.world.s3(SOURCE_REGION).put_bucket_replication().bucket(&orders.source);
    put.replication_configuration(reworded).send().await?;
    let status = &check_now(&orders.world, "orders").await?["status"];
    let corrected = &status["lastCorrection"]["items"];
    assert_eq!(corrected.as_array().map(Vec::len), Some(1), "{corrected}");
    assert_eq!(corrected[0]["path"], "rules[ReplicateToEU].deleteMarkers");
    assert_eq!((&corrected[0]["want"], &corrected[0]["got"]), (&json!("Disabled"), &json!("Enabled")));
    assert_eq!(orders.rule().await?["DeleteMarkerReplication"], "Disabled");
    Ok(())
}
