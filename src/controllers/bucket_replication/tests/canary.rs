//! Canaries between checks: what is called, what is written, and what the status says.

use std::time::Duration;

use serde_json::{Value, json};

use crate::controllers::bucket_replication::tests::{NAME, Scene, account_for, spec, strip_and_delete};
use crate::replication::FailureClass;
use crate::simulation::{ApiServer, Call, Choice};

pub(super) fn with_canary() -> Value {
    let mut with_canary = spec();
    with_canary["health"] = json!({"canary": {"interval": "15m"}});
    with_canary
}

/// A scene with a canary on its way, and when it is to be read again.
fn sent() -> (Scene, Duration) {
    let mut scene = Scene::new();
    scene.apply(with_canary());
    let next = scene.check().unwrap().unwrap();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    assert_eq!(scene.left(), ["orders"]);
    (scene, next)
}

impl Scene {
    /// The buckets that hold a version or a delete marker.
    fn left(&self) -> Vec<String> {
        let world = self.world();
        let held = world.buckets.iter().filter(|(_, bucket)| !bucket.objects.versions.is_empty());
        held.map(|(name, _)| name.clone()).collect()
    }

    fn hold(&self, held: bool) {
        self.cloud.with(|world| {
            world.buckets.values_mut().for_each(|bucket| bucket.objects.held = held);
        });
    }

    fn replicating(&self) -> String {
        self.condition("Replicating")["reason"].as_str().unwrap_or_default().to_owned()
    }

    fn observes(&self) -> bool {
        self.calls().contains(&Call::Observe)
    }

    /// Lets time pass until nothing is due before the next check.
    fn settle(&mut self, mut next: Duration) -> Duration {
        for _ in 0..10 {
            if next > Duration::from_secs(300) {
                return next;
            }
            next = self.wait(next).unwrap();
        }
        panic!("it is due again in {next:?}");
    }
}

#[test]
fn a_canary_on_its_way_costs_no_check_and_its_end_one() {
    let (mut scene, next) = sent();
    assert_eq!(next, Duration::from_secs(2));
    scene.hold(true);
    let next = scene.wait(next).unwrap();
    assert!(!scene.observes() && scene.writes_to_aws().is_empty(), "{:?}", scene.calls());
    assert_eq!(scene.replicating(), "Progressing");
    scene.hold(false);
    let next = scene.wait(next).unwrap();
    assert!(!scene.observes(), "{:?}", scene.calls());
    assert_eq!((scene.left(), next), (Vec::new(), Duration::ZERO));
    let next = scene.wait(next).unwrap();
    assert!(scene.observes(), "the verdict is another one now");
    assert_eq!(scene.replicating(), "ObjectsArriving", "{:#}", scene.status());
    assert!(next >= Duration::from_secs(60), "{next:?}");
}

#[test]
fn the_next_canary_is_sent_after_the_interval_and_changes_no_status() {
    let (mut scene, next) = sent();
    let next = scene.settle(next);
    let before = scene.status();
    scene.clock.advance(next);
    scene.check();
    let next = scene.wait(Duration::from_secs(400)).unwrap();
    assert!(scene.calls().iter().any(|call| matches!(call, Call::PutCanary(_))), "{:?}", scene.calls());
    assert!(!scene.observes(), "{:?}", scene.calls());
    scene.settle(next);
    assert!(scene.left().is_empty());
    assert_eq!(scene.status(), before);
}

#[test]
fn a_canary_that_is_late_is_reported_and_no_other_is_sent_while_it_is_pending() {
    let (mut scene, _) = sent();
    scene.hold(true);
    for _ in 0..40 {
        let next = scene.wait(Duration::from_secs(60)).unwrap();
        if next.is_zero() {
            scene.wait(next);
        }
    }
    assert_eq!(scene.replicating(), "ObjectsDelayed", "{:#}", scene.status());
    assert_eq!(scene.world().buckets["orders"].objects.versions.len(), 1);
    assert_eq!(scene.reason(), "Applied", "it is no matter of the settings");
}

