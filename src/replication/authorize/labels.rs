//! The labels of a resource's namespace.

use std::collections::BTreeMap;

/// The labels of a resource's namespace. `None`: not known, which matches no labels.
pub type Labels<'a> = Option<&'a BTreeMap<String, String>>;
