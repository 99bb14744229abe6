//! Reads the fields of a status one by one, because any of them may hold what cannot be read: a newer version wrote it, or
//! someone past admission.
//!
//! In: a status as the API server holds it. Out: each field that can be read, whatever the others hold, and the ones that
//! cannot.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// The fields that cannot be read, as they are.
pub type Unreadable = BTreeMap<&'static str, Value>;

pub struct FieldReader<'a> {
    held: &'a Value,
    pub unreadable: Unreadable,
}

impl<'a> FieldReader<'a> {
    pub fn new(held: &'a Value) -> FieldReader<'a> {
        FieldReader { held, unreadable: Unreadable::new() }
    }

    /// Whether a field holds what cannot be read.
    pub fn is_lost(&self, field: &str) -> bool {
        self.unreadable.contains_key(field)
    }

    /// Reads a field; its default where it cannot be read.
    pub fn read<T: DeserializeOwned + Default>(&mut self, field: &'static str) -> T {
        self.read_or(field, |_| T::default())
    }

    /// Reads a list; the items that can be read where not all can.
    pub fn read_items<T: DeserializeOwned>(&mut self, field: &'static str) -> Vec<T> {
        self.read_or(field, |value| {
            let items = value.as_array().into_iter().flatten();
            items.filter_map(|item| T::deserialize(item).ok()).collect()
        })
    }

    /// Reads a field; where it cannot be read as a whole, as far as `otherwise` can.
    pub fn read_or<T: DeserializeOwned + Default>(
        &mut self,
        field: &'static str,
        otherwise: impl FnOnce(&Value) -> T,
    ) -> T {
        let value = match self.held {
            Value::Null => return T::default(),
            // There is no such status, and every field of it is lost.
            held if !held.is_object() => {
                self.unreadable.insert(field, Value::Null);
                return T::default();
            }
            held => held.get(field).filter(|value| !value.is_null()),
        };
        let Some(value) = value else { return T::default() };
        T::deserialize(value).unwrap_or_else(|_| {
            self.unreadable.insert(field, value.clone());
            otherwise(value)
        })
    }
}

/// A field of an object, if it is a text.
pub fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}
