//! A step that fails holds back what needs it, and nothing else.

use super::*;
use crate::replication::{FailureClass, Step};

const POLICY: &str = "s3:PutBucketPolicy";

/// A source, and one destination in each of two other accounts: `a-copies` and `b-copies`.
pub(super) fn two_accounts() -> (Scene, Value) {
    let scene = Scene::new();
    let mut two = spec();
    two["role"]["tags"] = json!({"team": "data"});
    let rules = [("a", THERE, 1), ("b", "777788889999", 2)].map(|(name, id, priority)| {
        let bucket = format!("{name}-copies");
        scene.cloud.with(|world| {
            world.trusting_accounts.push(id.to_owned());
            world.create_bucket(&bucket, "eu-west-1", id);
        });
        let account = json!({
            "accountId": id,
            "assumeRole": {"arn": format!("arn:aws:iam::{id}:role/operator")},
            "namespaces": {"matchNames": ["data"]},
            "sources": ["orders"],
            "destinations": [bucket, "c-copies"],
        });
        scene.account(name, account);
        json!({"id": name, "priority": priority, "destination": {"bucket": bucket, "accountRef": name}})
    });
    let here = json!({
        "accountId": HERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{HERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "sources": ["orders"],
        "roles": {"allow": ["orders-role"]},
    });
    scene.account("here", here);
    two["source"]["accountRef"] = json!("here");
    two["rules"] = json!(rules);
    (scene, two)
}

/// The same, Ready for longer than AWS may answer from before a write.
pub(super) fn replicating() -> (Scene, Value) {
    let (mut scene, spec) = two_accounts();
    scene.apply(spec.clone());
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    scene.clock.advance(Duration::from_secs(120));
    scene.check();
    (scene, spec)
}

/// Each call that matches is denied, until the process ends.
fn deny(scene: &Scene, times: usize, at: impl Fn(&Call) -> bool + Send + Clone + 'static) {
    fail(scene, times, FailureClass::Denied, at);
}

fn fail(
    scene: &Scene,
    times: usize,
    class: FailureClass,
    at: impl Fn(&Call) -> bool + Send + Clone + 'static,
) {
    for _ in 0..times {
        scene.at(at.clone(), move |_, _| Choice::FailBefore(class));
    }
}

fn writes_policy_of(bucket: &'static str) -> impl Fn(&Call) -> bool + Send + Clone {
    move |call| matches!(call, Call::WriteBucketPolicy(to) if to.name == bucket)
}

fn reads_policy_of(bucket: &'static str) -> impl Fn(&Call) -> bool + Send + Clone {
    move |call| matches!(call, Call::ReadBucketPolicy(from) if from.name == bucket)
}

pub(super) fn rules(scene: &Scene) -> Vec<String> {
    let held = scene.world().buckets["orders"].configuration.clone();
    held.map(|held| held.rules.keys().cloned().collect()).unwrap_or_default()
}

pub(super) fn delete_configuration(scene: &Scene) {
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().configuration = None);
}

#[test]
fn a_bucket_policy_that_cannot_be_written_holds_back_only_the_rule_that_needs_it() {
    let (mut scene, _) = replicating();
    delete_configuration(&scene);
    scene.cloud.with(|world| world.buckets.get_mut("b-copies").unwrap().policy = None);
    deny(&scene, 9, writes_policy_of("b-copies"));
    scene.check();
    assert_eq!(rules(&scene), ["a"], "{:#}", scene.status());
    assert_eq!(scene.reason(), "AccessDenied");
    assert!(scene.message().contains("b-copies"), "{}", scene.message());
    let corrected = scene.status()["lastCorrection"]["items"].clone();
    assert_eq!(corrected[0]["path"], "rules[a]", "{corrected:#}");
    assert_eq!(corrected.as_array().map(Vec::len), Some(1), "{corrected:#}");
    for _ in 0..3 {
        scene.clock.advance(Duration::from_secs(600));
        scene.check();
        let calls = scene.calls();
        let puts = calls.iter().filter(|call| writes("s3:PutReplicationConfiguration")(call)).count();
        assert_eq!((puts, rules(&scene)), (0, vec!["a".to_owned()]), "it is not written again and again");
    }
    assert_eq!(scene.reason(), "AccessDenied");

    scene.script.lock().traps.clear();
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!((scene.reason().as_str(), rules(&scene)), ("Applied", vec!["a".to_owned(), "b".to_owned()]));
}

