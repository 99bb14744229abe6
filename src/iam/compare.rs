//! IAM policies compared by meaning.
//!
//! In: two documents as JSON. Out: the grants that differ; none when both grant the same. One string or a list of one,
//! the order of statements, actions and resources, white space, Sid and the case of an action do not count
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Whether a trust policy lets S3 assume the role. A condition is not judged: what is allowed under one counts as
/// allowed, and what is denied under one (to all but one account, say) does not count as denied.
pub fn trusts_s3(trust: &Value) -> bool {
    const ASSUME_ROLE: &str = "sts:assumerole";
    let statements = grants(trust);
    let about_s3 = |g: &&Grant| {
        let service = g.principal.as_deref();
        (service == Some("Service:s3.amazonaws.com") || service == Some("*") || service == Some("AWS:*"))
            && match g.action.strip_suffix('*') {
                Some(beginning) => ASSUME_ROLE.starts_with(beginning),
                None => g.action == ASSUME_ROLE,
            }
    };
    let denied = statements.iter().filter(about_s3).any(|g| g.effect == "Deny");
    !denied && statements.iter().filter(about_s3).any(|g| g.effect.starts_with("Allow"))
}

/// One difference between two policies: what is granted on what, and how each side grants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantDifference {
    /// The action and the resource, such as `s3:ReplicateObject on arn:aws:s3:::b/*`.
    pub path: String,
    pub want: Option<String>,
    pub got: Option<String>,
}

/// What differs in meaning between a desired and an observed document; empty when they grant the same.
pub fn compare(want: &Value, got: &Value) -> Vec<GrantDifference> {
    let want = by_subject(grants(want));
    let got = by_subject(grants(got));
    let keys: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
    keys.into_iter()
        .filter_map(|key| {
            let (want, got) = (want.get(key), got.get(key));
            let effects = |side: Option<&Granted>| side.map(|g| &g.effects).cloned().unwrap_or_default();
            (effects(want) != effects(got)).then(|| GrantDifference {
                path: want.or(got).map(|g| g.path.clone()).unwrap_or_default(),
                want: want.map(Granted::text),
                got: got.map(Granted::text),
            })
        })
        .collect()
}

/// The smallest unit of a policy: one action on one resource by one principal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    principal: Option<String>,
    /// Lowercase: IAM does not tell `s3:getobject` from `s3:GetObject`.
    action: String,
    /// As written.
    action_text: String,
    resource: Option<String>,
    /// `Allow` or `Deny`, and the conditions.
    effect: String,
}

/// How one action on one resource is granted.
struct Granted {
    path: String,
    effects: BTreeSet<String>,
}

impl Granted {
    fn text(&self) -> String {
        self.effects.iter().cloned().collect::<Vec<_>>().join("; ")
    }
}

fn by_subject(grants: Vec<Grant>) -> BTreeMap<String, Granted> {
    let mut subjects: BTreeMap<String, Granted> = BTreeMap::new();
    for g in grants {
        let path = |action: &str| {
            let resource = g.resource.as_ref().map(|r| format!(" on {r}")).unwrap_or_default();
            let principal = g.principal.as_ref().map(|p| format!(" by {p}")).unwrap_or_default();
            format!("{action}{resource}{principal}")
        };
        subjects
            .entry(path(&g.action))
            .or_insert_with(|| Granted { path: path(&g.action_text), effects: BTreeSet::new() })
            .effects
            .insert(g.effect.clone());
    }
    subjects
}

/// Takes a document apart. What cannot be understood becomes a grant of its own kind, so that it is seen as a
/// difference and never as nothing.
fn grants(document: &Value) -> Vec<Grant> {
    let statements = match document.get("Statement") {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one @ Value::Object(_)) => vec![one],
        _ => {
            return vec![Grant {
                principal: None,
                action: "unreadable".into(),
                action_text: "unreadable policy".into(),
                resource: None,
                effect: document.to_string(),
            }];
        }
    };
    statements.into_iter().flat_map(grants_of_statement).collect()
}

