//! Makes the statuses that are written before a write to AWS: the first names everything that the plan may create, and
//! one before the configuration announces it if no status does yet.
//!
//! In: the steps of a plan that are about to be executed. Out: that status, with the time and the digest of the
//! configuration, if the present status lacks any of it. The process may die after a write and before its report, and
//! the spec may name another role, destination or account when the next process starts. A backfill has to wait after
//! such a write too.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{BucketReplicationStatus, ConditionType};
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::outcome::Outcome;
use crate::replication::plan::{Plan, PlanInput};
use crate::replication::resource::remembered_roles;
use crate::replication::status::builder::StatusBuilder;
use crate::replication::status::context::StatusContext;
use crate::replication::step::Step;

/// The status to write before these steps are executed. `None`: the present one remembers all that they may make.
pub fn announce(
    input: &PlanInput<'_>,
    plan: &Plan,
    steps: &[Step],
    context: &StatusContext<'_>,
) -> Option<BucketReplicationStatus> {
    if steps.is_empty() {
        return None;
    }
    let previous = context.previous;
    let outcome = unanswered(steps);
    let builder = StatusBuilder { input, plan, outcome: &outcome, context, remaining: &plan.differences };
    let mut described = previous.clone();
    builder.describe(&mut described);
    let mut ahead = BucketReplicationStatus {
        source: described.source,
        destinations: described.destinations,
        role: described.role,
        former_roles: described.former_roles,
        bucket_policies: described.bucket_policies,
        ..previous.clone()
    };
    let configures = steps.iter().any(puts_configuration);
    if configures {
        name_configuration(&builder, &mut ahead);
        ahead.canary_places = described.canary_places;
    }
    // While the status says that the configuration is not there, no backfill begins, and the report that says otherwise
    // sets the time. An announcement alone waits until the configuration is put: a step that is held back or left out
    // by then costs no write to Kubernetes.
    let is_unreported = configures && !is_unconfigured(previous);
    (is_unreported || remembers_more(&ahead, previous)).then_some(ahead)
}

/// The status to write before these steps of one stage are executed. `None`: they put no configuration, or the one that
/// the present status announces. A step that failed may have left only a part of the one that was planned.
pub fn announce_configuration(
    input: &PlanInput<'_>,
    plan: &Plan,
    stage: &[Step],
    context: &StatusContext<'_>,
) -> Option<BucketReplicationStatus> {
    if !stage.iter().any(puts_configuration) {
        return None;
    }
    let outcome = unanswered(stage);
    let builder = StatusBuilder { input, plan, outcome: &outcome, context, remaining: &plan.differences };
    let mut announcing = context.previous.clone();
    name_configuration(&builder, &mut announcing);
    (announcing.announced_configuration != context.previous.announced_configuration).then_some(announcing)
}

/// Names the configuration that is about to be put. The announcement of the one that is to be replaced gives way to it.
fn name_configuration(builder: &StatusBuilder<'_>, status: &mut BucketReplicationStatus) {
    let StatusContext { previous, now, .. } = *builder.context;
    status.announced_configuration = builder.announced_configuration();
    status.configured_at = Some(Time(now));
    let differs = status.announced_configuration != previous.announced_configuration;
    if differs && builder.shown_as_announced().is_some() {
        status.configuration = builder.configuration_origin();
        status.applied_role = builder.applied_role();
        status.applied_hash = builder.applied_hash();
    }
}

fn puts_configuration(step: &Step) -> bool {
    matches!(step, Step::PutReplication { .. })
}

/// Any of the steps may be done without an answer.
fn unanswered(steps: &[Step]) -> Outcome {
    let failure =
        |step: &Step| Failure::new(FailureClass::Unavailable, step.action(), step.subject(), String::new());
    Outcome { failed: steps.iter().map(|step| (step.clone(), failure(step))).collect(), ..Outcome::default() }
}

/// Whether a status says that the configuration is as the spec asks for.
pub(crate) fn is_configured(status: &BucketReplicationStatus) -> bool {
    has_configuration(status, "True")
}

/// Whether a status says that the configuration is not as the spec asks for.
pub(crate) fn is_unconfigured(status: &BucketReplicationStatus) -> bool {
    has_configuration(status, "False")
}

fn has_configuration(status: &BucketReplicationStatus, says: &str) -> bool {
    let about = ConditionType::ReplicationReady.as_str();
    status.conditions.iter().any(|condition| condition.type_ == about && condition.status == says)
}

/// Whether a status names a role, a bucket policy or a place of canaries that another one does not.
fn remembers_more(ahead: &BucketReplicationStatus, previous: &BucketReplicationStatus) -> bool {
    let known: BTreeSet<&str> = remembered_roles(previous).collect();
    let policies = |status: &BucketReplicationStatus| -> BTreeSet<(String, String)> {
        let held = status.bucket_policies.iter();
        held.map(|held| (held.bucket.clone(), held.account_ref.clone())).collect()
    };
    remembered_roles(ahead).any(|role| !known.contains(role))
        || !policies(ahead).is_subset(&policies(previous))
        || ahead.canary_places.iter().any(|place| !previous.canary_places.contains(place))
}
