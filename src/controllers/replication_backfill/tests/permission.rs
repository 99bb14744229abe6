//! A backfill whose cache lags, or whose answer is missing: the live objects decide whether it may go on.

use super::*;

#[test]
fn an_operator_whose_cache_lags_starts_no_job_that_the_user_cancelled_or_deleted() {
    let cancel = |scene: &Scene| scene.edit(&backfill(), |object| object["spec"]["cancel"] = json!(true));
    let delete = |scene: &Scene| scene.cluster.with(|server| server.delete(&backfill()));
    let ends: [fn(&Scene); 2] = [cancel, delete];
    for end in ends {
        let scene = Scene::awaiting_approval();
        scene.edit(&backfill(), |object| object["spec"]["approved"] = json!(true));
        scene.cluster.with(|server| scene.operator.sync(server));
        end(&scene);
        scene.reconcile_from_cache();
        assert_eq!(scene.job(), "Suspended");
        scene.reconcile();
        assert_eq!(scene.job(), "Cancelling");
    }
}

#[test]
fn a_job_whose_replication_has_another_source_by_now_is_not_started() {
    let scene = Scene::awaiting_approval();
    scene.edit(&parent(), |object| object["status"]["source"]["region"] = json!("us-west-2"));
    scene.edit(&backfill(), |object| object["spec"]["approved"] = json!(true));
    let (status, _) = scene.reconcile();
    assert_eq!((reason(&status), scene.job().as_str()), ("ReplicationNotReady", "Suspended"));
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(message.contains("us-east-1") && message.contains("us-west-2"), "{message}");
}

#[test]
fn no_role_is_made_or_given_rights_for_a_replication_that_was_suspended_meanwhile() {
    let suspend = |object: &mut Value| object["spec"]["suspend"] = json!(true);
    let scene = Scene::new();
    scene.clock.advance(Duration::from_secs(16 * 60));
    scene.edit_at(|call| matches!(call, Call::ReadRole(_)), parent(), suspend);
    let (status, _) = scene.reconcile();
    assert_eq!((reason(&status), scene.roles().len()), ("ReplicationNotReady", 0));

    let scene = Scene::new();
    scene.clock.advance(Duration::from_secs(16 * 60));
    scene.edit_at(|call| matches!(call, Call::Execute(Step::CreateRole { .. })), parent(), suspend);
    let (status, _) = scene.reconcile();
    assert_eq!(reason(&status), "ReplicationNotReady");
    let roles = scene.roles();
    assert!(roles.len() == 1 && roles[0].policy.is_none(), "{roles:?}");
}

#[test]
fn no_rights_are_given_to_the_role_of_a_backfill_that_the_watch_has_brought_as_cancelled_or_deleted() {
    type Edit = fn(&mut ApiServer);
    let edits: [(&str, Edit); 2] = [
        ("cancelled", |server| server.edit(&backfill(), |object| object["spec"]["cancel"] = json!(true))),
        ("deleted", |server| server.delete(&backfill())),
    ];
    for (what, edit) in edits {
        let scene = Scene::new();
        scene.clock.advance(Duration::from_secs(16 * 60));
        let (cluster, index) = (scene.cluster.clone(), scene.operator.index());
        scene.react(move |call| {
            if matches!(call, Call::Execute(Step::CreateRole { .. })) {
                cluster.with(edit);
                let object = cluster.server().objects[&backfill()].clone();
                index.backfills.apply(serde_json::from_value(object).unwrap());
            }
            Choice::Answer
        });
        scene.reconcile();
        let roles = scene.roles();
        assert!(roles.len() == 1 && roles[0].policy.is_none(), "{what}: {roles:?}");
    }
}

#[test]
fn no_job_is_asked_for_that_is_forbidden_while_its_token_is_written() {
    let scene = Scene::new();
    scene.clock.advance(Duration::from_secs(16 * 60));
    let (_, pause) = scene.reconcile();
    assert_eq!(scene.roles().len(), 1);
    scene.clock.advance(pause.unwrap());
    scene.edit_at(
        |call| *call == Call::SetStatus,
        parent(),
        |object| object["spec"]["suspend"] = json!(true),
    );
    let (status, _) = scene.reconcile();
    assert_eq!(reason(&status), "ReplicationNotReady");
    assert!(scene.cloud.world().jobs.held.is_empty());
}

/// A backfill whose role is made, and whose job is asked for by the next reconcile.
fn about_to_ask() -> Scene {
    let scene = Scene::new();
    scene.clock.advance(Duration::from_secs(16 * 60));
    let (_, pause) = scene.reconcile();
    assert_eq!(scene.roles().len(), 1);
    scene.clock.advance(pause.unwrap());
    scene
}

