//! Generates IAM policies as a model, and writes each in any of the forms that mean the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value, json};

use crate::choice::{choose, optional};

const ACTIONS: [&str; 4] = ["s3:GetObject", "s3:ReplicateObject", "s3:List*", "kms:Decrypt"];
const RESOURCES: [&str; 4] = ["arn:aws:s3:::b", "arn:aws:s3:::b/*", "arn:aws:s3:::c", "*"];
const PRINCIPALS: [(&str, &str); 4] = [
    ("AWS", "arn:aws:iam::111122223333:role/r"),
    ("AWS", "444455556666"),
    ("Service", "s3.amazonaws.com"),
    ("Federated", "s3.amazonaws.com"),
];
const CONDITIONS: [(&str, &str, &str); 4] = [
    ("Bool", "aws:SecureTransport", "false"),
    ("StringLike", "kms:ViaService", "s3.eu-west-1.amazonaws.com"),
    ("StringLike", "kms:ViaService", "s3.us-east-1.amazonaws.com"),
    ("StringEquals", "s3:ResourceAccount", "111122223333"),
];

type Principal = (&'static str, &'static str);
type Condition = (&'static str, &'static str, &'static str);

/// The elements that a statement names: these, or anything but these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names<T> {
    negated: bool,
    items: Vec<T>,
}

#[derive(Clone, Debug)]
pub struct Statement {
    effect: &'static str,
    principals: Option<Names<Principal>>,
    actions: Names<&'static str>,
    resources: Option<Names<&'static str>>,
    conditions: Vec<Condition>,
}

/// The smallest part of a policy. A negated list is one part as a whole: to allow anything but two actions is less than
/// to allow anything but the one and anything but the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    effect: &'static str,
    principal: Option<Names<Principal>>,
    action: Names<String>,
    resource: Option<Names<&'static str>>,
    conditions: BTreeSet<Condition>,
}

fn names<T: Clone + std::fmt::Debug + 'static>(all: Vec<T>) -> impl Strategy<Value = Names<T>> {
    let items = subsequence(all.clone(), 1..=all.len().min(3));
    (prop::bool::weighted(0.2), items).prop_map(|(negated, items)| Names { negated, items })
}

prop_compose! {
    fn statement()(
        effect in select(vec!["Allow", "Allow", "Deny"]),
        principals in optional(0.4, names(PRINCIPALS.to_vec())),
        actions in names(ACTIONS.to_vec()),
        resources in optional(0.8, names(RESOURCES.to_vec())),
        conditions in choose![2 => Just(vec![]), 1 => subsequence(CONDITIONS.to_vec(), 0..=3)],
    ) -> Statement {
        Statement { effect, principals, actions, resources, conditions }
    }
}

/// A policy of a few statements.
pub fn policy() -> impl Strategy<Value = Vec<Statement>> {
    prop::collection::vec(statement(), 1..4)
}

/// Two policies that have most of their statements in common.
pub fn similar_policies() -> impl Strategy<Value = (Vec<Statement>, Vec<Statement>)> {
    let keep = prop::collection::vec(prop::bool::weighted(0.8), 4);
    (policy(), keep, optional(0.4, statement())).prop_map(|(one, keep, added)| {
        let kept = one.iter().zip(keep).filter(|(_, keep)| *keep).map(|(statement, _)| statement.clone());
        let other = kept.chain(added).collect();
        (one, other)
    })
}

/// The permissions that a policy grants.
pub fn grants(policy: &[Statement]) -> BTreeSet<Grant> {
    fn parts<T: Clone + Ord>(names: &Names<T>) -> Vec<Names<T>> {
        let mut whole = names.clone();
        whole.items.sort();
        match names.negated {
            true => vec![whole],
            false => {
                whole.items.into_iter().map(|item| Names { negated: false, items: vec![item] }).collect()
            }
        }
    }
    fn optional<T: Clone + Ord>(names: &Option<Names<T>>) -> Vec<Option<Names<T>>> {
        names.as_ref().map_or(vec![None], |names| parts(names).into_iter().map(Some).collect())
    }
    let mut all = BTreeSet::new();
    for statement in policy {
        let lower = |action: &&str| action.to_lowercase();
        let actions = Names {
            negated: statement.actions.negated,
            items: statement.actions.items.iter().map(lower).collect(),
        };
        for principal in optional(&statement.principals) {
            for action in parts(&actions) {
                for resource in optional(&statement.resources) {
                    all.insert(Grant {
                        effect: statement.effect,
                        principal: principal.clone(),
                        action: action.clone(),
                        resource,
                        conditions: statement.conditions.iter().copied().collect(),
                    });
                }
            }
        }
    }
    all
}