#[test]
fn a_canary_whose_write_was_not_answered_is_found_and_deleted() {
    let mut scene = Scene::new();
    scene.at(|call| matches!(call, Call::PutCanary(_)), |_, _| Choice::FailAfter);
    scene.apply(with_canary());
    let mut next = scene.check().unwrap().unwrap();
    assert_eq!(scene.left(), ["orders"]);
    for _ in 0..6 {
        next = scene.wait(next.min(Duration::from_secs(60))).unwrap();
    }
    assert!(scene.left().is_empty(), "{:?}", scene.left());
    assert_eq!(scene.replicating(), "ObjectsArriving", "{:#}", scene.status());
}

#[test]
fn a_process_that_starts_takes_up_what_another_left() {
    let (mut scene, _) = sent();
    scene.restart();
    let next = scene.check().unwrap().unwrap();
    scene.settle(next);
    assert!(scene.left().is_empty());
    assert_eq!(scene.replicating(), "ObjectsArriving", "{:#}", scene.status());
}

#[test]
fn a_process_that_starts_keeps_the_verdict_of_the_last_canary() {
    let (mut scene, next) = sent();
    scene.settle(next);
    let before = scene.status();
    scene.restart();
    scene.hold(true);
    scene.check();
    assert_eq!(scene.left(), ["orders"], "the next one is sent at once");
    assert_eq!(scene.status(), before);
}

#[test]
fn a_process_that_starts_keeps_the_verdict_of_a_canary_that_failed() {
    let (mut scene, next) = failed();
    scene.settle(next);
    let (before, reported) = (scene.status(), scene.condition("Replicating"));
    scene.restart();
    scene.hold(true);
    scene.check();
    assert_eq!(scene.left(), ["orders"], "the next one is sent at once");
    assert_eq!(scene.condition("Replicating"), reported);
    assert_eq!(scene.status()["health"], before["health"]);
}

#[test]
fn a_process_that_starts_keeps_the_verdict_of_a_canary_that_is_late() {
    let (mut scene, _) = sent();
    scene.hold(true);
    for _ in 0..40 {
        let next = scene.wait(Duration::from_secs(60)).unwrap();
        if next.is_zero() {
            scene.wait(next);
        }
    }
    let reported = scene.condition("Replicating");
    assert_eq!(reported["reason"], "ObjectsDelayed", "{:#}", scene.status());
    let health = scene.status()["health"].clone();
    assert_eq!(health["canary"]["result"], "Pending", "{health:#}");
    scene.restart();
    scene.check();
    assert_eq!((scene.condition("Replicating"), scene.status()["health"].clone()), (reported, health));
    scene.hold(false);
    for _ in 0..10 {
        scene.wait(Duration::from_secs(60));
    }
    assert_eq!(scene.replicating(), "ObjectsArriving", "{:#}", scene.status());
}

#[test]
fn a_process_that_starts_keeps_the_verdict_of_a_canary_that_is_refused() {
    let mut scene = Scene::new();
    scene.at(|call| matches!(call, Call::PutCanary(_)), |_, _| Choice::FailBefore(FailureClass::Denied));
    scene.apply(with_canary());
    scene.check();
    scene.check();
    let reported = scene.condition("Replicating");
    assert_eq!(reported["reason"], "CanaryRefused", "{:#}", scene.status());
    scene.restart();
    scene.check();
    assert_eq!(scene.condition("Replicating"), reported);
}

#[test]
fn the_first_report_of_a_process_names_the_likely_cause() {
    let (mut scene, _) = failed();
    scene.cloud.with(|world| world.buckets.remove("copies"));
    scene.clock.advance(Duration::from_secs(60));
    scene.check();
    let reported = scene.condition("Replicating");
    assert!(reported["message"].as_str().unwrap().contains("the likely cause"), "{reported:#}");
    scene.restart();
    scene.check();
    assert_eq!(scene.condition("Replicating"), reported);
}

