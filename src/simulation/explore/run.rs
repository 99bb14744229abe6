//! One run of the controllers: from a scene's beginning, decision by decision, to a state that no check changes.
//!
//! In: a scene, and what happens at which decision point. Out: each state on the way, and the first property that
//! does not hold. At a decision point a call on a port is about to be made, or no check runs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::{Future, poll_fn};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use crate::api::BucketReplication;
use crate::iam::bucket_policy;
use crate::replication::{FailureClass, Step};
use crate::runtime::Error;
use crate::runtime::action::Action as Next;
use crate::runtime::clock::SimulatedClock;
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::cloud::SimulatedCloud;
use crate::simulation::cluster::SimulatedCluster;
use crate::simulation::explore::action::{Action, BUDGETS, Budget};
use crate::simulation::explore::properties::{
    Property, Violation, adopts, canary_left, forbidden, forbids_canaries, has_sid, is_owned,
    leaves_aws_alone, statements, uncovered, violated,
};
use crate::simulation::explore::scene::{Deed, Scene};
use crate::simulation::hook::{Call, Choice, Hook};
use crate::simulation::operator::Operator;
use crate::simulation::world::World;

const NAMESPACE: &str = "data";

/// The longest pause between two checks: the interval.
const INTERVAL: Duration = Duration::from_secs(601);

/// A shorter pause than this is one after which something may be over.
const SOON: Duration = Duration::from_secs(590);

/// How long the watch takes to bring a change.
const WATCH: Duration = Duration::from_secs(1);

/// The most checks from any state to one that no check changes.
pub const ENOUGH: u8 = 4;

/// A call that waits for its answer.
struct Waiting {
    check: usize,
    call: Call,
    slot: Arc<Mutex<Option<Choice>>>,
}

/// The calls that the hooks of all operators bring.
#[derive(Default)]
struct Wire {
    /// The check that is polled.
    polled: usize,
    waiting: Vec<Waiting>,
}

type Reconcile = Pin<Box<dyn Future<Output = Result<Next, Error>> + Send>>;

struct Process {
    operator: Arc<Operator>,
    leads: Arc<AtomicBool>,
    /// The API server's state that the watches brought last, as a hash.
    cache: u64,
}

/// A check that is under way.
struct Check {
    number: usize,
    process: usize,
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

/// What the properties need to know of a check.
struct Facts {
    object: BucketReplication,
    uid: String,
    sid: String,
    deletes: bool,
    /// What the API server answered last: whether the object is there and not being deleted.
    live: Option<(bool, bool)>,
    /// The last answers to reads of bucket policies.
    policies: BTreeMap<String, Option<Value>>,
    /// AWS as it was when it was last read.
    seen: Option<World>,
    /// Buckets whose policy was allowed to be written when it was read.
    permitted: BTreeSet<String>,
    wrote: bool,
    /// Someone changed AWS since it was last read: what the check breaks then it cannot know.
    disturbed: bool,
}

/// Who wrote the replication configuration of a bucket last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Someone,
    Resource(String),
}

/// What only the exploration knows.
#[derive(Clone, Default, Hash)]
struct Ghost {
    writers: BTreeMap<String, Writer>,
    /// The UIDs of resources that ever wrote a configuration.
    applied: BTreeSet<String>,
    accounts_seen: bool,
    /// A user stripped the finalizer: what is left in AWS is theirs.
    stripped: bool,
    /// Someone changed AWS or an account so that a refusal may stay.
    hindered: bool,
    /// The last spec of each resource, by name.
    left_by_word: BTreeSet<String>,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
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
    /// Resources whose last check changed nothing, or that wait for a change.
    settled: Vec<bool>,
    /// How many checks in a row changed nothing.
    unchanged: Vec<u8>,
    /// Checks that changed something since the last interference.
    changing: Vec<u8>,
    /// Whether the API server changed since the last check began.
    woken: bool,
    /// The new leader's cache is as it was when it did not lead.
    lags: bool,
    counts: BTreeMap<String, u32>,
    left: BTreeMap<Budget, u8>,
    ghost: Ghost,
    hashes: (u64, u64),
    before_last_write: u64,
    objects: Vec<Option<BucketReplication>>,
    violation: Option<Violation>,
    /// The trace so far, in sentences, if it is recorded.
    pub story: Option<Vec<String>>,
    pub transitions: u64,
    pub closing: bool,
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn hook(wire: &Arc<Mutex<Wire>>) -> Hook {
    let wire = wire.clone();
    Arc::new(move |call| {
        // An event is a courtesy: nothing depends on it.
        if call == Call::PublishEvent {
            return Box::pin(std::future::ready(Choice::Answer));
        }
        let slot: Arc<Mutex<Option<Choice>>> = Arc::default();
        let mut wire = wire.lock();
        let check = wire.polled;
        wire.waiting.push(Waiting { check, call, slot: slot.clone() });
        Box::pin(poll_fn(move |_| slot.lock().take().map_or(Poll::Pending, Poll::Ready)))
    })
}

/// The objects as text, without versions and times.
fn text(server: &ApiServer) -> String {
    let mut objects: Vec<Value> = server.objects.values().cloned().collect();
    for object in &mut objects {
        object["metadata"]["resourceVersion"].take();
        let conditions = object["status"]["conditions"].as_array_mut();
        conditions.into_iter().flatten().for_each(|condition| {
            condition["lastTransitionTime"].take();
        });
        if let Some(correction) = object.pointer_mut("/status/lastCorrection/time") {
            correction.take();
        }
    }
    serde_json::json!([objects, server.namespaces]).to_string()
}

impl Run {
    pub fn new(scene: &'static Scene) -> Run {
        // The pauses between tries vary by chance.
        fastrand::seed(7);
        let (world, server) = (scene.begin)();
        let accounts_seen = server.objects.keys().any(|name| name.kind == "AwsAccount");
        let writers = world.buckets.iter().filter(|(_, bucket)| bucket.configuration.is_some());
        let writers = writers.map(|(name, _)| (name.clone(), Writer::Someone)).collect();
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
            settled: vec![false; scene.resources.len()],
            unchanged: vec![0; scene.resources.len()],
            changing: vec![0; scene.resources.len()],
            woken: true,
            lags: false,
            counts: BTreeMap::new(),
            left: BUDGETS.into(),
            ghost: Ghost { writers, accounts_seen, hindered: scene.name == "foreign", ..Ghost::default() },
            hashes: (0, 0),
            before_last_write: 0,
            objects: Vec::new(),
            violation: None,
            story: None,
            transitions: 0,
            closing: false,
        };
        run.refresh();
        run.before_last_write = run.hashes.0;
        for leads in if scene.standby { vec![true, false] } else { vec![true] } {
            let process = run.start(leads);
            run.processes.push(process);
        }
        run
    }

