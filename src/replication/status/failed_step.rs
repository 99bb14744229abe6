//! Explains a failed step.
//!
//! In: a step, its failure and the observed state. Out: the condition that it concerns, the reason and the message,
//! also where AWS's answer alone is misleading.

use jiff::{SignedDuration, Timestamp};

use crate::api::{ConditionType, Reason};
use crate::iam::bucket_policy::{deleted_principals, named_principals};
use crate::replication::bucket::{meant_principals, refused_principals_message};
use crate::replication::configuration::{Configuration, Rule};
use crate::replication::desired::DesiredRole;
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::outcome::Outcome;
use crate::replication::plan::PlanInput;
use crate::replication::refusal::Refusal;
use crate::replication::refused_role_write::refused_role_write;
use crate::replication::settling_role::{awaits_end_of_policy, awaits_new_role};
use crate::replication::status::context::StatusContext;
use crate::replication::status::truncate::list;
use crate::replication::step::Step;

/// How long IAM may take to show a new role everywhere, with room to spare.
const ROLE_SETTLES: SignedDuration = SignedDuration::from_mins(2);

/// S3's code where the state of a bucket does not allow a call. For a replication configuration that is its versioning.
const INVALID_STATE: &str = "InvalidBucketState";

/// Whether a rule sets a field.
type IsSet = fn(&Rule) -> bool;

/// Elements of a configuration that S3 names where it refuses one, and the field of the spec for each, with whether a
/// rule sets it. S3 does not say which rule it means.
const ELEMENTS: [(&str, &str, IsSet); 6] = [
    ("ReplicaKmsKeyID", "destination.kmsKeyArn", |rule| rule.destination.kms_key.is_some()),
    ("StorageClass", "destination.storageClass", |rule| rule.destination.storage_class.is_some()),
    ("AccessControlTranslation", "destination.ownership", |rule| rule.destination.ownership.is_some()),
    ("ReplicationTime", "destination.replicationTimeControl", |rule| {
        rule.destination.replication_time_control.is_enabled()
    }),
    ("DeleteMarkerReplication", "deleteMarkers", |rule| rule.delete_markers.is_enabled()),
    ("ReplicaModifications", "replicaModifications", |rule| rule.replica_modifications.is_enabled()),
];

/// The fields that a refusal of S3 may be about, by its words. Empty where it names no element, or no rule sets it.
fn suspects(detail: &str, configuration: &Configuration) -> String {
    let words: String = detail.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    let named = ELEMENTS.iter().filter(|(element, ..)| words.contains(&element.to_lowercase()));
    let fields = named.flat_map(|(_, field, is_set)| {
        let rules = configuration.rules.iter().filter(|(_, rule)| is_set(rule));
        rules.map(move |(id, _)| format!("rules[{id}].{field}"))
    });
    let fields = list(fields);
    if fields.is_empty() { fields } else { format!("; correct {fields}") }
}

/// A step that failed, with the state in which it failed.
pub(crate) struct FailedStep<'a> {
    pub step: &'a Step,
    pub failure: &'a Failure,
    pub input: &'a PlanInput<'a>,
    pub outcome: &'a Outcome,
    pub context: &'a StatusContext<'a>,
}

