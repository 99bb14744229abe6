//! The controller on a simulated AWS and API server: no process, no socket, no clock of the machine.

mod announcements;
mod canary;
mod deletion;
mod denied_reads;
mod events;
mod failed_steps;
mod memory;
mod old_answers;
mod reconcile;
mod restart;
mod safety;
mod sweep;
mod tenancy;
mod unreached_accounts;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::controllers::settings::Settings;
use crate::replication::VersioningStatus;
use crate::runtime::clock::SimulatedClock;
use crate::simulation::{
    ApiServer, Call, Choice, Hook, ObjectName, SimulatedCloud, SimulatedCluster, SimulatedOperator,
    SimulatedRole, World,
};

const HERE: &str = "111122223333";
const THERE: &str = "444455556666";
const NAME: &str = "orders";

type Reaction = Box<dyn FnOnce(&SimulatedCloud, &SimulatedCluster) -> Choice + Send>;

/// The fate of the next call that matches.
struct Trap {
    at: Box<dyn Fn(&Call) -> bool + Send>,
    reaction: Reaction,
}

#[derive(Default)]
struct Script {
    traps: Vec<Trap>,
    calls: Vec<Call>,
}

/// A resource, its buckets, and an operator.
struct Scene {
    cloud: SimulatedCloud,
    cluster: SimulatedCluster,
    clock: SimulatedClock,
    script: Arc<Mutex<Script>>,
    operator: SimulatedOperator,
}

/// The spec of a resource from `orders` to `copies`.
fn spec() -> Value {
    json!({
        "source": {"bucket": "orders"},
        "role": {"name": "orders-role"},
        "rules": [{"id": "all", "destination": {"bucket": "copies"}}],
    })
}

