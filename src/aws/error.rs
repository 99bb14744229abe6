//! Classifies errors of the SDK.
//!
//! In: an error of the SDK, the action, its subject. Out: a [`Failure`]. `GetBucketReplication`,
//! `PutBucketReplication` and most of S3 have no modelled errors, so that codes are compared as text
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).

use std::borrow::Cow;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::iam::partition::is_region;
use crate::replication::failure::refuses_account;
use crate::replication::{Failure, FailureClass};

/// The header in which S3 names a bucket's Region, in successes and in redirects alike.
const BUCKET_REGION: &str = "x-amz-bucket-region";

/// The action that `HeadBucket` needs, the one call whose errors have no body.
pub const HEAD_BUCKET: &str = "s3:ListBucket";

/// The action that a session needs.
pub const ASSUME_ROLE: &str = "sts:AssumeRole";

/// Classifies a failed call.
pub fn failure<E>(error: &SdkError<E, HttpResponse>, action: &'static str, subject: &str) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|r| r.status().as_u16());
    // AWS answered with success, and the SDK cannot read the answer: its error names what it expected.
    let is_unreadable = status.is_some_and(|status| (200..300).contains(&status));
    // The SDK reads an error only below the root element that the service documents.
    let refused = error.raw_response().filter(|_| !is_unreadable);
    let in_body = |name| refused.and_then(|response| element(response, name));
    let own_code = error.code().filter(|code| is_code(code)).map(str::to_owned);
    let code = own_code.or_else(|| in_body("Code").filter(|code| is_code(code))).unwrap_or_default();
    let code = code.as_str();
    let own_message = error.message().filter(|message| !message.is_empty()).map(str::to_owned);
    let from_body = || in_body("Message").filter(|_| !code.is_empty());
    let detail = match own_message.or_else(from_body) {
        Some(message) => steady(&with_culprit(message, code, in_body("Detail"))),
        _ if is_unreadable => {
            format!("AWS answered with success, and the answer cannot be read: {}", chain(error))
        }
        _ if error.raw_response().is_some() => String::new(),
        _ => steady(&chain(error)),
    };
    let class = match classify(code, status, &detail) {
        _ if is_unreadable => FailureClass::Unavailable,
        // The errors of a HEAD have no body; in all others S3 and IAM name what does not exist.
        FailureClass::NoSuchBucket if code != "NoSuchBucket" && action != HEAD_BUCKET => {
            FailureClass::Unavailable
        }
        // AWS names what is wrong with a request; a proxy on the way may not.
        FailureClass::Invalid if code.is_empty() && action != HEAD_BUCKET => FailureClass::Unavailable,
        class => class,
    };
    let detail = match bucket_region(error) {
        Some(region) if class == FailureClass::WrongRegion => format!("{ELSEWHERE}{region}"),
        _ => detail,
    };
    let (action, subject) = match denied(&detail) {
        Some((named, resource)) if !named.eq_ignore_ascii_case(action) => {
            let unnamed = || format!("a resource that {action} on {subject} needs");
            (Cow::Owned(named), resource.unwrap_or_else(unnamed))
        }
        _ => (Cow::Borrowed(action), subject.to_owned()),
    };
    Failure {
        class,
        action,
        subject,
        code: match (code, status) {
            ("", _) if is_unreadable => String::new(),
            ("", Some(status)) => format!("HTTP {status}"),
            (code, _) => code.to_owned(),
        },
        detail,
    }
}

/// Classifies what AWS answered, with success, about one of the entries of a batch: its code and its message.
/// `by_sender`: the request is at fault, and not AWS.
pub fn failure_of_entry(
    (code, detail): (&str, &str),
    by_sender: bool,
    action: &'static str,
    subject: &str,
) -> Failure {
    let class = classify(code, Some(if by_sender { 400 } else { 500 }), detail);
    let code = if is_code(code) { code } else { "" };
    Failure { code: code.to_owned(), ..Failure::new(class, action, subject, steady(detail)) }
}

