//! Takes in failure events of S3, from whoever reads the queue that a user sends them to.
//!
//! In: S3's notifications. Out: the reason of the last failure in the evidence of the resource, and its status. A
//! message says no more than why: whether objects arrive is what metrics and canaries show.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::sweep::report_verdict;
use crate::ports::{Cloud, Cluster};
use crate::replication::health::failure_event::{add, failures};

/// Notifications that wait to be taken in.
pub const NOTIFICATIONS: usize = 1024;

/// Takes in notifications for as long as there is someone to send them.
pub async fn take_all_failures<C: Cloud, K: Cluster>(
    mut notifications: Receiver<Value>,
    cx: Arc<Context<C, K>>,
) {
    while let Some(notification) = notifications.recv().await {
        take_failures(&notification.to_string(), &cx).await;
    }
}

/// Adds the failures in a message to the evidence of the resources that they are about. Returns how many were about one.
pub async fn take_failures<C: Cloud, K: Cluster>(body: &str, cx: &Context<C, K>) -> usize {
    let mut known = 0;
    for event in failures(body) {
        let Some((uid, key)) = cx.evidence.find(&event.source, &event.rule, &event.destination) else {
            continue;
        };
        known += 1;
        cx.evidence.update(&uid, |evidence| add(evidence, &event));
        report_verdict(&uid, &key, cx).await;
    }
    known
}
