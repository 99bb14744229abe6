//! One check: authorize → connect → observe → plan → hold back → apply → report.
//!
//! In: a resource. Out: the report for its status, or why the check stops early.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::{BucketReplicationStatus, ConditionType, ReadyStatus, Reason};
use crate::controllers::bucket_replication::apply::apply;
use crate::controllers::bucket_replication::authorize::{
    KnownLabels, NamespaceLabels, authorize, claim_source,
};
use crate::controllers::bucket_replication::connect::{Connected, connect};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::Permission;
use crate::controllers::bucket_replication::hold_back::{grant_again, hold_back};
use crate::controllers::bucket_replication::likely_cause::find_likely_cause;
use crate::controllers::bucket_replication::metrics_watch::{evidence, watch_metrics};
use crate::controllers::bucket_replication::record::record;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::stop::Stop;
use crate::controllers::status_summary::ready_reason;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::events::Answer;
use crate::replication::outcome::Outcome;
use crate::replication::set_aside::set_aside;
use crate::replication::status::{self, StatusContext, StatusReport};
use crate::replication::{Account, Accounts, Assessment, Failure, ReadSet, Refusal, assess};
use crate::runtime::store::Key;

/// The result of a check.
pub struct Checked {
    pub report: StatusReport,
    /// The status that was written last before a write to AWS.
    pub written: Option<BucketReplicationStatus>,
    /// When a correction that was held back may be tried again.
    pub retry: Option<Duration>,
    /// Whether anything was found or written that the status did not show before.
    pub answer: Answer,
}

/// Checks a resource, corrects what may be corrected, and reports what is true.
///
/// # Errors
/// Why the check stopped before anything was written.
pub async fn check<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<Checked, Stop> {
    require_not_suspended(resource)?;
    let (accounts, labels) = authorize_and_claim(resource, cx).await?;
    let Connected { clients, unreached } = connect_to_all(resource, &accounts, cx).await?;
    require_reached_at_first(&unreached, &resource.status)?;
    let mut assessment = observe_and_plan(resource, &accounts, (&clients, unreached), cx).await?;
    grant_again(&mut assessment, resource, cx);
    let held = hold_back(&assessment, resource, cx)?;
    let permission = Permission { resource, accounts: &accounts, labels: &labels };
    let (outcome, written) = apply(&mut assessment, &held, permission, &clients, cx).await?;
    let report = make_report(&assessment, &outcome, resource, &clients, cx).await;
    let answer = answer_events(&report, &outcome, &resource.status);
    Ok(Checked { report, written, retry: held.retry, answer })
}

fn require_not_suspended(resource: &Resource<'_>) -> Result<(), Refusal> {
    if !resource.spec.suspend || is_on(Mutant::SuspendIgnored) {
        return Ok(());
    }
    let message = "suspend is true: AWS is neither checked nor written; set it to false to go on";
    Err(Refusal::new(Reason::Suspended, ConditionType::Ready, message.to_owned()))
}

/// Makes no call to AWS.
async fn authorize_and_claim<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<(Accounts, KnownLabels), Stop> {
    let mut labels = NamespaceLabels::new(cx.cluster.as_ref());
    let accounts = authorize(resource.object, &resource.status, &mut labels, cx).await?;
    claim_source(resource.object, resource.target.memory, &mut labels, cx).await?;
    Ok((accounts, labels.into_known()))
}

/// Connects to the accounts of the resource, and to those of its former destinations.
async fn connect_to_all<C: Cloud, K: Cluster>(
    resource: &Resource<'_>,
    accounts: &Accounts,
    cx: &Context<C, K>,
) -> Result<Connected<C::Clients>, Failure> {
    let mut connected = connect(accounts, &resource.id, cx.cloud.as_ref()).await?;
    for account in former_accounts(&resource.status, accounts, cx) {
        // A failure delays nothing: the status keeps naming the statements that are left in that account.
        let clients = &mut connected.clients;
        let _ = cx.cloud.connect_also(clients, &account.name, &account, &resource.id).await;
    }
    Ok(connected)
}

/// A resource that was never applied replicates nothing yet, so that its first check waits until all of its accounts
/// can be reached.
fn require_reached_at_first(
    unreached: &BTreeMap<String, Failure>,
    status: &BucketReplicationStatus,
) -> Result<(), Refusal> {
    let failures = unreached.values().filter(|_| status.applied_hash.is_none());
    Refusal::all(failures.map(|failure| Refusal::failed(failure, ConditionType::Ready)))
}

/// The accounts in which the resource has statements in policies of former destinations, and which its spec names no
/// longer. One that is gone is left out.
fn former_accounts<C, K>(
    status: &BucketReplicationStatus,
    accounts: &Accounts,
    cx: &Context<C, K>,
) -> Vec<Account> {
    let mut names: Vec<&String> = status.bucket_policies.iter().map(|held| &held.account_ref).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !accounts.destinations.contains_key(*name));
    names.into_iter().filter_map(|name| cx.index.account(name).ok().flatten()).collect()
}

