//! IAM policy documents as the operator writes them.
//!
//! In: statements. Out: JSON as IAM takes it
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>).

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// The most characters all inline policies of a role may have together, white space not counted
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
pub const MAX_INLINE_POLICY: usize = 10_240;

/// The version of every policy that the operator writes.
pub const CURRENT_VERSION: &str = "2012-10-17";

/// An IAM policy document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    pub version: &'static str,
    pub statement: Vec<Statement>,
}

/// One statement, which allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Statement {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sid: String,
    pub effect: &'static str,
    /// Kind of principal (`AWS`, `Service`) and its names; only in trust and resource policies.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "one_or_many")]
    pub principal: BTreeMap<&'static str, Vec<String>>,
    pub action: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource: Vec<String>,
    /// Operator, key, values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub condition: BTreeMap<&'static str, BTreeMap<String, Vec<String>>>,
}

impl Statement {
    /// A statement that allows these actions on these resources.
    pub fn allow<A: Into<String>, R: Into<String>>(
        sid: &str,
        actions: impl IntoIterator<Item = A>,
        resources: impl IntoIterator<Item = R>,
    ) -> Statement {
        Statement {
            sid: sid.to_owned(),
            effect: "Allow",
            principal: BTreeMap::new(),
            action: actions.into_iter().map(Into::into).collect(),
            resource: resources.into_iter().map(Into::into).collect(),
            condition: BTreeMap::new(),
        }
    }

    pub fn principal(mut self, kind: &'static str, name: impl Into<String>) -> Statement {
        self.principal.entry(kind).or_default().push(name.into());
        self
    }

    pub fn when(mut self, operator: &'static str, key: &str, values: Vec<String>) -> Statement {
        self.condition.entry(operator).or_default().insert(key.to_owned(), values);
        self
    }
}

impl PolicyDocument {
    pub fn new(statement: Vec<Statement>) -> PolicyDocument {
        PolicyDocument { version: CURRENT_VERSION, statement }
    }

    /// The document as it is sent: JSON without white space.
    pub fn to_json(&self) -> String {
        self.to_value().to_string()
    }

    pub fn to_value(&self) -> Value {
        // Serialising plain structs of strings cannot fail; `null` would be refused by IAM, not granted.
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    /// The number of characters that count towards IAM's quota.
    pub fn size(&self) -> usize {
        self.to_json().chars().filter(|c| !c.is_whitespace()).count()
    }
}

/// The trust policy of a role that only a service may assume, such as `s3.amazonaws.com`.
pub fn trust_policy(service: &str) -> PolicyDocument {
    PolicyDocument::new(vec![
        Statement::allow::<_, String>("", ["sts:AssumeRole"], []).principal("Service", service),
    ])
}

/// One name is written as a string, as IAM itself shows it.
fn one_or_many<S: Serializer>(
    principal: &BTreeMap<&'static str, Vec<String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(principal.iter().map(|(kind, names)| match names.as_slice() {
        [one] => (kind, Value::from(one.as_str())),
        many => (kind, Value::from(many)),
    }))
}
