//! Takes in failure events of S3, from whoever reads the queue that a user sends them to.
//!
//! In: the body of a message. Out: the reason of the last failure in the evidence of the resource, and its status. A
//! message says no more than why: whether objects arrive is what metrics and canaries show.

use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::sweep::report_verdict;
use crate::ports::{Cloud, Cluster};
use crate::replication::health::failure_event::{add, failures};

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
