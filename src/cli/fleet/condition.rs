//! A condition as it is printed.
//!
//! In: a condition of a status. Out: its form in JSON, which the verdict and the views share.

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
