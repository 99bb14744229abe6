//! The controller on a simulated AWS and API server. The scenes of `simulation/explore/backfills.rs` explore the
//! failures at each call.

mod deletion;
mod permission;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::controllers::settings::Settings;
use crate::replication::Step;
use crate::runtime::clock::SimulatedClock;
use crate::runtime::store::Key;
use crate::simulation::{
    ApiServer, Call, Choice, Former, Hook, ObjectName, SimulatedCloud, SimulatedCluster, SimulatedOperator,
    SimulatedRole, World,
};

const HERE: &str = "111122223333";
const PARENT: &str = "orders";
const NAME: &str = "missed";

fn parent() -> ObjectName {
    ObjectName::replication("data", PARENT)
}

fn backfill() -> ObjectName {
    ObjectName::backfill("data", NAME)
}

fn puts_configuration(call: &Call) -> bool {
    matches!(call, Call::Execute(Step::PutReplication { .. }))
}

fn reason(status: &Value) -> &str {
    status["conditions"][0]["reason"].as_str().unwrap_or_default()
}

/// A replication that the operator has set up, and a backfill of it.
struct Scene {
    cloud: SimulatedCloud,
    cluster: SimulatedCluster,
    clock: SimulatedClock,
    operator: SimulatedOperator,
    reaction: Reaction,
}

/// The fate of each call; `None`: each is answered.
type Reaction = Arc<Mutex<Option<Box<dyn FnMut(&Call) -> Choice + Send>>>>;

fn hook(reaction: &Reaction) -> Hook {
    let reaction = reaction.clone();
    Arc::new(move |call| {
        let choice = reaction.lock().as_mut().map_or(Choice::Answer, |react| react(&call));
        Box::pin(std::future::ready(choice))
    })
}

impl Scene {
    fn new() -> Scene {
        Scene::with_settings(|_| {})
    }

    fn with_settings(edit: impl FnOnce(&mut Settings)) -> Scene {
        let mut world = World::new(HERE);
        world.create_bucket("orders", "us-east-1", HERE);
        world.create_bucket("copies", "eu-west-1", HERE);
        world.jobs.objects = 3;
        let mut server = ApiServer::default();
        server.namespaces.insert("data".to_owned(), Default::default());
        let spec = json!({"source": {"bucket": "orders"}, "rules": [{"id": "all", "destination": {"bucket": "copies"}}]});
        server.create(&ObjectName::replication("data", PARENT), spec, 0);
        let (cloud, cluster, clock) =
            (SimulatedCloud::new(world), SimulatedCluster::new(server), SimulatedClock::new());
        let reaction = Reaction::default();
        let operator = SimulatedOperator::start(&cloud, &cluster, &clock, hook(&reaction), edit);
        let scene = Scene { cloud, cluster, clock, operator, reaction };
        scene.check_parent();
        let spec = json!({"replicationRef": {"name": PARENT}});
        scene.cluster.with(|server| server.create(&ObjectName::backfill("data", NAME), spec, 1));
        scene
    }

    /// The same under an `AwsAccount` that allows backfills, and the job waits until the user approves it.
    fn awaiting_approval() -> Scene {
        let mut scene = Scene::new();
        let account = json!({"accountId": HERE, "namespaces": {"matchNames": ["data"]}, "sources": ["*"],
            "destinations": ["*"], "allow": ["Backfill"]});
        scene.cluster.with(|server| {
            server.create(&ObjectName::account("default"), account, 0);
            server.edit(&backfill(), |object| object["spec"]["approval"] = json!("Manual"));
        });
        scene.check_parent();
        scene.restart();
        scene.until("AwaitingApproval");
        scene
    }

    /// The process ends, and another one starts.
    fn restart(&mut self) {
        *self.reaction.lock() = None;
        let (cloud, cluster, clock) = (&self.cloud, &self.cluster, &self.clock);
        self.operator = SimulatedOperator::start(cloud, cluster, clock, hook(&self.reaction), |_| {});
    }

