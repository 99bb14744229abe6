//! Asks S3 whether a bucket is there, and distinguishes a denied action from a bucket of another owner, which S3
//! answers in the same words.
//!
//! In: a bucket. Out: [`Head`], what S3 says about it; [`BucketOwnership`], from the answers of `HeadBucket` with and
//! without `ExpectedBucketOwner`.

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::aws::error::{HEAD_BUCKET, bucket_region, is_bare};
use crate::aws::read::calls::GET_BUCKET_VERSIONING;
use crate::iam::partition::is_region;
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

/// The owner of a bucket, after S3 denied a call that named the expected owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketOwnership {
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
pub fn judge_owner(expecting: &Head, without: Option<&Head>) -> BucketOwnership {
    match (expecting, without) {
        (Head::Found(_), _) => BucketOwnership::Confirmed,
        (Head::Missing, _) => BucketOwnership::Missing,
        (Head::Denied { .. }, Some(Head::Found(_) | Head::Elsewhere(_))) => BucketOwnership::Foreign,
        // An answer that fails for now is no denial.
        (Head::Denied { .. } | Head::Elsewhere(_) | Head::Failed(_), _) => BucketOwnership::Unknown,
    }
}

/// Asks S3 for the owner of a bucket, after an answer of `HeadBucket` with the expected owner.
pub async fn ask_owner(aws: &AwsClient, region: &str, bucket: &str, expecting: &Head) -> BucketOwnership {
    match expecting {
        Head::Denied { .. } => judge_owner(expecting, Some(&head(aws, region, bucket, None).await)),
        _ => judge_owner(expecting, None),
    }
}

/// `HeadBucket`, with the account id that the bucket is expected to belong to.
///
/// A HEAD has no body, so that its status alone does not say what is wrong: credentials that expired are a bare 400,
/// for example. [`explain`] asks by a call that has one.
pub async fn head(aws: &AwsClient, region: &str, bucket: &str, account_id: Option<&str>) -> Head {
    let request =
        aws.s3(region).head_bucket().bucket(bucket).set_expected_bucket_owner(account_id.map(str::to_owned));
    let mut named = None;
    let answer = async {
        let result = request.send().await;
        named = result.as_ref().err().and_then(bucket_region);
        result
    };
    match aws.call(Operation::s3_read(region, HEAD_BUCKET, bucket), answer).await {
        Ok(found) => {
            let named = found.bucket_region().filter(|named| is_region(named));
            Head::Found(named.unwrap_or(region).to_owned())
        }
        Err(failure) => read_failure(failure, region, named),
    }
}

/// Reads an error about a bucket. The Region in the header counts, whatever the status.
fn read_failure(failure: Failure, region: &str, named: Option<String>) -> Head {
    match (failure.class, named) {
        // S3 names the Region also where it denies, and a denial says nothing of the owner.
        (FailureClass::Denied, region) => Head::Denied { failure, region },
        (_, Some(named)) if named != region => Head::Elsewhere(named),
        (FailureClass::NoSuchBucket, _) => Head::Missing,
        _ => Head::Failed(failure),
    }
}

/// Asks what a bare status of `HeadBucket` means, by `GetBucketVersioning`, whose errors have a body. Every answer that
/// names a Region, and every success, says enough already.
pub async fn explain(aws: &AwsClient, region: &str, bucket: &str, account_id: &str, answer: Head) -> Head {
    let says_little = match &answer {
        Head::Found(_) | Head::Elsewhere(_) | Head::Denied { region: Some(_), .. } => false,
        Head::Missing => true,
        Head::Denied { failure, .. } | Head::Failed(failure) => is_bare(failure),
    };
    if !says_little {
        return answer;
    }
    let request = aws.s3(region).get_bucket_versioning().bucket(bucket).expected_bucket_owner(account_id);
    let mut named = None;
    let request = async {
        let result = request.send().await;
        named = result.as_ref().err().and_then(bucket_region);
        result
    };
    match aws.call(Operation::s3_read(region, GET_BUCKET_VERSIONING, bucket), request).await {
        Ok(_) => Head::Found(region.to_owned()),
        Err(failure) => combine(answer, read_failure(failure, region, named)),
    }
}

/// The answer of a HEAD in the light of that of another call. A denial of one action says nothing about the other, but
/// where the bucket is holds for both, and credentials that AWS refuses are refused for both.
fn combine(head: Head, other: Head) -> Head {
    match (head, other) {
        (Head::Missing, Head::Denied { .. }) => Head::Missing,
        (Head::Denied { failure, .. }, Head::Elsewhere(region)) => {
            Head::Denied { failure, region: Some(region) }
        }
        (Head::Denied { failure, .. }, Head::Denied { region, .. }) => Head::Denied { failure, region },
        (_, other) => other,
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
        assert_eq!(judge_owner(&denied(), Some(&found)), BucketOwnership::Foreign);
        assert_eq!(
            judge_owner(&denied(), Some(&Head::Elsewhere("eu-west-1".into()))),
            BucketOwnership::Foreign
        );
        assert_eq!(judge_owner(&denied(), Some(&denied())), BucketOwnership::Unknown);
        for unclear in
            [Head::Failed(bare(FailureClass::Unavailable, 503)), Head::Elsewhere("eu-west-1".into())]
        {
            assert_eq!(
                judge_owner(&unclear, Some(&found)),
                BucketOwnership::Unknown,
                "{unclear:?} denies nothing"
            );
        }
        assert_eq!(judge_owner(&found, None), BucketOwnership::Confirmed);
        assert_eq!(judge_owner(&Head::Missing, None), BucketOwnership::Missing);
    }

    fn bare(class: FailureClass, status: u16) -> Failure {
        Failure { code: format!("HTTP {status}"), ..Failure::new(class, HEAD_BUCKET, "b", "") }
    }

    #[test]
    fn the_region_in_the_header_is_believed_with_any_status() {
        let read = |class, status| read_failure(bare(class, status), "us-east-1", Some("eu-west-1".into()));
        for (class, status) in [(FailureClass::Invalid, 400), (FailureClass::WrongRegion, 301)] {
            assert_eq!(read(class, status), Head::Elsewhere("eu-west-1".into()), "{status}");
        }
        let denied = read(FailureClass::Denied, 403);
        assert!(matches!(&denied, Head::Denied { region: Some(region), .. } if region == "eu-west-1"));
        assert_eq!(judge_owner(&denied, Some(&denied)), BucketOwnership::Unknown, "a denial names no owner");
    }

    #[test]
    fn a_second_call_explains_a_bare_status_and_takes_back_no_denial() {
        assert_eq!(combine(Head::Missing, denied()), Head::Missing);
        let found = Head::Found("us-east-1".into());
        assert_eq!(combine(denied(), found.clone()), found, "the other call may be made");
        assert_eq!(combine(denied(), denied()), denied());
        let Head::Denied { failure, .. } = denied() else { panic!("denied") };
        let there = Head::Denied { failure, region: Some("eu-west-1".into()) };
        for other in [Head::Elsewhere("eu-west-1".into()), there.clone()] {
            assert_eq!(combine(denied(), other), there);
        }
        let expired =
            Head::Failed(Failure { code: "ExpiredToken".into(), ..bare(FailureClass::Credentials, 400) });
        for head in [Head::Failed(bare(FailureClass::Invalid, 400)), denied(), Head::Missing] {
            assert_eq!(combine(head, expired.clone()), expired);
        }
    }
}
