//! The operator's statements in the policy of a destination bucket of another account
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-walkthrough-2.html>).
//!
//! In: the policy of the bucket, the Sid of an owner, and the roles to admit. Out: the policy with the statements of
//! this Sid replaced and all others as they are; and whether it holds such statements, or admits a role by them. Their
//! actions, Sids and principals are decided here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::iam::arn::account_of_arn;
use crate::iam::compare::{compare, effect_of, is_about, names_action, principals_of};
use crate::iam::digest::sha256_prefix;
use crate::iam::document::{PolicyDocument, Statement};
use crate::mutants::{Mutant, is_on};

/// The most bytes a bucket policy may have
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/add-bucket-policy.html>).
pub const MAX_BUCKET_POLICY: usize = 20 * 1024;

/// The action that a role needs to make the owner of a bucket the owner of the replicas in it.
pub const OVERRIDE_OWNER: &str = "s3:ObjectOwnerOverrideToBucketOwner";

/// The beginning of every Sid, and the length of the digest after it.
const SID: &str = "S3Replication";
const DIGEST: usize = 16;

/// The beginning of the Sids of one owner's statements, from the names that distinguish it from every other owner.
/// The names must hold no slash.
pub fn sid(names: &[&str]) -> String {
    format!("{SID}{}", sha256_prefix(names.join("/").as_bytes(), DIGEST))
}

/// The statements with which the owner of a bucket allows roles, by their ARNs, to replicate into it.
pub fn statements(sid: &str, roles: &[String], bucket_arn: &str, override_owner: bool) -> Vec<Statement> {
    let mut actions = vec!["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"];
    if override_owner {
        actions.push(OVERRIDE_OWNER);
    }
    let objects = Statement::allow(&format!("{sid}Objects"), actions, [format!("{bucket_arn}/*")]);
    let actions = ["s3:List*", "s3:GetBucketVersioning"];
    let bucket = Statement::allow(&format!("{sid}Bucket"), actions, [bucket_arn.to_owned()]);
    let by_roles = |statement: Statement| roles.iter().fold(statement, |s, role| s.principal("AWS", role));
    [objects, bucket].map(by_roles).into()
}

/// A policy with only the statements of this Sid.
pub fn policy_of_sid(policy: Option<&Value>, sid: &str) -> Value {
    let held: Vec<Value> = policy.map(held_statements).unwrap_or_default();
    json!({"Statement": held.into_iter().filter(|s| has_sid(s, sid)).collect::<Vec<_>>()})
}

/// Whether a policy holds statements of this Sid.
pub fn holds(policy: Option<&Value>, sid: &str) -> bool {
    policy.map(held_statements).unwrap_or_default().iter().any(|statement| has_sid(statement, sid))
}

/// A policy with the statements of this Sid replaced by these, and all others as they were. `None`: nothing is left.
///
/// Statements that an operator wrote for roles that were all deleted since are left out: they grant nothing, and S3
/// refuses every policy that holds one. Of several replications whose roles were deleted, each would otherwise wait for
/// the others.
pub fn merged(policy: Option<&Value>, sid: &str, statements: &[Statement]) -> Option<Value> {
    let mut merged = policy
        .filter(|_| !is_on(Mutant::PolicyRewritten))
        .cloned()
        .unwrap_or_else(|| json!({"Version": PolicyDocument::new(Vec::new()).version}));
    let mut all = policy.map(held_statements).unwrap_or_default();
    if is_on(Mutant::LoneStatementLost) && policy.is_some_and(|policy| !policy["Statement"].is_array()) {
        all.clear();
    }
    all.retain(|held| !has_sid(held, sid) || is_on(Mutant::StatementsDuplicated));
    all.retain(|held| !names_only_deleted(held));
    all.extend(statements.iter().map(|statement| json!(statement)));
    if all.is_empty() {
        return None;
    }
    if let Some(fields) = merged.as_object_mut() {
        fields.insert("Statement".to_owned(), Value::Array(all));
    }
    Some(merged)
}