    /// From now on, this decides what becomes of each call.
    fn react(&self, react: impl FnMut(&Call) -> Choice + Send + 'static) {
        *self.reaction.lock() = Some(Box::new(react));
    }

    /// Someone edits an object just before the first call that matches is answered.
    fn edit_at(
        &self,
        matches: impl Fn(&Call) -> bool + Send + 'static,
        name: ObjectName,
        edit: impl Fn(&mut Value) + Send + 'static,
    ) {
        let (cluster, mut edited) = (self.cluster.clone(), false);
        self.react(move |call| {
            if !edited && matches(call) {
                edited = true;
                cluster.with(|server| server.edit(&name, |object| edit(object)));
            }
            Choice::Answer
        });
    }

    fn edit(&self, name: &ObjectName, edit: impl Fn(&mut Value)) {
        self.cluster.with(|server| server.edit(name, |object| edit(object)));
    }

    /// The state of the one job.
    fn job(&self) -> String {
        let world = self.cloud.world();
        assert_eq!(world.jobs.held.len(), 1);
        world.jobs.held.values().next().unwrap().state.clone()
    }

    /// The roles that were made for jobs.
    fn roles(&self) -> Vec<SimulatedRole> {
        let roles = self.cloud.world().roles;
        roles.into_values().filter(|role| role.name.starts_with("backfill+")).collect()
    }

    fn check_parent(&self) -> Value {
        self.cluster.with(|server| self.operator.sync(server));
        self.operator.reconcile_now("data", PARENT).unwrap().unwrap();
        self.status(&ObjectName::replication("data", PARENT))
    }

    /// One reconcile of the backfill. Returns its status, and when it comes back.
    fn reconcile(&self) -> (Value, Option<Duration>) {
        self.cluster.with(|server| self.operator.sync(server));
        self.reconcile_from_cache()
    }

    /// The same by what the watch brought before.
    fn reconcile_from_cache(&self) -> (Value, Option<Duration>) {
        let reconcile = self.operator.reconcile_backfill("data", NAME).unwrap();
        let next = reconcile.now_or_never().unwrap().unwrap().after();
        (self.status(&ObjectName::backfill("data", NAME)), next)
    }

    fn status(&self, name: &ObjectName) -> Value {
        self.cluster.with(|server| server.objects.get(name).map(|o| o["status"].clone()).unwrap_or_default())
    }

    /// Reconciles, with time and jobs going on, until Ready has this reason.
    fn until(&self, reason: &str) -> Value {
        for _ in 0..40 {
            let (status, next) = self.reconcile();
            if status["conditions"][0]["reason"] == reason {
                return status;
            }
            self.clock.advance(next.unwrap_or(Duration::from_secs(1)));
            self.cloud.with(|world| world.jobs.advance());
        }
        panic!("it does not become {reason}: {:#}", self.status(&ObjectName::backfill("data", NAME)));
    }
}

#[test]
fn a_backfill_waits_for_the_last_write_to_settle_and_then_comes_to_its_end() {
    let scene = Scene::new();
    let (settling, next) = scene.reconcile();
    assert_eq!(settling["conditions"][0]["reason"], "Settling");
    assert!(next.unwrap() > Duration::from_secs(14 * 60), "it comes back when the time is over: {next:?}");
    assert!(scene.cloud.world().jobs.held.is_empty());
    let done = scene.until("Completed");
    assert_eq!(done["progress"], json!({"total": 3, "succeeded": 3, "failed": 0, "percent": "100%"}));
    assert!(done["role"].is_null());
    let world = scene.cloud.world();
    assert_eq!(world.jobs.held.len(), 1);
    assert!(world.roles.keys().all(|(_, name)| !name.starts_with("backfill+")));
    assert_eq!(scene.reconcile().1, None, "what has ended is not checked again");
}

