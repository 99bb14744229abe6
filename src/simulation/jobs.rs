//! S3 Batch Operations as data: jobs with their states, and the table of tokens.
//!
//! In: requests, each as an account. Out: the jobs after them, or the failure that S3 answers with. A job goes on only
//! when a test or the exploration moves it. What AWS leaves open can be chosen: whether it still knows a token, and
//! whether it lists a new job yet.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::replication::backfill::{Job, JobAddress, JobRequest, JobState, JobUpdate};
use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass};

/// All jobs, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

fn refuse(class: FailureClass, action: &'static str, subject: &str, (code, detail): (&str, &str)) -> Failure {
    Failure { code: code.to_owned(), ..Failure::new(class, action, subject, detail) }
}

fn denied(action: &'static str, subject: &str) -> Failure {
    refuse(FailureClass::Denied, action, subject, ("AccessDenied", "Access Denied"))
}

impl Jobs {
    /// Asks for a job, as an account. `assumable`: S3 Batch Operations may assume its role.
    ///
    /// # Errors
    /// What S3 answers: a role that S3 Batch Operations cannot assume, or another request with the same token.
    pub fn create(&mut self, caller: &str, assumable: bool, request: &JobRequest) -> Read<String> {
        let action = "s3:CreateJob";
        let invalid = |answer| Err(refuse(FailureClass::Invalid, action, &request.source, answer));
        if request.address.account != caller {
            return Err(denied(action, &request.source));
        }
        if !assumable {
            return invalid(("InvalidRequest", "The role cannot be assumed"));
        }
        let text = format!("{request:?}");
        let known = self.held.iter().find(|(_, job)| job.token == request.token);
        match known.filter(|_| !self.forgets_tokens) {
            Some((id, job)) if job.request == text => return Ok(id.clone()),
            Some(_) => {
                return invalid(("IdempotencyException", "The token was used with another request"));
            }
            None => {}
        }
        let id = format!("job-{}", self.held.len() + 1);
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
        self.held.insert(id.clone(), job);
        Ok(id)
    }

    /// A job, as an account sees it.
    ///
    /// # Errors
    /// `AccessDenied` in another account.
    pub fn describe(&self, caller: &str, address: &JobAddress, id: &str) -> Read<Option<Job>> {
        if address.account != caller {
            return Err(denied("s3:DescribeJob", id));
        }
        let held = self.held.get(id).filter(|job| job.region == address.region && job.account == caller);
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
    pub fn find(&self, caller: &str, address: &JobAddress, description: &str) -> Read<Option<String>> {
        if address.account != caller {
            return Err(denied("s3:ListJobs", caller));
        }
        let listed = |job: &SimulatedJob| !(self.lists_late && job.state == "New");
        let found = self.held.iter().find(|(_, job)| job.description == description && listed(job));
        Ok(found.map(|(id, _)| id.clone()))
    }

    /// Asks for another state of a job.
    ///
    /// # Errors
    /// `AccessDenied` in another account.
    pub fn update(&mut self, caller: &str, address: &JobAddress, id: &str, update: JobUpdate) -> Read<()> {
        if address.account != caller {
            return Err(denied("s3:UpdateJobStatus", id));
        }
        let Some(job) = self.held.get_mut(id) else { return Ok(()) };
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
    pub fn advance(&mut self) {
        let (objects, failing) = (self.objects, self.failing);
        for job in self.held.values_mut() {
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
