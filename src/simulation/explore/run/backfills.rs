//! The parts of a run that only backfills have: jobs that go on between checks, and the properties of backfills.
//!
//! In: a run. Out: the properties that do not hold. They are worked out from the simulated AWS and API server alone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::Value;

use crate::api::{BucketReplication, ManagementPolicy};
use crate::replication::Step;
use crate::replication::backfill::{JobState, JobUpdate};
use crate::runtime::store::Key;
use crate::simulation::api_server::ObjectName;
use crate::simulation::explore::backfills::PARENT;
use crate::simulation::explore::properties::{Property, Violation, forbidden, forbids, is_owned, violated};
use crate::simulation::explore::run::{Check, Live, NAMESPACE, Run};
use crate::simulation::hook::Call;
use crate::simulation::jobs::SimulatedJob;

/// How long S3 may take to list a job: a request that is older has no job that is not listed.
const LISTED: Duration = Duration::from_secs(60);

/// Whether a call makes something or costs money. A call that ends a job or deletes its role needs no permission.
fn begins(call: &Call) -> bool {
    match call {
        Call::CreateJob | Call::UpdateJob(JobUpdate::Confirm) => true,
        Call::Execute(step) => !matches!(step, Step::DeleteRole { .. } | Step::DeleteRolePolicy { .. }),
        _ => false,
    }
}

impl Run {
    /// The jobs go on, as they do while the operator waits.
    pub(super) fn advance_jobs(&mut self) {
        let mut jobs = self.cloud.snapshot().jobs.clone();
        jobs.advance();
        if jobs != self.cloud.snapshot().jobs {
            self.cloud.with(|world| world.jobs = jobs);
        }
        self.refresh();
    }

    /// Whether a job would go on if time passed.
    pub(super) fn jobs_go_on(&self) -> bool {
        let world = self.cloud.snapshot();
        let mut jobs = world.jobs.clone();
        jobs.advance();
        let states = |held: &BTreeMap<String, SimulatedJob>| -> Vec<String> {
            held.values().map(|job| job.state.clone()).collect()
        };
        states(&world.jobs.held) != states(&jobs.held)
    }

    /// Whether each request for a job is so old that S3 lists its job.
    pub(super) fn ages(&self) -> Vec<bool> {
        let now = self.clock.elapsed().as_secs();
        let old = |name: &&str| {
            let requested = self.backfill(name)?["status"]["requestedAt"].as_str()?.to_owned();
            let requested: jiff::Timestamp = requested.parse().ok()?;
            let age = now.saturating_sub(u64::try_from(requested.as_second()).ok()?);
            Some(age >= LISTED.as_secs())
        };
        self.scene.backfills.iter().map(|name| old(name).unwrap_or_default()).collect()
    }

    /// Whether the end of a backfill waits until S3 would list a job that was perhaps asked for.
    pub(super) fn awaits_listing(&self, work: usize) -> bool {
        let Some(name) = self.backfill_at(work) else { return false };
        let index = self.scene.backfills.iter().position(|backfill| *backfill == name);
        let old = index.and_then(|index| self.ages().get(index).copied()).unwrap_or_default();
        !old && self.backfill_reason(name).is_some_and(|(reason, _)| reason == "Cancelling")
    }

    /// A backfill as the API server has it.
    fn backfill(&self, name: &str) -> Option<Value> {
        self.cluster.with(|server| server.objects.get(&ObjectName::backfill(NAMESPACE, name)).cloned())
    }

    /// Reason and message of a backfill.
    pub(super) fn backfill_reason(&self, name: &str) -> Option<(String, String)> {
        let ready = self.backfill(name)?["status"]["conditions"][0].clone();
        let text = |field: &str| ready[field].as_str().unwrap_or_default().to_owned();
        Some((text("reason"), text("message")))
    }

    /// The jobs that a backfill asked for, by id.
    fn jobs_of(&self, uid: &str) -> Vec<(String, SimulatedJob)> {
        let of = |job: &SimulatedJob| job.description.ends_with(&format!("/{uid}"));
        let world = self.cloud.snapshot();
        let held = world.jobs.held.iter().filter(|(_, job)| of(job));
        held.map(|(id, job)| (id.clone(), job.clone())).collect()
    }

