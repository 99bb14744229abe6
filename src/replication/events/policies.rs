//! The policies that an event queue needs.
//!
//! In: queues. Out: what the operator's identity needs to read them, and what each queue's own policy allows.

use crate::iam::document::{PolicyDocument, Statement};
use crate::iam::partition::Partition;
use crate::replication::events::queue::EventQueue;

/// The names of the EventBridge rules that `deploy/aws` makes begin with this.
pub const RULE_PREFIX: &str = "s3-replication-operator-";

/// What the operator needs to read these queues; `None` without a queue. `home`: the Region of a queue whose URL names
/// none. IAM has no action of its own for deleting several messages at once.
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

#[cfg(test)]
mod tests {
    use super::*;

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
