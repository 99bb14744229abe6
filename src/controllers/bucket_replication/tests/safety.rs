//! No write for an object that is gone or changed, and nothing of others is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use super::canary::{Edit, FORBID_DELETION, with_canary};
use super::*;
use crate::api::FINALIZER;
use crate::controllers::index::Index;
use crate::replication::FailureClass;
use crate::runtime::Error;
use crate::runtime::leader::Succession;
use crate::runtime::store::Key;

/// Every call of a first check before which the object can go, and the calls after it that must not write.
fn until_the_first_write() -> Vec<Call> {
    vec![Call::Connect, Call::Observe, Call::AddFinalizer]
}

#[test]
fn an_object_that_goes_before_the_first_write_leaves_aws_untouched() {
    for at in until_the_first_write() {
        let mut scene = Scene::new();
        scene.apply(spec());
        let before = scene.world().canonical();
        let wanted = at.clone();
        scene.at(
            move |call| *call == wanted,
            |_, cluster| {
                cluster.with(|server| server.delete(&Scene::resource()));
                Choice::Answer
            },
        );
        scene.check();
        assert_eq!(scene.writes_to_aws(), [""; 0], "gone at {at}");
        assert_eq!(scene.world().canonical(), before, "gone at {at}");
    }
}

#[test]
fn an_object_whose_finalizer_is_stripped_and_that_goes_before_a_write_leaves_aws_untouched() {
    let mut scene = Scene::ready();
    scene.check();
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
    let before = scene.world().canonical();
    scene.at(
        |call| *call == Call::Observe,
        |_, cluster| {
            cluster.with(|server| strip_and_delete(server, &Scene::resource()));
            Choice::Answer
        },
    );
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    assert_eq!(scene.world().canonical(), before);
}

/// Adding the finalizer confirms that the object is there; later checks ask for it.
#[test]
fn an_object_that_goes_before_the_first_write_of_a_later_check_leaves_aws_untouched() {
    for at in [Call::Connect, Call::Observe, Call::Live("BucketReplication".into())] {
        let mut scene = Scene::ready();
        scene.check();
        scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
        let before = scene.world().canonical();
        let wanted = at.clone();
        scene.at(
            move |call| *call == wanted,
            |_, cluster| {
                cluster.with(|server| server.delete(&Scene::resource()));
                Choice::Answer
            },
        );
        scene.check();
        assert_eq!(scene.writes_to_aws(), [""; 0], "gone at {at}");
        assert_eq!(scene.world().canonical(), before, "gone at {at}");
    }
}

#[test]
fn an_object_that_goes_before_the_status_names_what_is_made_leaves_aws_untouched() {
    let mut scene = Scene::new();
    scene.apply(spec());
    let before = scene.world().canonical();
    scene.at(
        |call| *call == Call::SetStatus,
        |_, cluster| {
            cluster.with(|server| strip_and_delete(server, &Scene::resource()));
            Choice::Answer
        },
    );
    scene.check();
    assert_eq!(scene.object(), None);
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    assert_eq!(scene.world().canonical(), before);
}

/// The process dies after a write and before its report, and the spec names something else by the time the next starts.
#[test]
fn a_role_made_under_a_former_spec_is_found_after_a_crash() {
    let mut scene = Scene::new();
    scene.apply(spec());
    scene.at(writes("iam:CreateRole"), |_, cluster| {
        let rename = |object: &mut Value| object["spec"]["role"]["name"] = json!("orders-role-2");
        cluster.with(|server| server.edit(&Scene::resource(), rename));
        Choice::DieAfter
    });
    assert_eq!(scene.check(), None, "the process died");
    assert!(scene.role().is_some());
    scene.restart();
    scene.check();
    assert_eq!(scene.reason(), "Applied");
    assert!(scene.role().is_none(), "the role of the former name is deleted");
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(scene.world().roles.is_empty());
}

