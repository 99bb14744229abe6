//! Adds S3's failure events to the evidence about the objects of resources.
//!
//! In: the body of a message of an event queue. Out: the reason that S3 gives, in the evidence of the resource whose rule
//! failed, and its verdict where that changed. Events of rules whose metrics are not read have no effect.

use std::collections::BTreeMap;

use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::sweep::report_verdict;
use crate::ports::Cluster;
use crate::replication::health::failure_event::{add, failures};

/// Takes in the failures that a message holds; there are none in a message of another kind.
pub async fn take_in<C, K: Cluster>(body: &str, cx: &Context<C, K>) {
    let mut concerned = BTreeMap::new();
    for event in failures(body) {
        let found = cx.evidence.find(&event.source, &event.rule, &event.destination);
        let Some((uid, key)) = found else { continue };
        cx.evidence.update(&uid, |evidence| add(evidence, &event));
        concerned.insert(uid, key);
    }
    for (uid, key) in concerned {
        report_verdict(&uid, &key, cx).await;
    }
}
