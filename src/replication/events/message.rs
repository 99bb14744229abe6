//! Reads the body of a queue message.
//!
//! In: bytes from any writer to the queue. Out: [`Message`], such as a change with the bucket, role or key that it
//! names; never an error, and never more work than the size of the body. Accepted are a CloudTrail record in
//! EventBridge's envelope, the record alone, either of them wrapped by SNS, and S3's own notifications.
//!
//! Fields are those of
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>.
//! Everything else in a record is ignored, and a field of another type counts as absent: `requestParameters` may be
//! null, and a value of it may be a list.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::AwsResource;
use crate::replication::events::names::{EventName, Service};
use crate::replication::events::origin::Origin;
use crate::replication::setting_hash::{SettingHash, setting};

/// The largest body that is read. EventBridge's events are a few kilobytes.
pub const MAX_BODY: usize = 256 * 1024;

/// Longer than any name of a bucket, a role or a key.
const MAX_NAME: usize = 256;

/// The resource that a change was made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangedResource {
    Bucket(String),
    /// A role by its name, without its path.
    Role(String),
    /// A key by its id.
    Key(String),
}

impl ChangedResource {
    /// The name of the bucket or the role, or the id of the key.
    pub fn name(&self) -> &str {
        match self {
            ChangedResource::Bucket(name) | ChangedResource::Role(name) | ChangedResource::Key(name) => name,
        }
    }
}

/// A change that someone made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent {
    pub origin: Origin,
    pub name: EventName,
    pub subject: ChangedResource,
    /// The access key that signed the request.
    pub access_key: Option<String>,
    /// When AWS completed the request, in whole seconds.
    pub time: Option<Timestamp>,
    /// Equal in all copies of one event.
    pub id: Option<String>,
}

impl ChangeEvent {
    /// The settings in which the change may be. The operator writes to no key and no Object Lock configuration.
    pub fn settings(&self) -> impl Iterator<Item = SettingHash> {
        let resources: &[AwsResource] = match self.name {
            EventName::PutBucketVersioning => &[AwsResource::BucketVersioning],
            EventName::PutBucketReplication | EventName::DeleteBucketReplication => {
                &[AwsResource::ReplicationConfiguration]
            }
            EventName::PutBucketPolicy | EventName::DeleteBucketPolicy => {
                &[AwsResource::DestinationBucketPolicy]
            }
            EventName::DeleteBucket => &[
                AwsResource::BucketVersioning,
                AwsResource::ReplicationConfiguration,
                AwsResource::DestinationBucketPolicy,
            ],
            EventName::CreateRole | EventName::DeleteRole => &[AwsResource::Role, AwsResource::RolePolicy],
            EventName::UpdateAssumeRolePolicy
            | EventName::TagRole
            | EventName::UntagRole
            | EventName::PutRolePermissionsBoundary
            | EventName::DeleteRolePermissionsBoundary => &[AwsResource::Role],
            EventName::PutRolePolicy | EventName::DeleteRolePolicy => &[AwsResource::RolePolicy],
            // In us-east-1 the owner of a bucket may create it again, and nothing changes.
            EventName::CreateBucket
            | EventName::PutObjectLockConfiguration
            | EventName::PutBucketObjectLockConfiguration
            | EventName::DisableKey
            | EventName::EnableKey
            | EventName::ScheduleKeyDeletion
            | EventName::CancelKeyDeletion
            | EventName::PutKeyPolicy
            | EventName::DeleteImportedKeyMaterial => &[],
        };
        resources.iter().map(|resource| setting(*resource, self.subject.name()))
    }
}

/// The content of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Change(ChangeEvent),
    /// A request that AWS refused: nothing changed.
    Failed(Origin),
    /// A change that a check may see, which names no bucket, role or key.
    Unattributed(Origin),
    /// Readable, and nothing that a check may see. A record still proves that its origin sends events.
    Unknown(Option<Origin>),
    /// S3's own notification: of objects that failed to replicate, for example.
    Notification,
    /// No JSON, or too large.
    Unreadable,
}

/// Reads a body.
pub fn parse(body: &str) -> Message {
    match read(body) {
        None => Message::Unreadable,
        Some(value) => classify(&value),
    }
}

fn read(body: &str) -> Option<Value> {
    if body.len() > MAX_BODY {
        return None;
    }
    let value: Value = serde_json::from_str(body).ok()?;
    match (text(&value, "Type"), text(&value, "Message")) {
        // SNS wraps a message unless its subscription asks for raw delivery.
        (Some("Notification"), Some(message)) => serde_json::from_str(message).ok(),
        _ => value.is_object().then_some(value),
    }
}

