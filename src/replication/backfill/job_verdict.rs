//! Decides what the state of a job means for its backfill.
//!
//! In: a job as S3 describes it, and what the user wishes. Out: the reason and the message of `Ready`, whether the
//! backfill has ended, and the change of the job to ask for.

use jiff::SignedDuration;

use crate::api::{Approval, BackfillProgress, Reason, ReplicationBackfillSpec};
use crate::mutants::{Mutant, is_on};
use crate::replication::backfill::job::{Job, JobState, JobUpdate};
use crate::replication::backfill::price;
use crate::replication::backfill::request::report_location;

/// How long S3 lets a job wait for approval.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The user's wish for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The user cancelled the backfill or deletes it.
    pub end: bool,
    /// The user approved the job, or none has to.
    pub approved: bool,
}

impl Wish {
    pub fn of(spec: &ReplicationBackfillSpec) -> Wish {
        Wish { end: spec.cancel, approved: spec.approved || spec.approval == Approval::Automatic }
    }
}

/// The meaning of a job's state for its backfill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobVerdict {
    pub reason: Reason,
    pub message: String,
    /// The job has ended.
    pub ended: bool,
    /// The change to ask S3 for.
    pub update: Option<JobUpdate>,
}

impl JobVerdict {
    pub fn ended(reason: Reason, message: impl Into<String>) -> JobVerdict {
        JobVerdict { reason, message: message.into(), ended: true, update: None }
    }

    fn goes_on(reason: Reason, message: impl Into<String>) -> JobVerdict {
        JobVerdict { reason, message: message.into(), ended: false, update: None }
    }

    fn asking(self, update: JobUpdate) -> JobVerdict {
        JobVerdict { update: Some(update), ..self }
    }
}

/// The verdict on a job. `spec`: `None` where the resource cannot be decoded.
pub fn verdict(job: &Job, spec: Option<&ReplicationBackfillSpec>, wish: Wish) -> JobVerdict {
    let Job { id, state, .. } = job;
    match state {
        JobState::Complete | JobState::Failed | JobState::Cancelled => end(job, spec, wish),
        JobState::Cancelling => JobVerdict::goes_on(
            Reason::Cancelling,
            format!("S3 is ending job {id}; objects that are under way still arrive"),
        ),
        JobState::Failing | JobState::Completing => {
            JobVerdict::goes_on(Reason::Running, format!("{}; S3 is ending job {id}", count(job)))
        }
        _ if wish.end && !(wish.approved && is_on(Mutant::CancelledJobStarted)) => {
            JobVerdict::goes_on(Reason::Cancelling, format!("the operator asked S3 to end job {id}"))
                .asking(JobUpdate::Cancel)
        }
        JobState::New | JobState::Preparing => JobVerdict::goes_on(
            Reason::Preparing,
            format!(
                "S3 lists the objects of job {id}, which takes minutes, and hours for a very large bucket"
            ),
        ),
        JobState::Suspended if wish.approved => {
            JobVerdict::goes_on(Reason::Running, format!("job {id} is approved and starts"))
                .asking(JobUpdate::Confirm)
        }
        JobState::Suspended => JobVerdict::goes_on(Reason::AwaitingApproval, awaiting(job)),
        JobState::Pausing | JobState::Paused => JobVerdict::goes_on(
            Reason::Running,
            format!(
                "{}; S3 has paused job {id} for one of higher priority, and continues it automatically",
                count(job)
            ),
        ),
        JobState::Ready => {
            JobVerdict::goes_on(Reason::Running, format!("{}; job {id} waits for its turn in S3", count(job)))
        }
        JobState::Active => JobVerdict::goes_on(Reason::Running, count(job)),
        JobState::Other(name) => JobVerdict::goes_on(
            Reason::Running,
            format!("{}; job {id} is in the state {name}, which this version does not know", count(job)),
        ),
    }
}

/// A job that S3 no longer knows.
pub fn vanished(id: &str) -> JobVerdict {
    JobVerdict::ended(
        Reason::JobVanished,
        format!(
            "S3 no longer knows job {id}, which it keeps for 90 days after its end; its result is not known. It is not started again: create another ReplicationBackfill, which replicates only what is still missing"
        ),
    )
}

/// A backfill that was cancelled before S3 was asked for a job.
pub fn never_begun() -> JobVerdict {
    JobVerdict::ended(
        Reason::Cancelled,
        "cancelled before a job was started; nothing was replicated and nothing is charged",
    )
}

