//! Every status that the operator can report, made by the operator's own code.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use s3_replication_operator::api::{
    AwsAccountStatus, BucketReplicationSpec, BucketReplicationStatus, CallerIdentity, ConditionType,
    ManagementPolicy, Reason, ReplicationBackfillStatus,
};
use s3_replication_operator::iam::Partition;
use s3_replication_operator::replication::backfill::{self, BackfillContext};
use s3_replication_operator::replication::desired::Discovered;
use s3_replication_operator::replication::events::coverage::AccountEvents;
use s3_replication_operator::replication::health::Evidence;
use s3_replication_operator::replication::plan::plan;
use s3_replication_operator::replication::status::{
    Contested, ObservedAccount, Outcome, StatusContext, StatusReport, account_status, report, stopped,
};
use s3_replication_operator::replication::{
    Accounts, Caller, Desired, Failure, FailureClass, Observed, ObservedBucket, Plan, PlanInput, ReadSet,
    Refusal, Replication, ResourceId, Versioning, VersioningStatus,
};
use serde::Serialize;
use serde_json::{Value, json};
use strum::VariantArray;

/// The generation of a new object, which every status here describes.
const GENERATION: Option<i64> = Some(1);

/// A status, and how it came about.
pub struct State {
    pub how: String,
    pub reason: Reason,
    pub status: Value,
}

/// The first report on an object.
fn state<S: Default + Serialize>(
    how: String,
    report: impl FnOnce(&S, Timestamp) -> (S, Reason),
) -> Result<State> {
    let (status, reason) = report(&S::default(), Timestamp::from_second(1_000_000_000)?);
    Ok(State { how, reason, status: serde_json::to_value(status)? })
}

fn failure(class: FailureClass) -> Failure {
    Failure {
        class,
        action: "s3:PutReplicationConfiguration".into(),
        subject: SOURCE.into(),
        code: "Code".into(),
        detail: "in AWS's words".into(),
    }
}

/// Every way a call can fail.
fn failures() -> Vec<Failure> {
    use FailureClass as C;
    let all = [
        C::Throttled,
        C::Conflict,
        C::Denied,
        C::WrongOwner,
        C::WrongAccount,
        C::NoSuchBucket,
        C::NoSuchRole,
        C::WrongRegion,
        C::Invalid,
        C::DeleteConflict,
        C::Credentials,
        C::WrongClock,
        C::Unavailable,
    ];
    // The compiler asks for a new class here; add it above too.
    let _complete = |class| match class {
        C::Throttled | C::Conflict | C::Denied | C::WrongOwner | C::WrongAccount | C::NoSuchBucket => {}
        C::NoSuchRole | C::WrongRegion | C::Invalid | C::DeleteConflict | C::Credentials => {}
        C::WrongClock | C::Unavailable => {}
    };
    all.into_iter().map(failure).collect()
}

const SOURCE: &str = "source-bucket-us-east-1";
const DESTINATION: &str = "dest-bucket-eu-west-1";

/// The spec of every resource here.
pub fn spec() -> Value {
    json!({"source": {"bucket": SOURCE}, "rules": [{"id": "all", "destination": {"bucket": DESTINATION}}]})
}

/// A resource, and what the operator observes of it in AWS.
struct Case {
    spec: BucketReplicationSpec,
    identity: ResourceId,
    observed: Observed,
    accounts: Accounts,
    /// `status.appliedHash`.
    applied: bool,
}

impl Case {
    /// Nothing is set up yet.
    fn new() -> Result<Case> {
        let bucket = |region: &str| ObservedBucket {
            region: Ok(Some(region.to_owned())),
            versioning: Ok(Versioning { status: VersioningStatus::Disabled, mfa_delete: false }),
            owner_confirmed: true,
        };
        Ok(Case {
            spec: serde_json::from_value(spec())?,
            identity: ResourceId {
                cluster: Some("cluster-uid".into()),
                former_clusters: Vec::new(),
                namespace: "data".into(),
                name: "orders".into(),
                uid: Some("resource-uid".into()),
            },
            observed: Observed {
                caller: Caller {
                    account: "111122223333".into(),
                    partition: Partition::of_region("us-east-1"),
                },
                source: bucket("us-east-1"),
                destinations: [(DESTINATION.to_owned(), bucket("eu-west-1"))].into(),
                configuration: Ok(None),
                unknown_elements: Default::default(),
                role: Ok(None),
                former_roles: BTreeMap::new(),
                bucket_policies: BTreeMap::new(),
                keys: BTreeMap::new(),
                object_lock: Ok(Some(false)),
                unreached: BTreeMap::new(),
            },
            accounts: Accounts::default(),
            applied: false,
        })
    }

    /// The report of a check with this plan and outcome.
    fn report(
        &self,
        how: &str,
        plan_of: impl Fn(Plan) -> Plan,
        outcome_of: impl Fn(&Plan) -> Outcome,
    ) -> Result<State> {
        state(how.to_owned(), |previous: &BucketReplicationStatus, now| {
            let Case { spec, identity, observed, accounts, .. } = self;
            let discovered = Discovered::of(SOURCE, observed);
            let desired_with = |status: &BucketReplicationStatus| {
                Desired::new(&Replication { spec, status, id: identity, accounts }, &discovered)
            };
            let mut previous = previous.clone();
            let desired = desired_with(&previous);
            previous.applied_hash = self.applied.then(|| desired.hash()).or(previous.applied_hash);
            let replication = Replication { spec, status: &previous, id: identity, accounts };
            let read_set = ReadSet::of(&replication, false);
            let input = PlanInput::new(&replication, &read_set, observed, &desired);
            let plan = plan_of(plan(&input));
            let context = StatusContext {
                generation: GENERATION,
                requested: None,
                previous: &previous,
                now,
                evidence: &Evidence::default(),
                raised_interval: None,
                follows_another_process: false,
            };
            let StatusReport { status, reason, .. } = report(&input, &plan, &outcome_of(&plan), &context);
            (status, reason)
        })
    }
}