fn classify(value: &Value) -> Message {
    if value.get("Records").is_some_and(is_s3_notification) {
        return Message::Notification;
    }
    let (envelope, record) = match value.get("detail") {
        Some(detail) => (Some(value), detail),
        None => (None, value),
    };
    let Some(from) = origin(envelope, record) else { return Message::Unknown(None) };
    let name = text(record, "eventName").and_then(|name| name.parse::<EventName>().ok());
    let Some(name) = name.filter(|name| name.service() == from.service) else {
        return Message::Unknown(Some(from));
    };
    if record.get("errorCode").is_some_and(|code| !code.is_null()) {
        return Message::Failed(from);
    }
    let Some(about) = subject(record, from.service) else { return Message::Unattributed(from) };
    let identity = record.get("userIdentity");
    Message::Change(ChangeEvent {
        name,
        subject: about,
        access_key: identity.and_then(|who| name_in(who, "accessKeyId")),
        time: text(record, "eventTime").and_then(|time| time.parse().ok()),
        id: name_in(record, "eventID"),
        origin: from,
    })
}

/// S3's own notifications have a list of records of `aws:s3`
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>).
fn is_s3_notification(records: &Value) -> bool {
    let records = records.as_array().map(Vec::as_slice).unwrap_or_default();
    records.first().is_some_and(|record| text(record, "eventSource") == Some("aws:s3"))
}

fn origin(envelope: Option<&Value>, record: &Value) -> Option<Origin> {
    let service = Service::of_event_source(text(record, "eventSource")?)?;
    let outside = |key| envelope.and_then(|envelope| text(envelope, key));
    // Each account has its own record of a call across accounts. The event is routed by the receiver's.
    let account = outside("account").or_else(|| text(record, "recipientAccountId"))?;
    let region = outside("region").or_else(|| text(record, "awsRegion")).unwrap_or_default();
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    let is_region = region.len() <= 32 && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_account && is_region).then(|| Origin::new(account, service, region))
}

fn subject(record: &Value, service: Service) -> Option<ChangedResource> {
    let parameter = |key| record.get("requestParameters").and_then(|parameters| name_in(parameters, key));
    match service {
        Service::S3 => {
            let arn = || arns(record).find_map(|arn| after(arn, ":s3:::")).filter(|name| !name.contains('/'));
            parameter("bucketName").or_else(|| arn().and_then(named)).map(ChangedResource::Bucket)
        }
        Service::Iam => {
            let arn = || {
                let path = arns(record).find_map(|arn| after(arn, ":role/"))?;
                path.rsplit('/').next().and_then(named)
            };
            parameter("roleName").or_else(arn).map(ChangedResource::Role)
        }
        Service::Kms => {
            let arn = || arns(record).find_map(|arn| after(arn, ":key/")).and_then(named);
            // The request may name the key by its id, by its ARN, or by an alias.
            let given = parameter("keyId").and_then(|key| match key.rsplit_once(":key/") {
                Some((_, id)) => named(id),
                None => (!key.contains('/')).then_some(key),
            });
            arn().or(given).map(ChangedResource::Key)
        }
    }
}

