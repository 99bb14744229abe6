//! Compares IAM policies by meaning.
//!
//! In: two documents as JSON. Out: the grants that differ; none when both grant the same. A string or a list of one,
//! the order of statements, actions and resources, white space, Sids and the case of an action make no difference
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::iam::document::CURRENT_VERSION;
use crate::iam::pattern::{covers, overlap, without_variables};

const ASSUME_ROLE: &str = "sts:AssumeRole";

/// Whether a trust policy lets a service, such as `s3.amazonaws.com`, assume the role. A condition is not evaluated: an
/// allow under a condition counts as one, and a deny under a condition (for all but one account, say) does not.
pub fn trusts_service(trust: &Value, service: &str) -> bool {
    let about =
        |statement: &&&Value| names_service(statement, service) && names_action(statement, ASSUME_ROLE);
    let statements = statements_of(trust).unwrap_or_default();
    let effects = |effect: &str| {
        let of_effect = statements.iter().filter(|statement| effect_of(statement) == effect);
        of_effect.filter(about).map(|statement| condition(statement).is_some()).collect::<Vec<bool>>()
    };
    let denied = effects("Deny").contains(&false);
    !denied && !effects("Allow").is_empty()
}

/// Whether a policy allows an action on all of a resource, which may hold wildcards. Conditions are not evaluated.
pub fn allows(policy: &Value, action: &str, resource: &str) -> bool {
    allowing(policy, action).any(|statement| is_about(policy, statement, resource))
}

/// Whether a statement of a policy is about all of a resource. A statement with a policy variable is about what the variable
/// stands for at a request, which is not known, so that it counts for no resource.
pub(super) fn is_about(policy: &Value, statement: &Value, resource: &str) -> bool {
    let excepted = patterns(policy, statement, "NotResource");
    patterns(policy, statement, "Resource").iter().any(|held| covers(held, resource))
        || (!excepted.is_empty() && !excepted.iter().any(|held| overlap(held, resource)))
}

/// The patterns of a statement, as a policy of the present version writes them: only its policy variables are variables
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>).
fn patterns(policy: &Value, statement: &Value, key: &str) -> Vec<String> {
    let held = strings(statement.get(key)).into_iter();
    match has_variables(policy) {
        true => held.collect(),
        false => held.map(|pattern| without_variables(&pattern)).collect(),
    }
}

/// Whether a policy is of the version that has policy variables. One without a version is of the former.
pub(super) fn has_variables(policy: &Value) -> bool {
    policy.get("Version").and_then(Value::as_str) == Some(CURRENT_VERSION)
}

/// The resources on which a policy may allow an action, as far as they are part of a resource: that resource as a whole,
/// or the narrower ones that the policy names. A statement with `NotResource` allows it on the whole resource, unless it
/// excepts all of it. Conditions are not evaluated.
pub fn allowed_part(policy: &Value, action: &str, resource: &str) -> BTreeSet<String> {
    let mut part = BTreeSet::new();
    for statement in allowing(policy, action) {
        let excepted = patterns(policy, statement, "NotResource");
        if !excepted.is_empty() && !excepted.iter().any(|held| covers(held, resource)) {
            part.insert(resource.to_owned());
        }
        let named =
            patterns(policy, statement, "Resource").into_iter().filter(|held| overlap(held, resource));
        part.extend(named.map(|held| if covers(&held, resource) { resource.to_owned() } else { held }));
    }
    if part.contains(resource) { BTreeSet::from([resource.to_owned()]) } else { part }
}

fn allowing<'a>(policy: &'a Value, action: &str) -> impl Iterator<Item = &'a Value> {
    let statements = statements_of(policy).unwrap_or_default().into_iter();
    statements.filter(move |held| effect_of(held) == "Allow" && names_action(held, action))
}

/// Whether a policy denies anything.
pub fn denies(policy: &Value) -> bool {
    statements_of(policy).unwrap_or_default().iter().any(|statement| effect_of(statement) == "Deny")
}

