//! S3 Batch Operations as data: jobs with their states, and the table of tokens.
//!
//! In: requests, each as an account. Out: the jobs after them, or the failure that S3 answers with. A job goes on only
//! when a test or the exploration moves it. A scene chooses what AWS leaves open: whether it still knows a token, and
//! whether it lists a new job yet.
//!
//! The behaviour that is taken from AWS, and where AWS documents it:
//! - the states and the ways between them:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html>
//! - a job belongs to an account and a Region, and one of another is not found:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshooting-batch-operations.html>
//! - a role that S3 cannot assume is a reason why a job fails, and no reason to refuse it (`AssumeRoleNotPermitted`):
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-failure-codes.html>
//! - a job without objects fails, in these words:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-troubleshoot.html>
//! - a token that comes again makes no second job, and `IdempotencyException` is an error of `CreateJob`:
//!   <https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_CreateJob.html>. AWS does not document when it answers
//!   with that error, and for how long it knows a token. Here another request with a known token gets it.

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
    /// The number of jobs that there have ever been.
    #[serde(skip)]
    made: usize,
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
    /// S3 Batch Operations could assume the role when the job was asked for.
    pub assumable: bool,
    pub state: String,
    pub total: Option<i64>,
    pub succeeded: i64,
    pub failed: i64,
    pub failure_reasons: Vec<String>,
    pub update_reason: Option<String>,
}

impl SimulatedJob {
    /// Whether the job belongs to an account and a Region.
    fn is_at(&self, address: &JobAddress) -> bool {
        self.account == address.account && self.region == address.region
    }
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
    /// What S3 answers: another request had the same token.
    pub fn create(&mut self, caller: &str, assumable: bool, request: &JobRequest) -> Read<String> {
        let action = "s3:CreateJob";
        let invalid = |answer| Err(refuse(FailureClass::Invalid, action, &request.source, answer));
        if request.address.account != caller {
            return Err(denied(action, &request.source));
        }
        let text = format!("{request:?}");
        let mut held = self.held.iter().filter(|(_, job)| job.is_at(&request.address));
        let known = held.find(|(_, job)| job.token == request.token);
        match known.filter(|_| !self.forgets_tokens) {
            Some((id, job)) if job.request == text => return Ok(id.clone()),
            Some(_) => {
                return invalid(("IdempotencyException", "The token was used with another request"));
            }
            None => {}
        }
        self.made += 1;
        let id = format!("job-{}", self.made);
        let job = SimulatedJob {
            account: caller.to_owned(),
            region: request.address.region.clone(),
            token: request.token.clone(),
            description: request.description.clone(),
            request: text,
            confirmation_required: request.confirmation_required,
            assumable,
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
        let held = self.held.get(id).filter(|job| job.is_at(address));
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
        let mut held = self.held.iter().filter(|(_, job)| job.is_at(address) && listed(job));
        let found = held.find(|(_, job)| job.description == description);
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
        let Some(job) = self.held.get_mut(id).filter(|job| job.is_at(address)) else { return Ok(()) };
        let state = JobState::of(&job.state);
        let is_ending = matches!(state, JobState::Completing | JobState::Failing) || state.is_final();
        let next = match update {
            JobUpdate::Confirm if state == JobState::Suspended => "Ready",
            JobUpdate::Cancel if !is_ending => "Cancelling",
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
                JobState::Preparing if !job.assumable => {
                    job.failure_reasons =
                        vec!["AssumeRoleNotPermitted: The role could not be assumed".to_owned()];
                    "Failed"
                }
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const HERE: &str = "111122223333";

    fn request(region: &str) -> JobRequest {
        JobRequest {
            address: JobAddress { account: HERE.to_owned(), region: region.to_owned() },
            source: "arn:aws:s3:::orders".to_owned(),
            statuses: Vec::new(),
            created_after: None,
            created_before: Timestamp::UNIX_EPOCH,
            prefixes: Vec::new(),
            report: None,
            role: format!("arn:aws:iam::{HERE}:role/jobs"),
            priority: 10,
            confirmation_required: false,
            token: "token".to_owned(),
            description: "mine".to_owned(),
        }
    }

    #[test]
    fn a_job_is_one_of_its_region_and_a_forgotten_one_leaves_its_id_to_no_other() {
        let (home, away) = (request("us-east-1"), request("eu-west-1"));
        let mut jobs = Jobs::default();
        let first = jobs.create(HERE, true, &home).unwrap();
        assert_eq!(jobs.find(HERE, &away.address, "mine"), Ok(None));
        assert_eq!(jobs.describe(HERE, &away.address, &first), Ok(None));
        jobs.update(HERE, &away.address, &first, JobUpdate::Cancel).unwrap();
        assert_eq!(jobs.held[&first].state, "New");
        let second = jobs.create(HERE, true, &away).unwrap();
        assert_ne!(first, second, "a token is one of its Region too");
        jobs.held.remove(&second);
        assert_ne!(jobs.create(HERE, true, &away).unwrap(), second);
    }

    #[test]
    fn a_role_that_cannot_be_assumed_fails_the_job_and_not_the_request() {
        let mut jobs = Jobs { objects: 3, ..Jobs::default() };
        let id = jobs.create(HERE, false, &request("us-east-1")).unwrap();
        jobs.advance();
        jobs.advance();
        let job = &jobs.held[&id];
        assert_eq!(job.state, "Failed");
        assert!(job.failure_reasons[0].contains("AssumeRoleNotPermitted"), "{:?}", job.failure_reasons);
    }

    #[test]
    fn a_job_that_is_at_its_end_is_not_cancelled_any_more() {
        for state in ["Completing", "Failing", "Complete", "Failed", "Cancelled"] {
            let mut jobs = Jobs::default();
            let asked = request("us-east-1");
            let id = jobs.create(HERE, true, &asked).unwrap();
            jobs.held.get_mut(&id).unwrap().state = state.to_owned();
            jobs.update(HERE, &asked.address, &id, JobUpdate::Cancel).unwrap();
            assert_eq!(jobs.held[&id].state, state);
        }
    }
}
