//! Decides what each rule of the desired configuration lacks in AWS now.
//!
//! In: the role, its policy and the policies of destinations as observed. Out: what the write of the configuration waits
//! for. A policy that could not be read, or whose account cannot be reached, lacks nothing if all was applied before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::iam::arn::bucket_of_arn;
use crate::iam::bucket_policy::{OVERRIDE_OWNER, admits_to};
use crate::iam::compare::{allows, denies, trusts_service};
use crate::iam::document::Statement;
use crate::replication::configuration::Rule;
use crate::replication::desired::permissions::{Extent, permissions};
use crate::replication::desired::{DesiredBucket, DesiredRole, Discovered, S3};
use crate::replication::lacking::Lacking;
use crate::replication::plan::input::PlanInput;
use crate::replication::plan::transition::REPLICATE;

/// The permissions and settings that the desired rules lack.
pub fn lacking(input: &PlanInput<'_>) -> Lacking {
    let present = input.observed.configuration.as_ref().ok().cloned().flatten();
    let bucket_policies = closed_to_role(input);
    let of_unknown_owner = unconfirmed(input).map(|bucket| bucket.name.clone()).collect();
    let is_change = !input.was_applied();
    let DesiredRole::Managed(_) = &input.desired.role else {
        return Lacking {
            bucket_policies,
            unconfirmed: of_unknown_owner,
            unseen: unseen_abroad(input),
            is_change,
            present,
            ..Lacking::default()
        };
    };
    let all = || input.desired.destinations.iter().map(|d| d.name.clone()).collect();
    let (trust, role_policy) = match &input.observed.role {
        Err(_) if input.was_applied() => (false, BTreeSet::new()),
        Err(_) | Ok(None) => (true, all()),
        Ok(Some(role)) => {
            let role_policy = match &role.policy {
                Err(_) if input.was_applied() => BTreeSet::new(),
                Ok(Some(policy)) => closed_by_role(input, policy),
                Err(_) | Ok(None) => all(),
            };
            (!trusts_service(&role.trust, S3), role_policy)
        }
    };
    Lacking {
        trust,
        role_policy,
        bucket_policies,
        unconfirmed: of_unknown_owner,
        unseen: unseen_of_role(input).into_iter().chain(unseen_abroad(input)).collect(),
        is_change,
        present,
    }
}

/// The destinations of a changed spec for which nothing shows that the role serves them. The role or its policy cannot
/// be read, and the rules in AWS, which name the role, need something else of it. The permissions that those rules need
/// were granted for them.
fn unseen_of_role(input: &PlanInput<'_>) -> BTreeSet<String> {
    let is_read = match &input.observed.role {
        Ok(Some(role)) => role.policy.is_ok(),
        Ok(None) => true,
        Err(_) => false,
    };
    if is_read || input.was_applied() {
        return BTreeSet::new();
    }
    unserved_by_role(input)
}

/// The destinations for which no rules in AWS that name the role need the same of it.
pub fn unserved_by_role(input: &PlanInput<'_>) -> BTreeSet<String> {
    let served = needed_by(input, &present_rules(input));
    let grants = |statement: &Statement, action: &String, on: &String| {
        served.iter().any(|other| {
            other.condition == statement.condition
                && other.action.contains(action)
                && other.resource.contains(on)
        })
    };
    let is_served = |statement: &Statement| {
        let mut actions = statement.action.iter();
        actions.all(|action| statement.resource.iter().all(|on| grants(statement, action, on)))
    };
    let destinations = input.desired.destinations.iter().map(|d| d.name.clone());
    destinations.filter(|name| !needed_by(input, &rules_to(input, name)).iter().all(is_served)).collect()
}

/// The rules in AWS, where they name the role of the spec.
fn present_rules(input: &PlanInput<'_>) -> BTreeMap<String, Rule> {
    let role = input.desired.role.arn(&input.observed.caller);
    let present = input.observed.configuration.as_ref().ok().and_then(Option::as_ref);
    present.filter(|held| held.role == role).map(|held| held.rules.clone()).unwrap_or_default()
}

/// The destinations of a changed spec in accounts that cannot be reached, for which nothing shows that they let the
/// role in for all that the rules do there. No rule in AWS does as much with this role. The permissions of such a rule
/// would have been granted for it.
fn unseen_abroad(input: &PlanInput<'_>) -> BTreeSet<String> {
    if input.was_applied() {
        return BTreeSet::new();
    }
    unserved_abroad(input).filter(|name| input.is_unreached(name)).map(str::to_owned).collect()
}

