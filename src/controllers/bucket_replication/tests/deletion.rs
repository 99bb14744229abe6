//! Deletion: what goes, what stays, and that it always ends.

use super::*;
use crate::api::FINALIZER;

#[test]
fn deletion_removes_what_was_made_and_then_the_object() {
    let mut scene = Scene::ready();
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(scene.role().is_none());
    assert!(scene.world().buckets["orders"].configuration.is_none());
}

#[test]
fn deletion_goes_on_after_a_crash_before_or_after_any_call() {
    let calls = {
        let mut scene = Scene::ready();
        scene.delete();
        scene.check();
        scene.calls()
    };
    for (index, call) in calls.iter().enumerate() {
        for choice in [Choice::DieBefore, Choice::DieAfter] {
            let mut scene = Scene::ready();
            scene.delete();
            let wanted = call.clone();
            scene.at(move |call| *call == wanted, move |_, _| choice);
            assert_eq!(scene.check(), None, "{choice:?} at call {index}, {call}");
            scene.restart();
            // The new process takes what is gone for an old answer at first.
            for _ in 0..5 {
                let pause = scene.check().flatten().unwrap_or_default();
                scene.clock.advance(pause.min(Duration::from_secs(15)));
            }
            assert_eq!(scene.object(), None, "{choice:?} at call {index}, {call}");
            assert!(scene.role().is_none(), "{choice:?} at call {index}, {call}");
        }
    }
}

#[test]
fn deletion_ends_when_the_buckets_are_gone() {
    let mut scene = Scene::ready();
    scene.cloud.with(|world| world.buckets.clear());
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(scene.role().is_none());
}

#[test]
fn retain_and_observe_leave_aws_as_it_is() {
    for (field, value) in [("deletionPolicy", "Retain"), ("managementPolicy", "Observe")] {
        let mut scene = Scene::ready();
        let mut changed = spec();
        changed[field] = json!(value);
        scene.apply(changed);
        scene.check();
        let before = scene.world().canonical();
        scene.delete();
        scene.check();
        assert_eq!((scene.object(), scene.world().canonical()), (None, before), "{field}");
    }
}

#[test]
fn a_role_with_policies_of_others_keeps_the_finalizer_until_they_are_removed() {
    let mut scene = Scene::ready();
    let role = |scene: &Scene, policies: Vec<String>| {
        scene.cloud.with(|world| world.role_mut(HERE, "orders-role").unwrap().other_policies = policies);
    };
    role(&scene, vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned()]);
    scene.delete();
    scene.check();
    assert_eq!(scene.reason(), "DeletionBlocked");
    role(&scene, Vec::new());
    scene.check();
    assert_eq!(scene.object(), None);
}

#[test]
fn another_finalizer_that_goes_meanwhile_does_not_stop_the_deletion() {
    let mut scene = Scene::ready();
    let theirs = |server: &mut ApiServer, finalizers: Value| {
        server.edit(&Scene::resource(), |object| object["metadata"]["finalizers"] = finalizers);
    };
    scene.cluster.with(|server| theirs(server, json!(["foregroundDeletion", FINALIZER])));
    scene.delete();
    scene.at(
        |call| *call == Call::RemoveFinalizer,
        move |_, cluster| {
            cluster.with(|server| theirs(server, json!([FINALIZER])));
            Choice::Answer
        },
    );
    scene.check();
    assert_eq!(scene.object(), None);
}

#[test]
fn a_user_who_strips_the_finalizer_while_the_cache_lags_keeps_what_is_in_aws() {
    let mut scene = Scene::ready();
    let theirs = |server: &mut ApiServer, finalizers: Value| {
        server.edit(&Scene::resource(), |object| object["metadata"]["finalizers"] = finalizers);
    };
    scene.cluster.with(|server| theirs(server, json!(["example.com/backup", FINALIZER])));
    scene.delete();
    let before = scene.world().canonical();
    let stale = scene.standby();
    scene.cluster.with(|server| theirs(server, json!(["example.com/backup"])));
    scene.operator = stale;
    scene.check_stale(NAME);
    assert_eq!((scene.writes_to_aws(), scene.world().canonical()), (Vec::new(), before));
    assert!(scene.object().is_some(), "the other finalizer keeps it");
}

#[test]
fn a_resource_that_cannot_be_decoded_is_still_cleaned_up() {
    let mut scene = Scene::ready();
    scene.cluster.with(|server| {
        server.edit(&Scene::resource(), |object| object["spec"]["rules"] = json!("nonsense"));
        server.delete(&Scene::resource());
    });
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(scene.role().is_none());
    assert!(scene.world().buckets["orders"].configuration.is_none());
}

/// A resource with an existing role, whose configuration someone made before it.
fn found() -> Scene {
    let mut scene = Scene::ready();
    scene.check();
    let held = scene.world();
    let mut found = Scene::new();
    found.cloud.with(|world| {
        *world = held;
        world.role_mut(HERE, "orders-role").unwrap().tags.clear();
    });
    let mut changed = spec();
    changed["role"] = json!({"arn": format!("arn:aws:iam::{HERE}:role/s3-replication/orders-role")});
    found.apply(changed);
    found.cloud.with(|world| {
        world.role_mut(HERE, "orders-role").unwrap().trust = json!({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}],
        });
    });
    found.check();
    assert_eq!(found.reason(), "Applied", "{:#}", found.status());
    assert_eq!(found.writes_to_aws(), [""; 0]);
    found
}

#[test]
fn a_configuration_that_was_there_before_the_resource_stays() {
    let mut scene = found();
    let before = scene.world().canonical();
    scene.delete();
    scene.check();
    assert_eq!((scene.object(), scene.world().canonical()), (None, before));
}

#[test]
fn a_configuration_that_someone_put_in_place_of_ours_stays() {
    let mut scene = Scene::ready();
    scene.cloud.with(|world| {
        let held = world.buckets.get_mut("orders").unwrap().configuration.as_mut().unwrap();
        held.role = format!("arn:aws:iam::{HERE}:role/theirs");
    });
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(scene.world().buckets["orders"].configuration.is_some());
    assert!(scene.role().is_none());
}