fn grants_of_statement(statement: &Value) -> Vec<Grant> {
    let effect = statement.get("Effect").and_then(Value::as_str).unwrap_or("Allow");
    let effect = match statement.get("Condition").map(canonical_condition) {
        Some(condition) if condition != json!({}) => format!("{effect} if {condition}"),
        _ => effect.to_owned(),
    };
    let principals = principals(statement);
    let actions = either(statement, "Action", "NotAction");
    let resources = either(statement, "Resource", "NotResource");
    let mut grants = Vec::new();
    for principal in optional(&principals) {
        for action in optional(&actions) {
            for resource in optional(&resources) {
                grants.push(Grant {
                    principal: principal.cloned(),
                    action: action.map(|a| a.to_lowercase()).unwrap_or_default(),
                    action_text: action.cloned().unwrap_or_default(),
                    resource: resource.cloned(),
                    effect: effect.clone(),
                });
            }
        }
    }
    grants
}

/// The items, or one `None` when there are none.
fn optional(items: &[String]) -> Vec<Option<&String>> {
    if items.is_empty() { vec![None] } else { items.iter().map(Some).collect() }
}

fn either(statement: &Value, key: &str, negated: &str) -> Vec<String> {
    let mut items = strings(statement.get(key));
    items.extend(anything_but("anything", strings(statement.get(negated))));
    items
}

/// A negated list is one item as a whole: `NotAction: [a, b]` covers less than `NotAction: a` and `NotAction: b` in two
/// statements.
fn anything_but(all: &str, mut names: Vec<String>) -> Option<String> {
    // The case of an action must not decide the order.
    names.sort_by_cached_key(|name| (name.to_lowercase(), name.clone()));
    names.dedup();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("{all} but {one}")),
        many => Some(format!("{all} but {many:?}")),
    }
}

fn principals(statement: &Value) -> Vec<String> {
    let read = |value: Option<&Value>| match value {
        Some(Value::Object(kinds)) => kinds
            .iter()
            .flat_map(|(kind, names)| strings(Some(names)).into_iter().map(move |n| format!("{kind}:{n}")))
            .collect(),
        other => strings(other),
    };
    let mut all = read(statement.get("Principal"));
    all.extend(anything_but("anyone", read(statement.get("NotPrincipal"))));
    all
}

/// A string is a list of one; booleans and numbers are what AWS prints them as.
fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().flat_map(|i| strings(Some(i))).collect(),
        Some(Value::String(s)) => vec![s.clone()],
        Some(other) => vec![other.to_string()],
    }
}