/// The ARNs that a record names besides the request.
fn arns(record: &Value) -> impl Iterator<Item = &str> {
    let resources = record.get("resources").and_then(Value::as_array);
    resources.into_iter().flatten().filter_map(|resource| text(resource, "ARN"))
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn name_in(value: &Value, key: &str) -> Option<String> {
    text(value, key).and_then(named)
}

fn named(name: &str) -> Option<String> {
    (1..=MAX_NAME).contains(&name.len()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strum::VariantArray;

    use super::*;

    const ACCOUNT: &str = "111122223333";

    fn record_of(name: &str, service: &str, parameters: Value) -> Value {
        json!({
            "eventVersion": "1.11", "eventTime": "2026-11-25T20:14:49Z", "eventName": name, "awsRegion": "eu-west-1",
            "eventSource": format!("{service}.amazonaws.com"), "eventID": "e-1", "recipientAccountId": ACCOUNT,
            "userIdentity": {"type": "AssumedRole", "accessKeyId": "ASIAEXAMPLE"},
            "requestParameters": parameters,
        })
    }

    fn envelope(record: &Value) -> Value {
        json!({
            "version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.s3", "account": ACCOUNT,
            "region": "eu-west-1", "resources": [], "detail": record,
        })
    }

    fn change(body: &Value) -> Option<ChangeEvent> {
        match parse(&body.to_string()) {
            Message::Change(event) => Some(event),
            _ => None,
        }
    }

    fn parameters_of(service: Service) -> (Value, ChangedResource) {
        match service {
            Service::S3 => (
                json!({"bucketName": "orders", "versioning": [""]}),
                ChangedResource::Bucket("orders".into()),
            ),
            Service::Iam => (json!({"roleName": "Orders-Role"}), ChangedResource::Role("Orders-Role".into())),
            Service::Kms => (json!({"keyId": "1234-abcd"}), ChangedResource::Key("1234-abcd".into())),
        }
    }

    #[test]
    fn every_event_name_is_read_with_its_subject_in_each_form_of_body() {
        for name in EventName::VARIANTS {
            let (parameters, subject) = parameters_of(name.service());
            let record = record_of(name.as_str(), name.service().as_str(), parameters);
            let enveloped = envelope(&record);
            let sns = json!({"Type": "Notification", "MessageId": "m", "Message": enveloped.to_string()});
            for body in [&record, &enveloped, &sns] {
                let event = change(body).unwrap_or_else(|| panic!("{name} is not read from {body}"));
                assert_eq!((event.name, &event.subject), (*name, &subject));
                assert_eq!(event.origin, Origin::new(ACCOUNT, name.service(), "eu-west-1"));
                assert_eq!(event.access_key.as_deref(), Some("ASIAEXAMPLE"));
                assert_eq!(event.time, "2026-11-25T20:14:49Z".parse().ok());
            }
        }
    }

    #[test]
    fn a_subject_is_read_from_the_arns_where_the_parameters_are_cut() {
        for parameters in [Value::Null, json!({}), json!("omitted"), json!({"bucketName": ["orders"]})] {
            for (name, service, arn, subject) in [
                (
                    "PutBucketReplication",
                    "s3",
                    "arn:aws:s3:::orders",
                    ChangedResource::Bucket("orders".into()),
                ),
                ("PutRolePolicy", "iam", "arn:aws-cn:iam::1:role/a/b/r", ChangedResource::Role("r".into())),
                ("DisableKey", "kms", "arn:aws:kms:eu-west-1:1:key/k-1", ChangedResource::Key("k-1".into())),
            ] {
                let mut record = record_of(name, service, parameters.clone());
                assert_eq!(
                    parse(&record.to_string()),
                    Message::Unattributed(Origin::new(
                        ACCOUNT,
                        Service::of_event_source(service).unwrap(),
                        "eu-west-1"
                    ))
                );
                record["resources"] = json!([{"type": "x"}, {"ARN": arn}]);
                assert_eq!(change(&record).unwrap().subject, subject);
            }
        }
    }

    #[test]
    fn a_key_is_known_by_its_id_however_the_request_names_it() {
        let key = |id: &str, arn: Option<&str>| {
            let mut record = record_of("DisableKey", "kms", json!({"keyId": id}));
            record["resources"] = json!(arn.map(|arn| vec![json!({"ARN": arn})]));
            change(&record).map(|event| event.subject.name().to_owned())
        };
        assert_eq!(key("arn:aws:kms:eu-west-1:1:key/k-1", None).as_deref(), Some("k-1"));
        assert_eq!(key("alias/mine", Some("arn:aws:kms:eu-west-1:1:key/k-1")).as_deref(), Some("k-1"));
        assert_eq!(key("alias/mine", None), None);
    }

    #[test]
    fn a_failed_call_changed_nothing() {
        let mut record = record_of("PutBucketPolicy", "s3", json!({"bucketName": "orders"}));
        record["errorCode"] = json!("AccessDenied");
        let origin = Origin::new(ACCOUNT, Service::S3, "eu-west-1");
        assert_eq!(parse(&envelope(&record).to_string()), Message::Failed(origin));
        record["errorCode"] = Value::Null;
        assert!(change(&record).is_some());
    }

    #[test]
    fn a_read_or_another_service_concerns_nothing_and_still_proves_its_origin() {
        let origin = Origin::new(ACCOUNT, Service::S3, "eu-west-1");
        let read = record_of("GetBucketVersioning", "s3", json!({"bucketName": "orders"}));
        assert_eq!(parse(&read.to_string()), Message::Unknown(Some(origin)));
        let mixed = record_of("PutRolePolicy", "s3", json!({"bucketName": "orders"}));
        assert!(matches!(parse(&mixed.to_string()), Message::Unknown(Some(_))));
        let other = record_of("RunInstances", "ec2", json!({}));
        assert_eq!(parse(&other.to_string()), Message::Unknown(None));
    }

    #[test]
    fn an_event_of_iam_belongs_to_the_account_and_to_no_region() {
        let event = change(&record_of("TagRole", "iam", json!({"roleName": "r"}))).unwrap();
        assert_eq!(event.origin.region, "");
    }

    #[test]
    fn notifications_of_s3_are_recognized_and_its_test_event_is_nothing() {
        let body = json!({"Records": [{"eventSource": "aws:s3", "eventName": "Replication:OperationFailedReplication"}]});
        assert_eq!(parse(&body.to_string()), Message::Notification);
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "orders"});
        assert_eq!(parse(&test.to_string()), Message::Unknown(None));
    }

    #[test]
    fn a_body_that_cannot_be_read_is_unreadable() {
        let long = format!("\"{}\"", "x".repeat(MAX_BODY));
        let deep = "[".repeat(100_000);
        let cut = json!({"Type": "Notification", "Message": "{"}).to_string();
        for body in ["", "{", "null", "[]", "7", &long, &deep, &cut] {
            assert_eq!(parse(body), Message::Unreadable);
        }
        for (account, region) in
            [("12", "eu-west-1"), ("1111222233334", "eu-west-1"), (ACCOUNT, "eu west 1\n")]
        {
            let mut body = envelope(&record_of("TagRole", "iam", json!({"roleName": "r"})));
            (body["account"], body["region"]) = (json!(account), json!(region));
            assert_eq!(parse(&body.to_string()), Message::Unknown(None));
        }
    }
}