async fn observe_and_plan<'a, C: Cloud, K>(
    resource: &'a Resource<'_>,
    accounts: &'a Accounts,
    (clients, unreached): (&C::Clients, BTreeMap<String, Failure>),
    cx: &Context<C, K>,
) -> Result<Assessment<'a>, Failure> {
    let replication = resource.replication(accounts);
    let read_set = ReadSet::of(&replication, resource.wants_fresh_reads());
    let mut observed = cx.cloud.observe(clients, &read_set).await?;
    set_aside(&mut observed, &read_set, unreached);
    Ok(assess(replication, read_set, observed))
}

/// Makes the report, with the likely cause of failures. Remembers, counts and logs the outcome for the next checks and
/// for people.
async fn make_report<C: Cloud, K>(
    assessment: &Assessment<'_>,
    outcome: &Outcome,
    resource: &Resource<'_>,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> StatusReport {
    let Assessment { plan, .. } = assessment;
    let input = assessment.input();
    let watched = watch_metrics(resource, &input, outcome, cx);
    let context = StatusContext { evidence: &watched, ..resource.status_context(cx) };
    let made = status::report(&input, plan, outcome, &context);
    if !outcome.done.is_empty() || outcome.unanswered().next().is_some() {
        resource.target.memory.record(plan, &input, outcome, cx.clock.now());
    }
    record(plan, outcome, &made, resource, cx);
    if !find_likely_cause(resource, assessment, &made, clients, cx).await {
        return made;
    }
    // The message of `Replicating` names the cause.
    let known = evidence(&resource.target.key.uid, &Key::of(resource.target.metadata), cx);
    let context = StatusContext { evidence: &known, ..resource.status_context(cx) };
    status::report(&input, plan, outcome, &context)
}

/// Answers the events of a check: whether AWS holds anything that the status did not show before. A failure to read
/// AWS, and its end, show nothing about AWS.
fn answer_events(report: &StatusReport, outcome: &Outcome, before: &BucketReplicationStatus) -> Answer {
    let reasons = |status: &BucketReplicationStatus| -> Vec<(String, String)> {
        // Whether objects arrive is known from elsewhere.
        let settings = status.conditions.iter().filter(|c| c.type_ != ConditionType::Replicating.as_str());
        settings.map(|c| (c.type_.clone(), c.reason.clone())).collect()
    };
    let status = &report.status;
    let is_drifting = status.drift.iter().any(|drift| !before.drift.contains(drift));
    let differs = status.drift != before.drift
        || status.drift_count != before.drift_count
        || reasons(status) != reasons(before)
        || status.source != before.source
        || status.destinations != before.destinations;
    let can_read_again = report.reason.ready() == ReadyStatus::True && ready_reason(before).is_no_answer();
    match () {
        () if !outcome.done.is_empty() || is_drifting => Answer::Changed,
        () if report.reason.is_no_answer() => Answer::Unanswered,
        () if differs && !can_read_again => Answer::Changed,
        () => Answer::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AwsResource, DriftEntry};

    /// A report whose `Ready` has this reason, with the drift of these fields.
    fn report(reason: Reason, drift: &[&str]) -> StatusReport {
        let condition = serde_json::json!({
            "type": "Ready", "status": reason.ready().as_str(), "reason": reason.as_str(), "message": "",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        });
        let drift = drift.iter().map(|path| DriftEntry {
            resource: AwsResource::BucketVersioning,
            name: "copies".to_owned(),
            path: (*path).to_owned(),
            want: "Enabled".to_owned(),
            got: "Suspended".to_owned(),
        });
        let status = BucketReplicationStatus {
            conditions: vec![serde_json::from_value(condition).unwrap()],
            drift: drift.collect(),
            ..BucketReplicationStatus::default()
        };
        StatusReport { status, events: Vec::new(), reason, unanswered: None }
    }

    #[test]
    fn a_check_that_could_not_read_aws_answers_no_event_and_its_end_is_no_news() {
        let after = |before: (Reason, &[&str]), now: (Reason, &[&str])| {
            let before = report(before.0, before.1).status;
            answer_events(&report(now.0, now.1), &Outcome::default(), &before)
        };
        let (applied, throttled) = ((Reason::Applied, &[] as &[&str]), (Reason::Throttled, &[] as &[&str]));
        let drifted = (Reason::Drifted, &["status"] as &[&str]);
        assert_eq!(after(applied, applied), Answer::Unchanged);
        assert_eq!(after(applied, throttled), Answer::Unanswered);
        assert_eq!(after(throttled, throttled), Answer::Unanswered);
        assert_eq!(
            after(drifted, throttled),
            Answer::Unanswered,
            "it could not be read whether it still differs"
        );
        assert_eq!(
            after(throttled, applied),
            Answer::Unchanged,
            "AWS may still answer from before the change"
        );
        assert_eq!(after(throttled, drifted), Answer::Changed);
        assert_eq!(after(drifted, applied), Answer::Changed);
        assert_eq!(after(applied, (Reason::DestinationBucketNotFound, &[])), Answer::Changed);
        assert_eq!(after(applied, (Reason::AccessDenied, &["status"])), Answer::Changed, "it was read");
    }
}
