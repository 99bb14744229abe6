//! Differences + ownership + mode → ordered steps, or a refusal.

mod input;
mod preconditions;
pub mod teardown;

pub use input::PlanInput;

use serde::Serialize;

use self::preconditions::refusals;
use crate::api::{AwsResource, DriftEntry, ManagementPolicy};
use crate::replication::bucket::BucketAddress;
use crate::replication::configuration::Configuration;
use crate::replication::desired::{DesiredBucket, DesiredRole, ManagedRole};
use crate::replication::diff::differences;
use crate::replication::observed::{ObservedBucket, ObservedRole};
use crate::replication::refusal::Refusal;
use crate::replication::resource::Replication;
use crate::replication::resource_id::ResourceId;
use crate::replication::step::{RoleDocuments, Step};

/// What is to be done, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub differences: Vec<DriftEntry>,
    /// Whether the differences are someone else's doing, and not a change of the spec still to be applied.
    pub drift: bool,
    /// The steps of a stage may run at once; a stage begins when the one before it is done.
    pub stages: Vec<Vec<Step>>,
    /// Why nothing is written although something differs, in the order of the checks; the first one decides what the
    /// status says.
    pub refusals: Vec<Refusal>,
}

impl Plan {
    /// A plan for which nothing was read.
    pub fn refused(refusal: Refusal) -> Plan {
        Plan { differences: Vec::new(), drift: false, stages: Vec::new(), refusals: vec![refusal] }
    }

    /// The refusal that decides what the status says.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusals.first()
    }

    /// The stages with only those steps that put something right and leave these differences alone.
    pub fn without(&self, held_back: &[DriftEntry]) -> Vec<Vec<Step>> {
        let settles = |step: &Step, some: &[DriftEntry]| some.iter().any(|d| step.settles(d));
        let rest = |step: &&Step| settles(step, &self.differences) && !settles(step, held_back);
        let stages = self.stages.iter().map(|stage| stage.iter().filter(rest).cloned().collect::<Vec<_>>());
        stages.filter(|stage| !stage.is_empty()).collect()
    }

    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flatten()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for d in &self.differences {
            writeln!(
                f,
                "  {} {} {}: want {:?}, got {:?}",
                d.resource.as_str(),
                d.name,
                d.path,
                d.want,
                d.got
            )?;
        }
        for (i, step) in self.steps().enumerate() {
            writeln!(f, "  {}. {step}", i + 1)?;
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
    let differences = differences(input.desired, input.observed);
    let observes = spec.management_policy == ManagementPolicy::Observe;
    let drift = observes || status.applied_hash.as_ref() == Some(&input.desired.hash());
    let refusals = refusals(input, &differences);
    let stages = match refusals.is_empty() && !observes {
        true => stages(input, &differences),
        false => Vec::new(),
    };
    Plan { differences, drift, stages, refusals }
}

