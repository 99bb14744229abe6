//! A folder in a bucket in which canaries of a resource may be, as its status lists it.
//!
//! In: the places that `replication/health/canary/place.rs` works out. Out: an entry of `status.canaryPlaces`, by which
//! a later process and a deletion find the canaries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A folder in a bucket in which the operator writes canaries, or wrote them.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CanaryPlaceStatus {
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
