//! Messages of the event queue: anyone who may send to it writes them.

use proptest::prelude::*;
use proptest::sample::select;
use s3_replication_operator::replication::events::{
    ChangedResource, EventName, Lookup, MAX_BODY, Message, OwnWrites, Service, parse,
};
use serde_json::{Value, json};
use strum::VariantArray;

use crate::engine::{check, check_documents, corpus, odd_value, with_replaced};

const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    ",",
    ":",
    "null",
    "\"\"",
    "\\u0000",
    "-1e999",
    "\"detail\":",
    "\"eventName\":\"PutBucketPolicy\",",
    "\"eventSource\":\"iam.amazonaws.com\",",
    "\"requestParameters\":null,",
    "\"resources\":[{\"ARN\":\"arn:aws:s3:::\"}],",
    "\"errorCode\":\"AccessDenied\",",
    "\"Type\":\"Notification\",\"Message\":",
    "\"Records\":[",
];

fn record_of(name: EventName) -> Value {
    let parameters = match name.service() {
        Service::S3 => json!({"bucketName": "orders"}),
        Service::Iam => json!({"roleName": "orders-role"}),
        Service::Kms => json!({"keyId": "1234abcd-12ab-34cd-56ef-1234567890ab"}),
    };
    json!({
        "eventVersion": "1.11", "eventTime": "2026-11-25T20:14:49Z", "eventName": name.as_str(),
        "eventSource": format!("{}.amazonaws.com", name.service().as_str()), "awsRegion": "eu-west-1",
        "eventID": "6f9f1f2a-7f0d-4b71-9c3a-0a1b2c3d4e5f", "recipientAccountId": "111122223333",
        "userIdentity": {"accessKeyId": "ASIAEXAMPLE"}, "requestParameters": parameters,
        "resources": [{"ARN": "arn:aws:s3:::orders"}],
    })
}

fn envelope(record: &Value) -> Value {
    json!({"account": "111122223333", "region": "eu-west-1", "detail": record})
}

fn sns(body: &Value) -> Value {
    json!({"Type": "Notification", "Message": body.to_string()})
}

fn names() -> impl Strategy<Value = EventName> {
    select(EventName::VARIANTS)
}

/// From every body the operator reads a small event, which it can look up and compare.
fn is_sound(body: &str) -> Result<(), TestCaseError> {
    let Message::Change(event) = parse(body) else { return Ok(()) };
    prop_assert!(body.len() <= MAX_BODY);
    prop_assert_eq!(event.name.service(), event.origin.service);
    prop_assert!(event.origin.account.len() == 12 && event.origin.region.len() <= 32);
    prop_assert!((1..=256).contains(&event.subject.name().len()));
    let fits = match event.origin.service {
        Service::S3 => matches!(event.subject, ChangedResource::Bucket(_)),
        Service::Iam => matches!(event.subject, ChangedResource::Role(_)) && event.origin.region.is_empty(),
        Service::Kms => matches!(event.subject, ChangedResource::Key(_)),
    };
    prop_assert!(fits);
    prop_assert_eq!(Lookup::of_event(&event), Lookup::of_event(&event.clone()));
    prop_assert!(!OwnWrites::default().is_echo(&event), "an operator that wrote nothing has no echo");
    Ok(())
}

#[test]
fn any_body_is_read_or_is_unreadable() {
    check_documents(6000, "event-bodies", TOKENS, |body| is_sound(&String::from_utf8_lossy(&body)));
}

#[test]
fn the_seeds_are_events_that_are_read() {
    let read = |body: &Vec<u8>| parse(&String::from_utf8_lossy(body));
    let seeds = corpus("event-bodies");
    assert!(seeds.iter().any(|body| matches!(read(body), Message::Change(_))));
    assert!(seeds.iter().any(|body| matches!(read(body), Message::Notification)));
    assert!(!seeds.iter().any(|body| matches!(read(body), Message::Unreadable)));
}

#[test]
fn an_odd_value_anywhere_in_an_event_breaks_nothing() {
    let wrap = select(vec![0, 1, 2]);
    check(4000, (names(), wrap, any::<prop::sample::Index>(), odd_value()), |(name, wrap, at, odd)| {
        let record = record_of(name);
        let body = match wrap {
            0 => record,
            1 => envelope(&record),
            _ => sns(&envelope(&record)),
        };
        is_sound(&with_replaced(&body, at, &odd).to_string())
    });
}

#[test]
fn the_same_record_is_read_alike_in_each_form() {
    check(500, names(), |name| {
        let record = record_of(name);
        let plain = parse(&record.to_string());
        prop_assert!(matches!(plain, Message::Change(_)));
        prop_assert_eq!(&plain, &parse(&envelope(&record).to_string()));
        prop_assert_eq!(&plain, &parse(&sns(&envelope(&record)).to_string()));
        prop_assert_eq!(&plain, &parse(&sns(&record).to_string()));
        Ok(())
    });
}