/// The statements that admit a role, by its ARN, to a bucket, by its ARN, and every other principal that the statements
/// of this Sid admit. `None`: the role is admitted as `exact` says, or they would take something away.
pub fn expanded(
    policy: Option<&Value>,
    sid: &str,
    (role, bucket_arn): (&String, &str),
    exact: &[Statement],
) -> Option<Vec<Statement>> {
    let held = policy_of_sid(policy, sid);
    let admitted: BTreeSet<String> = held_statements(&held).iter().flat_map(admitted_roles).collect();
    let others = admitted.into_iter().filter(|other| other != role && !is_deleted_principal(other));
    let roles: Vec<String> = std::iter::once(role.clone()).chain(others).collect();
    let hands_over = |actions: &[String]| actions.iter().any(|action| action == OVERRIDE_OWNER);
    let is_handed_over = held_statements(&held).iter().any(|statement| {
        let action = statement.get("Action");
        action == Some(&json!(OVERRIDE_OWNER))
            || action.and_then(Value::as_array).is_some_and(|all| all.contains(&json!(OVERRIDE_OWNER)))
    });
    let handed_over = is_handed_over || exact.iter().any(|statement| hands_over(&statement.action));
    let union = statements(sid, &roles, bucket_arn, handed_over);
    let differences = compare(&PolicyDocument::new(union.clone()).to_value(), &held);
    // A principal that was deleted loses nothing.
    let of_deleted = |path: &str| {
        path.rsplit_once(" by AWS:").is_some_and(|(_, principal)| is_deleted_principal(principal))
    };
    let takes_away = differences.iter().any(|d| d.got.is_some() && !of_deleted(&d.path));
    (!differences.is_empty() && !takes_away).then_some(union)
}