#[test]
fn a_canary_that_arrived_shows_nothing_any_more_while_the_resource_is_not_ready() {
    let (mut scene, next) = sent();
    scene.settle(next);
    assert_eq!(scene.replicating(), "ObjectsArriving");
    scene.cloud.with(|world| world.buckets.remove("copies"));
    for _ in 0..60 {
        scene.wait(Duration::from_secs(60));
    }
    assert_ne!(scene.reason(), "Applied");
    let stale = scene.condition("Replicating");
    assert_eq!((&stale["status"], &stale["reason"]), (&json!("Unknown"), &json!("NoData")), "{stale:#}");
    scene.restart();
    scene.check();
    assert_eq!(scene.condition("Replicating"), stale, "a process that starts makes the canary no younger");
}

#[test]
fn a_resource_that_is_only_observed_keeps_even_what_is_left_of_a_canary() {
    let (mut scene, next) = sent();
    let mut spec = with_canary();
    spec["managementPolicy"] = json!("Observe");
    scene.apply(spec);
    scene.clock.advance(next);
    scene.check();
    scene.check();
    assert_eq!(scene.left(), ["orders"]);
    assert_eq!(scene.replicating(), "CanaryRefused", "{:#}", scene.status());
    scene.apply(with_canary());
    let next = scene.check().unwrap().unwrap();
    scene.settle(next);
    assert!(scene.left().is_empty());
}

pub(super) type Edit = fn(&mut ApiServer);

/// Acts of users that forbid the operator to delete a canary, or leave it to the deletion of the resource.
pub(super) const FORBID_DELETION: [(&str, Edit); 5] = [
    ("observed", |server| {
        server.edit(&Scene::resource(), |object| object["spec"]["managementPolicy"] = json!("Observe"));
    }),
    ("suspended", |server| {
        server.edit(&Scene::resource(), |object| object["spec"]["suspend"] = json!(true));
    }),
    ("being deleted", |server| server.delete(&Scene::resource())),
    ("gone", |server| strip_and_delete(server, &Scene::resource())),
    ("another one of its name", |server| {
        strip_and_delete(server, &Scene::resource());
        server.create(&Scene::resource(), with_canary(), 0);
    }),
];

#[test]
fn an_operator_whose_cache_lags_after_a_failover_deletes_no_canary_that_it_may_not_delete_any_more() {
    for (what, edit) in FORBID_DELETION {
        let (mut scene, _) = sent();
        let stale = scene.standby();
        scene.cluster.with(edit);
        scene.operator = stale;
        scene.script.lock().calls.clear();
        // The API server may refuse the status of what is another object by now.
        let _ = scene.operator.reconcile_now("data", NAME);
        let asked = scene.calls().iter().filter(|call| is_live(call)).count();
        assert!(asked > 0, "{what}: the turn did not come to the deletion: {:?}", scene.calls());
        assert_eq!((scene.writes_to_aws(), scene.left().len()), (Vec::new(), 2), "{what}");
    }
}

#[test]
fn a_canary_is_not_deleted_after_the_user_forbade_it_in_the_middle_of_a_turn() {
    for (what, edit) in FORBID_DELETION {
        let (scene, next) = sent();
        scene.at(is_live, move |_, cluster| {
            cluster.with(edit);
            Choice::Answer
        });
        scene.clock.advance(next);
        scene.script.lock().calls.clear();
        let _ = scene.operator.reconcile_in_time("data", NAME);
        assert_eq!((scene.writes_to_aws(), scene.left().len()), (Vec::new(), 2), "{what}");
    }
}

fn is_live(call: &Call) -> bool {
    matches!(call, Call::Live(kind) if kind == "BucketReplication")
}

