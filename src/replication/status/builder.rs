//! Derives each condition at the end of a check, with its reason and message.
//!
//! In: the observed state, the plan and its outcome. Out: drafts of the conditions, and the fields of the status that
//! describe AWS. `Ready` and `InSync` report drift in the words of this file, around the differences of [`DriftEntry`].

use std::collections::BTreeSet;

use crate::api::{
    AwsResource, BucketReplicationStatus, BucketStatus, ConditionType, DriftEntry, ReadyStatus, Reason,
};
use crate::iam::arn::{bucket_of_arn, role_of_arn};
use crate::replication::desired::{Desired, DesiredBucket, DesiredRole};
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::observed::{ObservedBucket, VersioningStatus};
use crate::replication::outcome::{Contested, Outcome};
use crate::replication::plan::{Plan, PlanInput};
use crate::replication::refusal::Refusal;
use crate::replication::resource::remembered_roles;
use crate::replication::status::conditions::ConditionDraft;
use crate::replication::status::context::StatusContext;
use crate::replication::status::failed_step::FailedStep;
use crate::replication::status::text::list;
use crate::replication::step::Step;

/// All that is known when a check is over.
pub(crate) struct StatusBuilder<'a> {
    pub input: &'a PlanInput<'a>,
    pub plan: &'a Plan,
    pub outcome: &'a Outcome,
    pub context: &'a StatusContext<'a>,
    pub remaining: &'a [DriftEntry],
}

