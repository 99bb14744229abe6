//! A bucket as a call addresses it.
//!
//! In: what the spec, S3 or the status says of a bucket. Out: the address that steps and reads carry.

use serde::Serialize;

use crate::api::BucketPolicyStatus;

/// Where a bucket is and whose it must be: all that a request about it has to name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct BucketAddress {
    pub name: String,
    pub region: String,
    /// The id of the account that must own the bucket, 12 digits (`ExpectedBucketOwner` in S3).
    pub account_id: String,
    /// The `AwsAccount` with whose credentials to call; `None`: those of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_ref: Option<String>,
}

impl From<&BucketPolicyStatus> for BucketAddress {
    /// The bucket of a policy that the status remembers.
    fn from(held: &BucketPolicyStatus) -> BucketAddress {
        let BucketPolicyStatus { bucket, region, account, account_ref } = held.clone();
        BucketAddress { name: bucket, region, account_id: account, account_ref: Some(account_ref) }
    }
}