fn end(job: &Job, spec: Option<&ReplicationBackfillSpec>, wish: Wish) -> JobVerdict {
    let Job { id, state, failed, failure_reasons, update_reason, .. } = job;
    let (counted, words) = (count(job), failure_reasons.join("; "));
    let again = "create another ReplicationBackfill, which replicates only what is still missing";
    match state {
        JobState::Cancelled if wish.end => {
            JobVerdict::ended(Reason::Cancelled, format!("cancelled: {counted} before job {id} ended"))
        }
        JobState::Cancelled => {
            let why = update_reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            JobVerdict::ended(
                Reason::Cancelled,
                format!(
                    "someone else cancelled job {id} in S3{why}: {counted} until then; to go on, {again}"
                ),
            )
        }
        // AWS fails a job that has nothing to do.
        JobState::Failed if is_empty_manifest(job) => JobVerdict::ended(
            Reason::NothingToDo,
            "no object is missing: S3 found none that the rules replicate and that has one of spec.statuses, of spec.prefixes and of the given time. Objects in Glacier Flexible Retrieval and Deep Archive do not count: restore them first",
        ),
        JobState::Failed if was_never_approved(job, spec) => JobVerdict::ended(
            Reason::JobFailed,
            format!(
                "job {id} waited too long for approval, and S3 ends one after 30 days ({words}); {again} and set its approved to true"
            ),
        ),
        JobState::Failed => {
            let most = if *failed > 0 { "; S3 ends a job of which more than half fails" } else { "" };
            JobVerdict::ended(
                Reason::JobFailed,
                format!(
                    "job {id} failed: {}; {counted}{most}. {}Correct the cause, then {again}",
                    if words.is_empty() { "S3 gives no reason" } else { &words },
                    details(job, spec)
                ),
            )
        }
        _ if *failed > 0 => JobVerdict::ended(
            Reason::CompletedWithFailures,
            format!("{counted}. {}Correct the cause, then {again}", details(job, spec)),
        ),
        _ if job.total == Some(0) => JobVerdict::ended(Reason::NothingToDo, "no object is missing"),
        _ => JobVerdict::ended(Reason::Completed, counted),
    }
}

/// S3 gives no documented code for it, so that its words are matched
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-troubleshoot.html>).
fn is_empty_manifest(job: &Job) -> bool {
    job.succeeded == 0
        && job.failed == 0
        && job.failure_reasons.iter().any(|reason| reason.to_ascii_lowercase().contains("no keys matching"))
}

/// Whether S3 failed a job because no user approved it for 30 days
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-create-job.html>). S3 gives no documented code for
/// it. Its words alone are not enough: a job may also fail because the versioning of a bucket is suspended. The age
/// decides where S3 reports it.
fn was_never_approved(job: &Job, spec: Option<&ReplicationBackfillSpec>) -> bool {
    let waited = spec.is_some_and(|spec| spec.approval == Approval::Manual && !spec.approved);
    let untouched = job.succeeded == 0 && job.failed == 0;
    let age = job.created.zip(job.terminated).map(|(created, ended)| ended.duration_since(created));
    waited
        && untouched
        && match age {
            Some(age) => age >= LONGEST_WAIT,
            None => {
                job.failure_reasons.iter().any(|reason| reason.to_ascii_lowercase().contains("suspended"))
            }
        }
}

/// Where the reasons of failed objects are.
fn details(job: &Job, spec: Option<&ReplicationBackfillSpec>) -> String {
    match spec.map(|spec| &spec.report) {
        Some(Some(report)) => {
            format!("The report under {} has the reason of each object. ", report_location(report, &job.id))
        }
        Some(None) => "Without spec.report S3 does not name the objects. ".to_owned(),
        None => String::new(),
    }
}

fn awaiting(job: &Job) -> String {
    let what = match job.total {
        Some(1) => format!("1 object is to be replicated, for {}", price::describe(job.total)),
        Some(total) => {
            format!("{} objects are to be replicated, for {}", grouped(total), price::describe(job.total))
        }
        None => format!(
            "S3 has listed the objects and does not report their number; the job costs {}",
            price::describe(None)
        ),
    };
    format!(
        "{what}. Set approved to true to run job {}, or cancel to drop it; S3 fails it after 30 days",
        job.id
    )
}

/// How far a job has come, in words.
fn count(job: &Job) -> String {
    let Job { total, succeeded, failed, .. } = job;
    match total {
        Some(total) => {
            format!(
                "{} of {} objects replicated, {} failed",
                grouped(*succeeded),
                grouped(*total),
                grouped(*failed)
            )
        }
        None => format!("{} objects replicated, {} failed", grouped(*succeeded), grouped(*failed)),
    }
}

/// How far a job has come.
pub fn progress(job: &Job) -> BackfillProgress {
    let Job { total, succeeded, failed, .. } = job;
    let done = succeeded.saturating_add(*failed);
    let percent = total.filter(|total| *total > 0).map(|total| {
        let share = i128::from(done) * 100 / i128::from(total);
        format!("{}%", share.clamp(0, 100))
    });
    BackfillProgress { total: *total, succeeded: *succeeded, failed: *failed, percent }
}

/// A number with its thousands apart.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let split = digits.char_indices().map(|(at, digit)| {
        let left = digits.len() - at;
        let comma = if at > 0
            && left.is_multiple_of(3)
            && !digits.get(..at).is_some_and(|before| before.ends_with('-'))
        {
            ","
        } else {
            ""
        };
        format!("{comma}{digit}")
    });
    split.collect()
}
