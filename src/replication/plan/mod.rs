//! Differences + ownership + mode → ordered steps, or a refusal.

mod preconditions;
pub mod teardown;

use serde::Serialize;

use self::preconditions::refusal;
use crate::api::{
    AdoptionPolicy, AwsResource, BucketReplicationSpec, BucketReplicationStatus, DriftEntry, ManagementPolicy,
};
use crate::iam::bucket_policy;
use crate::replication::authorize::accounts::{Account, Accounts};
use crate::replication::configuration::Configuration;
use crate::replication::desired::{Desired, DesiredBucket, DesiredRole, ManagedRole};
use crate::replication::diff::differences;
use crate::replication::observed::{Observed, ObservedBucket, ObservedRole, Versioning, VersioningStatus};
use crate::replication::read_set::{BucketRef, ReadSet};
use crate::replication::refusal::Refusal;
use crate::replication::resource_id::ResourceId;
use crate::replication::step::{Place, RoleDocuments, Step};

/// All that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    pub desired: &'a Desired,
    pub observed: &'a Observed,
    pub identity: &'a ResourceId,
    pub management: ManagementPolicy,
    pub adoption: AdoptionPolicy,
    /// `status.appliedHash`: what was last fully applied, if ever anything was.
    pub applied_hash: Option<&'a str>,
    /// What the source's `AwsAccount` imposes. `None`: there is none, and nothing is restricted.
    pub account: Option<&'a Account>,
    /// Destinations of before whose policies hold statements of ours.
    pub former_destinations: &'a [BucketRef],
}

impl<'a> PlanInput<'a> {
    pub fn new(
        spec: &BucketReplicationSpec,
        status: &'a BucketReplicationStatus,
        identity: &'a ResourceId,
        desired: &'a Desired,
        observed: &'a Observed,
        accounts: &'a Accounts,
        subject: &'a ReadSet,
    ) -> PlanInput<'a> {
        PlanInput {
            desired,
            observed,
            identity,
            management: spec.management_policy,
            adoption: spec.adoption_policy,
            applied_hash: status.applied_hash.as_deref(),
            account: accounts.source.as_ref(),
            former_destinations: &subject.former_destinations,
        }
    }
}

impl PlanInput<'_> {
    /// The former destinations in whose policies statements of ours still are.
    pub fn former_policies(&self) -> impl Iterator<Item = Place> {
        let ours = |bucket: &&BucketRef| match self.observed.bucket_policies.get(&bucket.bucket) {
            Some(Ok(policy)) => bucket_policy::holds(policy.as_ref(), &self.desired.sid),
            _ => false,
        };
        self.former_destinations.iter().filter(ours).map(BucketRef::as_last_seen)
    }
}

/// What is to be done, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub differences: Vec<DriftEntry>,
    /// Whether the differences are someone else's doing, and not a change of the spec still to be applied.
    pub drift: bool,
    /// The steps of a stage may run at once; a stage begins when the one before it is done.
    pub stages: Vec<Vec<Step>>,
    /// Why nothing is done although something differs.
    pub refusal: Option<Refusal>,
}

impl Plan {
    /// Nothing was looked at.
    pub fn refused(refusal: Refusal) -> Plan {
        Plan { differences: Vec::new(), drift: false, stages: Vec::new(), refusal: Some(refusal) }
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
        if let Some(Refusal { reason, message, .. }) = &self.refusal {
            writeln!(f, "  refused ({reason}): {message}")?;
        }
        Ok(())
    }
}

/// Decides what to do.
pub fn plan(situation: &PlanInput<'_>) -> Plan {
    let PlanInput { desired, observed, management, applied_hash, .. } = *situation;
    let differences = differences(desired, observed);
    let drift = management == ManagementPolicy::Observe || applied_hash == Some(desired.hash().as_str());
    let refusal = refusal(situation, &differences);
    let stages = match (&refusal, management) {
        (None, ManagementPolicy::Enforce) => stages(situation, &differences),
        _ => Vec::new(),
    };
    Plan { differences, drift, stages, refusal }
}

