//! The contents of settings in AWS, such as a bucket's replication configuration, as hashes.
//!
//! In: what was observed, and the steps that were done, or may be. Out: a hash of each setting that steps write to, and
//! what was there before each write: AWS may still answer with that.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use crate::api::AwsResource;
use crate::iam::bucket_policy::policy_of_sid;
use crate::replication::desired::DesiredRole;
use crate::replication::outcome::Outcome;
use crate::replication::plan::teardown::ObservedForDeletion;
use crate::replication::setting_hash::{SettingHash, setting};
use crate::replication::{Configuration, Observed, ObservedRole, PlanInput, Step, VersioningStatus};

/// The hash of what each setting holds. A setting that could not be read is left out.
pub type Contents = HashMap<SettingHash, u64>;

/// The contents of a setting before and after a write. `None`: it is not known.
#[derive(Clone, Copy, Debug)]
pub struct Replaced {
    pub setting: SettingHash,
    pub before: Option<u64>,
    pub after: Option<u64>,
}

impl Replaced {
    /// Whether any policy that AWS shows may be the one that was there before.
    pub fn removes_unread_policy(&self) -> bool {
        self.before.is_none() && self.after == Some(absent_policy())
    }
}

/// The setting of a replication configuration.
pub fn setting_of_configuration(bucket: &str) -> SettingHash {
    setting(AwsResource::ReplicationConfiguration, bucket)
}

/// The contents that a check observed.
pub fn contents(input: &PlanInput<'_>) -> Contents {
    let Observed { source, destinations, configuration, role, former_roles, bucket_policies, .. } =
        input.observed;
    let mut held = Contents::new();
    if let Ok(configuration) = configuration {
        let name = &input.desired.source.name;
        held.insert(setting_of_configuration(name), configuration_hash(configuration.as_ref()));
    }
    let named = destinations.iter().map(|(name, bucket)| (name.as_str(), bucket));
    for (name, bucket) in named.chain([(input.desired.source.name.as_str(), source)]) {
        if let Ok(versioning) = &bucket.versioning {
            let content = hash(versioning.status.as_str());
            held.insert(setting(AwsResource::BucketVersioning, name), content);
        }
    }
    if let Ok(role) = role {
        let name = input.desired.role.name();
        held.insert(setting(AwsResource::Role, name), role_hash(role.as_ref()));
        let is_managed = matches!(input.desired.role, DesiredRole::Managed(_));
        match role.as_ref().map(|role| &role.policy) {
            // The policy of an existing role is not read.
            _ if !is_managed => {}
            Some(Ok(policy)) => drop(held.insert(setting(AwsResource::RolePolicy, name), json_hash(policy))),
            None => drop(held.insert(setting(AwsResource::RolePolicy, name), absent_policy())),
            Some(Err(_)) => {}
        }
    }
    for (name, role) in former_roles {
        if let Ok(role) = role {
            held.insert(setting(AwsResource::Role, name), role_hash(role.as_ref()));
        }
    }
    for (name, policy) in bucket_policies {
        if let Ok(policy) = policy {
            let content = json_hash(&policy_of_sid(policy.as_ref(), &input.desired.sid));
            held.insert(setting(AwsResource::DestinationBucketPolicy, name), content);
        }
    }
    held
}

/// The contents of settings in which a deletion found nothing of the resource: AWS may still show the state from before
/// the operator's own write. `roles`: the names under which roles were searched for.
pub fn absent<'a>(
    observed: &ObservedForDeletion,
    sid: &str,
    roles: impl Iterator<Item = &'a String>,
) -> Contents {
    let mut held = Contents::new();
    let missing = roles.filter(|name| observed.roles.get(*name) == Some(&Ok(None)));
    held.extend(missing.map(|name| (setting(AwsResource::Role, name), role_hash(None))));
    for (bucket, policy) in &observed.bucket_policies {
        if let Ok(policy) = policy {
            let content = json_hash(&policy_of_sid(policy.as_ref(), sid));
            held.insert(setting(AwsResource::DestinationBucketPolicy, &bucket.name), content);
        }
    }
    held
}

/// The settings that steps replaced, in their order.
#[derive(Debug, Default)]
pub struct Writes {
    pub done: Vec<Replaced>,
    /// By steps that AWS did not answer: they may be done.
    pub unanswered: Vec<Replaced>,
}

/// The settings that the steps of a check replaced, or may have replaced.
pub fn replaced(input: &PlanInput<'_>, outcome: &Outcome) -> Writes {
    let mut held = contents(input);
    let mut replace = |step: &Step| -> Vec<Replaced> {
        let settings = written(step).into_iter().map(|(setting, after)| {
            let before = match after {
                Some(after) => held.insert(setting, after),
                None => held.remove(&setting),
            };
            Replaced { setting, before, after }
        });
        settings.collect()
    };
    Writes {
        done: outcome.done.iter().flat_map(&mut replace).collect(),
        unanswered: outcome.unanswered().flat_map(&mut replace).collect(),
    }
}

/// The settings that a step writes to, each with what it holds then, where that is known.
pub fn written(step: &Step) -> Vec<(SettingHash, Option<u64>)> {
    match step {
        Step::EnableVersioning { bucket } => {
            let enabled = hash(VersioningStatus::Enabled.as_str());
            vec![(setting(AwsResource::BucketVersioning, &bucket.name), Some(enabled))]
        }
        // IAM may show the role before its policy.
        Step::CreateRole { role, .. } => vec![
            (setting(AwsResource::Role, role), None),
            (setting(AwsResource::RolePolicy, role), Some(absent_policy())),
        ],
        Step::UpdateTrustPolicy { role, .. }
        | Step::PutPermissionsBoundary { role, .. }
        | Step::DeletePermissionsBoundary { role }
        | Step::TagRole { role, .. }
        | Step::UntagRole { role, .. } => vec![(setting(AwsResource::Role, role), None)],
        Step::DeleteRole { role } => vec![(setting(AwsResource::Role, role), Some(role_hash(None)))],
        Step::PutRolePolicy { role, document, .. } => {
            let policy: Option<Value> = serde_json::from_str(document).ok();
            vec![(setting(AwsResource::RolePolicy, role), Some(json_hash(&policy)))]
        }
        Step::DeleteRolePolicy { role } => {
            vec![(setting(AwsResource::RolePolicy, role), Some(absent_policy()))]
        }
        Step::PutBucketPolicy { bucket, statements, .. } => {
            let content = json_hash(&json!({"Statement": statements}));
            vec![(setting(AwsResource::DestinationBucketPolicy, &bucket.name), Some(content))]
        }
        Step::PutReplication { bucket, configuration, .. } => {
            vec![(setting_of_configuration(&bucket.name), Some(configuration_hash(Some(configuration))))]
        }
        Step::DeleteReplication { bucket } => {
            vec![(setting_of_configuration(&bucket.name), Some(configuration_hash(None)))]
        }
    }
}

pub fn configuration_hash(held: Option<&Configuration>) -> u64 {
    json_hash(&held.map(Configuration::as_held))
}

/// The content of a role's policy where there is none.
pub fn absent_policy() -> u64 {
    json_hash(&None::<Value>)
}

fn role_hash(role: Option<&ObservedRole>) -> u64 {
    json_hash(&role.map(|role| json!([role.trust, role.permissions_boundary, role.tags])))
}

fn json_hash<T: serde::Serialize>(value: &T) -> u64 {
    hash(&serde_json::to_string(value).unwrap_or_default())
}

pub fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