impl<'a> StatusBuilder<'a> {
    fn failures(&self) -> impl Iterator<Item = FailedStep<'_>> {
        let StatusBuilder { input, outcome, context, .. } = self;
        outcome.failed.iter().map(move |(step, failure)| FailedStep {
            step,
            failure,
            input,
            outcome,
            context,
        })
    }

    /// The reason of the first failure, and what all of them say.
    fn failed<'b>(&'b self, of: impl Fn(&FailedStep<'b>) -> bool) -> Option<(Reason, String)> {
        let failures: Vec<FailedStep<'b>> = self.failures().filter(|failed| of(failed)).collect();
        let reason = failures.first()?.reason();
        Some((reason, list(failures.iter().map(FailedStep::message))))
    }

    pub fn ready(&self) -> ConditionDraft {
        let ready = |reason: Reason, message: String| {
            ConditionDraft::new(ConditionType::Ready, reason.ready(), reason, message)
        };
        if let Some(Refusal { reason, message, .. }) = self.plan.refusal() {
            // A refusal may leave one part alone and let the rest be written.
            let failed = self.failed(|_| true).map(|(_, failed)| format!("; also: {failed}"));
            return ready(*reason, format!("{message}{}", failed.unwrap_or_default()));
        }
        if let Some((reason, message)) = self.failed(|_| true) {
            return ready(reason, message);
        }
        if let Some(Contested { differences, corrections }) = &self.outcome.held_back {
            let paths: BTreeSet<&str> = differences.iter().map(|d| d.path.as_str()).collect();
            return ready(
                Reason::Drifted,
                format!(
                    "another tool keeps changing {}: corrected {corrections} times within an hour and changed again; corrections now slow down. Find the other writer (CloudTrail records its calls for {}) and stop it, or set managementPolicy: Observe",
                    paths.into_iter().collect::<Vec<_>>().join(", "),
                    self.input.desired.source.name,
                ),
            );
        }
        if self.outcome.interrupted {
            return ready(
                Reason::Progressing,
                "the operator was stopped before everything was written; it continues when it is back".into(),
            );
        }
        if !self.remaining.is_empty() {
            return ready(Reason::Drifted, differs(self.remaining.iter()));
        }
        ready(Reason::Applied, self.applied_message())
    }

    /// What the settings do that are as the spec says: S3 replicates by the enabled rules alone.
    fn applied_message(&self) -> String {
        let Desired { source, destinations, rules, .. } = self.input.desired;
        let bucket = &source.name;
        let enabled: BTreeSet<&str> = rules
            .values()
            .filter(|rule| rule.status.is_enabled())
            .map(|rule| bucket_of_arn(&rule.destination.bucket))
            .collect();
        let all = rules.len();
        let disabled = rules.values().filter(|rule| !rule.status.is_enabled()).count();
        let rules = if all == 1 { "rule" } else { "rules" };
        if enabled.is_empty() {
            return format!(
                "every rule of bucket {bucket} is disabled, so that S3 replicates nothing from it ({all} {rules}); to replicate, set rules[].status: Enabled"
            );
        }
        let names = destinations.iter().map(|d| &d.name).filter(|name| enabled.contains(name.as_str()));
        let names = list(names.cloned());
        match disabled {
            0 => format!("bucket {bucket} replicates to {names} ({all} {rules})"),
            disabled => format!("bucket {bucket} replicates to {names} ({disabled} of {all} rules disabled)"),
        }
    }

    pub fn versioning(&self) -> ConditionDraft {
        let about = ConditionType::VersioningReady;
        let observed = self.input.observed;
        let buckets = std::iter::once(&observed.source).chain(observed.destinations.values());
        let unread = buckets.filter_map(|bucket| bucket.versioning.as_ref().err());
        if let Some(draft) = self.stuck(about, &[AwsResource::BucketVersioning]) {
            return also_unread(draft, unread);
        }
        self.unread(about, unread).unwrap_or_else(|| {
            let message = "source and destinations are versioned";
            ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, message)
        })
    }

    pub fn role(&self) -> ConditionDraft {
        let about = ConditionType::RoleReady;
        let parts = [AwsResource::Role, AwsResource::RolePolicy, AwsResource::DestinationBucketPolicy];
        let policies =
            self.input.observed.bucket_policies.values().filter_map(|policy| policy.as_ref().err());
        let unread = self.input.observed.role.as_ref().err().into_iter().chain(policies);
        if let Some(draft) = self.stuck(about, &parts) {
            return also_unread(draft, unread);
        }
        self.unread(about, unread)
            .or_else(|| self.role_without_policy())
            .or_else(|| self.blocked_former_role())
            .or_else(|| self.unread_former_role())
            .unwrap_or_else(|| {
                ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, self.role_message())
            })
    }

    /// The condition of a role that this check created without its policy: the planner found no difference in that policy,
    /// because there was no role.
    fn role_without_policy(&self) -> Option<ConditionDraft> {
        let done = |step: fn(&Step) -> bool| self.outcome.done.iter().any(step);
        let created = done(|step| matches!(step, Step::CreateRole { .. }));
        (created && !done(|step| matches!(step, Step::PutRolePolicy { .. }))).then(|| {
            let message = format!("role {} has no policy yet: see Ready", self.input.desired.role.name());
            ConditionDraft::new(ConditionType::RoleReady, ReadyStatus::False, Reason::Progressing, message)
        })
    }

    fn blocked_former_role(&self) -> Option<ConditionDraft> {
        let former = self.input.observed.former_roles_of(self.input.replication.id);
        let blocked = former.filter(|role| !role.other_policies.is_empty());
        let roles: Vec<String> =
            blocked.map(|role| format!("{}: {}", role.name, role.other_policies.join(", "))).collect();
        (!roles.is_empty()).then(|| {
            let message = format!(
                "former roles cannot be deleted because someone put policies on them ({}); remove these policies from the roles",
                list(roles.into_iter())
            );
            ConditionDraft::new(ConditionType::RoleReady, ReadyStatus::False, Reason::DeletionBlocked, message)
        })
    }

    fn unread_former_role(&self) -> Option<ConditionDraft> {
        let unread = remembered_roles(self.context.previous)
            .map(role_of_arn)
            .filter_map(|name| Some((name, self.input.observed.former_roles.get(name)?.as_ref().err()?)));
        let unread: Vec<(&str, &Failure)> = unread.collect();
        let (_, first) = unread.first()?;
        let messages = unread.iter().map(|(name, failure)| {
            format!("the former role {name} is not deleted yet: {}", failure.message())
        });
        let reason = first.class.reason();
        Some(ConditionDraft::new(ConditionType::RoleReady, ReadyStatus::Unknown, reason, list(messages)))
    }

    fn role_message(&self) -> String {
        let mut message = match &self.input.desired.role {
            DesiredRole::Managed(role) => format!("role {} trusts S3 and has its policy", role.name),
            DesiredRole::Existing { arn } => {
                format!("role {arn} exists and trusts S3; its permissions are not checked")
            }
        };
        let admitted = &self.input.desired.bucket_policies;
        if !admitted.is_empty() {
            let buckets: Vec<&str> = admitted.keys().map(String::as_str).collect();
            message.push_str(&format!("; the bucket policy of {} admits it", buckets.join(", ")));
        }
        message
    }

    pub fn replication(&self) -> ConditionDraft {
        let about = ConditionType::ReplicationReady;
        if let Some(draft) = self.stuck(about, &[AwsResource::ReplicationConfiguration]) {
            return draft;
        }
        if let Some(draft) = self.unread(about, self.input.observed.configuration.as_ref().err().into_iter())
        {
            return draft;
        }
        let bucket = &self.input.desired.source.name;
        let mut message = format!("bucket {bucket} has the replication configuration of the spec");
        message.extend(self.asked_of_others());
        message.extend(self.unread_keys());
        ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, message)
    }

    /// What the owners of destinations have to do where the operator may not act, and cannot see whether they did.
    fn asked_of_others(&self) -> Option<String> {
        let PlanInput { desired, observed, .. } = self.input;
        let own = &observed.caller.account;
        let asked = desired.destinations.iter().filter_map(|d| {
            let account = d.account_id.as_ref().filter(|id| *id != own && d.account_ref.is_none())?;
            Some(format!("account {account} has to allow it in the policy of bucket {}", d.name))
        });
        let asked: Vec<String> = asked.collect();
        (!asked.is_empty()).then(|| {
            format!(
                "; replicas arrive once others have done their part, which the operator cannot check: for role {}, {} (s3-replication-operator policy prints the statements)",
                desired.role.arn(&observed.caller),
                list(asked.into_iter())
            )
        })
    }

    /// The keys of replicas that may not be read. S3 may use them all the same.
    fn unread_keys(&self) -> Option<String> {
        let failures = self.input.observed.keys.values().filter_map(|key| key.as_ref().err());
        let denied = failures.filter(|failure| failure.class == FailureClass::Denied);
        let denied: Vec<String> = denied.map(Failure::message).collect();
        (!denied.is_empty()).then(|| {
            format!(
                "; whether S3 can use the keys of the replicas is not checked: {}",
                list(denied.into_iter())
            )
        })
    }

    /// Why one condition is not true: a refusal or failed steps about it, or differences that remain.
    fn stuck(&self, about: ConditionType, resources: &[AwsResource]) -> Option<ConditionDraft> {
        let negative = |reason: Reason, message: String| {
            Some(ConditionDraft::new(about, ReadyStatus::False, reason, message))
        };
        let refusals = self.plan.refusals.iter().filter(|refusal| refusal.about == about).cloned();
        if let Err(refusal) = Refusal::all(refusals) {
            return negative(refusal.reason, refusal.message);
        }
        if let Some((reason, message)) = self.failed(|failed| failed.about() == about) {
            return negative(reason, message);
        }
        let mut remaining = self.remaining.iter().filter(|d| resources.contains(&d.resource)).peekable();
        remaining.peek()?;
        let reason = if self.plan.drift { Reason::Drifted } else { Reason::Progressing };
        negative(reason, differs(remaining))
    }

    /// What could not be read: the reason of the first failure, and all of their messages.
    fn unread<'b>(
        &self,
        about: ConditionType,
        failures: impl Iterator<Item = &'b Failure>,
    ) -> Option<ConditionDraft> {
        let failures: Vec<&Failure> = failures.collect();
        let reason = failures.first()?.reason_for(&self.input.desired.source.name);
        let message = list(failures.iter().map(|failure| failure.message()));
        Some(ConditionDraft::new(about, ReadyStatus::Unknown, reason, message))
    }

    pub fn in_sync(&self) -> ConditionDraft {
        let about = ConditionType::InSync;
        let refused = self.plan.refusal().map(|refusal| (refusal.reason, refusal.message.clone()));
        if self.remaining.is_empty() {
            return match refused {
                // What could not be read may differ.
                Some((reason, message)) => ConditionDraft::new(about, ReadyStatus::Unknown, reason, message),
                None => {
                    let message = "nothing in AWS differs from the spec";
                    ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, message)
                }
            };
        }
        if self.plan.drift {
            let message = differs(self.remaining.iter());
            return ConditionDraft::new(about, ReadyStatus::False, Reason::Drifted, message);
        }
        let stopped_by = refused.or_else(|| self.failed(|_| true));
        let reason = stopped_by.map_or(Reason::Progressing, |(reason, _)| reason);
        ConditionDraft::new(about, ReadyStatus::False, reason, "the spec is not fully applied yet: see Ready")
    }

    /// Describes the buckets, the role and the configuration as they are in AWS.
    pub fn describe(&self, status: &mut BucketReplicationStatus) {
        let PlanInput { desired, observed, .. } = self.input;
        let account = self.input.account().map(|account| &account.name);
        status.source = Some(self.source(self.bucket(&desired.source, account, &observed.source)));
        let destinations = desired.destinations.iter();
        let destinations = destinations.filter_map(|d| Some((d, observed.destinations.get(&d.name)?)));
        status.destinations =
            destinations.map(|(d, held)| self.bucket(d, d.account_ref.as_ref().or(account), held)).collect();
        status.bucket_policies = self.bucket_policies();
        status.role = self.role_status();
        status.former_roles = self.former_roles();
        status.configuration = self.configuration_origin();
        status.announced_configuration = self.announced_configuration();
        status.applied_role = self.applied_role();
        let put = self.outcome.done.iter().find_map(|step| match step {
            Step::PutReplication { configuration, .. } => Some(configuration.rules.len()),
            _ => None,
        });
        let rules = match &observed.configuration {
            _ if put.is_some() => put,
            Ok(held) => Some(held.as_ref().map_or(0, |c| c.rules.len())),
            Err(_) => None,
        };
        status.rules = rules.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    }

    fn bucket(
        &self,
        desired: &DesiredBucket,
        account_ref: Option<&String>,
        held: &ObservedBucket,
    ) -> BucketStatus {
        let observed = self.input.observed;
        let DesiredBucket { name, account_id, .. } = desired;
        let enabled = |step: &Step| matches!(step, Step::EnableVersioning { bucket } if bucket.name == *name);
        let versioning = match &held.versioning {
            _ if self.outcome.done.iter().any(enabled) => VersioningStatus::Enabled.as_str(),
            Ok(versioning) => versioning.status.as_str(),
            Err(_) => "Unknown",
        };
        let exists = matches!(held.region, Ok(Some(_)));
        let own = &observed.caller.account;
        BucketStatus {
            bucket: name.clone(),
            region: observed.region_of(held),
            account: exists.then(|| account_id.as_ref().unwrap_or(own).clone()),
            account_ref: account_ref.cloned(),
            versioning: Some(versioning.to_owned()),
        }
    }
}

/// What differs.
fn differs<'a>(differences: impl Iterator<Item = &'a DriftEntry>) -> String {
    format!("AWS differs from the spec: {}", list(differences.map(ToString::to_string)))
}

/// Names what could not be read beside what is known to be wrong. A refusal may name it already.
fn also_unread<'a>(mut draft: ConditionDraft, failures: impl Iterator<Item = &'a Failure>) -> ConditionDraft {
    let unnamed: Vec<String> = failures
        .map(|failure| failure.message())
        .filter(|message| !draft.message.contains(message))
        .collect();
    if !unnamed.is_empty() {
        draft.message.push_str("; also: ");
        draft.message.push_str(&list(unnamed.into_iter()));
    }
    draft
}
