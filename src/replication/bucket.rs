//! A bucket as a call addresses it.
//!
//! In: what the spec, S3 or the status says of a bucket. Out: the address that steps and reads carry; and the message
//! about the principals in its policy that S3 refuses.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::api::BucketPolicyStatus;
use crate::iam::bucket_policy::{deleted_principals, named_principals};
use crate::replication::failure::Failure;

/// Where a bucket is and whose it must be: all that a request about it has to name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
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

/// The most principals that a message names.
const NAMED: usize = 10;

/// Names the principals in a bucket's policy because of which S3 refuses any change of it. `sid`: of the statements
/// that the change replaces. `None`: S3 refused it for another reason, or others name nobody there.
///
/// S3 shows the ids of users and roles that were deleted, and refuses a policy with an account that was closed too,
/// which it shows as before. It may say which principal it means.
pub fn refused_principals_message(
    bucket: &str,
    policy: Option<&Value>,
    sid: &str,
    failure: &Failure,
) -> Option<String> {
    let listed = |names: &BTreeSet<String>| {
        let more = names.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
    };
    let deleted = deleted_principals(policy, sid);
    if !deleted.is_empty() {
        return Some(format!(
            "the policy of bucket {bucket} names users or roles that were deleted, and S3 refuses every policy that does: remove {} from it",
            listed(&deleted)
        ));
    }
    if !failure.is_about_principals() {
        return None;
    }
    let others = named_principals(policy, sid);
    let meant = meant_principals(&others, failure);
    if !meant.is_empty() {
        return Some(format!(
            "the policy of bucket {bucket} names principals that AWS does not know, and S3 refuses every policy that does: remove {} from it",
            listed(&meant)
        ));
    }
    // S3 quotes the principal that it names: it is none of the others.
    (!others.is_empty() && !failure.detail.contains('"')).then(|| {
        format!(
            "the policy of bucket {bucket} may name a principal that no longer exists, such as a closed account. S3 does not say which of these it is: {}; remove that principal from the policy",
            listed(&others)
        )
    })
}

/// Those of some principals that S3's answer names.
pub fn meant_principals(principals: &BTreeSet<String>, failure: &Failure) -> BTreeSet<String> {
    let is_named = |name: &&String| failure.detail.contains(&format!("\"{name}\""));
    principals.iter().filter(is_named).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::replication::FailureClass;

    fn refused(detail: &str) -> Failure {
        let failure = Failure::new(FailureClass::Invalid, "s3:PutBucketPolicy", "dr", detail);
        Failure { code: "MalformedPolicy".into(), ..failure }
    }

    fn named(principal: &Value) -> Value {
        json!({"Statement": [{"Sid": "Theirs", "Effect": "Allow", "Principal": principal, "Action": "s3:GetObject"}]})
    }

    #[test]
    fn whom_s3_refuses_is_named_also_where_it_shows_no_id_of_a_deleted_one() {
        let closed = "arn:aws:iam::444455556666:root";
        let policy =
            named(&json!({"AWS": [closed, "777788889999", "*"], "Service": "logging.s3.amazonaws.com"}));
        let message_for =
            |detail: &str| refused_principals_message("dr", Some(&policy), "", &refused(detail));
        let unnamed = message_for("Invalid principal in policy").unwrap();
        for part in ["bucket dr", closed, "777788889999", "does not say which"] {
            assert!(unnamed.contains(part), "{unnamed}");
        }
        assert!(!unnamed.contains('*') && !unnamed.contains("logging"), "{unnamed}");
        let one = message_for(&format!("Invalid principal in policy (\"AWS\" : \"{closed}\")")).unwrap();
        assert!(one.contains(closed) && !one.contains("777788889999"), "{one}");
        assert_eq!(message_for("Policy has invalid resource"), None);
        let ours = "Invalid principal in policy (\"AWS\" : \"arn:aws:iam::111122223333:role/orders\")";
        assert_eq!(message_for(ours), None, "it is the role of the resource");

        let user = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be";
        let policy = named(&json!({"CanonicalUser": user}));
        let answer = refused("Invalid principal in policy");
        let message = refused_principals_message("dr", Some(&policy), "", &answer).unwrap();
        assert!(message.contains(user), "{message}");
        assert_eq!(
            refused_principals_message("dr", None, "", &answer),
            None,
            "it is the role of the resource"
        );
    }

    #[test]
    fn ids_of_the_deleted_come_before_every_other_suspicion() {
        let policy = named(&json!({"AWS": ["444455556666", "AROAZQ3EXAMPLE7ROLE21"]}));
        let message =
            refused_principals_message("dr", Some(&policy), "", &refused("Invalid principal in policy"))
                .unwrap();
        assert!(message.contains("AROAZQ3EXAMPLE7ROLE21") && !message.contains("444455556666"), "{message}");
    }
}
