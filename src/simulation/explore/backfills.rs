//! Explores backfills: the controller that ships, on a simulated AWS, with something going wrong at every call in turn.
//!
//! In: a mode of AWS, and how many things may go wrong in one trace. Out: how many traces were run, and the first trace that
//! breaks a property, in sentences. A trace is a list of calls by their number, each with what becomes of it.
//!
//! The properties: never more than one job; no job before its token is in the status; a backfill that nobody ends is
//! Completed in the end, and one that is cancelled or deleted leaves no job that runs; nothing is left of its role.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::replication::FailureClass;
use crate::replication::backfill::JobState;
use crate::runtime::clock::SimulatedClock;
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::cloud::SimulatedCloud;
use crate::simulation::cluster::SimulatedCluster;
use crate::simulation::hook::{Call, Choice, Hook};
use crate::simulation::operator::Operator;
use crate::simulation::world::World;

const HERE: &str = "111122223333";
const NAMESPACE: &str = "data";
const NAME: &str = "orders-november";

/// More reconciles than any trace needs.
const ROUNDS: usize = 60;

/// The last call at which something happens: a backfill that waits makes the same calls again and again.
const LATEST: usize = 60;

/// What AWS leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It knows tokens, and lists a job at once.
    Plain,
    /// It has forgotten the token when the request comes again.
    ForgetsTokens,
    /// It does not list a job before it has gone on.
    ListsLate,
}

/// What becomes of a call, or happens just before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    Fails,
    LosesAnswer,
    DiesBefore,
    DiesAfter,
    /// Another leader reconciles by an old cache; then this call takes effect, and its process dies.
    AnotherLeads,
    Cancelled,
    Deleted,
    ParentDeleted,
    AccountTightened,
}

impl Trouble {
    const ALL: [Trouble; 9] = [
        Trouble::Fails,
        Trouble::LosesAnswer,
        Trouble::DiesBefore,
        Trouble::DiesAfter,
        Trouble::AnotherLeads,
        Trouble::Cancelled,
        Trouble::Deleted,
        Trouble::ParentDeleted,
        Trouble::AccountTightened,
    ];

    fn choice(self) -> Choice {
        match self {
            Trouble::Fails => Choice::FailBefore(FailureClass::Unavailable),
            Trouble::LosesAnswer => Choice::FailAfter,
            Trouble::DiesBefore => Choice::DieBefore,
            Trouble::DiesAfter | Trouble::AnotherLeads => Choice::DieAfter,
            Trouble::Cancelled | Trouble::Deleted | Trouble::ParentDeleted | Trouble::AccountTightened => {
                Choice::Answer
            }
        }
    }

    /// Whether it can happen at a call: a read that is lost is one that fails.
    fn applies(self, call: &Call, mode: Mode) -> bool {
        match self {
            Trouble::LosesAnswer | Trouble::DiesAfter => call.is_write(),
            // Two leaders at once are more than a search of jobs alone can tell apart.
            Trouble::AnotherLeads => call.is_write() && mode != Mode::ForgetsTokens,
            Trouble::DiesBefore => call.writes_to_aws(),
            _ => true,
        }
    }

    fn sentence(self, call: &Call) -> String {
        match self {
            Trouble::Fails => format!("The operator asks to {call}, which fails without effect."),
            Trouble::LosesAnswer => format!("The operator asks to {call}, and the answer is lost."),
            Trouble::DiesBefore => format!("The operator dies before it asks to {call}."),
            Trouble::DiesAfter => format!("The operator asks to {call} and dies."),
            Trouble::AnotherLeads => {
                format!("Another operator leads meanwhile; then the request to {call} takes effect.")
            }
            Trouble::Cancelled => {
                format!("The user cancels the backfill before the operator asks to {call}.")
            }
            Trouble::Deleted => format!("The user deletes the backfill before the operator asks to {call}."),
            Trouble::ParentDeleted => {
                format!("The user deletes the replication before the operator asks to {call}.")
            }
            Trouble::AccountTightened => {
                format!("The administrator forbids backfills before the operator asks to {call}.")
            }
        }
    }
}

