//! The status of a deleted backfill, decodable or not: the deletion finds the job and the role that it names, and no
//! others.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use s3_replication_operator::api::ReplicationBackfillStatus;
use s3_replication_operator::replication::ResourceId;
use s3_replication_operator::replication::backfill::deleted_status::{DeletedStatus, with_unreadable};
use s3_replication_operator::replication::backfill::request::token;
use serde_json::{Value, json};

use crate::choice::choose;
use crate::engine::{any_json, check, corpus, odd_value, with_replaced};

const KEYS: &[&str] = &[
    "source",
    "bucket",
    "region",
    "account",
    "accountRef",
    "role",
    "arn",
    "managed",
    "token",
    "description",
    "jobId",
    "requestedAt",
    "startedAt",
    "finishedAt",
    "progress",
    "conditions",
];
const TEXTS: &[&str] = &[
    "orders",
    "us-east-1",
    "111122223333",
    "job-1",
    "2026-11-23T10:11:12Z",
    "arn:aws:iam::111122223333:role/s3-replication/backfill+data.missed",
    "",
];

fn status() -> impl Strategy<Value = Value> {
    let seeds: Vec<Value> =
        corpus("deleted-backfills").iter().map(|seed| serde_json::from_slice(seed).unwrap()).collect();
    let changes = prop::collection::vec((any::<Index>(), odd_value()), 0..4);
    let changed = (select(seeds), changes).prop_map(|(seed, changes)| {
        changes.iter().fold(seed, |status, (at, by)| with_replaced(&status, *at, by))
    });
    choose![4 => changed, 1 => any_json(KEYS, TEXTS)]
}

fn id() -> ResourceId {
    ResourceId {
        cluster: None,
        former_clusters: Vec::new(),
        namespace: "data".to_owned(),
        name: "missed".to_owned(),
        uid: Some("uid".to_owned()),
    }
}

fn read(held: &Value) -> DeletedStatus {
    let deleted_at = Time("2026-11-24T00:00:00Z".parse().unwrap());
    DeletedStatus::read(held, &id(), Some(&deleted_at)).with_role(&id())
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

fn is_set(value: &Value, field: &str) -> bool {
    value.get(field).is_some_and(|held| !held.is_null())
}

#[test]
fn a_status_that_can_be_decoded_is_read_as_it_is() {
    check(1000, status(), |held| {
        if let Ok(whole) = serde_json::from_value::<ReplicationBackfillStatus>(held.clone())
            && held.is_object()
        {
            let found = read(&held);
            prop_assert_eq!(found.status, whole);
            prop_assert!(found.unreadable.is_empty());
        }
        Ok(())
    });
}

#[test]
fn the_job_is_found_by_whatever_can_be_read_of_it_and_no_other_is() {
    check(1000, status(), |held| {
        let DeletedStatus { status, .. } = read(&held);
        prop_assert_eq!(status.job_id, text(&held, "/jobId"));
        let lost = |field: &str| !held.is_object() && !held.is_null() || is_set(&held, field);
        let expected = text(&held, "/token").or_else(|| lost("token").then(|| token(&id())));
        prop_assert_eq!(status.token, expected);
        // A call needs the Region, the account and the identity.
        let region_and_account = text(&held, "/source/region").zip(text(&held, "/source/account"));
        let account_ref = held.pointer("/source/accountRef").filter(|name| !name.is_null());
        let expected = region_and_account.filter(|_| account_ref.is_none_or(Value::is_string));
        let found = status.source.map(|source| {
            prop_assert_eq!(source.account_ref.as_deref(), account_ref.and_then(Value::as_str));
            Ok((source.region, source.account))
        });
        prop_assert_eq!(found.transpose()?, expected);
        Ok(())
    });
}

#[test]
fn a_role_is_never_forgotten_where_the_status_says_where_it_is() {
    check(1000, status(), |held| {
        let found = read(&held);
        if found.status.source.is_some() {
            let lost = is_set(&held, "role") && text(&held, "/role/arn").is_none();
            let name = found.status.role.as_ref().map(|role| role.arn.clone());
            match text(&held, "/role/arn") {
                Some(arn) => prop_assert_eq!(name, Some(arn)),
                None => prop_assert_eq!(name.is_some_and(|arn| arn.ends_with("/backfill+data.missed")), lost),
            }
        }
        Ok(())
    });
}

#[test]
fn a_report_on_the_way_changes_nothing_that_the_next_check_finds() {
    check(1000, status(), |held| {
        let first = read(&held);
        let written = with_unreadable(&first.status, &first.unreadable);
        let again = read(&written);
        prop_assert_eq!(&again.status, &first.status);
        if held.is_object() {
            prop_assert_eq!(again.lacks_source(), first.lacks_source());
        } else {
            prop_assert!(
                held.is_null() || again.lacks_source(),
                "what is lost does not count as never begun"
            );
        }
        Ok(())
    });
}

#[test]
fn a_deletion_without_a_known_source_goes_on_only_if_nothing_can_be_left() {
    check(1000, status(), |held| {
        let found = read(&held);
        let never_begun = ["source", "token", "jobId", "role"].iter().all(|field| !is_set(&held, field));
        if held.is_null() || (held.is_object() && never_begun) {
            prop_assert!(!found.lacks_source());
        }
        if found.status.source.is_none()
            && found.status.job_id.is_some()
            && found.status.finished_at.is_none()
        {
            prop_assert!(found.lacks_source());
        }
        Ok(())
    });
}

#[test]
fn the_seeds_are_statuses_of_this_version() {
    for seed in corpus("deleted-backfills") {
        let held: Value = serde_json::from_slice(&seed).unwrap();
        let whole: ReplicationBackfillStatus = serde_json::from_value(held.clone()).unwrap();
        assert_eq!(json!(whole), held);
    }
}
