//! A configuration that the status announced before the write counts as the resource's own, and no other one does.

use super::failed_steps::{rules, two_accounts};
use super::*;
use crate::replication::{Configuration, FailureClass, Step};

const GIVEN: &str = "given-role";

/// A resource with a role that the operator only reads, and which has not been checked yet.
fn given_role() -> Scene {
    let scene = Scene::new();
    let mut given = spec();
    given["role"] = json!({ "arn": create_role(&scene, GIVEN) });
    scene.apply(given);
    scene
}

/// Someone creates a role that S3 may assume. Returns its ARN.
pub(super) fn create_role(scene: &Scene, name: &str) -> String {
    let arn = format!("arn:aws:iam::{HERE}:role/{name}");
    let role = SimulatedRole {
        arn: arn.clone(),
        name: name.to_owned(),
        path: "/".to_owned(),
        trust: crate::iam::document::trust_policy("s3.amazonaws.com").to_value(),
        permissions_boundary: None,
        tags: Default::default(),
        policy: None,
        other_policies: Vec::new(),
    };
    scene.cloud.with(|world| world.roles.insert((HERE.to_owned(), name.to_owned()), role));
    arn
}

/// A resource that has not been checked yet, with a destination in each of two accounts. AWS denies the operator to
/// open `b-copies`.
fn half_closed(is_given: bool) -> Scene {
    let (scene, mut spec) = two_accounts();
    if is_given {
        spec["role"] = json!({ "arn": create_role(&scene, "orders-role") });
    }
    scene.apply(spec);
    for _ in 0..9 {
        let closed = |call: &Call| matches!(call, Call::WriteBucketPolicy(to) if to.name == "b-copies");
        scene.at(closed, |_, _| Choice::FailBefore(FailureClass::Denied));
    }
    scene
}

fn puts(call: &Call) -> bool {
    matches!(call, Call::Execute(Step::PutReplication { .. }))
}

/// The configuration that the next check puts; it is put with this choice.
fn put_with(scene: &mut Scene, choice: Choice) -> Configuration {
    scene.at(puts, move |_, _| choice);
    scene.check();
    let put = scene.calls().into_iter().find_map(|call| match call {
        Call::Execute(Step::PutReplication { configuration, .. }) => Some(configuration),
        _ => None,
    });
    put.expect("a configuration is put")
}

fn someone_puts(scene: &Scene, configuration: Configuration) {
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = Some(configuration));
}

fn held(scene: &Scene) -> Option<Configuration> {
    scene.world().buckets["orders"].configuration.clone()
}

fn later(scene: &mut Scene) {
    scene.clock.advance(Duration::from_secs(601));
    scene.check();
}

#[test]
fn a_configuration_with_a_given_role_is_known_and_deleted_after_a_crash_or_a_lost_answer() {
    for choice in [Choice::DieAfter, Choice::FailAfter] {
        let mut scene = given_role();
        put_with(&mut scene, choice);
        assert_eq!(scene.status()["announcedConfiguration"]["origin"], "Created", "{:#}", scene.status());
        scene.restart();
        later(&mut scene);
        assert_eq!(
            (scene.reason().as_str(), &scene.status()["configuration"]),
            ("Applied", &json!("Created"))
        );
        assert!(scene.status()["announcedConfiguration"].is_null(), "it is not needed any more");
        scene.delete();
        later(&mut scene);
        assert_eq!((held(&scene), scene.object()), (None, None));
    }
}

#[test]
fn a_deletion_right_after_a_crash_removes_what_was_announced() {
    let mut scene = given_role();
    put_with(&mut scene, Choice::DieAfter);
    scene.restart();
    scene.delete();
    later(&mut scene);
    assert_eq!((held(&scene), scene.object()), (None, None));
}

#[test]
fn an_equal_configuration_that_someone_puts_after_a_refused_try_is_found_and_stays() {
    let mut scene = given_role();
    let refused = put_with(&mut scene, Choice::FailBefore(FailureClass::Denied));
    assert!(scene.status()["announcedConfiguration"].is_null(), "S3 answered that it did not write it");
    someone_puts(&scene, refused.clone());
    later(&mut scene);
    assert_eq!((scene.reason().as_str(), &scene.status()["configuration"]), ("Applied", &json!("Found")));
    scene.delete();
    later(&mut scene);
    assert_eq!((held(&scene), scene.object()), (Some(refused), None));
}

#[test]
fn another_configuration_that_someone_puts_after_an_announcement_is_foreign_and_stays() {
    for choice in [Choice::FailBefore(FailureClass::Unavailable), Choice::DieBefore, Choice::DieAfter] {
        let mut scene = given_role();
        let announced = put_with(&mut scene, choice);
        scene.restart();
        let mut theirs = announced.clone();
        theirs.rules.get_mut("all").unwrap().filter.prefix = "theirs/".to_owned();
        someone_puts(&scene, theirs.clone());
        later(&mut scene);
        assert_eq!(scene.reason(), "ForeignConfiguration", "{choice:?}");
        scene.delete();
        later(&mut scene);
        assert_eq!((held(&scene), scene.object()), (Some(theirs), None), "{choice:?}");
    }
}

