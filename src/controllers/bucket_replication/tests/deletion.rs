//! Deletion: what goes, what stays, and that it always ends.

use super::*;
use crate::api::FINALIZER;
use crate::replication::{FailureClass, Step};

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

/// A status of which one field holds what this version cannot read, as a newer version may have left it.
fn damaged(field: &str) -> Scene {
    let mut scene = Scene::settled();
    let mut renamed = spec();
    renamed["role"]["name"] = json!("renamed-role");
    scene.apply(renamed);
    // The former role stays, and only the status names it.
    let denied = |_: &SimulatedCloud, _: &SimulatedCluster| Choice::FailBefore(FailureClass::Denied);
    scene.at(writes("iam:DeleteRole"), denied);
    scene.check();
    assert_eq!(scene.status()["formerRoles"].as_array().map(Vec::len), Some(1), "{:#}", scene.status());
    scene.cluster.with(|server| {
        server.edit(&Scene::resource(), |object| object["status"][field] = json!({"new": [7]}));
    });
    scene
}

/// The fields whose loss leaves the deletion enough to find everything.
const LOST: [&str; 11] = [
    "observedGeneration",
    "conditions",
    "source",
    "destinations",
    "role",
    "announcedConfiguration",
    "appliedRole",
    "configuredAt",
    "rules",
    "driftCount",
    "appliedHash",
];

#[test]
fn a_field_of_the_status_that_cannot_be_read_hides_no_former_role_from_a_deletion() {
    for field in LOST {
        let mut scene = damaged(field);
        scene.delete();
        for _ in 0..5 {
            let pause = scene.check().flatten().unwrap_or_default();
            scene.clock.advance(pause.min(Duration::from_secs(15)));
        }
        assert_eq!(scene.object(), None, "{field}: {}", scene.message());
        assert!(scene.world().roles.is_empty(), "{field}: {:?}", scene.world().roles);
        assert!(scene.world().buckets["orders"].configuration.is_none(), "{field}");
    }
}

#[test]
fn a_field_of_the_status_that_cannot_be_read_is_replaced_and_the_others_stay() {
    for field in LOST {
        let mut scene = damaged(field);
        for _ in 0..5 {
            let pause = scene.check().flatten().unwrap_or_default();
            scene.clock.advance(pause.min(Duration::from_secs(15)));
        }
        assert_eq!(scene.reason(), "Applied", "{field}: {}", scene.message());
        assert!(scene.role().is_none(), "{field}: the former role is known, and goes");
    }
}