#[test]
fn a_turn_reads_the_object_once_before_its_first_deletion_and_not_at_all_without_one() {
    let (mut scene, next) = sent();
    let live = |scene: &Scene| scene.calls().iter().filter(|call| is_live(call)).count();
    scene.hold(true);
    let next = scene.wait(next).unwrap();
    assert_eq!(live(&scene), 0, "{:?}", scene.calls());
    scene.hold(false);
    scene.wait(next);
    let deleted = scene.calls().iter().filter(|call| matches!(call, Call::DeleteVersion(_))).count();
    assert_eq!((deleted, live(&scene)), (2, 1), "{:?}", scene.calls());
}

#[test]
fn a_canary_that_waited_is_deleted_once_the_operator_may_write_again() {
    let (mut scene, _) = sent();
    let stale = scene.standby();
    let mut suspended = with_canary();
    suspended["suspend"] = json!(true);
    scene.apply(suspended);
    scene.operator = stale;
    scene.check_stale(NAME);
    scene.check();
    assert!(!scene.left().is_empty());
    scene.apply(with_canary());
    let next = scene.check().unwrap().unwrap();
    scene.settle(next);
    assert!(scene.left().is_empty(), "{:?}", scene.left());
}

/// A scene whose canary failed, and when it is due again.
fn failed() -> (Scene, Duration) {
    let (mut scene, next) = sent();
    // Longer ago than an answer of AWS from before the operator's own write.
    scene.clock.advance(Duration::from_secs(60));
    scene.cloud.with(|world| world.role_mut("111122223333", "orders-role").unwrap().policy = None);
    let next = scene.wait(next).unwrap();
    assert!(scene.left().is_empty());
    let next = scene.wait(next).unwrap();
    assert_eq!(scene.replicating(), "ObjectsFailing", "{:#}", scene.status());
    assert!(scene.condition("Replicating")["message"].as_str().unwrap().contains("copies"));
    (scene, next)
}

#[test]
fn a_canary_that_fails_is_deleted_and_reported() {
    failed();
}

#[test]
fn a_denied_deletion_is_reported_and_tried_again() {
    let (mut scene, next) = sent();
    scene.at(|call| matches!(call, Call::DeleteVersion(_)), |_, _| Choice::FailBefore(FailureClass::Denied));
    let mut next = scene.wait(next).unwrap();
    for _ in 0..4 {
        next = scene.wait(next.min(Duration::from_secs(60))).unwrap();
    }
    assert!(scene.left().is_empty(), "{:?}", scene.left());
}

#[test]
fn a_deletion_waits_for_a_canary_to_end_for_five_minutes_and_no_longer() {
    let (mut scene, _) = sent();
    scene.hold(true);
    scene.delete();
    scene.check();
    assert!(scene.object().is_some());
    assert!(scene.message().contains("still being replicated"), "{}", scene.message());
    scene.clock.advance(Duration::from_secs(300));
    scene.check();
    assert_eq!((scene.object(), scene.left()), (None, Vec::new()));
}

#[test]
fn a_suspended_resource_keeps_a_canary_that_is_left_until_it_is_deleted() {
    let (mut scene, next) = sent();
    let mut suspended = with_canary();
    suspended["suspend"] = json!(true);
    scene.apply(suspended);
    scene.clock.advance(next);
    scene.check();
    assert_eq!(scene.left(), ["orders"]);
    scene.delete();
    for _ in 0..3 {
        scene.clock.advance(Duration::from_secs(300));
        scene.check();
    }
    assert_eq!((scene.object(), scene.left()), (None, Vec::new()));
}

#[test]
fn canaries_are_no_more_frequent_than_the_administrator_allows() {
    let mut scene = Scene::with_settings(|settings| settings.min_interval = "1h".parse().unwrap());
    scene.apply(with_canary());
    let mut next = scene.check().unwrap().unwrap();
    let mut sent = Vec::new();
    while scene.clock.elapsed() < Duration::from_secs(2 * 3_600) {
        next = scene.wait(next.max(Duration::from_secs(1))).unwrap();
        if scene.calls().iter().any(|call| matches!(call, Call::PutCanary(_))) {
            sent.push(scene.clock.elapsed());
        }
    }
    assert!(!sent.is_empty(), "canaries go on");
    assert!(sent[0] >= Duration::from_secs(3_600), "{sent:?}");
}

