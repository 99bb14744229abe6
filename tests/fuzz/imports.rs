//! Any configuration that S3 may hold is imported as a spec that admission takes and that asks for exactly it, or its
//! rule and field are named.

use std::cell::Cell;

use proptest::prelude::*;
use s3_replication_operator::replication::Configuration;
use s3_replication_operator::replication::import::{ReplicatingBucket, import};
use serde_json::json;

use crate::choice::{choose, optional};
use crate::crd_schema::{admits, spec_schema};
use crate::engine::check;
use crate::replication_xml::configuration;

/// The account of the bucket.
const ACCOUNT: &str = "111122223333";

/// Roles, names, ids and priorities that S3 holds from before its rules of today, or takes and admission does not.
fn odd() -> impl Strategy<Value = Configuration> {
    let bucket = choose![
        6 => "[a-z][a-z0-9-]{2,8}[a-z0-9]",
        1 => "[A-Z][A-Za-z_]{2,8}",
        1 => "[a-z0-9.-]{1,8}",
        1 => "10\\.0\\.[0-9]\\.1",
        1 => "[a-z]{3}(-s3alias|--x-s3|\\.mrap)",
    ];
    let id = choose![6 => "[ -~]{1,12}", 1 => "\\PC{0,3}"];
    let role = choose![
        8 => Just(format!("arn:aws:iam::{ACCOUNT}:role/s3-replication/r")),
        1 => Just("arn:aws:iam::444455556666:role/r".to_owned()),
        1 => Just("arn:aws:iam::1:role".to_owned()),
    ];
    let each = (bucket, id, optional(0.5, -1..4i32));
    (configuration(), role, prop::collection::vec(each, 3)).prop_map(|(configuration, role, changes)| {
        let Configuration { rules, .. } = configuration;
        let changed = rules.into_values().zip(changes).map(|(mut rule, (bucket, id, priority))| {
            rule.destination.bucket = format!("arn:aws:s3:::{bucket}");
            rule.priority = priority;
            // S3 takes a key only with the switch, and no delete markers with tags.
            rule.kms_encrypted_objects = match rule.destination.kms_key {
                Some(_) => s3_replication_operator::api::Switch::Enabled,
                None => s3_replication_operator::api::Switch::Disabled,
            };
            rule.filter.tags.retain(|key, _| !key.is_empty());
            if !rule.filter.tags.is_empty() {
                rule.delete_markers = s3_replication_operator::api::Switch::Disabled;
            }
            (id, rule)
        });
        Configuration { role, rules: changed.collect() }
    })
}

#[test]
fn an_imported_spec_passes_admission_and_the_rest_is_named() {
    let schema = spec_schema("s3replication.dev_bucketreplications.yaml");
    let counts = Cell::new((0, 0));
    check(2000, odd(), |configuration| {
        let found = ReplicatingBucket {
            bucket: "orders",
            region: Some("us-east-1"),
            account_id: ACCOUNT,
            configuration: &configuration,
        };
        let (imported, named) = counts.get();
        match import(&found) {
            Ok(spec) => {
                counts.set((imported + 1, named));
                if let Err(why) = admits(&schema, &json!(spec), "spec") {
                    return Err(TestCaseError::fail(why));
                }
            }
            Err(inexpressible) => {
                counts.set((imported, named + 1));
                let message = inexpressible.to_string();
                let is_named = message.starts_with("rules[") || message.starts_with("role is ");
                prop_assert!(is_named && !message.contains('\n'), "{}", message);
            }
        }
        Ok(())
    });
    let (imported, named) = counts.get();
    assert!(imported >= 100 && named >= 100, "{imported} imported, {named} named: one side is hardly tried");
}