/// AWS's message, with the part of a policy that S3 names in an element of its own: `"AWS" : "AIDA…"`, for example.
fn with_culprit(message: String, code: &str, culprit: Option<String>) -> String {
    match culprit.filter(|culprit| code == "MalformedPolicy" && !culprit.is_empty()) {
        Some(culprit) if !message.contains(&culprit) => format!("{message} ({culprit})"),
        _ => message,
    }
}

/// Whether AWS answered with no more than a status, as a HEAD's errors do: another call has to be asked what it means.
pub fn is_bare(failure: &Failure) -> bool {
    failure.code.starts_with("HTTP ")
}

/// Whether AWS answered, by a code of its own, that something does not exist: the service works. A page of 404 that a
/// proxy on the way wrote has no such code.
pub fn names_an_absence<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    status == Some(404) && error.code().is_some_and(is_code)
}

/// The Region that S3 names in an answer: in a header, or where it redirects without that header, in the body
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/Redirects.html>).
pub fn bucket_region<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let response = error.raw_response()?;
    let in_header = response.headers().get(BUCKET_REGION).map(str::to_owned);
    let in_body = || element(response, "Region");
    let in_endpoint = || region_of_endpoint(&element(response, "Endpoint")?);
    let in_message = || region_of_constraint(&element(response, "Message")?);
    let is_known = |region: &String| is_region(region);
    in_header.filter(is_known).or_else(|| in_body().filter(is_known)).or_else(in_endpoint).or_else(in_message)
}

/// The Region in the one answer that names it in a sentence alone: `The me-south-1 location constraint is incompatible
/// for the region specific endpoint this request was sent to.` Buckets of us-east-1 have no constraint
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
fn region_of_constraint(message: &str) -> Option<String> {
    let (named, _) = message.strip_prefix("The ")?.split_once(" location constraint is incompatible")?;
    let region = if named == "unspecified" { "us-east-1" } else { named };
    is_region(region).then(|| region.to_owned())
}

/// The words of a failure where S3 has named another Region.
const ELSEWHERE: &str = "the bucket is in ";

/// The Region that S3 has named in the answer of a failed call.
pub fn region_named_by(failure: &Failure) -> Option<&str> {
    failure.detail.strip_prefix(ELSEWHERE).filter(|_| failure.class == FailureClass::WrongRegion)
}

/// Says that a Region may be the reason why AWS does not accept credentials: it accepts none where the account has not
/// enabled the Region (<https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-regions.html>). `home`: the
/// Region of the environment, in which AWS has accepted them.
pub fn name_region(failure: Failure, region: &str, home: &str) -> Failure {
    let may_be_disabled = matches!(
        failure.code.as_str(),
        "InvalidToken"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "UnrecognizedClientException"
            | "AuthFailure"
    );
    let is_refused = failure.class == FailureClass::Credentials;
    if !is_refused || !may_be_disabled || region.is_empty() || region == home {
        return failure;
    }
    let answer = failure.detail.trim_end_matches('.');
    let detail =
        format!("{answer}; this was in {region}: if the account has not enabled that Region, enable it");
    Failure { detail, ..failure }
}

/// The Region in the host name of a bucket, such as `b.s3.eu-west-1.amazonaws.com` or `b.s3-eu-west-1.amazonaws.com`.
/// The bucket's own name, which stands before, may read like one.
fn region_of_endpoint(endpoint: &str) -> Option<String> {
    let labels = endpoint.rsplit('.').take_while(|label| *label != "s3");
    let mut regions = labels.map(|label| label.strip_prefix("s3-").unwrap_or(label));
    regions.find(|label| is_region(label)).map(str::to_owned)
}

/// The text of the first element of this name in an answer, wherever it stands.
fn element(response: &HttpResponse, name: &str) -> Option<String> {
    let body = std::str::from_utf8(response.body().bytes()?).ok()?;
    let document = roxmltree::Document::parse(body.trim()).ok()?;
    let found = document.descendants().find(|node| node.tag_name().name() == name)?;
    found.text().map(|text| text.trim().to_owned())
}

