//! One run of the controllers: from a scene's beginning, decision by decision, to a state that no check changes.
//!
//! In: a scene, and what happens at which decision point. Out: each state on the way, and the first property that
//! does not hold. At a decision point a call on a port is about to be made, or no check runs.

mod backfills;
mod checks;
mod copy;
mod denials;
mod ending;
mod interfere;
mod judge;
mod mirror;
mod old_answers;
mod pauses;
mod state;
mod time_numbers;
mod words;

pub use self::copy::Resting;

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::{BucketReplication, FINALIZER};
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::clock::SimulatedClock;
use crate::runtime::leader::Succession;
use crate::simulation::api_server::ObjectName;
use crate::simulation::cloud::SimulatedCloud;
use crate::simulation::cluster::SimulatedCluster;
use crate::simulation::explore::deviation::{BUDGETS, Budget, Deviation};
use crate::simulation::explore::properties::{Property, Violation, forbidden, older, violated};
use crate::simulation::explore::run::words::{Attribution, call_name};
use crate::simulation::explore::scene::Scene;
use crate::simulation::hook::{Call, Choice, Hook};
use crate::simulation::operator::SimulatedOperator;
use crate::simulation::world::World;
use crate::simulation::written_part::WrittenPart;

const NAMESPACE: &str = "data";

/// A call that waits for its answer.
struct WaitingCall {
    check: usize,
    call: Call,
    slot: Arc<Mutex<Option<Choice>>>,
}

/// The calls that the hooks of all operators bring.
#[derive(Default)]
struct Wire {
    /// The check that is polled.
    polled: usize,
    waiting: Vec<WaitingCall>,
}

type Reconcile = Pin<Box<dyn Future<Output = Result<Action, Error>> + Send>>;

struct Process {
    operator: Arc<SimulatedOperator>,
    leads: Arc<AtomicBool>,
    /// When it began to lead, or started.
    began: Duration,
    /// The API server's state that the watches brought last, as a hash.
    cache: u64,
    /// Which resources might act by that state; empty before the first one.
    permitted: Vec<bool>,
}

/// When a check is due.
#[derive(Clone, Copy, Default)]
struct NextCheck {
    /// By the simulated clock.
    at: Duration,
    /// More than a minute passes between the last check and this one.
    is_late: bool,
}

/// A check that is under way.
struct Check {
    number: usize,
    process: usize,
    /// The index of the resource in the scene; accounts come after the resources, and then backfills.
    resource: usize,
    future: Reconcile,
    /// All that its future position depends on, as a hash.
    history: u64,
    /// AWS and Kubernetes when it began.
    before: (u64, u64),
    /// The cache was older than that.
    stale: bool,
    facts: Facts,
}

/// The facts about a check that the properties need.
struct Facts {
    name: ObjectName,
    object: BucketReplication,
    uid: String,
    sid: String,
    deletes: bool,
    /// The object as the API server showed it last.
    live: Option<Live>,
    /// The last answers to reads of bucket policies.
    policies: BTreeMap<String, Option<Value>>,
    /// The request that counted as handled when the check began.
    handled: Value,
    /// AWS as it was when it was last read.
    seen: Option<Arc<World>>,
    /// The writes of bucket policies that have begun, by bucket: a policy is read and written in one step. A read begins
    /// one in place of the one before, and a write ends it.
    policy_writes: BTreeMap<String, PolicyWrite>,
    wrote: bool,
    /// It wrote a status, which the next write may have taken back.
    reported: bool,
    /// Someone changed the API server since it began: the watch brings that, and another check follows.
    overtaken: bool,
    /// Someone changed AWS since it was last read: what the check breaks then it cannot know.
    disturbed: bool,
    /// An answer to it was old, or another check wrote to AWS since it began: it cannot know all that is so.
    misled: bool,
    /// One of its calls was interfered with: it may have left out what the next check does.
    interrupted: bool,
}

/// The conditions at the time when the policy of a bucket was read to be written.
#[derive(Clone, Copy)]
struct PolicyWrite {
    /// The accounts allowed it.
    permitted: bool,
    /// It was to be written for the object as it was known.
    wanted: bool,
}

