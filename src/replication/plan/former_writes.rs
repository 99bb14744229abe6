//! Decides whether a plan waits because another process wrote a moment ago, so that AWS may still answer from before that.
//!
//! In: the planner's input, the plan, and what the status says of the last write of the configuration. Out: whether a step
//! relies on an answer that may be old. Such a step could take a permission from the rules that are in place, or put rules
//! before their permissions. A plan that needs neither goes on. `controllers/bucket_replication/hold_back.rs` knows the time.

use serde_json::Value;

use crate::api::{AnnouncedConfiguration, AwsResource};
use crate::iam::bucket_policy::{self, written_by_operators};
use crate::iam::compare::compare;
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::{Configuration, Rule};
use crate::replication::desired::DesiredRole;
use crate::replication::plan::Plan;
use crate::replication::plan::input::PlanInput;
use crate::replication::plan::lacks::{is_open_to, unserved_abroad, unserved_by_role};
use crate::replication::plan::transition::REPLICATE;
use crate::replication::resource::{applied_role, remembered_roles};
use crate::replication::step::Step;

/// Whether this process wrote a setting itself, of which it knows what it replaced.
pub type IsOwn<'a> = &'a dyn Fn(AwsResource, &str) -> bool;

/// Whether a plan relies on answers that may be from before a write of another process. `configured`: that process may
/// have put a configuration so recently that AWS does not show it yet.
pub fn relies_on_old_answers(
    input: &PlanInput<'_>,
    plan: &Plan,
    configured: bool,
    is_own: IsOwn<'_>,
) -> bool {
    let source = &input.desired.source.name;
    if configured && !is_own(AwsResource::ReplicationConfiguration, source) && !is_known(input) {
        return relies_on_configuration(input, plan);
    }
    // A configuration that was applied is written again as it was.
    !input.was_applied() && !is_on(Mutant::FormerPoliciesBelieved) && relies_on_policies(input, plan, is_own)
}

/// Whether the configuration that the other process put last can only be the one that is desired now, or the one that AWS
/// shows and that was to be replaced by it, if anything was there.
fn is_known(input: &PlanInput<'_>) -> bool {
    let PlanInput { replication, desired, observed, .. } = input;
    let Some(AnnouncedConfiguration { digest, replaces, .. }) = &replication.status.announced_configuration
    else {
        return input.was_applied();
    };
    let source = &desired.source.name;
    let wanted = Configuration { role: desired.role.arn(&observed.caller), rules: desired.rules.clone() };
    let Ok(held) = &observed.configuration else { return false };
    let shown = held.as_ref().map(|held| held.digest(source));
    // An equal configuration may have been there before the one that was to be replaced, and AWS may still show that one.
    let is_first = replaces.is_none();
    *digest == wanted.digest(source) && (shown == *replaces || (is_first && shown.as_ref() == Some(digest)))
}

/// Whether a plan is right only if the configuration is as AWS shows it, or puts rules whose permissions may have been
/// taken away meanwhile. Any step after the plan's own configuration is right.
fn relies_on_configuration(input: &PlanInput<'_>, plan: &Plan) -> bool {
    let creates = |name: &String| {
        plan.steps().any(|step| matches!(step, Step::CreateRole { role, .. } if role == name))
    };
    let is_granted = input.desired.bucket_policies.is_empty()
        && match &input.desired.role {
            DesiredRole::Managed(role) => creates(&role.name),
            DesiredRole::Existing { .. } => true,
        };
    for step in plan.steps() {
        match step {
            Step::PutReplication { .. } => return !is_granted,
            // A role that exists is not created, and then this step is not done.
            Step::PutRolePolicy { role, .. } if creates(role) => {}
            Step::PutRolePolicy { .. }
            | Step::PutBucketPolicy { .. }
            | Step::DeleteRolePolicy { .. }
            | Step::DeleteRole { .. } => return true,
            Step::EnableVersioning { .. }
            | Step::CreateRole { .. }
            | Step::UpdateTrustPolicy { .. }
            | Step::PutPermissionsBoundary { .. }
            | Step::DeletePermissionsBoundary { .. }
            | Step::TagRole { .. }
            | Step::UntagRole { .. }
            | Step::DeleteReplication { .. } => {}
        }
    }
    false
}

/// Whether the policies that AWS shows do not fit the rules that it shows, so that one of the two may be old, and a
/// step relies on them. Such a step replaces a policy that lacks what a rule in place needs, or puts rules to a bucket
/// whose policy opens it although no rule in place needs that.
fn relies_on_policies(input: &PlanInput<'_>, plan: &Plan, is_own: IsOwn<'_>) -> bool {
    let opens = |name: &str| {
        plan.steps().any(|step| matches!(step, Step::PutBucketPolicy { bucket, .. } if bucket.name == name))
    };
    let is_known = |name: &str| opens(name) || is_own(AwsResource::DestinationBucketPolicy, name);
    let is_closed = |name: &str| input.desired.bucket_policies.contains_key(name) && !is_known(name);
    replaces_lacking_policy(input, plan, is_own)
        || (puts_rules(plan) && unserved_abroad(input).any(is_closed))
}