#[test]
fn no_job_is_asked_for_that_the_user_cancels_deletes_or_gives_up_while_its_token_is_written() {
    type Edit = fn(&mut ApiServer);
    let edits: [(&str, Edit); 3] = [
        ("cancelled", |server| server.edit(&backfill(), |object| object["spec"]["cancel"] = json!(true))),
        ("deleted", |server| server.delete(&backfill())),
        ("gone", |server| {
            server.edit(&backfill(), |object| object["metadata"]["finalizers"] = Value::Null);
            server.delete(&backfill());
        }),
    ];
    for (what, edit) in edits {
        let scene = about_to_ask();
        let (cluster, mut edited) = (scene.cluster.clone(), false);
        scene.react(move |call| {
            if !edited && *call == Call::SetStatus {
                edited = true;
                cluster.with(edit);
            }
            Choice::Answer
        });
        scene.reconcile();
        assert!(scene.cloud.world().jobs.held.is_empty(), "{what}");
    }
}

#[test]
fn no_role_is_made_for_a_backfill_that_goes_before_its_status_names_the_role() {
    let scene = Scene::new();
    scene.clock.advance(Duration::from_secs(16 * 60));
    let (cluster, mut gone) = (scene.cluster.clone(), false);
    scene.react(move |call| {
        if !gone && *call == Call::SetStatus {
            gone = true;
            cluster.with(|server| {
                server.edit(&backfill(), |object| object["metadata"]["finalizers"] = Value::Null);
                server.delete(&backfill());
            });
        }
        Choice::Answer
    });
    scene.reconcile();
    assert!(scene.roles().is_empty());
}

#[test]
fn a_user_who_strips_the_finalizer_while_the_cache_lags_keeps_the_role_and_the_job() {
    let theirs = |scene: &Scene, finalizers: Value| {
        scene.edit(&backfill(), move |object| object["metadata"]["finalizers"] = finalizers.clone());
    };
    let scene = Scene::awaiting_approval();
    theirs(&scene, json!(["example.com/backup", crate::api::FINALIZER]));
    scene.cluster.with(|server| server.delete(&backfill()));
    scene.cluster.with(|server| scene.operator.sync(server));
    theirs(&scene, json!(["example.com/backup"]));
    scene.reconcile_from_cache();
    assert_eq!((scene.job().as_str(), scene.roles().len()), ("Suspended", 1));
}

#[test]
fn a_leader_whose_cache_lags_does_not_end_a_cancelled_backfill_whose_job_the_former_leader_asked_for() {
    let mut scene = about_to_ask();
    scene.cloud.with(|world| world.jobs.lists_late = true);
    // The user cancels when the former leader has asked for the last time whether it may go on.
    let (cluster, seen) = (scene.cluster.clone(), Arc::new(Mutex::new(ApiServer::default())));
    let shown = seen.clone();
    scene.react(move |call| {
        if *call == Call::CreateJob {
            cluster.with(|server| server.edit(&backfill(), |object| object["spec"]["cancel"] = json!(true)));
            let mut lagging = cluster.server();
            let held = lagging.objects.get_mut(&backfill()).unwrap();
            held["status"] = json!({});
            held["metadata"]["resourceVersion"] = json!("lagging");
            *shown.lock() = lagging;
        }
        Choice::Answer
    });
    scene.reconcile();
    assert_eq!(scene.job(), "New");
    scene.restart();
    scene.operator.sync(&seen.lock());
    let (status, _) = scene.reconcile_from_cache();
    assert!(status["jobId"].is_string() && status["finishedAt"].is_null(), "{status:#}");
    let ended = scene.until("Cancelled");
    assert!(ended["role"].is_null() && scene.roles().is_empty(), "{ended:#}");
}

#[test]
fn a_backfill_waits_after_a_configuration_whose_write_nobody_reported() {
    let edit_rules = |scene: &Scene| {
        scene.edit(&parent(), |object| object["spec"]["rules"][0]["filter"] = json!({"prefix": "a/"}));
    };
    let drift = |scene: &Scene| {
        scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
    };
    let causes: [fn(&Scene); 2] = [edit_rules, drift];
    for (cause, fault) in
        causes.iter().flat_map(|cause| [(cause, "dies"), (cause, "loses"), (cause, "unreported")])
    {
        let mut scene = Scene::new();
        scene.clock.advance(Duration::from_secs(16 * 60));
        cause(&scene);
        let mut put = false;
        scene.react(move |call| match fault {
            "dies" if puts_configuration(call) => Choice::DieAfter,
            "loses" if puts_configuration(call) => Choice::FailAfter,
            "unreported" if put && *call == Call::SetStatus => {
                Choice::FailBefore(crate::replication::FailureClass::Unavailable)
            }
            _ => {
                put |= puts_configuration(call);
                Choice::Answer
            }
        });
        scene.cluster.with(|server| scene.operator.sync(server));
        let _ = scene.operator.reconcile_now("data", PARENT);
        scene.restart();
        // S3 may answer from before the write for a minute.
        scene.clock.advance(Duration::from_secs(61));
        let parent = scene.check_parent();
        assert_eq!(reason(&parent), "Applied", "{fault}: {parent:#}");
        let (status, _) = scene.reconcile();
        assert_eq!(reason(&status), "Settling", "{fault}: {status:#}");
        scene.until("Completed");
    }
}
