//! The field of an existing replication configuration that no spec can express.
//!
//! In: the rule, the field, its value, and why. Out: [`Inexpressible`], with a message that says how to change S3.

/// A field that a `BucketReplication` cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{field} is {value:?}, which a BucketReplication cannot express{why}", in_rule(id))]
pub struct Inexpressible {
    /// The rule; `None` for a field of the resource itself.
    pub id: Option<String>,
    pub field: &'static str,
    pub value: String,
    pub why: &'static str,
}

fn in_rule(id: &Option<String>) -> String {
    id.as_ref().map_or_else(String::new, |id| format!("rules[{id}]."))
}

pub fn inexpressible(id: &str, field: &'static str, value: &str, why: &'static str) -> Inexpressible {
    Inexpressible { id: Some(id.to_owned()), field, value: value.to_owned(), why }
}

/// The same for a field outside of rules.
pub fn not_taken(field: &'static str, value: &str, why: &'static str) -> Inexpressible {
    Inexpressible { id: None, field, value: value.to_owned(), why }
}