    fn uid_at(&self, work: usize) -> String {
        let before = self.scene.resources.len() + self.scene.accounts.len();
        let index = work.saturating_sub(before);
        let (_, server) = (self.scene.begin)();
        let name = self.scene.backfills.get(index).copied().unwrap_or_default();
        let object = server.objects.get(&ObjectName::backfill(NAMESPACE, name));
        object.and_then(|object| object["metadata"]["uid"].as_str()).unwrap_or_default().to_owned()
    }

    /// A call for a backfill was issued: whether it may be made at this moment.
    pub(super) fn issued_for_backfill(&mut self, index: usize, leads: bool, call: &Call) {
        let Some(check) = self.checks.get(index).filter(|_| call.writes_to_aws()) else { return };
        // Existence, observation, permission, the boundary; the lease, the token, the turn.
        self.judged += 7;
        let name = self.backfill_at(check.resource).unwrap_or_default();
        let mut found = Vec::new();
        if begins(call) {
            found.extend(self.begun_for(name, check, call));
        }
        let boundary = self.fault_of_boundary(&check.facts, call);
        found.extend(boundary.map(|(property, detail)| violated(property, detail)));
        if !leads {
            found.push(violated(Property::Lease, format!("the former leader wants to {call}")));
        }
        if *call == Call::UpdateJob(JobUpdate::Confirm)
            && let Some(parent) = self.parent()
            && let source = format!("arn:aws:s3:::{}\"", parent.spec.source.bucket)
            && self.jobs_of(&check.facts.uid).iter().any(|(_, job)| !job.request.contains(&source))
        {
            found.push(violated(
                Property::Permission,
                format!("the operator wants to {call} of a job for another source"),
            ));
        }
        if *call == Call::CreateJob {
            let kept = self.backfill(name).is_some_and(|object| object["status"]["token"].is_string());
            if !kept {
                let detail = format!("a job is asked for, and the status of data/{name} holds no token");
                found.push(violated(Property::JobKnown, detail));
            }
            found.extend(self.out_of_turn(name));
        }
        found.into_iter().for_each(|violation| self.violate(violation));
    }

    /// Something is to be made, or a job is to run: what forbids it.
    fn begun_for(&self, name: &str, check: &Check, call: &Call) -> Vec<Violation> {
        let facts = &check.facts;
        let live = facts.live.unwrap_or_else(|| Live::of(self.backfill(name).as_ref(), &facts.uid));
        let gone =
            (!live.is_there || live.is_deleted || facts.deletes || self.is_unwanted(check)).then(|| {
                let detail = format!(
                    "the operator wants to {call} for data/{name}, which is gone, cancelled or being deleted"
                );
                violated(Property::Existence, detail)
            });
        let Some(parent) = self.parent() else {
            let detail = format!("the operator wants to {call} for data/{name}, whose replication is gone");
            return gone.into_iter().chain([violated(Property::Existence, detail)]).collect();
        };
        let observes = parent.spec.suspend || parent.spec.management_policy == ManagementPolicy::Observe;
        let observed = (observes || parent.metadata.deletion_timestamp.is_some()).then(|| {
            let detail =
                format!("the operator wants to {call} for data/{PARENT}, which may only be observed");
            violated(Property::Observation, detail)
        });
        let seen = self.ghost.accounts_seen;
        let why = self
            .cluster
            .with(|server| forbidden(server, &parent, seen).or_else(|| forbids(server, &parent, "Backfill")));
        let refused = why.map(|why| {
            let detail = format!("the operator wants to {call} although {why}");
            violated(Property::Permission, detail)
        });
        [gone, observed, refused].into_iter().flatten().collect()
    }

