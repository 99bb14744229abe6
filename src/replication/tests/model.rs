//! AWS as far as the plan touches it: each step does to the model what its call does to AWS.

use serde_json::Value;

use crate::iam::bucket_policy;
use crate::replication::step::Step;
use crate::replication::{
    BucketAddress, Observed, ObservedBucket, ObservedRole, RoleDocuments, VersioningStatus,
};

fn json(document: &str) -> Value {
    serde_json::from_str(document).unwrap()
}

fn bucket<'a>(observed: &'a mut Observed, source: &str, name: &str) -> &'a mut ObservedBucket {
    if name == source { &mut observed.source } else { observed.destinations.get_mut(name).unwrap() }
}

fn role<'a>(observed: &'a mut Observed, name: &str) -> &'a mut ObservedRole {
    let named = observed.role.as_mut().unwrap().as_mut().filter(|r| r.name == name);
    named.unwrap_or_else(|| panic!("{name} is written before it is created"))
}

/// Does a step. `source` is the name of the observed source, which `Observed` does not repeat.
pub fn execute(observed: &mut Observed, source: &str, step: &Step) {
    match step {
        Step::EnableVersioning { bucket: BucketAddress { name, region, .. } } => {
            let target = bucket(observed, source, name);
            assert_eq!(target.region.as_ref().unwrap().as_deref(), Some(region.as_str()));
            let versioning = target.versioning.as_mut().unwrap();
            assert!(!versioning.mfa_delete, "AWS asks for the MFA device");
            versioning.status = VersioningStatus::Enabled;
        }
        Step::CreateRole { role, documents } => {
            let RoleDocuments { path, trust, permissions_boundary, tags, description: _ } = documents;
            assert_eq!(observed.role, Ok(None), "EntityAlreadyExists");
            observed.role = Ok(Some(ObservedRole {
                arn: observed.caller.partition.role_arn(&observed.caller.account, path, role),
                name: role.clone(),
                path: path.clone(),
                trust: json(trust),
                permissions_boundary: permissions_boundary.clone(),
                tags: tags.clone(),
                policy: Ok(None),
                other_policies: Vec::new(),
            }));
        }
        Step::UpdateTrustPolicy { role: name, document, .. } => role(observed, name).trust = json(document),
        Step::PutPermissionsBoundary { role: name, boundary } => {
            role(observed, name).permissions_boundary = Some(boundary.clone());
        }
        Step::DeletePermissionsBoundary { role: name } => role(observed, name).permissions_boundary = None,
        Step::TagRole { role: name, tags } => role(observed, name).tags.extend(tags.clone()),
        Step::UntagRole { role: name, keys } => {
            role(observed, name).tags.retain(|key, _| !keys.contains(key));
        }
        Step::PutRolePolicy { role: name, document, .. } => {
            role(observed, name).policy = Ok(Some(json(document)))
        }
        Step::PutBucketPolicy { bucket, sid, statements, .. } => {
            let held = observed.bucket_policies.get_mut(&bucket.name).unwrap().as_mut().unwrap();
            *held = bucket_policy::merged(held.as_ref(), sid, statements);
        }
        Step::PutReplication { bucket: BucketAddress { name, .. }, configuration, .. } => {
            assert_eq!(name, source);
            let versioned = |b: &ObservedBucket| {
                b.versioning.as_ref().is_ok_and(|v| v.status == VersioningStatus::Enabled)
                    || b.versioning.is_err()
            };
            assert!(versioned(&observed.source), "Versioning must be 'Enabled' on the bucket");
            assert!(
                observed.destinations.values().all(versioned),
                "Destination bucket must have versioning enabled."
            );
            let mut configuration = configuration.clone();
            for rule in configuration.rules.values_mut() {
                rule.priority = rule.priority.or(Some(1));
            }
            observed.configuration = Ok(Some(configuration));
        }
        Step::DeleteReplication { .. } => observed.configuration = Ok(None),
        Step::DeleteRolePolicy { role } => {
            let former = observed.former_roles.get_mut(role).unwrap();
            former.as_mut().unwrap().as_mut().unwrap().policy = Ok(None);
        }
        Step::DeleteRole { role } => {
            let held = observed.former_roles.remove(role).unwrap().unwrap().unwrap();
            assert!(held.policy == Ok(None) && held.other_policies.is_empty(), "DeleteConflict");
        }
    }
}

/// A versioned or unversioned bucket in a Region.
pub fn bucket_in(region: &str, status: VersioningStatus) -> ObservedBucket {
    ObservedBucket {
        region: Ok(Some(region.to_owned())),
        versioning: Ok(crate::replication::Versioning { status, mfa_delete: false }),
        owner_confirmed: true,
    }
}