/// The state of an object as the API server shows it.
#[derive(Clone, Copy)]
struct Live {
    is_there: bool,
    is_deleted: bool,
    has_finalizer: bool,
    /// The operator may only observe.
    is_observed: bool,
}

impl Live {
    /// Of an object with this UID, or with none.
    fn of(object: Option<&Value>, uid: &str) -> Live {
        let object = object.filter(|object| object["metadata"]["uid"] == uid);
        let is_observed = |object: &Value| {
            object["spec"]["suspend"] == true || object["spec"]["managementPolicy"] == "Observe"
        };
        Live {
            is_there: object.is_some(),
            is_deleted: object.is_some_and(|object| !object["metadata"]["deletionTimestamp"].is_null()),
            has_finalizer: object.is_some_and(|object| {
                object["metadata"]["finalizers"]
                    .as_array()
                    .is_some_and(|held| held.contains(&json!(FINALIZER)))
            }),
            is_observed: object.is_some_and(is_observed),
        }
    }
}

/// The last writer of the replication configuration of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Someone,
    Resource(String),
}

/// Facts that only the exploration knows.
#[derive(Clone, Default, Hash)]
struct Ghost {
    writers: BTreeMap<String, Writer>,
    /// The UIDs of resources that ever wrote a configuration.
    applied: BTreeSet<String>,
    /// The UIDs of the objects that ever had the name of a resource.
    uids: BTreeMap<String, BTreeSet<String>>,
    accounts_seen: bool,
    /// The UIDs of resources that the user released, with all that is left of them in AWS. They lost their finalizer to a
    /// user, and the operator has not put it back; or they are gone, and the user's word was to leave everything.
    released: BTreeSet<String>,
    /// The last spec of each resource, by name.
    left_by_word: BTreeSet<String>,
    /// Resources whose last spec lets them take over what someone else made, by name.
    adopting: BTreeSet<String>,
    /// Resources that were deleted when they were not allowed any more, by name: their status proves nothing then.
    unproven: BTreeSet<String>,
    /// Buckets whose configuration took the place of someone's.
    adopted: BTreeSet<String>,
    /// Buckets whose configuration was someone's and equalled a spec, with the UID of its resource. From then on it follows
    /// the spec, and stays when the resource is deleted.
    found: BTreeMap<String, String>,
    /// Buckets of which that was so until someone replaced the configuration or took it away. A check that had read it cannot
    /// know.
    once_found: BTreeSet<String>,
    /// Tags that the operator put on roles because a spec asked for them, by the name of the role.
    set_tags: BTreeSet<(String, String)>,
    /// Roles that someone else made, by account and name.
    theirs: BTreeSet<(String, String)>,
    /// The ARNs of the roles of configurations that stayed, as a deletion read AWS for the last time.
    in_use: BTreeSet<String>,
}

