//! Makes the status that is written before the first write to AWS: it names everything that the plan may create.
//!
//! In: a plan that is about to be executed. Out: that status, with the time and the digest of the configuration that
//! the plan writes, if the present status lacks any of it. The process may die after a write and before its report, and
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
    let StatusContext { previous, now, .. } = *context;
    // Any of the steps may be done without an answer.
    let unanswered = |step: &Step| {
        (step.clone(), Failure::new(FailureClass::Unavailable, step.action(), step.subject(), String::new()))
    };
    let outcome = Outcome { failed: steps.iter().map(unanswered).collect(), ..Outcome::default() };
    let builder = StatusBuilder { input, plan, outcome: &outcome, context, remaining: &plan.differences };
    let mut described = previous.clone();
    builder.describe(&mut described);
    let configures = steps.iter().any(|step| matches!(step, Step::PutReplication { .. }));
    let announced = match configures {
        true => described.announced_configuration,
        false => previous.announced_configuration.clone(),
    };
    let mut ahead = BucketReplicationStatus {
        announced_configuration: announced,
        configured_at: if configures { Some(Time(now)) } else { previous.configured_at.clone() },
        source: described.source,
        destinations: described.destinations,
        role: described.role,
        former_roles: described.former_roles,
        bucket_policies: described.bucket_policies,
        ..previous.clone()
    };
    // While the status says that the configuration is not there, no backfill begins, and the report that says otherwise
    // sets the time: a write that S3 refuses at each try costs no write to Kubernetes.
    let is_unreported = configures && !is_unconfigured(previous);
    let announces = ahead.announced_configuration != previous.announced_configuration;
    if announces && builder.shown_as_announced().is_some() {
        // The announcement of the configuration that is to be replaced gives way to the next one.
        ahead.configuration = described.configuration;
        ahead.applied_role = described.applied_role;
        ahead.applied_hash = builder.applied_hash();
    }
    (is_unreported || announces || remembers_more(&ahead, previous)).then_some(ahead)
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

/// Whether a status names a role or a bucket policy that another one does not.
fn remembers_more(ahead: &BucketReplicationStatus, previous: &BucketReplicationStatus) -> bool {
    let known: BTreeSet<&str> = remembered_roles(previous).collect();
    let policies = |status: &BucketReplicationStatus| -> BTreeSet<(String, String)> {
        let held = status.bucket_policies.iter();
        held.map(|held| (held.bucket.clone(), held.account_ref.clone())).collect()
    };
    remembered_roles(ahead).any(|role| !known.contains(role))
        || !policies(ahead).is_subset(&policies(previous))
}
