//! Decides which steps lead from the observed to the desired state, or why there are none.
//!
//! In: what is desired, what was observed, and the resource. Out: ordered steps, or why nothing is written.

pub mod former_writes;
mod input;
mod lacks;
mod preconditions;
pub mod teardown;
mod transition;
mod unread;

pub use input::PlanInput;
pub use preconditions::require_reached;
pub use unread::uncompared;

use std::collections::BTreeMap;

use serde::Serialize;

use self::preconditions::{RefusalScope, refusals};
use crate::api::{AwsResource, DriftEntry, ManagementPolicy};
use crate::iam::bucket_policy;
use crate::iam::compare::compare;
use crate::iam::document::{PolicyDocument, Statement};
use crate::mutants::{Mutant, is_on};
use crate::replication::configuration::Configuration;
use crate::replication::desired::{DesiredBucket, DesiredRole, ManagedRole};
use crate::replication::diff;
use crate::replication::observed::ObservedRole;
use crate::replication::outcome::Outcome;
use crate::replication::part::part_settles;
use crate::replication::plan::lacks::{lacking, unconfirmed};
use crate::replication::plan::transition::{TransitionPolicies, exact_while_unread};
use crate::replication::plan::unread::{
    PolicyToWrite, awaits_boundary, keeps_all, may_begin_change, may_delete_roles, may_not_use_role,
    policy_in_place_of, statements_in_place_of,
};
use crate::replication::refusal::Refusal;
use crate::replication::resource::Replication;
use crate::replication::resource_id::{ResourceId, adopted_tag, is_adopted, is_owner_tag, owner_keys};
use crate::replication::step::{RoleDocuments, Step, is_in_trust_policy};

/// The steps to execute, and the reasons.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub differences: Vec<DriftEntry>,
    /// Whether the differences are someone else's doing, and not a change of the spec still to be applied.
    pub drift: bool,
    /// The steps of a stage may run at once; a stage begins when the one before it is done.
    pub stages: Vec<Vec<Step>>,
    /// Why nothing is written although something differs, in the order of the checks; the first one decides what the
    /// status says.
    pub refusals: Vec<Refusal>,
    /// Names of elements of the configuration in AWS that this version does not know, and that the steps remove.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_elements: Vec<String>,
}

impl Plan {
    /// A plan for which nothing was read.
    pub fn refused(refusals: Vec<Refusal>) -> Plan {
        Plan { refusals, ..Plan::default() }
    }

    /// The refusal that decides what the status says.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusals.first()
    }

    /// The stages with only those steps that correct something and leave these differences alone. A step that needs
    /// one that is left out is left out too.
    pub fn without(&self, held_back: &[DriftEntry]) -> Vec<Vec<Step>> {
        let settles = |step: &Step, some: &[DriftEntry]| some.iter().any(|d| step.settles(d));
        let mut left_out: Vec<&Step> = Vec::new();
        let mut stages = Vec::new();
        for stage in &self.stages {
            let (kept, others): (Vec<&Step>, Vec<&Step>) = stage.iter().partition(|step| {
                (settles(step, &self.differences) || matches!(step, Step::PutRolePolicy { .. }))
                    && !settles(step, held_back)
                    && !left_out.iter().any(|other| step.needs(other))
            });
            left_out.extend(others);
            stages.push(kept.into_iter().cloned().collect::<Vec<Step>>());
        }
        stages.retain(|stage| !stage.is_empty());
        stages
    }

    /// The elements that the steps remove, as a sentence for people; `None` where there are none.
    pub fn removed_elements(&self) -> Option<String> {
        let removed = self.removed_elements.join(", ");
        (!removed.is_empty()).then(|| {
            format!("the replication configuration loses elements that this version does not know: {removed}")
        })
    }

    /// Whether a difference is gone: every step that settles it was done.
    pub fn is_settled(&self, difference: &DriftEntry, outcome: &Outcome) -> bool {
        let is_done = |step: &Step| {
            outcome.done.iter().any(|done| done == step || part_settles(done, step, difference))
        };
        let mut steps = self.steps().filter(|step| step.settles(difference)).peekable();
        steps.peek().is_some() && steps.all(is_done)
    }

    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flatten()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for difference in &self.differences {
            writeln!(f, "  {difference}")?;
        }
        for (i, step) in self.steps().enumerate() {
            writeln!(f, "  {}. {step}", i + 1)?;
        }
        if let Some(removed) = self.removed_elements() {
            writeln!(f, "  note: {removed}")?;
        }
        for Refusal { reason, message, .. } in &self.refusals {
            writeln!(f, "  refused ({reason}): {message}")?;
        }
        Ok(())
    }
}

