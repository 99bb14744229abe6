//! Adds to a policy what it lacks.
//!
//! In: a document as IAM holds it, and the one that is desired. Out: a document that grants both; none where the held
//! one grants all that is desired. All permissions of the held one stay, because others may rely on them.

use serde_json::{Value, json};

use crate::iam::bucket_policy::is_deleted_principal;
use crate::iam::compare::{compare, effect_of, has_variables, statements_of};
use crate::iam::pattern::without_variables;

/// The desired document with every other statement of the held one that allows something.
pub fn expanded(held: &Value, wanted: &Value) -> Option<Value> {
    let mut union: Vec<Value> = statements_of(wanted)?.into_iter().cloned().collect();
    for statement in statements_of(held).unwrap_or_default() {
        let Some(added) = without_deleted_principals(statement) else { continue };
        let added = if has_variables(held) { added } else { with_literals(added) };
        let mut more = union.clone();
        more.push(added);
        let is_new = || !compare(&json!({"Statement": union}), &json!({"Statement": more})).is_empty();
        if effect_of(statement) == "Allow" && is_new() {
            union = more;
        }
    }
    let mut expanded = wanted.clone();
    expanded.as_object_mut()?.insert("Statement".to_owned(), Value::Array(union));
    (!compare(&expanded, held).is_empty()).then_some(expanded)
}

/// A statement without its Sid, because Sids are given once in a policy, and without principals that were deleted,
/// because IAM refuses a policy with one. `None`: all of them were.
fn without_deleted_principals(statement: &Value) -> Option<Value> {
    let mut statement = statement.clone();
    statement.as_object_mut()?.remove("Sid");
    let is_live = |name: &Value| name.as_str().is_none_or(|name| !is_deleted_principal(name));
    match statement.pointer_mut("/Principal/AWS") {
        Some(Value::Array(names)) => {
            names.retain(is_live);
            (!names.is_empty()).then_some(statement)
        }
        Some(name) => is_live(name).then_some(statement),
        None => Some(statement),
    }
}

/// A statement of a policy whose version has no variables, for one of the present version.
fn with_literals(mut statement: Value) -> Value {
    fn write(value: &mut Value) {
        match value {
            Value::String(text) => *text = without_variables(text),
            Value::Array(items) => items.iter_mut().for_each(write),
            Value::Object(fields) => fields.values_mut().for_each(write),
            _ => {}
        }
    }
    for key in ["Resource", "NotResource", "Condition"] {
        if let Some(value) = statement.get_mut(key) {
            write(value);
        }
    }
    statement
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::document::trust_policy;

    fn policy(statements: &[Value]) -> Value {
        json!({"Version": "2012-10-17", "Statement": statements})
    }

    fn allow(sid: &str, action: &str) -> Value {
        json!({"Sid": sid, "Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::b/*"})
    }

    #[test]
    fn missing_grants_are_added_and_grants_of_others_stay() {
        let wanted = policy(&[allow("A", "s3:ReplicateObject"), allow("B", "s3:ReplicateDelete")]);
        let held = policy(&[allow("B", "s3:ReplicateDelete"), allow("A", "s3:GetObject")]);
        let union = expanded(&held, &wanted).unwrap();
        let theirs = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"});
        assert_eq!(union["Statement"], json!([wanted["Statement"][0], wanted["Statement"][1], theirs]));
        assert_eq!(expanded(&union, &wanted), None, "it lacks nothing any more");
        assert_eq!(expanded(&policy(&[]), &wanted), Some(wanted.clone()));
        assert_eq!(expanded(&Value::Null, &wanted), Some(wanted));
    }

    #[test]
    fn a_denial_goes_because_it_takes_away_what_is_desired() {
        let wanted = policy(&[allow("A", "s3:ReplicateObject")]);
        let deny = json!({"Effect": "Deny", "Action": "s3:*", "Resource": "*"});
        let held = policy(&[wanted["Statement"][0].clone(), deny]);
        assert_eq!(expanded(&held, &wanted), Some(wanted));
    }

    #[test]
    fn a_trust_policy_keeps_the_others_that_it_lets_in() {
        let wanted = trust_policy("s3.amazonaws.com").to_value();
        let theirs =
            json!({"Effect": "Allow", "Principal": {"AWS": "444455556666"}, "Action": "sts:AssumeRole"});
        let union = expanded(&policy(std::slice::from_ref(&theirs)), &wanted).unwrap();
        assert_eq!(union["Statement"], json!([wanted["Statement"][0], theirs]));
        assert_eq!(expanded(&union, &wanted), None);
    }

    #[test]
    fn principals_that_were_deleted_are_left_out() {
        let wanted = trust_policy("s3.amazonaws.com").to_value();
        let trusting = |names: Value| json!({"Effect": "Allow", "Principal": {"AWS": names}, "Action": "sts:AssumeRole"});
        let held = policy(&[
            trusting(json!("AROAZQ3EXAMPLE7ROLE21:ci")),
            trusting(json!(["AIDAZQ3EXAMPLE7USER21", "444455556666"])),
        ]);
        let union = expanded(&held, &wanted).unwrap();
        assert_eq!(union["Statement"], json!([wanted["Statement"][0], trusting(json!(["444455556666"]))]));
    }

    #[test]
    fn what_others_wrote_means_the_same_in_the_version_that_has_variables() {
        let wanted = policy(&[allow("A", "s3:ReplicateObject")]);
        let theirs = |on: &str| json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": on});
        let mut held = policy(&[theirs("arn:aws:s3:::b/${aws:username}/*")]);
        let union = |held: &Value| expanded(held, &wanted).unwrap();
        assert_eq!(union(&held)["Statement"][1], theirs("arn:aws:s3:::b/${aws:username}/*"));
        for former in [json!("2008-10-17"), Value::Null] {
            held["Version"] = former;
            let literal = union(&held);
            assert_eq!(literal["Statement"][1], theirs("arn:aws:s3:::b/${$}{aws:username}/*"));
            assert_eq!(expanded(&literal, &wanted), None, "it lacks nothing any more");
        }
    }
}
