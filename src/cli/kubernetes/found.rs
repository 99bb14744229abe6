//! An object of the cluster as this version reads it.
//!
//! In: the object as the API server holds it. Out: the object, or why it cannot be decoded, with the buckets that can be
//! read all the same: one odd object must not hide the others.

use kube::core::{DynamicObject, ObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object, or why this version cannot decode it.
#[derive(Clone, Debug)]
pub struct FoundObject<K> {
    pub metadata: ObjectMeta,
    pub object: Result<K, Undecodable>,
}

/// An object of another version.
#[derive(Clone, Debug)]
pub struct Undecodable {
    pub message: String,
    /// Its spec as the API server holds it.
    pub spec: Value,
}

impl Undecodable {
    /// The source bucket, where the spec has it where this version expects it.
    pub fn source(&self) -> Option<&str> {
        self.spec.pointer("/source/bucket")?.as_str().filter(|name| !name.is_empty())
    }

    /// The id and the destination bucket of each rule, where the spec has all of them where this version expects them.
    pub fn rules(&self) -> Option<Vec<(&str, &str)>> {
        self.spec.get("rules")?.as_array()?.iter().map(id_and_destination).collect()
    }
}

fn id_and_destination(rule: &Value) -> Option<(&str, &str)> {
    let bucket = rule.pointer("/destination/bucket")?.as_str()?;
    Some((rule.get("id").and_then(Value::as_str).unwrap_or_default(), bucket))
}

/// Decodes an object, if this version can.
pub fn found<K: DeserializeOwned>(held: DynamicObject) -> FoundObject<K> {
    let metadata = held.metadata.clone();
    let decoded = serde_json::to_value(&held).and_then(|value| K::deserialize(&value));
    let undecodable = |error: serde_json::Error| Undecodable {
        message: error.to_string(),
        spec: held.data.get("spec").cloned().unwrap_or_default(),
    };
    FoundObject { metadata, object: decoded.map_err(undecodable) }
}
