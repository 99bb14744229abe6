//! Reads jobs of S3 Batch Operations
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_AWS_S3_Control.html>).
//!
//! In: where the job is, and its id or description. Out: the job in the domain's types, or S3's failure.

use std::ops::ControlFlow;

use aws_sdk_s3control::operation::describe_job::DescribeJobOutput;
use aws_sdk_s3control::operation::list_jobs::ListJobsOutput;
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

/// S3 keeps a job for 90 days after its end: more pages than a million jobs have are no answer.
const PAGES: usize = 1000;

/// A job as it is now; `None` where S3 says that there is none. A bare 404 says nothing about a job.
pub async fn describe_job(aws: &AwsClient, address: &JobAddress, id: &str) -> Read<Option<Job>> {
    let JobAddress { account, region } = address;
    let request = aws.s3control(region).describe_job().account_id(account).job_id(id);
    match aws.call(Operation::job(region, DESCRIBE_JOB, id), request.send()).await {
        Ok(answer) => described_job(&answer, id).map(Some),
        Err(failure) if names_no_job(&failure.code) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether S3 says by a code that there is no such job. The API reference and the troubleshooting page name it by
/// different codes (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_DescribeJob.html>,
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshooting-batch-operations.html>).
pub fn names_no_job(code: &str) -> bool {
    matches!(code, "NotFoundException" | "NoSuchJobException" | "NoSuchJob")
}

/// The job that an answer describes.
///
/// # Errors
/// The answer describes none, or not the state that it is in.
pub fn described_job(answer: &DescribeJobOutput, id: &str) -> Read<Job> {
    let job = answer.job().filter(|job| job.status().is_some());
    job.map(|job| described(job, id)).ok_or_else(|| {
        let detail = "AWS answered with success, and the answer does not hold a Job with a Status";
        Failure::new(FailureClass::Unavailable, DESCRIBE_JOB, id, detail)
    })
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
    let mut search = JobSearch::new(account, description);
    loop {
        let token = search.token().map(str::to_owned);
        let request =
            aws.s3control(region).list_jobs().account_id(account).max_results(PAGE).set_next_token(token);
        let answer = aws.call(Operation::job(region, LIST_JOBS, account), request.send()).await?;
        if let ControlFlow::Break(found) = search.read(&answer)? {
            return Ok(found);
        }
    }
}

/// A search for the job with a description, page by page.
#[derive(Clone, Debug)]
pub struct JobSearch<'a> {
    account: &'a str,
    description: &'a str,
    /// The token that asks for the next page.
    token: Option<String>,
    pages: usize,
}

impl<'a> JobSearch<'a> {
    pub fn new(account: &'a str, description: &'a str) -> JobSearch<'a> {
        JobSearch { account, description, token: None, pages: 0 }
    }

    /// The token that asks for the next page; `None` for the first one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Reads one page. `Break`: it was the last one that is needed, with the id of the job.
    ///
    /// # Errors
    /// The job has no id, or the pages do not come to an end. Neither says that there is no job.
    pub fn read(&mut self, page: &ListJobsOutput) -> Read<ControlFlow<Option<String>>> {
        self.pages += 1;
        if let Some(job) = page.jobs().iter().find(|job| job.description() == Some(self.description)) {
            let id = job.job_id().filter(|id| !id.is_empty());
            let id = id.ok_or_else(|| self.unclear("the answer lists the job without its JobId"))?;
            return Ok(ControlFlow::Break(Some(id.to_owned())));
        }
        let Some(next) = page.next_token().filter(|token| !token.is_empty()) else {
            return Ok(ControlFlow::Break(None));
        };
        if self.token() == Some(next) || self.pages >= PAGES {
            return Err(self.unclear("the pages of the answer do not come to an end"));
        }
        self.token = Some(next.to_owned());
        Ok(ControlFlow::Continue(()))
    }

    fn unclear(&self, detail: &str) -> Failure {
        Failure::new(FailureClass::Unavailable, LIST_JOBS, self.account, detail)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3control::types::JobListDescriptor;

    use super::*;

    fn page(description: &str, id: Option<&str>, next: Option<&str>) -> ListJobsOutput {
        let job = JobListDescriptor::builder().description(description).set_job_id(id.map(str::to_owned));
        ListJobsOutput::builder().jobs(job.build()).set_next_token(next.map(str::to_owned)).build()
    }

    #[test]
    fn a_list_whose_pages_come_again_ends_and_says_nothing_about_the_job() {
        let mut search = JobSearch::new("111122223333", "wanted");
        let again = page("other", Some("job-1"), Some("next"));
        assert_eq!(search.read(&again), Ok(ControlFlow::Continue(())));
        let failure = search.read(&again).unwrap_err();
        assert_eq!(failure.class, FailureClass::Unavailable, "{failure}");
    }

    #[test]
    fn a_job_that_is_listed_without_its_id_is_not_taken_for_none() {
        for id in [None, Some("")] {
            let mut search = JobSearch::new("111122223333", "wanted");
            let failure = search.read(&page("wanted", id, None)).unwrap_err();
            assert_eq!(failure.class, FailureClass::Unavailable, "{failure}");
        }
        let mut search = JobSearch::new("111122223333", "wanted");
        let found = search.read(&page("wanted", Some("job-1"), Some("next")));
        assert_eq!(found, Ok(ControlFlow::Break(Some("job-1".to_owned()))));
    }
}