#[test]
fn an_announcement_that_aws_does_not_show_within_a_minute_is_withdrawn() {
    let mut scene = given_role();
    let lost = put_with(&mut scene, Choice::DieBefore);
    scene.restart();
    let mut suspended = scene.object().unwrap()["spec"].clone();
    suspended["managementPolicy"] = json!("Observe");
    scene.apply(suspended.clone());
    later(&mut scene);
    assert!(scene.status()["announcedConfiguration"].is_null(), "{:#}", scene.status());
    someone_puts(&scene, lost);
    suspended["managementPolicy"] = json!("Enforce");
    scene.apply(suspended);
    later(&mut scene);
    assert_eq!(scene.status()["configuration"], "Found");
}

#[test]
fn an_adopted_configuration_stays_adopted_although_the_answer_was_lost() {
    let mut scene = given_role();
    let put = put_with(&mut scene, Choice::FailBefore(FailureClass::Denied));
    let mut theirs = put;
    theirs.rules.get_mut("all").unwrap().filter.prefix = "theirs/".to_owned();
    someone_puts(&scene, theirs);
    let mut adopting = scene.object().unwrap()["spec"].clone();
    adopting["adoptionPolicy"] = json!("Adopt");
    scene.apply(adopting.clone());
    scene.clock.advance(Duration::from_secs(601));
    let ours = put_with(&mut scene, Choice::DieAfter);
    scene.restart();
    later(&mut scene);
    assert_eq!(scene.status()["configuration"], "Adopted");
    adopting["adoptionPolicy"] = json!("Refuse");
    scene.apply(adopting);
    scene.delete();
    later(&mut scene);
    assert_eq!(
        (held(&scene), scene.object()),
        (Some(ours.as_held()), None),
        "an adopted one stays without adoptionPolicy: Adopt"
    );
}

#[test]
fn a_part_of_a_configuration_is_known_and_deleted_after_a_crash() {
    for is_given in [true, false] {
        let mut scene = half_closed(is_given);
        put_with(&mut scene, Choice::DieAfter);
        assert_eq!(rules(&scene), ["a"]);
        scene.restart();
        if !is_given {
            scene.cloud.with(|world| world.roles.clear());
        }
        later(&mut scene);
        assert_eq!(scene.reason(), "AccessDenied", "{}", scene.message());
        assert_eq!(scene.status()["configuration"], "Created");
        scene.script.lock().traps.clear();
        later(&mut scene);
        assert_eq!((scene.reason().as_str(), rules(&scene).len()), ("Applied", 2), "{}", scene.message());
        scene.delete();
        later(&mut scene);
        assert_eq!((held(&scene), scene.object()), (None, None));
    }
}

#[test]
fn a_deletion_right_after_a_crash_removes_the_part_that_was_put() {
    for is_given in [true, false] {
        let mut scene = half_closed(is_given);
        put_with(&mut scene, Choice::DieAfter);
        scene.restart();
        if !is_given {
            scene.cloud.with(|world| world.roles.clear());
        }
        scene.delete();
        later(&mut scene);
        later(&mut scene);
        assert_eq!((held(&scene), scene.object()), (None, None));
    }
}

#[test]
fn another_part_that_someone_puts_is_foreign_and_stays() {
    for choice in [Choice::DieBefore, Choice::DieAfter] {
        let mut scene = half_closed(true);
        let announced = put_with(&mut scene, choice);
        scene.restart();
        let mut theirs = announced.clone();
        let mut rule = theirs.rules.remove("a").unwrap();
        rule.destination.bucket = "arn:aws:s3:::b-copies".to_owned();
        rule.destination.account = Some("777788889999".to_owned());
        rule.priority = Some(2);
        theirs.rules.insert("b".to_owned(), rule);
        someone_puts(&scene, theirs.clone());
        later(&mut scene);
        assert_eq!(scene.reason(), "ForeignConfiguration", "{choice:?}: {}", scene.message());
        scene.delete();
        later(&mut scene);
        assert_eq!((held(&scene), scene.object()), (Some(theirs), None), "{choice:?}");
    }
}

#[test]
fn tries_that_end_as_the_last_one_did_write_no_status() {
    let mut scene = half_closed(false);
    for _ in 0..9 {
        scene.at(puts, |_, _| Choice::FailBefore(FailureClass::Denied));
    }
    later(&mut scene);
    let writes = |scene: &Scene| scene.calls().iter().filter(|call| **call == Call::SetStatus).count();
    assert!(writes(&scene) > 0);
    for _ in 0..3 {
        later(&mut scene);
        assert!(scene.calls().iter().any(puts), "S3 refuses it again");
        assert_eq!(writes(&scene), 0, "{:#}", scene.status());
    }
    // Nothing is put where no rule can be.
    scene.script.lock().traps.clear();
    for _ in 0..9 {
        scene.at(
            |call| matches!(call, Call::WriteBucketPolicy(_)),
            |_, _| Choice::FailBefore(FailureClass::Denied),
        );
    }
    scene.cloud.with(|world| world.buckets.get_mut("a-copies").unwrap().policy = None);
    later(&mut scene);
    later(&mut scene);
    assert!(!scene.calls().iter().any(puts));
    assert_eq!(writes(&scene), 0, "{:#}", scene.status());
}