#[test]
fn a_stale_cache_does_not_make_again_what_was_deleted() {
    let mut scene = Scene::ready();
    // Another process deletes the resource; this one has not heard of it.
    let stale = scene.standby();
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    scene.operator = stale;
    scene.check_stale(NAME);
    assert!(scene.role().is_none());
    assert!(scene.world().buckets["orders"].configuration.is_none());
}

#[test]
fn a_spec_that_changes_during_a_check_is_not_overwritten_by_the_old_one() {
    let mut scene = Scene::new();
    scene.apply(spec());
    scene.at(
        |call| *call == Call::Observe,
        |_, cluster| {
            let other = |object: &mut Value| object["spec"]["rules"][0]["status"] = json!("Disabled");
            cluster.with(|server| server.edit(&Scene::resource(), other));
            Choice::Answer
        },
    );
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    scene.check();
    assert_eq!(scene.reason(), "Applied");
}

#[test]
fn a_finalizer_that_someone_adds_a_moment_before_ours_survives() {
    let mut scene = Scene::new();
    scene.apply(spec());
    scene.at(
        |call| *call == Call::AddFinalizer,
        |_, cluster| {
            let theirs =
                |object: &mut Value| object["metadata"]["finalizers"] = json!(["example.com/backup"]);
            cluster.with(|server| server.edit(&Scene::resource(), theirs));
            Choice::Answer
        },
    );
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    scene.check();
    let finalizers = scene.object().unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers, json!(["example.com/backup", FINALIZER]));
    assert_eq!(scene.reason(), "Applied");
}

/// A scene whose account allows what a namespace with a label asks for, and an operator that is to stop while it reads
/// the labels for the first time after a call that matches.
fn to_stop_after(matches: fn(&Call) -> bool) -> Scene {
    let mut scene = Scene::new();
    let account = json!({"accountId": HERE, "namespaces": {"matchLabels": {"team": "a"}}, "sources": ["*"],
        "destinations": ["*"], "allow": ["Canary"]});
    scene.account("default", account);
    let labels = [("team".to_owned(), "a".to_owned())];
    scene.cluster.with(|server| server.namespaces.insert("data".to_owned(), labels.into()));
    let (stopped, asked) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let may_begin = {
        let stopped = stopped.clone();
        Box::new(move || !stopped.load(Ordering::Relaxed))
    };
    let hook = scripted_hook(&scene.script, &scene.cloud, &scene.cluster);
    scene.operator =
        SimulatedOperator::start_under((&scene.cloud, &scene.cluster, &scene.clock), hook, may_begin, |_| {});
    scene.at(
        move |call| {
            asked.fetch_or(matches(call), Ordering::Relaxed);
            asked.load(Ordering::Relaxed) && matches!(call, Call::NamespaceLabels(_))
        },
        move |_, _| {
            stopped.store(true, Ordering::Relaxed);
            Choice::Answer
        },
    );
    scene.apply(with_canary());
    scene
}

#[test]
fn an_operator_that_is_to_stop_while_it_asks_for_permission_begins_no_stage() {
    let mut scene = to_stop_after(|call| *call == Call::SetStatus);
    scene.check();
    assert!(matches!(
        scene.calls().as_slice(),
        [.., Call::SetStatus, Call::NamespaceLabels(_), Call::SetStatus]
    ));
    assert_eq!(scene.writes_to_aws(), [""; 0]);
}

#[test]
fn an_operator_that_is_to_stop_while_it_asks_for_permission_writes_and_deletes_no_canary() {
    let mut scene = to_stop_after(|call| matches!(call, Call::Live(_)));
    scene.check();
    assert!(scene.calls().iter().any(|call| matches!(call, Call::Live(_))), "{:?}", scene.calls());
    assert!(!scene.calls().iter().any(|call| matches!(call, Call::PutCanary(_))), "{:?}", scene.calls());

    let mut scene = to_stop_after(|call| matches!(call, Call::ListVersions(_)));
    scene.check();
    scene.check();
    assert!(matches!(scene.calls().last(), Some(Call::NamespaceLabels(_))), "{:?}", scene.calls());
    assert_eq!(scene.writes_to_aws(), [""; 0], "{:?}", scene.calls());
}

