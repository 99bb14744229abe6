//! Plan + outcome → status and events. What is said holds no time, no request id and nothing else that differs
//! between two identical tries, so that an unchanged truth causes no write.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::desired::DesiredRole;
use super::failure::{Failure, FailureClass};
use super::observed::{ObservedBucket, VersioningStatus};
use super::partition::role_of_arn;
use super::plan::{Plan, Refusal, Situation};
use super::step::Step;
use crate::api::{
    AwsResource, BucketReplicationStatus, BucketStatus, ConditionType, Correction, DriftEntry,
    MAX_DRIFT_ENTRIES, ReadyStatus, Reason, RoleStatus,
};

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub done: Vec<Step>,
    pub failed: Option<(Step, Failure)>,
    /// The operator was asked to stop before all steps were done.
    pub interrupted: bool,
    /// Another tool keeps changing what the operator corrects: nothing was done this time.
    pub held_back: Option<HeldBack>,
}

/// Fields that were corrected again and again within an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldBack {
    pub paths: Vec<String>,
    pub corrections: usize,
}

/// What a report is made for.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    pub generation: Option<i64>,
    /// The value of the annotation that asked for this check.
    pub requested: Option<&'a str>,
    pub previous: &'a BucketReplicationStatus,
    pub now: Timestamp,
}

/// What is to be written to Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub status: BucketReplicationStatus,
    pub events: Vec<Event>,
    /// The reason of `Ready`, which decides when to look again.
    pub reason: Reason,
}

/// An event on the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub warning: bool,
    pub reason: &'static str,
    pub note: String,
}

/// A condition before it has times.
struct Finding {
    about: ConditionType,
    status: ReadyStatus,
    reason: Reason,
    message: String,
}

impl Finding {
    fn new(about: ConditionType, status: ReadyStatus, reason: Reason, message: impl Into<String>) -> Finding {
        Finding { about, status, reason, message: message.into() }
    }
}

/// Reports a check that was observed and planned, and perhaps applied.
pub fn report(situation: &Situation<'_>, plan: &Plan, outcome: &Outcome, occasion: &Occasion<'_>) -> Report {
    let Occasion { previous, now, .. } = *occasion;
    let (settled, remaining): (Vec<DriftEntry>, Vec<DriftEntry>) =
        plan.differences.iter().cloned().partition(|d| outcome.done.iter().any(|step| step.settles(d)));
    let view = View { situation, plan, outcome, remaining: &remaining };

    let ready = view.ready();
    let reason = ready.reason;
    let findings = vec![ready, view.versioning(), view.role(), view.replication(), view.in_sync()];

    let mut status = previous.clone();
    status.observed_generation = occasion.generation;
    status.last_handled_request = occasion.requested.map(str::to_owned);
    status.conditions = conditions(findings, reason, occasion);
    view.describe(&mut status, previous);
    let drift: &[DriftEntry] = if plan.drift { &remaining } else { &[] };
    status.drift = drift.iter().take(MAX_DRIFT_ENTRIES).cloned().collect();
    status.drift_count = Some(count(drift));
    if plan.drift && !settled.is_empty() {
        status.last_correction = Some(Correction {
            time: Time(now),
            count: count(&settled),
            items: settled.iter().take(MAX_DRIFT_ENTRIES).cloned().collect(),
        });
    }
    status.applied_hash = view.applied_hash(previous);

    let mut events = Vec::new();
    if !outcome.done.is_empty() {
        events.push(written(plan, outcome, &settled));
    }
    if !drift.is_empty() && status.drift != previous.drift {
        events.push(Event {
            warning: true,
            reason: "DriftDetected",
            note: note("AWS differs from the spec", drift.iter().map(describe)),
        });
    }
    events.extend(failure_event(&status, previous, reason));
    Report { status, events, reason }
}

