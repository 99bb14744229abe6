//! The fields of a rule.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use aws_sdk_s3::types as s3;
use serde_json::{Value, json};

use crate::support::{DESTINATION_REGION, Scene};

use super::KMS_REPLICAS;

/// Edits of the spec (path and value), the field to read in S3, and its expected value.
type Edit<'a> = (Vec<(&'a str, Value)>, &'a str, Value);

#[tokio::test]
async fn every_field_of_a_rule_is_set_changed_and_removed_in_s3() -> Result<()> {
    let orders = Scene::named("rule-fields").ready().await?;
    let usual = orders.rule().await?;
    let class = |class| vec![("rules.0.destination.storageClass", json!(class))];
    let filter = |filter: Value| vec![("rules.0.filter", filter)];
    let metrics = "rules.0.destination.metrics";
    let rtc = "rules.0.destination.replicationTimeControl";
    let other_key = KMS_REPLICAS.replace("6666-7777", "aaaa-bbbb");
    let encrypted = |objects: Value, key: Value| {
        vec![("rules.0.kmsEncryptedObjects", objects), ("rules.0.destination.kmsKeyArn", key)]
    };
    // The last line of each field restores its first value.
    let mut table: Vec<Edit> = vec![
        (vec![("rules.0.status", json!("Disabled"))], "Status", json!("Disabled")),
        (vec![("rules.0.status", json!("Enabled"))], "Status", json!("Enabled")),
        (vec![("rules.0.status", json!(null))], "Status", json!("Enabled")),
        (vec![("rules.0.priority", json!(2_147_483_647))], "Priority", json!(2_147_483_647)),
        (vec![("rules.0.priority", json!(0))], "Priority", json!(0)),
        (vec![("rules.0.priority", json!(null))], "Priority", json!(0)),
        (vec![("rules.0.priority", json!(1))], "Priority", json!(1)),
        (filter(json!({"prefix": "logs/"})), "Filter", json!({"Prefix": "logs/"})),
        (filter(json!({"prefix": "a b/ü&<"})), "Filter", json!({"Prefix": "a b/ü&<"})),
        (filter(json!({"tags": {"k": "v"}})), "Filter", json!({"Tag": {"k": "v"}})),
        (filter(json!({"tags": {"k": ""}})), "Filter", json!({"Tag": {"k": ""}})),
        (
            filter(json!({"prefix": "logs/", "tags": {"k": "v"}})),
            "Filter",
            json!({"And": {"Prefix": "logs/", "Tags": {"k": "v"}}}),
        ),
        (
            filter(json!({"tags": {"k": "v", "l": "w"}})),
            "Filter",
            json!({"And": {"Prefix": null, "Tags": {"k": "v", "l": "w"}}}),
        ),
        (filter(json!({"tags": {}})), "Filter", json!({"Prefix": ""})),
        (filter(json!(null)), "Filter", json!({"Prefix": ""})),
        (vec![("rules.0.deleteMarkers", json!("Enabled"))], "DeleteMarkerReplication", json!("Enabled")),
        (vec![("rules.0.deleteMarkers", json!("Disabled"))], "DeleteMarkerReplication", json!("Disabled")),
        (vec![("rules.0.deleteMarkers", json!(null))], "DeleteMarkerReplication", json!("Disabled")),
        (vec![("rules.0.replicaModifications", json!("Enabled"))], "ReplicaModifications", json!("Enabled")),
        (vec![("rules.0.replicaModifications", json!("Disabled"))], "ReplicaModifications", json!(null)),
        (vec![("rules.0.replicaModifications", json!(null))], "ReplicaModifications", json!(null)),
        (encrypted(json!("Enabled"), json!(KMS_REPLICAS)), "SseKmsEncryptedObjects", json!("Enabled")),
        (vec![], "Destination/ReplicaKmsKeyID", json!(KMS_REPLICAS)),
        (encrypted(json!("Enabled"), json!(other_key)), "Destination/ReplicaKmsKeyID", json!(other_key)),
        (encrypted(json!("Disabled"), json!(null)), "SseKmsEncryptedObjects", json!(null)),
        (encrypted(json!(null), json!(null)), "Destination/ReplicaKmsKeyID", json!(null)),
        (vec![(metrics, json!("Enabled"))], "Destination/Metrics", json!(["Enabled", null])),
        (vec![], "Destination/ReplicationTime", json!(null)),
        (
            vec![(metrics, json!(null)), (rtc, json!("Enabled"))],
            "Destination/ReplicationTime",
            json!(["Enabled", 15]),
        ),
        (vec![], "Destination/Metrics", json!(["Enabled", 15])),
        (vec![(rtc, json!("Disabled"))], "Destination/ReplicationTime", json!(null)),
        (vec![(rtc, json!(null))], "Destination/Metrics", json!(null)),
    ];
    for name in [
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    ] {
        table.push((class(json!(name)), "Destination/StorageClass", json!(name)));
    }
    table.push((class(json!(null)), "Destination/StorageClass", json!(null)));
    table.push((class(json!("STANDARD")), "Destination/StorageClass", json!("STANDARD")));

    for (edits, field, shown) in &table {
        orders.change_spec(edits).await.with_context(|| format!("{edits:?}"))?;
        let rule = orders.rule().await?;
        assert_eq!(rule.pointer(&format!("/{field}")), Some(shown), "{edits:?}");
    }
    assert_eq!(orders.rule().await?, usual, "what was set and taken back leaves nothing behind");
    Ok(())
}