/// The last write of a part of AWS.
#[derive(Clone)]
struct PartWrite {
    /// By the simulated clock.
    at: Duration,
    /// The part as it was before, as a hash.
    before: u64,
    /// It is the last write of all.
    is_last: bool,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunPoint {
    /// A call waits: its index.
    Call(usize),
    Idle,
}

/// A run.
pub struct Run {
    scene: &'static Scene,
    cloud: SimulatedCloud,
    cluster: SimulatedCluster,
    clock: SimulatedClock,
    wire: Arc<Mutex<Wire>>,
    processes: Vec<Process>,
    leader: usize,
    checks: Vec<Check>,
    /// The check whose calls are answered first.
    active: usize,
    begun: usize,
    /// The number of the check that began last, for each resource, account and backfill.
    last_begun: Vec<usize>,
    /// When the next check of each is due.
    schedule: Vec<NextCheck>,
    /// Resources, accounts and backfills, in this order, whose last check changed nothing, or that wait for a change.
    settled: Vec<bool>,
    /// The number of checks in a row that changed nothing.
    unchanged: Vec<u8>,
    /// A former leader reported on it since the leader checked it last, with a minute in between: for so long the leader takes
    /// the status for the one that it wrote itself.
    overwritten: Vec<bool>,
    /// Checks that changed something since the last interference.
    changing: Vec<u8>,
    /// The new leader's cache is as it was when it did not lead.
    lags: bool,
    counts: BTreeMap<String, u32>,
    left: BTreeMap<Budget, u8>,
    /// The actions that AWS denies until someone allows them again.
    denied: BTreeSet<&'static str>,
    ghost: Ghost,
    hashes: (u64, u64),
    /// Of AWS and the API server, when they were hashed last.
    versions: Option<(u64, u64)>,
    before_last_write: u64,
    /// When the operator last wrote to AWS, by the simulated clock.
    last_write: Option<Duration>,
    /// The last write of each part of AWS.
    part_writes: BTreeMap<WrittenPart, PartWrite>,
    objects: Vec<Option<Arc<BucketReplication>>>,
    /// AWS as it was shown last, and as text.
    world: Option<(Arc<World>, Arc<str>)>,
    /// The objects of the API server as they were shown last: most stay as they are from one step to the next.
    shown: BTreeMap<ObjectName, Arc<ShownObject>>,
    violation: Option<Violation>,
    /// How often a property was judged.
    pub judged: u64,
    /// The trace so far, in sentences, if it is recorded.
    pub story: Option<Vec<String>>,
    pub transitions: u64,
    pub closing: bool,
    /// Between two equal resources that both wait, this run takes the second one.
    is_mirror: bool,
    /// A check of the former leader whose call is answered only after so many checks of the new one.
    held: Option<(usize, u8)>,
    /// Where the first two resources are equal: the run in which each of them does what the other does here.
    mirror: Option<Box<Run>>,
}

/// The budgets of the traces of a scene. The acts of its opening come on top.
fn budgets(scene: &Scene) -> BTreeMap<Budget, u8> {
    let mut budgets: BTreeMap<Budget, u8> = BUDGETS.into();
    let acts = scene.opening.iter().filter(|(_, deviation)| matches!(deviation, Deviation::Act(_)));
    for (_, act) in acts {
        *budgets.entry(act.budget()).or_default() += 1;
    }
    budgets
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn hook(wire: &Arc<Mutex<Wire>>) -> Hook {
    let wire = wire.clone();
    Arc::new(move |call| {
        // Nothing depends on an event.
        if call == Call::PublishEvent {
            return Box::pin(std::future::ready(Choice::Answer));
        }
        let slot: Arc<Mutex<Option<Choice>>> = Arc::default();
        let mut wire = wire.lock();
        let check = wire.polled;
        wire.waiting.push(WaitingCall { check, call, slot: slot.clone() });
        Box::pin(poll_fn(move |_| slot.lock().take().map_or(Poll::Pending, Poll::Ready)))
    })
}

/// An object of the API server, as it counts for the state.
struct ShownObject {
    version: Value,
    /// Without versions and times.
    text: String,
}

impl ShownObject {
    fn new(object: &Value) -> ShownObject {
        let mut object = object.clone();
        let version = object["metadata"]["resourceVersion"].take();
        let conditions = object["status"]["conditions"].as_array_mut();
        conditions.into_iter().flatten().for_each(|condition| {
            condition["lastTransitionTime"].take();
        });
        for time in ["/status/lastCorrection/time", "/status/configuredAt"] {
            object.pointer_mut(time).map(Value::take);
        }
        ShownObject { version, text: object.to_string() }
    }
}

impl Run {
    pub fn new(scene: &'static Scene) -> Run {
        let mut run = Run::alone(scene);
        if !scene.twins.is_empty() {
            run.mirror = Some(Box::new(Run { is_mirror: true, ..Run::alone(scene) }));
        }
        run
    }

    fn alone(scene: &'static Scene) -> Run {
        // The pauses between tries vary by chance.
        fastrand::seed(7);
        let (world, server) = (scene.begin)();
        let works = scene.resources.len() + scene.accounts.len() + scene.backfills.len();
        let accounts_seen = server.objects.keys().any(|name| name.kind == "AwsAccount");
        let writers = world.buckets.iter().filter(|(_, bucket)| bucket.configuration.is_some());
        let writers = writers.map(|(name, _)| (name.clone(), Writer::Someone)).collect();
        let theirs = world.roles.keys().cloned().collect();
        let (cloud, cluster) = (SimulatedCloud::new(world), SimulatedCluster::new(server));
        let mut run = Run {
            scene,
            cloud,
            cluster,
            clock: SimulatedClock::new(),
            wire: Arc::default(),
            processes: Vec::new(),
            leader: 0,
            checks: Vec::new(),
            active: 0,
            begun: 0,
            last_begun: vec![0; works],
            schedule: vec![NextCheck::default(); works],
            settled: vec![false; works],
            unchanged: vec![0; works],
            overwritten: vec![false; works],
            changing: vec![0; works],
            lags: false,
            counts: BTreeMap::new(),
            left: budgets(scene),
            denied: BTreeSet::new(),
            ghost: Ghost { writers, theirs, accounts_seen, ..Ghost::default() },
            hashes: (0, 0),
            versions: None,
            before_last_write: 0,
            last_write: None,
            part_writes: BTreeMap::new(),
            objects: vec![None; scene.resources.len()],
            world: None,
            shown: BTreeMap::new(),
            violation: None,
            judged: 0,
            story: None,
            transitions: 0,
            closing: false,
            is_mirror: false,
            held: None,
            mirror: None,
        };
        run.wake();
        run.refresh();
        run.before_last_write = run.hashes.0;
        for leads in if scene.standby { vec![true, false] } else { vec![true] } {
            let process = run.start(leads, Succession::Orderly);
            run.processes.push(process);
        }
        run
    }

    /// Starts a process. `succession`: how the term before its own ended, if it leads.
    fn start(&self, leads: bool, succession: Succession) -> Process {
        let leads = Arc::new(AtomicBool::new(leads));
        let may_begin = {
            let leads = leads.clone();
            Box::new(move || leads.load(Ordering::Relaxed))
        };
        let (cloud, cluster, clock) = (&self.cloud, &self.cluster, &self.clock);
        let operator =
            SimulatedOperator::start_under((cloud, cluster, clock), hook(&self.wire), may_begin, |_| {});
        let (operator, began) = (Arc::new(operator), clock.elapsed());
        let mut process = Process { operator, leads, began, cache: 0, permitted: Vec::new() };
        self.sync(&mut process);
        if process.leads.load(Ordering::Relaxed) {
            process.operator.begin_term(succession);
        }
        process
    }

    /// The watches of a process bring everything. Returns what it does not notice.
    fn sync(&self, process: &mut Process) -> Option<Violation> {
        self.cluster.with(|server| process.operator.sync(server));
        process.cache = self.hashes.1;
        let due = process.operator.take_due();
        let now: Vec<bool> =
            (0..self.scene.resources.len()).map(|resource| self.is_permitted(resource)).collect();
        let before = std::mem::replace(&mut process.permitted, now);
        let changes = process.permitted.iter().zip(before).zip(self.scene.resources);
        let mut begun = changes.filter(|((now, before), _)| **now && !before).map(|(_, name)| *name);
        let unnoticed = begun.find(|name| !due.contains(*name) && process.leads.load(Ordering::Relaxed))?;
        let detail = format!("data/{unnoticed} may act from now on, and is not due");
        Some(violated(Property::Notice, detail))
    }

    /// Whether the accounts allow a resource that is not being deleted what it asks for, and no older one owns its source. Of
    /// two of the same second, the one that is checked first owns it.
    fn is_permitted(&self, resource: usize) -> bool {
        let Some(object) = self.objects.get(resource).and_then(Option::as_ref) else { return false };
        let seen = self.ghost.accounts_seen;
        self.cluster.with(|server| {
            object.metadata.deletion_timestamp.is_none()
                && forbidden(server, object, seen).is_none()
                && (self.scene.is_alone() || older(server, object, seen).is_none())
        })
    }

    /// The watches of these processes bring everything.
    fn sync_those(&mut self, sees: impl Fn(&Process) -> bool) {
        let mut processes = std::mem::take(&mut self.processes);
        let synced = processes.iter_mut().filter(|process| sees(process));
        let unnoticed: Vec<Violation> = synced.filter_map(|process| self.sync(process)).collect();
        self.processes = processes;
        unnoticed.into_iter().for_each(|violation| self.violate(violation));
    }

    fn run_point(&self) -> RunPoint {
        let wire = self.wire.lock();
        let is_held = |waiting: &WaitingCall| self.held.is_some_and(|(check, _)| check == waiting.check);
        let of_active =
            wire.waiting.iter().position(|waiting| waiting.check == self.active && !is_held(waiting));
        match of_active.or_else(|| wire.waiting.iter().position(|waiting| !is_held(waiting))) {
            Some(index) => RunPoint::Call(index),
            None => RunPoint::Idle,
        }
    }

    /// The name of a point without its count.
    fn name(&self, point: RunPoint) -> String {
        match point {
            RunPoint::Idle => "idle".to_owned(),
            RunPoint::Call(index) => {
                let wire = self.wire.lock();
                let Some(waiting) = wire.waiting.get(index) else { return String::new() };
                let of = self.checks.iter().find(|check| check.number == waiting.check);
                let resource = of.map(|check| self.called(check.resource)).unwrap_or_default();
                format!("{resource}/{}", call_name(&waiting.call))
            }
        }
    }

    /// The name of a resource, or of an account, in a replay: accounts come after the resources.
    fn called(&self, work: usize) -> String {
        let resources = self.scene.resources;
        match (resources.get(work), self.account_at(work), self.backfill_at(work)) {
            (Some(name), ..) => (*name).to_owned(),
            (None, Some(account), _) => format!("account-{account}"),
            (None, None, backfill) => backfill.unwrap_or_default().to_owned(),
        }
    }

    /// The operator that checks a resource, an account or a backfill, and that object, in words.
    fn attribution(&self, process: usize, work: usize) -> Attribution {
        let name = self.called(work);
        let subject = match self.account_at(work) {
            Some(account) => format!("AwsAccount {account}"),
            None => format!("{NAMESPACE}/{name}"),
        };
        Attribution { operator: self.operator(process), subject }
    }

    /// An operator in words: which one, if there are two.
    fn operator(&self, process: usize) -> String {
        if self.scene.standby { format!("Operator {}", process + 1) } else { "The operator".to_owned() }
    }

    fn backfill_at(&self, work: usize) -> Option<&'static str> {
        let before = self.scene.resources.len() + self.scene.accounts.len();
        self.scene.backfills.get(work.checked_sub(before)?).copied()
    }

    fn account_at(&self, work: usize) -> Option<&'static str> {
        self.scene.accounts.get(work.checked_sub(self.scene.resources.len())?).copied()
    }

    /// The name of the decision point: what is about to happen, and for the how many-th time.
    pub fn point(&self) -> String {
        let name = self.name(self.run_point());
        let count = self.counts.get(&name).copied().unwrap_or_default() + 1;
        format!("{name}.{count}")
    }

    fn now(&self) -> std::time::Instant {
        crate::runtime::clock::Clock::Simulated(self.clock.clone()).now()
    }

    /// Whether so many checks that changed something are too many.
    pub fn is_enough(&self, changing: u8) -> bool {
        changing <= self.scene.enough
    }

    /// Checks since the last interference that changed something: the most of any resource.
    pub fn changing(&self) -> u8 {
        self.changing.iter().copied().max().unwrap_or_default()
    }

    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub fn violate(&mut self, found: Violation) {
        self.violation.get_or_insert(found);
    }

    fn note(&mut self, sentence: impl FnOnce(&Run) -> String) {
        if self.story.is_some() {
            let noted = sentence(self);
            self.story.as_mut().into_iter().for_each(|story| story.push(noted.clone()));
        }
    }
}