#[test]
fn a_new_leader_whose_cache_lags_overwrites_no_status_of_the_former_one() {
    let mut scene = Scene::new();
    scene.apply(spec());
    let stale = scene.standby();
    scene.clock.advance(Duration::from_secs(1));
    scene.check();
    let before = scene.status();
    assert!(before["role"].is_object(), "{before:#}");
    scene.operator = stale;
    scene.operator.begin_term(Succession::Takeover);
    scene.at(|call| *call == Call::Connect, |_, _| Choice::FailBefore(FailureClass::Unavailable));
    let _ = scene.operator.reconcile_now("data", NAME);
    assert_eq!(scene.status(), before, "what it names could not be deleted otherwise");
    // Once the watch has brought it, the reports go on.
    scene.operator.sync(&scene.cluster.server());
    scene.at(|call| *call == Call::Connect, |_, _| Choice::FailBefore(FailureClass::Unavailable));
    scene.check();
    assert_eq!(scene.reason(), "AwsUnavailable");
    assert!(scene.status()["role"].is_object());
}

#[test]
fn while_the_watch_does_not_show_what_was_written_time_alone_causes_no_request() {
    let scene = Scene::new();
    scene.cloud.with(|world| world.buckets.remove("orders"));
    scene.apply(spec());
    scene.operator.sync(&scene.cluster.server());
    // The watch lags from here on: no `sync` follows.
    let next = |result: Option<Result<Option<Duration>, Error>>| result.unwrap().unwrap().unwrap();
    let mut pause = next(scene.operator.reconcile_now("data", NAME));
    assert_eq!(scene.reason(), "SourceBucketNotFound");
    let begun = scene.clock.elapsed();
    loop {
        scene.clock.advance(pause);
        if scene.clock.elapsed() - begun > Duration::from_secs(60) {
            break;
        }
        scene.script.lock().calls.clear();
        pause = next(scene.operator.reconcile_in_time("data", NAME));
        assert_eq!(scene.calls(), [], "after {:?}", scene.clock.elapsed() - begun);
    }
    // A definition that keeps less of the status than was written would delay the checks for ever.
    next(scene.operator.reconcile_in_time("data", NAME));
    assert!(scene.calls().contains(&Call::Observe), "{:?}", scene.calls());
}

/// The watch brings the resource as it is now.
fn bring(index: &Index, cluster: &SimulatedCluster) {
    match cluster.server().objects.get(&Scene::resource()) {
        Some(object) => drop(index.apply(serde_json::from_value(object.clone()).unwrap())),
        None => drop(index.replications.remove(&Key::namespaced("data", NAME))),
    }
}

impl Scene {
    /// Someone changes the resource at the next call that matches, and the watch brings it before the call is answered.
    fn change_at(&self, matches: impl Fn(&Call) -> bool + Send + 'static, edit: Edit) {
        let index = self.operator.index();
        self.at(matches, move |_, cluster| {
            cluster.with(edit);
            bring(&index, cluster);
            Choice::Answer
        });
    }

    /// Reconciles; the API server may refuse the status of what is another object by now. Returns the writes to AWS.
    fn writes_of_check(&mut self) -> Vec<String> {
        self.operator.sync(&self.cluster.server());
        self.script.lock().calls.clear();
        let _ = self.operator.reconcile_now("data", NAME);
        self.writes_to_aws()
    }
}

#[test]
fn no_stage_begins_after_the_watch_has_brought_that_the_object_is_another_one() {
    for (what, edit) in FORBID_DELETION {
        for action in ["iam:CreateRole", "iam:PutRolePolicy"] {
            let mut scene = Scene::new();
            scene.apply(spec());
            scene.change_at(writes(action), edit);
            let written = scene.writes_of_check();
            let put = |what: &str| written.iter().any(|write| write.contains(what));
            assert!(put("create role"), "{what} at {action}: {written:?}");
            assert!(!put("replication configuration"), "{what} at {action}: {written:?}");
            let has_policy = scene.role().is_some_and(|role| role.policy.is_some());
            assert_eq!(has_policy, action == "iam:PutRolePolicy", "{what} at {action}: {written:?}");
        }
    }
}