/// A trace: the number of each call, and what becomes of it.
pub type Trace = Vec<(usize, Trouble)>;

/// A trace that breaks a property.
#[derive(Debug)]
pub struct Broken {
    pub trace: Trace,
    pub why: String,
    pub story: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:?}", self.why, self.trace)?;
        self.story.iter().try_for_each(|sentence| writeln!(f, "  {sentence}"))
    }
}

/// Runs every trace with at most so many troubles; of those with more than one, each `one_in`th. Returns how many it ran.
///
/// # Errors
/// The first trace that breaks a property.
pub fn explore_backfills(mode: Mode, depth: usize, one_in: usize) -> Result<usize, Box<Broken>> {
    let mut runs = 0;
    let mut traces: Vec<Trace> = vec![Vec::new()];
    for level in 0..=depth {
        let mut next = Vec::new();
        for trace in traces {
            runs += 1;
            let calls = run(mode, &trace)?;
            if level == depth {
                continue;
            }
            let after = trace.last().map_or(0, |(number, _)| number + 1);
            for (number, call) in calls.iter().enumerate().take(LATEST).skip(after) {
                let troubles = Trouble::ALL.into_iter().filter(|trouble| trouble.applies(call, mode));
                next.extend(troubles.map(|trouble| {
                    let mut longer = trace.clone();
                    longer.push((number, trouble));
                    longer
                }));
            }
        }
        let step = if level == 0 { 1 } else { one_in.max(1) };
        traces = next.into_iter().step_by(step).collect();
    }
    Ok(runs)
}

/// What the hook and the loop share.
struct Shared {
    trace: Trace,
    calls: Vec<Call>,
    story: Vec<String>,
    broken: Option<String>,
    /// Someone ended the backfill, or took away what it needs.
    ended: bool,
    hindered: bool,
    /// How many troubles of the trace have happened.
    met: usize,
}

/// Runs one trace. Returns its calls.
///
/// # Errors
/// The property that it breaks.
pub fn run(mode: Mode, trace: &Trace) -> Result<Vec<Call>, Box<Broken>> {
    let (cloud, cluster, clock) = begin(mode);
    let shared = Arc::new(Mutex::new(Shared {
        trace: trace.clone(),
        calls: Vec::new(),
        story: Vec::new(),
        broken: None,
        ended: false,
        hindered: false,
        met: 0,
    }));
    // The other leader has the cache of the beginning.
    let other = start(&cloud, &cluster, &clock, Arc::new(|_| Box::pin(std::future::ready(Choice::Answer))));
    let other = Arc::new(other);
    let hook = new_hook(&shared, &cloud, &cluster, &other);
    let mut operator = start(&cloud, &cluster, &clock, hook.clone());
    let mut settled = false;
    let mut left = ROUNDS;
    let mut troubles = 0;
    while left > 0 {
        let met = shared.lock().met;
        // After each trouble there is time enough again.
        left = if met > troubles { ROUNDS } else { left - 1 };
        troubles = met;
        cluster.with(|server| operator.sync(server));
        let Some(reconcile) = operator.reconcile_backfill(NAMESPACE, NAME) else {
            settled = true;
            break;
        };
        let pause = match reconcile.now_or_never() {
            // The process died on the way.
            None => {
                operator = start(&cloud, &cluster, &clock, hook.clone());
                Some(Duration::from_secs(1))
            }
            Some(Err(_)) => Some(Duration::from_secs(1)),
            Some(Ok(action)) => action.after(),
        };
        let waits = pause.is_none() || shared.lock().hindered;
        if waits && is_over(&cluster) {
            settled = true;
            break;
        }
        clock.advance(pause.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(600)));
        cloud.with(|world| world.jobs.advance());
    }
    let mut shared = shared.lock();
    if shared.broken.is_none() {
        shared.broken = wrong_in_the_end(&cloud, &cluster, &shared, settled);
    }
    match shared.broken.take() {
        Some(why) => Err(Box::new(Broken { trace: trace.clone(), why, story: shared.story.clone() })),
        None => Ok(shared.calls.clone()),
    }
}

