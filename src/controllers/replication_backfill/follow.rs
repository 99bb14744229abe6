//! Follows a job to its end: one check at a time, at a pace that slows.
//!
//! In: a backfill with a job. Out: its progress in the status, the confirmation or the cancellation that its user asked
//! for as a request to S3, and at last its result.

use std::time::Duration;

use crate::api::{BackfillSource, Reason};
use crate::controllers::replication_backfill::authorize::authorize_start;
use crate::controllers::replication_backfill::confirm::{
    require_current, require_leading, require_unchanged,
};
use crate::controllers::replication_backfill::connect::{address, connect};
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::end::end;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::status::{go_on, save};
use crate::controllers::replication_backfill::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::Refusal;
use crate::replication::backfill::job_verdict::{vanished, verdict};
use crate::replication::backfill::status::with_job;
use crate::replication::backfill::{JobUpdate, Wish, polling};
use crate::runtime::action::Action;

/// Checks the job, unless it was checked a moment ago.
///
/// # Errors
/// AWS or the API server did not answer.
pub async fn follow<C: Cloud, K: Cluster>(
    subject: &mut BackfillObject<'_>,
    id: &str,
    cx: &Context<C, K>,
) -> Result<Action, Stop> {
    if let Some(left) = wait(subject, cx) {
        return Ok(Action::requeue(left));
    }
    let Some(source) = subject.status.source.clone() else {
        return end(subject, &vanished(id), None, cx).await;
    };
    let clients = connect(subject, &source, cx).await?;
    let at = address(&source);
    let Some(job) = cx.shared.cloud.describe_job(&clients, &at, id).await? else {
        let left = polling::LISTED_AFTER.saturating_sub(age(subject, cx));
        if left.is_zero() || subject.status.started_at.is_none() {
            return end(subject, &vanished(id), None, cx).await;
        }
        // AWS may answer from before the job for as long as it may not list it.
        let message = format!("S3 has accepted job {id} and does not show it yet");
        return Ok(go_on(subject, Reason::Preparing, &message, left, cx).await?);
    };
    let mut wish = subject.spec.map_or(Wish { end: false, approved: false }, Wish::of);
    wish.end |= subject.is_deleted();
    let found = verdict(&job, subject.spec, wish);
    save(subject, with_job(&subject.status, &job), cx).await?;
    if found.ended {
        return end(subject, &found, job.terminated, cx).await;
    }
    let mut message = found.message.clone();
    match found.update {
        Some(_) if cx.shared.settings.read_only => {
            message.push_str(
                "; the operator runs with --read-only and asks S3 for nothing: restart it without the flag",
            );
        }
        Some(update) => {
            if update == JobUpdate::Confirm && !is_on(Mutant::ApprovalNotAuthorized) {
                require_start(subject, &source, cx).await.map_err(|stop| still_waits(stop, id))?;
            }
            require_leading(cx)?;
            cx.shared.cloud.update_job(&clients, &at, id, update).await?;
        }
        None => {}
    }
    let pause = match found.update {
        Some(JobUpdate::Cancel) => polling::ENDING_PAUSE,
        _ if found.reason == Reason::Cancelling => polling::ENDING_PAUSE,
        Some(JobUpdate::Confirm) => polling::FIRST_PAUSE,
        None => polling::pause(age(subject, cx)),
    };
    Ok(go_on(subject, found.reason, &message, pause, cx).await?)
}

/// Before the request that runs an approved job: days may have passed since the job was made. The cache may be behind a
/// user who cancelled or deleted the backfill, and administrators may allow no backfills any more.
async fn require_start<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    source: &BackfillSource,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    let Some(spec) = subject.spec else { return Err(Stop::Outdated) };
    require_current(subject, cx).await?;
    authorize_start(subject, spec, source, cx).await?;
    require_unchanged(subject, cx)
}

/// A refusal that also names the job that waits.
fn still_waits(stop: Stop, id: &str) -> Stop {
    match stop {
        Stop::Refused { refusal: Refusal { reason, message, about }, until } => {
            let message = format!("job {id} is approved and is not started: {message}");
            Stop::Refused { refusal: Refusal { reason, message, about }, until }
        }
        stop => stop,
    }
}

/// How long the check has to wait. A change of the spec does not wait, and a check that someone asked for waits
/// briefly.
fn wait<C, K>(subject: &BackfillObject<'_>, cx: &Context<C, K>) -> Option<Duration> {
    let (uid, now) = (&subject.key.uid, cx.shared.clock.now());
    match (subject.is_changed(), subject.is_requested()) {
        (true, _) => None,
        (false, true) => cx.memory.delay_request(uid, now, cx.shared.settings.request_interval),
        (false, false) => cx.memory.wait_for_check(uid, now),
    }
}

/// How long ago the job was started.
fn age<C, K>(subject: &BackfillObject<'_>, cx: &Context<C, K>) -> Duration {
    let now = cx.shared.clock.timestamp();
    let started = subject.status.started_at.as_ref().map(|time| now.duration_since(time.0));
    started.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default()
}
