//! Where canaries of a resource may be, as its status lists it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A folder in a bucket in which the operator writes canaries, or wrote them.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CanaryPlace {
    /// The bucket's name.
    pub bucket: String,
    /// The Region of the bucket.
    pub region: String,
    /// The id of the account that owns the bucket.
    pub account: String,
    /// The `AwsAccount` whose AWS identity the operator uses for the bucket. Absent: that of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
    /// The beginning of the keys of canaries there. It ends with the resource's UID.
    pub prefix: String,
}
