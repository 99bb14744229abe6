//! The status of a backfill.
//!
//! In: the status as it was last written, and what was found. Out: the status to write, and events where the reason
//! changed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    BackfillSource, ConditionType, ReadyStatus, Reason, ReplicationBackfillStatus, RoleStatus,
    handled_request,
};
use crate::replication::backfill::job::Job;
use crate::replication::backfill::job_verdict::{JobVerdict, progress};
use crate::replication::backfill::request::Intent;
use crate::replication::status::Event;
use crate::replication::status::conditions::{ConditionDraft, Transition, conditions};
use crate::replication::status::truncate::clip;

/// The circumstances of a status.
#[derive(Clone, Copy, Debug)]
pub struct BackfillContext<'a> {
    pub generation: Option<i64>,
    /// The value of the annotation that asked for this check.
    pub requested: Option<&'a str>,
    pub now: Timestamp,
}

/// The status and the events to write to Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillReported {
    pub status: ReplicationBackfillStatus,
    pub events: Vec<Event>,
    pub reason: Reason,
}

/// The status with this reason and message for `Ready`.
pub fn report(
    status: ReplicationBackfillStatus,
    previous: &ReplicationBackfillStatus,
    (reason, message): (Reason, &str),
    context: BackfillContext<'_>,
) -> BackfillReported {
    let BackfillContext { generation, requested, now } = context;
    let ready = ConditionDraft::new(ConditionType::Ready, ready(&status, reason), reason, message);
    let transition = Transition { previous: &previous.conditions, generation, now };
    let last_handled_request = requested.map(handled_request);
    let status = ReplicationBackfillStatus {
        observed_generation: generation,
        conditions: conditions(vec![ready], reason, &transition),
        last_handled_request,
        ..status
    };
    let events = event(previous, reason, message).into_iter().collect();
    BackfillReported { status, events, reason }
}

/// A job goes on while the operator does not reach AWS, and its end is not known.
fn ready(status: &ReplicationBackfillStatus, reason: Reason) -> ReadyStatus {
    let unreached = [Reason::Throttled, Reason::AwsUnavailable, Reason::CredentialsUnavailable];
    let under_way = status.job_id.is_some() && status.finished_at.is_none();
    if under_way && unreached.contains(&reason) { ReadyStatus::Unknown } else { reason.ready() }
}

/// The reason of `Ready` in a status.
pub fn reason_of(status: &ReplicationBackfillStatus) -> Option<&str> {
    let ready = status.conditions.iter().find(|c| c.type_ == ConditionType::Ready.as_str());
    ready.map(|ready| ready.reason.as_str())
}

/// An event where the reason changed: what is under way, how it ended, or what prevents it.
fn event(previous: &ReplicationBackfillStatus, reason: Reason, message: &str) -> Option<Event> {
    if reason_of(previous) == Some(reason.as_str()) {
        return None;
    }
    let quiet = [Reason::Progressing, Reason::Waiting, Reason::Settling, Reason::ReplicationNotReady];
    (!quiet.contains(&reason)).then(|| Event {
        warning: reason.ready() == ReadyStatus::False,
        reason: reason.as_str(),
        note: clip(message),
    })
}

/// A status that knows where the job and its role are to be made: it is written before either.
pub fn with_source_and_role(
    previous: &ReplicationBackfillStatus,
    source: &BackfillSource,
    role: RoleStatus,
) -> ReplicationBackfillStatus {
    ReplicationBackfillStatus { source: Some(source.clone()), role: Some(role), ..previous.clone() }
}

/// A status that keeps the intent: it is written before S3 is asked for the job.
pub fn with_intent(
    previous: &ReplicationBackfillStatus,
    intent: &Intent,
    now: Timestamp,
) -> ReplicationBackfillStatus {
    let Intent { token, description, created_before } = intent;
    ReplicationBackfillStatus {
        token: Some(token.clone()),
        description: Some(description.clone()),
        created_before: Some(Time(*created_before)),
        requested_at: Some(Time(now)),
        ..previous.clone()
    }
}

/// A status that knows its job.
pub fn with_job_id(
    previous: &ReplicationBackfillStatus,
    id: &str,
    now: Timestamp,
) -> ReplicationBackfillStatus {
    let started_at = previous.started_at.clone().or(Some(Time(now)));
    ReplicationBackfillStatus { job_id: Some(id.to_owned()), started_at, ..previous.clone() }
}

/// A status with what S3 reports of the job.
pub fn with_job(previous: &ReplicationBackfillStatus, job: &Job) -> ReplicationBackfillStatus {
    let started_at = job.created.map(Time).or_else(|| previous.started_at.clone());
    ReplicationBackfillStatus {
        state: Some(job.state.to_string()),
        progress: Some(progress(job)),
        started_at,
        ..previous.clone()
    }
}

/// A status with the end of a backfill, if this is one.
pub fn with_verdict(
    status: ReplicationBackfillStatus,
    verdict: &JobVerdict,
    terminated: Option<Timestamp>,
    now: Timestamp,
) -> ReplicationBackfillStatus {
    if !verdict.ended {
        return status;
    }
    let finished_at = status.finished_at.clone().or(Some(Time(terminated.unwrap_or(now))));
    ReplicationBackfillStatus { finished_at, ..status }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_on_the_way_to_aws_is_not_the_end_of_a_job() {
        let context = BackfillContext { generation: Some(1), requested: None, now: Timestamp::UNIX_EPOCH };
        let ready = |status: ReplicationBackfillStatus, reason| {
            let reported =
                report(status, &ReplicationBackfillStatus::default(), (reason, "no answer"), context);
            let found = reported.status.conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
            (found.status, found.reason)
        };
        let job_id = Some("job".to_owned());
        let runs = ReplicationBackfillStatus { job_id: job_id.clone(), ..Default::default() };
        let ended =
            ReplicationBackfillStatus { finished_at: Some(Time(Timestamp::UNIX_EPOCH)), ..runs.clone() };
        for reason in [Reason::Throttled, Reason::AwsUnavailable, Reason::CredentialsUnavailable] {
            let named = reason.as_str().to_owned();
            assert_eq!(ready(runs.clone(), reason), ("Unknown".to_owned(), named.clone()));
            for other in [ended.clone(), ReplicationBackfillStatus::default()] {
                assert_eq!(ready(other, reason), ("False".to_owned(), named.clone()));
            }
        }
        assert_eq!(ready(runs, Reason::AccessDenied).0, "False", "someone has to act");
    }
}
