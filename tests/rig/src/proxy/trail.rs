//! CloudTrail and EventBridge, which the emulator lacks: sends an event to a queue for each change in AWS.
//!
//! In: requests that were answered. Out: messages as EventBridge delivers CloudTrail's records to SQS, with the delay,
//! the losses, the duplicates and the order that tests ask for. The fields are those of
//! <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>. A
//! change that goes past the proxy has no event: that is an event that was lost.

use std::time::Duration;

use serde_json::{Value, json};

use super::calls::Call;
use super::runtime;

/// The operations whose events the operator's patterns let through. KMS has its own names for them as well.
const CHANGES: [&str; 23] = [
    "CreateBucket",
    "DeleteBucket",
    "PutBucketVersioning",
    "PutBucketReplication",
    "DeleteBucketReplication",
    "PutBucketPolicy",
    "DeleteBucketPolicy",
    "PutObjectLockConfiguration",
    "CreateRole",
    "DeleteRole",
    "UpdateAssumeRolePolicy",
    "PutRolePolicy",
    "DeleteRolePolicy",
    "TagRole",
    "UntagRole",
    "PutRolePermissionsBoundary",
    "DeleteRolePermissionsBoundary",
    "DisableKey",
    "EnableKey",
    "ScheduleKeyDeletion",
    "CancelKeyDeletion",
    "PutKeyPolicy",
    "DeleteImportedKeyMaterial",
];

/// How much later than others an event is sent that others overtake.
const REORDERED_BY: Duration = Duration::from_millis(300);

/// The failures on the way from CloudTrail to the queue.
#[derive(Debug, Clone, Default)]
pub struct TrailFaults {
    /// How long after the answer an event is sent.
    pub delay: Duration,
    /// Events of these names are lost.
    pub lose: Vec<String>,
    /// Copies of each event beside the first.
    pub copies: usize,
    /// About half of the events are sent after those that follow them.
    pub reorder: bool,
    /// `requestParameters` is null, as where they are too large.
    pub without_parameters: bool,
    /// Events are wrapped as SNS does.
    pub wrapped: bool,
    /// Failed requests are sent too.
    pub with_failed: bool,
}

/// Where events go.
#[derive(Debug)]
pub struct Trail {
    sqs: aws_sdk_sqs::Client,
    queue: String,
    pub(super) faults: TrailFaults,
}

impl Trail {
    /// To the queue of this URL, past the proxy.
    pub fn to(sqs: aws_sdk_sqs::Client, queue: &str) -> Self {
        Self { sqs, queue: queue.to_owned(), faults: TrailFaults::default() }
    }

    pub(super) fn record(&self, call: &Call, status: u16, code: Option<&str>) {
        let failed = status >= 300;
        let faults = &self.faults;
        let is_change = CHANGES.contains(&call.operation.as_str());
        if !is_change || failed && !faults.with_failed || faults.lose.contains(&call.operation) {
            return;
        }
        let mut sent = event(call, code.filter(|_| failed));
        if faults.without_parameters {
            sent["detail"]["requestParameters"] = Value::Null;
        }
        let body = if faults.wrapped {
            json!({"Type": "Notification", "MessageId": id(), "Message": sent.to_string()}).to_string()
        } else {
            sent.to_string()
        };
        let late = faults.reorder && fastrand::bool();
        let delay = faults.delay + if late { REORDERED_BY } else { Duration::ZERO };
        for _ in 0..=faults.copies {
            let (sqs, queue, body) = (self.sqs.clone(), self.queue.clone(), body.clone());
            if let Ok(shared) = runtime() {
                shared.spawn(async move {
                    tokio::time::sleep(delay).await;
                    // A queue that is gone takes no events, as on AWS.
                    let _ = sqs.send_message().queue_url(queue).message_body(body).send().await;
                });
            }
        }
    }
}

/// The event of a change, as EventBridge delivers it.
pub fn event(call: &Call, error_code: Option<&str>) -> Value {
    let (service, region) = match call.service.as_str() {
        "iam" => ("iam", "us-east-1"),
        service => (service, call.region.as_str()),
    };
    let (parameters, arn) = match service {
        "s3" => (json!({"bucketName": call.subject, "host": "s3"}), format!("arn:aws:s3:::{}", call.subject)),
        "iam" => {
            let arn = format!("arn:aws:iam::{}:role/{}", call.account, call.subject);
            (json!({"roleName": call.subject}), arn)
        }
        _ => {
            let key = call.subject.rsplit('/').next().unwrap_or_default();
            (json!({"keyId": call.subject}), format!("arn:aws:kms:{region}:{}:key/{key}", call.account))
        }
    };
    let now = time_of_now();
    let mut detail = json!({
        "eventVersion": "1.11", "eventTime": now, "eventSource": format!("{service}.amazonaws.com"),
        "eventName": call.operation, "awsRegion": region, "eventID": id(), "readOnly": false, "managementEvent": true,
        "recipientAccountId": call.account, "userAgent": format!("[{}]", call.user_agent),
        "userIdentity": {"type": "AssumedRole", "accountId": call.account, "accessKeyId": call.access_key},
        "requestParameters": parameters,
        "resources": [{"accountId": call.account, "ARN": arn}],
    });
    if let Some(code) = error_code {
        detail["errorCode"] = json!(code);
    }
    json!({
        "version": "0", "id": id(), "detail-type": "AWS API Call via CloudTrail", "source": format!("aws.{service}"),
        "account": call.account, "time": now, "region": region, "resources": [], "detail": detail,
    })
}

/// The time in whole seconds, as CloudTrail writes it.
fn time_of_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let second = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    k8s_openapi::jiff::Timestamp::from_second(second).map(|time| time.to_string()).unwrap_or_default()
}

fn id() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(20).collect()
}