/// An `AwsAccount` for the resources of a namespace, into these destinations.
fn account_for(destinations: &[&str]) -> Value {
    json!({
        "accountId": HERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{HERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "sources": ["orders"],
        "destinations": destinations,
        "roles": {"allow": ["orders-role"]},
    })
}

impl Scene {
    /// Two unversioned buckets of one account, and no object.
    fn new() -> Scene {
        Scene::with_settings(|_| {})
    }

    fn with_settings(edit: impl FnOnce(&mut Settings)) -> Scene {
        let mut world = World::new(HERE);
        world.trusting_accounts = vec![HERE.to_owned(), THERE.to_owned()];
        world.create_bucket("orders", "us-east-1", HERE);
        world.create_bucket("copies", "eu-west-1", HERE);
        let (cloud, clock) = (SimulatedCloud::new(world), SimulatedClock::new());
        let mut server = ApiServer::default();
        server.namespaces.insert("data".to_owned(), Default::default());
        let cluster = SimulatedCluster::new(server);
        let script: Arc<Mutex<Script>> = Arc::default();
        let operator = SimulatedOperator::start(
            &cloud,
            &cluster,
            &clock,
            scripted_hook(&script, &cloud, &cluster),
            edit,
        );
        Scene { cloud, cluster, clock, script, operator }
    }

    /// A scene whose resource was applied.
    fn ready() -> Scene {
        let mut scene = Scene::new();
        scene.apply(spec());
        scene.check();
        assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
        scene
    }

    /// A scene whose resource was applied so long ago that AWS no longer answers from before that.
    fn settled() -> Scene {
        let mut scene = Scene::ready();
        scene.wait_a_minute();
        scene
    }

    /// AWS answers everywhere with what was written.
    fn wait_a_minute(&mut self) {
        self.clock.advance(Duration::from_secs(60));
        self.check();
    }

    fn resource() -> ObjectName {
        ObjectName::replication("data", NAME)
    }

    /// Creates or changes the resource.
    fn apply(&self, spec: Value) {
        self.apply_as(NAME, spec);
    }

    fn apply_as(&self, name: &str, spec: Value) {
        let name = ObjectName::replication("data", name);
        let second = i64::try_from(self.clock.elapsed().as_secs()).unwrap();
        self.cluster.with(|server| match server.objects.contains_key(&name) {
            true => server.edit(&name, |object| object["spec"] = spec),
            false => server.create(&name, spec, second),
        });
    }

    fn account(&self, name: &str, spec: Value) {
        let name = ObjectName::account(name);
        self.cluster.with(|server| match server.objects.contains_key(&name) {
            true => server.edit(&name, |object| object["spec"] = spec),
            false => server.create(&name, spec, 0),
        });
    }

    fn annotate(&self, requested: &str) {
        self.cluster.with(|server| {
            server.edit(&Scene::resource(), |object| {
                object["metadata"]["annotations"]["s3replication.dev/requestedAt"] = json!(requested);
            });
        });
    }

    fn delete(&self) {
        self.cluster.with(|server| server.delete(&Scene::resource()));
    }

    /// Something happens at the next call that matches, before it is answered.
    fn at(
        &self,
        matches: impl Fn(&Call) -> bool + Send + 'static,
        reaction: impl FnOnce(&SimulatedCloud, &SimulatedCluster) -> Choice + Send + 'static,
    ) {
        self.script.lock().traps.push(Trap { at: Box::new(matches), reaction: Box::new(reaction) });
    }

    /// The watch catches up, and the resource is reconciled. Returns when it is to be again; `None` when the process
    /// died.
    fn check(&mut self) -> Option<Option<Duration>> {
        self.check_of(NAME)
    }

    fn check_of(&mut self, name: &str) -> Option<Option<Duration>> {
        self.operator.sync(&self.cluster.server());
        self.check_stale(name)
    }

    /// Reconciles a resource as the cache holds it.
    fn check_stale(&mut self, name: &str) -> Option<Option<Duration>> {
        self.script.lock().calls.clear();
        let result = self.operator.reconcile_now("data", name)?;
        self.operator.sync(&self.cluster.server());
        Some(result.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Time passes, and the resource is reconciled because of that alone. Returns when it is to be again.
    fn wait(&mut self, pause: Duration) -> Option<Duration> {
        self.clock.advance(pause);
        self.script.lock().calls.clear();
        let result = self.operator.reconcile_in_time("data", NAME).expect("the process died");
        self.operator.sync(&self.cluster.server());
        result.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The process ends and another one starts.
    fn restart(&mut self) {
        self.restart_with(|_| {});
    }

    /// Another process that stands by: it knows what the watch has brought by now, and no more. Leading, it is the
    /// operator.
    fn standby(&self) -> SimulatedOperator {
        let hook = scripted_hook(&self.script, &self.cloud, &self.cluster);
        let standby = SimulatedOperator::start(&self.cloud, &self.cluster, &self.clock, hook, |_| {});
        standby.sync(&self.cluster.server());
        standby
    }

    /// The process ends and one with other flags starts.
    fn restart_with(&mut self, edit: impl FnOnce(&mut Settings)) {
        let hook = scripted_hook(&self.script, &self.cloud, &self.cluster);
        self.operator = SimulatedOperator::start(&self.cloud, &self.cluster, &self.clock, hook, edit);
    }

    fn world(&self) -> World {
        self.cloud.world()
    }

    fn role(&self) -> Option<SimulatedRole> {
        self.world().role(HERE, "orders-role").cloned()
    }

    fn object(&self) -> Option<Value> {
        self.object_of(NAME)
    }

    fn object_of(&self, name: &str) -> Option<Value> {
        self.cluster.server().objects.get(&ObjectName::replication("data", name)).cloned()
    }

    fn status(&self) -> Value {
        self.object().unwrap_or_default()["status"].clone()
    }

    fn condition(&self, kind: &str) -> Value {
        condition(&self.status(), kind)
    }

    fn reason(&self) -> String {
        self.condition("Ready")["reason"].as_str().unwrap_or_default().to_owned()
    }

    fn message(&self) -> String {
        self.condition("Ready")["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The calls of the last reconcile.
    fn calls(&self) -> Vec<Call> {
        self.script.lock().calls.clone()
    }

    fn writes_to_aws(&self) -> Vec<String> {
        self.calls().iter().filter(|call| call.writes_to_aws()).map(ToString::to_string).collect()
    }
}

/// The user strips the finalizers of an object and deletes it.
fn strip_and_delete(server: &mut ApiServer, name: &ObjectName) {
    server.edit(name, |object| object["metadata"]["finalizers"] = Value::Null);
    server.delete(name);
}

fn condition(status: &Value, kind: &str) -> Value {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

/// Notes each call, and springs the first trap that matches it.
fn scripted_hook(script: &Arc<Mutex<Script>>, cloud: &SimulatedCloud, cluster: &SimulatedCluster) -> Hook {
    let (script, cloud, cluster) = (script.clone(), cloud.clone(), cluster.clone());
    Arc::new(move |call| {
        let trap = {
            let mut script = script.lock();
            script.calls.push(call.clone());
            let sprung = script.traps.iter().position(|trap| (trap.at)(&call));
            sprung.map(|index| script.traps.remove(index))
        };
        let choice = trap.map_or(Choice::Answer, |trap| (trap.reaction)(&cloud, &cluster));
        Box::pin(std::future::ready(choice))
    })
}

/// A write of AWS by the IAM action it needs.
fn writes(action: &'static str) -> impl Fn(&Call) -> bool {
    move |call| matches!(call, Call::Execute(step) if step.action() == action)
}
