//! A condition as people read it.
//!
//! In: a condition of a status, which `view.rs` reads. Out: [`ConditionView`], as the JSON of `status` has it.

use serde::{Deserialize, Serialize};

/// A condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConditionView {
    pub r#type: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    /// Since when it has this status; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