fn all_done(plan: &Plan) -> Outcome {
    Outcome { done: plan.steps().cloned().collect(), ..Outcome::default() }
}

/// The statuses of `BucketReplication`s.
pub fn replications() -> Result<Vec<State>> {
    let as_planned = |plan: Plan| plan;
    let case = Case::new()?;
    let mut all = Vec::new();

    // The refusals before the operator reads AWS, and during deletion; then those after it has read AWS.
    let refuses = |r: &Reason| {
        !ENDS.contains(r) && !OF_JOBS.contains(r) && !r.is_about_arrival() && !r.is_about_events()
    };
    for reason in Reason::VARIANTS.iter().copied().filter(refuses) {
        let refusal = Refusal::new(reason, ConditionType::Ready, format!("because {reason}"));
        let how = format!("stopped by {reason}");
        all.push(state(how, |previous: &BucketReplicationStatus, now| {
            let context = StatusContext {
                generation: GENERATION,
                requested: None,
                previous,
                now,
                evidence: &Evidence::default(),
                raised_interval: None,
                follows_another_process: false,
            };
            let StatusReport { status, reason, .. } = stopped(&refusal, &context);
            (status, reason)
        })?);
        let refused = |plan| Plan { refusals: vec![refusal.clone()], stages: Vec::new(), ..plan };
        all.push(case.report(&format!("refused by {reason}"), refused, |_| Outcome::default())?);
    }
    for failure in failures() {
        let how = format!("a step fails: {:?}", failure.class);
        let failed = |plan: &Plan| Outcome {
            failed: plan.steps().last().map(|step| (step.clone(), failure.clone())).into_iter().collect(),
            ..Outcome::default()
        };
        all.push(case.report(&how, as_planned, failed)?);
    }
    let interrupted = |_: &Plan| Outcome { interrupted: true, ..Outcome::default() };
    all.push(case.report("the operator was stopped on the way", as_planned, interrupted)?);
    all.push(case.report("all was done", as_planned, all_done)?);

    let mut unread = Case::new()?;
    for held in unread.observed.destinations.values_mut() {
        held.versioning = Err(failure(FailureClass::Denied));
    }
    all.push(unread.report("all was done, and an optional read is denied", as_planned, all_done)?);

    let mut observing = Case::new()?;
    observing.spec.management_policy = ManagementPolicy::Observe;
    all.push(observing.report("Observe, and AWS differs", as_planned, |_| Outcome::default())?);

    let drifted = Case { applied: true, ..Case::new()? };
    all.push(drifted.report("drift was corrected", as_planned, all_done)?);
    let contested = |plan: &Plan| Outcome {
        contested: Some(Contested { differences: plan.differences.clone(), corrections: 3 }),
        ..Outcome::default()
    };
    all.push(drifted.report("another tool keeps changing it", as_planned, contested)?);
    Ok(all)
}

/// The reasons of a resource that is as it should be: no refusal has one.
const ENDS: [Reason; 4] = [Reason::Applied, Reason::Verified, Reason::Completed, Reason::NothingToDo];

/// The reasons that only a backfill has.
const OF_JOBS: [Reason; 11] = [
    Reason::Waiting,
    Reason::Settling,
    Reason::Preparing,
    Reason::AwaitingApproval,
    Reason::Running,
    Reason::Cancelling,
    Reason::CompletedWithFailures,
    Reason::JobFailed,
    Reason::JobVanished,
    Reason::Cancelled,
    Reason::ReplicationNotReady,
];

/// The statuses of `ReplicationBackfill`s: each end of a job, and each obstacle to one.
pub fn backfills() -> Result<Vec<State>> {
    let mut all = Vec::new();
    // A replication that is suspended is ReplicationNotReady for its backfills.
    let of_backfills = |r: &Reason| {
        !matches!(r, Reason::Applied | Reason::Verified | Reason::Suspended)
            && !r.is_about_arrival()
            && !r.is_about_events()
    };
    for reason in Reason::VARIANTS.iter().copied().filter(of_backfills) {
        all.push(state(format!("with {reason}"), |previous: &ReplicationBackfillStatus, now| {
            let context = BackfillContext { generation: GENERATION, requested: None, now };
            let message = format!("because {reason}");
            let reported = backfill::status::report(previous.clone(), previous, (reason, &message), context);
            (reported.status, reported.reason)
        })?);
    }
    Ok(all)
}

/// The statuses of `AwsAccount`s.
pub fn accounts() -> Result<Vec<State>> {
    let identity = CallerIdentity {
        arn: "arn:aws:iam::111122223333:role/operator".into(),
        account_id: "111122223333".into(),
    };
    let mut all = Vec::new();
    let asked = failures().into_iter().map(Err).chain([Ok(identity)]);
    for asked in asked {
        let how = match &asked {
            Ok(_) => "the identity is the right one".to_owned(),
            Err(failure) => format!("STS fails: {:?}", failure.class),
        };
        all.push(state(how, |previous: &AwsAccountStatus, now| {
            // Events change nothing of an account's health.
            let events = Some(AccountEvents { outage: Some("timed out".into()), ..AccountEvents::default() });
            let observed = ObservedAccount { identity: asked.as_ref(), replications: 1, events };
            account_status(&observed, previous, GENERATION, now)
        })?);
    }
    Ok(all)
}
