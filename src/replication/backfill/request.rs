//! The job that a backfill asks for.
//!
//! In: the spec and what the status keeps of the first request. Out: the request, which is the same each time.

use jiff::Timestamp;

use crate::api::{
    Approval, BackfillReport, BackfillSource, ObjectReplicationStatus, ReplicationBackfillSpec,
    ReplicationBackfillStatus,
};
use crate::iam::Partition;
use crate::iam::digest::sha256_prefix;
use crate::replication::backfill::job::{JobAddress, JobReport, JobRequest};
use crate::replication::resource_id::ResourceId;

/// The operator writes this to the status before it asks S3. With it, the operator can send the same request again, and
/// find its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub token: String,
    pub description: String,
    pub created_before: Timestamp,
}

impl Intent {
    /// The intent that a status keeps; `None`: S3 was never asked.
    pub fn kept(status: &ReplicationBackfillStatus) -> Option<Intent> {
        Some(Intent {
            token: status.token.clone()?,
            description: status.description.clone()?,
            created_before: status.created_before.as_ref()?.0,
        })
    }

    /// A new one. Token and description depend on the resource alone, so that a leader that has not seen another's
    /// request still asks for the same job.
    pub fn new(id: &ResourceId, spec: &ReplicationBackfillSpec, now: Timestamp) -> Intent {
        let created_before = spec.created_before.as_ref().map_or(now, |time| time.0);
        Intent { token: token(id), description: description(id), created_before }
    }
}

/// S3 takes at most 64 characters.
pub fn token(id: &ResourceId) -> String {
    let ResourceId { cluster, former_clusters: _, namespace, name, uid } = id;
    let parts = [cluster.as_deref().unwrap_or_default(), uid.as_deref().unwrap_or_default(), namespace, name];
    sha256_prefix(parts.join("\n").as_bytes(), 64)
}

/// S3 takes at most 256 characters.
pub fn description(id: &ResourceId) -> String {
    format!("s3replication.dev/backfill/{}", id.uid.as_deref().unwrap_or_default())
}

/// The request for a backfill's job.
pub fn job_request(
    spec: &ReplicationBackfillSpec,
    source: &BackfillSource,
    role: &str,
    intent: &Intent,
) -> JobRequest {
    // Exhaustive, so that a new field of the spec cannot be forgotten here.
    let ReplicationBackfillSpec {
        replication_ref: _,
        statuses,
        created_after,
        created_before: _,
        prefixes,
        report,
        role: _,
        priority,
        approval,
        approved: _,
        cancel: _,
    } = spec;
    let BackfillSource { bucket, region, account, account_ref: _ } = source;
    let partition = Partition::of_region(region);
    let mut statuses: Vec<ObjectReplicationStatus> = statuses.clone();
    statuses.sort_unstable();
    statuses.dedup();
    JobRequest {
        address: JobAddress { account: account.clone(), region: region.clone() },
        source: partition.bucket_arn(bucket),
        statuses,
        created_after: created_after.as_ref().map(|time| time.0),
        created_before: intent.created_before,
        prefixes: prefixes.clone(),
        report: report.as_ref().map(|report| job_report(report, partition)),
        role: role.to_owned(),
        priority: *priority,
        confirmation_required: *approval == Approval::Manual,
        token: intent.token.clone(),
        description: intent.description.clone(),
    }
}

fn job_report(report: &BackfillReport, partition: Partition) -> JobReport {
    let BackfillReport { bucket, prefix: _, scope, kms_key_arn: _ } = report;
    JobReport {
        bucket: partition.bucket_arn(bucket),
        prefix: report_prefix(report).to_owned(),
        scope: scope.unwrap_or_default(),
    }
}

/// The prefix of a report as S3 takes it: S3 puts the slash behind it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-examples-reports.html>).
pub fn report_prefix(report: &BackfillReport) -> &str {
    report.prefix.as_deref().unwrap_or_default().trim_end_matches('/')
}

/// Where the report of a job is, for people.
pub fn report_location(report: &BackfillReport, job: &str) -> String {
    let prefix = report_prefix(report);
    let slash = if prefix.is_empty() { "" } else { "/" };
    format!("s3://{}/{prefix}{slash}job-{job}/", report.bucket)
}
