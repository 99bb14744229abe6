//! AWS answers with the state from before the operator's own writes: nobody is blamed, and nothing is written again and
//! again.

use super::*;
use crate::runtime::leader::Succession;

type Part = (&'static str, fn(&mut World, &World));

/// Sets a part of a state to what it was.
const PARTS: [Part; 8] = [
    ("the configuration", |now, then| {
        let before = then.buckets["orders"].configuration.clone();
        now.buckets.get_mut("orders").unwrap().configuration = before;
    }),
    ("versioning of the source", |now, then| {
        now.buckets.get_mut("orders").unwrap().versioning = then.buckets["orders"].versioning;
    }),
    ("versioning of the destination", |now, then| {
        now.buckets.get_mut("copies").unwrap().versioning = then.buckets["copies"].versioning;
    }),
    ("all roles", |now, then| now.roles = then.roles.clone()),
    ("tags and trust of the role", |now, then| {
        let Some(role) = now.role_mut(HERE, "orders-role") else { return };
        // A role is created with both.
        if let Some(before) = then.role(HERE, "orders-role") {
            (role.tags, role.trust) = (before.tags.clone(), before.trust.clone());
        }
    }),
    ("the policy of the role", |now, then| {
        let before = then.role(HERE, "orders-role").and_then(|role| role.policy.clone());
        if let Some(role) = now.role_mut(HERE, "orders-role") {
            role.policy = before;
        }
    }),
    ("the policy of the destination", |now, then| {
        let before = then.buckets["dr-copies"].policy.clone();
        now.buckets.get_mut("dr-copies").unwrap().policy = before;
    }),
    ("everything", |now, then| *now = then.clone()),
];

/// Two destinations, one of them in another account.
fn two_destinations() -> (Scene, Value) {
    let scene = Scene::new();
    scene.cloud.with(|world| world.create_bucket("dr-copies", "eu-west-1", THERE));
    let here = json!({
        "accountId": HERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{HERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "sources": ["orders"],
        "destinations": ["copies"],
        "roles": {"allow": ["orders-role", "orders-role-2"]},
    });
    scene.account("here", here);
    let there = json!({
        "accountId": THERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "destinations": ["dr-copies"],
    });
    scene.account("there", there);
    let mut two = spec();
    two["source"]["accountRef"] = json!("here");
    two["role"]["tags"] = json!({"team": "data"});
    two["rules"] = json!([
        {"id": "all", "priority": 1, "destination": {"bucket": "copies"}},
        {"id": "dr", "priority": 2, "destination": {"bucket": "dr-copies", "accountRef": "there"}},
    ]);
    (scene, two)
}

fn old(scene: &Scene, part: &Part, seconds: u64, alternate: bool) {
    scene.cloud.answer_old(&scene.clock, Duration::from_secs(seconds), alternate, part.1);
}

fn published(scene: &Scene) -> String {
    let events = scene.cluster.with(|server| server.events.clone());
    format!("{events:?}")
}

/// Checks that are asked for, until the old answers and the minute after them are over.
fn check_often(scene: &mut Scene, what: &str, mut each: impl FnMut(&mut Scene)) -> Vec<String> {
    let mut written = Vec::new();
    for number in 0..24 {
        scene.clock.advance(Duration::from_secs(5));
        scene.annotate(&format!("{what} {number}"));
        scene.check();
        written.extend(scene.writes_to_aws());
        each(scene);
    }
    written
}

fn require_ready(scene: &Scene, what: &str) {
    assert_eq!(scene.reason(), "Applied", "{what}: {:#}", scene.status());
}

fn require_nobody_blamed(scene: &Scene, what: &str) {
    let status = scene.status();
    assert_eq!(status["lastCorrection"], Value::Null, "{what}: {status:#}");
    assert_eq!(status["driftCount"], 0, "{what}: {status:#}");
    let events = published(scene);
    assert!(!events.contains("DriftCorrected") && !events.contains("DriftDetected"), "{what}: {events}");
}

#[test]
fn a_new_resource_stays_ready_whatever_is_answered_from_before_its_creation() {
    for part in &PARTS {
        for alternate in [false, true] {
            let what = format!("{}, alternating: {alternate}", part.0);
            let (mut scene, spec) = two_destinations();
            scene.apply(spec);
            old(&scene, part, 12, alternate);
            scene.check();
            require_ready(&scene, &what);
            let applied = scene.world().canonical();
            let written = check_often(&mut scene, &what, |scene| require_ready(scene, &what));
            assert_eq!(written, [""; 0], "{what}");
            require_nobody_blamed(&scene, &what);
            assert_eq!(scene.world().canonical(), applied, "{what}");
            scene.clock.advance(Duration::from_secs(10));
            scene.check();
            assert_eq!(scene.status()["lastHandledRequest"], format!("{what} 23"));
        }
    }
}

/// Two applied resources with the destinations of [`two_destinations`], the second one `invoices`.
fn two_resources() -> Scene {
    let (scene, spec) = two_destinations();
    scene.cloud.with(|world| world.create_bucket("invoices", "us-east-1", HERE));
    scene.cluster.with(|server| {
        server.edit(&ObjectName::account("here"), |object| {
            object["spec"]["sources"] = json!(["orders", "invoices"]);
        });
    });
    let mut other = spec.clone();
    other["source"]["bucket"] = json!("invoices");
    other["role"] = json!({"name": "orders-role-2"});
    scene.apply(spec);
    scene.apply_as("invoices", other);
    scene
}

/// This process has no memory of the last writes of the former one.
#[test]
fn a_new_process_merges_no_statements_into_a_shared_policy_that_may_be_old() {
    let mut scene = two_resources();
    scene.clock.advance(Duration::from_secs(1));
    // The policy stays as it is now for whoever reads it within the next minute.
    old(&scene, &PARTS[6], 60, false);
    scene.check();
    require_ready(&scene, "the first");
    scene.restart();
    scene.operator.sync(&scene.cluster.server());
    scene.operator.begin_term(Succession::Takeover);
    let of_other = |scene: &Scene| condition(&scene.object_of("invoices").unwrap()["status"], "Ready");
    for _ in 0..2 {
        scene.check_of("invoices");
        let ready = of_other(&scene);
        assert_eq!(ready["reason"], "Progressing", "{ready:#}");
        let message = ready["message"].as_str().unwrap();
        assert!(message.contains("started again a moment ago"), "{message}");
        assert!(message.contains("source bucket invoices and destination bucket dr-copies"), "{message}");
        assert_eq!(scene.writes_to_aws(), [""; 0]);
        scene.clock.advance(Duration::from_secs(10));
    }
    scene.clock.advance(Duration::from_secs(60));
    scene.check_of("invoices");
    assert_eq!(of_other(&scene)["reason"], "Applied");
    let policy = scene.world().buckets["dr-copies"].policy.clone().unwrap();
    assert_eq!(policy["Statement"].as_array().map(Vec::len), Some(4), "{policy:#}");
}

#[test]
fn a_change_that_waits_for_newer_answers_names_every_bucket_that_they_are_about() {
    for (part, buckets) in [
        (&PARTS[0], "source bucket orders,"),
        (&PARTS[1], "source bucket orders,"),
        (&PARTS[2], "source bucket orders and destination bucket copies,"),
        (&PARTS[6], "source bucket orders and destination bucket dr-copies,"),
        (&PARTS[7], "source bucket orders and destination buckets copies; dr-copies,"),
    ] {
        let (mut scene, spec) = two_destinations();
        scene.apply(spec.clone());
        old(&scene, part, 12, false);
        scene.check();
        scene.clock.advance(Duration::from_secs(1));
        scene.apply(changed(&spec, 2));
        scene.check();
        let ready = scene.condition("Ready");
        assert_eq!(ready["reason"], "Progressing", "{}: {ready:#}", part.0);
        assert!(ready["message"].as_str().unwrap().contains(buckets), "{}: {ready:#}", part.0);
    }
}

#[test]
fn two_resources_that_share_a_destination_keep_each_others_statements_whatever_s3_shows() {
    for alternate in [false, true] {
        let mut scene = two_resources();
        old(&scene, &PARTS[6], 12, alternate);
        scene.check();
        scene.check_of("invoices");
        let policy = scene.world().buckets["dr-copies"].policy.clone().unwrap();
        assert_eq!(policy["Statement"].as_array().map(Vec::len), Some(4), "{policy:#}");
        require_ready(&scene, "the first");
        let status = scene.object_of("invoices").unwrap()["status"].clone();
        assert_eq!(condition(&status, "Ready")["reason"], "Applied", "{status:#}");
        check_often(&mut scene, "asked", |scene| require_ready(scene, "the first"));
        require_nobody_blamed(&scene, "the first");
    }
}

/// The spec of a second and a third state, each of which changes the role, its policy, a bucket policy and the
/// configuration.
fn changed(spec: &Value, number: u8) -> Value {
    let mut changed = spec.clone();
    changed["role"]["tags"]["team"] = json!(format!("data-{number}"));
    changed["rules"][0]["filter"] = json!({"prefix": format!("p{number}/")});
    changed["rules"][1]["filter"] = json!({"prefix": format!("p{number}/")});
    changed["rules"][1]["destination"]["ownership"] = json!("Destination");
    changed["replicate"] = json!({"tags": number == 2});
    changed
}

#[test]
fn a_change_is_applied_once_and_stays_ready_whatever_is_answered_from_before_it() {
    for part in &PARTS {
        for alternate in [false, true] {
            let what = format!("{}, alternating: {alternate}", part.0);
            let (mut scene, spec) = two_destinations();
            scene.apply(spec.clone());
            scene.check();
            scene.clock.advance(Duration::from_secs(120));
            scene.check();
            old(&scene, part, 12, alternate);
            scene.apply(changed(&spec, 2));
            scene.check();
            require_ready(&scene, &what);
            let written = check_often(&mut scene, &what, |scene| require_ready(scene, &what));
            assert_eq!(written, [""; 0], "{what}");
            require_nobody_blamed(&scene, &what);
        }
    }
}

#[test]
fn two_changes_within_a_minute_are_not_undone_by_answers_from_before_both() {
    for part in &PARTS {
        let what = part.0;
        let (mut scene, spec) = two_destinations();
        scene.apply(spec.clone());
        scene.check();
        scene.clock.advance(Duration::from_secs(120));
        scene.check();
        let then = scene.world();
        scene.apply(changed(&spec, 2));
        scene.check();
        scene.clock.advance(Duration::from_secs(3));
        scene.apply(changed(&spec, 3));
        scene.check();
        require_ready(&scene, what);
        let now = scene.world();
        scene.cloud.with(|world| *world = then);
        old(&scene, part, 12, false);
        scene.cloud.with(|world| *world = now);
        let written = check_often(&mut scene, what, |scene| require_ready(scene, what));
        assert_eq!(written, [""; 0], "{what}");
        require_nobody_blamed(&scene, what);
    }
}

#[test]
fn a_role_that_is_handed_over_a_moment_after_its_creation_is_not_waited_for() {
    let (mut scene, mut spec) = two_destinations();
    scene.apply(spec.clone());
    scene.check();
    require_ready(&scene, "created");
    spec["role"] = json!({"arn": format!("arn:aws:iam::{HERE}:role/s3-replication/orders-role")});
    scene.apply(spec);
    scene.check();
    require_ready(&scene, "handed over");
    assert_eq!(scene.status()["role"]["managed"], false, "{:#}", scene.status());
}

#[test]
fn a_correction_is_counted_once_whatever_is_answered_from_before_it() {
    let (mut scene, spec) = two_destinations();
    scene.apply(spec);
    scene.check();
    scene.clock.advance(Duration::from_secs(120));
    scene.check();
    let applied = scene.world().canonical();
    scene.cloud.with(|world| {
        world.buckets.get_mut("orders").unwrap().configuration = None;
        let role = world.role_mut(HERE, "orders-role").unwrap();
        role.tags.insert("team".into(), "other".into());
        role.policy = None;
    });
    old(&scene, PARTS.last().unwrap(), 12, true);
    let mut corrections = Vec::new();
    let written = check_often(&mut scene, "asked", |scene| {
        corrections.push(scene.status()["lastCorrection"].clone());
    });
    assert_eq!(scene.world().canonical(), applied);
    assert_eq!(written.len(), 3, "{written:?}");
    corrections.retain(|correction| !correction.is_null());
    corrections.dedup();
    assert_eq!(corrections.len(), 1, "{corrections:#?}");
    require_ready(&scene, "in the end");
}

#[test]
fn a_new_process_takes_answers_from_before_a_write_of_the_former_one_for_what_they_are() {
    for part in &PARTS {
        for alternate in [false, true] {
            let what = format!("{}, alternating: {alternate}", part.0);
            let (mut scene, spec) = two_destinations();
            scene.apply(spec);
            old(&scene, part, 12, alternate);
            scene.check();
            require_ready(&scene, &what);
            scene.clock.advance(Duration::from_secs(1));
            scene.restart();
            let written = check_often(&mut scene, &what, |scene| require_ready(scene, &what));
            assert_eq!(written, [""; 0], "{what}");
            require_nobody_blamed(&scene, &what);
        }
    }
}

#[test]
fn drift_is_corrected_and_reported_once_the_minute_is_over() {
    // Nothing differs where the role is shown with the tags that it was created with.
    let parts = PARTS.iter().filter(|part| !["everything", "tags and trust of the role"].contains(&part.0));
    for part in parts {
        let what = part.0;
        let (mut scene, spec) = two_destinations();
        let then = scene.world();
        scene.apply(spec);
        scene.check();
        let applied = scene.world().canonical();
        scene.clock.advance(Duration::from_secs(2));
        scene.check();
        scene.cloud.with(|world| part.1(world, &then));
        let mut seconds = 0;
        while scene.status()["lastCorrection"].is_null() {
            assert!(seconds <= 20, "{what}: {:#}", scene.status());
            scene.clock.advance(Duration::from_secs(2));
            seconds += 2;
            scene.check();
        }
        assert_eq!(scene.world().canonical(), applied, "{what}");
        assert!(published(&scene).contains("DriftCorrected"), "{what}");
    }
}

#[test]
fn a_role_that_iam_does_not_show_yet_is_not_created_again_after_a_failed_first_check() {
    let (mut scene, spec) = two_destinations();
    scene.apply(spec);
    old(&scene, &PARTS[3], 12, false);
    scene.at(writes("iam:PutRolePolicy"), |_, _| {
        Choice::FailBefore(crate::replication::FailureClass::Unavailable)
    });
    scene.check();
    assert_eq!(scene.reason(), "AwsUnavailable");
    let mut reasons = Vec::new();
    let written = check_often(&mut scene, "asked", |scene| reasons.push(scene.reason()));
    let created = written.iter().filter(|step| step.starts_with("create role")).count();
    assert_eq!(created, 0, "{written:?}");
    assert!(reasons.iter().all(|reason| reason != "ForeignRole" && reason != "Conflict"), "{reasons:?}");
    require_ready(&scene, "in the end");
}

#[test]
fn a_former_role_that_iam_still_shows_is_deleted_once() {
    for alternate in [false, true] {
        let (mut scene, spec) = two_destinations();
        scene.apply(spec.clone());
        scene.check();
        scene.clock.advance(Duration::from_secs(120));
        scene.check();
        let mut renamed = spec;
        renamed["role"]["name"] = json!("orders-role-2");
        scene.apply(renamed);
        old(&scene, &PARTS[3], 12, alternate);
        scene.check();
        require_ready(&scene, "renamed");
        assert!(scene.role().is_none());
        let written = check_often(&mut scene, "asked", |scene| require_ready(scene, "renamed"));
        assert_eq!(written, [""; 0]);
        require_nobody_blamed(&scene, "renamed");
        let status = scene.status();
        assert!(!status.to_string().contains("role/s3-replication/orders-role\""), "{status:#}");
    }
}

#[test]
fn a_deletion_leaves_nothing_whatever_is_answered_from_before_the_creation() {
    for part in &PARTS {
        for (alternate, restart) in [(false, false), (true, false), (false, true)] {
            let what = format!("{}, alternating: {alternate}, another process: {restart}", part.0);
            let (mut scene, spec) = two_destinations();
            scene.apply(spec);
            old(&scene, part, 12, alternate);
            scene.check();
            scene.clock.advance(Duration::from_secs(1));
            scene.delete();
            if restart {
                scene.restart();
            }
            for _ in 0..40 {
                if scene.object().is_none() {
                    break;
                }
                let again = scene.check().flatten().unwrap_or(Duration::from_secs(5));
                scene.clock.advance(again.min(Duration::from_secs(15)));
            }
            let world = scene.world();
            assert_eq!(scene.object(), None, "{what}: {:#}", scene.status());
            assert!(world.roles.is_empty(), "{what}: {:?}", world.roles.keys());
            assert!(world.buckets["orders"].configuration.is_none(), "{what}");
            assert_eq!(world.buckets["dr-copies"].policy, None, "{what}");
        }
    }
}

#[test]
fn a_deletion_ends_once_aws_no_longer_shows_what_was_deleted() {
    for part in &PARTS {
        for alternate in [false, true] {
            let what = format!("{}, alternating: {alternate}", part.0);
            let (mut scene, spec) = two_destinations();
            scene.apply(spec);
            scene.check();
            scene.clock.advance(Duration::from_secs(120));
            scene.check();
            scene.delete();
            old(&scene, part, 12, alternate);
            for _ in 0..40 {
                if scene.object().is_none() {
                    break;
                }
                let again = scene.check().flatten().unwrap_or(Duration::from_secs(5));
                let reason = scene.reason();
                assert!(
                    ["Applied", "Progressing", ""].contains(&reason.as_str()),
                    "{what}: {}",
                    scene.message()
                );
                scene.clock.advance(again.min(Duration::from_secs(15)));
            }
            let world = scene.world();
            assert_eq!(scene.object(), None, "{what}: {:#}", scene.status());
            assert!(world.roles.is_empty(), "{what}: {:?}", world.roles.keys());
            assert!(world.buckets["orders"].configuration.is_none(), "{what}");
        }
    }
}

#[test]
fn an_adopted_role_and_configuration_stay_the_resources_own_whatever_is_answered_from_before() {
    for part in &PARTS {
        let (mut scene, spec) = two_destinations();
        scene.apply(spec.clone());
        scene.check();
        // They become someone else's, and the resource a new one.
        scene.cluster.with(|server| strip_and_delete(server, &Scene::resource()));
        scene.check();
        scene.cloud.with(|world| {
            let role = world.role_mut(HERE, "orders-role").unwrap();
            role.tags.retain(|key, _| !key.ends_with("uid") && !key.ends_with("cluster"));
        });
        scene.clock.advance(Duration::from_secs(120));
        let mut adopting = spec.clone();
        adopting["adoptionPolicy"] = json!("Adopt");
        adopting["rules"][0]["filter"] = json!({"prefix": "logs/"});
        scene.apply(adopting.clone());
        old(&scene, part, 12, false);
        scene.check();
        require_ready(&scene, part.0);
        adopting["adoptionPolicy"] = json!("Refuse");
        scene.apply(adopting);
        let written = check_often(&mut scene, part.0, |scene| {
            let reason = scene.reason();
            assert!(["Applied", "Progressing"].contains(&reason.as_str()), "{}: {}", part.0, scene.message());
        });
        assert_eq!(written, [""; 0], "{}", part.0);
        require_ready(&scene, part.0);
        require_nobody_blamed(&scene, part.0);
        assert_eq!(published(&scene).matches("RoleAdopted").count(), 1, "{}", part.0);
    }
}

#[test]
fn a_destination_that_was_removed_and_a_boundary_that_was_set_are_not_undone_whatever_is_answered_from_before()
 {
    for part in &PARTS {
        for alternate in [false, true] {
            let what = format!("{}, alternating: {alternate}", part.0);
            let (mut scene, mut spec) = two_destinations();
            scene.apply(spec.clone());
            scene.check();
            scene.clock.advance(Duration::from_secs(120));
            scene.check();
            old(&scene, part, 12, alternate);
            spec["rules"].as_array_mut().unwrap().pop();
            spec["role"]["permissionsBoundary"] = json!("arn:aws:iam::aws:policy/AmazonS3FullAccess");
            scene.apply(spec);
            scene.check();
            require_ready(&scene, &what);
            let applied = scene.world().canonical();
            check_often(&mut scene, &what, |scene| require_ready(scene, &what));
            require_nobody_blamed(&scene, &what);
            assert_eq!(scene.world().canonical(), applied, "{what}");
            assert_eq!(scene.status()["bucketPolicies"], Value::Null, "{what}: {:#}", scene.status());
        }
    }
}

#[test]
fn a_change_that_began_beside_a_denied_read_is_written_once_whatever_is_answered_from_before_it() {
    for part in &PARTS {
        let (mut scene, mut spec) = two_destinations();
        scene.apply(spec.clone());
        scene.check();
        scene.clock.advance(Duration::from_secs(120));
        scene.check();
        scene.cloud.with(|world| {
            world.denied_reads.insert(("iam:GetRolePolicy", "orders-role".to_owned()));
        });
        old(&scene, part, 12, false);
        spec["rules"][0]["status"] = json!("Disabled");
        scene.apply(spec);
        scene.check();
        let written = check_often(&mut scene, part.0, |_| {});
        assert_eq!(written, [""; 0], "{}", part.0);
        require_nobody_blamed(&scene, part.0);
        assert_eq!(scene.reason(), "AccessDenied", "{}", part.0);
    }
}
/// Reconciles when it is due, and not because it was asked for, until the resource is Ready. Returns after how long.
fn until_ready(scene: &mut Scene, name: &str, what: &str) -> Duration {
    let mut waited = Duration::ZERO;
    for _ in 0..60 {
        let next = scene.check_of(name).flatten().unwrap_or_default();
        let status = scene.object_of(name).unwrap_or_default()["status"].clone();
        if condition(&status, "Ready")["reason"] == "Applied" {
            return waited;
        }
        waited += next;
        scene.clock.advance(next);
    }
    panic!("{what}: {:#}", scene.object_of(name).unwrap_or_default()["status"]);
}

/// AWS answers with a former state from now on.
fn answer_with(scene: &Scene, then: World, part: &Part) {
    let now = scene.world();
    scene.cloud.with(|world| *world = then);
    old(scene, part, 12, false);
    scene.cloud.with(|world| *world = now);
}

#[test]
fn a_resource_that_is_made_again_at_once_is_ready_within_a_minute_whatever_is_left_of_the_former_one_in_answers()
 {
    for part in &PARTS {
        let (mut scene, spec) = two_destinations();
        scene.apply(spec.clone());
        scene.check();
        scene.clock.advance(Duration::from_secs(120));
        scene.check();
        let then = scene.world();
        scene.delete();
        scene.check();
        assert_eq!(scene.object(), None, "{}", part.0);
        answer_with(&scene, then, part);
        scene.apply(spec);
        let waited = until_ready(&mut scene, NAME, part.0);
        assert!(waited <= Duration::from_secs(60), "{}: {waited:?}", part.0);
        scene.clock.advance(Duration::from_secs(120));
        scene.check();
        require_ready(&scene, part.0);
        assert_eq!(scene.status()["configuration"], "Created", "{}", part.0);
    }
}

#[test]
fn a_resource_that_takes_over_a_source_is_ready_within_a_minute_although_s3_shows_the_former_configuration() {
    let mut scene = Scene::settled();
    let mut second = spec();
    second["role"]["name"] = json!("second-role");
    second["rules"][0]["filter"] = json!({"prefix": "logs/"});
    scene.clock.advance(Duration::from_secs(10));
    scene.apply_as("second", second);
    scene.check_of("second");
    scene.clock.advance(Duration::from_secs(120));
    let then = scene.world();
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None);
    answer_with(&scene, then, PARTS.last().unwrap());
    let waited = until_ready(&mut scene, "second", "the successor");
    assert!(waited <= Duration::from_secs(60), "{waited:?}");
    assert!(scene.world().role(HERE, "orders-role").is_none());
}
