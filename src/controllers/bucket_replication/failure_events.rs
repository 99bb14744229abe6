//! Takes in failure events of S3, from the reader of the queue that a user sends them to.
//!
//! In: the body of a message. Out: the failures in the evidence of the resource, and its status. For a rule whose
//! metrics are read, a failure event only gives the reason; for a rule without them it is the evidence of the failure.
//! An event about a resource that this process has not checked yet waits for the check.

use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::sweep::report_verdict;
use crate::ports::{Cloud, Cluster};
use crate::replication::health::failure_event::{FailureEvent, add, failures, is_possible};
use crate::replication::health::settle;

/// Adds the failures in a message to the evidence of the resources that they are about. Returns how many were about
/// one.
pub async fn take_failures<C: Cloud, K: Cluster>(body: &str, cx: &Context<C, K>) -> usize {
    let mut known = 0;
    let now = cx.clock.timestamp();
    for event in failures(body).into_iter().filter(|event| is_possible(event, now)) {
        let Some((uid, key)) = cx.evidence.find(&event.source, &event.rule, &event.destination) else {
            if was_watched(&event, cx) {
                known += 1;
                cx.evidence.keep_early(event);
            }
            continue;
        };
        known += 1;
        let object = cx.index.replications.get(&key);
        let resource = object.as_ref().and_then(|object| object.0.as_ref().ok());
        let spec = resource.map(|resource| cx.settings.acted_on(&resource.spec));
        cx.evidence.update(&uid, |evidence| {
            if let Some(spec) = &spec {
                // The failure of an object that was replicated since begins no run of failures again.
                settle(evidence, spec, cx.clock.timestamp());
            }
            add(evidence, &event);
        });
        report_verdict(&uid, &key, true, cx).await;
    }
    known
}

/// Whether the status says that another process took in evidence of the rule that an event is about.
fn was_watched<C, K>(event: &FailureEvent, cx: &Context<C, K>) -> bool {
    let objects = cx.index.by_source(&event.source);
    let statuses = objects.iter().filter_map(|object| object.0.as_ref().ok()?.status.as_ref());
    let mut rules = statuses.filter_map(|status| status.health.as_ref()).flat_map(|health| &health.rules);
    rules.any(|held| held.id == event.rule && held.destination == event.destination)
}