/// The resources on which a policy allows an action, as a policy of the present version writes them; `*` for a statement with
/// `NotResource`. Conditions are not evaluated.
pub fn allowed_resources(policy: &Value, action: &str) -> Vec<String> {
    let resources = |statement: &Value| match statement.get("NotResource") {
        Some(_) => vec!["*".to_owned()],
        None => patterns(policy, statement, "Resource"),
    };
    allowing(policy, action).flat_map(resources).collect()
}

/// One difference between two policies: the grant, and how each side has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantDifference {
    /// The action, the resource and the principal, such as `s3:ReplicateObject on arn:aws:s3:::b/*`.
    pub path: String,
    pub want: Option<String>,
    pub got: Option<String>,
}

/// The grants that differ in meaning between a desired and an observed document; empty when both grant the same.
pub fn compare(want: &Value, got: &Value) -> Vec<GrantDifference> {
    let (want, got) = (by_subject(grants(want)), by_subject(grants(got)));
    let subjects: BTreeSet<&GrantKey> = want.keys().chain(got.keys()).collect();
    let differences = subjects.into_iter().filter_map(|subject| {
        let (want, got) = (want.get(subject), got.get(subject));
        let meanings = |side: Option<&Granted>| -> BTreeSet<String> {
            side.into_iter().flat_map(|granted| granted.effects.keys().cloned()).collect()
        };
        (meanings(want) != meanings(got)).then(|| GrantDifference {
            path: want.or(got).map(|granted| granted.path.clone()).unwrap_or_default(),
            want: want.map(Granted::text),
            got: got.map(Granted::text),
        })
    });
    differences.collect()
}

/// The statements of a document, which may hold one without a list around it. `None`: it holds none that can be read.
pub(super) fn statements_of(document: &Value) -> Option<Vec<&Value>> {
    match document.get("Statement") {
        Some(Value::Array(items)) => Some(items.iter().collect()),
        Some(one @ Value::Object(_)) => Some(vec![one]),
        _ => None,
    }
}

pub(super) fn effect_of(statement: &Value) -> &str {
    statement.get("Effect").and_then(Value::as_str).unwrap_or("Allow")
}

/// The condition in its canonical form; `None` where there is none.
pub(super) fn condition(statement: &Value) -> Option<Value> {
    statement.get("Condition").map(canonical_condition).filter(|condition| *condition != json!({}))
}

/// Whether an action is among those of a statement: by name, by wildcards, or because `NotAction` leaves it in.
pub(super) fn names_action(statement: &Value, action: &str) -> bool {
    let matches = |key: &str| {
        let patterns = strings(statement.get(key));
        patterns.iter().any(|pattern| {
            pattern.eq_ignore_ascii_case(action)
                || (pattern.contains(['*', '?']) && is_match(&pattern.to_lowercase(), &action.to_lowercase()))
        })
    };
    matches("Action") || (statement.get("NotAction").is_some() && !matches("NotAction"))
}

/// Whether a service is among the principals of a statement, likewise.
fn names_service(statement: &Value, service: &str) -> bool {
    let names = |key: &str| {
        let principals = principals_of(statement.get(key));
        principals.iter().any(|(kind, name)| match kind.as_deref() {
            Some("Service") => name == service,
            None | Some("AWS") => name == "*",
            Some(_) => false,
        })
    };
    names("Principal") || (statement.get("NotPrincipal").is_some() && !names("NotPrincipal"))
}

/// `*` stands for any characters and `?` for one, as in IAM.
fn is_match(pattern: &str, text: &str) -> bool {
    wildmatch::WildMatch::new(pattern).matches(text)
}

/// The subject of a grant: one action on one resource by one principal. Compared field by field, so that no text that
/// joins them can be that of another grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GrantKey {
    /// Lowercase: IAM does not distinguish `s3:getobject` from `s3:GetObject`.
    action: String,
    resource: Option<String>,
    principal: Option<String>,
}

