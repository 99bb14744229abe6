//! Derives each condition at the end of a check, with its reason and message.
//!
//! In: the observed state, the plan and its outcome. Out: drafts of the conditions, and the fields of the status that
//! describe AWS. The words about drift in `Ready`, in `InSync` and in events are here; those for one difference are in
//! `api/bucket_replication/status.rs`.

use std::collections::BTreeSet;

use crate::api::{
    AwsResource, BucketReplicationStatus, BucketStatus, ConditionType, DeletionPolicy, DriftEntry,
    ReadyStatus, Reason,
};
use crate::iam::arn::{bucket_of_arn, role_of_arn};
use crate::replication::desired::{Desired, DesiredBucket, DesiredRole};
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::observed::{ObservedBucket, VersioningStatus};
use crate::replication::outcome::{Contested, Outcome};
use crate::replication::plan::{Plan, PlanInput, uncompared};
use crate::replication::refusal::Refusal;
use crate::replication::resource::remembered_roles;
use crate::replication::resource_id::is_adopted;
use crate::replication::status::conditions::ConditionDraft;
use crate::replication::status::context::StatusContext;
use crate::replication::status::failed_step::FailedStep;
use crate::replication::status::truncate::list;
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

    /// The reason of the first failure, and the messages of all.
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
            let waits = self.waits_for_reads(message).unwrap_or_default();
            let draft = ready(*reason, format!("{message}{}{waits}", failed.unwrap_or_default()));
            return also_unread(draft, self.input.observed.unreached.values());
        }
        if let Some((reason, message)) = self.failed(|_| true) {
            return ready(reason, message);
        }
        if let Some(Contested { differences, corrections }) = &self.outcome.contested {
            let paths: BTreeSet<&str> = differences.iter().map(|d| d.path.as_str()).collect();
            return ready(
                Reason::Drifted,
                format!(
                    "another tool keeps changing {}: the operator corrected it {corrections} times within an hour, and each time it was changed again. The operator now waits longer before each correction. Find the other writer (CloudTrail records its calls for {}) and stop it, or set managementPolicy: Observe",
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

    /// Names the parts of a changed spec that wait for a read that failed. `refusal`: the message about that read in
    /// the status.
    fn waits_for_reads(&self, refusal: &str) -> Option<String> {
        let is_change = !self.plan.drift && self.context.previous.applied_hash.is_some();
        let unread = uncompared(self.input);
        let mut failures =
            unread.iter().map(|(_, failure)| *failure).chain(self.input.observed.unreached.values());
        if !is_change || !failures.any(|failure| refusal.contains(&failure.message())) {
            return None;
        }
        let mut waiting: Vec<String> = Vec::new();
        let hidden = unread.into_iter().map(|(part, _)| format!("what it changes in {part}"));
        for part in self.remaining.iter().map(part_of).chain(hidden) {
            if !waiting.contains(&part) {
                waiting.push(part);
            }
        }
        // A policy in an account that cannot be reached waits only together with a rule that needs it.
        (!waiting.is_empty())
            .then(|| format!("; until then this of the changed spec waits: {}", list(waiting.into_iter())))
    }

    /// The message for settings that agree with the spec. It counts the enabled rules, because S3 replicates by them
    /// alone.
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
        let former = self.unread_former_roles().into_iter().map(|(_, failure)| failure);
        let all_unread = unread.clone().chain(former).chain(self.unread_object_lock());
        let draft = self
            .stuck(about, &parts)
            .or_else(|| self.unread(about, unread))
            .or_else(|| self.role_without_policy())
            .or_else(|| self.blocked_former_role())
            .or_else(|| self.unread_former_role())
            .or_else(|| self.unread(about, self.unread_object_lock()))
            .unwrap_or_else(|| {
                ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, self.role_message())
            });
        also_unread(draft, all_unread)
    }

    /// The failure to read whether the source has Object Lock: nobody knows then whether the role needs the right to
    /// read locks.
    fn unread_object_lock(&self) -> impl Iterator<Item = &'a Failure> + use<'a> {
        self.input.observed.object_lock.as_ref().err().into_iter()
    }

    /// The condition of a role that this check created without its policy: the planner found no difference in that
    /// policy, because there was no role.
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

    fn unread_former_roles(&self) -> Vec<(&'a str, &'a Failure)> {
        let PlanInput { observed, .. } = *self.input;
        let remembered = remembered_roles(self.context.previous).map(role_of_arn);
        remembered.filter_map(|name| Some((name, observed.former_roles.get(name)?.as_ref().err()?))).collect()
    }

    fn unread_former_role(&self) -> Option<ConditionDraft> {
        let unread = self.unread_former_roles();
        let (_, first) = unread.first()?;
        let messages = unread.iter().map(|(name, failure)| {
            format!("the former role {name} is not deleted yet: {}", failure.message())
        });
        let reason = first.class.reason();
        Some(ConditionDraft::new(ConditionType::RoleReady, ReadyStatus::Unknown, reason, list(messages)))
    }

    fn role_message(&self) -> String {
        let mut message = match &self.input.desired.role {
            DesiredRole::Managed(role) => {
                let adopted = self.adopted_role().map(adopted_message).unwrap_or_default();
                format!("role {} trusts S3 and has its policy{adopted}", role.name)
            }
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

    /// The role, where the operator did not make it.
    pub fn adopted_role(&self) -> Option<AdoptedRole<'a>> {
        let PlanInput { desired, replication, .. } = *self.input;
        let DesiredRole::Managed(role) = &desired.role else { return None };
        let held = self.input.observed.role.as_ref().ok()?.as_ref()?;
        let was_adopted = is_adopted(&held.tags) || self.outcome.done.iter().any(Step::takes_over);
        let goes = self.input.adopts() && replication.spec.deletion_policy == DeletionPolicy::Delete;
        was_adopted.then_some(AdoptedRole { name: &role.name, goes })
    }

    pub fn replication(&self) -> ConditionDraft {
        let about = ConditionType::ReplicationReady;
        let observed = self.input.observed;
        let keys = observed.unread_keys().map(|(_, failure)| failure);
        let unread = observed.configuration.as_ref().err().into_iter().chain(keys);
        let stuck = self.stuck(about, &[AwsResource::ReplicationConfiguration]);
        if let Some(mut draft) = stuck.or_else(|| self.unread(about, unread.clone())) {
            draft.message.extend(self.denied_keys());
            return also_unread(draft, unread);
        }
        let bucket = &self.input.desired.source.name;
        let mut message = format!("bucket {bucket} has the replication configuration of the spec");
        message.extend(self.asked_of_others());
        message.extend(self.denied_keys());
        ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, message)
    }

    /// Names what the owners of destinations must do where the operator may not act. The operator cannot see whether
    /// they did it.
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
    fn denied_keys(&self) -> Option<String> {
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

    /// The reads that failed: the reason of the first failure, and the messages of all.
    fn unread<'b>(
        &self,
        about: ConditionType,
        failures: impl Iterator<Item = &'b Failure>,
    ) -> Option<ConditionDraft> {
        let failures: Vec<&Failure> = failures.collect();
        let reason = failures.first()?.reason_for(&self.input.desired.source.name);
        let mut messages: Vec<String> = Vec::new();
        for message in failures.iter().map(|failure| failure.message()) {
            // Several buckets may be in one account that cannot be reached.
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        Some(ConditionDraft::new(about, ReadyStatus::Unknown, reason, list(messages.into_iter())))
    }

    /// The reads that failed of parts that may differ, and that no refusal is about.
    fn unread_parts(&self) -> impl Iterator<Item = &'a Failure> + use<'a> {
        let observed = self.input.observed;
        let buckets = std::iter::once(&observed.source).chain(observed.destinations.values());
        let versioning = buckets.filter_map(|bucket| bucket.versioning.as_ref().err());
        let policies = observed.bucket_policies.values().filter_map(|policy| policy.as_ref().err());
        let role = observed.role.as_ref().err();
        versioning.chain(role).chain(policies).chain(self.unread_object_lock())
    }

    pub fn in_sync(&self) -> ConditionDraft {
        let about = ConditionType::InSync;
        let refused = self.plan.refusal().map(|refusal| (refusal.reason, refusal.message.clone()));
        if self.remaining.is_empty() {
            return match refused {
                // A part that could not be read may differ.
                Some((reason, message)) => ConditionDraft::new(about, ReadyStatus::Unknown, reason, message),
                None => self.unread(about, self.unread_parts()).unwrap_or_else(|| {
                    let message = "nothing in AWS differs from the spec";
                    ConditionDraft::new(about, ReadyStatus::True, Reason::Applied, message)
                }),
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
        status.canary_places = self.canary_places();
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

/// A role that the operator did not make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdoptedRole<'a> {
    pub name: &'a str,
    /// A deletion of the resource deletes it.
    pub goes: bool,
}

/// The fate of an adopted role, for a condition.
fn adopted_message(AdoptedRole { goes, .. }: AdoptedRole<'_>) -> &'static str {
    match goes {
        true => {
            "; it was adopted, and deleting this resource deletes it too: to keep it, set adoptionPolicy: Refuse or deletionPolicy: Retain before"
        }
        false => "; it was adopted, and deleting this resource leaves it",
    }
}

/// The part of a waiting spec that a difference belongs to.
fn part_of(DriftEntry { resource, name, path, .. }: &DriftEntry) -> String {
    match resource {
        AwsResource::BucketVersioning => format!("versioning of bucket {name}"),
        AwsResource::Role => format!("{path} of role {name}"),
        AwsResource::RolePolicy => format!("the policy of role {name}"),
        AwsResource::ReplicationConfiguration => path.clone(),
        AwsResource::DestinationBucketPolicy => format!("the policy of bucket {name}"),
    }
}

/// The beginning of every report of drift, in conditions and events alike.
pub(crate) const DRIFT: &str = "AWS differs from the spec";

/// Names the differences.
fn differs<'a>(differences: impl Iterator<Item = &'a DriftEntry>) -> String {
    format!("{DRIFT}: {}", list(differences.map(ToString::to_string)))
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