fn admitted_roles(statement: &Value) -> Vec<String> {
    match statement.pointer("/Principal/AWS") {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(one)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// Whether the statements of this Sid allow a role, by its ARN, an action on all of a resource. Someone may have edited them:
/// to wildcards, to the role's whole account, or to some of the objects.
pub fn admits_to(policy: Option<&Value>, sid: &str, role: &str, action: &str, resource: &str) -> bool {
    admitting(policy, sid, role, action)
        .any(|held| policy.is_some_and(|policy| is_about(policy, &held, resource)))
}

/// Whether the statements of this Sid allow a role an action on anything.
pub fn admits(policy: Option<&Value>, sid: &str, role: &str, action: &str) -> bool {
    admitting(policy, sid, role, action).next().is_some()
}

fn admitting(policy: Option<&Value>, sid: &str, role: &str, action: &str) -> impl Iterator<Item = Value> {
    let account = account_of_arn(role);
    let is_account = |name: &str| account.is_some_and(|id| name == id || account_of_root(name) == Some(id));
    let is_role = |name: &str| name == role || name == "*" || is_account(name);
    let names = |statement: &Value, key: &str| {
        let principals = principals_of(statement.get(key)).into_iter();
        let mut of_aws = principals.filter(|(kind, _)| kind.as_deref().is_none_or(|kind| kind == "AWS"));
        of_aws.any(|(_, name)| is_role(&name))
    };
    let is_admitting = |held: &Value| {
        let excepts_others = held.get("NotPrincipal").is_some() && !names(held, "NotPrincipal");
        has_sid(held, sid)
            && effect_of(held) == "Allow"
            && names_action(held, action)
            && (names(held, "Principal") || excepts_others)
    };
    let mut held = policy.map(held_statements).unwrap_or_default();
    held.retain(is_admitting);
    held.into_iter()
}

/// The account id in the ARN of an account: `arn:aws:iam::111122223333:root`.
fn account_of_root(principal: &str) -> Option<&str> {
    account_of_arn(principal).filter(|_| principal.ends_with(":root"))
}

/// The principals in a policy that are ids of deleted users and roles (`AIDA…`, `AROA…`): S3 shows those in place of
/// the ARNs, and refuses every policy that holds one
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-bucket-user-policy-specifying-principal-intro.html>).
/// Statements of `sid` do not count, because they are replaced as a whole, and neither do those that [`merged`] leaves
/// out.
pub fn deleted_principals(policy: Option<&Value>, sid: &str) -> BTreeSet<String> {
    named_principals(policy, sid).into_iter().filter(|name| is_deleted_principal(name)).collect()
}

/// The users, roles, sessions and accounts that the statements of others name: those of everyone but `sid`, as
/// [`deleted_principals`] counts them.
pub fn named_principals(policy: Option<&Value>, sid: &str) -> BTreeSet<String> {
    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            Value::String(text) if text != "*" => drop(found.insert(text.clone())),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    let others = policy.map(held_statements).unwrap_or_default();
    let stays = |statement: &Value| !has_sid(statement, sid) && !names_only_deleted(statement);
    for statement in others.into_iter().filter(stays) {
        for key in
            ["/Principal/AWS", "/NotPrincipal/AWS", "/Principal/CanonicalUser", "/NotPrincipal/CanonicalUser"]
        {
            statement.pointer(key).into_iter().for_each(|value| names(value, &mut found));
        }
    }
    found
}

/// A unique id of IAM: four capitals for the kind, then at least 12 capitals and digits; for a session of a role, its
/// name follows after a colon (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>).
pub(super) fn is_deleted_principal(principal: &str) -> bool {
    let (principal, _session) = principal.split_once(':').unwrap_or((principal, ""));
    principal.len() >= 16
        && (principal.starts_with("AIDA") || principal.starts_with("AROA"))
        && principal.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Whether an operator wrote a statement, by its Sid, for principals that were all deleted.
fn names_only_deleted(statement: &Value) -> bool {
    let principals = admitted_roles(statement);
    owner_of(statement).is_some()
        && !principals.is_empty()
        && principals.iter().all(|name| is_deleted_principal(name))
}

/// The beginning of the Sid of a statement that an operator wrote.
fn owner_of(statement: &Value) -> Option<&str> {
    let held = statement.get("Sid").and_then(Value::as_str)?;
    let sid = held.strip_suffix("Objects").or_else(|| held.strip_suffix("Bucket"))?;
    let digest = sid.strip_prefix(SID)?;
    (digest.len() == DIGEST && digest.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(sid)
}

/// A policy may hold one statement without a list around it.
fn held_statements(policy: &Value) -> Vec<Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.clone(),
        Some(one @ Value::Object(_)) => vec![one.clone()],
        _ => Vec::new(),
    }
}

/// Statements of the form that an operator writes, by the beginning of their Sids: the principals of each.
pub fn written_by_operators(policy: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for statement in held_statements(policy) {
        let Some(sid) = owner_of(&statement) else { continue };
        let principals = written.entry(sid.to_owned()).or_default();
        match statement.pointer("/Principal/AWS") {
            Some(Value::Array(items)) => {
                principals.extend(items.iter().filter_map(Value::as_str).map(str::to_owned))
            }
            Some(Value::String(one)) => drop(principals.insert(one.clone())),
            // Any other form is not an operator's.
            _ => drop(principals.insert("unknown".to_owned())),
        }
    }
    written
}

fn has_sid(statement: &Value, sid: &str) -> bool {
    let held = statement.get("Sid").and_then(Value::as_str).unwrap_or_default();
    held.strip_prefix(sid).is_some_and(|rest| rest == "Objects" || rest == "Bucket")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:iam::111122223333:role/s3-replication/orders";

    fn own_sid() -> String {
        sid(&["data", "orders", "orders"])
    }

    fn wanted(sid: &str) -> Vec<Statement> {
        statements(sid, &[ROLE.to_owned()], "arn:aws:s3:::dr", false)
    }

    #[test]
    fn merging_keeps_what_others_wrote_and_replaces_only_our_own() {
        let sid = own_sid();
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
        let sid = own_sid();
        let held = merged(None, &sid, &wanted(&sid)).unwrap();
        assert_eq!(held["Version"], "2012-10-17");
        assert_eq!(merged(Some(&held), &sid, &[]), None);
        assert_eq!(merged(None, &sid, &[]), None);
    }

    #[test]
    fn ids_of_deleted_principals_are_found_in_statements_of_anyone() {
        let policy = json!({"Statement": [
            {"Sid": "Auditors", "Effect": "Allow", "Principal": {"AWS": "AIDAZQ3EXAMPLE7USER21"}, "Action": "s3:GetObject"},
            {"Effect": "Deny", "NotPrincipal": {"AWS": [ROLE, "AROAZQ3EXAMPLE7ROLE21"]}, "Action": "s3:*"},
            {"Effect": "Allow", "Principal": {"AWS": "AROAZQ3EXAMPLE7ROLE22:ci"}, "Action": "s3:GetObject"},
            {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"},
            {"Effect": "Allow", "Principal": {"AWS": ["444455556666", "*"], "Service": "AIDAZQ3EXAMPLE7USER21"}}]});
        let deleted: Vec<String> = deleted_principals(Some(&policy), "").into_iter().collect();
        assert_eq!(deleted, ["AIDAZQ3EXAMPLE7USER21", "AROAZQ3EXAMPLE7ROLE21", "AROAZQ3EXAMPLE7ROLE22:ci"]);
        assert!(deleted_principals(None, "").is_empty());
        let sid = own_sid();
        let own = json!({"Statement": {"Sid": format!("{sid}Objects"), "Effect": "Allow",
            "Principal": {"AWS": "AROAZQ3EXAMPLE7ROLE21"}, "Action": "s3:ReplicateObject"}});
        assert!(deleted_principals(Some(&own), &sid).is_empty(), "it is replaced");
        assert!(
            deleted_principals(Some(&own), "S3Replication0000000000000000").is_empty(),
            "another replication leaves it out"
        );
    }

    #[test]
    fn of_replications_whose_roles_were_all_deleted_none_waits_for_the_others() {
        let (one, other) = (sid(&["data", "orders", "orders"]), sid(&["data", "orders", "invoices"]));
        let deleted = |sid: &str, id: &str| statements(sid, &[id.to_owned()], "arn:aws:s3:::dr", false);
        let theirs = json!({"Sid": "Auditors", "Effect": "Allow", "Principal": {"AWS": "444455556666"}});
        let policy = json!({"Version": "2012-10-17", "Statement": [theirs]});
        let first = merged(Some(&policy), &one, &deleted(&one, "AROAZQ3EXAMPLE7ROLE21"));
        let mut both = first.clone().unwrap();
        let more = deleted(&other, "AROAZQ3EXAMPLE7ROLE22").into_iter().map(|statement| json!(statement));
        both["Statement"].as_array_mut().unwrap().extend(more);
        let again = merged(Some(&both), &one, &wanted(&one)).unwrap();
        assert!(deleted_principals(Some(&both), &one).is_empty());
        assert!(!again.to_string().contains("AROA"), "{again}");
        assert_eq!(again["Statement"][0], theirs);
        assert_eq!(merged(Some(&both), &one, &[]), Some(policy), "the same where statements are removed");

        let mut mixed = both;
        mixed["Statement"][3]["Principal"]["AWS"] = json!(["AROAZQ3EXAMPLE7ROLE22", ROLE]);
        let kept = merged(Some(&mixed), &one, &wanted(&one)).unwrap();
        assert!(kept.to_string().contains("AROAZQ3EXAMPLE7ROLE22"), "a role is let in by that statement");
        assert_eq!(deleted_principals(Some(&mixed), &one).len(), 1);
    }

    #[test]
    fn rights_that_our_statements_give_a_role_are_found_in_them_alone() {
        let sid = own_sid();
        let held = merged(None, &sid, &wanted(&sid)).unwrap();
        assert!(admits(Some(&held), &sid, ROLE, "s3:ReplicateObject"));
        assert!(!admits(Some(&held), &sid, ROLE, "s3:ObjectOwnerOverrideToBucketOwner"));
        assert!(!admits(Some(&held), &sid, "arn:aws:iam::111122223333:role/other", "s3:ReplicateObject"));
        assert!(!admits(Some(&held), "S3Replication0000000000000000", ROLE, "s3:ReplicateObject"));
    }

    #[test]
    fn a_statement_of_ours_that_someone_edited_is_read_as_iam_reads_it() {
        let sid = own_sid();
        let admitted = |change: Value| {
            let mut held = merged(None, &sid, &wanted(&sid)).unwrap();
            let statement = held["Statement"][0].as_object_mut().unwrap();
            for (key, value) in change.as_object().unwrap() {
                statement.insert(key.clone(), value.clone());
            }
            statement.retain(|_, value| !value.is_null());
            admits(Some(&held), &sid, ROLE, "s3:ReplicateObject")
        };
        for edited in [
            json!({"Action": "s3:Replicate*"}),
            json!({"Action": ["S3:REPLICATEOBJEC?"]}),
            json!({"Action": "*"}),
            json!({"Action": null, "NotAction": "s3:ReplicateTags"}),
            json!({"Principal": "*"}),
            json!({"Principal": {"AWS": ["444455556666", "111122223333"]}}),
            json!({"Principal": {"AWS": "arn:aws:iam::111122223333:root"}}),
            json!({"Principal": null, "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:role/other"}}),
        ] {
            assert!(admitted(edited.clone()), "{edited}");
        }
        for edited in [
            json!({"Action": "s3:ReplicateT*"}),
            json!({"Action": null, "NotAction": "s3:Replicate*"}),
            json!({"Effect": "Deny"}),
            json!({"Principal": {"AWS": "arn:aws:iam::444455556666:root"}}),
            json!({"Principal": {"AWS": "arn:aws:iam::111122223333:role/other"}}),
            json!({"Principal": {"Service": "*"}}),
            json!({"Principal": null, "NotPrincipal": {"AWS": ROLE}}),
        ] {
            assert!(!admitted(edited.clone()), "{edited}");
        }
    }

    #[test]
    fn a_statement_of_ours_that_someone_narrowed_does_not_let_the_role_in_to_all_objects() {
        let sid = own_sid();
        let objects = "arn:aws:s3:::dr/*";
        let admitted = |change: Value| {
            let mut held = merged(None, &sid, &wanted(&sid)).unwrap();
            let statement = held["Statement"][0].as_object_mut().unwrap();
            statement.remove("Resource");
            statement.extend(change.as_object().unwrap().clone());
            assert!(admits(Some(&held), &sid, ROLE, "s3:ReplicateObject"), "{change}");
            admits_to(Some(&held), &sid, ROLE, "s3:ReplicateObject", objects)
        };
        for (change, expected) in [
            (json!({"Resource": objects}), true),
            (json!({"Resource": ["arn:aws:s3:::dr", "arn:aws:s3:::dr*"]}), true),
            (json!({"Resource": "*"}), true),
            (json!({"NotResource": "arn:aws:s3:::other/*"}), true),
            (json!({"Resource": "arn:aws:s3:::dr/logs/*"}), false),
            (json!({"Resource": "arn:aws:s3:::dr"}), false),
            (json!({"Resource": "arn:aws:s3:::dr/${aws:username}/*"}), false),
            (json!({"Resource": "arn:aws:s3:::${aws:PrincipalTag/bucket}/*"}), false),
            (json!({"NotResource": "arn:aws:s3:::dr/logs/*"}), false),
        ] {
            assert_eq!(admitted(change.clone()), expected, "{change}");
        }
    }

    #[test]
    fn a_role_is_let_in_beside_those_that_are_let_in_already() {
        let (sid, arn, own) = (own_sid(), "arn:aws:s3:::dr", ROLE.to_owned());
        let theirs = "arn:aws:iam::111122223333:role/other".to_owned();
        let exact = wanted(&sid);
        let grow = |held: Option<&Value>| expanded(held, &sid, (&own, arn), &exact);
        assert_eq!(grow(None), Some(exact.clone()));
        let held = merged(None, &sid, &exact);
        assert_eq!(grow(held.as_ref()), None, "it is let in");
        let held = merged(None, &sid, &statements(&sid, std::slice::from_ref(&theirs), arn, true));
        let both = statements(&sid, &[own.clone(), theirs.clone()], arn, true);
        assert_eq!(grow(held.as_ref()), Some(both.clone()));
        assert_eq!(grow(merged(None, &sid, &both).as_ref()), None, "one more is let in, and stays");
        let deleted =
            merged(None, &sid, &statements(&sid, &["AROAZQ3EXAMPLE7ROLE21".to_owned()], arn, false));
        assert_eq!(grow(deleted.as_ref()), Some(exact.clone()));
        let mut wider = merged(None, &sid, &exact[..1]).unwrap();
        wider["Statement"][0]["Action"] = json!("s3:*");
        assert_eq!(grow(Some(&wider)), None, "it would lose an action");
    }

    #[test]
    fn statements_that_an_operator_wrote_are_found_with_their_principals() {
        let sid = own_sid();
        let by_hand = json!({"Statement": [
            {"Sid": "S3ReplicationByHandObjects", "Principal": {"AWS": "a"}},
            {"Sid": "Other", "Principal": "*"},
        ]});
        let held = merged(Some(&by_hand), &sid, &wanted(&sid)).unwrap();
        let written = written_by_operators(&held);
        assert_eq!(written, BTreeMap::from([(sid, BTreeSet::from([ROLE.to_owned()]))]));
    }

    #[test]
    fn statements_of_another_replication_are_left_out() {
        let (one, other) = (sid(&["data", "orders", "orders"]), sid(&["data", "orders", "invoices"]));
        assert_ne!(one, other);
        let held = merged(None, &one, &wanted(&one)).unwrap();
        let both = merged(Some(&held), &other, &wanted(&other)).unwrap();
        assert_eq!(both["Statement"].as_array().unwrap().len(), 4);
        assert_eq!(policy_of_sid(Some(&both), &one)["Statement"], held["Statement"]);
        assert_eq!(policy_of_sid(None, &one)["Statement"], json!([]));
    }
}
