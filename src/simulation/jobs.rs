//! S3 Batch Operations as data: jobs with their states, and the table of tokens.
//!
//! In: requests, each as an account. Out: the jobs after them, or the failure that S3 answers with. A job goes on only when
//! it is told to. What AWS leaves open can be chosen: whether it still knows a token, and whether it lists a new job yet.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::iam::arn::{account_of_arn, role_of_arn};
use crate::iam::compare::trusts_service;
use crate::replication::FailureClass;
use crate::replication::backfill::role::BATCH_OPERATIONS;
use crate::replication::backfill::{Job, JobAddress, JobRequest, JobState, JobUpdate};
use crate::replication::observed::Read;
use crate::simulation::world::{World, access_denied, fail};

/// All jobs, by id.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Jobs {
    pub held: BTreeMap<String, SimulatedJob>,
    /// S3 no longer knows the tokens of earlier requests.
    pub forgets_tokens: bool,
    /// S3 does not list a job before it has gone on for the first time.
    pub lists_late: bool,
    /// The next job that goes on to its end has this many objects, of which so many fail.
    pub objects: i64,
    pub failing: i64,
}

/// A job.
#[derive(Clone, Debug, Serialize)]
pub struct SimulatedJob {
    pub account: String,
    pub region: String,
    pub token: String,
    pub description: String,
    /// The whole request, as text.
    pub request: String,
    pub confirmation_required: bool,
    pub state: String,
    pub total: Option<i64>,
    pub succeeded: i64,
    pub failed: i64,
    pub failure_reasons: Vec<String>,
    pub update_reason: Option<String>,
}

impl World {
    /// Asks for a job, as an account.
    ///
    /// # Errors
    /// What S3 answers: a role that S3 Batch Operations cannot assume, or another request with the same token.
    pub fn create_job(&mut self, caller: &str, request: &JobRequest) -> Read<String> {
        let action = "s3:CreateJob";
        let refuse = |code, detail| Err(fail(FailureClass::Invalid, action, &request.source, (code, detail)));
        if request.address.account != caller {
            return Err(access_denied(action, &request.source));
        }
        let role = account_of_arn(&request.role).and_then(|id| self.role(id, role_of_arn(&request.role)));
        if !role.is_some_and(|role| trusts_service(&role.trust, BATCH_OPERATIONS) && role.policy.is_some()) {
            return refuse("InvalidRequest", "The role cannot be assumed");
        }
        let text = format!("{request:?}");
        let known = self.jobs.held.iter().find(|(_, job)| job.token == request.token);
        match known.filter(|_| !self.jobs.forgets_tokens) {
            Some((id, job)) if job.request == text => return Ok(id.clone()),
            Some(_) => return refuse("IdempotencyException", "The token was used with another request"),
            None => {}
        }
        let id = format!("job-{}", self.jobs.held.len() + 1);
        let job = SimulatedJob {
            account: caller.to_owned(),
            region: request.address.region.clone(),
            token: request.token.clone(),
            description: request.description.clone(),
            request: text,
            confirmation_required: request.confirmation_required,
            state: "New".to_owned(),
            total: None,
            succeeded: 0,
            failed: 0,
            failure_reasons: Vec::new(),
            update_reason: None,
        };
        self.jobs.held.insert(id.clone(), job);
        Ok(id)
    }

    /// A job, as an account sees it.
    ///
    /// # Errors
    /// `AccessDenied` in another account.
    pub fn describe_job(&self, caller: &str, address: &JobAddress, id: &str) -> Read<Option<Job>> {
        if address.account != caller {
            return Err(access_denied("s3:DescribeJob", id));
        }
        let held = self.jobs.held.get(id).filter(|job| job.region == address.region && job.account == caller);
        Ok(held.map(|job| Job {
            id: id.to_owned(),
            state: JobState::of(&job.state),
            total: job.total,
            succeeded: job.succeeded,
            failed: job.failed,
            failure_reasons: job.failure_reasons.clone(),
            update_reason: job.update_reason.clone(),
            created: None,
            terminated: None,
        }))
    }

    /// The job with a description.
    ///
    /// # Errors
    /// `AccessDenied` in another account.
    pub fn find_job(&self, caller: &str, address: &JobAddress, description: &str) -> Read<Option<String>> {
        if address.account != caller {
            return Err(access_denied("s3:ListJobs", caller));
        }
        let listed = |job: &SimulatedJob| !(self.jobs.lists_late && job.state == "New");
        let found = self.jobs.held.iter().find(|(_, job)| job.description == description && listed(job));
        Ok(found.map(|(id, _)| id.clone()))
    }

    /// Asks for another state of a job.
    ///
    /// # Errors
    /// `AccessDenied` in another account.
    pub fn update_job(
        &mut self,
        caller: &str,
        address: &JobAddress,
        id: &str,
        update: JobUpdate,
    ) -> Read<()> {
        if address.account != caller {
            return Err(access_denied("s3:UpdateJobStatus", id));
        }
        let Some(job) = self.jobs.held.get_mut(id) else { return Ok(()) };
        let state = JobState::of(&job.state);
        let next = match update {
            JobUpdate::Confirm if state == JobState::Suspended => "Ready",
            JobUpdate::Cancel if !state.is_final() => "Cancelling",
            _ => return Ok(()),
        };
        job.state = next.to_owned();
        job.update_reason = Some(update.because().to_owned());
        Ok(())
    }

    /// Every job goes on to its next state.
    pub fn advance_jobs(&mut self) {
        let (objects, failing) = (self.jobs.objects, self.jobs.failing);
        for job in self.jobs.held.values_mut() {
            let next = match JobState::of(&job.state) {
                JobState::New => "Preparing",
                JobState::Preparing if objects == 0 => {
                    job.failure_reasons =
                        vec!["Manifest generation found no keys matching the filter criteria".to_owned()];
                    "Failed"
                }
                JobState::Preparing => {
                    job.total = Some(objects);
                    if job.confirmation_required { "Suspended" } else { "Ready" }
                }
                JobState::Ready => "Active",
                JobState::Active => {
                    (job.succeeded, job.failed) = (objects - failing, failing);
                    "Complete"
                }
                JobState::Cancelling => "Cancelled",
                _ => continue,
            };
            job.state = next.to_owned();
        }
    }
}
