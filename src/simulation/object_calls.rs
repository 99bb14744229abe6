//! Calls about objects on a simulated AWS, and their replication.
//!
//! In: writes and reads of versions, each as an account. Out: what S3 answers. An object that a rule applies to is pending
//! when it is read first, and at its end when it is read again: whoever reads it sees both.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::iam::arn::{bucket_of_arn, role_of_arn};
use crate::replication::health::canary::{
    CanaryObject, HeldVersion, ReplicationStatus, VersionAt, WrittenCanary,
};
use crate::replication::observed::Read;
use crate::replication::{BucketAddress, Rule, VersioningStatus};
use crate::simulation::world::{World, access_denied};

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

    /// The replication status of a version, as an account; what was read as pending has been replicated since.
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
        let role = self.role(&bucket.account_id, role_of_arn(&configuration.role));
        let can_read = role.is_some_and(|role| role.policy.is_some());
        let mut status = ReplicationStatus::Completed;
        for arn in winners.keys() {
            let destination = self.buckets.get_mut(bucket_of_arn(arn));
            match destination.filter(|held| can_read && held.versioning == VersioningStatus::Enabled) {
                Some(held) => drop(held.objects.add(key, tags.clone(), None)),
                None => status = ReplicationStatus::Failed,
            }
        }
        status
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

/// Whether S3 applies a rule to an object.
fn matches(rule: &Rule, key: &str, tags: &BTreeMap<String, String>, encrypted: bool) -> bool {
    let Rule { status, filter, kms_encrypted_objects, .. } = rule;
    status.is_enabled()
        && key.starts_with(&filter.prefix)
        && filter.tags.iter().all(|(tag, value)| tags.get(tag) == Some(value))
        && (!encrypted || kms_encrypted_objects.is_enabled())
}