    fn start(&self, leads: bool) -> Process {
        let leads = Arc::new(AtomicBool::new(leads));
        let may_begin = {
            let leads = leads.clone();
            Box::new(move || leads.load(Ordering::Relaxed))
        };
        let (cloud, cluster, clock) = (&self.cloud, &self.cluster, &self.clock);
        let operator = Operator::start_under(cloud, cluster, clock, hook(&self.wire), may_begin, |_| {});
        let mut process = Process { operator: Arc::new(operator), leads, cache: 0 };
        self.sync(&mut process);
        process
    }

    fn sync(&self, process: &mut Process) {
        self.cluster.with(|server| process.operator.sync(server));
        process.cache = self.hashes.1;
    }

    fn sync_all(&mut self) {
        let mut processes = std::mem::take(&mut self.processes);
        processes.iter_mut().for_each(|process| self.sync(process));
        self.processes = processes;
    }

    /// Works out again what depends on AWS and Kubernetes.
    fn refresh(&mut self) {
        let world = hash(self.cloud.with(|world| world.canonical()));
        let server = hash(self.cluster.with(|server| text(server)));
        if self.hashes.1 != server {
            self.objects = self.cluster.with(|server| {
                let resources = self.scene.resources.iter();
                let objects =
                    resources.map(|name| server.objects.get(&ObjectName::replication(NAMESPACE, name)));
                objects.map(|object| serde_json::from_value(object?.clone()).ok()).collect()
            });
            for (name, object) in self.scene.resources.iter().zip(&self.objects) {
                match object {
                    Some(object) if leaves_aws_alone(object) => {
                        self.ghost.left_by_word.insert((*name).to_owned())
                    }
                    Some(_) => self.ghost.left_by_word.remove(*name),
                    None => false,
                };
            }
        }
        self.hashes = (world, server);
    }

    fn place(&self) -> Place {
        let wire = self.wire.lock();
        let of_active = wire.waiting.iter().position(|waiting| waiting.check == self.active);
        match of_active.or((!wire.waiting.is_empty()).then_some(0)) {
            Some(index) => Place::Call(index),
            None => Place::Idle,
        }
    }

    /// The name of a place without its count.
    fn name(&self, place: Place) -> String {
        match place {
            Place::Idle => "idle".to_owned(),
            Place::Call(index) => {
                let wire = self.wire.lock();
                let Some(waiting) = wire.waiting.get(index) else { return String::new() };
                let of = self.checks.iter().find(|check| check.number == waiting.check);
                let resource = of.and_then(|check| self.scene.resources.get(check.resource)).unwrap_or(&"");
                format!("{resource}/{}", call_name(&waiting.call))
            }
        }
    }

    /// The name of the decision point: what is about to happen, and for the how many-th time.
    pub fn point(&self) -> String {
        let name = self.name(self.place());
        let count = self.counts.get(&name).copied().unwrap_or_default() + 1;
        format!("{name}.{count}")
    }

