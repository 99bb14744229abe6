//! Writes jobs of S3 Batch Operations.
//!
//! In: the job to ask for, or the state to ask for. Out: the job's id, or S3's failure
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_CreateJob.html>).

use aws_sdk_s3control::error::BuildError;
use aws_sdk_s3control::operation::create_job::CreateJobOutput;
use aws_sdk_s3control::operation::create_job::builders::CreateJobInputBuilder;
use aws_sdk_s3control::types::{
    JobManifestGenerator, JobManifestGeneratorFilter, JobOperation, JobReport as SdkReport, JobReportFormat,
    JobReportScope, KeyNameConstraint, ReplicationStatus, RequestedJobStatus, S3JobManifestGenerator,
    S3ReplicateObjectOperation,
};
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use crate::api::ReportScope;
use crate::aws::account::client::AwsClient;
use crate::aws::account::operation::Operation;
use crate::aws::read::jobs::names_no_job;
use crate::replication::backfill::{JobAddress, JobReport, JobRequest, JobUpdate};
use crate::replication::observed::Read;
use crate::replication::{Failure, FailureClass};

const CREATE_JOB: &str = "s3:CreateJob";
const PASS_ROLE: &str = "iam:PassRole";
const UPDATE_JOB: &str = "s3:UpdateJobStatus";

/// Asks for a job, and returns its id.
pub async fn create_job(aws: &AwsClient, request: &JobRequest) -> Read<String> {
    let region = &request.address.region;
    let malformed = |error: BuildError| {
        Failure::new(FailureClass::Invalid, CREATE_JOB, &request.source, error.to_string())
    };
    let (input, client) = (job_input(request).map_err(malformed)?, aws.s3control(region));
    let call = input.send_with(&client);
    let answer = aws.call(Operation::job(region, CREATE_JOB, &request.source), call).await;
    let answer = answer.map_err(|failure| name_pass_role(failure, &request.role))?;
    created_job(&answer, &request.source)
}

/// The request as S3 takes it.
///
/// # Errors
/// A part that S3 requires is missing.
pub fn job_input(request: &JobRequest) -> Result<CreateJobInputBuilder, BuildError> {
    let account = &request.address.account;
    let replicate = S3ReplicateObjectOperation::builder().build();
    Ok(CreateJobInputBuilder::default()
        .account_id(account)
        .confirmation_required(request.confirmation_required)
        .operation(JobOperation::builder().s3_replicate_object(replicate).build())
        .report(report(request.report.as_ref(), account))
        .client_request_token(&request.token)
        .description(&request.description)
        .priority(request.priority)
        .role_arn(&request.role)
        .manifest_generator(manifest(request)?))
}

/// The id of the job that an answer says was made. `source`: the ARN of the bucket that the request was about.
///
/// # Errors
/// The answer holds none: the job is to be searched for.
pub fn created_job(answer: &CreateJobOutput, source: &str) -> Read<String> {
    answer.job_id().filter(|id| !id.is_empty()).map(str::to_owned).ok_or_else(|| {
        let detail = "AWS answered with success, and the answer does not hold a JobId";
        Failure::new(FailureClass::Unavailable, CREATE_JOB, source, detail)
    })
}

/// S3 lists the objects itself. Without a filter of statuses it would replicate every object again, at full price.
fn manifest(request: &JobRequest) -> Result<JobManifestGenerator, BuildError> {
    let statuses =
        request.statuses.iter().map(|status| ReplicationStatus::from(status.as_filter())).collect();
    let prefixes = (!request.prefixes.is_empty())
        .then(|| KeyNameConstraint::builder().set_match_any_prefix(Some(request.prefixes.clone())).build());
    let filter = JobManifestGeneratorFilter::builder()
        .eligible_for_replication(true)
        .set_created_after(request.created_after.map(time))
        .created_before(time(request.created_before))
        .set_object_replication_statuses(Some(statuses))
        .set_key_name_constraint(prefixes)
        .build();
    let generator = S3JobManifestGenerator::builder()
        .expected_bucket_owner(&request.address.account)
        .source_bucket(&request.source)
        .enable_manifest_output(false)
        .filter(filter)
        .build()?;
    Ok(JobManifestGenerator::S3JobManifestGenerator(generator))
}

fn report(report: Option<&JobReport>, account: &str) -> SdkReport {
    let Some(JobReport { bucket, prefix, scope }) = report else {
        return SdkReport::builder().enabled(false).build();
    };
    let scope = match scope {
        ReportScope::FailedOnly => JobReportScope::FailedTasksOnly,
        ReportScope::All => JobReportScope::AllTasks,
    };
    SdkReport::builder()
        .enabled(true)
        .bucket(bucket)
        .format(JobReportFormat::ReportCsv20180820)
        .set_prefix((!prefix.is_empty()).then(|| prefix.clone()))
        .report_scope(scope)
        .expected_bucket_owner(account)
        .build()
}

fn time(at: Timestamp) -> DateTime {
    DateTime::from_secs(at.as_second())
}

/// `CreateJob` needs two rights, and a bare denial of S3 does not say which is missing.
fn name_pass_role(failure: Failure, role: &str) -> Failure {
    if failure.class != FailureClass::Denied || failure.action != CREATE_JOB || failure.names_action() {
        return failure;
    }
    let answer = failure.detail.trim_end_matches('.');
    let detail = format!(
        "{answer}; S3 does not say which right is missing: {CREATE_JOB}, or {PASS_ROLE} on {role} for batchoperations.s3.amazonaws.com"
    );
    Failure { detail, ..failure }
}

/// Asks for another state of a job.
pub async fn update_job(aws: &AwsClient, address: &JobAddress, id: &str, update: JobUpdate) -> Read<()> {
    let JobAddress { account, region } = address;
    let request = aws
        .s3control(region)
        .update_job_status()
        .account_id(account)
        .job_id(id)
        .requested_job_status(RequestedJobStatus::from(update.requested()))
        .status_update_reason(update.because());
    match aws.call(Operation::job(region, UPDATE_JOB, id), request.send()).await {
        // The job has gone on meanwhile, or is gone: the next check shows where it is.
        Err(failure) if failure.code == "JobStatusException" || names_no_job(&failure.code) => Ok(()),
        result => result.map(drop),
    }
}