fn begin(mode: Mode) -> (SimulatedCloud, SimulatedCluster, SimulatedClock) {
    let mut world = World::new(HERE);
    world.trusting_accounts = vec![HERE.to_owned()];
    world.create_bucket("orders", "us-east-1", HERE);
    world.jobs.objects = 3;
    world.jobs.forgets_tokens = mode == Mode::ForgetsTokens;
    world.jobs.lists_late = mode == Mode::ListsLate;
    let mut server = ApiServer::default();
    server.namespaces.insert(NAMESPACE.to_owned(), Default::default());
    let account = json!({"accountId": HERE, "namespaces": {"matchNames": [NAMESPACE]}, "sources": ["*"],
        "destinations": ["*"], "allow": ["Backfill"]});
    server.create(&ObjectName::account("default"), account, 0);
    let parent = ObjectName::replication(NAMESPACE, "orders-to-eu");
    let spec = json!({"source": {"bucket": "orders"}, "rules": [{"id": "all", "destination": {"bucket": "copies"}}]});
    server.create(&parent, spec, 0);
    server.edit(&parent, |object| {
        object["status"] = json!({
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Applied", "message": "",
                "lastTransitionTime": "1970-01-01T00:00:00Z"}],
            "source": {"bucket": "orders", "region": "us-east-1", "account": HERE, "accountRef": "default"},
        });
    });
    let spec = json!({"replicationRef": {"name": "orders-to-eu"}});
    server.create(&ObjectName::backfill(NAMESPACE, NAME), spec, 0);
    (SimulatedCloud::new(world), SimulatedCluster::new(server), SimulatedClock::new())
}

fn start(cloud: &SimulatedCloud, cluster: &SimulatedCluster, clock: &SimulatedClock, hook: Hook) -> Operator {
    let operator = Operator::start(cloud, cluster, clock, hook, |_| {});
    cluster.with(|server| operator.sync(server));
    operator
}

fn new_hook(
    shared: &Arc<Mutex<Shared>>,
    cloud: &SimulatedCloud,
    cluster: &SimulatedCluster,
    other: &Arc<Operator>,
) -> Hook {
    let (shared, cloud, cluster, other) = (shared.clone(), cloud.clone(), cluster.clone(), other.clone());
    Arc::new(move |call| {
        let trouble = {
            let mut shared = shared.lock();
            let number = shared.calls.len();
            shared.calls.push(call.clone());
            let trouble = shared.trace.iter().find(|(at, _)| *at == number).map(|(_, trouble)| *trouble);
            match trouble {
                Some(trouble) => shared.story.push(trouble.sentence(&call)),
                None if call.is_write() => shared.story.push(format!("The operator asks to {call}.")),
                None => {}
            }
            shared.met += usize::from(trouble.is_some());
            shared.ended |= matches!(trouble, Some(Trouble::Cancelled | Trouble::Deleted));
            shared.hindered |= matches!(trouble, Some(Trouble::ParentDeleted | Trouble::AccountTightened));
            trouble
        };
        act(trouble, &cluster, &other);
        let why = wrong_at(&call, &cloud, &cluster);
        let mut held = shared.lock();
        held.broken = held.broken.take().or(why);
        drop(held);
        Box::pin(std::future::ready(trouble.map_or(Choice::Answer, Trouble::choice)))
    })
}

/// Does what others do at this moment.
fn act(trouble: Option<Trouble>, cluster: &SimulatedCluster, other: &Operator) {
    let backfill = ObjectName::backfill(NAMESPACE, NAME);
    match trouble {
        Some(Trouble::Cancelled) => {
            cluster.with(|server| server.edit(&backfill, |object| object["spec"]["cancel"] = json!(true)));
        }
        Some(Trouble::Deleted) => cluster.with(|server| server.delete(&backfill)),
        Some(Trouble::ParentDeleted) => {
            cluster.with(|server| server.delete(&ObjectName::replication(NAMESPACE, "orders-to-eu")));
        }
        Some(Trouble::AccountTightened) => cluster.with(|server| {
            server.edit(&ObjectName::account("default"), |object| object["spec"]["allow"] = json!([]));
        }),
        Some(Trouble::AnotherLeads) => {
            for _ in 0..2 {
                if let Some(reconcile) = other.reconcile_backfill(NAMESPACE, NAME) {
                    // It is never held up: its calls are all answered.
                    let _ = reconcile.now_or_never();
                }
            }
        }
        _ => {}
    }
}

