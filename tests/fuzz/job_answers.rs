//! Answers of S3 Control about jobs: any body is read or is an error, and none makes a job of nothing or loses one.

use std::ops::ControlFlow;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;
use s3_replication_operator::api::{
    Approval, ReplicationBackfillSpec, ReplicationBackfillStatus, ReplicationRef,
};
use s3_replication_operator::aws::error::failure;
use s3_replication_operator::aws::{JobSearch, created_job, described_job, job_input};
use s3_replication_operator::replication::FailureClass;
use s3_replication_operator::replication::backfill::job_verdict::verdict;
use s3_replication_operator::replication::backfill::status::{report, with_job};
use s3_replication_operator::replication::backfill::{
    BackfillContext, Job, JobAddress, JobRequest, JobState, JobUpdate, Wish,
};
use serde_json::json;

use crate::choice::{choose, optional};
use crate::connection::Response;
use crate::control::{ACCOUNT, S3Control};
use crate::engine::{check, check_documents, corpus, near_corpus};

const ACTION: &str = "s3:DescribeJob";

const TOKENS: &[&str] = &[
    "<",
    ">",
    "</",
    "&",
    "&#10;",
    "\n",
    "<Job>",
    "</Job>",
    "<Jobs>",
    "</Jobs>",
    "<member>",
    "</member>",
    "<JobId>",
    "</JobId>",
    "<JobId></JobId>",
    "<Description>",
    "</Description>",
    "<Status>Suspended</Status>",
    "<Status>Complete</Status>",
    "<Status>Failed</Status>",
    "<Status>Cancelled</Status>",
    "<Status>Exploded</Status>",
    "<ProgressSummary>",
    "<TotalNumberOfTasks>0</TotalNumberOfTasks>",
    "<TotalNumberOfTasks>-9223372036854775808</TotalNumberOfTasks>",
    "<NumberOfTasksSucceeded>9223372036854775807</NumberOfTasksSucceeded>",
    "<NumberOfTasksFailed>9223372036854775807</NumberOfTasksFailed>",
    "<FailureReasons>",
    "<FailureReason>no keys matching</FailureReason>",
    "<StatusUpdateReason>",
    "<CreationTime>0001-01-01T00:00:00Z</CreationTime>",
    "<CreationTime>9999-12-31T23:59:59.999Z</CreationTime>",
    "<TerminationDate>1970-01-01T00:00:00Z</TerminationDate>",
    "<NextToken>t</NextToken>",
    "<NextToken></NextToken>",
    "<Code>NoSuchJob</Code>",
];

fn spec(approval: Approval, approved: bool) -> ReplicationBackfillSpec {
    let replication_ref = ReplicationRef { name: "orders-to-eu".to_owned() };
    ReplicationBackfillSpec { replication_ref, approval, approved, ..ReplicationBackfillSpec::default() }
}

/// The operator reports every answer of S3 about a job, and asks for nothing that the spec does not ask for.
fn is_sound(job: &Job) -> Result<(), TestCaseError> {
    let specs = [None, Some(spec(Approval::Manual, false)), Some(spec(Approval::Automatic, false))];
    for (spec, end) in specs.iter().flat_map(|spec| [(spec, false), (spec, true)]) {
        let approved = spec.as_ref().is_some_and(|spec| Wish::of(spec).approved);
        let found = verdict(job, spec.as_ref(), Wish { end, approved });
        prop_assert_eq!(found.ended, job.state.is_final());
        match found.update {
            None => {}
            Some(JobUpdate::Cancel) => prop_assert!(end && !found.ended),
            Some(JobUpdate::Confirm) => prop_assert!(approved && !end && job.state == JobState::Suspended),
        }
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let context = BackfillContext { generation: Some(1), requested: None, now };
        let before = ReplicationBackfillStatus::default();
        let reported = report(with_job(&before, job), &before, (found.reason, &found.message), context);
        // The API server takes 32 kB of a message and 1 kB of a note.
        for condition in &reported.status.conditions {
            prop_assert!(condition.message.len() <= 32_768, "{}", condition.message.len());
            prop_assert!(!condition.message.contains(['\n', '\r']), "{:?}", condition.message);
        }
        prop_assert!(reported.events.iter().all(|event| event.note.len() <= 1024));
        let percent = reported.status.progress.as_ref().and_then(|progress| progress.percent.clone());
        if let Some(percent) = percent {
            let number = percent.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
            prop_assert!(number.is_some_and(|number| number <= 100), "{}", percent);
        }
        let read: Result<ReplicationBackfillStatus, _> = serde_json::from_value(json!(reported.status));
        prop_assert_eq!(read.ok(), Some(reported.status), "the next start reads what was written");
    }
    Ok(())
}

#[test]
fn any_description_of_a_job_is_reported_or_is_an_error() {
    let s3 = S3Control::new();
    check_documents(1500, "describe-job", TOKENS, |body| {
        let Ok(answer) = s3.describe(Response { status: 200, body }) else { return Ok(()) };
        match described_job(&answer, "job-1") {
            Ok(job) => is_sound(&job),
            Err(failure) => {
                prop_assert_eq!(failure.class, FailureClass::Unavailable, "the next check asks again");
                Ok(())
            }
        }
    });
}

#[test]
fn the_seeds_are_jobs_that_are_read() {
    let s3 = S3Control::new();
    for body in corpus("describe-job") {
        let answer = s3.describe(Response { status: 200, body }).unwrap();
        described_job(&answer, "job-1").unwrap();
    }
}

