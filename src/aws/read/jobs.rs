//! Reads jobs of S3 Batch Operations
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_AWS_S3_Control.html>).
//!
//! In: where the job is, and its id or description. Out: the job in the domain's types, or S3's failure.

use aws_sdk_s3control::types::JobDescriptor;
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::replication::backfill::{Job, JobAddress, JobState};
use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass};

const DESCRIBE_JOB: &str = "s3:DescribeJob";
const LIST_JOBS: &str = "s3:ListJobs";

/// The most that S3 lists at once.
const PAGE: i32 = 1000;

/// A job as it is now; `None` where S3 says that there is none. A bare 404 says nothing about a job.
pub async fn describe_job(aws: &AwsClient, address: &JobAddress, id: &str) -> Read<Option<Job>> {
    let JobAddress { account, region } = address;
    let request = aws.s3control(region).describe_job().account_id(account).job_id(id);
    match aws.call(Operation::job(region, DESCRIBE_JOB, id), request.send()).await {
        Ok(answer) => match answer.job() {
            Some(job) if job.status().is_some() => Ok(Some(described(job, id))),
            _ => {
                let detail = "AWS answered with success, and the answer does not hold a Job with a Status";
                Err(Failure::new(FailureClass::Unavailable, DESCRIBE_JOB, id, detail))
            }
        },
        Err(failure) if matches!(failure.code.as_str(), "NotFoundException" | "NoSuchJob") => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn described(job: &JobDescriptor, id: &str) -> Job {
    let progress = job.progress_summary();
    let listed = progress.and_then(|progress| progress.total_number_of_tasks());
    let state =
        job.status().map_or_else(|| JobState::Other(String::new()), |state| JobState::of(state.as_str()));
    let reasons = job.failure_reasons().iter().map(|failure| {
        let (code, reason) =
            (failure.failure_code().unwrap_or_default(), failure.failure_reason().unwrap_or_default());
        [code, reason].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
    });
    Job {
        id: id.to_owned(),
        // Until the objects are listed S3 shows none.
        total: listed.filter(|total| *total > 0 || !matches!(state, JobState::New | JobState::Preparing)),
        succeeded: progress.and_then(|p| p.number_of_tasks_succeeded()).unwrap_or_default(),
        failed: progress.and_then(|p| p.number_of_tasks_failed()).unwrap_or_default(),
        failure_reasons: reasons.filter(|reason| !reason.is_empty()).collect(),
        update_reason: job.status_update_reason().filter(|text| !text.is_empty()).map(str::to_owned),
        created: job.creation_time().and_then(instant),
        terminated: job.termination_date().and_then(instant),
        state,
    }
}

/// In whole seconds, as Kubernetes keeps times.
fn instant(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

/// The id of the job with this description; `None` where S3 lists none.
pub async fn find_job(aws: &AwsClient, address: &JobAddress, description: &str) -> Read<Option<String>> {
    let JobAddress { account, region } = address;
    let mut next = None;
    loop {
        let request =
            aws.s3control(region).list_jobs().account_id(account).max_results(PAGE).set_next_token(next);
        let answer = aws.call(Operation::job(region, LIST_JOBS, account), request.send()).await?;
        let found = answer.jobs().iter().find(|job| job.description() == Some(description));
        if let Some(id) = found.and_then(|job| job.job_id()) {
            return Ok(Some(id.to_owned()));
        }
        match answer.next_token().filter(|token| !token.is_empty()) {
            Some(token) => next = Some(token.to_owned()),
            None => return Ok(None),
        }
    }
}
