//! The policies that an event queue needs.
//!
//! In: queues, and the sources whose failures S3 shall report to them. Out: what the operator's identity needs to read
//! them, what each queue's own policy allows, and the entry for a bucket's notification configuration.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::iam::document::{PolicyDocument, Statement};
use crate::iam::partition::Partition;
use crate::replication::events::queue::EventQueue;

/// The names of the EventBridge rules that `deploy/aws` makes begin with this.
pub const RULE_PREFIX: &str = "s3-replication-operator-";

/// The statement that the operator needs to read these queues; `None` without a queue. `home`: the Region of a queue
/// whose URL names none. IAM has no separate action for the deletion of several messages at once.
pub fn read_queues(queues: &[EventQueue], home: &str) -> Option<Statement> {
    let arns: Vec<String> = queues.iter().map(|queue| queue.arn(home)).collect();
    (!arns.is_empty()).then(|| Statement::allow("Events", ["sqs:ReceiveMessage", "sqs:DeleteMessage"], arns))
}

/// The policy of a queue: EventBridge's rules of its account and Region send to it, and only over TLS.
pub fn queue_policy(queue: &EventQueue, home: &str) -> PolicyDocument {
    let region = queue.region.as_deref().unwrap_or(home);
    let (partition, arn) = (Partition::of_region(region).id(), queue.arn(home));
    let rules = format!("arn:{partition}:events:{region}:{}:rule/{RULE_PREFIX}*", queue.account);
    let rules = Statement::allow("Rules", ["sqs:SendMessage"], [arn.clone()])
        .principal("Service", "events.amazonaws.com")
        .when("ArnLike", "aws:SourceArn", vec![rules]);
    let plain = Statement::allow("TlsOnly", ["sqs:*"], [arn]).principal("AWS", "*").when(
        "Bool",
        "aws:SecureTransport",
        vec!["false".to_owned()],
    );
    PolicyDocument::new(vec![rules, Statement { effect: "Deny", ..plain }])
}

/// A source bucket whose failed operations S3 may report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureSource {
    pub bucket: String,
    /// `None`: the spec names none.
    pub region: Option<String>,
    /// The id of the account that owns it; `*`: any.
    pub account_id: String,
}

impl FailureSource {
    /// The queue among these to which S3 can report: it must be in the bucket's Region
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-enable-disable-notification-intro.html>). `home`:
    /// the Region of what names none.
    pub fn queue<'a>(&self, queues: &'a [EventQueue], home: &str) -> Option<&'a EventQueue> {
        let region = self.region.as_deref().unwrap_or(home);
        queues.iter().find(|queue| queue.region.as_deref().unwrap_or(home) == region)
    }
}

/// The entry of a bucket's notification configuration by which S3 reports each operation that failed.
pub fn failure_notification(queue: &EventQueue, home: &str) -> Value {
    json!({
        "QueueConfigurations": [{
            "Id": "s3-replication-operator",
            "QueueArn": queue.arn(home),
            "Events": ["s3:Replication:OperationFailedReplication"],
        }],
    })
}

/// The statement in the policy of a queue that lets S3 report to it for buckets of these accounts; `None` without an
/// account.
pub fn receive_failures(queue: &EventQueue, home: &str, accounts: &BTreeSet<String>) -> Option<Statement> {
    // A condition on equality takes `*` as a letter.
    let operator = if accounts.contains("*") { "StringLike" } else { "StringEquals" };
    (!accounts.is_empty()).then(|| {
        Statement::allow("Failures", ["sqs:SendMessage"], [queue.arn(home)])
            .principal("Service", "s3.amazonaws.com")
            .when(operator, "aws:SourceAccount", accounts.iter().cloned().collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_reports_failures_to_the_queue_in_the_region_of_the_bucket() {
        let queues: Vec<EventQueue> = ["eu-west-1", "eu-central-1"]
            .map(|region| format!("https://sqs.{region}.amazonaws.com/111122223333/events").parse().unwrap())
            .to_vec();
        let of = |region: Option<&str>| {
            let (bucket, account_id) = ("orders".to_owned(), "444455556666".to_owned());
            let source = FailureSource { bucket, region: region.map(str::to_owned), account_id };
            source.queue(&queues, "eu-central-1").map(|queue| failure_notification(queue, "eu-central-1"))
        };
        let arn = |region: Option<&str>| of(region).unwrap()["QueueConfigurations"][0]["QueueArn"].clone();
        assert_eq!(arn(Some("eu-west-1")), "arn:aws:sqs:eu-west-1:111122223333:events");
        assert_eq!(arn(None), "arn:aws:sqs:eu-central-1:111122223333:events");
        assert_eq!(of(Some("us-east-1")), None, "S3 refuses a queue of another Region");
    }

    #[test]
    fn s3_may_report_for_the_accounts_of_the_sources_alone() {
        let queue: EventQueue = "https://sqs.eu-west-1.amazonaws.com/111122223333/events".parse().unwrap();
        let statement = |accounts: &[&str]| {
            let accounts = accounts.iter().map(|id| (*id).to_owned()).collect();
            receive_failures(&queue, "us-east-1", &accounts)
        };
        assert_eq!(statement(&[]), None);
        let one = json!(statement(&["444455556666"]).unwrap());
        assert_eq!(one["Principal"], json!({"Service": "s3.amazonaws.com"}));
        assert_eq!(one["Condition"], json!({"StringEquals": {"aws:SourceAccount": ["444455556666"]}}));
        let any = json!(statement(&["*"]).unwrap());
        assert_eq!(any["Condition"], json!({"StringLike": {"aws:SourceAccount": ["*"]}}));
    }

    #[test]
    fn the_operator_may_read_its_queues_and_rules_may_send_to_them() {
        let queue: EventQueue = "https://sqs.eu-west-1.amazonaws.com/111122223333/events".parse().unwrap();
        assert_eq!(read_queues(&[], "us-east-1"), None);
        let own = read_queues(std::slice::from_ref(&queue), "us-east-1").unwrap();
        assert_eq!(own.resource, ["arn:aws:sqs:eu-west-1:111122223333:events"]);
        let policy = queue_policy(&queue, "us-east-1").to_value();
        assert_eq!(
            policy["Statement"][0]["Condition"]["ArnLike"]["aws:SourceArn"][0],
            "arn:aws:events:eu-west-1:111122223333:rule/s3-replication-operator-*"
        );
        assert_eq!(policy["Statement"][1]["Effect"], "Deny");
    }
}