/// Condition keys are told apart without regard to case, values are sets.
fn canonical_condition(condition: &Value) -> Value {
    let Value::Object(operators) = condition else {
        return condition.clone();
    };
    let canonical: BTreeMap<&String, BTreeMap<String, BTreeSet<String>>> = operators
        .iter()
        .map(|(operator, keys)| {
            let keys = keys.as_object().into_iter().flatten();
            let keys =
                keys.map(|(k, v)| (k.to_lowercase(), strings(Some(v)).into_iter().collect())).collect();
            (operator, keys)
        })
        .collect();
    json!(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::document::{PolicyDocument, Statement, trust_policy};

    fn paths(want: &Value, got: &Value) -> Vec<String> {
        compare(want, got).into_iter().map(|d| d.path).collect()
    }

    #[test]
    fn documents_that_grant_the_same_are_equal() {
        let want = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "A", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::b/*"],
             "Condition": {"StringLike": {"kms:ViaService": ["s3.eu-west-1.amazonaws.com"]}}},
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::b"}]});
        let got = json!({"Statement": [
            {"Effect": "Allow", "Action": ["s3:listbucket"], "Resource": ["arn:aws:s3:::b"]},
            {"Sid": "Other", "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*",
             "Condition": {"StringLike": {"KMS:viaservice": "s3.eu-west-1.amazonaws.com"}}},
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::b/*",
             "Condition": {"StringLike": {"kms:ViaService": ["s3.eu-west-1.amazonaws.com"]}}}]});
        assert_eq!(compare(&want, &got), vec![]);
        let one = json!({"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "*"}});
        let list = json!({"Statement": [{"Effect": "Allow", "Action": ["a:B"], "Resource": ["*"], "Condition": {}}]});
        assert_eq!(compare(&one, &list), vec![]);
    }

    #[test]
    fn what_differs_is_named_by_action_and_resource() {
        let want = json!({"Statement": [{"Effect": "Allow", "Action": ["s3:A", "s3:B"], "Resource": "r"}]});
        let fewer = json!({"Statement": [{"Effect": "Allow", "Action": ["s3:A"], "Resource": "r"}]});
        assert_eq!(
            compare(&want, &fewer),
            vec![GrantDifference { path: "s3:B on r".into(), want: Some("Allow".into()), got: None }]
        );
        let denied = json!({"Statement": [{"Effect": "Allow", "Action": ["s3:A", "s3:B"], "Resource": "r"},
                                          {"Effect": "Deny", "Action": "s3:A", "Resource": "r"}]});
        assert_eq!(compare(&want, &denied)[0].got.as_deref(), Some("Allow; Deny"));
        let elsewhere =
            json!({"Statement": [{"Effect": "Allow", "Action": ["s3:A", "s3:B"], "Resource": "q"}]});
        assert_eq!(
            paths(&want, &elsewhere),
            ["s3:a on q", "s3:a on r", "s3:b on q", "s3:b on r"]
                .map(|p| p.replace("s3:a", "s3:A").replace("s3:b", "s3:B"))
        );
        let bounded = json!({"Statement": [{"Effect": "Allow", "Action": ["s3:A", "s3:B"], "Resource": "r",
                                           "Condition": {"Bool": {"aws:SecureTransport": true}}}]});
        assert_eq!(compare(&want, &bounded).len(), 2);
        assert_eq!(paths(&want, &json!("not json")).len(), 3, "two missing and one unreadable");
        let negated = json!({"Statement": [{"Effect": "Allow", "NotAction": "s3:A", "Resource": "r"}]});
        assert!(paths(&want, &negated).contains(&"anything but s3:A on r".to_owned()));
    }

    #[test]
    fn a_negated_list_is_not_the_same_as_its_parts() {
        for negated in ["NotAction", "NotResource", "NotPrincipal"] {
            let statement =
                |names: Value| json!({"Effect": "Allow", "Action": "s3:A", "Resource": "r", negated: names});
            let list = json!({"Statement": statement(json!(["s3:A", "s3:B"]))});
            let reversed = json!({"Statement": statement(json!(["s3:B", "s3:A"]))});
            let parts = json!({"Statement": [statement(json!("s3:A")), statement(json!("s3:B"))]});
            assert_eq!(compare(&list, &reversed), vec![], "{negated}");
            assert_ne!(compare(&list, &parts), vec![], "{negated}");
        }
    }

    #[test]
    fn trust_is_read_as_iam_reads_it() {
        assert!(trusts_s3(&trust_policy().to_value()));
        assert!(trusts_s3(
            &json!({"Statement": {"Effect": "Allow", "Principal": {"Service": ["ec2.amazonaws.com", "s3.amazonaws.com"]}, "Action": ["sts:AssumeRole"]}})
        ));
        assert!(!trusts_s3(
            &json!({"Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
        ));
        assert!(!trusts_s3(&json!({"Statement": [
            {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"},
            {"Effect": "Deny", "Principal": "*", "Action": "sts:*"}]})));
        assert!(trusts_s3(&json!({"Statement": [
            {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:Assume*"},
            {"Effect": "Deny", "Principal": "*", "Action": "sts:*",
             "Condition": {"StringNotEquals": {"aws:SourceAccount": "111122223333"}}}]})));
        assert!(!trusts_s3(&json!("")));
    }

    #[test]
    fn size_leaves_out_white_space() {
        let document = PolicyDocument::new(vec![Statement::allow("A B", ["s3:X"], ["r"])]);
        assert_eq!(document.size(), document.to_json().len() - 1);
    }
}
