//! Errors of AWS: any response is classified, and the message stays the same from one try to the next.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_bucket_replication::GetBucketReplicationError;
use aws_sdk_s3::primitives::SdkBody;
use proptest::prelude::*;
use proptest::sample::select;
use s3_replication_operator::aws::error::failure;
use s3_replication_operator::replication::{Failure, FailureClass};

use crate::choice::choose;
use crate::connection::Response;
use crate::engine::{check, near_corpus};
use crate::s3::S3;

const ACTION: &str = "s3:GetReplicationConfiguration";

const TOKENS: &[&str] = &[
    "<",
    ">",
    "</",
    "&",
    "<Error>",
    "</Error>",
    "<Code>",
    "</Code>",
    "<Message>",
    "</Message>",
    "SlowDown",
    "NoSuchBucket",
    "not authorized to perform: ",
    "iam:PassRole ",
    "RequestId: ",
    "RequestId=",
    "Request ID: ",
    "HostId:",
    "2026-11-23T10:11:12Z",
    ":assumed-role/op/",
    "…",
    "(",
    ").",
    "\u{a0}",
    " ",
];

/// Codes that AWS documents for the calls of the operator, and the class that decides what to do next. A code that is
/// not listed is judged by the status alone.
const CODES: &[(&str, FailureClass)] = &[
    ("SlowDown", FailureClass::Throttled),
    ("Throttling", FailureClass::Throttled),
    ("OperationAborted", FailureClass::Conflict),
    ("ConcurrentModification", FailureClass::Conflict),
    ("NoSuchBucket", FailureClass::NoSuchBucket),
    ("NoSuchEntity", FailureClass::NoSuchRole),
    ("PermanentRedirect", FailureClass::WrongRegion),
    ("DeleteConflict", FailureClass::DeleteConflict),
    ("ExpiredToken", FailureClass::Credentials),
    ("AccessDenied", FailureClass::Denied),
    ("InvalidBucketState", FailureClass::Invalid),
    ("RequestTimeTooSkewed", FailureClass::WrongClock),
];

/// A failure with a code and a message of AWS.
fn failed(code: &str, status: u16, message: &str) -> Failure {
    let metadata = ErrorMetadata::builder().code(code).message(message).build();
    let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
    let error = SdkError::service_error(GetBucketReplicationError::generic(metadata), response);
    failure(&error, ACTION, "source")
}

fn detail(message: &str) -> String {
    failed("InvalidRequest", 400, message).detail
}

/// Words of messages, with the punctuation and the labels that AWS puts around what varies.
fn word() -> impl Strategy<Value = String> {
    choose![
        4 => "[A-Za-z0-9:=/.,;()'\"-]{1,8}",
        1 => "\\PC{1,5}",
        1 => select(vec!["request", "Request", "ID:", "id", "host", "RequestId", "requestId:", "HostId=", "(Request", "…", "key/", ":assumed-role/"])
            .prop_map(str::to_owned),
    ]
}

fn words() -> impl Strategy<Value = String> {
    prop::collection::vec(word(), 0..6).prop_map(|words| words.join(" "))
}

/// A text that differs between two tries, twice: in the form in which AWS writes it.
fn varying() -> impl Strategy<Value = (String, String)> {
    let id = || "[A-Z0-9]{8}|[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}|[A-Za-z0-9+/]{12}==";
    let time = || {
        (0i64..4_000_000_000, any::<bool>()).prop_map(|(second, basic)| {
            let time = jiff::Timestamp::from_second(second).unwrap();
            if basic { time.strftime("%Y%m%dT%H%M%SZ").to_string() } else { time.to_string() }
        })
    };
    let labels = select(vec![
        "RequestId: ",
        "RequestId=",
        "requestId: ",
        "Request ID: ",
        "request id: ",
        "HostId: ",
        "Host ID: ",
        "request-id: ",
        "(RequestId: ",
        "(Request ID: ",
    ]);
    let ends = || select(vec!["", ".", ")", ").", ";", ","]);
    choose![
        (labels, id(), id(), ends()).prop_map(|(label, one, other, end)| {
            (format!("{label}{one}{end}"), format!("{label}{other}{end}"))
        }),
        (time(), time(), ends())
            .prop_map(|(one, other, end)| (format!("({one}{end}"), format!("({other}{end}"))),
        ("[A-Za-z0-9=,.@-]{2,12}[A-Za-z0-9]", "[A-Za-z0-9=,.@-]{2,12}[A-Za-z0-9]").prop_map(
            |(one, other)| {
                let session = |name: &str| format!("arn:aws:sts::111122223333:assumed-role/op/{name}");
                (session(&one), session(&other))
            }
        ),
    ]
}

#[test]
fn any_response_is_classified_by_its_code_first() {
    let s3 = S3::new();
    let status = choose![select(vec![301u16, 307, 400, 403, 404, 409, 429, 500, 503]), 300u16..600];
    check(1000, (near_corpus("error-bodies", TOKENS), status), |(body, status)| {
        let Err(error) = s3.read(Response { status, body }) else {
            return Err(TestCaseError::fail("a status of 300 or more is an error"));
        };
        let classified = failure(&error, ACTION, "source");
        prop_assert!(!classified.code.is_empty());
        prop_assert!(!classified.action.is_empty() && classified.action.contains(':'));
        // Only a code says that the bucket is gone: a proxy on the way answers 404 too.
        prop_assert!(classified.class != FailureClass::NoSuchBucket || classified.code == "NoSuchBucket");
        if let Some((_, class)) = CODES.iter().find(|(code, _)| *code == classified.code) {
            prop_assert_eq!(classified.class, *class);
        }
        prop_assert!(!classified.message().contains('\n'));
        Ok(())
    });
}

#[test]
fn a_documented_code_decides_whatever_the_status_and_the_message() {
    check(1000, (select(CODES), 300u16..600, words()), |((code, class), status, message)| {
        prop_assert_eq!(failed(code, status, &message).class, class);
        Ok(())
    });
}

#[test]
fn a_message_that_was_made_steady_stays_as_it_is() {
    let near =
        near_corpus("error-bodies", TOKENS).prop_map(|body| String::from_utf8_lossy(&body).into_owned());
    check(3000, choose![words(), near], |message| {
        let once = detail(&message);
        prop_assert_eq!(detail(&once), once.clone(), "of {}", message);
        Ok(())
    });
}

#[test]
fn request_ids_times_and_sessions_make_no_difference() {
    check(3000, ("[a-z ]{0,12}", varying(), "[a-z ]{0,12}"), |(before, (one, other), after)| {
        let (one, other) = (format!("{before} {one} {after}"), format!("{before} {other} {after}"));
        prop_assert_eq!(detail(&one), detail(&other), "of {} and {}", one, other);
        Ok(())
    });
}

#[test]
fn the_action_that_aws_names_is_the_action_of_the_failure() {
    check(1000, (words(), "[a-z0-9]{1,8}:[A-Z][A-Za-z]{1,12}", words()), |(before, action, after)| {
        prop_assume!(!before.contains("not authorized"));
        let message = format!("{before} is not authorized to perform: {action} on resource {after}");
        let failure = failed("AccessDenied", 403, &message);
        prop_assert_eq!(failure.action.as_ref(), action.as_str());
        Ok(())
    });
}