/// What must hold whenever a call is about to be made.
fn wrong_at(call: &Call, cloud: &SimulatedCloud, cluster: &SimulatedCluster) -> Option<String> {
    let jobs = cloud.with(|world| world.jobs.held.len());
    if jobs > 1 {
        return Some(format!("there are {jobs} jobs for one backfill"));
    }
    let kept = status(cluster).is_some_and(|status| status["token"].is_string());
    (*call == Call::CreateJob && !kept)
        .then(|| "a job is asked for whose token is not in the status".to_owned())
}

/// What must hold when nothing goes on any more.
fn wrong_in_the_end(
    cloud: &SimulatedCloud,
    cluster: &SimulatedCluster,
    shared: &Shared,
    settled: bool,
) -> Option<String> {
    let world = cloud.world();
    let jobs = &world.jobs.held;
    if jobs.len() > 1 {
        return Some(format!("there are {} jobs for one backfill", jobs.len()));
    }
    let reason =
        status(cluster).and_then(|status| Some(status["conditions"][0]["reason"].as_str()?.to_owned()));
    let begun = !jobs.is_empty();
    let forbidden = shared.hindered && !begun && !shared.ended;
    if forbidden {
        return None;
    }
    if !settled {
        return Some(format!("it does not come to an end: {reason:?}"));
    }
    if let Some(role) = world.roles.values().next() {
        return Some(format!("role {} is left", role.name));
    }
    if let Some((id, job)) = jobs.iter().find(|(_, job)| !JobState::of(&job.state).is_final()) {
        return Some(format!("job {id} is still {}, and nobody follows it", job.state));
    }
    let expected = if shared.ended { None } else { Some("Completed") };
    (expected.is_some() && reason.as_deref() != expected).then(|| format!("it ends as {reason:?}"))
}

fn status(cluster: &SimulatedCluster) -> Option<Value> {
    let name = ObjectName::backfill(NAMESPACE, NAME);
    cluster.with(|server| server.objects.get(&name).map(|object| object["status"].clone()))
}

/// Whether the backfill is gone or has ended with nothing left to do.
fn is_over(cluster: &SimulatedCluster) -> bool {
    status(cluster).is_none_or(|status| status["finishedAt"].is_string() && !status["role"].is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::{self, Mutant};

    fn holds(mode: Mode, depth: usize, one_in: usize) -> usize {
        match explore_backfills(mode, depth, one_in) {
            Ok(runs) => runs,
            Err(broken) => panic!("\n{broken}"),
        }
    }

    #[test]
    fn nothing_that_goes_wrong_at_one_call_makes_a_second_job_or_leaves_something_behind() {
        for mode in [Mode::Plain, Mode::ForgetsTokens, Mode::ListsLate] {
            assert!(holds(mode, 1, 1) > 100, "{mode:?}");
        }
    }

    #[test]
    fn nothing_that_goes_wrong_at_two_calls_makes_a_second_job() {
        // `cargo rig explore` runs them all. 31 is no multiple of the number of troubles: each kind is met.
        assert!(holds(Mode::Plain, 2, 31) > 500);
    }

    /// Each mutant is found where AWS alone would not make up for it.
    #[test]
    fn every_mutant_of_backfills_breaks_a_property() {
        let modes = [
            (Mutant::IntentNotKept, Mode::Plain),
            (Mutant::JobNotSearched, Mode::ForgetsTokens),
            (Mutant::TokenByChance, Mode::ListsLate),
        ];
        assert!(Mutant::OF_BACKFILLS.iter().all(|mutant| modes.iter().any(|(found, _)| found == mutant)));
        for (mutant, mode) in modes {
            let found = mutants::with(mutant, || explore_backfills(mode, 1, 1));
            assert!(found.is_err(), "{mutant:?} is not found: {}", mutant.sentence());
        }
    }
}