/// The smallest unit of a policy.
struct Grant {
    subject: GrantKey,
    /// The action as it is written.
    action_text: String,
    /// `Allow` or `Deny`, and the conditions.
    effect: Effect,
}

/// The effect of a grant on its subject. Conditions that mean the same have one meaning, and each is shown as it is written.
#[derive(Clone)]
struct Effect {
    meaning: String,
    text: String,
}

/// How one subject is granted.
struct Granted {
    path: String,
    /// The texts by their meanings.
    effects: BTreeMap<String, String>,
}

impl Granted {
    fn text(&self) -> String {
        self.effects.values().cloned().collect::<Vec<_>>().join("; ")
    }
}

fn by_subject(grants: Vec<Grant>) -> BTreeMap<GrantKey, Granted> {
    let mut subjects: BTreeMap<GrantKey, Granted> = BTreeMap::new();
    for Grant { subject, action_text, effect } in grants {
        let resource =
            subject.resource.as_ref().map(|resource| format!(" on {resource}")).unwrap_or_default();
        let principal = subject.principal.as_ref().map(|name| format!(" by {name}")).unwrap_or_default();
        let path = format!("{action_text}{resource}{principal}");
        let granted = subjects.entry(subject).or_insert_with(|| Granted { path, effects: BTreeMap::new() });
        granted.effects.entry(effect.meaning).or_insert(effect.text);
    }
    subjects
}

/// Takes a document apart. A part that cannot be read becomes a grant of its own kind, so that it shows as a difference
/// and is never taken for nothing.
fn grants(document: &Value) -> Vec<Grant> {
    match statements_of(document) {
        Some(statements) => statements.into_iter().flat_map(grants_of_statement).collect(),
        None => vec![Grant {
            subject: GrantKey { action: "unreadable".to_owned(), resource: None, principal: None },
            action_text: "unreadable policy".to_owned(),
            effect: Effect { meaning: document.to_string(), text: document.to_string() },
        }],
    }
}