#[test]
fn a_canary_that_is_pending_keeps_none_of_another_rule_of_its_prefix_from_being_sent() {
    let (mut scene, _) = sent();
    scene.hold(true);
    let by_tier = |id: &str, priority: u8| {
        json!({
            "id": id,
            "priority": priority,
            "filter": {"tags": {"tier": id}},
            "destination": {"bucket": "copies"},
        })
    };
    let mut two = with_canary();
    two["rules"] = json!([two["rules"][0].clone(), by_tier("silver", 2)]);
    two["rules"][0]["priority"] = json!(1);
    two["rules"][0]["filter"] = json!({"tags": {"tier": "gold"}});
    scene.apply(two);
    scene.check();
    for _ in 0..3 {
        scene.wait(Duration::from_secs(450));
    }
    let keys: Vec<String> =
        scene.world().buckets["orders"].objects.versions.iter().map(|version| version.key.clone()).collect();
    let folders: Vec<&str> = keys.iter().filter_map(|key| Some(key.rsplit_once('/')?.0)).collect();
    assert_eq!(keys.len(), 2, "{keys:?}: {:#}", scene.status());
    assert_eq!(folders[0], folders[1]);
}

/// A scene whose `AwsAccount` allows no canaries, for longer than AWS may answer from before a write.
fn without_permission() -> Scene {
    let mut scene = Scene::new();
    scene.account("here", account_that_allows(&[]));
    let mut spec = with_canary();
    spec["source"]["accountRef"] = json!("here");
    scene.apply(spec);
    scene.check();
    scene.wait_a_minute();
    scene.check();
    assert_eq!((scene.reason().as_str(), scene.replicating().as_str()), ("Applied", "CanaryRefused"));
    scene
}

fn account_that_allows(activities: &[&str]) -> Value {
    let mut account = account_for(&["copies"]);
    account["allow"] = json!(activities);
    account
}

fn puts(scene: &Scene) -> usize {
    scene.calls().iter().filter(|call| matches!(call, Call::PutCanary(_))).count()
}

#[test]
fn an_account_that_begins_to_allow_canaries_has_one_written_at_once() {
    let mut scene = without_permission();
    assert_eq!(puts(&scene), 0);
    scene.account("here", account_that_allows(&["Canary"]));
    scene.check();
    assert_eq!(puts(&scene), 1, "{:#}", scene.status());
    assert_eq!(scene.left(), ["orders"]);
    let next = scene.wait(Duration::from_secs(2)).unwrap();
    scene.settle(next);
    assert_eq!(scene.replicating(), "ObjectsArriving", "{:#}", scene.status());
    scene.check();
    assert_eq!(puts(&scene), 0, "the next one is due after the interval");
}

#[test]
fn a_change_of_the_account_that_allows_no_canaries_makes_none_due() {
    let mut scene = without_permission();
    scene.account("here", account_that_allows(&["Backfill"]));
    scene.check();
    let asked = scene.calls().iter().filter(|call| matches!(call, Call::ObserveForCanary)).count();
    assert_eq!((asked, puts(&scene)), (0, 0));
}

#[test]
fn a_denied_listing_of_canaries_is_named_in_the_status() {
    let (mut scene, next) = sent();
    scene.settle(next);
    scene.restart();
    for _ in 0..20 {
        scene.at(
            |call| matches!(call, Call::ListVersions(_)),
            |_, _| Choice::FailBefore(FailureClass::Denied),
        );
    }
    scene.check();
    scene.check();
    assert_eq!(scene.replicating(), "CanaryRefused", "{:#}", scene.status());
    let message = scene.condition("Replicating")["message"].to_string();
    assert!(message.contains("s3:ListBucketVersions"), "{message}");
}