/// The choices among forms that mean the same: taken one after the other, from the beginning again when they end.
#[derive(Debug)]
pub struct Choices {
    drawn: Vec<u8>,
    next: usize,
}

pub fn choices() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 32)
}

impl Choices {
    pub fn new(drawn: Vec<u8>) -> Choices {
        Choices { drawn, next: 0 }
    }

    fn below(&mut self, end: usize) -> usize {
        self.next += 1;
        usize::from(self.drawn[self.next % self.drawn.len()]) % end
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 1
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// A document that grants what the policy grants, in one of its forms.
pub fn document(policy: &[Statement], choices: &mut Choices) -> Value {
    let mut statements: Vec<Value> = Vec::new();
    for statement in policy {
        for part in split(statement, choices) {
            statements.push(statement_json(&part, choices));
        }
    }
    choices.shuffle(&mut statements);
    let mut document = Map::new();
    if choices.yes() {
        document.insert("Version".to_owned(), json!("2012-10-17"));
    }
    let one = statements.len() == 1 && choices.yes();
    let statements = if one { statements.remove(0) } else { Value::Array(statements) };
    document.insert("Statement".to_owned(), statements);
    Value::Object(document)
}

/// The statement as it is, or one for each action or resource that it names.
fn split(statement: &Statement, choices: &mut Choices) -> Vec<Statement> {
    let one_by_one = |names: &Names<&'static str>| {
        let alone = |item: &&'static str| Names { negated: false, items: vec![*item] };
        names.items.iter().map(alone).collect::<Vec<_>>()
    };
    match (&statement.resources, choices.below(3)) {
        (_, 1) if !statement.actions.negated => one_by_one(&statement.actions)
            .into_iter()
            .map(|actions| Statement { actions, ..statement.clone() })
            .collect(),
        (Some(resources), 2) if !resources.negated => one_by_one(resources)
            .into_iter()
            .map(|resources| Statement { resources: Some(resources), ..statement.clone() })
            .collect(),
        _ => vec![statement.clone()],
    }
}

fn statement_json(statement: &Statement, choices: &mut Choices) -> Value {
    let mut fields = Map::new();
    if choices.yes() {
        fields.insert("Sid".to_owned(), json!(format!("Sid{}", choices.below(9))));
    }
    fields.insert("Effect".to_owned(), json!(statement.effect));
    let mut named = |negated: bool, name: &str, value: Value| {
        let name = if negated { format!("Not{name}") } else { name.to_owned() };
        fields.insert(name, value);
    };
    if let Some(principals) = &statement.principals {
        let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (kind, name) in &principals.items {
            kinds.entry(kind).or_default().push((*name).to_owned());
        }
        let value: Map<String, Value> =
            kinds.into_iter().map(|(kind, names)| (kind.to_owned(), list(names, choices))).collect();
        named(principals.negated, "Principal", Value::Object(value));
    }
    let actions = statement.actions.items.iter().map(|action| cased(action, choices)).collect();
    named(statement.actions.negated, "Action", list(actions, choices));
    if let Some(resources) = &statement.resources {
        let items = resources.items.iter().map(|item| (*item).to_owned()).collect();
        named(resources.negated, "Resource", list(items, choices));
    }
    let mut conditions: BTreeMap<&str, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for (operator, key, value) in &statement.conditions {
        conditions.entry(operator).or_default().entry(key).or_default().push((*value).to_owned());
    }
    if !conditions.is_empty() || choices.yes() {
        let of_operator = |keys: BTreeMap<&str, Vec<String>>, choices: &mut Choices| {
            let keys = keys.into_iter().map(|(key, values)| (cased(key, choices), list(values, choices)));
            Value::Object(keys.collect())
        };
        let value: Map<String, Value> = conditions
            .into_iter()
            .map(|(operator, keys)| (operator.to_owned(), of_operator(keys, choices)))
            .collect();
        fields.insert("Condition".to_owned(), Value::Object(value));
    }
    Value::Object(fields)
}

/// A string or a list of one; a list in any order.
fn list(mut items: Vec<String>, choices: &mut Choices) -> Value {
    choices.shuffle(&mut items);
    match (items.len(), choices.yes()) {
        (1, true) => json!(items[0]),
        _ => json!(items),
    }
}

fn cased(text: &str, choices: &mut Choices) -> String {
    match choices.below(3) {
        0 => text.to_lowercase(),
        1 => text.to_uppercase(),
        _ => text.to_owned(),
    }
}