/// Versioning and the role at once, then the role's policy, then the configuration, and last what is no longer
/// needed.
fn stages(input: &PlanInput<'_>, differences: &[DriftEntry]) -> Vec<Vec<Step>> {
    let address = |d: &DesiredBucket, o: &ObservedBucket| BucketAddress {
        name: d.name.clone(),
        region: input.observed.region_of(o).unwrap_or_default(),
        account_id: d.account_id.clone().unwrap_or_else(|| input.observed.caller.account.clone()),
        account_ref: d.account_ref.clone(),
    };

    let mut first: Vec<Step> =
        input.unversioned().map(|(d, o, _)| Step::EnableVersioning { bucket: address(d, o) }).collect();
    let mut policy = Vec::new();
    if let DesiredRole::Managed(role) = &input.desired.role {
        let held = input.observed.role.as_ref().ok().and_then(Option::as_ref);
        first.extend(role_steps(input, role, held, differences));
        if held.is_none() || differs(differences, AwsResource::RolePolicy) {
            policy
                .push(Step::PutRolePolicy { role: role.name.clone(), document: role.permissions.to_json() });
        }
    }
    for d in &input.desired.destinations {
        let differs = |e: &DriftEntry| e.resource == AwsResource::DestinationBucketPolicy && e.name == d.name;
        let held = input.observed.destinations.get(&d.name).zip(input.desired.bucket_policies.get(&d.name));
        if let (Some((o, statements)), true) = (held, differences.iter().any(differs)) {
            // After the role: S3 refuses a policy that names one that is not there.
            policy.push(Step::PutBucketPolicy {
                bucket: address(d, o),
                sid: input.desired.sid.clone(),
                statements: statements.clone(),
            });
        }
    }
    let mut configuration = Vec::new();
    if differs(differences, AwsResource::ReplicationConfiguration) {
        configuration.push(Step::PutReplication {
            bucket: address(&input.desired.source, &input.observed.source),
            configuration: Configuration {
                role: input.desired.role.arn(&input.observed.caller),
                rules: input.desired.rules.clone(),
            },
        });
    }
    let former =
        input.observed.former_roles_of(input.replication.id).filter(|role| role.other_policies.is_empty());
    let (mut policies, roles): (Vec<Step>, Vec<Step>) = former
        .map(|r| (Step::DeleteRolePolicy { role: r.name.clone() }, Step::DeleteRole { role: r.name.clone() }))
        .unzip();
    policies.extend(input.former_policies().map(|bucket| Step::PutBucketPolicy {
        bucket,
        sid: input.desired.sid.clone(),
        statements: Vec::new(),
    }));
    [first, policy, configuration, policies, roles].into_iter().filter(|stage| !stage.is_empty()).collect()
}

fn differs(differences: &[DriftEntry], resource: AwsResource) -> bool {
    differences.iter().any(|d| d.resource == resource)
}

fn role_steps(
    input: &PlanInput<'_>,
    role: &ManagedRole,
    held: Option<&ObservedRole>,
    differences: &[DriftEntry],
) -> Vec<Step> {
    let name = role.name.clone();
    if held.is_none() {
        let ResourceId { namespace, name: resource, .. } = input.replication.id;
        return vec![Step::CreateRole {
            role: name,
            documents: RoleDocuments {
                path: role.path.clone(),
                trust: role.trust.to_json(),
                permissions_boundary: role.permissions_boundary.clone(),
                tags: role.tags.clone(),
                description: format!("S3 replication for BucketReplication {namespace}/{resource}"),
            },
        }];
    }
    let of_role = || differences.iter().filter(|d| d.resource == AwsResource::Role);
    let mut steps = Vec::new();
    if of_role().any(|d| d.path == "trustPolicy") {
        steps.push(Step::UpdateTrustPolicy { role: name.clone(), document: role.trust.to_json() });
    }
    if of_role().any(|d| d.path == "permissionsBoundary") {
        steps.push(match &role.permissions_boundary {
            Some(boundary) => Step::PutPermissionsBoundary { role: name.clone(), boundary: boundary.clone() },
            None => Step::DeletePermissionsBoundary { role: name.clone() },
        });
    }
    // Told from the role itself: what a difference says of nothing may be a tag's value too.
    let tag_differences = || {
        let keys = of_role().filter_map(|d| d.path.strip_prefix("tags."));
        keys.map(|key| (key, role.tags.contains_key(key)))
    };
    let set: Vec<&str> = tag_differences().filter(|(_, wanted)| *wanted).map(|(key, _)| key).collect();
    if !set.is_empty() {
        let tags = role.tags.iter().filter(|(key, _)| set.contains(&key.as_str()));
        let tags = tags.map(|(key, value)| (key.clone(), value.clone())).collect();
        steps.push(Step::TagRole { role: name.clone(), tags });
    }
    let unset: Vec<String> =
        tag_differences().filter(|(_, wanted)| !wanted).map(|(key, _)| key.to_owned()).collect();
    if !unset.is_empty() {
        steps.push(Step::UntagRole { role: name, keys: unset });
    }
    steps
}