/// Decides what to do.
pub fn plan(input: &PlanInput<'_>) -> Plan {
    let Replication { spec, status, .. } = input.replication;
    let set_tags = status.role.as_ref().map(|role| role.tags.as_slice()).unwrap_or_default();
    let differences = diff::differences(input.desired, input.observed, set_tags);
    let is_left_out =
        is_on(Mutant::SpecChangeIgnored) && status.applied_hash.is_some() && !input.was_applied();
    let differences = if is_left_out { Vec::new() } else { differences };
    let observes = spec.management_policy == ManagementPolicy::Observe;
    let drift = observes || input.was_applied();
    let refused = refusals(input, &differences);
    // A part that cannot be read now is assumed to be as it was applied, so that it holds back only the steps that need
    // it. A changed spec may name a bucket of somebody else: nothing is written for one before its owner is known.
    let may_begin = may_begin_change(input) && unconfirmed(input).next().is_none();
    let is_aside = !differences.is_empty() && (input.was_applied() || may_begin);
    let stops = refused.iter().any(|(scope, _)| *scope == RefusalScope::All || !is_aside);
    let refused = refused.into_iter().map(|(_, refusal)| refusal).collect();
    let steps = match !stops && (!observes || is_on(Mutant::WriteInObserve)) {
        true => stages(input, &differences),
        _ if is_on(Mutant::WriteBeforeRefusal) => stages(input, &differences),
        false => Vec::new(),
    };
    let replaces = steps.iter().flatten().any(|step| matches!(step, Step::PutReplication { .. }));
    let removed_elements =
        if replaces { input.observed.unknown_elements.iter().cloned().collect() } else { Vec::new() };
    Plan { differences, drift, stages: steps, refusals: refused, removed_elements }
}

/// Versioning and the role at once, then what has to be granted, then the configuration, then what is no longer needed.
/// Permissions are taken away only after the configuration that needs them was replaced.
fn stages(input: &PlanInput<'_>, differences: &[DriftEntry]) -> Vec<Vec<Step>> {
    let transition = TransitionPolicies::of(input, differences);
    let mut first: Vec<Step> =
        input.unversioned().map(|(d, o, _)| Step::EnableVersioning { bucket: input.address(d, o) }).collect();
    if let DesiredRole::Managed(role) = &input.desired.role {
        first.extend(role_steps(input, role, differences));
    }
    let (mut grants, exact) = policy_steps(input, differences, &transition);
    if !may_not_use_role(input) {
        grants.extend(bucket_policy_steps(input, differences, &transition));
    }
    let mut configuration = Vec::new();
    if differs(differences, AwsResource::ReplicationConfiguration) && !may_not_use_role(input) {
        configuration.push(Step::PutReplication {
            bucket: input.address(&input.desired.source, &input.observed.source),
            configuration: Configuration {
                role: input.desired.role.arn(&input.observed.caller),
                rules: input.desired.rules.clone(),
            },
            lacking: lacking(input),
        });
    }
    if is_on(Mutant::ConfigurationFirst) {
        std::mem::swap(&mut grants, &mut configuration);
    }
    let mut stages = vec![first, grants, configuration];
    if !keeps_all(input) {
        stages.extend(removals(input, &transition, exact));
    }
    stages.retain(|stage| !stage.is_empty());
    stages
}

