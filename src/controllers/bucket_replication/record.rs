//! Counts the drift of a check, and logs its decision.
//!
//! In: a plan, its outcome, and the report. Out: the metrics of drift and of what found it, and one line in the log.

use kube::ResourceExt;
use tracing::{info, warn};

use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::resource::Resource;
use crate::replication::Plan;
use crate::replication::outcome::Outcome;
use crate::replication::status::StatusReport;

/// Counts drift, and logs the decision in one line.
pub fn record<C, K>(
    plan: &Plan,
    outcome: &Outcome,
    report: &StatusReport,
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) {
    count_drift(plan, outcome, report, resource, cx);
    log(plan, outcome, report, resource);
}

/// Counts drift when it is first seen, and when it is corrected.
fn count_drift<C, K>(
    plan: &Plan,
    outcome: &Outcome,
    report: &StatusReport,
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) {
    for drift in plan.differences.iter().filter(|_| plan.drift) {
        if !resource.status.drift.contains(drift) {
            cx.metrics.drift_found(drift.resource);
            cx.events.drift_found(drift, resource.found_by(), &report.status, &resource.events);
        }
        if plan.is_settled(drift, outcome) {
            cx.metrics.drift_corrected(drift.resource);
        }
    }
}

/// A refusal first, then the first failure.
fn log(plan: &Plan, outcome: &Outcome, report: &StatusReport, resource: &Resource<'_>) {
    let object = resource.object;
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let source = object.spec.source.bucket.as_str();
    let (differences, written) = (plan.differences.len(), outcome.done.len());
    let (drift, reason) = (plan.drift && differences > 0, report.reason.as_str());
    match (plan.refusal(), outcome.first_failure()) {
        (Some(refusal), _) => warn!(namespace, name, source, reason, detail = refusal.message, "refused"),
        (None, Some((step, failure))) => {
            warn!(namespace, name, source, reason, %step, detail = failure.message(), written, "failed")
        }
        (None, None) => info!(namespace, name, source, reason, differences, drift, written, "checked"),
    }
}
