//! Calls about objects on a simulated AWS, and their replication.
//!
//! In: writes and reads of versions, each as an account. Out: what S3 answers. An object that a rule applies to is pending
//! when it is read first, and at its end when it is read again: whoever reads it sees both.
//!
//! The behaviour that is taken from AWS, and where AWS documents it:
//! - the statuses, and that an object is COMPLETED once every destination has it and FAILED where one does not get it:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-status.html>
//! - of several rules with one destination the one with the highest priority is applied:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html>
//! - what the role and the policy of a destination in another account have to allow:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html>
//! - the destination is versioned, and has Object Lock where the source has it:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-failure-codes.html>
//! - a rule leaves out objects that are encrypted with a KMS key unless it asks for them:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>
//! - a version that is deleted by its id leaves no marker, and one that is gone already is no error:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>; AWS documents no error for it
//! - a version under retention is not deleted, nor any without the code of the device where MFA delete is on:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html>,
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/MultiFactorAuthenticationDelete.html>
//!
//! Neither conditions nor denials in policies are evaluated, nor what a role may do with keys, tags and owners.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::iam::arn::{account_of_arn, bucket_of_arn};
use crate::iam::compare::{allowed_resources, trusts_service};
use crate::replication::health::canary::{
    CanaryObject, HeldVersion, ReplicationStatus, VersionAt, WrittenCanary,
};
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Rule, VersioningStatus};
use crate::simulation::world::{World, access_denied, principals, statements};

impl World {
    /// Writes an object, as an account.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn put_object(&mut self, caller: &str, object: &CanaryObject) -> Read<WrittenCanary> {
        let CanaryObject { bucket, key, tags } = object;
        let held = self.bucket(caller, bucket, "s3:PutObject")?;
        let encrypted = held.objects.encrypted;
        let applied = held.configuration.iter().flat_map(|held| held.rules.values());
        let applies = applied.filter(|rule| matches(rule, key, tags, encrypted)).count() > 0;
        let status = if applies { ReplicationStatus::Pending } else { ReplicationStatus::Absent };
        let held = self.bucket_mut(caller, bucket, "s3:PutObject")?;
        let id = held.objects.add(key, tags.clone(), Some(status));
        Ok(WrittenCanary { version: id, encrypted })
    }

    /// The replication status of a version, as an account; an object that was read as pending has been replicated
    /// since.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn head_version(&mut self, caller: &str, object: &VersionAt) -> Read<Option<ReplicationStatus>> {
        let action = "s3:GetObjectVersion";
        let objects = &mut self.bucket_mut(caller, &object.bucket, action)?.objects;
        let held = objects.held;
        let Some(version) = objects.find(object) else { return Ok(None) };
        let was_read = std::mem::replace(&mut version.read, true);
        let (status, key, tags) = (version.status, version.key.clone(), version.tags.clone());
        if status == Some(ReplicationStatus::Pending) && was_read && !held {
            let ended = self.replicate(&object.bucket.name, &key, &tags);
            let objects = &mut self.bucket_mut(caller, &object.bucket, action)?.objects;
            if let Some(version) = objects.find(object) {
                version.status = Some(ended);
            }
            return Ok(Some(ended));
        }
        Ok(Some(status.unwrap_or(ReplicationStatus::Absent)))
    }

    /// Whether S3 has still to replicate a version.
    pub fn is_pending(&self, object: &VersionAt) -> bool {
        let held = self.buckets.get(&object.bucket.name).into_iter().flat_map(|held| &held.objects.versions);
        let mut held = held.filter(|held| held.key == object.key && held.id == object.version);
        held.any(|held| held.status == Some(ReplicationStatus::Pending))
    }

    /// Whether S3 has replicated a version, or has failed to.
    pub fn has_ended(&self, object: &VersionAt) -> bool {
        let held = self.buckets.get(&object.bucket.name).into_iter().flat_map(|held| &held.objects.versions);
        let mut held = held.filter(|held| held.key == object.key && held.id == object.version);
        held.any(|held| matches!(held.status, Some(ReplicationStatus::Completed | ReplicationStatus::Failed)))
    }

    /// Makes the replicas of an object; those that the role or the destination do not let through fail.
    fn replicate(&mut self, source: &str, key: &str, tags: &BTreeMap<String, String>) -> ReplicationStatus {
        let Some(bucket) = self.buckets.get(source) else { return ReplicationStatus::Failed };
        let encrypted = bucket.objects.encrypted;
        let Some(configuration) = bucket.configuration.clone() else { return ReplicationStatus::Pending };
        let mut winners: BTreeMap<&str, &Rule> = BTreeMap::new();
        for rule in configuration.rules.values().filter(|rule| matches(rule, key, tags, encrypted)) {
            let held = winners.entry(&rule.destination.bucket).or_insert(rule);
            if rule.priority > held.priority {
                *held = rule;
            }
        }
        let mut status = ReplicationStatus::Completed;
        for arn in winners.keys() {
            let replica = Replica { source, destination: bucket_of_arn(arn), key };
            let may_arrive = self.may_arrive(&configuration.role, &replica);
            match self.buckets.get_mut(bucket_of_arn(arn)).filter(|_| may_arrive) {
                Some(held) => drop(held.objects.add(key, tags.clone(), None)),
                None => status = ReplicationStatus::Failed,
            }
        }
        status
    }

    /// Whether S3 can make a replica with a role.
    fn may_arrive(&self, role_arn: &str, replica: &Replica<'_>) -> bool {
        let Replica { source, destination, key } = replica;
        let (Some(from), Some(to)) = (self.buckets.get(*source), self.buckets.get(*destination)) else {
            return false;
        };
        let Some(role) = self.role_by_arn(role_arn).filter(|role| trusts_service(&role.trust, S3)) else {
            return false;
        };
        let allows = |policy: &Value, action: &str, bucket: &str| {
            let object = format!("arn:aws:s3:::{bucket}/{key}");
            allowed_resources(policy, action).iter().any(|resource| covers(resource, &object))
        };
        let policy = role.policy.as_ref();
        let by_role = policy.is_some_and(|policy| {
            allows(policy, READ_SOURCE, source) && allows(policy, WRITE_REPLICA, destination)
        });
        let by_destination = to.account_id == from.account_id
            || statements(to.policy.as_ref()).into_iter().any(|statement| {
                let alone = json!({"Statement": [statement]});
                let named = principals(Some(&alone));
                named.iter().any(|name| stands_for(name, role_arn))
                    && allows(&alone, WRITE_REPLICA, destination)
            });
        let is_ready = to.versioning == VersioningStatus::Enabled && (to.object_lock || !from.object_lock);
        by_role && by_destination && is_ready
    }

    /// The versions under a prefix, as an account lists them.
    ///
    /// # Errors
    /// What S3 answers.
    pub fn list_versions(
        &self,
        caller: &str,
        bucket: &BucketAddress,
        prefix: &str,
    ) -> Read<Vec<HeldVersion>> {
        let held = self.bucket(caller, bucket, "s3:ListBucketVersions")?.objects.versions.iter();
        let held = held.filter(|held| !held.is_marker && held.key.starts_with(prefix));
        Ok(held
            .map(|held| HeldVersion {
                key: held.key.clone(),
                version: held.id.clone(),
                modified: Timestamp::UNIX_EPOCH,
            })
            .collect())
    }

    /// Deletes a version for good, as an account.
    ///
    /// # Errors
    /// What S3 answers: `AccessDenied` for a version that Object Lock keeps.
    pub fn delete_version(&mut self, caller: &str, object: &VersionAt) -> Read<()> {
        let action = "s3:DeleteObjectVersion";
        let held = self.bucket_mut(caller, &object.bucket, action)?;
        let is_kept = held.mfa_delete || held.objects.find(object).is_some_and(|version| version.retained);
        if is_kept {
            return Err(access_denied(action, &object.bucket.name));
        }
        held.objects.versions.retain(|held| held.key != object.key || held.id != object.version);
        Ok(())
    }
}

