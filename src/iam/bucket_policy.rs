//! The operator's statements in the policy of a destination bucket of another account. Everything else in the policy
//! is someone else's and is kept as it is
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-walkthrough-2.html>).

use serde_json::{Value, json};

use crate::iam::digest::sha256_prefix;
use crate::iam::document::{PolicyDocument, Statement};

/// The most bytes a bucket policy may have
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html>).
pub const MAX_BUCKET_POLICY: usize = 20 * 1024;

/// The beginning of the Sids of one owner's statements, from the names that distinguish it from every other owner.
/// The names must hold no slash.
pub fn sid(owner: &[&str]) -> String {
    format!("S3Replication{}", sha256_prefix(owner.join("/").as_bytes(), 16))
}

/// What the owner of a bucket has to allow a role for replicas to arrive there.
pub fn statements(sid: &str, role: &str, bucket_arn: &str, override_owner: bool) -> Vec<Statement> {
    let mut actions = vec!["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"];
    if override_owner {
        actions.push("s3:ObjectOwnerOverrideToBucketOwner");
    }
    let objects = Statement::allow(&format!("{sid}Objects"), actions, [format!("{bucket_arn}/*")]);
    let actions = ["s3:List*", "s3:GetBucketVersioning"];
    let bucket = Statement::allow(&format!("{sid}Bucket"), actions, [bucket_arn.to_owned()]);
    [objects, bucket].map(|statement| statement.principal("AWS", role)).into()
}

/// A policy with only the statements of this Sid.
pub fn ours(policy: Option<&Value>, sid: &str) -> Value {
    let held: Vec<Value> = policy.map(held_statements).unwrap_or_default();
    json!({"Statement": held.into_iter().filter(|s| is_ours(s, sid)).collect::<Vec<_>>()})
}

/// Whether a policy holds statements of this Sid.
pub fn holds(policy: Option<&Value>, sid: &str) -> bool {
    policy.map(held_statements).unwrap_or_default().iter().any(|statement| is_ours(statement, sid))
}

/// A policy with the statements of this Sid replaced by these, and all others as they were. `None`: nothing is left.
pub fn merged(policy: Option<&Value>, sid: &str, statements: &[Statement]) -> Option<Value> {
    let mut merged =
        policy.cloned().unwrap_or_else(|| json!({"Version": PolicyDocument::new(Vec::new()).version}));
    let mut all = held_statements(&merged);
    all.retain(|held| !is_ours(held, sid));
    all.extend(statements.iter().map(|statement| json!(statement)));
    if all.is_empty() {
        return None;
    }
    if let Some(fields) = merged.as_object_mut() {
        fields.insert("Statement".to_owned(), Value::Array(all));
    }
    Some(merged)
}

/// A policy may hold one statement without a list around it.
fn held_statements(policy: &Value) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

fn is_ours(statement: &Value, sid: &str) -> bool {
    let held = statement.get("Sid").and_then(Value::as_str).unwrap_or_default();
    held.strip_prefix(sid).is_some_and(|rest| rest == "Objects" || rest == "Bucket")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-replication/orders";

    fn wanted(sid: &str) -> Vec<Statement> {
        statements(sid, ROLE, "arn:aws:s3:::dr", false)
    }

    #[test]
    fn merging_keeps_what_others_wrote_and_replaces_only_our_own() {
        let sid = sid(&["data", "orders", "orders"]);
        let theirs = json!({"Sid": "Theirs", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": "arn:aws:s3:::dr/*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
        let held = json!({"Version": "2008-10-17", "Id": "policy-1", "Statement": theirs});
        let first = merged(Some(&held), &sid, &wanted(&sid)).unwrap();
        assert_eq!((&first["Version"], &first["Id"]), (&held["Version"], &held["Id"]));
        assert_eq!(first["Statement"][0], theirs);
        assert_eq!(first["Statement"].as_array().unwrap().len(), 3);
        let again = merged(Some(&first), &sid, &wanted(&sid)).unwrap();
        assert_eq!(again, first, "merging twice changes nothing");
        let without = merged(Some(&again), &sid, &[]).unwrap();
        assert_eq!(without["Statement"], json!([theirs]));
    }

    #[test]
    fn a_policy_of_our_statements_alone_ends_with_them() {
        let sid = sid(&["data", "orders", "orders"]);
        let held = merged(None, &sid, &wanted(&sid)).unwrap();
        assert_eq!(held["Version"], "2012-10-17");
        assert_eq!(merged(Some(&held), &sid, &[]), None);
        assert_eq!(merged(None, &sid, &[]), None);
    }

    #[test]
    fn statements_of_another_replication_are_not_ours() {
        let (one, other) = (sid(&["data", "orders", "orders"]), sid(&["data", "orders", "invoices"]));
        assert_ne!(one, other);
        let held = merged(None, &one, &wanted(&one)).unwrap();
        let both = merged(Some(&held), &other, &wanted(&other)).unwrap();
        assert_eq!(both["Statement"].as_array().unwrap().len(), 4);
        assert_eq!(ours(Some(&both), &one)["Statement"], held["Statement"]);
        assert_eq!(ours(None, &one)["Statement"], json!([]));
    }
}