impl FailedStep<'_> {
    /// The condition that the step is about.
    pub fn about(&self) -> ConditionType {
        match self.step {
            Step::EnableVersioning { .. } => ConditionType::VersioningReady,
            Step::CreateRole { .. }
            | Step::UpdateTrustPolicy { .. }
            | Step::PutPermissionsBoundary { .. }
            | Step::DeletePermissionsBoundary { .. }
            | Step::TagRole { .. }
            | Step::UntagRole { .. }
            | Step::PutRolePolicy { .. }
            | Step::PutBucketPolicy { .. }
            | Step::DeleteRolePolicy { .. }
            | Step::DeleteRole { .. } => ConditionType::RoleReady,
            Step::PutReplication { .. } | Step::DeleteReplication { .. } => ConditionType::ReplicationReady,
        }
    }

    pub fn reason(&self) -> Reason {
        match (self.step, self.failure.class) {
            (
                Step::EnableVersioning { bucket } | Step::PutBucketPolicy { bucket, .. },
                FailureClass::NoSuchBucket,
            ) if bucket.name != self.input.desired.source.name => Reason::DestinationBucketNotFound,
            (Step::PutBucketPolicy { .. }, FailureClass::Invalid) if self.role_may_be_unknown_to_s3() => {
                Reason::Progressing
            }
            (Step::PutReplication { .. }, FailureClass::Invalid) if self.versioning_is_unsettled() => {
                Reason::Progressing
            }
            (Step::CreateRole { .. }, FailureClass::Conflict) if self.is_taken_by_another_case() => {
                Reason::ForeignRole
            }
            _ if self.settling_role().is_some() => Reason::Progressing,
            (_, class) => self.refused_role_write().map_or(class.reason(), |refusal| refusal.reason),
        }
    }

    pub fn message(&self) -> String {
        let answer = self.failure.answer();
        if let Some(refusal) = self.refused_role_write() {
            return refusal.message;
        }
        if let Some(message) = self.settling_role() {
            return message;
        }
        match (self.step, self.failure.class) {
            (Step::PutReplication { bucket, configuration, .. }, FailureClass::Denied)
                if !self.failure.names_action() =>
            {
                format!(
                    "setting the replication configuration of bucket {} is denied ({answer}), and S3 does not say which permission is missing: allow s3:PutReplicationConfiguration on {} and iam:PassRole on {} to the operator's identity, and check that no bucket policy, permissions boundary or service control policy denies them",
                    bucket.name, bucket.name, configuration.role
                )
            }
            (Step::PutBucketPolicy { bucket, sid, .. }, FailureClass::Invalid) => {
                let policy = self.observed_policy(&bucket.name);
                match refused_principals_message(&bucket.name, policy, sid, self.failure) {
                    Some(message) => format!("{} ({message})", self.failure.message()),
                    None => self.failure.message(),
                }
            }
            (Step::CreateRole { role, .. }, FailureClass::Conflict) if self.is_taken_by_another_case() => {
                format!(
                    "role {role} does not exist, and IAM does not create it because another role's name differs from it by case only ({answer}); choose another role.name"
                )
            }
            (Step::PutReplication { configuration, .. }, FailureClass::Invalid) => {
                format!("{}{}", self.failure.message(), suspects(&self.failure.detail, configuration))
            }
            _ => self.failure.message(),
        }
    }

    fn observed_policy(&self, bucket: &str) -> Option<&serde_json::Value> {
        self.input.observed.bucket_policies.get(bucket)?.as_ref().ok()?.as_ref()
    }

    /// S3 resolves a policy's principals in IAM, which takes a moment to show a new role everywhere. A principal that
    /// was deleted never comes back.
    fn role_may_be_unknown_to_s3(&self) -> bool {
        let Step::PutBucketPolicy { bucket, sid, .. } = self.step else { return false };
        let policy = self.observed_policy(&bucket.name);
        self.failure.code == "MalformedPolicy"
            && deleted_principals(policy, sid).is_empty()
            && meant_principals(&named_principals(policy, sid), self.failure).is_empty()
            && (self.created_role() || self.is_progressing_for_less_than(ROLE_SETTLES))
    }

    /// Whether `Ready` was not reported at all yet, or says `Progressing` for less than this.
    fn is_progressing_for_less_than(&self, limit: SignedDuration) -> bool {
        let ready =
            self.context.previous.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str());
        ready.is_none_or(|ready| {
            let since = ready.last_transition_time.0;
            ready.reason == Reason::Progressing.as_str()
                && (since == Timestamp::UNIX_EPOCH || self.context.now.duration_since(since) < limit)
        })
    }

    /// Versioning that was enabled a moment ago may not have reached all of S3: it was enabled in this try, or S3
    /// misses it although it answers that every bucket has it.
    fn versioning_is_unsettled(&self) -> bool {
        let observed = self.input.observed;
        let mut buckets = std::iter::once(&observed.source).chain(observed.destinations.values());
        let is_about_versioning =
            self.failure.code == INVALID_STATE || self.failure.detail.to_lowercase().contains("versioning");
        self.outcome.done.iter().any(|step| matches!(step, Step::EnableVersioning { .. }))
            || (is_about_versioning && buckets.all(|bucket| bucket.versioning.is_ok()))
    }

    /// IAM's names have no case for creating a role, and have one for reading it. The first time, the role may have
    /// been created a moment ago; when a later check did not find it either, another one has the name.
    fn is_taken_by_another_case(&self) -> bool {
        const TAKEN: &str = "EntityAlreadyExists";
        let mut previous = self.context.previous.conditions.iter();
        let role_ready = previous.find(|c| c.type_ == ConditionType::RoleReady.as_str());
        // Another failure before this one, a lost answer for example, says nothing about the name.
        self.failure.code == TAKEN
            && role_ready.is_some_and(|c| c.status == "False" && c.message.contains(TAKEN))
    }

    /// The message of a step that waits, where IAM still answers from before the operator's own write of the role.
    fn settling_role(&self) -> Option<String> {
        let is_new = self.created_role() || self.is_progressing_for_less_than(ROLE_SETTLES);
        let missing = awaits_new_role(self.step, self.failure).filter(|_| is_new);
        let missing = missing.filter(|_| self.refused_role_write().is_none());
        missing.or_else(|| awaits_end_of_policy(self.step, self.failure))
    }

    fn created_role(&self) -> bool {
        self.outcome.done.iter().any(|step| matches!(step, Step::CreateRole { .. }))
    }

    fn refused_role_write(&self) -> Option<Refusal> {
        let boundary = match &self.input.desired.role {
            DesiredRole::Managed(role) => role.permissions_boundary.as_deref(),
            DesiredRole::Existing { .. } => None,
        };
        refused_role_write(self.step, self.failure, boundary, self.input.account())
    }
}