/// Reports what stops the operator before anything is observed: suspended, a conflict, no credentials.
pub fn stopped(refusal: &Refusal, occasion: &Occasion<'_>) -> Report {
    let Refusal { reason, message, about } = refusal;
    let mut status = occasion.previous.clone();
    status.observed_generation = occasion.generation;
    if *reason != Reason::Suspended {
        // While suspended nothing is checked, so that no request to check is handled.
        status.last_handled_request = occasion.requested.map(str::to_owned);
    }
    let rest = [
        ConditionType::VersioningReady,
        ConditionType::RoleReady,
        ConditionType::ReplicationReady,
        ConditionType::InSync,
    ];
    let ready = Finding::new(ConditionType::Ready, reason.ready(), *reason, message.clone());
    let rest = rest.into_iter().map(|c| {
        let status = if c == *about { reason.ready() } else { ReadyStatus::Unknown };
        Finding::new(c, status, *reason, message.clone())
    });
    status.conditions = conditions(std::iter::once(ready).chain(rest).collect(), *reason, occasion);
    let events = failure_event(&status, occasion.previous, *reason).into_iter().collect();
    Report { status, events, reason: *reason }
}

struct View<'a> {
    situation: &'a Situation<'a>,
    plan: &'a Plan,
    outcome: &'a Outcome,
    remaining: &'a [DriftEntry],
}