#[test]
fn an_operator_leaves_the_backfills_of_replications_that_another_operator_selects() {
    let scene = Scene::with_settings(|settings| settings.selector = Some("shard=b".to_owned()));
    let deselect = || scene.operator.index().replications.remove(&Key::namespaced("data", PARENT));
    type Edit = fn(&mut Value);
    // Another operator may be at any of these.
    let stages: [(&str, Edit); 4] = [
        ("none", |_| {}),
        ("approved", |object| object["spec"]["approved"] = json!(true)),
        ("cancelled", |object| object["spec"]["cancel"] = json!(true)),
        ("deleted", |object| {
            object["metadata"]["finalizers"] = json!(["s3replication.dev/finalizer"]);
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }),
    ];
    let calls = Arc::new(Mutex::new(Vec::new()));
    let made = calls.clone();
    scene.react(move |call| {
        made.lock().push(call.clone());
        Choice::Answer
    });
    for (stage, edit) in stages {
        let before = scene.cluster.with(|server| server.objects[&backfill()].clone());
        scene.edit(&backfill(), edit);
        scene.cluster.with(|server| scene.operator.sync(server));
        deselect();
        let (status, next) = scene.reconcile_from_cache();
        assert!(status.is_null() && next.is_none(), "{stage}: {status:#}");
        let made = std::mem::take(&mut *calls.lock());
        assert_eq!(made, [Call::Live("BucketReplication".to_owned())], "{stage}");
        scene.edit(&backfill(), |object| *object = before.clone());
    }
    // Its label changes: now it is this operator's.
    scene.edit(&parent(), |object| object["metadata"]["labels"] = json!({"shard": "b"}));
    scene.until("Completed");
}

#[test]
fn a_backfill_of_a_replication_that_no_operator_has_says_so_under_a_selector_too() {
    let scene = Scene::with_settings(|settings| settings.selector = Some("shard=b".to_owned()));
    scene.cluster.with(|server| server.objects.remove(&parent()));
    let (status, _) = scene.reconcile();
    assert_eq!(reason(&status), "ReplicationNotReady");
    assert!(status["conditions"][0]["message"].to_string().contains("does not exist"), "{status:#}");
}

#[test]
fn a_job_that_s3_does_not_show_yet_is_followed_nevertheless() {
    let scene = Scene::new();
    let status = scene.until("Preparing");
    assert!(status["jobId"].is_null(), "the role comes first: {status:#}");
    let (status, next) = scene.reconcile();
    assert!(status["jobId"].is_string(), "{status:#}");
    scene.clock.advance(next.unwrap());
    let cloud = scene.cloud.clone();
    scene.react(move |call| {
        if matches!(call, Call::DescribeJob(_)) {
            cloud.answer_stale(Former::BeforeWrite);
        }
        Choice::Answer
    });
    let (status, next) = scene.reconcile();
    assert_eq!(reason(&status), "Preparing", "{status:#}");
    assert_eq!(scene.roles().len(), 1, "the job needs its role");
    // A minute later S3 shows what it has.
    scene.clock.advance(next.unwrap());
    let (status, _) = scene.reconcile();
    assert_eq!(reason(&status), "JobVanished", "{status:#}");
}

#[test]
fn the_status_of_the_replication_says_when_the_last_backfill_completed() {
    let scene = Scene::new();
    assert!(scene.check_parent()["health"]["backfilledAt"].is_null());
    let done = scene.until("Completed");
    assert_eq!(scene.check_parent()["health"]["backfilledAt"], done["finishedAt"]);
}