/// The steps that take away permissions that are no longer needed: policies, then the roles that were replaced.
fn removals(input: &PlanInput<'_>, transition: &TransitionPolicies, exact: Option<Step>) -> [Vec<Step>; 2] {
    let former = input.observed.former_roles_of(input.replication.id);
    let may_delete_adopted = input.adopts() || is_on(Mutant::AdoptedRoleDeleted);
    let is_kept = |role: &ObservedRole| is_adopted(&role.tags) && !may_delete_adopted;
    let (policies, roles): (Vec<Step>, Vec<Step>) = former
        .filter(|role| (role.other_policies.is_empty() || is_kept(role)) && may_delete_roles(input))
        .map(|role| {
            let last =
                if is_kept(role) { released(role) } else { Step::DeleteRole { role: role.name.clone() } };
            (Step::DeleteRolePolicy { role: role.name.clone() }, last)
        })
        .unzip();
    let mut last: Vec<Step> = exact.into_iter().chain(policies).collect();
    let expanded = |d: &&DesiredBucket| transition.bucket_policies.contains_key(&d.name);
    last.extend(input.desired.destinations.iter().filter(expanded).filter_map(|d| {
        statements_step(input, d, input.desired.bucket_policies.get(&d.name)?.clone(), false)
    }));
    last.extend(input.former_policies().map(|bucket| Step::PutBucketPolicy {
        bucket,
        sid: input.desired.sid.clone(),
        statements: Vec::new(),
        expands: false,
    }));
    [last, roles]
}

/// Gives a role back that was adopted: its tags name nobody any more.
fn released(role: &ObservedRole) -> Step {
    Step::UntagRole { role: role.name.clone(), keys: owner_keys(&role.tags) }
}

/// The write of the role's policy before the configuration, and the one after it.
fn policy_steps(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
    transition: &TransitionPolicies,
) -> (Vec<Step>, Option<Step>) {
    let DesiredRole::Managed(role) = &input.desired.role else { return (Vec::new(), None) };
    let put = |document: &PolicyDocument, expands| Step::PutRolePolicy {
        role: role.name.clone(),
        document: document.to_json(),
        expands,
    };
    let Ok(held) = &input.observed.role else { return (Vec::new(), None) };
    match (&transition.role_policy, held.as_ref().map(|held| &held.policy)) {
        (Some(union), Some(Ok(Some(policy)))) => {
            let missing = !compare(&union.to_value(), policy).is_empty();
            (missing.then(|| put(union, true)).into_iter().collect(), Some(put(&role.permissions, false)))
        }
        (_, None | Some(Ok(None))) if !awaits_boundary(input, role, differences) => {
            (vec![put(&role.permissions, false)], None)
        }
        (_, Some(Ok(Some(policy))))
            if differs(differences, AwsResource::RolePolicy)
                && !awaits_boundary(input, role, differences) =>
        {
            let written = policy_in_place_of(input, policy, &role.permissions);
            let step = written.map(|PolicyToWrite { document, expands }| Step::PutRolePolicy {
                role: role.name.clone(),
                document,
                expands,
            });
            (step.into_iter().collect(), None)
        }
        _ => (Vec::new(), None),
    }
}

/// The writes of destinations' policies before the configuration. They come after the role: S3 refuses a policy that
/// names a role that does not exist.
fn bucket_policy_steps(
    input: &PlanInput<'_>,
    differences: &[DriftEntry],
    transition: &TransitionPolicies,
) -> Vec<Step> {
    let steps = input.desired.destinations.iter().filter_map(|d| {
        let differs = |e: &DriftEntry| e.resource == AwsResource::DestinationBucketPolicy && e.name == d.name;
        let exact = input.desired.bucket_policies.get(&d.name)?;
        let Ok(held) = input.observed.bucket_policies.get(&d.name)? else {
            // The step reads the policy again, and its failure holds back only what needs the policy.
            return (!input.is_unreached(&d.name) && exact_while_unread(input, &d.name, differences))
                .then(|| statements_step(input, d, exact.clone(), false))
                .flatten();
        };
        match transition.bucket_policies.get(&d.name) {
            Some(union) => {
                let own = bucket_policy::policy_of_sid(held.as_ref(), &input.desired.sid);
                let missing = !compare(&PolicyDocument::new(union.clone()).to_value(), &own).is_empty();
                missing.then(|| statements_step(input, d, union.clone(), true)).flatten()
            }
            None if differences.iter().any(differs) => {
                let (statements, expands) = statements_in_place_of(input, &d.name, held.as_ref(), exact)?;
                statements_step(input, d, statements, expands)
            }
            None => None,
        }
    });
    steps.collect()
}

