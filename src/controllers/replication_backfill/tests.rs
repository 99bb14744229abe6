//! The controller on a simulated AWS and API server. What may go wrong at each call is explored in
//! `simulation/explore/backfills.rs`.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};

use crate::controllers::settings::Settings;
use crate::runtime::clock::SimulatedClock;
use crate::simulation::{
    ApiServer, Choice, Hook, ObjectName, Operator, SimulatedCloud, SimulatedCluster, World,
};

const HERE: &str = "111122223333";
const PARENT: &str = "orders";
const NAME: &str = "missed";

/// A replication that the operator has set up, and a backfill of it.
struct Scene {
    cloud: SimulatedCloud,
    cluster: SimulatedCluster,
    clock: SimulatedClock,
    operator: Operator,
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
        let hook: Hook = Arc::new(|_| Box::pin(std::future::ready(Choice::Answer)));
        let operator = Operator::start(&cloud, &cluster, &clock, hook, edit);
        let scene = Scene { cloud, cluster, clock, operator };
        scene.check_parent();
        let spec = json!({"replicationRef": {"name": PARENT}});
        scene.cluster.with(|server| server.create(&ObjectName::backfill("data", NAME), spec, 1));
        scene
    }

    fn check_parent(&self) -> Value {
        self.cluster.with(|server| self.operator.sync(server));
        self.operator.reconcile_now("data", PARENT).unwrap().unwrap();
        self.status(&ObjectName::replication("data", PARENT))
    }

    /// One reconcile of the backfill. Returns its status, and when it comes back.
    fn reconcile(&self) -> (Value, Option<Duration>) {
        self.cluster.with(|server| self.operator.sync(server));
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
    let said = done["conditions"][0]["message"].as_str().unwrap();
    assert!(said.contains("3 of 3 objects") && said.contains("still to be deleted"), "{said}");
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
    let said = |status: &Value| status["conditions"][0]["message"].as_str().unwrap().to_owned();
    let link = "; see https://docs.example.com/reasons/CompletedWithFailures/";
    let left = said(&scene.until("CompletedWithFailures"));
    assert!(left.contains("still to be deleted") && left.ends_with(link), "{left}");
    assert_eq!(said(&scene.reconcile().0), left);
    scene.cloud.with(|world| world.roles.values_mut().for_each(|role| role.other_policies.clear()));
    let ended = said(&scene.reconcile().0);
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
