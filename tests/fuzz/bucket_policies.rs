//! A merge into a bucket's policy changes the operator's own statements and nothing else.

use proptest::prelude::*;
use s3_replication_operator::iam::Statement;
use s3_replication_operator::iam::bucket_policy::{holds, merged, policy_of_sid};
use serde_json::{Value, json};

use crate::choice::choose;
use crate::engine::{any_json, check, near_corpus};

/// The beginning of the Sids of one resource.
const SID: &str = "S3Replication0123456789abcdef";

const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "\"\"",
    "{},",
    "\"Statement\":",
    "\"Sid\":",
    "Objects",
    "Bucket",
    "S3Replication0123456789abcdef",
    "\"Id\":\"other\",",
];
const KEYS: &[&str] = &["Version", "Id", "Statement", "Sid", "Effect", "Action", "Resource", "Principal"];
const TEXTS: &[&str] = &[
    "2012-10-17",
    "Allow",
    "Deny",
    "*",
    "Theirs",
    "S3Replication0123456789abcdefObjects",
    "S3Replication0123456789abcdefBucket",
    "S3Replicationfedcba9876543210Objects",
];

fn any_policy() -> impl Strategy<Value = Option<Value>> {
    let statements = prop::collection::vec(any_json(KEYS, TEXTS), 0..5);
    let with_statements = statements.prop_map(|all| Some(json!({"Version": "2012-10-17", "Statement": all})));
    choose![
        4 => near_corpus("bucket-policies", TOKENS).prop_map(|text| serde_json::from_slice(&text).ok()),
        2 => with_statements,
        1 => any_json(KEYS, TEXTS).prop_map(Some),
    ]
}

fn any_statements() -> impl Strategy<Value = Vec<Statement>> {
    let names = prop::sample::subsequence(vec!["Objects", "Bucket"], 1..=2);
    (names, "[a-z]{1,3}").prop_map(|(names, role)| {
        let statement = |name: &str| {
            let statement =
                Statement::allow(&format!("{SID}{name}"), ["s3:ReplicateObject"], ["arn:aws:s3:::dr"]);
            statement.principal("AWS", format!("arn:aws:iam::111122223333:role/{role}"))
        };
        names.into_iter().map(statement).collect()
    })
}

/// The statements of a policy that the operator can read; `None`: the policy has another form.
fn statements(policy: Option<&Value>) -> Option<Vec<Value>> {
    let Some(policy) = policy else { return Some(Vec::new()) };
    match policy.as_object()?.get("Statement") {
        None => Some(Vec::new()),
        Some(Value::Array(all)) => Some(all.clone()),
        Some(one @ Value::Object(_)) => Some(vec![one.clone()]),
        Some(_) => None,
    }
}

fn is_own(statement: &Value) -> bool {
    [format!("{SID}Objects"), format!("{SID}Bucket")].iter().any(|sid| statement["Sid"] == **sid)
}

fn others(policy: Option<&Value>) -> Option<Vec<Value>> {
    Some(statements(policy)?.into_iter().filter(|statement| !is_own(statement)).collect())
}

fn without_statements(policy: &Value) -> Value {
    let mut rest = policy.clone();
    rest.as_object_mut().map(|fields| fields.remove("Statement"));
    rest
}

#[test]
fn a_merge_replaces_our_statements_and_keeps_all_else_as_it_was() {
    check(3000, (any_policy(), any_statements()), |(policy, added)| {
        let after = merged(policy.as_ref(), SID, &added);
        let Some(before) = others(policy.as_ref()) else { return Ok(()) };
        let after = after.expect("statements were added");
        prop_assert_eq!(others(Some(&after)), Some(before));
        let held: Vec<Value> = added.iter().map(|statement| json!(statement)).collect();
        prop_assert_eq!(&policy_of_sid(Some(&after), SID)["Statement"], &json!(held));
        if let Some(policy) = &policy {
            prop_assert_eq!(without_statements(&after), without_statements(policy));
        }
        prop_assert_eq!(merged(Some(&after), SID, &added), Some(after), "a second merge changes nothing");
        Ok(())
    });
}

#[test]
fn a_removal_leaves_what_others_wrote_and_undoes_a_merge() {
    check(3000, (any_policy(), any_statements()), |(policy, added)| {
        let removed = merged(policy.as_ref(), SID, &[]);
        let Some(before) = others(policy.as_ref()) else { return Ok(()) };
        prop_assert!(!holds(removed.as_ref(), SID));
        prop_assert_eq!(others(removed.as_ref()), Some(before.clone()));
        prop_assert_eq!(removed.is_none(), before.is_empty(), "an empty policy is none");
        let added = merged(policy.as_ref(), SID, &added);
        let undone = merged(added.as_ref(), SID, &[]);
        prop_assert_eq!(undone, removed);
        Ok(())
    });
}