fn grants_of_statement(statement: &Value) -> Vec<Grant> {
    let with = |condition: Option<&Value>| match condition {
        Some(condition) => format!("{} if {condition}", effect_of(statement)),
        None => effect_of(statement).to_owned(),
    };
    let canonical = condition(statement);
    let written = canonical.as_ref().and_then(|_| statement.get("Condition"));
    let effect = Effect { meaning: with(canonical.as_ref()), text: with(written) };
    let principals = all_principals_of(statement);
    let actions = either(statement, "Action", "NotAction");
    let resources = either(statement, "Resource", "NotResource");
    let mut grants = Vec::new();
    for principal in optional(&principals) {
        for action in optional(&actions) {
            for resource in optional(&resources) {
                grants.push(Grant {
                    subject: GrantKey {
                        action: action.map(|action| action.to_lowercase()).unwrap_or_default(),
                        resource: resource.cloned(),
                        principal: principal.cloned(),
                    },
                    action_text: action.cloned().unwrap_or_default(),
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

fn all_principals_of(statement: &Value) -> Vec<String> {
    let read = |key: &str| {
        let principals = principals_of(statement.get(key)).into_iter();
        principals.map(|(kind, name)| kind.map_or(name.clone(), |kind| format!("{kind}:{name}")))
    };
    read("Principal").chain(anything_but("anyone", read("NotPrincipal").collect())).collect()
}

/// The kind (`AWS`, `Service`) and the name of each principal; `"*"` alone has no kind.
pub(super) fn principals_of(value: Option<&Value>) -> Vec<(Option<String>, String)> {
    match value {
        Some(Value::Object(kinds)) => {
            let names = |(kind, names): (&String, &Value)| {
                let kind = kind.clone();
                strings(Some(names)).into_iter().map(move |name| (Some(kind.clone()), name))
            };
            kinds.iter().flat_map(names).collect()
        }
        other => strings(other).into_iter().map(|name| (None, name)).collect(),
    }
}

/// A string is a list of one; booleans and numbers are as AWS prints them.
fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().flat_map(|item| strings(Some(item))).collect(),
        Some(Value::String(text)) => vec![text.clone()],
        Some(other) => vec![other.to_string()],
    }
}

/// Condition operators and keys have no case, and the values of a key are a set: keys that differ by case only are one
/// key with the values of both. A part that cannot be read is kept as its text.
fn canonical_condition(condition: &Value) -> Value {
    let Value::Object(operators) = condition else {
        return condition.clone();
    };
    let mut canonical: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (operator, keys) in operators {
        let canonical = canonical.entry(operator.to_lowercase()).or_default();
        let Value::Object(keys) = keys else {
            canonical.entry("unreadable".to_owned()).or_default().insert(keys.to_string());
            continue;
        };
        for (key, values) in keys {
            canonical.entry(key.to_lowercase()).or_default().extend(strings(Some(values)));
        }
    }
    json!(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::document::{PolicyDocument, Statement, trust_policy};

    const S3: &str = "s3.amazonaws.com";

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
    fn conditions_that_mean_the_same_are_equal() {
        let under = |condition: Value| json!({"Statement": [{"Effect": "Allow", "Action": "s3:A", "Resource": "r", "Condition": condition}]});
        let want = under(json!({
            "StringEquals": {"aws:SourceAccount": ["011122223333"]},
            "Bool": {"aws:SecureTransport": "true"},
            "NumericLessThan": {"s3:TlsVersion": "2"},
        }));
        let same = under(json!({
            "stringequals": {"AWS:sourceaccount": "011122223333"},
            "BOOL": {"aws:securetransport": true},
            "numericLessThan": {"s3:TlsVersion": 2},
        }));
        assert_eq!(compare(&want, &same), vec![]);
        let without_zero = under(json!({
            "StringEquals": {"aws:SourceAccount": 11_122_223_333_i64},
            "Bool": {"aws:SecureTransport": "true"},
            "NumericLessThan": {"s3:TlsVersion": "2"},
        }));
        assert_eq!(compare(&want, &without_zero).len(), 1, "an account id keeps its zero");
    }

    #[test]
    fn a_difference_is_named_by_action_and_resource() {
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
    fn a_difference_shows_conditions_as_they_are_written() {
        let of = |action: &str| {
            json!({"Statement": [{"Effect": "Allow", "Action": action, "Resource": "r", "Condition": {
                "StringEqualsIfExists": {"s3:ResourceAccount": ["111122223333"]},
            }}]})
        };
        let found = compare(&of("s3:A"), &json!({"Statement": []}));
        let texts: Vec<Option<&str>> = found.iter().map(|difference| difference.want.as_deref()).collect();
        assert_eq!(
            texts,
            [Some("Allow if {\"StringEqualsIfExists\":{\"s3:ResourceAccount\":[\"111122223333\"]}}")]
        );
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
        let trusts = |trust: &Value| trusts_service(trust, S3);
        let statement = |effect: &str, principal: Value, action: &str| json!({"Effect": effect, "Principal": principal, "Action": action});
        let service = || json!({"Service": S3});
        assert!(trusts(&trust_policy(S3).to_value()));
        assert!(trusts(
            &json!({"Statement": {"Effect": "Allow", "Principal": {"Service": ["ec2.amazonaws.com", S3]}, "Action": ["sts:AssumeRole"]}})
        ));
        assert!(!trusts(
            &json!({"Statement": [statement("Allow", json!({"Service": "ec2.amazonaws.com"}), "sts:AssumeRole")]})
        ));
        let allow = statement("Allow", service(), "sts:AssumeRole");
        assert!(!trusts(&json!({"Statement": [allow, statement("Deny", json!("*"), "sts:*")]})));
        assert!(trusts(&json!({"Statement": [
            {"Effect": "Allow", "Principal": {"Service": S3}, "Action": "sts:Assume*"},
            {"Effect": "Deny", "Principal": "*", "Action": "sts:*",
             "Condition": {"StringNotEquals": {"aws:SourceAccount": "111122223333"}}}]})));
        for action in ["sts:Assume*Role", "sts:AssumeRol?", "*", "STS:assumerole"] {
            assert!(trusts(&json!({"Statement": [statement("Allow", service(), action)]})), "{action}");
        }
        assert!(!trusts(&json!({"Statement": [statement("Allow", service(), "sts:TagSession")]})));
        // A negation leaves in whatever it does not name.
        assert!(!trusts(
            &json!({"Statement": [allow, {"Effect": "Deny", "Principal": "*", "NotAction": "sts:TagSession"}]})
        ));
        assert!(trusts(
            &json!({"Statement": [allow, {"Effect": "Deny", "Principal": "*", "NotAction": "sts:AssumeRole"}]})
        ));
        let others = json!({"Service": "ec2.amazonaws.com"});
        assert!(!trusts(
            &json!({"Statement": [allow, {"Effect": "Deny", "NotPrincipal": others, "Action": "sts:AssumeRole"}]})
        ));
        assert!(trusts(
            &json!({"Statement": [allow, {"Effect": "Deny", "NotPrincipal": service(), "Action": "sts:AssumeRole"}]})
        ));
        assert!(!trusts(&json!("")));
    }

    #[test]
    fn an_allowed_action_is_found_by_action_and_resource() {
        let policy = json!({"Statement": [
            {"Effect": "Allow", "Action": ["s3:ReplicateObject"], "Resource": ["a/*", "b/*"]},
            {"Effect": "Deny", "Action": "s3:ReplicateObject", "Resource": "c/*"}]});
        assert!(allows(&policy, "s3:replicateobject", "b/*"));
        assert!(!allows(&policy, "s3:ReplicateDelete", "b/*"));
        assert!(!allows(&policy, "s3:ReplicateObject", "c/*"));
        assert!(!allows(&json!("not json"), "s3:ReplicateObject", "a/*"));
    }

    #[test]
    fn wildcards_and_negations_of_a_policy_are_read_as_iam_reads_them() {
        let allowing = |key: &str, resources: Value| json!({"Statement": {"Effect": "Allow", "Action": "S3:replicate*", key: resources}});
        // Allowed on all of it, and the part on which it may be allowed.
        for (key, resources, all, part) in [
            ("Resource", json!("arn:aws:s3:::dr-*/*"), true, vec!["arn:aws:s3:::dr-1/*"]),
            ("Resource", json!("arn:aws:s3:::dr-?/*"), true, vec!["arn:aws:s3:::dr-1/*"]),
            ("Resource", json!("*"), true, vec!["arn:aws:s3:::dr-1/*"]),
            ("Resource", json!(["arn:aws:s3:::dr-2/*", "arn:aws:s3:::dr-1"]), false, vec![]),
            (
                "Resource",
                json!(["arn:aws:s3:::dr-1/logs/*", "arn:aws:s3:::*/a", "arn:aws:s3:::dr-2/*"]),
                false,
                vec!["arn:aws:s3:::*/a", "arn:aws:s3:::dr-1/logs/*"],
            ),
            (
                "Resource",
                json!(["arn:aws:s3:::dr-1/logs/*", "arn:aws:s3:::dr-1*"]),
                true,
                vec!["arn:aws:s3:::dr-1/*"],
            ),
            ("NotResource", json!("arn:aws:s3:::dr-2/*"), true, vec!["arn:aws:s3:::dr-1/*"]),
            ("NotResource", json!("arn:aws:s3:::dr-1/logs/*"), false, vec!["arn:aws:s3:::dr-1/*"]),
            ("NotResource", json!(["arn:aws:s3:::dr-*"]), false, vec![]),
        ] {
            let (policy, what) = (allowing(key, resources.clone()), format!("{key} {resources}"));
            let (action, on) = ("s3:ReplicateObject", "arn:aws:s3:::dr-1/*");
            assert_eq!(allows(&policy, action, on), all, "{what}");
            assert_eq!(Vec::from_iter(allowed_part(&policy, action, on)), part, "{what}");
            assert!(allowed_part(&policy, "s3:GetObject", on).is_empty(), "{what}");
        }
        let variable = "arn:aws:s3:::${aws:PrincipalTag/bucket}/*";
        for (version, key, all, part) in [
            ("2012-10-17", "Resource", false, vec![variable]),
            ("2012-10-17", "NotResource", false, vec!["arn:aws:s3:::dr-1/*"]),
            // The text itself, which no bucket has.
            ("2008-10-17", "Resource", false, vec![]),
            ("2008-10-17", "NotResource", true, vec!["arn:aws:s3:::dr-1/*"]),
        ] {
            let mut policy = allowing(key, json!(variable));
            policy["Version"] = json!(version);
            let (action, on) = ("s3:ReplicateObject", "arn:aws:s3:::dr-1/*");
            assert_eq!(allows(&policy, action, on), all, "{version} {key}");
            assert_eq!(Vec::from_iter(allowed_part(&policy, action, on)), part, "{version} {key}");
        }
        let negated = json!({"Statement": {"Effect": "Allow", "NotAction": "s3:Delete*", "Resource": "*"}});
        assert!(allows(&negated, "s3:ReplicateObject", "arn:aws:s3:::dr-1/*"));
        assert!(!allows(&negated, "s3:DeleteObject", "arn:aws:s3:::dr-1/*"));
        let excepting = json!({"Statement": {"Effect": "Allow", "Action": "*", "NotResource": "b/*"}});
        assert_eq!(allowed_resources(&excepting, "kms:Decrypt"), ["*"]);
    }

    #[test]
    fn grants_are_not_mixed_up_by_the_text_that_joins_them() {
        let grant = |action: &str, resource: &str| json!({"Statement": {"Effect": "Allow", "Action": action, "Resource": resource}});
        assert_eq!(compare(&grant("a on b", "c"), &grant("a", "b on c")).len(), 2);
    }

    #[test]
    fn values_of_condition_keys_that_differ_by_case_are_kept_together() {
        let condition = |keys: Value| json!({"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"StringLike": keys}}});
        let both = condition(json!({"kms:viaservice": "a", "kms:ViaService": "b"}));
        assert_eq!(compare(&both, &condition(json!({"kms:ViaService": ["a", "b"]}))), vec![]);
        assert_ne!(compare(&both, &condition(json!({"kms:ViaService": "b"}))), vec![]);
    }

    #[test]
    fn a_condition_is_the_same_in_any_case_and_form_of_its_values() {
        let condition = |condition: Value| json!({"Statement": {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": condition}});
        let is_same = |a: Value, b: Value| compare(&condition(a), &condition(b)).is_empty();
        assert!(is_same(
            json!({"StringEqualsIfExists": {"s3:ResourceAccount": ["012345678901"]}}),
            json!({"stringequalsifexists": {"S3:resourceaccount": "012345678901"}})
        ));
        assert!(is_same(
            json!({"Bool": {"aws:SecureTransport": true}}),
            json!({"bool": {"aws:SecureTransport": ["true"]}})
        ));
        assert!(is_same(
            json!({"NumericEquals": {"k": [1, 2]}}),
            json!({"NumericEquals": {"k": ["2", "1"]}})
        ));
        // A number has no leading zeros: it names another account.
        assert!(!is_same(
            json!({"StringEquals": {"s3:ResourceAccount": "012345678901"}}),
            json!({"StringEquals": {"s3:ResourceAccount": 12_345_678_901_u64}})
        ));
        assert!(!is_same(json!({"StringEquals": {"k": "v"}}), json!({"StringNotEquals": {"k": "v"}})));
        assert!(
            !is_same(json!({"StringEquals": "v"}), json!({"StringEquals": "w"})),
            "a part that cannot be read"
        );
    }

    #[test]
    fn size_leaves_out_white_space() {
        let document = PolicyDocument::new(vec![Statement::allow("A B", ["s3:X"], ["r"])]);
        assert_eq!(document.size(), document.to_json().len() - 1);
    }
}