#[test]
fn a_job_is_gone_only_if_s3_says_so_by_its_code() {
    let s3 = S3Control::new();
    let status = choose![select(vec![301u16, 400, 403, 404, 410, 429, 500, 503]), 300u16..600];
    check(1000, (near_corpus("error-bodies", TOKENS), status), |(body, status)| {
        let text = String::from_utf8_lossy(&body).into_owned();
        let Err(error) = s3.describe(Response { status, body }) else {
            return Err(TestCaseError::fail("a status of 300 or more is an error"));
        };
        let code = failure(&error, ACTION, "job-1").code;
        prop_assert!(!code.is_empty());
        let is_gone = ["NotFoundException", "NoSuchJob"].contains(&code.as_str());
        prop_assert!(!is_gone || text.contains(&code), "{} of {}", code, text);
        Ok(())
    });
}

/// A job in a list: its description, and its id if S3 gives one.
type Listed = (String, Option<String>);

const WANTED: &str = "s3replication.dev/backfill/uid-1";

fn listed() -> impl Strategy<Value = Listed> {
    let description = select(vec![WANTED, "s3replication.dev/backfill/uid-10", "nightly", ""]);
    (description, optional(0.9, "[a-z0-9-]{0,8}")).prop_map(|(text, id)| (text.to_owned(), id))
}

fn page(jobs: &[Listed], next: Option<&String>) -> Vec<u8> {
    let id = |id: &Option<String>| id.as_ref().map(|id| format!("<JobId>{id}</JobId>")).unwrap_or_default();
    let job = |(text, held): &Listed| {
        format!("<member>{}<Description>{text}</Description><Status>Active</Status></member>", id(held))
    };
    let jobs: String = jobs.iter().map(job).collect();
    let next = next.map(|next| format!("<NextToken>{next}</NextToken>")).unwrap_or_default();
    format!("<ListJobsResult><Jobs>{jobs}</Jobs>{next}</ListJobsResult>").into_bytes()
}

#[test]
fn the_job_is_found_on_whichever_page_it_is() {
    let s3 = S3Control::new();
    let pages = prop::collection::vec((prop::collection::vec(listed(), 0..3), "[ab]{0,2}"), 1..4);
    check(600, pages, |pages| {
        let mut search = JobSearch::new(ACCOUNT, WANTED);
        let mut sent: Option<String> = None;
        let mut expected = Ok(None);
        let mut found = None;
        for (index, (jobs, token)) in pages.iter().enumerate() {
            let next = (index + 1 < pages.len()).then_some(token);
            let answer = s3.list(page(jobs, next)).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let read = search.read(&answer);
            if let Some((_, id)) = jobs.iter().find(|(text, _)| text == WANTED) {
                expected = id.clone().filter(|id| !id.is_empty()).map(Some).ok_or(());
                found = Some(read);
                break;
            }
            let ends = next.is_none_or(|next| next.is_empty());
            let repeats = !ends && next == sent.as_ref();
            if ends || repeats {
                expected = if repeats { Err(()) } else { Ok(None) };
                found = Some(read);
                break;
            }
            prop_assert!(matches!(read, Ok(ControlFlow::Continue(()))));
            sent = next.cloned();
            prop_assert_eq!(search.token(), sent.as_deref());
        }
        let found = match found.expect("the last page has no token") {
            Ok(ControlFlow::Break(found)) => Ok(found),
            Ok(ControlFlow::Continue(())) => return Err(TestCaseError::fail("the search goes on")),
            Err(_) => Err(()),
        };
        prop_assert_eq!(found, expected, "a job whose id is unknown is not one that does not exist");
        Ok(())
    });
}

#[test]
fn any_list_of_jobs_is_searched_to_an_end() {
    let s3 = S3Control::new();
    check_documents(1500, "list-jobs", TOKENS, |body| {
        let Ok(answer) = s3.list(body) else { return Ok(()) };
        let mut search = JobSearch::new(ACCOUNT, WANTED);
        // The same page again and again.
        for _ in 0..2 {
            match search.read(&answer) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(id)) => {
                    prop_assert!(id.is_none_or(|id| !id.is_empty()));
                    return Ok(());
                }
                Err(failure) => {
                    prop_assert_eq!(failure.class, FailureClass::Unavailable);
                    return Ok(());
                }
            }
        }
        Err(TestCaseError::fail("the search goes on"))
    });
}

fn request() -> JobRequest {
    JobRequest {
        address: JobAddress { account: ACCOUNT.to_owned(), region: "eu-west-1".to_owned() },
        source: "arn:aws:s3:::orders".to_owned(),
        statuses: Vec::new(),
        created_after: None,
        created_before: Timestamp::UNIX_EPOCH,
        prefixes: Vec::new(),
        report: None,
        role: format!("arn:aws:iam::{ACCOUNT}:role/r"),
        priority: 1,
        confirmation_required: false,
        token: "token".to_owned(),
        description: WANTED.to_owned(),
    }
}

#[test]
fn any_answer_to_the_request_for_a_job_names_it_or_is_an_error() {
    let s3 = S3Control::new();
    check_documents(1000, "create-job", TOKENS, |body| {
        let input = job_input(&request()).expect("all that S3 requires");
        let Ok(answer) = s3.create(input, body) else { return Ok(()) };
        match created_job(&answer, "arn:aws:s3:::orders") {
            Ok(id) => prop_assert!(!id.is_empty()),
            Err(failure) => prop_assert_eq!(failure.class, FailureClass::Unavailable, "it is searched for"),
        }
        Ok(())
    });
}