fn statements_step(
    input: &PlanInput<'_>,
    d: &DesiredBucket,
    statements: Vec<Statement>,
    expands: bool,
) -> Option<Step> {
    let held = input.observed.destinations.get(&d.name)?;
    let sid = input.desired.sid.clone();
    Some(Step::PutBucketPolicy { bucket: input.address(d, held), sid, statements, expands })
}

fn differs(differences: &[DriftEntry], resource: AwsResource) -> bool {
    differences.iter().any(|d| d.resource == resource)
}

fn role_steps(input: &PlanInput<'_>, role: &ManagedRole, differences: &[DriftEntry]) -> Vec<Step> {
    let name = role.name.clone();
    if matches!(input.observed.role, Ok(None)) {
        let ResourceId { namespace, name: resource, .. } = input.replication.id;
        return vec![Step::CreateRole {
            role: name,
            documents: RoleDocuments {
                path: role.path.clone(),
                trust: role.trust.to_json(),
                permissions_boundary: role
                    .permissions_boundary
                    .clone()
                    .filter(|_| !is_on(Mutant::BoundaryComesLast)),
                tags: role.tags.clone(),
                description: format!("S3 replication for BucketReplication {namespace}/{resource}"),
            },
        }];
    }
    let of_role = || differences.iter().filter(|d| d.resource == AwsResource::Role);
    let mut steps = Vec::new();
    if of_role().any(|d| is_in_trust_policy(&d.path)) {
        let held = input.observed.role.iter().flatten().next().map(|held| &held.trust);
        let written = held.and_then(|held| policy_in_place_of(input, held, &role.trust));
        steps.extend(written.map(|PolicyToWrite { document, expands }| Step::UpdateTrustPolicy {
            role: name.clone(),
            document,
            expands,
        }));
    }
    if of_role().any(|d| d.path == "permissionsBoundary") && !awaits_boundary(input, role, differences) {
        steps.push(match &role.permissions_boundary {
            Some(boundary) => Step::PutPermissionsBoundary { role: name.clone(), boundary: boundary.clone() },
            None => Step::DeletePermissionsBoundary { role: name.clone() },
        });
    }
    // Derived from the desired tags: the text of a difference for "none" may be a tag's value too.
    let tag_differences = || {
        let keys = of_role().filter_map(|d| d.path.strip_prefix("tags."));
        keys.map(|key| (key, role.tags.contains_key(key)))
    };
    let set: Vec<&str> = tag_differences().filter(|(_, wanted)| *wanted).map(|(key, _)| key).collect();
    let tags = role.tags.iter().filter(|(key, _)| set.contains(&key.as_str()));
    // The operator's own tags are a step apart from those of the spec. IAM denies a whole request if a policy denies
    // one of its tags, and the permissions of the role wait only for the tags that name its owner.
    let (mut owner, others): (BTreeMap<String, String>, BTreeMap<String, String>) =
        tags.map(|(key, value)| (key.clone(), value.clone())).partition(|(key, _)| is_owner_tag(key));
    let is_foreign = |held: &ObservedRole| !input.replication.id.owns(&held.tags);
    if !owner.is_empty() && input.observed.role.iter().flatten().any(is_foreign) {
        owner.extend([adopted_tag()]);
    }
    let tagged = [owner, others].into_iter().filter(|tags| !tags.is_empty());
    steps.extend(tagged.map(|tags| Step::TagRole { role: name.clone(), tags }));
    let unset: Vec<String> =
        tag_differences().filter(|(_, wanted)| !wanted).map(|(key, _)| key.to_owned()).collect();
    if !unset.is_empty() && !keeps_all(input) && !is_on(Mutant::TagsKept) {
        steps.push(Step::UntagRole { role: name, keys: unset });
    }
    steps
}