    /// Whether the watch has brought that a backfill is gone, is being deleted or is cancelled.
    fn is_unwanted(&self, check: &Check) -> bool {
        let Some(process) = self.processes.get(check.process) else { return true };
        let key = Key::namespaced(NAMESPACE, &check.facts.name.name);
        process.operator.index().backfills.get(&key).is_none_or(|shown| {
            let is_cancelled = shown.0.as_ref().is_ok_and(|backfill| backfill.spec.cancel);
            let metadata = kube::Resource::meta(shown.as_ref());
            let is_another = metadata.uid.as_deref() != Some(check.facts.uid.as_str());
            is_cancelled || is_another || metadata.deletion_timestamp.is_some()
        })
    }

    /// The replication of the backfills.
    fn parent(&self) -> Option<BucketReplication> {
        let name = ObjectName::replication(NAMESPACE, PARENT);
        let object = self.cluster.with(|server| server.objects.get(&name).cloned())?;
        BucketReplication::deserialize(object).ok()
    }

    /// Another backfill whose job goes on.
    fn out_of_turn(&self, name: &str) -> Option<Violation> {
        let before = self.scene.resources.len() + self.scene.accounts.len();
        let mut others = self.scene.backfills.iter().enumerate().filter(|(_, other)| **other != name);
        others.find_map(|(index, other)| {
            let jobs = self.jobs_of(&self.uid_at(before + index));
            let (id, _) = jobs.iter().find(|(_, job)| !JobState::of(&job.state).is_final())?;
            let detail = format!("a job for data/{name} is asked for while {id} of data/{other} goes on");
            Some(violated(Property::Turn, detail))
        })
    }

    /// A second job, which no write may make.
    pub(super) fn second_job(&self, uid: &str) -> Option<Violation> {
        let jobs = self.jobs_of(uid).len();
        (jobs > 1).then(|| violated(Property::OneJob, format!("there are {jobs} jobs for one backfill")))
    }

    /// The violation of a property that holds of a backfill once no check changes anything any more.
    pub(super) fn backfill_settled_as(&self, work: usize, name: &str) -> Option<Violation> {
        let uid = self.uid_at(work);
        let left = |what: String| Some(violated(Property::BackfillEnd, what));
        let object = self.backfill(name);
        let jobs = self.jobs_of(&uid);
        let ended = object.as_ref().is_none_or(|object| {
            object["spec"]["cancel"] == true || !object["metadata"]["deletionTimestamp"].is_null()
        });
        if jobs.is_empty() && !ended && self.may_not_begin() {
            return None;
        }
        let waits = |job: &SimulatedJob| JobState::of(&job.state) == JobState::Suspended;
        if jobs.iter().any(|(_, job)| waits(job)) && !ended && self.may_not_begin() {
            return None;
        }
        // The job of a role that someone took is a matter for a person.
        if self.backfill_reason(name).is_some_and(|(reason, _)| reason == "ForeignRole") {
            return None;
        }
        if let Some((id, job)) = jobs.iter().find(|(_, job)| !JobState::of(&job.state).is_final()) {
            return left(format!("job {id} of data/{name} is still {}, and nobody follows it", job.state));
        }
        let world = self.cloud.snapshot();
        if let Some(role) = world.roles.values().find(|role| is_owned(role, &uid)) {
            return left(format!("role {} of data/{name} is left", role.name));
        }
        let object = object?;
        let (reason, message) = self.backfill_reason(name)?;
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return left(format!("data/{name} stays: {reason} ({message})"));
        }
        let status = &object["status"];
        let is_over = status["finishedAt"].is_string() && !status["role"].is_object();
        if !is_over || (!ended && reason != "Completed") {
            return left(format!("data/{name} stays {reason} ({message})"));
        }
        None
    }

    /// Whether someone keeps backfills from beginning.
    fn may_not_begin(&self) -> bool {
        self.cluster.with(|server| {
            let parent = server.objects.get(&ObjectName::replication(NAMESPACE, PARENT));
            let account = server.objects.get(&ObjectName::account("default"));
            let suspended = parent.is_none_or(|parent| {
                parent["spec"]["suspend"] == true
                    || parent["spec"]["source"]["bucket"] != "orders"
                    || !parent["metadata"]["deletionTimestamp"].is_null()
            });
            suspended
                || account.is_none_or(|account| account["spec"]["allow"] != serde_json::json!(["Backfill"]))
        })
    }
}