/// The service that assumes the role.
const S3: &str = "s3.amazonaws.com";

/// The actions that the role needs, on the object and on the replica.
const READ_SOURCE: &str = "s3:GetObjectVersionForReplication";
const WRITE_REPLICA: &str = "s3:ReplicateObject";

/// An object on its way.
struct Replica<'a> {
    source: &'a str,
    destination: &'a str,
    key: &'a str,
}

/// Whether a resource in a policy, which may end with a wildcard, is this one or holds it.
fn covers(resource: &str, arn: &str) -> bool {
    resource.strip_suffix('*').map_or(resource == arn, |start| arn.starts_with(start))
}

/// Whether a principal in a policy is a role, its account or everybody.
fn stands_for(principal: &str, role_arn: &str) -> bool {
    let account = account_of_arn(role_arn).unwrap_or_default();
    principal == role_arn
        || principal == "*"
        || principal == account
        || principal == format!("arn:aws:iam::{account}:root")
}

/// Whether S3 applies a rule to an object.
fn matches(rule: &Rule, key: &str, tags: &BTreeMap<String, String>, encrypted: bool) -> bool {
    let Rule { status, filter, kms_encrypted_objects, .. } = rule;
    status.is_enabled()
        && key.starts_with(&filter.prefix)
        && filter.tags.iter().all(|(tag, value)| tags.get(tag) == Some(value))
        && (!encrypted || kms_encrypted_objects.is_enabled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Switch;
    use crate::iam::document::trust_policy;
    use crate::replication::{Configuration, RoleDocuments, RuleDestination, RuleFilter, Step};

    const HERE: &str = "111122223333";
    const THERE: &str = "444455556666";
    const ROLE: &str = "arn:aws:iam::111122223333:role/jobs/orders";

    fn rule() -> Rule {
        Rule {
            status: Switch::Enabled,
            priority: Some(1),
            filter: RuleFilter::default(),
            delete_markers: Switch::Disabled,
            replica_modifications: Switch::Disabled,
            kms_encrypted_objects: Switch::Disabled,
            destination: RuleDestination {
                bucket: "arn:aws:s3:::replicas".to_owned(),
                account: None,
                storage_class: None,
                ownership: None,
                kms_key: None,
                replication_time_control: Switch::Disabled,
                metrics: Switch::Disabled,
            },
        }
    }

    fn allow(principal: Option<&str>) -> Value {
        let mut statement = json!({"Effect": "Allow", "Action": [READ_SOURCE, WRITE_REPLICA],
            "Resource": ["arn:aws:s3:::orders/*", "arn:aws:s3:::replicas/*"]});
        if let Some(principal) = principal {
            statement["Principal"] = json!({"AWS": principal});
        }
        json!({"Statement": [statement]})
    }

    /// A bucket that replicates into one of another account, after something else was made of it.
    fn replicated(edit: impl FnOnce(&mut World)) -> ReplicationStatus {
        let mut world = World::new(HERE);
        for (name, owner) in [("orders", HERE), ("replicas", THERE)] {
            world.create_bucket(name, "us-east-1", owner);
            world.buckets.get_mut(name).unwrap().versioning = VersioningStatus::Enabled;
        }
        let documents = RoleDocuments {
            path: "/jobs/".into(),
            trust: trust_policy(S3).to_json(),
            permissions_boundary: None,
            tags: BTreeMap::new(),
            description: String::new(),
        };
        world.execute(HERE, &Step::CreateRole { role: "orders".into(), documents }).unwrap();
        world.role_mut(HERE, "orders").unwrap().policy = Some(allow(None));
        let rules = [("all".to_owned(), rule())].into();
        let orders = world.buckets.get_mut("orders").unwrap();
        orders.configuration = Some(Configuration { role: ROLE.to_owned(), rules });
        world.buckets.get_mut("replicas").unwrap().policy = Some(allow(Some(ROLE)));
        edit(&mut world);
        let bucket = BucketAddress {
            name: "orders".into(),
            region: "us-east-1".into(),
            account_id: HERE.into(),
            account_ref: None,
        };
        let canary = CanaryObject { bucket: bucket.clone(), key: "canary".into(), tags: BTreeMap::new() };
        let WrittenCanary { version, .. } = world.put_object(HERE, &canary).unwrap();
        let written = VersionAt { bucket, key: "canary".into(), version };
        let read = |world: &mut World| world.head_version(HERE, &written).unwrap().unwrap();
        assert_eq!(read(&mut world), ReplicationStatus::Pending);
        let status = read(&mut world);
        let replicas = world.buckets.get("replicas").map_or(0, |held| held.objects.versions.len());
        assert_eq!(replicas == 1, status == ReplicationStatus::Completed);
        status
    }

    #[test]
    fn an_object_arrives_only_where_role_and_destination_let_it_through() {
        assert_eq!(replicated(|_| {}), ReplicationStatus::Completed);
        let policy = |world: &mut World, policy| world.buckets.get_mut("replicas").unwrap().policy = policy;
        assert_eq!(
            replicated(|world| policy(world, Some(allow(Some(HERE))))),
            ReplicationStatus::Completed,
            "its account"
        );
        type Edit = fn(&mut World);
        let faults: [(&str, Edit); 8] = [
            ("the role is gone", |world| world.roles.clear()),
            ("another path", |world| world.role_mut(HERE, "orders").unwrap().arn.push('x')),
            ("another service", |world| {
                world.role_mut(HERE, "orders").unwrap().trust = trust_policy("ec2.amazonaws.com").to_value();
            }),
            ("no policy", |world| world.role_mut(HERE, "orders").unwrap().policy = None),
            ("no policy of the destination", |world| {
                world.buckets.get_mut("replicas").unwrap().policy = None
            }),
            ("another role", |world| {
                let other = "arn:aws:iam::111122223333:role/other";
                world.buckets.get_mut("replicas").unwrap().policy = Some(allow(Some(other)));
            }),
            ("no versions", |world| {
                world.buckets.get_mut("replicas").unwrap().versioning = VersioningStatus::Suspended;
            }),
            ("no Object Lock", |world| world.buckets.get_mut("orders").unwrap().object_lock = true),
        ];
        for (fault, edit) in faults {
            assert_eq!(replicated(edit), ReplicationStatus::Failed, "{fault}");
        }
    }
}
