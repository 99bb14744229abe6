//! Expand, switch, contract: the permissions that stay granted until the configuration is replaced.
//!
//! In: the configuration in AWS and the policies that it relies on. Out: the union of what it uses of them and what is
//! desired. If the new configuration is refused, the former one goes on replicating.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{AwsResource, DriftEntry};
use crate::iam::bucket_policy::{self, OVERRIDE_OWNER};
use crate::iam::compare::{allowed_part, allowed_resources};
use crate::iam::document::{PolicyDocument, Statement};
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::{Configuration, Rule};
use crate::replication::desired::permissions::{Extent, permissions};
use crate::replication::desired::{DesiredRole, Discovered, ManagedRole};
use crate::replication::plan::input::PlanInput;

pub const REPLICATE: &str = "s3:ReplicateObject";

/// The policies to have in place while the configuration is replaced. Empty where nothing is taken away.
#[derive(Debug, Default, PartialEq)]
pub struct TransitionPolicies {
    /// The role's policy, where it has to grant more than the desired one.
    pub role_policy: Option<PolicyDocument>,
    /// The replication's statements in the policies of destinations that have to grant more than the desired ones.
    pub bucket_policies: BTreeMap<String, Vec<Statement>>,
}

impl TransitionPolicies {
    pub fn of(input: &PlanInput<'_>, differences: &[DriftEntry]) -> TransitionPolicies {
        let switches = differences.iter().any(|d| d.resource == AwsResource::ReplicationConfiguration);
        match &input.observed.configuration {
            Ok(Some(held)) if switches && !is_on(Mutant::ExactPolicyFirst) => TransitionPolicies {
                role_policy: role_policy(input, held),
                bucket_policies: bucket_policies(input, held),
            },
            _ => TransitionPolicies::default(),
        }
    }
}

/// Whether the desired statements in the policy of a destination that cannot be read take nothing away that the present
/// configuration uses, and there is anything else to correct.
pub fn exact_while_unread(input: &PlanInput<'_>, bucket: &str, differences: &[DriftEntry]) -> bool {
    let PlanInput { desired, observed, .. } = input;
    let switches = differences.iter().any(|d| d.resource == AwsResource::ReplicationConfiguration);
    let keeps = match &observed.configuration {
        Ok(_) if !switches => true,
        Ok(Some(held)) => {
            let arn = observed.caller.partition.bucket_arn(bucket);
            let used = held.rules.values().filter(|rule| rule.destination.bucket == arn);
            let as_desired = |rule: &Rule| {
                held.role == desired.role.arn(&observed.caller) && rule.destination.ownership.is_none()
            };
            used.into_iter().all(as_desired)
        }
        Ok(None) => true,
        Err(_) => false,
    };
    !differences.is_empty() && keeps
}

/// The desired permissions, and those of the role's present ones that the present configuration uses. Permissions that
/// the role does not have are not added, because someone else may have written the configuration.
fn role_policy(input: &PlanInput<'_>, held: &Configuration) -> Option<PolicyDocument> {
    let (DesiredRole::Managed(role), Ok(Some(in_aws))) = (&input.desired.role, &input.observed.role) else {
        return None;
    };
    let policy = in_aws.policy.as_ref().ok()?.as_ref()?;
    if held.role != in_aws.arn {
        return None;
    }
    let discovered = Discovered::of(&input.desired.source.name, input.observed);
    // Neither the configuration nor the spec records what was replicated along with objects before: the policy does.
    let extent = Extent {
        tags: true,
        acls: true,
        object_lock: true,
        source_keys: allowed_resources(policy, "kms:Decrypt"),
    };
    let used = permissions(&input.desired.source.name, &discovered, &extent, &held.rules).statement;
    let retained: Vec<Statement> =
        used.into_iter().flat_map(|statement| retained(statement, role, policy)).collect();
    (!retained.is_empty())
        .then(|| PolicyDocument::new(role.permissions.statement.iter().cloned().chain(retained).collect()))
}

/// Of a statement that the configuration uses, what the role has and the desired policy does not grant. The role may
/// have it by wildcards, and may have a part of it.
fn retained(used: Statement, role: &ManagedRole, policy: &Value) -> Vec<Statement> {
    let granted = |action: &String, resource: &String| {
        role.permissions.statement.iter().any(|desired| {
            desired.condition == used.condition
                && desired.action.contains(action)
                && desired.resource.contains(resource)
        })
    };
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (resource, action) in used.resource.iter().flat_map(|on| used.action.iter().map(move |of| (on, of))) {
        for part in allowed_part(policy, action, resource).into_iter().filter(|part| !granted(action, part)) {
            let actions = kept.entry(part).or_default();
            if !actions.contains(action) {
                actions.push(action.clone());
            }
        }
    }
    let mut resources: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for (resource, actions) in kept {
        resources.entry(actions).or_default().push(resource);
    }
    let statement = |(i, (action, resource)): (usize, (Vec<String>, Vec<String>))| Statement {
        sid: format!("Former{}{i}", used.sid),
        action,
        resource,
        ..used.clone()
    };
    resources.into_iter().enumerate().map(statement).collect()
}

/// The statements of destinations that also admit the present configuration's role, or let it change the owner of
/// replicas.
fn bucket_policies(input: &PlanInput<'_>, held: &Configuration) -> BTreeMap<String, Vec<Statement>> {
    let caller = &input.observed.caller;
    let sid = &input.desired.sid;
    let desired_role = input.desired.role.arn(caller);
    let union = |(bucket, exact): (&String, &Vec<Statement>)| {
        let policy = input.observed.bucket_policies.get(bucket)?.as_ref().ok()?.as_ref();
        let arn = caller.partition.bucket_arn(bucket);
        let mut used = held.rules.values().filter(|rule| rule.destination.bucket == arn).peekable();
        used.peek()?;
        let mut roles = vec![desired_role.clone()];
        if held.role != desired_role && bucket_policy::admits(policy, sid, &held.role, REPLICATE) {
            roles.push(held.role.clone());
        }
        let handed_over = used.any(|rule| rule.destination.ownership.is_some())
            && bucket_policy::admits(policy, sid, &held.role, OVERRIDE_OWNER);
        let exactly = exact.iter().any(|statement| statement.action.iter().any(|a| a == OVERRIDE_OWNER));
        let union = bucket_policy::statements(sid, &roles, &arn, handed_over || exactly);
        (union != *exact).then(|| (bucket.clone(), union))
    };
    input.desired.bucket_policies.iter().filter_map(union).collect()
}
