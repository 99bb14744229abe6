//! A job of S3 Batch Operations, as data
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html>).
//!
//! In: what `request.rs` asks for, or what S3 describes. Out: types that the port to AWS takes and returns.
//! `job_verdict.rs` decides what a state means for a backfill.

use jiff::Timestamp;
use strum::{Display, EnumString};

use crate::api::{ObjectReplicationStatus, ReportScope};

/// Where a job is: it belongs to the source bucket's account and Region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobAddress {
    pub account: String,
    pub region: String,
}

/// The request to S3 for a job. Equal backfills make equal requests, however often they are sent: S3 then returns the
/// same job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRequest {
    pub address: JobAddress,
    /// ARN of the source bucket.
    pub source: String,
    pub statuses: Vec<ObjectReplicationStatus>,
    pub created_after: Option<Timestamp>,
    pub created_before: Timestamp,
    /// Empty: every key.
    pub prefixes: Vec<String>,
    pub report: Option<JobReport>,
    /// ARN of the role that S3 Batch Operations assumes.
    pub role: String,
    pub priority: i32,
    /// Whether S3 waits for a confirmation once it has listed the objects.
    pub confirmation_required: bool,
    /// At most 64 characters.
    pub token: String,
    /// At most 256 characters.
    pub description: String,
}

/// The completion report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobReport {
    /// ARN of the bucket.
    pub bucket: String,
    /// Without a slash at its end; empty: none.
    pub prefix: String,
    pub scope: ReportScope,
}

/// The state of a job, by S3's names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Display, EnumString)]
pub enum JobState {
    New,
    Preparing,
    /// The objects are listed, and the job waits for a confirmation.
    Suspended,
    Ready,
    Active,
    Pausing,
    Paused,
    Completing,
    Complete,
    Cancelling,
    Cancelled,
    Failing,
    Failed,
    /// One that S3 has added since.
    #[strum(default)]
    Other(String),
}

impl JobState {
    /// By S3's name.
    pub fn of(name: &str) -> JobState {
        name.parse().unwrap_or_else(|_| JobState::Other(name.to_owned()))
    }

    /// Whether the job never changes again.
    pub fn is_final(&self) -> bool {
        matches!(self, JobState::Complete | JobState::Cancelled | JobState::Failed)
    }
}

/// A job as S3 describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: String,
    pub state: JobState,
    /// The number of objects; `None` before they are listed.
    pub total: Option<i64>,
    pub succeeded: i64,
    pub failed: i64,
    /// Why the job failed, in S3's words.
    pub failure_reasons: Vec<String>,
    /// The reason in the last request for a change of the state.
    pub update_reason: Option<String>,
    pub created: Option<Timestamp>,
    pub terminated: Option<Timestamp>,
}

/// A change of a job's state that may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobUpdate {
    /// Runs a suspended job.
    Confirm,
    Cancel,
}

impl JobUpdate {
    /// The state that S3 is asked for.
    pub fn requested(self) -> &'static str {
        match self {
            JobUpdate::Confirm => "Ready",
            JobUpdate::Cancel => "Cancelled",
        }
    }

    /// The reason that S3 keeps beside the state.
    pub fn because(self) -> &'static str {
        match self {
            JobUpdate::Confirm => "approved in the ReplicationBackfill",
            JobUpdate::Cancel => "cancelled in the ReplicationBackfill",
        }
    }
}