/// Whether AWS throttles by this code.
pub fn is_throttling(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "SlowDown"
            // S3 Batch Operations, by its troubleshooting page
            // (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshooting-batch-operations.html>).
            | "SlowDownError"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "ProvisionedThroughputExceededException"
            | "BandwidthLimitExceeded"
            | "PriorRequestNotComplete"
    )
}

/// Whether a text has the form of AWS's error codes. A page that a proxy wrote may have any text
/// there.
pub fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
}

fn classify(code: &str, status: Option<u16>, detail: &str) -> FailureClass {
    match code {
        _ if is_throttling(code) => FailureClass::Throttled,
        _ if is_about_time(code, detail) => FailureClass::WrongClock,
        "OperationAborted"
        | "ConcurrentModification"
        | "ConcurrentModificationException"
        | "EntityAlreadyExists"
        | "EntityTemporarilyUnmodifiable" => FailureClass::Conflict,
        // IAM answers a full quota with 409; only a change of the account or of the spec frees it.
        "LimitExceeded" | "LimitExceededException" => FailureClass::Invalid,
        // S3 answers it with 409, and it is no conflict: "The request is not valid for the current state of the
        // bucket", such as a configuration for a bucket without versioning. Only a change of the bucket helps.
        "InvalidBucketState" => FailureClass::Invalid,
        "NoSuchBucket" => FailureClass::NoSuchBucket,
        "NoSuchEntity" => FailureClass::NoSuchRole,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => FailureClass::WrongRegion,
        "DeleteConflict" => FailureClass::DeleteConflict,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidToken"
        | "InvalidIdentityToken"
        | "IDPCommunicationError"
        | "AuthFailure"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "UnrecognizedClientException"
        | "TokenRefreshRequired"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => FailureClass::Credentials,
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "UnauthorizedOperation" => {
            FailureClass::Denied
        }
        _ if refuses_account(code) => FailureClass::Denied,
        // It is about the connection, not the request, although S3 sends 400.
        "RequestTimeout" => FailureClass::Unavailable,
        _ => match status {
            Some(301 | 307 | 308) => FailureClass::WrongRegion,
            Some(401 | 403) => FailureClass::Denied,
            Some(404) => FailureClass::NoSuchBucket,
            Some(409) => FailureClass::Conflict,
            Some(408) => FailureClass::Unavailable,
            Some(429) => FailureClass::Throttled,
            Some(400..=499) => FailureClass::Invalid,
            Some(_) => FailureClass::Unavailable,
            None if detail.contains("redentials") => FailureClass::Credentials,
            None => FailureClass::Unavailable,
        },
    }
}

/// Whether AWS refuses the time of a request. S3 and EC2 have codes of their own for that; IAM, STS, KMS, SQS and
/// others answer with the code of a wrong signature, and their words alone distinguish the two. Every SDK counts these
/// codes as those of a wrong clock
/// (<https://github.com/smithy-lang/smithy-typescript/blob/main/packages/service-error-classification/src/constants.ts>).
fn is_about_time(code: &str, detail: &str) -> bool {
    const WORDS: [&str; 2] = ["signature expired", "signature not yet current"];
    match code {
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => true,
        // Without a code, it is in the error of a source of credentials.
        "SignatureDoesNotMatch" | "InvalidSignatureException" | "AuthFailure" | "" => {
            let detail = detail.to_lowercase();
            WORDS.iter().any(|words| detail.contains(words))
        }
        _ => false,
    }
}

/// The action that AWS names as not authorized, and the resource if AWS names that too. The action can differ from the
/// one called: `PutBucketReplication` needs `iam:PassRole` on the role, and `PutObject` a right on a KMS key.
fn denied(detail: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = detail.split_once("not authorized to perform: ")?;
    let action = rest.split(|c: char| c.is_whitespace() || c == ',').next()?;
    let action = action.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '*');
    let resource =
        rest.split_once("on resource: ").and_then(|(_, resource)| match resource.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => {
                resource.split_whitespace().next().map(|word| word.trim_end_matches(['.', ',', ';', ')']))
            }
        });
    let resource = resource.filter(|resource| !resource.is_empty()).map(str::to_owned);
    action.contains(':').then(|| (action.to_owned(), resource))
}