#[test]
fn a_role_that_cannot_be_deleted_does_not_hide_the_result() {
    let scene = Scene::new();
    scene.until("Running");
    scene.cloud.with(|world| {
        let role = world.roles.iter_mut().find(|((_, name), _)| name.starts_with("backfill+"));
        role.unwrap().1.other_policies.push("audit".to_owned());
    });
    let done = scene.until("Completed");
    let message = done["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("3 of 3 objects") && message.contains("still to be deleted"), "{message}");
    assert!(done["finishedAt"].is_string() && done["role"].is_object());
    scene.cloud.with(|world| world.roles.values_mut().for_each(|role| role.other_policies.clear()));
    let (after, next) = scene.reconcile();
    assert!(after["role"].is_null() && next.is_none(), "{after:#}");
    assert_eq!(after["conditions"][0]["message"], "3 of 3 objects replicated, 0 failed");
    assert_eq!(after["finishedAt"], done["finishedAt"]);
}

#[test]
fn a_failed_backfill_leads_to_its_runbook_also_while_its_role_is_left() {
    let scene = Scene::with_settings(|settings| {
        settings.runbooks = "https://docs.example.com".parse().unwrap();
    });
    scene.cloud.with(|world| world.jobs.failing = 1);
    let running = scene.until("Running");
    assert!(!running["conditions"].to_string().contains("https://"), "{running:#}");
    scene.cloud.with(|world| {
        let role = world.roles.iter_mut().find(|((_, name), _)| name.starts_with("backfill+"));
        role.unwrap().1.other_policies.push("audit".to_owned());
    });
    let message = |status: &Value| status["conditions"][0]["message"].as_str().unwrap().to_owned();
    let link = "; see https://docs.example.com/reasons/CompletedWithFailures/";
    let left = message(&scene.until("CompletedWithFailures"));
    assert!(left.contains("still to be deleted") && left.ends_with(link), "{left}");
    assert_eq!(message(&scene.reconcile().0), left);
    scene.cloud.with(|world| world.roles.values_mut().for_each(|role| role.other_policies.clear()));
    let ended = message(&scene.reconcile().0);
    assert!(!ended.contains("still to be deleted"), "{ended}");
    assert!(ended.ends_with(link) && ended.matches("https://").count() == 1, "{ended}");
}

#[test]
fn failed_objects_and_none_at_all_have_their_own_ends() {
    let scene = Scene::new();
    scene.cloud.with(|world| world.jobs.failing = 1);
    let failed = scene.until("CompletedWithFailures");
    assert_eq!(failed["conditions"][1]["type"], "Stalled");
    let scene = Scene::new();
    scene.cloud.with(|world| world.jobs.objects = 0);
    let nothing = scene.until("NothingToDo");
    assert_eq!(nothing["conditions"][0]["status"], "True");
}

#[test]
fn an_approved_job_runs_and_one_that_is_not_allowed_any_more_waits_and_says_why() {
    let scene = Scene::awaiting_approval();
    scene.edit(&backfill(), |object| object["spec"]["approved"] = json!(true));
    scene.reconcile();
    assert_eq!(scene.job(), "Ready");

    type Edit = fn(&mut Value);
    let forbid = |object: &mut Value| object["spec"]["allow"] = json!([]);
    let suspend = |object: &mut Value| object["spec"]["suspend"] = json!(true);
    let observe = |object: &mut Value| object["spec"]["managementPolicy"] = json!("Observe");
    let forbidden: [(ObjectName, Edit, &str, &str); 3] = [
        (ObjectName::account("default"), forbid, "NotAllowed", "add Backfill to spec.allow"),
        (parent(), suspend, "ReplicationNotReady", "is suspended"),
        (parent(), observe, "ReplicationNotReady", "is only observed"),
    ];
    for (name, edit, refused, why) in forbidden {
        let scene = Scene::awaiting_approval();
        scene.edit(&name, edit);
        scene.edit(&backfill(), |object| object["spec"]["approved"] = json!(true));
        let (status, next) = scene.reconcile();
        assert_eq!((reason(&status), scene.job().as_str()), (refused, "Suspended"), "{status:#}");
        let message = status["conditions"][0]["message"].as_str().unwrap();
        assert!(
            message.starts_with("job job-1 is approved and is not started") && message.contains(why),
            "{message}"
        );
        assert!(next.is_some(), "it is tried again");
    }
}

#[test]
fn a_job_that_waited_is_started_once_the_administrator_allows_it_again() {
    let scene = Scene::awaiting_approval();
    scene.edit(&ObjectName::account("default"), |object| object["spec"]["allow"] = json!([]));
    scene.edit(&backfill(), |object| object["spec"]["approved"] = json!(true));
    scene.reconcile();
    scene.edit(&ObjectName::account("default"), |object| object["spec"]["allow"] = json!(["Backfill"]));
    scene.until("Completed");
}