fn puts_rules(plan: &Plan) -> bool {
    plan.steps().any(|step| matches!(step, Step::PutReplication { .. }))
}

fn replaces_lacking_policy(input: &PlanInput<'_>, plan: &Plan, is_own: IsOwn<'_>) -> bool {
    let PlanInput { desired, observed, .. } = input;
    let Ok(Some(held)) = &observed.configuration else { return false };
    if !is_of_own_role(input, held) {
        return false;
    }
    let is_own_role = is_own(AwsResource::RolePolicy, desired.role.name());
    let lacks_role = match (&desired.role, &observed.role) {
        (DesiredRole::Managed(_), Ok(role)) if desired.role.arn(&observed.caller) == held.role => {
            match role.as_ref().map(|role| &role.policy) {
                Some(Ok(Some(policy))) => !is_open_to(input, policy, &held.rules),
                Some(Err(_)) => false,
                Some(Ok(None)) | None => !held.rules.is_empty(),
            }
        }
        _ => false,
    };
    let writes_role = |step: &Step| matches!(step, Step::PutRolePolicy { role, .. } | Step::CreateRole { role, .. } if role == desired.role.name());
    let writes_closed = |step: &Step| match step {
        Step::PutBucketPolicy { bucket, .. } => {
            let arn = observed.caller.partition.bucket_arn(&bucket.name);
            let is_used = |rule: &Rule| rule.destination.bucket == arn;
            let policy = observed.bucket_policies.get(&bucket.name).and_then(|read| read.as_ref().ok());
            let admitted = |policy: &Option<Value>| {
                bucket_policy::admits(policy.as_ref(), &desired.sid, &held.role, REPLICATE)
            };
            let is_known = is_own(AwsResource::DestinationBucketPolicy, &bucket.name);
            !is_known && held.rules.values().any(is_used) && policy.is_some_and(|policy| !admitted(policy))
        }
        _ => false,
    };
    plan.steps().any(|step| (lacks_role && !is_own_role && writes_role(step)) || writes_closed(step))
}

/// Whether a configuration names a role of the resource: nobody else's needs its permissions.
fn is_of_own_role(input: &PlanInput<'_>, held: &Configuration) -> bool {
    let status = input.replication.status;
    input.desired.role.arn(&input.observed.caller) == held.role
        || applied_role(status) == Some(&held.role)
        || remembered_roles(status).any(|arn| arn == held.role)
}

/// The plan with one more write of the role's policy before its rules, as AWS shows the policy, where it grants them
/// what no rule in place needs. Another process may have taken that grant away a moment ago.
pub fn granting_again(input: &PlanInput<'_>, plan: &Plan, is_own: IsOwn<'_>) -> Option<Plan> {
    let (DesiredRole::Managed(role), Ok(Some(held))) = (&input.desired.role, &input.observed.role) else {
        return None;
    };
    let policy = held.policy.as_ref().ok()?.as_ref()?;
    let puts = |stage: &[Step]| stage.iter().any(|step| matches!(step, Step::PutReplication { .. }));
    let at = plan.stages.iter().position(|stage| puts(stage))?;
    let mut stages = plan.stages.clone();
    let (before, rest) = stages.split_at_mut(at);
    let is_granted = before.iter().flatten().any(|step| matches!(step, Step::PutRolePolicy { .. }));
    if is_granted || input.was_applied() || is_own(AwsResource::RolePolicy, &role.name) {
        return None;
    }
    let unserved = unserved_by_role(input);
    if unserved.is_empty() {
        return None;
    }
    for step in rest.iter_mut().flatten() {
        if let Step::PutReplication { lacking, .. } = step {
            lacking.role_policy.extend(unserved.iter().cloned());
        }
    }
    let expands = !compare(&role.permissions.to_value(), policy).is_empty();
    let grant = Step::PutRolePolicy { role: role.name.clone(), document: policy.to_string(), expands };
    stages.insert(at, vec![grant]);
    Some(Plan { stages, ..plan.clone() })
}

/// Whether the policy of a bucket, as it is shown, holds statements that an operator wrote for another resource.
pub fn holds_statements_of_others(policy: Option<&Value>, sid: &str) -> bool {
    let written = policy.map(written_by_operators).unwrap_or_default();
    written.keys().any(|owner| owner != sid)
}