impl View<'_> {
    fn ready(&self) -> Finding {
        let ready = |reason: Reason, message: String| {
            Finding::new(ConditionType::Ready, reason.ready(), reason, message)
        };
        if let Some(Refusal { reason, message, .. }) = &self.plan.refusal {
            return ready(*reason, message.clone());
        }
        if let Some((step, failure)) = &self.outcome.failed {
            return ready(failed_reason(step, failure, &self.outcome.done), failure.message());
        }
        if let Some(HeldBack { paths, corrections }) = &self.outcome.held_back {
            return ready(
                Reason::Drifted,
                format!(
                    "another tool keeps changing {}: corrected {corrections} times within an hour and changed again; corrections now slow down. Find the other writer (CloudTrail shows who calls AWS on {}) and stop it, or set managementPolicy: Observe",
                    paths.join(", "),
                    self.situation.desired.source.bucket,
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
        let desired = self.situation.desired;
        let destinations: Vec<&str> = desired.destinations.iter().map(|d| d.bucket.as_str()).collect();
        let rules = desired.rules.len();
        ready(
            Reason::Applied,
            format!(
                "bucket {} replicates to {} ({rules} rule{})",
                desired.source.bucket,
                summary(destinations.into_iter().map(str::to_owned)),
                if rules == 1 { "" } else { "s" }
            ),
        )
    }

    fn versioning(&self) -> Finding {
        let about = ConditionType::VersioningReady;
        if let Some(finding) = self.trouble(about, &[AwsResource::BucketVersioning]) {
            return finding;
        }
        let mut buckets = std::iter::once(&self.situation.observed.source)
            .chain(self.situation.observed.destinations.values());
        if let Some(failure) = buckets.find_map(|b| b.versioning.as_ref().err()) {
            return Finding::new(about, ReadyStatus::Unknown, self.unread_reason(failure), failure.message());
        }
        Finding::new(about, ReadyStatus::True, Reason::Applied, "source and destinations are versioned")
    }

    fn role(&self) -> Finding {
        let about = ConditionType::RoleReady;
        if let Some(finding) = self.trouble(about, &[AwsResource::Role, AwsResource::RolePolicy]) {
            return finding;
        }
        if let Err(failure) = &self.situation.observed.role {
            return Finding::new(about, ReadyStatus::Unknown, self.unread_reason(failure), failure.message());
        }
        // The policy of a role that was made just now is no difference of its own: it is there when it was put.
        let done = |step: fn(&Step) -> bool| self.outcome.done.iter().any(step);
        if done(|s| matches!(s, Step::CreateRole { .. }))
            && !done(|s| matches!(s, Step::PutRolePolicy { .. }))
        {
            let message = format!("role {} has no policy yet: see Ready", self.situation.desired.role.name());
            return Finding::new(about, ReadyStatus::False, Reason::Progressing, message);
        }
        let mut former = self.situation.observed.former_roles_of(self.situation.identity);
        if let Some(role) = former.find(|role| !role.other_policies.is_empty()) {
            return Finding::new(
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
        let message = match &self.situation.desired.role {
            DesiredRole::Managed(role) => format!("role {} trusts S3 and has its policy", role.name),
            DesiredRole::Existing { arn } => {
                format!("role {arn} exists and trusts S3; what it may do is not checked")
            }
        };
        Finding::new(about, ReadyStatus::True, Reason::Applied, message)
    }

    fn replication(&self) -> Finding {
        let about = ConditionType::ReplicationReady;
        if let Some(finding) = self.trouble(about, &[AwsResource::ReplicationConfiguration]) {
            return finding;
        }
        if let Err(failure) = &self.situation.observed.configuration {
            return Finding::new(about, ReadyStatus::Unknown, self.unread_reason(failure), failure.message());
        }
        let bucket = &self.situation.desired.source.bucket;
        Finding::new(
            about,
            ReadyStatus::True,
            Reason::Applied,
            format!("bucket {bucket} has the replication configuration of the spec"),
        )
    }

    /// What stands against one part being ready: a refusal or a failed step about it, or differences that remain.
    fn trouble(&self, about: ConditionType, resources: &[AwsResource]) -> Option<Finding> {
        let negative =
            |reason: Reason, message: String| Some(Finding::new(about, ReadyStatus::False, reason, message));
        if let Some(refusal) = self.plan.refusal.as_ref().filter(|r| r.about == about) {
            return negative(refusal.reason, refusal.message.clone());
        }
        if let Some((step, failure)) =
            self.outcome.failed.as_ref().filter(|(step, _)| concerns(step) == about)
        {
            return negative(failed_reason(step, failure, &self.outcome.done), failure.message());
        }
        let mut remaining = self.remaining.iter().filter(|d| resources.contains(&d.resource)).peekable();
        remaining.peek()?;
        let reason = if self.plan.drift { Reason::Drifted } else { Reason::Progressing };
        negative(reason, note("AWS differs from the spec", remaining.map(describe)))
    }

    fn in_sync(&self) -> Finding {
        let about = ConditionType::InSync;
        let stopped_by = match (&self.plan.refusal, &self.outcome.failed) {
            (Some(refusal), _) => Some((refusal.reason, refusal.message.clone())),
            (None, Some((step, failure))) => {
                Some((failed_reason(step, failure, &self.outcome.done), failure.message()))
            }
            (None, None) => None,
        };
        if self.remaining.is_empty() {
            return match stopped_by {
                // What could not be read may differ.
                Some((reason, message)) if self.plan.refusal.is_some() => {
                    Finding::new(about, ReadyStatus::Unknown, reason, message)
                }
                _ => Finding::new(
                    about,
                    ReadyStatus::True,
                    Reason::Applied,
                    "nothing in AWS differs from the spec",
                ),
            };
        }
        if self.plan.drift {
            let message = note("AWS differs from the spec", self.remaining.iter().map(describe));
            return Finding::new(about, ReadyStatus::False, Reason::Drifted, message);
        }
        let (reason, _) = stopped_by.unwrap_or((Reason::Progressing, String::new()));
        Finding::new(about, ReadyStatus::False, reason, "the spec is not fully applied yet: see Ready")
    }

    /// A missing bucket is one reason for the source and another for a destination.
    fn unread_reason(&self, failure: &Failure) -> Reason {
        let is_source = failure.subject == self.situation.desired.source.bucket;
        match failure.class {
            FailureClass::NoSuchBucket if !is_source => Reason::DestinationBucketNotFound,
            class => class.reason(),
        }
    }

    fn describe(&self, status: &mut BucketReplicationStatus, previous: &BucketReplicationStatus) {
        let observed = self.situation.observed;
        let bucket = |name: &str, account: Option<&String>, held: &ObservedBucket| {
            let enabled =
                |step: &Step| matches!(step, Step::EnableVersioning { bucket, .. } if bucket == name);
            let versioning = match &held.versioning {
                _ if self.outcome.done.iter().any(enabled) => VersioningStatus::Enabled.as_str(),
                Ok(versioning) => versioning.status.as_str(),
                Err(_) => "Unknown",
            };
            let exists = matches!(held.region, Ok(Some(_)));
            BucketStatus {
                bucket: name.to_owned(),
                region: observed.region_of(held),
                account: exists.then(|| account.cloned().unwrap_or_else(|| observed.caller.account.clone())),
                versioning: Some(versioning.to_owned()),
            }
        };
        let desired = self.situation.desired;
        status.source = Some(bucket(&desired.source.bucket, None, &observed.source));
        status.destinations = desired
            .destinations
            .iter()
            .filter_map(|d| {
                Some(bucket(&d.bucket, d.account.as_ref(), observed.destinations.get(&d.bucket)?))
            })
            .collect();
        status.role = self.role_status(previous);
        status.former_roles = self.former_roles(previous);
        let put = self.outcome.done.iter().any(|s| matches!(s, Step::PutReplication { .. }));
        let rules = match &observed.configuration {
            _ if put => Some(desired.rules.len()),
            Ok(held) => Some(held.as_ref().map_or(0, |c| c.rules.len())),
            Err(_) => None,
        };
        status.rules = rules.map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    }

    /// The former roles that are still there, or may be: status is the only trace of what is left to delete.
    fn former_roles(&self, previous: &BucketReplicationStatus) -> Vec<String> {
        let observed = self.situation.observed;
        let identity = self.situation.identity;
        let deleted = |name: &str| {
            let mut done = self.outcome.done.iter();
            done.any(|step| matches!(step, Step::DeleteRole { role } if role == name))
        };
        let left = |arn: &str| match observed.former_roles.get(role_of_arn(arn)) {
            None | Some(Ok(None)) => false,
            Some(Ok(Some(role))) => identity.owns(&role.tags) && !deleted(&role.name),
            Some(Err(_)) => true,
        };
        let remembered = previous.role.iter().filter(|role| role.managed).map(|role| &role.arn);
        let remembered = remembered.chain(&previous.former_roles).cloned();
        let seen = observed.former_roles_of(identity).map(|role| role.arn.clone());
        let all: BTreeSet<String> = remembered.chain(seen).filter(|arn| left(arn)).collect();
        all.into_iter().collect()
    }

    /// The role as far as it exists.
    fn role_status(&self, previous: &BucketReplicationStatus) -> Option<RoleStatus> {
        let observed = self.situation.observed;
        let managed = matches!(self.situation.desired.role, DesiredRole::Managed(_));
        let created = self.outcome.done.iter().any(|s| matches!(s, Step::CreateRole { .. }));
        match &observed.role {
            Ok(Some(role)) => {
                let ours =
                    managed && !matches!(&self.plan.refusal, Some(r) if r.reason == Reason::ForeignRole);
                Some(RoleStatus { arn: role.arn.clone(), managed: ours })
            }
            Ok(None) if created => {
                Some(RoleStatus { arn: self.situation.desired.role.arn(&observed.caller), managed })
            }
            Ok(None) => None,
            Err(_) => previous.role.clone(),
        }
    }

    /// After a change of the spec that was applied only in part, what is in AWS is neither the old nor the new:
    /// a mark that equals no hash keeps the rest from being called drift.
    fn applied_hash(&self, previous: &BucketReplicationStatus) -> Option<String> {
        const INCOMPLETE: &str = "incomplete";
        let complete = self.remaining.is_empty()
            && self.plan.refusal.is_none()
            && self.outcome.failed.is_none()
            && !self.outcome.interrupted;
        if complete {
            return Some(self.situation.desired.hash());
        }
        let put = self.outcome.done.iter().any(|s| matches!(s, Step::PutReplication { .. }));
        let began = !self.plan.drift && !self.outcome.done.is_empty();
        match &previous.applied_hash {
            Some(_) if began => Some(INCOMPLETE.to_owned()),
            None if put => Some(INCOMPLETE.to_owned()),
            unchanged => unchanged.clone(),
        }
    }
}

/// The reason of a failed step, where the failure's class alone does not tell it.
fn failed_reason(step: &Step, failure: &Failure, done: &[Step]) -> Reason {
    let enabled = |s: &Step| matches!(s, Step::EnableVersioning { .. });
    match (step, failure.class) {
        (Step::EnableVersioning { .. }, FailureClass::NoSuchBucket) => Reason::DestinationBucketNotFound,
        // Versioning that was enabled a moment ago may not be seen by all of S3 yet.
        (Step::PutReplication { .. }, FailureClass::Invalid) if done.iter().any(enabled) => {
            Reason::Progressing
        }
        _ => failure.class.reason(),
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
        | Step::DeleteRolePolicy { .. }
        | Step::DeleteRole { .. } => ConditionType::RoleReady,
        Step::PutReplication { .. } | Step::DeleteReplication { .. } => ConditionType::ReplicationReady,
    }
}

fn written(plan: &Plan, outcome: &Outcome, settled: &[DriftEntry]) -> Event {
    let steps = note("wrote to AWS", outcome.done.iter().map(Step::to_string));
    if plan.drift && !settled.is_empty() {
        let corrected = note("corrected", settled.iter().map(describe));
        return Event {
            warning: true,
            reason: "DriftCorrected",
            note: clip(&format!("{corrected}; {steps}")),
        };
    }
    Event { warning: false, reason: "Applied", note: steps }
}

/// An event when `Ready` says something new that is not good; what the drift events tell is not told twice.
fn failure_event(
    status: &BucketReplicationStatus,
    previous: &BucketReplicationStatus,
    reason: Reason,
) -> Option<Event> {
    let said = |s: &BucketReplicationStatus| {
        s.conditions
            .iter()
            .find(|c| c.type_ == ConditionType::Ready.as_str())
            .map(|c| (c.reason.clone(), c.message.clone()))
    };
    let now = said(status)?;
    let quiet = matches!(reason, Reason::Applied | Reason::Progressing | Reason::Drifted);
    (!quiet && Some(&now) != said(previous).as_ref()).then(|| Event {
        warning: reason != Reason::Suspended,
        reason: reason.as_str(),
        note: clip(&now.1),
    })
}

/// Puts times on findings: a condition that keeps its status keeps its time. `Reconciling` and `Stalled` are
/// there only while true.
fn conditions(findings: Vec<Finding>, reason: Reason, occasion: &Occasion<'_>) -> Vec<Condition> {
    let ready = findings.first().map(|f| f.message.clone()).unwrap_or_default();
    let pace = match reason {
        Reason::Applied | Reason::Suspended => None,
        r if r.is_transient() => Some(ConditionType::Reconciling),
        _ => Some(ConditionType::Stalled),
    };
    let pace = pace.map(|about| Finding::new(about, ReadyStatus::True, reason, ready));
    findings
        .into_iter()
        .chain(pace)
        .map(|Finding { about, status, reason, message }| {
            let status = match status {
                ReadyStatus::True => "True",
                ReadyStatus::False => "False",
                ReadyStatus::Unknown => "Unknown",
            };
            let before = occasion.previous.conditions.iter().find(|c| c.type_ == about.as_str());
            let since =
                before.filter(|c| c.status == status && c.last_transition_time.0 != Timestamp::UNIX_EPOCH);
            Condition {
                type_: about.as_str().to_owned(),
                status: status.to_owned(),
                reason: reason.as_str().to_owned(),
                message: clip_to(&message, MAX_MESSAGE),
                observed_generation: occasion.generation,
                last_transition_time: since.map_or(Time(occasion.now), |c| c.last_transition_time.clone()),
            }
        })
        .collect()
}

/// One difference as a person reads it.
pub fn describe(d: &DriftEntry) -> String {
    format!("{} {} {}: want {:?}, got {:?}", d.resource.as_str(), d.name, d.path, d.want, d.got)
}

/// The API server takes notes of at most 1 kB (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>)
/// and messages of conditions of at most 32 kB.
const MAX_NOTE: usize = 1000;
const MAX_MESSAGE: usize = 4000;

fn note(what: &str, items: impl Iterator<Item = String>) -> String {
    clip(&format!("{what}: {}", summary(items)))
}

/// The first items and how many more there are.
fn summary(items: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let items: Vec<String> = items.collect();
    let more = items.len().saturating_sub(SHOWN);
    let shown = items.into_iter().take(SHOWN).collect::<Vec<_>>().join("; ");
    if more > 0 { format!("{shown}; and {more} more") } else { shown }
}

fn clip(text: &str) -> String {
    clip_to(text, MAX_NOTE)
}

fn clip_to(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.char_indices().map(|(i, _)| i).take_while(|i| *i <= max - 3).last().unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

fn count(items: &[DriftEntry]) -> i32 {
    i32::try_from(items.len()).unwrap_or(i32::MAX)
}
