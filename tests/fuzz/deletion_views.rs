//! Deletion of any object that the API server may hold, decodable or not: it finds what spec and status name, and no more.

use std::collections::BTreeSet;

use k8s_openapi::serde::de::DeserializeOwned;
use kube::core::DynamicObject;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use s3_replication_operator::api::{
    AnnouncedConfiguration, BucketPolicyStatus, BucketReplicationSpec, BucketReplicationStatus,
    CanaryPlaceStatus, ConfigurationOrigin, RoleStatus,
};
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
    "configuration",
    "announcedConfiguration",
    "digest",
    "origin",
    "canaryPlaces",
    "prefix",
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
fn a_status_that_can_be_decoded_is_read_as_it_is() {
    check(500, (spec(), status()), |(spec, status)| {
        if let Ok(whole) = serde_json::from_value::<BucketReplicationStatus>(status.clone())
            && status.is_object()
        {
            prop_assert_eq!(view_of(&spec, &status).status, whole);
        }
        Ok(())
    });
}

#[test]
fn a_field_of_the_status_that_cannot_be_read_hides_no_other_and_nothing_of_the_spec() {
    check(1000, (spec(), status()), |(spec, status)| {
        let view = view_of(&spec, &status);
        let readable_spec = serde_json::from_value::<BucketReplicationSpec>(spec.clone()).is_ok();
        prop_assert_eq!(view.resource.is_some(), readable_spec);
        let together = json!(view.status);
        for (field, value) in status.as_object().into_iter().flatten() {
            let alone = json!(view_of(&spec, &json!({field.as_str(): value})).status);
            prop_assert_eq!(&together[field], &alone[field], "{}", field);
        }
        Ok(())
    });
}

/// The role of a status, as far as it can be read, if the operator may manage it.
fn managed_role(status: &Value) -> Option<String> {
    let held = &status["role"];
    let whole = serde_json::from_value::<RoleStatus>(held.clone()).ok().map(|role| (role.arn, role.managed));
    let is_managed = held["managed"].as_bool().unwrap_or(true);
    let role = whole.or_else(|| text(held, "/arn").map(|arn| (arn.to_owned(), is_managed)));
    role.filter(|(_, managed)| *managed).map(|(arn, _)| arn)
}

/// The items of a list that can be decoded.
fn decoded<T: DeserializeOwned>(status: &Value, list: &str) -> Vec<T> {
    items(status, list).filter_map(|item| serde_json::from_value(item.clone()).ok()).collect()
}

#[test]
fn the_roles_and_bucket_policies_to_delete_are_those_that_spec_and_status_name() {
    check(1000, (spec(), status()), |(spec, status)| {
        let view = view_of(&spec, &status);
        let managed = managed_role(&status);
        let former: Vec<String> = decoded(&status, "formerRoles");
        let mut expected = names(managed.iter().chain(&former).map(String::as_str));
        let (name, arn) = (text(&spec, "/role/name"), text(&spec, "/role/arn"));
        expected.extend(name.map(str::to_owned));
        if serde_json::from_value::<BucketReplicationSpec>(spec.clone()).is_ok() {
            expected.extend(names(arn));
        }
        if name.is_none() && arn.is_none() {
            expected.insert("data.orders".to_owned());
        }
        prop_assert_eq!(view.roles(&id()), expected);
        let policies: Vec<String> =
            view.bucket_policies(None).into_iter().map(|bucket| bucket.name).collect();
        let named: Vec<BucketPolicyStatus> = decoded(&status, "bucketPolicies");
        let named: Vec<String> = named.into_iter().map(|held| held.bucket).collect();
        prop_assert_eq!(&policies, &named);
        let canaries: Vec<CanaryPlaceStatus> = decoded(&status, "canaryPlaces");
        let announced = &status["announcedConfiguration"];
        let traces = managed.is_some()
            || !(former.is_empty() && named.is_empty() && canaries.is_empty())
            || !status["appliedHash"].is_null()
            || serde_json::from_value::<AnnouncedConfiguration>(announced.clone()).is_ok();
        prop_assert_eq!(view.left_traces(), traces);
        Ok(())
    });
}

#[test]
fn no_configuration_counts_as_the_resources_own_because_its_origin_cannot_be_read() {
    check(500, (spec(), status()), |(spec, status)| {
        let origin = &status["configuration"];
        let known = serde_json::from_value::<ConfigurationOrigin>(origin.clone()).ok();
        let expected = known.or((!origin.is_null()).then_some(ConfigurationOrigin::Found));
        prop_assert_eq!(view_of(&spec, &status).status.configuration, expected);
        Ok(())
    });
}

#[test]
fn the_seeds_but_one_are_statuses_of_this_version() {
    let seeds = corpus("deletion-views");
    let decodes = |seed: &Vec<u8>| {
        let held: Value = serde_json::from_slice(seed).unwrap();
        serde_json::from_value::<BucketReplicationStatus>(held.clone())
            .is_ok_and(|whole| json!(whole) == held)
    };
    assert_eq!(seeds.iter().filter(|seed| !decodes(seed)).count(), 1);
}
