//! Distinguishes a denied action from a bucket of another owner, which S3 answers in the same words.
//!
//! In: the answers of `HeadBucket` with and without `ExpectedBucketOwner`. Out: [`Ownership`].

use crate::aws::account::client::AwsClient;
use crate::aws::account::rate_limiter::Lane;
use crate::aws::error::{HEAD_BUCKET, bucket_region};
use crate::replication::{Failure, FailureClass};

/// An answer of `HeadBucket`.
#[derive(Clone, Debug, PartialEq)]
pub enum Head {
    /// The bucket is there, in this Region.
    Found(String),
    /// It is in this Region, to which the request did not go.
    Elsewhere(String),
    Missing,
    /// Denied; S3 names the Region even then.
    Denied {
        failure: Failure,
        region: Option<String>,
    },
    Failed(Failure),
}

/// Whose a bucket is, after S3 denied a call that named its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It belongs to the expected account, and only the action is denied.
    Confirmed,
    /// It belongs to another account.
    Foreign,
    /// S3 denies every answer about it.
    Unknown,
    /// There is no such bucket.
    Missing,
}

/// Judges the owner by `HeadBucket` with the expected owner and, where that is denied, without one: a bucket that
/// answers only when no owner is expected belongs to someone else.
pub fn judge_owner(expecting: &Head, without: Option<&Head>) -> Ownership {
    match (expecting, without) {
        (Head::Found(_), _) => Ownership::Confirmed,
        (Head::Missing, _) => Ownership::Missing,
        (_, Some(Head::Found(_) | Head::Elsewhere(_))) => Ownership::Foreign,
        (_, Some(Head::Missing | Head::Denied { .. } | Head::Failed(_)) | None) => Ownership::Unknown,
    }
}

/// Asks S3 whose a bucket is, for an answer of `HeadBucket` that names the expected owner.
pub async fn ask_owner(aws: &AwsClient, region: &str, bucket: &str, expecting: &Head) -> Ownership {
    match judge_owner(expecting, None) {
        Ownership::Unknown => judge_owner(expecting, Some(&head(aws, region, bucket, None).await)),
        judged => judged,
    }
}

/// `HeadBucket`, with the account id that the bucket is expected to belong to.
pub async fn head(aws: &AwsClient, region: &str, bucket: &str, account_id: Option<&str>) -> Head {
    let request =
        aws.s3(region).head_bucket().bucket(bucket).set_expected_bucket_owner(account_id.map(str::to_owned));
    let mut elsewhere = None;
    let answer = async {
        let result = request.send().await;
        elsewhere = result.as_ref().err().and_then(bucket_region);
        result
    };
    match aws.call(Lane::S3Read, HEAD_BUCKET, bucket, answer).await {
        Ok(found) => Head::Found(found.bucket_region().unwrap_or(region).to_owned()),
        Err(failure) => match (failure.class, elsewhere) {
            (FailureClass::NoSuchBucket, _) => Head::Missing,
            (FailureClass::WrongRegion, Some(region)) => Head::Elsewhere(region),
            (FailureClass::Denied, region) => Head::Denied { failure, region },
            _ => Head::Failed(failure),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> Head {
        let failure = Failure {
            class: FailureClass::Denied,
            action: HEAD_BUCKET.into(),
            subject: "b".into(),
            code: "HTTP 403".into(),
            detail: String::new(),
        };
        Head::Denied { failure, region: None }
    }

    #[test]
    fn a_bucket_that_answers_only_without_an_expected_owner_is_foreign() {
        let found = Head::Found("us-east-1".into());
        assert_eq!(judge_owner(&denied(), Some(&found)), Ownership::Foreign);
        assert_eq!(judge_owner(&denied(), Some(&Head::Elsewhere("eu-west-1".into()))), Ownership::Foreign);
        assert_eq!(judge_owner(&denied(), Some(&denied())), Ownership::Unknown);
        assert_eq!(judge_owner(&found, None), Ownership::Confirmed);
        assert_eq!(judge_owner(&Head::Missing, None), Ownership::Missing);
    }
}