/// Each desired bucket with what was observed of it, destinations first.
fn buckets<'a>(s: &'a PlanInput<'_>) -> impl Iterator<Item = (&'a DesiredBucket, &'a ObservedBucket)> {
    let destinations =
        s.desired.destinations.iter().filter_map(|d| Some((d, s.observed.destinations.get(&d.bucket)?)));
    destinations.chain(std::iter::once((&s.desired.source, &s.observed.source)))
}

pub(crate) fn unversioned<'a>(
    s: &'a PlanInput<'_>,
) -> impl Iterator<Item = (&'a DesiredBucket, &'a ObservedBucket, Versioning)> {
    buckets(s)
        .filter_map(|(d, o)| Some((d, o, *o.versioning.as_ref().ok()?)))
        .filter(|(_, _, versioning)| versioning.status != VersioningStatus::Enabled)
}

/// Versioning and the role at once, then the role's policy, then the configuration, and last what is no longer
/// needed.
fn stages(s: &PlanInput<'_>, differences: &[DriftEntry]) -> Vec<Vec<Step>> {
    let place = |d: &DesiredBucket, o: &ObservedBucket| Place {
        bucket: d.bucket.clone(),
        region: s.observed.region_of(o).unwrap_or_default(),
        owner: d.account.clone().unwrap_or_else(|| s.observed.caller.account.clone()),
        account_ref: d.account_ref.clone(),
    };

    let mut first: Vec<Step> =
        unversioned(s).map(|(d, o, _)| Step::EnableVersioning { place: place(d, o) }).collect();
    let mut policy = Vec::new();
    if let DesiredRole::Managed(role) = &s.desired.role {
        let held = s.observed.role.as_ref().ok().and_then(Option::as_ref);
        first.extend(role_steps(s, role, held, differences));
        if held.is_none() || differs(differences, AwsResource::RolePolicy) {
            policy
                .push(Step::PutRolePolicy { role: role.name.clone(), document: role.permissions.to_json() });
        }
    }
    for d in &s.desired.destinations {
        let differs =
            |e: &DriftEntry| e.resource == AwsResource::DestinationBucketPolicy && e.name == d.bucket;
        let held = s.observed.destinations.get(&d.bucket).zip(s.desired.bucket_policies.get(&d.bucket));
        if let (Some((o, statements)), true) = (held, differences.iter().any(differs)) {
            // After the role: S3 refuses a policy that names one that is not there.
            policy.push(Step::PutBucketPolicy {
                place: place(d, o),
                sid: s.desired.sid.clone(),
                statements: statements.clone(),
            });
        }
    }
    let mut configuration = Vec::new();
    if differs(differences, AwsResource::ReplicationConfiguration) {
        configuration.push(Step::PutReplication {
            place: place(&s.desired.source, &s.observed.source),
            configuration: Configuration {
                role: s.desired.role.arn(&s.observed.caller),
                rules: s.desired.rules.clone(),
            },
        });
    }
    let former = s.observed.former_roles_of(s.identity).filter(|role| role.other_policies.is_empty());
    let (mut policies, roles): (Vec<Step>, Vec<Step>) = former
        .map(|r| (Step::DeleteRolePolicy { role: r.name.clone() }, Step::DeleteRole { role: r.name.clone() }))
        .unzip();
    policies.extend(s.former_policies().map(|place| Step::PutBucketPolicy {
        place,
        sid: s.desired.sid.clone(),
        statements: Vec::new(),
    }));
    [first, policy, configuration, policies, roles].into_iter().filter(|stage| !stage.is_empty()).collect()
}

fn differs(differences: &[DriftEntry], resource: AwsResource) -> bool {
    differences.iter().any(|d| d.resource == resource)
}

fn role_steps(
    s: &PlanInput<'_>,
    role: &ManagedRole,
    held: Option<&ObservedRole>,
    differences: &[DriftEntry],
) -> Vec<Step> {
    let name = role.name.clone();
    if held.is_none() {
        let ResourceId { namespace, name: resource, .. } = s.identity;
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