#[tokio::test]
async fn several_rules_and_destinations_come_and_go() -> Result<()> {
    let orders = Scene::named("several").ready().await?;
    let second = orders.world.bucket("ap-southeast-2").await?;
    let rule = |id: &str, priority: i32, bucket: &str| json!({"id": id, "priority": priority, "filter": {"prefix": id}, "destination": {"bucket": bucket}});
    let all = json!([
        rule("a", 10, &orders.destination),
        rule("b", 20, &second),
        rule("c", 30, &orders.destination),
    ]);
    let object = orders.change_spec(&[("rules", all)]).await?;
    let held = orders.rules().await?;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(held["b"]["Destination"]["Bucket"], format!("arn:aws:s3:::{second}"));
    assert_eq!(held["c"]["Priority"], 30);
    assert_eq!(
        orders.versioning("ap-southeast-2", &second).await?,
        Some(s3::BucketVersioningStatus::Enabled)
    );
    assert_eq!(object["status"]["rules"], 3);
    assert_eq!(object["status"]["destinations"].as_array().map(Vec::len), Some(2));
    let replicas = |grants: &BTreeSet<(String, String)>| -> BTreeSet<String> {
        grants.iter().filter(|(a, _)| a == "s3:ReplicateObject").map(|(_, r)| r.clone()).collect()
    };
    let both = [&orders.destination, &second].map(|b| format!("arn:aws:s3:::{b}/*"));
    assert_eq!(replicas(&orders.grants().await?), BTreeSet::from(both));

    let object = orders.change_spec(&[("rules", json!([rule("b", 5, &second)]))]).await?;
    let held = orders.rules().await?;
    assert_eq!(held.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(object["status"]["rules"], 1);
    assert_eq!(replicas(&orders.grants().await?), BTreeSet::from([format!("arn:aws:s3:::{second}/*")]));

    let object = orders.change_spec(&[("rules.0.destination.bucket", json!(orders.destination))]).await?;
    assert_eq!(orders.rule().await?["Destination"]["Bucket"], format!("arn:aws:s3:::{}", orders.destination));
    assert_eq!(object["status"]["destinations"][0]["bucket"], orders.destination);
    Ok(())
}

#[tokio::test]
async fn a_bucket_of_another_account_is_named_with_its_owner_and_may_own_the_replicas() -> Result<()> {
    let orders = Scene::named("accounts").ready().await?;
    let other = orders.world.another_account();
    let theirs = orders.world.bucket_of(&other, DESTINATION_REGION).await?;
    let enabled = s3::VersioningConfiguration::builder().status(s3::BucketVersioningStatus::Enabled).build();
    let their_s3 = orders.world.as_account(&other).s3(DESTINATION_REGION);
    their_s3.put_bucket_versioning().bucket(&theirs).versioning_configuration(enabled).send().await?;
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{}:root", orders.world.account)},
        "Action": ["s3:ListBucket", "s3:GetBucketVersioning"],
        "Resource": format!("arn:aws:s3:::{theirs}"),
    }]});
    their_s3.put_bucket_policy().bucket(&theirs).policy(policy.to_string()).send().await?;

    let destination = json!({"bucket": theirs, "account": other, "versioning": "Required"});
    orders.change_spec(&[("rules.0.destination", destination)]).await?;
    let held = &orders.rule().await?["Destination"];
    assert_eq!((&held["Account"], &held["Owner"]), (&json!(other), &json!(null)));

    let object = orders.change_spec(&[("rules.0.destination.ownership", json!("Destination"))]).await?;
    let held = &orders.rule().await?["Destination"];
    assert_eq!((&held["Account"], &held["Owner"]), (&json!(other), &json!("Destination")));
    assert_eq!(object["status"]["destinations"][0]["account"], other.as_str());
    let owner = ("s3:ObjectOwnerOverrideToBucketOwner".to_owned(), format!("arn:aws:s3:::{theirs}/*"));
    assert!(orders.grants().await?.contains(&owner));

    orders.change_spec(&[("rules.0.destination.ownership", json!(null))]).await?;
    assert_eq!(orders.rule().await?["Destination"]["Owner"], json!(null));
    assert!(!orders.grants().await?.contains(&owner));

    orders.change_spec(&[("rules.0.destination", json!({"bucket": orders.destination}))]).await?;
    assert_eq!(orders.rule().await?["Destination"]["Account"], json!(null));
    Ok(())
}

#[tokio::test]
async fn similar_tags_are_distinguished() -> Result<()> {
    let orders = Scene::named("tags-alike").ready().await?;
    for (key, value) in [("a=b", "c"), ("a", "b=c")] {
        orders.change_spec(&[("rules.0.filter", json!({"tags": {key: value}}))]).await?;
        let held = orders.configuration().await?;
        let tag = held.rules().first().and_then(|r| r.filter()?.tag()).context("no tag")?;
        assert_eq!((tag.key(), tag.value()), (key, value));
    }
    Ok(())
}