#[test]
fn a_configuration_whose_origin_cannot_be_read_stays() {
    let mut scene = found();
    scene.cluster.with(|server| {
        server.edit(&Scene::resource(), |object| object["status"]["configuration"] = json!("Imported"));
    });
    let before = scene.world().canonical();
    scene.delete();
    scene.check();
    assert_eq!((scene.object(), scene.world().canonical()), (None, before));
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
fn a_configuration_that_someone_put_in_place_of_the_operators_stays() {
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

/// A resource that took over a role that someone else made.
fn with_adopted_role() -> (Scene, Value) {
    let mut scene = Scene::new();
    let make = |world: &mut World| {
        let documents = crate::replication::RoleDocuments {
            path: "/s3-replication/".into(),
            trust: crate::iam::document::trust_policy("s3.amazonaws.com").to_json(),
            permissions_boundary: None,
            tags: [("team".to_owned(), "data".to_owned())].into(),
            description: String::new(),
        };
        world.execute(HERE, &Step::CreateRole { role: "orders-role".into(), documents }).unwrap();
    };
    scene.cloud.with(make);
    let mut adopting = spec();
    adopting["adoptionPolicy"] = json!("Adopt");
    scene.apply(adopting.clone());
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    scene.wait_a_minute();
    scene.check();
    (scene, adopting)
}

fn role_message(scene: &Scene) -> String {
    scene.condition("RoleReady")["message"].to_string()
}

#[test]
fn an_adopted_role_is_announced_to_go_with_the_resource_and_goes_while_adoption_is_allowed() {
    let (mut scene, _) = with_adopted_role();
    assert!(
        role_message(&scene).contains("deleting this resource deletes it too"),
        "{}",
        role_message(&scene)
    );
    let events = scene.cluster.server().events;
    assert!(format!("{events:?}").contains("RoleAdopted"), "{events:?}");
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(scene.role().is_none());
}

#[test]
fn an_adopted_role_is_given_back_once_adoption_is_allowed_no_longer() {
    let (mut scene, mut spec) = with_adopted_role();
    spec["adoptionPolicy"] = json!("Refuse");
    scene.apply(spec);
    scene.check();
    assert!(role_message(&scene).contains("deleting this resource leaves it"), "{}", role_message(&scene));
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None, "{}", scene.message());
    let role = scene.role().unwrap();
    assert_eq!(role.policy, None, "what the operator gave it goes");
    assert_eq!(role.tags, [("team".to_owned(), "data".to_owned())].into());
    assert!(scene.world().buckets["orders"].configuration.is_none());
}

#[test]
fn a_former_role_that_was_adopted_is_given_back_too() {
    let (mut scene, mut spec) = with_adopted_role();
    spec["adoptionPolicy"] = json!("Refuse");
    spec["role"]["name"] = json!("another-role");
    scene.apply(spec);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{}", scene.message());
    let role = scene.role().unwrap();
    assert_eq!((role.policy, role.tags.len()), (None, 1));
    scene.wait_a_minute();
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    assert_eq!(scene.status()["formerRoles"], Value::Null);
}

#[test]
fn a_deletion_without_its_account_names_three_ways_out_that_each_end_it() {
    let ends: [fn(&Scene, Value); 3] = [
        |scene, account| scene.account("here", account),
        |scene, account| {
            scene.account("other", account);
            let name = |object: &mut Value| object["spec"]["source"]["accountRef"] = json!("other");
            scene.cluster.with(|server| server.edit(&Scene::resource(), name));
        },
        |scene, _| {
            let retain = |object: &mut Value| object["spec"]["deletionPolicy"] = json!("Retain");
            scene.cluster.with(|server| server.edit(&Scene::resource(), retain));
        },
    ];
    type Loss = (fn(&Scene), &'static str, [&'static str; 2]);
    let losses: [Loss; 2] = [
        (
            |scene| scene.cluster.with(|server| server.delete(&ObjectName::account("here"))),
            "AccountNotFound",
            ["kubectl apply -f FILE, with name here", HERE],
        ),
        (
            |scene| scene.account("here", json!({"accountId": HERE, "sources": "all of them"})),
            "InvalidSpec",
            ["AwsAccount here cannot be read", "correct the AwsAccount;"],
        ),
    ];
    for (lose, reason, own_parts) in losses {
        for (index, end) in ends.into_iter().enumerate() {
            let account = account_for(&["copies"]);
            let mut scene = Scene::new();
            scene.account("here", account.clone());
            let mut under_account = spec();
            under_account["source"]["accountRef"] = json!("here");
            scene.apply(under_account);
            scene.check();
            scene.wait_a_minute();
            lose(&scene);
            scene.delete();
            scene.check();
            assert_eq!((scene.reason().as_str(), scene.writes_to_aws().len()), (reason, 0));
            for part in own_parts.into_iter().chain([
                r#"kubectl patch bucketreplication orders -n data --type merge -p '{"spec":{"source":{"accountRef":"OTHER"}}}'"#,
                r#"kubectl patch bucketreplication orders -n data --type merge -p '{"spec":{"deletionPolicy":"Retain"}}'"#,
            ]) {
                assert!(scene.message().contains(part), "{}", scene.message());
            }
            end(&scene, account);
            scene.check();
            assert_eq!(scene.object(), None, "{reason}, way {index}: {}", scene.message());
            assert_eq!(scene.role().is_some(), index == 2, "{reason}, way {index}");
        }
    }
}

#[test]
fn an_own_identity_that_moved_to_another_account_leaves_nothing_behind_unnoticed() {
    for (checked, bucket_is_gone) in [(false, true), (true, true), (false, false), (true, false)] {
        let case = format!("checked: {checked}, the bucket is gone: {bucket_is_gone}");
        let mut scene = Scene::ready();
        scene.cloud.with(|world| {
            world.own_account = THERE.to_owned();
            if bucket_is_gone {
                world.buckets.clear();
            }
        });
        if checked {
            scene.wait_a_minute();
            assert_ne!(scene.reason(), "Applied", "{case}");
        }
        scene.delete();
        scene.check();
        assert_eq!(scene.reason(), "AccountMismatch", "{case}: {}", scene.message());
        for part in [HERE, THERE, r#"{"spec":{"deletionPolicy":"Retain"}}"#, r#""accountRef":"OTHER""#] {
            assert!(scene.message().contains(part), "{case}: {}", scene.message());
        }
        assert!(scene.role().is_some(), "{case}");
        scene.account("other", account_for(&["copies"]));
        scene.cluster.with(|server| {
            let name = |object: &mut Value| object["spec"]["source"]["accountRef"] = json!("other");
            server.edit(&Scene::resource(), name);
        });
        scene.check();
        assert_eq!(scene.object(), None, "{case}: {}", scene.message());
        assert!(scene.role().is_none(), "{case}");
    }
}

#[test]
fn an_own_identity_that_is_back_ends_the_deletion() {
    let mut scene = Scene::ready();
    scene.cloud.with(|world| world.own_account = THERE.to_owned());
    scene.delete();
    scene.check();
    assert_eq!(scene.reason(), "AccountMismatch", "{}", scene.message());
    scene.cloud.with(|world| world.own_account = HERE.to_owned());
    scene.check();
    assert_eq!(scene.object(), None, "{}", scene.message());
    assert!(scene.role().is_none());
}
