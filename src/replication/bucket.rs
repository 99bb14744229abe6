//! A bucket as a call addresses it.
//!
//! In: what the spec, S3 or the status says of a bucket. Out: the address that steps and reads carry; and the message
//! about deleted principals in its policy.

use serde::Serialize;
use serde_json::Value;

use crate::api::BucketPolicyStatus;
use crate::iam::bucket_policy::dead_principals;

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

/// Names the deleted principals in a bucket's policy, because of which S3 refuses any change of it. `sid`: of the
/// statements that the change replaces.
pub fn dead_principals_message(bucket: &str, policy: Option<&Value>, sid: &str) -> Option<String> {
    let dead: Vec<String> = dead_principals(policy, sid).into_iter().collect();
    (!dead.is_empty()).then(|| {
        format!(
            "the policy of bucket {bucket} names users or roles that were deleted, and S3 refuses every policy that does: remove {} from it",
            dead.join(", ")
        )
    })
}
