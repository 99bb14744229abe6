//! Reads event queues, and deletes the messages that were handled (`sqs:ReceiveMessage`, `sqs:DeleteMessage`).
//!
//! In: a queue, or the receipts of messages. Out: messages, or a failure in its class. SQS has clients of its own: a
//! long poll takes longer than any other call may, and a queue that does not answer must open no circuit breaker of an
//! account.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::operation::delete_message_batch::DeleteMessageBatchOutput;
use aws_sdk_sqs::types::DeleteMessageBatchRequestEntry;
use parking_lot::Mutex;

use crate::aws::error::{failure, failure_of_entry};
use crate::aws::interceptor::RequestMetrics;
use crate::aws::metrics::AwsMetrics;
use crate::ports::QueueMessage;
use crate::replication::events::EventQueue;
use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass};

const RECEIVE: &str = "sqs:ReceiveMessage";
const DELETE: &str = "sqs:DeleteMessage";

/// The most that SQS returns and deletes at once.
const BATCH: i32 = 10;

/// How long a message stays hidden after it was received. Handling takes milliseconds, and a message that comes again
/// because its deletion was slow is recognized. A message that SQS gave to the request of a leader that was stopped
/// meanwhile is hidden from the next leader for this long.
const VISIBILITY_SECONDS: i32 = 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longer than SQS holds a request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The clients of all queues, by URL.
#[derive(Debug)]
pub struct Queues {
    config: SdkConfig,
    metrics: AwsMetrics,
    clients: Mutex<HashMap<String, aws_sdk_sqs::Client>>,
}

impl Queues {
    pub fn new(config: SdkConfig, metrics: AwsMetrics) -> Queues {
        Queues { config, metrics, clients: Mutex::default() }
    }

    fn client(&self, queue: &EventQueue) -> aws_sdk_sqs::Client {
        let mut clients = self.clients.lock();
        clients.entry(queue.url.clone()).or_insert_with(|| self.make(queue)).clone()
    }

    fn make(&self, queue: &EventQueue) -> aws_sdk_sqs::Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT);
        let mut config = aws_sdk_sqs::config::Builder::from(&self.config)
            .timeout_config(timeouts.build())
            // The receiver has its own back-off.
            .retry_config(RetryConfig::disabled())
            .interceptor(RequestMetrics::new(self.metrics.clone()));
        if let Some(region) = &queue.region {
            config = config.region(Region::new(region.clone()));
        } else if self.config.endpoint_url().is_none() && std::env::var_os("AWS_ENDPOINT_URL_SQS").is_none() {
            // The host is none of AWS, and nothing else says where requests go.
            config = config.endpoint_url(queue.endpoint());
        }
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// Up to ten messages; waits up to `wait` while there are none.
    pub async fn receive(&self, queue: &EventQueue, wait: Duration) -> Read<Vec<QueueMessage>> {
        let request = self
            .client(queue)
            .receive_message()
            .queue_url(&queue.url)
            .max_number_of_messages(BATCH)
            .visibility_timeout(VISIBILITY_SECONDS)
            .wait_time_seconds(i32::try_from(wait.as_secs()).unwrap_or(i32::MAX));
        let answer = Box::pin(request.send()).await.map_err(|error| failure(&error, RECEIVE, &queue.name))?;
        let messages = answer.messages.unwrap_or_default().into_iter();
        let messages = messages.filter_map(|message| {
            Some(QueueMessage { body: message.body.unwrap_or_default(), receipt: message.receipt_handle? })
        });
        Ok(messages.collect())
    }

    /// Deletes messages. SQS answers with success where it deletes none of them, and names the reason for each. Those
    /// that it did not delete beside others come again and are recognized.
    pub async fn delete(&self, queue: &EventQueue, receipts: Vec<String>) -> Read<()> {
        let entry = |(number, receipt): (usize, String)| {
            DeleteMessageBatchRequestEntry::builder().id(number.to_string()).receipt_handle(receipt).build()
        };
        let entries: Result<Vec<_>, _> = receipts.into_iter().enumerate().map(entry).collect();
        let entries =
            entries.map_err(|e| Failure::new(FailureClass::Invalid, DELETE, &queue.name, e.to_string()))?;
        let request =
            self.client(queue).delete_message_batch().queue_url(&queue.url).set_entries(Some(entries));
        let answer = Box::pin(request.send()).await.map_err(|error| failure(&error, DELETE, &queue.name))?;
        refused(&answer, &queue.name).map_or(Ok(()), Err)
    }
}

/// Why SQS deleted none of the messages; `None` where it deleted some.
fn refused(answer: &DeleteMessageBatchOutput, queue: &str) -> Option<Failure> {
    let first = answer.failed.first().filter(|_| answer.successful.is_empty())?;
    let detail = first.message().unwrap_or_default();
    Some(failure_of_entry((first.code(), detail), first.sender_fault(), DELETE, queue))
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::error::BuildError;
    use aws_sdk_sqs::types::{BatchResultErrorEntry, DeleteMessageBatchResultEntry};

    use super::*;

    fn deleted(id: &str) -> Result<DeleteMessageBatchResultEntry, BuildError> {
        DeleteMessageBatchResultEntry::builder().id(id).build()
    }

    fn failed(id: &str, code: &str, sender_fault: bool) -> Result<BatchResultErrorEntry, BuildError> {
        let entry = BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault);
        entry.message("SQS says why").build()
    }

    #[test]
    fn a_batch_of_which_sqs_deletes_nothing_has_failed() -> Result<(), BuildError> {
        let class = |code, sender_fault| {
            let answer = DeleteMessageBatchOutput::builder()
                .set_successful(Some(Vec::new()))
                .failed(failed("0", code, sender_fault)?)
                .failed(failed("1", code, sender_fault)?)
                .build()?;
            let failure = refused(&answer, "events");
            assert!(failure.iter().all(|failure| failure.action == DELETE && failure.code == code));
            Ok::<_, BuildError>(failure.map(|failure| failure.class))
        };
        assert_eq!(class("AccessDenied", true)?, Some(FailureClass::Denied));
        assert_eq!(class("ReceiptHandleIsInvalid", true)?, Some(FailureClass::Invalid));
        assert_eq!(class("InternalError", false)?, Some(FailureClass::Unavailable));
        Ok(())
    }

    #[test]
    fn a_batch_of_which_sqs_deletes_a_part_has_not_failed() -> Result<(), BuildError> {
        let some = DeleteMessageBatchOutput::builder()
            .successful(deleted("0")?)
            .failed(failed("1", "InternalError", false)?)
            .build()?;
        assert_eq!(refused(&some, "events"), None);
        Ok(())
    }
}
