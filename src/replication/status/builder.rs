//! What is true at the end of a check, part by part.

use std::collections::BTreeSet;

use crate::api::{
    AwsResource, BucketReplicationStatus, BucketStatus, ConditionType, DriftEntry, ReadyStatus, Reason,
};
use crate::iam::arn::role_of_arn;
use crate::replication::desired::{DesiredBucket, DesiredRole};
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::observed::{ObservedBucket, VersioningStatus};
use crate::replication::plan::{Plan, PlanInput};
use crate::replication::refusal::Refusal;
use crate::replication::resource::remembered_roles;
use crate::replication::status::conditions::ConditionDraft;
use crate::replication::status::text::{describe, note, summary};
use crate::replication::status::{Contested, Outcome};
use crate::replication::step::Step;

/// All that is known when a check is over.
pub(crate) struct StatusBuilder<'a> {
    pub input: &'a PlanInput<'a>,
    pub plan: &'a Plan,
    pub outcome: &'a Outcome,
    pub previous: &'a BucketReplicationStatus,
    pub remaining: &'a [DriftEntry],
}

impl StatusBuilder<'_> {
    pub fn ready(&self) -> ConditionDraft {
        let ready = |reason: Reason, message: String| {
            ConditionDraft::new(ConditionType::Ready, reason.ready(), reason, message)
        };
        if let Some(Refusal { reason, message, .. }) = self.plan.refusal() {
            return ready(*reason, message.clone());
        }
        if let Some((step, failure)) = &self.outcome.failed {
            return ready(self.failed_reason(step, failure), failure.message());
        }
        if let Some(Contested { differences, corrections }) = &self.outcome.held_back {
            let paths: BTreeSet<&str> = differences.iter().map(|d| d.path.as_str()).collect();
            return ready(
                Reason::Drifted,
                format!(
                    "another tool keeps changing {}: corrected {corrections} times within an hour and changed again; corrections now slow down. Find the other writer (CloudTrail shows who calls AWS on {}) and stop it, or set managementPolicy: Observe",
                    paths.into_iter().collect::<Vec<_>>().join(", "),
                    self.input.desired.source.name,
                ),
            );
        }
        if self.outcome.interrupted {
            return ready(
                Reason::Progressing,
                "the operator was stopped before all was written; it goes on when it is back".into(),
            );
        }
        if !self.remaining.is_empty() {
            return ready(
                Reason::Drifted,
                note("AWS differs from the spec", self.remaining.iter().map(describe)),
            );
        }
        let desired = self.input.desired;
        let destinations: Vec<&str> = desired.destinations.iter().map(|d| d.name.as_str()).collect();
        let rules = desired.rules.len();
        ready(
            Reason::Applied,
            format!(
                "bucket {} replicates to {} ({rules} rule{})",
                desired.source.name,
                summary(destinations.into_iter().map(str::to_owned)),
                if rules == 1 { "" } else { "s" }
            ),
        )
    }

    pub fn versioning(&self) -> ConditionDraft {
        let about = ConditionType::VersioningReady;
        if let Some(finding) = self.stuck_reason(about, &[AwsResource::BucketVersioning]) {
            return finding;
        }
        let mut buckets =
            std::iter::once(&self.input.observed.source).chain(self.input.observed.destinations.values());
        if let Some(failure) = buckets.find_map(|b| b.versioning.as_ref().err()) {
            return ConditionDraft::new(
                about,
                ReadyStatus::Unknown,
                self.unread_reason(failure),
                failure.message(),
            );
        }
        ConditionDraft::new(
            about,
            ReadyStatus::True,
            Reason::Applied,
            "source and destinations are versioned",
        )
    }

    pub fn role(&self) -> ConditionDraft {
        let about = ConditionType::RoleReady;
        let parts = [AwsResource::Role, AwsResource::RolePolicy, AwsResource::DestinationBucketPolicy];
        if let Some(finding) = self.stuck_reason(about, &parts) {
            return finding;
        }
        let mut policies = self.input.observed.bucket_policies.values();
        let unread = self.input.observed.role.as_ref().err();
        if let Some(failure) = unread.or_else(|| policies.find_map(|policy| policy.as_ref().err())) {
            return ConditionDraft::new(
                about,
                ReadyStatus::Unknown,
                self.unread_reason(failure),
                failure.message(),
            );
        }
        // The policy of a role that was made just now is no difference of its own: it is there when it was put.
        let done = |step: fn(&Step) -> bool| self.outcome.done.iter().any(step);
        if done(|s| matches!(s, Step::CreateRole { .. }))
            && !done(|s| matches!(s, Step::PutRolePolicy { .. }))
        {
            let message = format!("role {} has no policy yet: see Ready", self.input.desired.role.name());
            return ConditionDraft::new(about, ReadyStatus::False, Reason::Progressing, message);
        }
        let mut former = self.input.observed.former_roles_of(self.input.replication.id);
        if let Some(role) = former.find(|role| !role.other_policies.is_empty()) {
            return ConditionDraft::new(
                about,
                ReadyStatus::False,
                Reason::DeletionBlocked,
                format!(
                    "the former role {} cannot be deleted because someone put policies on it: {}; remove them from the role",
                    role.name,
                    role.other_policies.join(", ")
                ),
            );
        }
        let mut remembered = remembered_roles(self.previous).map(role_of_arn).filter_map(|name| {
            let read = self.input.observed.former_roles.get(name)?;
            Some((name, read.as_ref().err()?))
        });
        if let Some((name, failure)) = remembered.next() {
            let message = format!("the former role {name} is not deleted yet: {}", failure.message());
            return ConditionDraft::new(about, ReadyStatus::Unknown, failure.class.reason(), message);
        }
        let mut message = match &self.input.desired.role {
            DesiredRole::Managed(role) => format!("role {} trusts S3 and has its policy", role.name),
            DesiredRole::Existing { arn } => {
                format!("role {arn} exists and trusts S3; what it may do is not checked")
            }
        };
        let admitted = &self.input.desired.bucket_policies;
        if !admitted.is_empty() {
            let buckets: Vec<&str> = admitted.keys().map(String::as_str).collect();
            message.push_str(&format!("; the bucket policy of {} lets it in", buckets.join(", ")));
        }
        ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, message)
    }

    pub fn replication(&self) -> ConditionDraft {
        let about = ConditionType::ReplicationReady;
        if let Some(finding) = self.stuck_reason(about, &[AwsResource::ReplicationConfiguration]) {
            return finding;
        }
        if let Err(failure) = &self.input.observed.configuration {
            return ConditionDraft::new(
                about,
                ReadyStatus::Unknown,
                self.unread_reason(failure),
                failure.message(),
            );
        }
        let bucket = &self.input.desired.source.name;
        let mut message = format!("bucket {bucket} has the replication configuration of the spec");
        message.extend(self.asked_of_others());
        ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, message)
    }

    /// What the owners of destinations have to do where the operator may not act, and cannot see whether they did.
    fn asked_of_others(&self) -> Option<String> {
        let PlanInput { desired, observed, .. } = self.input;
        let own = &observed.caller.account;
        let asked = desired.destinations.iter().filter_map(|d| {
            let owner = d.account_id.as_ref().filter(|id| *id != own && d.account_ref.is_none())?;
            Some(format!("account {owner} has to allow it in the policy of bucket {}", d.name))
        });
        let asked: Vec<String> = asked.collect();
        (!asked.is_empty()).then(|| {
            format!(
                "; replicas arrive once others have done their part, which cannot be seen from here: for role {}, {} (s3-replication-operator policy prints the statements)",
                desired.role.arn(&observed.caller),
                summary(asked.into_iter())
            )
        })
    }

    /// What stands against one part being ready: a refusal or a failed step about it, or differences that remain.
    fn stuck_reason(&self, about: ConditionType, resources: &[AwsResource]) -> Option<ConditionDraft> {
        let negative = |reason: Reason, message: String| {
            Some(ConditionDraft::new(about, ReadyStatus::False, reason, message))
        };
        if let Some(refusal) = self.plan.refusal().filter(|r| r.about == about) {
            return negative(refusal.reason, refusal.message.clone());
        }
        if let Some((step, failure)) =
            self.outcome.failed.as_ref().filter(|(step, _)| concerns(step) == about)
        {
            return negative(self.failed_reason(step, failure), failure.message());
        }
        let mut remaining = self.remaining.iter().filter(|d| resources.contains(&d.resource)).peekable();
        remaining.peek()?;
        let reason = if self.plan.drift { Reason::Drifted } else { Reason::Progressing };
        negative(reason, note("AWS differs from the spec", remaining.map(describe)))
    }

    pub fn in_sync(&self) -> ConditionDraft {
        let about = ConditionType::InSync;
        let stopped_by = match (self.plan.refusal(), &self.outcome.failed) {
            (Some(refusal), _) => Some((refusal.reason, refusal.message.clone())),
            (None, Some((step, failure))) => Some((self.failed_reason(step, failure), failure.message())),
            (None, None) => None,
        };
        if self.remaining.is_empty() {
            return match stopped_by {
                // What could not be read may differ.
                Some((reason, message)) if self.plan.refusal().is_some() => {
                    ConditionDraft::new(about, ReadyStatus::Unknown, reason, message)
                }
                _ => ConditionDraft::new(
                    about,
                    ReadyStatus::True,
                    Reason::Applied,
                    "nothing in AWS differs from the spec",
                ),
            };
        }
        if self.plan.drift {
            let message = note("AWS differs from the spec", self.remaining.iter().map(describe));
            return ConditionDraft::new(about, ReadyStatus::False, Reason::Drifted, message);
        }
        let (reason, _) = stopped_by.unwrap_or((Reason::Progressing, String::new()));
        ConditionDraft::new(about, ReadyStatus::False, reason, "the spec is not fully applied yet: see Ready")
    }

    /// A missing bucket is one reason for the source and another for a destination.
    fn unread_reason(&self, failure: &Failure) -> Reason {
        let is_source = failure.subject == self.input.desired.source.name;
        match failure.class {
            FailureClass::NoSuchBucket if !is_source => Reason::DestinationBucketNotFound,
            class => class.reason(),
        }
    }

    pub fn describe(&self, status: &mut BucketReplicationStatus) {
        let observed = self.input.observed;
        let bucket = |desired: &DesiredBucket, account_ref: Option<&String>, held: &ObservedBucket| {
            let DesiredBucket { name, account_id, .. } = desired;
            let enabled =
                |step: &Step| matches!(step, Step::EnableVersioning { bucket } if bucket.name == *name);
            let versioning = match &held.versioning {
                _ if self.outcome.done.iter().any(enabled) => VersioningStatus::Enabled.as_str(),
                Ok(versioning) => versioning.status.as_str(),
                Err(_) => "Unknown",
            };
            let exists = matches!(held.region, Ok(Some(_)));
            BucketStatus {
                bucket: name.clone(),
                region: observed.region_of(held),
                account: exists
                    .then(|| account_id.clone().unwrap_or_else(|| observed.caller.account.clone())),
                account_ref: account_ref.cloned(),
                versioning: Some(versioning.to_owned()),
            }
        };
        let desired = self.input.desired;
        let account = self.input.account().map(|account| &account.name);
        status.source = Some(bucket(&desired.source, account, &observed.source));
        let destinations = desired.destinations.iter();
        let destinations = destinations.filter_map(|d| Some((d, observed.destinations.get(&d.name)?)));
        status.destinations =
            destinations.map(|(d, held)| bucket(d, d.account_ref.as_ref().or(account), held)).collect();
        status.bucket_policies = self.bucket_policies();
        status.role = self.role_status();
        status.former_roles = self.former_roles();
        let put = self.outcome.done.iter().any(|s| matches!(s, Step::PutReplication { .. }));
        let rules = match &observed.configuration {
            _ if put => Some(desired.rules.len()),
            Ok(held) => Some(held.as_ref().map_or(0, |c| c.rules.len())),
            Err(_) => None,
        };
        status.rules = rules.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    }

    /// The reason of a failed step, where the failure's class alone does not tell it.
    fn failed_reason(&self, step: &Step, failure: &Failure) -> Reason {
        match (step, failure.class) {
            (
                Step::EnableVersioning { bucket } | Step::PutBucketPolicy { bucket, .. },
                FailureClass::NoSuchBucket,
            ) if bucket.name != self.input.desired.source.name => Reason::DestinationBucketNotFound,
            // S3 looks the principal up in IAM, which takes a moment to know a new role everywhere.
            (Step::PutBucketPolicy { .. }, FailureClass::Invalid) if failure.code == "MalformedPolicy" => {
                Reason::Progressing
            }
            (Step::PutReplication { .. }, FailureClass::Invalid) if self.versioning_is_unsettled(failure) => {
                Reason::Progressing
            }
            _ => failure.class.reason(),
        }
    }

    /// Versioning that was enabled a moment ago may not be seen by all of S3 yet: it was enabled in this try, or S3
    /// misses it although it says itself that every bucket has it.
    fn versioning_is_unsettled(&self, failure: &Failure) -> bool {
        let observed = self.input.observed;
        let mut buckets = std::iter::once(&observed.source).chain(observed.destinations.values());
        self.outcome.done.iter().any(|s| matches!(s, Step::EnableVersioning { .. }))
            || (failure.detail.to_lowercase().contains("versioning") && buckets.all(|b| b.versioning.is_ok()))
    }
}

/// The condition a step is about.
fn concerns(step: &Step) -> ConditionType {
    match step {
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
