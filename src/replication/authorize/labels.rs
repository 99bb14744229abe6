//! The labels of a resource's namespace.
//!
//! In: the labels as they were read, or that they are not known. Out: [`Labels`], which `namespaces.rs` compares with
//! those that an account requires.

use std::collections::BTreeMap;

/// The labels of a resource's namespace. `None`: not known, which matches no labels.
pub type Labels<'a> = Option<&'a BTreeMap<String, String>>;