/// IAM may show a new role everywhere only after a while.
#[test]
fn a_new_role_that_s3_does_not_know_yet_is_nobodys_fault_and_its_policy_is_written_later() {
    let (mut scene, spec) = two_accounts();
    let unknown = || scene.at(writes_policy_of("b-copies"), |_, _| Choice::FailBefore(FailureClass::Invalid));
    (0..2).for_each(|_| unknown());
    scene.apply(spec);
    for _ in 0..2 {
        let next = scene.check().unwrap().unwrap();
        assert_eq!(scene.reason(), "Progressing", "{:#}", scene.status());
        assert_eq!(scene.condition("Stalled"), Value::Null, "{:#}", scene.status());
        assert!(next < Duration::from_secs(60), "it is tried again soon: {next:?}");
        scene.clock.advance(next);
    }
    scene.check();
    assert_eq!((scene.reason().as_str(), rules(&scene)), ("Applied", vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_bucket_policy_that_differs_and_still_admits_the_role_holds_back_no_rule() {
    let (mut scene, _) = replicating();
    delete_configuration(&scene);
    scene.cloud.with(|world| {
        let policy = world.buckets.get_mut("b-copies").unwrap().policy.as_mut().unwrap();
        policy["Statement"].as_array_mut().unwrap().pop();
    });
    deny(&scene, 9, writes_policy_of("b-copies"));
    scene.check();
    assert_eq!(rules(&scene), ["a", "b"]);
    assert_eq!(scene.reason(), "AccessDenied");
    assert!(scene.message().contains("b-copies"), "{}", scene.message());
}

#[test]
fn a_bucket_policy_that_cannot_be_read_holds_back_nothing_that_was_applied() {
    let (mut scene, _) = replicating();
    delete_configuration(&scene);
    scene.cloud.with(|world| world.denied_reads.insert(("s3:GetBucketPolicy", "b-copies".to_owned())));
    deny(&scene, 9, reads_policy_of("b-copies"));
    scene.check();
    assert_eq!(rules(&scene), ["a", "b"]);
    assert_eq!(scene.reason(), "AccessDenied");
    assert!(scene.message().contains("b-copies"), "{}", scene.message());
    scene.check();
    assert_eq!(scene.reason(), "AccessDenied");
    assert_eq!(scene.writes_to_aws(), [""; 0]);
}

#[test]
fn a_role_policy_that_cannot_be_read_holds_back_nothing_that_was_applied() {
    let (mut scene, _) = replicating();
    delete_configuration(&scene);
    scene.cloud.with(|world| world.denied_reads.insert(("iam:GetRolePolicy", "orders-role".to_owned())));
    scene.check();
    assert_eq!(rules(&scene), ["a", "b"]);
    assert_eq!(scene.reason(), "AccessDenied");
    for part in ["iam:GetRolePolicy", "orders-role"] {
        assert!(scene.message().contains(part), "{}", scene.message());
    }
}

#[test]
fn an_account_that_cannot_be_reached_holds_back_nothing_that_was_applied_elsewhere() {
    let (mut scene, spec) = replicating();
    let drift = |world: &mut World| {
        world.buckets.get_mut("orders").unwrap().configuration = None;
        world.buckets.get_mut("a-copies").unwrap().policy = None;
        world.trusting_accounts.retain(|id| id != "777788889999");
    };
    scene.cloud.with(drift);
    for _ in 0..2 {
        scene.check();
        assert_eq!(rules(&scene), ["a", "b"], "{:#}", scene.status());
        assert!(scene.world().buckets["a-copies"].policy.is_some());
        assert_eq!(scene.reason(), "AccessDenied");
        for part in ["sts:AssumeRole", "777788889999"] {
            assert!(scene.message().contains(part), "{}", scene.message());
        }
        scene.clock.advance(Duration::from_secs(600));
    }
    let mut changed = spec;
    changed["rules"][0]["status"] = json!("Disabled");
    scene.apply(changed);
    scene.check();
    let held = scene.world().buckets["orders"].configuration.clone().unwrap();
    assert!(!held.rules["a"].status.is_enabled(), "it needs nothing there: {}", scene.message());
    assert_eq!(scene.reason(), "AccessDenied");
    let remembered = scene.status()["bucketPolicies"].as_array().map(Vec::len);
    assert_eq!(remembered, Some(2), "{:#}", scene.status());
}

#[test]
fn a_new_rule_whose_bucket_policy_cannot_be_written_leaves_the_others_as_they_are_asked_for() {
    let (mut scene, spec) = two_accounts();
    let mut one = spec.clone();
    one["rules"].as_array_mut().unwrap().pop();
    scene.apply(one);
    scene.check();
    scene.clock.advance(Duration::from_secs(120));
    deny(&scene, 99, writes_policy_of("b-copies"));
    let mut both = spec;
    both["rules"][0]["status"] = json!("Disabled");
    scene.apply(both);
    scene.check();
    assert_eq!((scene.reason().as_str(), rules(&scene)), ("AccessDenied", vec!["a".to_owned()]));
    let held = scene.world().buckets["orders"].configuration.clone().unwrap();
    assert_eq!(held.rules["a"].status.as_str(), "Disabled");
    assert_eq!(scene.status()["appliedHash"], "incomplete");

    delete_configuration(&scene);
    scene.clock.advance(Duration::from_secs(120));
    scene.check();
    assert_eq!(rules(&scene), ["a"], "someone deletes the configuration while the change waits");
    assert_eq!(scene.reason(), "AccessDenied");
}

#[test]
fn a_rule_that_waits_stays_as_it_is_in_aws() {
    let (mut scene, spec) = replicating();
    deny(&scene, 99, writes_policy_of("b-copies"));
    let mut changed = spec;
    changed["rules"][0]["status"] = json!("Disabled");
    changed["rules"][1]["status"] = json!("Disabled");
    changed["rules"][1]["destination"]["ownership"] = json!("Destination");
    scene.apply(changed);
    scene.check();
    let held = scene.world().buckets["orders"].configuration.clone().unwrap();
    let statuses: Vec<&str> = held.rules.values().map(|rule| rule.status.as_str()).collect();
    assert_eq!(statuses, ["Disabled", "Enabled"]);
    assert_eq!(held.rules["b"].destination.ownership, None);
}

#[test]
fn a_rule_that_moves_to_a_destination_that_cannot_be_opened_goes_on_to_the_former_one() {
    for same_id in [true, false] {
        let (mut scene, mut spec) = replicating();
        scene.cloud.with(|world| world.create_bucket("c-copies", "eu-west-1", "777788889999"));
        deny(&scene, 99, writes_policy_of("c-copies"));
        spec["rules"][0]["status"] = json!("Disabled");
        spec["rules"][1]["destination"]["bucket"] = json!("c-copies");
        spec["rules"][1]["id"] = json!(if same_id { "b" } else { "c" });
        scene.apply(spec);
        for _ in 0..3 {
            scene.check();
            scene.clock.advance(Duration::from_secs(600));
            let held = scene.world().buckets["orders"].configuration.clone().unwrap();
            assert_eq!(held.rules["a"].status.as_str(), "Disabled", "same id: {same_id}");
            assert_eq!(held.rules["b"].destination.bucket, "arn:aws:s3:::b-copies", "same id: {same_id}");
            assert!(scene.world().buckets["b-copies"].policy.is_some(), "same id: {same_id}");
            assert_eq!(
                (scene.reason().as_str(), held.rules.len()),
                ("AccessDenied", 2),
                "{}",
                scene.message()
            );
        }
    }
}

#[test]
fn a_rule_of_someone_else_is_removed_while_another_destination_cannot_be_opened() {
    let (mut scene, _) = replicating();
    scene.cloud.with(|world| {
        world.buckets.get_mut("b-copies").unwrap().policy = None;
        let held = world.buckets.get_mut("orders").unwrap().configuration.as_mut().unwrap();
        let mut foreign = held.rules["a"].clone();
        foreign.destination.bucket = "arn:aws:s3:::elsewhere".into();
        foreign.priority = Some(9);
        held.rules.insert("foreign".into(), foreign);
    });
    deny(&scene, 99, writes_policy_of("b-copies"));
    scene.check();
    assert_eq!(rules(&scene), ["a", "b"], "{}", scene.message());
    assert_eq!(scene.reason(), "AccessDenied");
}

#[test]
fn another_role_waits_for_every_destination_that_replicates() {
    let (mut scene, spec) = replicating();
    deny(&scene, 99, writes_policy_of("b-copies"));
    let mut changed = spec;
    changed["role"]["name"] = json!("orders-role-2");
    let before = scene.world().buckets["orders"].configuration.clone();
    scene.cluster.with(|server| {
        server.edit(&ObjectName::account("here"), |object| {
            object["spec"]["roles"]["allow"] = json!(["orders-role", "orders-role-2"]);
        });
    });
    scene.apply(changed);
    scene.check();
    assert_eq!(scene.world().buckets["orders"].configuration, before);
    assert_eq!(scene.reason(), "AccessDenied", "{}", scene.message());
}

#[test]
fn a_destination_whose_versioning_cannot_be_enabled_holds_back_only_its_rule() {
    let (mut scene, _) = replicating();
    delete_configuration(&scene);
    scene.cloud.with(|world| {
        world.buckets.get_mut("b-copies").unwrap().versioning = VersioningStatus::Suspended;
    });
    deny(
        &scene,
        9,
        |call| matches!(call, Call::Execute(crate::replication::Step::EnableVersioning { bucket }) if bucket.name == "b-copies"),
    );
    scene.check();
    assert_eq!(rules(&scene), ["a"], "{:#}", scene.status());
    assert!(scene.message().contains("b-copies"), "{}", scene.message());
}

pub(super) type Drift = (&'static str, fn(&mut World), fn(&World) -> bool);

/// The changes that someone may make, each with the test whether it is corrected.
pub(super) const DRIFTS: [Drift; 9] = [
    (
        "the configuration is deleted",
        |world| world.buckets.get_mut("orders").unwrap().configuration = None,
        |world| world.buckets["orders"].configuration.as_ref().is_some_and(|held| held.rules.len() == 2),
    ),
    (
        "a rule is disabled",
        |world| {
            let held = world.buckets.get_mut("orders").unwrap().configuration.as_mut().unwrap();
            held.rules.get_mut("a").unwrap().status = crate::api::Switch::Disabled;
        },
        |world| {
            let held = world.buckets["orders"].configuration.as_ref().unwrap();
            held.rules["a"].status.is_enabled()
        },
    ),
    (
        "versioning of a destination is suspended",
        |world| world.buckets.get_mut("a-copies").unwrap().versioning = VersioningStatus::Suspended,
        |world| world.buckets["a-copies"].versioning == VersioningStatus::Enabled,
    ),
    (
        "a tag is changed",
        |world| drop(world.role_mut(HERE, "orders-role").unwrap().tags.insert("team".into(), "other".into())),
        |world| world.role(HERE, "orders-role").unwrap().tags["team"] == "data",
    ),
    (
        "the role trusts another account too",
        |world| {
            let trust = &mut world.role_mut(HERE, "orders-role").unwrap().trust;
            let other = json!({"Effect": "Allow", "Principal": {"AWS": THERE}, "Action": "sts:AssumeRole"});
            trust["Statement"].as_array_mut().unwrap().push(other);
        },
        |world| !world.role(HERE, "orders-role").unwrap().trust.to_string().contains(THERE),
    ),
    (
        "the role gets a boundary",
        |world| {
            let role = world.role_mut(HERE, "orders-role").unwrap();
            role.permissions_boundary = Some("arn:aws:iam::111122223333:policy/other".into());
        },
        |world| world.role(HERE, "orders-role").unwrap().permissions_boundary.is_none(),
    ),
    (
        "the role's policy allows more",
        |world| {
            let policy = world.role_mut(HERE, "orders-role").unwrap().policy.as_mut().unwrap();
            let more = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
            policy["Statement"].as_array_mut().unwrap().push(more);
        },
        |world| {
            let policy = world.role(HERE, "orders-role").unwrap().policy.as_ref().unwrap();
            !policy.to_string().contains("\"s3:GetObject\"")
        },
    ),
    (
        "the policy of a destination lets the role list no more",
        |world| {
            let policy = world.buckets.get_mut("a-copies").unwrap().policy.as_mut().unwrap();
            policy["Statement"].as_array_mut().unwrap().pop();
        },
        |world| {
            let policy = world.buckets["a-copies"].policy.as_ref().unwrap();
            policy["Statement"].as_array().unwrap().len() == 2
        },
    ),
    (
        "the policy of the other destination lets the role list no more",
        |world| {
            let policy = world.buckets.get_mut("b-copies").unwrap().policy.as_mut().unwrap();
            policy["Statement"].as_array_mut().unwrap().pop();
        },
        |world| {
            let policy = world.buckets["b-copies"].policy.as_ref().unwrap();
            policy["Statement"].as_array().unwrap().len() == 2
        },
    ),
];

/// The action that corrects a drift alone, and the bucket or role that it is denied on.
fn correction(drift: &Drift) -> (Vec<Call>, &'static str, &'static str) {
    let (mut scene, _) = replicating();
    scene.cloud.with(drift.1);
    scene.check();
    assert!(drift.2(&scene.world()), "{}: {:#}", drift.0, scene.status());
    let calls: Vec<Call> = scene.calls().into_iter().filter(Call::writes_to_aws).collect();
    let Call::Execute(step) = &calls[0] else {
        let Call::WriteBucketPolicy(bucket) = &calls[0] else { panic!("{calls:?}") };
        let name = if bucket.name == "a-copies" { "a-copies" } else { "b-copies" };
        return (calls, POLICY, name);
    };
    let subject = ["orders-role", "orders", "a-copies"].into_iter().find(|name| *name == step.subject());
    let action = step.action();
    (calls, action, subject.unwrap())
}

#[test]
fn whatever_correction_fails_every_other_one_is_made_and_a_denied_one_is_named() {
    use FailureClass::{Conflict, Credentials, Denied, Invalid, Throttled, Unavailable};
    for class in [Denied, Invalid, Throttled, Unavailable, Conflict, Credentials] {
        correct_all_but_one(class);
    }
}

fn correct_all_but_one(class: FailureClass) {
    for denied in &DRIFTS {
        let (calls, _, subject) = correction(denied);
        for other in &DRIFTS {
            // S3 refuses a configuration between buckets without versioning, and the same correction is the same write.
            let needs = denied.0.starts_with("versioning") && other.0.contains("configuration");
            let same = calls.iter().any(|call| correction(other).0.contains(call)) || denied.0 == other.0;
            let is_configuration =
                |drift: &Drift| drift.0.contains("configuration") || drift.0.contains("rule");
            if needs || same || (is_configuration(denied) && is_configuration(other)) {
                continue;
            }
            let (mut scene, _) = replicating();
            // A rule can be disabled only while there is a configuration.
            scene.cloud.with(denied.1);
            scene.cloud.with(other.1);
            let first = calls[0].clone();
            let is_denied = move |call: &Call| match (call, &first) {
                (Call::Execute(step), Call::Execute(denied)) => {
                    step.action() == denied.action() && step.subject() == denied.subject()
                }
                (call, denied) => call == denied,
            };
            fail(&scene, 9, class, is_denied);
            scene.check();
            let pair = format!("{class:?}: {}; also: {}", denied.0, other.0);
            if needs_versioning(denied, other) {
                continue;
            }
            assert!(other.2(&scene.world()), "{pair}: {:#}", scene.status());
            assert!(!denied.2(&scene.world()), "{pair}");
            assert_ne!(scene.reason(), "Applied", "{pair}");
            // Without credentials nothing is wrong with the subject.
            let is_named = class == FailureClass::Credentials || scene.message().contains(subject);
            assert!(is_named, "{pair}: {}", scene.message());
            assert!(class != FailureClass::Denied || scene.reason() == "AccessDenied", "{pair}");
        }
    }
}

/// A rule into a bucket without versioning is refused by S3 with the rest of its configuration.
fn needs_versioning(denied: &Drift, other: &Drift) -> bool {
    denied.0.starts_with("versioning") && other.0.contains("rule")
}

#[test]
fn a_boundary_that_cannot_be_set_holds_back_the_new_rule_and_not_the_rest_of_the_change() {
    let (mut scene, mut spec) = replicating();
    deny(&scene, 9, |call| matches!(call, Call::Execute(Step::PutPermissionsBoundary { .. })));
    scene.cloud.with(|world| world.create_bucket("c-copies", "eu-west-1", THERE));
    spec["role"]["permissionsBoundary"] = json!("arn:aws:iam::aws:policy/AmazonS3FullAccess");
    spec["rules"][0]["status"] = json!("Disabled");
    let rule = json!({"id": "c", "priority": 3, "destination": {"bucket": "c-copies", "accountRef": "a"}});
    spec["rules"].as_array_mut().unwrap().push(rule);
    scene.apply(spec);
    scene.check();
    let held = scene.world().buckets["orders"].configuration.clone().unwrap();
    assert_eq!(held.rules["a"].status.as_str(), "Disabled", "{}", scene.message());
    assert_eq!(rules(&scene), ["a", "b"], "the role gets no right beyond its boundary");
    assert_eq!(scene.world().buckets["c-copies"].versioning, VersioningStatus::Enabled);
    for part in ["iam:PutRolePermissionsBoundary", "orders-role"] {
        assert!(scene.message().contains(part), "{}", scene.message());
    }
}

#[test]
fn a_deletion_removes_all_that_does_not_need_a_denied_step_and_names_it() {
    let (mut scene, _) = replicating();
    deny(&scene, 1, |call| matches!(call, Call::Execute(Step::DeleteRolePolicy { .. })));
    scene.delete();
    scene.check();
    assert!(scene.world().buckets["orders"].configuration.is_none());
    for bucket in ["a-copies", "b-copies"] {
        assert_eq!(scene.world().buckets[bucket].policy, None, "{bucket}");
    }
    assert_eq!(scene.reason(), "AccessDenied");
    assert!(scene.message().contains("iam:DeleteRolePolicy"), "{}", scene.message());
    scene.clock.advance(Duration::from_secs(60));
    scene.check();
    assert_eq!((scene.object(), scene.role().is_some()), (None, false));
}