#[test]
fn a_spec_that_the_watch_brings_during_a_check_is_applied_without_the_rest_of_the_old_one() {
    let mut scene = Scene::new();
    scene.apply(spec());
    scene.change_at(writes("iam:CreateRole"), |server| {
        server.edit(&Scene::resource(), |object| object["spec"]["rules"][0]["status"] = json!("Disabled"));
    });
    scene.check();
    assert!(scene.world().buckets["orders"].configuration.is_none());
    assert_eq!(scene.status()["role"]["managed"], json!(true), "{:#}", scene.status());
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
}

/// Acts of users that keep the parts that a deletion has not removed yet.
const KEEP: [(&str, Edit); 4] = [
    ("retained", |server| {
        server.edit(&Scene::resource(), |object| object["spec"]["deletionPolicy"] = json!("Retain"));
    }),
    ("observed", |server| {
        server.edit(&Scene::resource(), |object| object["spec"]["managementPolicy"] = json!("Observe"));
    }),
    ("gone", |server| strip_and_delete(server, &Scene::resource())),
    ("taken over", |server| {
        server.edit(&Scene::resource(), |object| {
            object["metadata"]["finalizers"] = json!(["example.com/backup"]);
        });
    }),
];

#[test]
fn a_deletion_stops_once_the_watch_has_brought_that_the_rest_is_to_stay() {
    for (what, edit) in KEEP {
        let mut scene = Scene::settled();
        scene.delete();
        scene.change_at(writes("s3:PutReplicationConfiguration"), edit);
        scene.writes_of_check();
        assert!(scene.world().buckets["orders"].configuration.is_none(), "{what}");
        assert!(scene.role().is_some(), "{what}: {:?}", scene.writes_to_aws());
        // The next reconcile sees the object as it is, and keeps the rest too.
        scene.operator.sync(&scene.cluster.server());
        let _ = scene.operator.reconcile_now("data", NAME);
        assert!(scene.role().is_some(), "{what}: {:?}", scene.writes_to_aws());
    }
}

/// Two rules, each with a canary.
fn with_two_canaries() -> Value {
    let mut spec = with_canary();
    spec["rules"] = json!([
        {"id": "a", "priority": 1, "filter": {"prefix": "a/"}, "destination": {"bucket": "copies"}},
        {"id": "b", "priority": 2, "filter": {"prefix": "b/"}, "destination": {"bucket": "copies"}},
    ]);
    spec
}

#[test]
fn no_canary_is_written_or_deleted_after_the_watch_has_brought_that_the_object_is_another_one() {
    for (what, edit) in FORBID_DELETION {
        let mut scene = Scene::new();
        scene.apply(with_two_canaries());
        scene.change_at(|call| matches!(call, Call::PutCanary(_)), edit);
        let written = scene.writes_of_check();
        let put = written.iter().filter(|write| write.contains("canary")).count();
        assert_eq!(put, 1, "{what}: {written:?}");

        let mut scene = Scene::new();
        scene.apply(with_two_canaries());
        let mut next = scene.check().unwrap().unwrap();
        let deletes = |call: &Call| matches!(call, Call::DeleteVersion(_));
        scene.change_at(deletes, edit);
        for _ in 0..3 {
            scene.clock.advance(next);
            scene.script.lock().calls.clear();
            let Some(Ok(after)) = scene.operator.reconcile_in_time("data", NAME) else { break };
            if scene.calls().iter().any(deletes) {
                break;
            }
            next = after.unwrap();
        }
        assert_eq!(
            scene.calls().iter().filter(|call| deletes(call)).count(),
            1,
            "{what}: {:?}",
            scene.calls()
        );
    }
}
