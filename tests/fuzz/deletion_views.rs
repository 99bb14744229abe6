//! Deletion of any object that the API server may hold, decodable or not: it finds what spec and status name, and no more.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use s3_replication_operator::api::{BucketReplicationSpec, BucketReplicationStatus};
use s3_replication_operator::controllers::bucket_replication::deletion_view::DeletionView;
use s3_replication_operator::replication::ResourceId;
use serde_json::{Value, json};

use crate::choice::{choose, optional};
use crate::crd_schema::{admitted, spec_schema};
use crate::engine::{any_json, check, corpus, odd_value, with_replaced};

const KEYS: &[&str] = &[
    "source",
    "bucket",
    "region",
    "role",
    "arn",
    "name",
    "managed",
    "formerRoles",
    "bucketPolicies",
    "account",
    "accountRef",
    "appliedHash",
    "deletionPolicy",
    "managementPolicy",
    "destinations",
    "rules",
    "conditions",
];
const TEXTS: &[&str] = &[
    "Delete",
    "Retain",
    "Enforce",
    "Observe",
    "orders",
    "other",
    "arn:aws:iam::111122223333:role/s3-replication/other",
    "é",
    "",
];

fn changed(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let changes = prop::collection::vec((any::<Index>(), odd_value()), 0..3);
    (value, changes).prop_map(|(value, changes)| {
        changes.iter().fold(value, |value, (at, by)| with_replaced(&value, *at, by))
    })
}

fn spec() -> impl Strategy<Value = Value> {
    let policies = (
        optional(0.5, select(vec![json!("Delete"), json!("Retain"), json!("delete"), json!(null), json!(7)])),
        optional(
            0.5,
            select(vec![json!("Enforce"), json!("Observe"), json!("Audit"), json!(null), json!([])]),
        ),
    );
    let specs = admitted(&spec_schema("s3replication.dev_bucketreplications.yaml"));
    let with_policies = (specs, policies).prop_map(|(mut spec, (deletion, management))| {
        spec["deletionPolicy"] = deletion.unwrap_or_else(|| json!("Delete"));
        spec["managementPolicy"] = management.unwrap_or_else(|| json!("Enforce"));
        spec
    });
    choose![3 => changed(with_policies), 1 => any_json(KEYS, TEXTS)]
}

fn status() -> impl Strategy<Value = Value> {
    let seeds: Vec<Value> =
        corpus("deletion-views").iter().map(|seed| serde_json::from_slice(seed).unwrap()).collect();
    choose![3 => changed(select(seeds)), 1 => any_json(KEYS, TEXTS)]
}

fn id() -> ResourceId {
    ResourceId {
        cluster: None,
        namespace: "data".to_owned(),
        name: "orders".to_owned(),
        uid: Some("uid".to_owned()),
        former_clusters: Vec::new(),
    }
}

fn view_of(spec: &Value, status: &Value) -> DeletionView {
    let metadata = json!({"namespace": "data", "name": "orders", "uid": "uid", "deletionTimestamp": "2026-11-23T10:11:12Z"});
    let object = json!({
        "apiVersion": "s3replication.dev/v1alpha1", "kind": "BucketReplication", "metadata": metadata, "spec": spec, "status": status,
    });
    DeletionView::read(serde_json::from_value::<DynamicObject>(object).unwrap())
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// The items of a list; none where there is no list.
fn items<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

/// The last part of each ARN.
fn names<'a>(arns: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    arns.into_iter().map(|arn| arn.rsplit('/').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn aws_is_cleaned_up_only_if_both_policies_say_so_in_so_many_words() {
    check(500, (spec(), status()), |(spec, status)| {
        let says = |field: &str, word: &str| match spec.get(field) {
            None | Some(Value::Null) => true,
            Some(value) => value == word,
        };
        let cleans_up = says("deletionPolicy", "Delete") && says("managementPolicy", "Enforce");
        prop_assert_eq!(view_of(&spec, &status).leaves_aws_alone(), !cleans_up);
        Ok(())
    });
}

#[test]
fn a_status_names_no_other_source_than_the_spec() {
    check(500, (spec(), status()), |(spec, status)| {
        let view = view_of(&spec, &status);
        if let Some(bucket) = text(&spec, "/source/bucket") {
            prop_assert_eq!(view.bucket(), Some(bucket.to_owned()));
        }
        prop_assert_eq!(view.source().map(|source| source.name), view.bucket());
        prop_assert_eq!(view.account_ref(), text(&spec, "/source/accountRef").map(str::to_owned));
        Ok(())
    });
}

#[test]
fn the_roles_and_bucket_policies_to_delete_are_those_that_spec_and_status_name() {
    check(1000, (spec(), status()), |(spec, status)| {
        let view = view_of(&spec, &status);
        let whole_status = status.clone();
        // A status that cannot be decoded names nothing.
        let readable = serde_json::from_value::<BucketReplicationStatus>(status.clone()).is_ok();
        let remembered = if readable && status.is_object() {
            status
        } else {
            json!({"formerRoles": [], "bucketPolicies": []})
        };
        let managed = text(&remembered, "/role/arn")
            .filter(|_| remembered.pointer("/role/managed").and_then(Value::as_bool) == Some(true));
        let former = items(&remembered, "formerRoles").filter_map(Value::as_str);
        let mut expected = names(managed.into_iter().chain(former));
        let (name, arn) = (text(&spec, "/role/name"), text(&spec, "/role/arn"));
        // An object is decoded as a whole.
        let decoded = (readable || whole_status.is_null())
            && serde_json::from_value::<BucketReplicationSpec>(spec.clone()).is_ok();
        expected.extend(name.map(str::to_owned));
        if decoded {
            expected.extend(names(arn));
        }
        if name.is_none() && arn.is_none() {
            expected.insert("data.orders".to_owned());
        }
        prop_assert_eq!(view.roles(&id()), expected);
        let policies: Vec<String> =
            view.bucket_policies(None).into_iter().map(|bucket| bucket.name).collect();
        let named = items(&remembered, "bucketPolicies");
        let named: Vec<&str> = named.filter_map(|held| held["bucket"].as_str()).collect();
        prop_assert_eq!(policies, named);
        let traces = managed.is_some()
            || ["formerRoles", "bucketPolicies"]
                .iter()
                .any(|list| remembered[list].as_array().is_some_and(|list| !list.is_empty()))
            || text(&remembered, "/appliedHash").is_some()
            || remembered["announcedConfiguration"].is_object();
        prop_assert_eq!(view.left_traces(), traces);
        Ok(())
    });
}