/// AWS's message without what differs between two identical tries: times, what a connection measured, ids of requests and
/// hosts, and names of sessions, which change with the credentials.
fn steady(text: &str) -> String {
    let mut id_follows = false;
    let mut previous = String::new();
    let all: Vec<&str> = text.split_whitespace().collect();
    let words = all.iter().enumerate().map(|(at, &word)| {
        let core = word.trim_matches(|c: char| "()[]{}<>\"'.,;".contains(c));
        let (label, rest) = core.split_once([':', '=']).unwrap_or((core, ""));
        let label = label.to_ascii_lowercase();
        // The SDK writes `aws_request_id`, and S3's second id is `s3_extended_request_id`.
        let plain: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
        let names_id = plain.ends_with("requestid")
            || plain.ends_with("hostid")
            || (label == "id" && matches!(previous.as_str(), "request" | "host"));
        let varies = if id_follows || is_time(core) || is_measured(&all, at) {
            core
        } else if names_id {
            rest
        } else {
            seconds(core).or_else(|| session(core)).unwrap_or_default()
        };
        id_follows = names_id && rest.is_empty();
        previous = label;
        match word.rsplit_once(varies) {
            Some((before, after)) if !varies.is_empty() => format!("{before}…{after}"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a word is a number that a connection measured: how many seconds ago a certificate expired, or in how many it
/// becomes valid, and how many bytes came in a second.
fn is_measured(words: &[&str], at: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| words.get(at)).copied().unwrap_or_default();
    let is_age = word(at.checked_add(1)) == "seconds"
        && ["ago", "in"].contains(&word(at.checked_add(2)).trim_end_matches(')'));
    let is_throughput = (word(at.checked_sub(2)), word(at.checked_sub(1))) == ("throughput", "of");
    let number = word(Some(at)).trim_start_matches('(');
    (is_age || is_throughput) && number.starts_with(|c: char| c.is_ascii_digit())
}

/// `20261123T101112Z` and `2026-11-23T10:11:12Z`, as AWS writes times.
fn is_time(word: &str) -> bool {
    word.parse::<jiff::Timestamp>().is_ok()
}

/// Seconds since 1970, as STS writes times: `date/time 1764151200`, and without the space.
fn seconds(word: &str) -> Option<&str> {
    let number = word.strip_prefix("date/time").unwrap_or(word);
    (number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

/// The session's name in the ARN of an assumed role.
fn session(word: &str) -> Option<&str> {
    let (_, role) = word.split_once(":assumed-role/")?;
    role.split_once('/').map(|(_, session)| session)
}

/// The text of an error without an answer, with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        source = cause.source();
    }
    // One line: the SDK lists the sources of credentials that it tried one below the other.
    causes.join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::error::CredentialsError;
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::get_bucket_replication::GetBucketReplicationError;
    use aws_sdk_s3::primitives::SdkBody;
    use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

    use super::*;

    #[test]
    fn codes_are_classified_before_statuses() {
        assert_eq!(classify("Throttling", Some(400), ""), FailureClass::Throttled);
        assert_eq!(classify("SlowDown", Some(503), ""), FailureClass::Throttled);
        assert_eq!(classify("OperationAborted", Some(409), ""), FailureClass::Conflict);
        assert_eq!(classify("InvalidBucketState", Some(409), ""), FailureClass::Invalid);
        assert_eq!(classify("InvalidRequest", Some(400), ""), FailureClass::Invalid);
        assert_eq!(classify("LimitExceeded", Some(409), ""), FailureClass::Invalid);
        assert_eq!(classify("", Some(301), ""), FailureClass::WrongRegion);
        assert_eq!(classify("", Some(403), ""), FailureClass::Denied);
        assert_eq!(classify("ExpiredToken", Some(400), ""), FailureClass::Credentials);
        assert_eq!(classify("InternalError", Some(500), ""), FailureClass::Unavailable);
        assert_eq!(
            classify("", None, "no providers in chain provided credentials"),
            FailureClass::Credentials
        );
        assert_eq!(classify("", None, "connection refused"), FailureClass::Unavailable);
        assert_eq!(classify("", Some(408), ""), FailureClass::Unavailable);
        assert_eq!(classify("", Some(308), ""), FailureClass::WrongRegion);
        assert_eq!(classify("InvalidIdentityToken", Some(400), ""), FailureClass::Credentials);
        assert_eq!(classify("RequestThrottledException", Some(400), ""), FailureClass::Throttled);
        assert_eq!(classify("InvalidSecurity", Some(403), ""), FailureClass::Credentials);
        for refused in ["NotAuthorized", "SubscriptionRequiredException", "OptInRequired", "AccountProblem"] {
            assert_eq!(classify(refused, Some(400), ""), FailureClass::Denied, "{refused}");
        }
    }

    #[test]
    fn a_refusal_that_names_no_code_is_not_aws_s_and_is_tried_again() {
        let class = |status, code, action| failure(&answered(status, code), action, "b").class;
        for status in [400, 405, 413] {
            assert_eq!(class(status, "", "s3:GetReplicationConfiguration"), FailureClass::Unavailable);
        }
        assert_eq!(class(400, "InvalidArgument", "s3:GetReplicationConfiguration"), FailureClass::Invalid);
        assert_eq!(class(400, "", HEAD_BUCKET), FailureClass::Invalid, "a HEAD has no body");
    }

    fn answered(status: u16, code: &str) -> SdkError<GetBucketReplicationError, HttpResponse> {
        let metadata = ErrorMetadata::builder().code(code).build();
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        SdkError::service_error(GetBucketReplicationError::generic(metadata), response)
    }

    #[test]
    fn an_absence_that_aws_names_is_an_answer_and_no_outage() {
        for code in ["ReplicationConfigurationNotFoundError", "NoSuchBucketPolicy", "NoSuchBucket"] {
            assert!(names_an_absence(&answered(404, code)), "{code}");
        }
        assert!(!names_an_absence(&answered(404, "")), "a proxy on the way may have written it");
        assert!(!names_an_absence(&answered(404, "not found here")));
        assert!(!names_an_absence(&answered(503, "SlowDown")));
        assert!(!names_an_absence(&answered(500, "InternalError")));
    }

    #[test]
    fn text_that_a_proxy_wrote_in_place_of_a_code_is_not_taken_for_one() {
        let failed = |code: &str| failure(&answered(502, code), "s3:GetReplicationConfiguration", "b").code;
        assert_eq!(failed("look\n  here"), "HTTP 502");
        assert_eq!(failed(""), "HTTP 502");
        assert_eq!(failed("InternalError"), "InternalError");
    }

    #[test]
    fn times_and_request_ids_are_left_out() {
        for (message, steadied) in [
            (
                "Rate exceeded (Request ID: 6f9f1f2a-7f0d-4b71-9c3a-0a1b2c3d4e5f)",
                "Rate exceeded (Request ID: …)",
            ),
            (
                "Failed (RequestId: TX6N0QYS; HostId: Uuag1Lu/C1NPcfT+OFg==).",
                "Failed (RequestId: …; HostId: …).",
            ),
            ("requestId=TX6N0QYS failed", "requestId=… failed"),
            (
                "certificate expired: verification time 1764151200 (UNIX), but certificate is not valid after 1764147600 (3600 seconds ago)",
                "certificate expired: verification time … (UNIX), but certificate is not valid after … (… seconds ago)",
            ),
            (
                "certificate not valid yet: verification time 1764147600 (UNIX), but certificate is not valid before 1764151200 (3600 seconds in future)",
                "certificate not valid yet: verification time … (UNIX), but certificate is not valid before … (… seconds in future)",
            ),
            (
                "minimum throughput was specified at 1 B/s, but throughput of 0.35 B/s was observed",
                "minimum throughput was specified at 1 B/s, but throughput of … B/s was observed",
            ),
            ("a session of 900 seconds is too short", "a session of 900 seconds is too short"),
            (
                "Error { code: \"AccessDenied\", aws_request_id: \"6f9f1f2a\", s3_extended_request_id: \"Uuag1Lu/C1\" }",
                "Error { code: \"AccessDenied\", aws_request_id: \"…\", s3_extended_request_id: \"…\" }",
            ),
            (
                "expired: 20261123T101112Z is before (20261123T104612Z - 15 min.)",
                "expired: … is before (… - 15 min.)",
            ),
            ("expired at 2026-11-23T10:11:13.123Z", "expired at …"),
            (
                "Token expired: current date/time 1764151200 must be before the expiration date/time1764147600",
                "Token expired: current date/time … must be before the expiration date/time…",
            ),
            (
                "bucket logs-1764151200 of account 111122223333",
                "bucket logs-1764151200 of account 111122223333",
            ),
            (
                "arn:aws:sts::111122223333:assumed-role/op/web-1764 may not",
                "arn:aws:sts::111122223333:assumed-role/op/… may not",
            ),
            (
                "key arn:aws:kms:eu-west-1:111122223333:key/6f9f1f2a-7f0d-4b71-9c3a-0a1b2c3d4e5f",
                "key arn:aws:kms:eu-west-1:111122223333:key/6f9f1f2a-7f0d-4b71-9c3a-0a1b2c3d4e5f",
            ),
            ("id of rule 1: Found duplicate priority 3.", "id of rule 1: Found duplicate priority 3."),
        ] {
            assert_eq!(steady(message), steadied);
        }
    }

    fn with_body(status: u16, body: &'static str) -> SdkError<GetBucketReplicationError, HttpResponse> {
        let error = GetBucketReplicationError::generic(ErrorMetadata::builder().build());
        SdkError::service_error(error, HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
    }

    #[test]
    fn the_principal_that_s3_refuses_is_read_from_its_answer() {
        let body = "<Error><Code>MalformedPolicy</Code><Message>Invalid principal in policy</Message><Detail>\"AWS\" : \"AIDAZQ3EXAMPLE7USER21\"</Detail></Error>";
        let refused = failure(&with_body(400, body), "s3:PutBucketPolicy", "b");
        assert_eq!(refused.detail, "Invalid principal in policy (\"AWS\" : \"AIDAZQ3EXAMPLE7USER21\")");
        assert_eq!(refused.class, FailureClass::Invalid);
        let other = "<Error><Code>InvalidRequest</Code><Message>No.</Message><Detail>d</Detail></Error>";
        assert_eq!(failure(&with_body(400, other), "s3:PutBucketPolicy", "b").detail, "No.");
    }

    #[test]
    fn an_error_below_another_root_element_is_read_too() {
        let read = |status, body| failure(&with_body(status, body), "s3:GetReplicationConfiguration", "b");
        let expired = read(
            403,
            "<ErrorResponse xmlns=\"urn:x\"><Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>The token &amp; key expired</Message></Error></ErrorResponse>",
        );
        assert_eq!(expired.class, FailureClass::Credentials);
        assert_eq!(expired.answer(), "ExpiredToken: The token & key expired");
        let denied =
            read(403, "\n<Response><Errors><Error><Code>AccessDenied</Code></Error></Errors></Response>");
        assert_eq!((denied.class, denied.code.as_str()), (FailureClass::Denied, "AccessDenied"));
        let throttled = read(400, "<R><Code>Throttling</Code><Message/></R>");
        assert_eq!((throttled.class, throttled.detail.as_str()), (FailureClass::Throttled, ""));
        let page = read(403, "<html><Message>Blocked by the proxy</Message></html>");
        assert_eq!(page.answer(), "HTTP 403", "it is not AWS's");
        let success = read(200, "<Error><Code>NoSuchBucketPolicy</Code></Error>");
        assert_eq!((success.class, success.code.as_str()), (FailureClass::Unavailable, ""));
    }

    #[test]
    fn a_redirect_without_a_header_names_the_region_in_its_body() {
        let region = |body| bucket_region(&with_body(301, body));
        let wrong = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
        assert_eq!(region(wrong).as_deref(), Some("eu-west-1"));
        for (body, named) in [
            ("<Error><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint></Error>", Some("eu-west-1")),
            ("<Error><Endpoint>b.s3-ap-south-1.amazonaws.com</Endpoint></Error>", Some("ap-south-1")),
            ("<Error><Endpoint>b.s3.cn-north-1.amazonaws.com.cn</Endpoint></Error>", Some("cn-north-1")),
            ("<Error><Endpoint>logs.eu-west-1.s3.amazonaws.com</Endpoint></Error>", None),
            ("<Error><Region></Region></Error>", None),
            (
                "<Error><Message>The me-south-1 location constraint is incompatible for the region specific endpoint this request was sent to.</Message></Error>",
                Some("me-south-1"),
            ),
            (
                "<Error><Message>The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.</Message></Error>",
                Some("us-east-1"),
            ),
            ("<Error><Message>The eu-west-1 bucket is busy.</Message></Error>", None),
            ("<Error><Region>over there</Region></Error>", None),
            ("", None),
        ] {
            assert_eq!(region(body).as_deref(), named, "{body}");
        }
        let mut response = HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
        response.headers_mut().insert(BUCKET_REGION, "");
        let error = GetBucketReplicationError::generic(ErrorMetadata::builder().build());
        assert_eq!(bucket_region(&SdkError::service_error(error, response)), None, "an empty header");
    }

    #[test]
    fn credentials_that_are_refused_in_another_region_name_it() {
        let refused = |code: &str, region: &str| {
            let failure = Failure::new(FailureClass::Credentials, "s3:GetBucketVersioning", "b", "Refused.");
            name_region(Failure { code: code.into(), ..failure }, region, "us-east-1").message()
        };
        for code in ["InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"] {
            assert!(refused(code, "me-south-1").contains("in me-south-1: if the account has not enabled"));
            for (code, region) in [(code, "us-east-1"), (code, ""), ("ExpiredToken", "me-south-1")] {
                assert!(!refused(code, region).contains("enabled"), "{code} {region}");
            }
        }
    }

    /// The SDK puts the id of the request into the text of an error that the service has no type for.
    #[test]
    fn a_source_of_credentials_that_sts_denies_is_reported_alike_at_each_try_and_named() {
        let failed = |id: &str| {
            let denied = ErrorMetadata::builder()
                .code("AccessDenied")
                .message("Not authorized to perform sts:AssumeRoleWithWebIdentity")
                .custom("aws_request_id", id)
                .build();
            let denied = AssumeRoleWithWebIdentityError::generic(denied);
            let answer = HttpResponse::new(403.try_into().unwrap(), SdkBody::empty());
            let source = CredentialsError::provider_error(SdkError::service_error(denied, answer));
            let error: SdkError<GetBucketReplicationError, HttpResponse> =
                SdkError::construction_failure(source);
            failure(&error, "sts:GetCallerIdentity", "the operator")
        };
        let first = failed("6f9f1f2a-7f0d-4b71-9c3a-0a1b2c3d4e5f");
        assert_eq!(first, failed("0a1b2c3d-7f0d-4b71-9c3a-6f9f1f2a4e5f"));
        assert_eq!(first.class, FailureClass::Credentials);
        let message = first.message();
        assert!(message.contains("AWS_ROLE_ARN") && message.contains("trust policy"), "{message}");
        assert!(!message.contains("give its pod an identity"), "it has one: {message}");
    }

    #[test]
    fn the_action_named_by_aws_wins() {
        let action = |detail: &str| denied(detail).map(|(action, _)| action);
        let detail = "User: arn:aws:iam::111122223333:user/op is not authorized to perform: iam:PassRole on resource: r";
        assert_eq!(action(detail).as_deref(), Some("iam:PassRole"));
        for quoted in ["\"iam:PassRole\" on", "iam:PassRole.", "iam:PassRole"] {
            let detail = format!("is not authorized to perform: {quoted}");
            assert_eq!(action(&detail).as_deref(), Some("iam:PassRole"), "{detail}");
        }
        assert_eq!(action("Access Denied"), None);
        let ended = "User: x is not authorized to perform: sts:AssumeRole.";
        assert_eq!(action(ended).as_deref(), Some("sts:AssumeRole"));
    }

    fn classified(status: u16, code: &str, message: &str, action: &'static str) -> Failure {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        failure(&SdkError::service_error(GetBucketReplicationError::generic(metadata), response), action, "b")
    }

    #[test]
    fn the_remedy_of_a_denial_is_about_the_resource_that_aws_names_with_another_action() {
        let user = "User: arn:aws:sts::111122223333:assumed-role/op/s is not authorized to perform:";
        let (role, key) = ("arn:aws:iam::111122223333:role/r", "arn:aws:kms:eu-west-1:111122223333:key/1-2");
        for (action, named, on, subject) in [
            (
                "s3:PutReplicationConfiguration",
                "iam:PassRole",
                format!(" on resource: {role} because no"),
                role,
            ),
            ("s3:PutReplicationConfiguration", "iam:PassRole", format!(" on resource: {role}"), role),
            ("s3:CreateJob", "iam:PassRole", format!(" on resource: {role}."), role),
            ("s3:PutObject", "kms:GenerateDataKey", format!(" on resource: {key} because no"), key),
            ("s3:PutObject", "kms:GenerateDataKey", format!(" on resource: \"{key}\" because no"), key),
            ("iam:GetRole", "iam:ListRoles", " on resource: * because no".to_owned(), "*"),
            (
                "s3:PutObject",
                "kms:Decrypt",
                " on the resource associated with this ciphertext because the".to_owned(),
                "a resource that s3:PutObject on b needs",
            ),
            // The operator knows best what it called for.
            ("iam:GetRole", "iam:GetRole", format!(" on resource: {role} because no"), "b"),
        ] {
            let denied = classified(403, "AccessDenied", &format!("{user} {named}{on}"), action);
            assert_eq!((denied.action.as_ref(), denied.subject.as_str()), (named, subject), "{named}{on}");
            let remedy = format!("; allow {named} on {subject} to the operator's identity");
            assert!(denied.message().contains(&remedy), "{}", denied.message());
        }
    }

    #[test]
    fn a_wrong_clock_is_neither_a_matter_of_credentials_nor_of_the_request() {
        let expired = "Signature expired: 20261123T101112Z is now earlier than 20261123T101612Z (20261123T102112Z - 5 min.)";
        let early = "Signature not yet current: 20261123T103112Z is still later than 20261123T102112Z (20261123T101612Z + 5 min.)";
        let mismatch = "The request signature we calculated does not match the signature you provided.";
        let (wrong, refused) = (FailureClass::WrongClock, FailureClass::Credentials);
        for (status, code, message, class) in [
            (
                403,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                wrong,
            ),
            (403, "RequestTimeTooSkewed", "", wrong),
            (400, "RequestExpired", "Request has expired.", wrong),
            (400, "RequestInTheFuture", "", wrong),
            (403, "SignatureDoesNotMatch", expired, wrong),
            (403, "SignatureDoesNotMatch", early, wrong),
            (400, "InvalidSignatureException", expired, wrong),
            (400, "InvalidSignatureException", early, wrong),
            (401, "AuthFailure", early, wrong),
            (403, "SignatureDoesNotMatch", mismatch, refused),
            (400, "InvalidSignatureException", mismatch, refused),
            (401, "AuthFailure", "AWS was not able to validate the provided access credentials", refused),
            (400, "ExpiredToken", expired, refused),
        ] {
            let failed = classified(status, code, message, "iam:GetRole");
            assert_eq!(failed.class, class, "{code}: {message}");
            let text = name_region(failed, "me-south-1", "us-east-1").message();
            assert_eq!(text.contains("clock"), class == wrong, "{text}");
            assert_eq!(text.contains("no valid AWS credentials"), class == refused, "{text}");
            assert!(class != wrong || !text.contains("has not enabled that Region"), "{text}");
        }
        assert_eq!(classify("", None, "no credentials: SignatureDoesNotMatch: Signature expired: …"), wrong);
    }
}