/// The destinations for which no rule in AWS does as much with this role.
pub fn unserved_abroad<'a>(input: &PlanInput<'a>) -> impl Iterator<Item = &'a str> + use<'a> {
    let PlanInput { desired, observed, .. } = *input;
    let served = present_rules(input);
    let own = &observed.caller.account;
    // Whether rules name this bucket of this account, and whether any of them changes the owner of replicas.
    let use_of = move |rules: &BTreeMap<String, Rule>, d: &DesiredBucket| {
        let owner = d.account_id.as_ref().unwrap_or(own);
        let there = rules.values().map(|rule| &rule.destination);
        let there = there.filter(|to| bucket_of_arn(&to.bucket) == d.name);
        let there = there.filter(|to| to.account.as_ref().unwrap_or(own) == owner);
        there.map(|to| to.ownership.is_some()).max()
    };
    let is_served = move |d: &DesiredBucket| {
        use_of(&served, d).is_some_and(|held| held || use_of(&desired.rules, d) != Some(true))
    };
    desired.destinations.iter().filter(move |d| !is_served(d)).map(|d| d.name.as_str())
}

/// The desired rules to a destination.
fn rules_to(input: &PlanInput<'_>, bucket: &str) -> BTreeMap<String, Rule> {
    let mut rules = input.desired.rules.clone();
    rules.retain(|_, rule| bucket_of_arn(&rule.destination.bucket) == bucket);
    rules
}

/// The permissions that the role needs to replicate objects by these rules. Whether S3 may replicate an object does not
/// depend on the right to replicate its tags, ACL or locks.
fn needed_by(input: &PlanInput<'_>, rules: &BTreeMap<String, Rule>) -> Vec<Statement> {
    let source = &input.desired.source.name;
    let discovered = Discovered::of(source, input.observed);
    let source_keys = input.replication.spec.source.kms_key_arns.clone();
    let extent = Extent { tags: false, acls: false, object_lock: false, source_keys };
    permissions(source, &discovered, &extent, rules).statement
}

/// The destinations that count as the account's own under an `AwsAccount`, and of which S3 does not confirm that.
pub fn unconfirmed<'a>(input: &PlanInput<'a>) -> impl Iterator<Item = &'a DesiredBucket> + use<'a> {
    let PlanInput { desired, observed, .. } = *input;
    let own = &observed.caller.account;
    let is_restricted = input.account().is_some();
    desired.destinations.iter().filter(move |bucket| {
        let held = observed.destinations.get(&bucket.name);
        is_restricted
            && bucket.account_id.as_ref().is_none_or(|id| id == own)
            && held.is_some_and(|held| !held.owner_confirmed)
    })
}

/// The destinations to which the role's policy lets no objects go.
fn closed_by_role(input: &PlanInput<'_>, policy: &Value) -> BTreeSet<String> {
    let destinations = input.desired.destinations.iter().map(|d| d.name.clone());
    destinations.filter(|name| !is_open_to(input, policy, &rules_to(input, name))).collect()
}

/// Whether a policy of the role lets objects go by rules.
pub fn is_open_to(input: &PlanInput<'_>, policy: &Value, rules: &BTreeMap<String, Rule>) -> bool {
    !denies(policy)
        && needed_by(input, rules).iter().all(|statement| {
            let mut actions = statement.action.iter();
            actions.all(|action| statement.resource.iter().all(|on| allows(policy, action, on)))
        })
}

/// The destinations whose policies do not let the role in, or not for all that the rules do there.
fn closed_to_role(input: &PlanInput<'_>) -> BTreeSet<String> {
    let (sid, role) = (&input.desired.sid, input.desired.role.arn(&input.observed.caller));
    let wanted = input.desired.bucket_policies.iter();
    let closed = wanted.filter(|(bucket, exact)| {
        let hands_over = exact.iter().any(|statement| statement.action.iter().any(|a| a == OVERRIDE_OWNER));
        match input.observed.bucket_policies.get(*bucket) {
            Some(Ok(policy)) => {
                let objects = input.observed.caller.partition.objects_arn(bucket);
                let admitted = |action| admits_to(policy.as_ref(), sid, &role, action, &objects);
                !admitted(REPLICATE) || (hands_over && !admitted(OVERRIDE_OWNER))
            }
            Some(Err(_)) => !input.was_applied(),
            None => false,
        }
    });
    closed.map(|(bucket, _)| bucket.clone()).collect()
}