    /// The state, as a hash: equal states go on in the same way.
    pub fn state(&self) -> u64 {
        let now = self.now();
        let mut hasher = DefaultHasher::new();
        self.hashes.hash(&mut hasher);
        if self.left.get(&Budget::StaleAnswers) != Some(&0) {
            self.before_last_write.hash(&mut hasher);
        }
        (
            &self.ghost,
            &self.left,
            &self.settled,
            &self.unchanged,
            self.woken,
            self.lags,
            self.leader,
            self.begun > 0,
        )
            .hash(&mut hasher);
        for process in &self.processes {
            (process.cache, process.leads.load(Ordering::Relaxed)).hash(&mut hasher);
            process.operator.fingerprint(now).hash(&mut hasher);
        }
        for check in &self.checks {
            (check.process, check.resource, check.history, check.number == self.active).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn now(&self) -> std::time::Instant {
        crate::runtime::clock::Clock::Simulated(self.clock.clone()).now()
    }

    /// Checks since the last interference that changed something: the most of any resource.
    pub fn changing(&self) -> u8 {
        self.changing.iter().copied().max().unwrap_or_default()
    }

    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn violate(&mut self, found: Violation) {
        self.violation.get_or_insert(found);
    }

    fn tell(&mut self, sentence: impl FnOnce(&Run) -> String) {
        if self.story.is_some() {
            let sentence = sentence(self);
            self.story.as_mut().into_iter().for_each(|story| story.push(sentence.clone()));
        }
    }

    /// What may happen here other than what happens when nobody interferes.
    pub fn alternatives(&self) -> Vec<Action> {
        let mut found = Vec::new();
        let place = self.place();
        let wire = self.wire.lock();
        let mut with_deeds = true;
        match place {
            Place::Call(index) => {
                let Some(waiting) = wire.waiting.get(index) else { return found };
                let call = &waiting.call;
                found.push(Action::Fail);
                if call.is_write() {
                    found.extend([Action::LoseAnswer, Action::DieAfter]);
                }
                let reads =
                    matches!(call, Call::Observe | Call::ObserveForDeletion | Call::ReadBucketPolicy(_));
                if reads && self.before_last_write != self.hashes.0 {
                    found.push(Action::AnswerStale);
                }
                let others = (0..wire.waiting.len()).filter(|other| *other != index);
                found.extend(others.map(Action::AnswerOther));
                with_deeds =
                    call.is_write() || reads || matches!(call, Call::Live | Call::NamespaceLabels(_));
            }
            Place::Idle => {
                if self.begun > 0 {
                    found.push(Action::Restart);
                    let known = |name: &&str| self.objects_in_cache(self.leader, name).is_some();
                    if self.scene.resources.iter().any(known) {
                        found.push(Action::CheckEarly);
                    }
                }
            }
        }
        drop(wire);
        if place != Place::Idle {
            let idle = |resource: &usize| {
                !self.checks.iter().any(|c| c.resource == *resource && c.process == self.leader)
            };
            let due = (0..self.scene.resources.len()).filter(idle);
            let due = due.filter(|resource| self.settled.get(*resource) == Some(&false));
            found.extend(due.map(Action::Switch));
        }
        if with_deeds {
            if self.scene.standby {
                found.push(Action::MoveLease);
            }
            found.extend(self.scene.deeds.iter().map(Action::Deed));
        }
        found.retain(|action| self.left.get(&action.budget()).is_some_and(|left| *left > 0));
        found
    }

    fn objects_in_cache(&self, process: usize, name: &str) -> Option<BucketReplication> {
        self.processes.get(process)?.operator.cached(NAMESPACE, name)
    }

    /// Does something other than what happens when nobody interferes; `false`: there is nothing to do it to.
    pub fn interfere(&mut self, action: Action) -> bool {
        if let Some(left) = self.left.get_mut(&action.budget()) {
            *left = left.saturating_sub(1);
        }
        self.transitions += 1;
        self.changing.fill(0);
        let place = self.place();
        match (action, place) {
            (Action::Deed(deed), _) => return self.act(deed),
            (Action::MoveLease, _) => self.move_lease(),
            (Action::Switch(resource), _) => return self.begin(resource, false),
            (Action::AnswerOther(index), Place::Call(_)) => self.answer(index, Choice::Answer, false),
            (Action::Fail, Place::Call(i)) => {
                self.answer(i, Choice::FailBefore(FailureClass::Unavailable), false)
            }
            (Action::LoseAnswer, Place::Call(i)) => self.answer(i, Choice::FailAfter, false),
            (Action::AnswerStale, Place::Call(i)) => self.answer(i, Choice::Answer, true),
            (Action::DieAfter, Place::Call(i)) => self.answer(i, Choice::DieAfter, false),
            (Action::Restart, Place::Idle) => self.restart(),
            (Action::CheckEarly, Place::Idle) => {
                let known = |index: &usize| {
                    let name = self.scene.resources.get(*index).unwrap_or(&"");
                    self.objects_in_cache(self.leader, name).is_some()
                };
                let Some(resource) = (0..self.scene.resources.len()).find(known) else { return false };
                self.unsettle();
                return self.begin(resource, true);
            }
            _ => return false,
        }
        true
    }

    fn act(&mut self, deed: &Deed) -> bool {
        let (mut world, mut server) = (self.cloud.world(), self.cluster.server());
        if !(deed.act)(&mut world, &mut server) {
            return false;
        }
        self.tell(|_| format!("{}.", deed.sentence));
        self.cloud.with(|held| *held = world);
        self.cluster.with(|held| *held = server);
        match deed.name {
            "replaces-configuration" => {
                self.ghost.writers.insert("orders".to_owned(), Writer::Someone);
            }
            "removes-configuration" => {
                self.ghost.writers.remove("orders");
            }
            "strips-finalizer" => self.ghost.stripped = true,
            _ => {}
        }
        let may_hinder =
            ["replaces-configuration", "retags-role", "names-other-account"].contains(&deed.name);
        self.ghost.hindered |= may_hinder || deed.budget == Budget::Administrators;
        let before = self.hashes;
        self.refresh();
        if before.0 != self.hashes.0 {
            self.checks.iter_mut().for_each(|check| check.facts.disturbed = true);
        }
        self.unsettle();
        if before.1 != self.hashes.1 || deed.budget == Budget::Administrators {
            self.woken = true;
            let mut processes = std::mem::take(&mut self.processes);
            for process in processes.iter_mut().filter(|p| p.leads.load(Ordering::Relaxed)) {
                self.sync(process);
            }
            self.processes = processes;
        }
        true
    }

    fn move_lease(&mut self) {
        self.tell(|_| "The lease moves to the other operator, whose cache lags.".to_owned());
        let old = self.leader;
        self.leader = 1 - old;
        self.lags = true;
        self.unsettle();
        for (index, process) in self.processes.iter().enumerate() {
            process.leads.store(index != old, Ordering::Relaxed);
        }
        if let Some(process) = self.processes.get(self.leader) {
            process.operator.begin_term();
        }
    }

    /// The process of the leader ends and another one starts.
    fn restart(&mut self) {
        self.tell(|_| "The operator dies, and starts again.".to_owned());
        self.replace(self.leader);
    }

    fn replace(&mut self, index: usize) {
        let gone: HashSet<usize> =
            self.checks.iter().filter(|check| check.process == index).map(|check| check.number).collect();
        self.checks.retain(|check| check.process != index);
        self.wire.lock().waiting.retain(|waiting| !gone.contains(&waiting.check));
        self.unsettle();
        let leads = self.processes.get(index).is_some_and(|p| p.leads.load(Ordering::Relaxed));
        let process = self.start(leads);
        if let Some(held) = self.processes.get_mut(index) {
            *held = process;
        }
    }

    /// Goes on as when nobody interferes; `false`: no check would change anything.
    pub fn go_on(&mut self) -> bool {
        self.transitions += 1;
        match self.place() {
            Place::Call(index) => self.answer(index, Choice::Answer, false),
            Place::Idle => {
                let Some(resource) = self.settled.iter().position(|settled| !settled) else { return false };
                self.count("idle".to_owned());
                self.begin(resource, false);
            }
        }
        true
    }

    /// Something changed that every resource has to be checked for.
    fn unsettle(&mut self) {
        self.settled.fill(false);
        self.unchanged.fill(0);
    }

    fn count(&mut self, name: String) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Begins a check of a resource by the leader. `early`: before the watch brought what the last check wrote.
    fn begin(&mut self, resource: usize, early: bool) -> bool {
        let leader = self.leader;
        let stale = early || std::mem::take(&mut self.lags);
        if !early {
            self.clock.advance(if self.woken { WATCH } else { INTERVAL });
        }
        if !stale {
            self.sync_all();
        }
        self.woken = false;
        let Some(name) = self.scene.resources.get(resource).copied() else { return false };
        let Some(object) = self.objects_in_cache(leader, name) else {
            if let Some(settled) = self.settled.get_mut(resource) {
                *settled = true;
            }
            return false;
        };
        let Some(process) = self.processes.get(leader) else { return false };
        let operator = process.operator.clone();
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let future = Box::pin(async move {
            match operator.reconcile(NAMESPACE, name) {
                Some(reconcile) => reconcile.await,
                None => Ok(Next::await_change()),
            }
        });
        let facts = Facts {
            sid: bucket_policy::sid(&[NAMESPACE, name, &object.spec.source.bucket]),
            deletes: object.metadata.deletion_timestamp.is_some(),
            object,
            uid,
            live: None,
            policies: BTreeMap::new(),
            seen: None,
            permitted: BTreeSet::new(),
            wrote: false,
            disturbed: false,
        };
        self.begun += 1;
        let number = self.begun;
        let fingerprint = process.operator.fingerprint(self.now());
        let history = hash((process.cache, fingerprint, leader, resource));
        let before = self.hashes;
        self.tell(|run| {
            let who = if run.scene.standby {
                format!("Operator {}", leader + 1)
            } else {
                "The operator".to_owned()
            };
            let how = if early { " at once, before the watch brings what it wrote" } else { "" };
            format!("{who} checks data/{name}{how}.")
        });
        self.checks.push(Check { number, process: leader, resource, future, history, before, stale, facts });
        self.active = number;
        self.poll(number);
        true
    }

    /// Polls a check, and those that wait for a lock it may have released.
    fn poll(&mut self, number: usize) {
        self.poll_one(number);
        let waiting: HashSet<usize> = self.wire.lock().waiting.iter().map(|waiting| waiting.check).collect();
        let blocked: Vec<usize> =
            self.checks.iter().map(|check| check.number).filter(|n| !waiting.contains(n)).collect();
        for other in blocked {
            self.poll_one(other);
        }
    }

    fn poll_one(&mut self, number: usize) {
        let Some(place) = self.checks.iter().position(|check| check.number == number) else { return };
        let held = {
            let mut wire = self.wire.lock();
            wire.polled = number;
            wire.waiting.len()
        };
        let Some(check) = self.checks.get_mut(place) else { return };
        let polled = check.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let issued: Vec<Call> = self.wire.lock().waiting.iter().skip(held).map(|w| w.call.clone()).collect();
        for call in issued {
            self.issued(place, &call);
        }
        if let Poll::Ready(result) = polled {
            let check = self.checks.remove(place);
            self.finished(&check, result);
        }
    }

    fn finished(&mut self, check: &Check, result: Result<Next, Error>) {
        self.refresh();
        let changed = check.before != self.hashes;
        let after = result.as_ref().ok().and_then(|next| next.after());
        let unchanged = self.unchanged.get(check.resource).copied().unwrap_or_default();
        let unchanged = if changed || check.stale { 0 } else { unchanged.saturating_add(1).min(2) };
        self.unchanged.iter_mut().skip(check.resource).take(1).for_each(|held| *held = unchanged);
        // A check that comes back soon waits for something that may be over then; the third would only repeat it.
        let soon = result.is_err() || after.is_some_and(|after| after < SOON);
        let waits = result.is_ok() && after.is_none() && !check.stale;
        if let Some(settled) = self.settled.get_mut(check.resource) {
            *settled = waits || unchanged > u8::from(soon);
        }
        if changed {
            // What one check wrote may concern another resource.
            let others = self.settled.iter_mut().enumerate().filter(|(index, _)| *index != check.resource);
            others.for_each(|(_, settled)| *settled = false);
            if let Some(count) = self.changing.get_mut(check.resource) {
                *count += 1;
            }
        }
        self.tell(|run| match &result {
            Err(error) => format!("The check ends: {error}."),
            Ok(_) => match run.reason(check.resource) {
                Some((reason, message)) => format!("The check ends: {reason} ({message})."),
                None => "The check ends: the object is gone.".to_owned(),
            },
        });
        if check.facts.wrote
            && !check.facts.deletes
            && result.is_ok()
            && let Some((reason, message)) = self.reason(check.resource)
            && ["ForeignRole", "ForeignConfiguration", "VersioningNotEnabled"].contains(&reason.as_str())
        {
            self.violate(violated(Property::Refusal, format!("the check wrote and then refused: {message}")));
        }
        if self.changing() > ENOUGH {
            self.violate(violated(Property::Convergence, "the fifth check in a row still changes something"));
        }
    }

    fn reason(&self, resource: usize) -> Option<(String, String)> {
        let object = self.objects.get(resource)?.as_ref()?;
        let conditions =
            object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        Some(ready.map_or_else(
            || ("unknown".to_owned(), "no condition yet".to_owned()),
            |ready| (ready.reason.clone(), ready.message.clone()),
        ))
    }

    /// Answers a call that waits.
    fn answer(&mut self, index: usize, choice: Choice, stale: bool) {
        let name = self.name(Place::Call(index));
        self.count(name.clone());
        let waiting = self.wire.lock().waiting.remove(index);
        let Some(place) = self.checks.iter().position(|check| check.number == waiting.check) else { return };
        let (number, call) = (waiting.check, waiting.call);
        self.active = number;
        let writes = call.is_write() && !matches!(choice, Choice::FailBefore(_));
        let before = writes.then(|| (self.cloud.world(), self.cluster.server()));
        if stale {
            self.cloud.answer_stale();
        }
        self.tell(|_| sentence(&call, choice, stale));
        if let Some(check) = self.checks.get_mut(place) {
            note_answer(check, &call, choice, &self.cluster, &self.cloud, stale);
        }
        *waiting.slot.lock() = Some(choice);
        let process = self.checks.get(place).map(|check| check.process).unwrap_or_default();
        let facts = self.checks.get(place).map(|check| (check.facts.uid.clone(), check.facts.sid.clone()));
        let object = self.checks.get(place).map(|check| check.facts.object.clone());
        let seen = self.checks.get(place).and_then(|check| check.facts.seen.clone());
        let disturbed = self.checks.get(place).is_some_and(|check| check.facts.disturbed);
        let read = match &call {
            Call::WriteBucketPolicy(bucket) => {
                self.checks.get(place).and_then(|check| check.facts.policies.get(&bucket.name).cloned())
            }
            _ => None,
        };
        let old = self.hashes.0;
        self.poll(number);
        self.refresh();
        let hashes = self.hashes;
        if let Some(check) = self.checks.iter_mut().find(|check| check.number == number) {
            check.history = hash((check.history, &name, format!("{choice:?}"), stale, hashes));
        }
        if let (Some((world, server)), Some((uid, sid)), Some(object)) = (before, facts, object) {
            if hashes.0 != old {
                self.before_last_write = old;
            }
            let now = self.cloud.world();
            let check = self.checks.iter_mut().find(|check| check.number == number);
            if let Some(seen) = check.and_then(|check| check.facts.seen.as_mut()) {
                // What the check makes itself, it knows.
                let made = now.roles.into_iter().filter(|(key, _)| !world.roles.contains_key(key));
                seen.roles.extend(made);
            }
            let actor = Actor { uid: &uid, sid: &sid, object: &object, seen: seen.as_ref(), disturbed };
            let found = self.wrote(&world, &server, &actor, &call, read.as_ref());
            found.into_iter().for_each(|violation| self.violate(violation));
        }
        if choice == Choice::DieAfter {
            self.replace(process);
        }
    }

    /// A call was issued: whether it may be made at this moment.
    fn issued(&mut self, place: usize, call: &Call) {
        let Some(check) = self.checks.get(place) else { return };
        let facts = &check.facts;
        let seen = self.ghost.accounts_seen;
        let refused = || self.cluster.with(|server| forbidden(server, &facts.object, seen));
        if let Call::ReadBucketPolicy(bucket) = call {
            if facts.deletes || facts.permitted.contains(&bucket.name) || refused().is_none() {
                let name = bucket.name.clone();
                self.checks.get_mut(place).into_iter().for_each(|check| {
                    check.facts.permitted.insert(name.clone());
                });
            }
            return;
        }
        if !call.writes_to_aws() {
            return;
        }
        let resource = self.scene.resources.get(check.resource).copied().unwrap_or_default();
        let unfinished = || match call {
            Call::DeleteVersion(object) => self.cloud.with(|world| world.is_pending(object)),
            _ => false,
        };
        let mut found = Vec::new();
        if !facts.deletes && unfinished() {
            found.push(violated(
                Property::CanaryEnd,
                format!("the operator wants to {call}, which is pending"),
            ));
        }
        let now = self.objects.get(check.resource).and_then(Option::as_ref);
        let exists = now.is_some_and(|object| object.metadata.uid.as_deref() == Some(&facts.uid));
        let deleting = now.is_some_and(|object| object.metadata.deletion_timestamp.is_some());
        let (there, going) = facts.live.unwrap_or((exists, deleting));
        // A canary may go at any time.
        let tidies = matches!(call, Call::DeleteVersion(_));
        if !tidies && (!there || (going && !facts.deletes)) {
            let detail =
                format!("the operator wants to {call} for data/{resource}, which is gone or being deleted");
            found.push(violated(Property::Existence, detail));
        }
        let spec = &facts.object.spec;
        let observes = leaves_aws_alone(&facts.object)
            && (facts.deletes || spec.management_policy == crate::api::ManagementPolicy::Observe);
        if observes || (spec.suspend && !facts.deletes) {
            let detail =
                format!("the operator wants to {call} for data/{resource}, which may only be observed");
            found.push(violated(Property::Observation, detail));
        }
        let begun = matches!(call, Call::WriteBucketPolicy(bucket) if facts.permitted.contains(&bucket.name));
        if !facts.deletes
            && !begun
            && let Some(why) = refused()
        {
            let property =
                if why.contains("does not exist") { Property::Widening } else { Property::Permission };
            found.push(violated(property, format!("the operator wants to {call} although {why}")));
        }
        if matches!(call, Call::PutCanary(_))
            && let Some(why) = self.cluster.with(|server| forbids_canaries(server, &facts.object))
        {
            found
                .push(violated(Property::Permission, format!("the operator wants to {call} although {why}")));
        }
        let leads = self.processes.get(check.process).is_some_and(|p| p.leads.load(Ordering::Relaxed));
        if !leads && !matches!(call, Call::WriteBucketPolicy(_)) {
            found.push(violated(Property::Lease, format!("the former leader wants to {call}")));
        }
        found.into_iter().for_each(|violation| self.violate(violation));
        if let Some(check) = self.checks.get_mut(place) {
            check.facts.wrote = true;
        }
    }

    /// A write took effect: what it may not have changed.
    fn wrote(
        &mut self,
        world: &World,
        server: &ApiServer,
        actor: &Actor<'_>,
        call: &Call,
        read: Option<&Option<Value>>,
    ) -> Vec<Violation> {
        let mut found = Vec::new();
        let after = self.cloud.world();
        for (key, role) in &world.roles {
            let now = after.roles.get(key);
            let same = now.is_some_and(|now| {
                (&now.tags, &now.policy, &now.trust) == (&role.tags, &role.policy, &role.trust)
            });
            let seen = actor.seen.and_then(|seen| seen.roles.get(key));
            let was_owned = seen.is_some_and(|seen| is_owned(seen, actor.uid));
            if !is_owned(role, actor.uid) && !was_owned && !adopts(actor.object) && !same {
                let detail = format!("role {} was not made by this resource, and is changed", role.name);
                found.push(violated(Property::Foreign, detail));
            }
            let theirs = role.tags.iter().filter(|(tag, _)| !tag.starts_with("s3replication.dev/"));
            if let Some(now) = now
                && let Some((tag, _)) =
                    theirs.into_iter().find(|(tag, value)| now.tags.get(*tag) != Some(*value))
            {
                found
                    .push(violated(Property::Others, format!("the tag {tag} of role {} is lost", role.name)));
            }
        }
        for (name, bucket) in &world.buckets {
            let Some(now) = after.buckets.get(name) else { continue };
            if now.configuration != bucket.configuration {
                let theirs = self.ghost.writers.get(name) == Some(&Writer::Someone);
                let seen = actor.seen.and_then(|seen| seen.buckets.get(name));
                let known = seen.is_none_or(|seen| seen.configuration == bucket.configuration);
                if theirs && known && !self.ghost.applied.contains(actor.uid) && !adopts(actor.object) {
                    let detail = format!(
                        "the configuration of bucket {name} was someone's, and is replaced or deleted"
                    );
                    found.push(violated(Property::Foreign, detail));
                }
                match now.configuration {
                    Some(_) => {
                        self.ghost.writers.insert(name.clone(), Writer::Resource(actor.uid.to_owned()));
                        self.ghost.applied.insert(actor.uid.to_owned());
                    }
                    None => drop(self.ghost.writers.remove(name)),
                }
            }
            if now.policy != bucket.policy {
                found.extend(self.policy_changed(
                    name,
                    actor,
                    bucket.policy.as_ref(),
                    now.policy.as_ref(),
                    read,
                ));
            }
            if !actor.disturbed
                && uncovered(world, name).is_none()
                && let Some(why) = uncovered(&after, name)
            {
                found.push(violated(
                    Property::Coverage,
                    format!("after the operator's write ({call}), {why}"),
                ));
            }
        }
        let finalizers = |server: &ApiServer| -> BTreeMap<ObjectName, Vec<Value>> {
            let of =
                |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            server.objects.iter().map(|(name, object)| (name.clone(), of(object))).collect()
        };
        let now = self.cluster.with(|server| finalizers(server));
        for (name, held) in finalizers(server) {
            let lost = held
                .iter()
                .find(|f| **f != crate::api::FINALIZER && !now.get(&name).is_some_and(|n| n.contains(f)));
            if let Some(lost) = lost {
                found.push(violated(
                    Property::Others,
                    format!("the finalizer {lost} of {} is lost", name.name),
                ));
            }
        }
        found
    }

    fn policy_changed(
        &self,
        bucket: &str,
        actor: &Actor<'_>,
        before: Option<&Value>,
        after: Option<&Value>,
        read: Option<&Option<Value>>,
    ) -> Option<Violation> {
        let now = statements(after);
        let known = read.map(|read| statements(read.as_ref()));
        let ours =
            |statement: &Value| statement["Sid"].as_str().is_some_and(|sid| sid.starts_with("S3Replication"));
        let theirs = statements(before).into_iter().filter(|statement| !has_sid(statement, actor.sid));
        for statement in theirs.filter(|statement| !now.contains(statement)) {
            // What someone wrote between the read and the write cannot be known; what this operator wrote can be.
            if ours(&statement) || known.as_ref().is_none_or(|known| known.contains(&statement)) {
                let detail =
                    format!("the statement {} in the policy of bucket {bucket} is lost", statement["Sid"]);
                return Some(violated(Property::Others, detail));
            }
        }
        let twice = now.iter().filter(|statement| has_sid(statement, actor.sid)).count();
        (twice > 2).then(|| {
            let detail = format!("the policy of bucket {bucket} holds {twice} statements of one resource");
            violated(Property::Once, detail)
        })
    }

    /// No check changes anything any more: what must be true then.
    pub fn settled(&mut self) {
        for (index, name) in self.scene.resources.iter().enumerate() {
            if let Some(violation) = self.settled_as(index, name) {
                self.violate(violation);
            }
        }
    }

    fn settled_as(&self, index: usize, name: &str) -> Option<Violation> {
        if let Some(violation) = self.canary_remains(index, name) {
            return Some(violation);
        }
        let Some(object) = self.objects.get(index).and_then(Option::as_ref) else {
            let abandoned = self.ghost.stripped || self.ghost.left_by_word.contains(name);
            return if abandoned { None } else { self.remains(index, name) };
        };
        let (reason, message) = self.reason(index)?;
        if object.metadata.deletion_timestamp.is_some() {
            let others = object.metadata.finalizers.iter().flatten().any(|f| f != crate::api::FINALIZER);
            let ours = object.metadata.finalizers.iter().flatten().any(|f| f == crate::api::FINALIZER);
            if others && !ours {
                return None;
            }
            let gone = self.cluster.with(|s| !s.objects.contains_key(&ObjectName::account("default")));
            let waits_for_account = self.ghost.accounts_seen && gone;
            return (!waits_for_account).then(|| {
                violated(Property::Remembering, format!("data/{name} stays: {reason} ({message})"))
            });
        }
        if object.spec.suspend || self.ghost.stripped {
            return None;
        }
        if reason == "Applied" {
            let source = &object.spec.source.bucket;
            let world = self.cloud.world();
            let configured = world.buckets.get(source).is_some_and(|bucket| bucket.configuration.is_some());
            let why = match configured {
                false => Some(format!("bucket {source} has no configuration")),
                true => uncovered(&world, source),
            };
            return why.map(|why| violated(Property::Truth, format!("data/{name} is Ready, and {why}")));
        }
        if object.spec.management_policy == crate::api::ManagementPolicy::Observe {
            return None;
        }
        let refusals =
            ["ForeignRole", "ForeignConfiguration", "NotAllowed", "AccountNotFound", "AccessDenied"];
        (!(self.ghost.hindered && refusals.contains(&reason.as_str())))
            .then(|| violated(Property::Convergence, format!("data/{name} stays {reason} ({message})")))
    }

    /// What is left of canaries, where the operator was allowed to delete them.
    fn canary_remains(&self, index: usize, name: &str) -> Option<Violation> {
        let forbidden = match self.objects.get(index).and_then(Option::as_ref) {
            Some(object) => {
                let observed = object.spec.management_policy == crate::api::ManagementPolicy::Observe;
                let refused = self.reason(index).is_some_and(|(reason, _)| reason != "Applied");
                observed || object.spec.suspend || refused
            }
            None => self.ghost.stripped || self.ghost.left_by_word.contains(name),
        };
        let uid = format!("uid-{}", self.first_uid() + index);
        let left = canary_left(&self.cloud.world(), &uid).filter(|_| !forbidden)?;
        Some(violated(Property::Canary, format!("{left} is left of data/{name}")))
    }

    /// What is left in AWS of a resource that is gone.
    fn remains(&self, index: usize, name: &str) -> Option<Violation> {
        let uid = format!("uid-{}", self.first_uid() + index);
        let world = self.cloud.world();
        let left = |what: String| {
            Some(violated(Property::Remembering, format!("data/{name} is gone, and {what} is left")))
        };
        if let Some(role) = world.roles.values().find(|role| is_owned(role, &uid)) {
            return left(format!("its role {}", role.name));
        }
        let wrote = |(_, writer): &(&String, &Writer)| **writer == Writer::Resource(uid.clone());
        if let Some((bucket, _)) = self.ghost.writers.iter().find(wrote) {
            return left(format!("its configuration of bucket {bucket}"));
        }
        let sid = bucket_policy::sid(&[NAMESPACE, name, name]);
        let holds = |bucket: &crate::simulation::world::Bucket| {
            statements(bucket.policy.as_ref()).iter().any(|statement| has_sid(statement, &sid))
        };
        let bucket = world.buckets.iter().find(|(_, bucket)| holds(bucket));
        bucket.and_then(|(bucket, _)| left(format!("a statement of it in the policy of bucket {bucket}")))
    }

    /// The number of the first resource's UID: accounts are created before.
    fn first_uid(&self) -> usize {
        let (_, server) = (self.scene.begin)();
        let first = self.scene.resources.first().copied().unwrap_or_default();
        let object = server.objects.get(&ObjectName::replication(NAMESPACE, first));
        let uid = object.and_then(|object| object["metadata"]["uid"].as_str()).unwrap_or_default();
        uid.strip_prefix("uid-").and_then(|number| number.parse().ok()).unwrap_or_default()
    }

    /// At the end of every trace the resources are deleted: nothing may be left. `false`: all are gone already.
    pub fn close(&mut self) -> bool {
        self.closing = true;
        let resources = self.objects.iter().zip(self.scene.resources);
        let there: Vec<&str> =
            resources.filter(|(object, _)| object.is_some()).map(|(_, name)| *name).collect();
        if there.is_empty() {
            return false;
        }
        for name in there {
            self.tell(|_| format!("The user deletes data/{name}."));
            self.cluster.with(|server| server.delete(&ObjectName::replication(NAMESPACE, name)));
        }
        self.refresh();
        self.woken = true;
        self.unsettle();
        self.changing.fill(0);
        true
    }
}

/// The resource for which something is written.
struct Actor<'a> {
    uid: &'a str,
    sid: &'a str,
    object: &'a BucketReplication,
    /// AWS as the check read it: nobody can know what someone made since then.
    seen: Option<&'a World>,
    disturbed: bool,
}

/// What a check learns from an answer.
fn note_answer(
    check: &mut Check,
    call: &Call,
    choice: Choice,
    cluster: &SimulatedCluster,
    cloud: &SimulatedCloud,
    stale: bool,
) {
    if choice != Choice::Answer {
        return;
    }
    match call {
        Call::Live => {
            let facts = &mut check.facts;
            let name =
                ObjectName::replication(NAMESPACE, facts.object.metadata.name.as_deref().unwrap_or_default());
            let object = cluster.with(|server| server.objects.get(&name).cloned());
            let object = object.filter(|object| object["metadata"]["uid"] == facts.uid.as_str());
            let deleting = object.as_ref().is_some_and(|o| !o["metadata"]["deletionTimestamp"].is_null());
            facts.live = Some((object.is_some(), deleting));
            if facts.deletes
                && let Some(Ok(object)) = object.map(serde_json::from_value)
            {
                facts.object = object;
            }
        }
        Call::Observe | Call::ObserveForDeletion => {
            check.facts.seen = Some(cloud.world());
            check.facts.disturbed = false;
        }
        Call::ReadBucketPolicy(bucket) if !stale => {
            let held = cloud.with(|world| world.buckets.get(&bucket.name).and_then(|b| b.policy.clone()));
            check.facts.policies.insert(bucket.name.clone(), held);
        }
        Call::ReadBucketPolicy(bucket) => {
            // What a stale answer holds is all that the operator can keep.
            check.facts.policies.insert(bucket.name.clone(), None);
        }
        _ => {}
    }
}

/// The name of a call in a replay.
fn call_name(call: &Call) -> String {
    match call {
        Call::Execute(step) => format!("{}({})", step_name(step), step.subject()),
        Call::ReadBucketPolicy(bucket) => format!("ReadBucketPolicy({})", bucket.name),
        Call::WriteBucketPolicy(bucket) => format!("WriteBucketPolicy({})", bucket.name),
        Call::PutCanary(object) => format!("PutCanary({})", object.bucket.name),
        Call::DeleteVersion(object) => format!("DeleteVersion({})", object.bucket.name),
        Call::ReadReplicationStatus(object) => format!("ReadReplicationStatus({})", object.bucket.name),
        Call::ListVersions(bucket) => format!("ListVersions({})", bucket.name),
        other => {
            let name = format!("{other:?}");
            name.split('(').next().unwrap_or_default().to_owned()
        }
    }
}

fn step_name(step: &Step) -> String {
    let name = format!("{step:?}");
    name.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

/// What becomes of a call, as a sentence; empty for a read that is answered.
fn sentence(call: &Call, choice: Choice, stale: bool) -> String {
    match choice {
        Choice::Answer if stale => {
            format!("The operator asks to {call}, and AWS answers from before the last write.")
        }
        Choice::Answer if call.writes_to_aws() || call.is_write() => {
            format!("The operator asks to {call}, which is done.")
        }
        Choice::Answer => String::new(),
        Choice::FailBefore(_) => format!("The operator asks to {call}, which fails without effect."),
        Choice::FailAfter => format!("The operator asks to {call}, which is done, and the answer is lost."),
        Choice::DieBefore => format!("The operator dies before it asks to {call}, and starts again."),
        Choice::DieAfter => format!(
            "The operator asks to {call}, which is done; it dies before the answer, and starts again."
        ),
    }
}
