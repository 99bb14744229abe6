//! An account of a destination that cannot be reached, whatever the reason: it holds back what needs it, and nothing
//! else.

use super::failed_steps::{DRIFTS, delete_configuration, replicating, rules, two_accounts};
use super::*;
use crate::replication::FailureClass;

/// The id of the account `b`, in which `b-copies` and `c-copies` are.
const B: &str = "777788889999";

type Cause = fn(&Scene);

/// The causes that keep the operator out of the account `b`, by the reason that it reports.
const CAUSES: [(&str, Cause); 7] = [
    ("AccessDenied", |scene| distrust(scene, B)),
    ("AccountMismatch", |scene| {
        // The operator's own identity is in another account than spec.accountId says.
        scene.cluster.with(|server| {
            server.edit(&ObjectName::account("b"), |object| object["spec"]["assumeRole"] = Value::Null);
        });
    }),
    ("Throttled", |scene| fails(scene, FailureClass::Throttled)),
    ("AwsUnavailable", |scene| fails(scene, FailureClass::Unavailable)),
    ("InvalidRequest", |scene| fails(scene, FailureClass::Invalid)),
    ("CredentialsUnavailable", |scene| fails(scene, FailureClass::Credentials)),
    ("AwsUnavailable", |scene| fails(scene, FailureClass::Conflict)),
];

fn distrust(scene: &Scene, id: &str) {
    scene.cloud.with(|world| world.trusting_accounts.retain(|trusting| trusting != id));
}

/// AWS answers in this way when the operator wants into the account `b`.
fn fails(scene: &Scene, class: FailureClass) {
    distrust(scene, B);
    for _ in 0..20 {
        let wanted = |call: &Call| matches!(call, Call::ConnectAlso(name) if name == "b");
        scene.at(wanted, move |_, _| Choice::FailBefore(class));
    }
}

/// The account `b` can be reached again.
fn recover(scene: &mut Scene) {
    scene.script.lock().traps.clear();
    scene.cloud.with(|world| world.trusting_accounts.push(B.to_owned()));
    scene.cluster.with(|server| {
        server.edit(&ObjectName::account("b"), |object| {
            object["spec"]["assumeRole"] = json!({"arn": format!("arn:aws:iam::{B}:role/operator")});
        });
    });
    scene.clock.advance(Duration::from_secs(600));
}

/// The status of each rule in AWS.
fn statuses(scene: &Scene) -> Vec<(String, bool)> {
    let held = scene.world().buckets["orders"].configuration.clone();
    let rules = held.into_iter().flat_map(|held| held.rules);
    rules.map(|(id, rule)| (id, rule.status.is_enabled())).collect()
}

#[track_caller]
fn assert_says(scene: &Scene, parts: &[&str]) {
    for part in parts {
        assert!(scene.message().contains(part), "{part} is not in: {}", scene.message());
    }
}

fn policy_of(scene: &Scene, bucket: &str) -> Option<Value> {
    scene.world().buckets[bucket].policy.clone()
}

#[test]
fn every_rule_is_disabled_whatever_keeps_the_operator_out_of_the_account_of_one() {
    for (reason, cause) in CAUSES {
        let (mut scene, mut spec) = replicating();
        cause(&scene);
        for rule in spec["rules"].as_array_mut().unwrap() {
            rule["status"] = json!("Disabled");
        }
        scene.apply(spec);
        scene.check();
        let disabled = vec![("a".to_owned(), false), ("b".to_owned(), false)];
        assert_eq!(statuses(&scene), disabled, "{reason}: {}", scene.message());
        assert_eq!(scene.reason(), reason, "{}", scene.message());
        assert!(!scene.message().contains("waits"), "nothing is left to do there: {}", scene.message());
        scene.check();
        assert_eq!(scene.writes_to_aws(), [""; 0], "{reason}: it is not written again and again");
        recover(&mut scene);
        scene.check();
        assert_eq!(scene.reason(), "Applied", "{reason}: {}", scene.message());
    }
}

#[test]
fn a_change_holds_back_only_what_it_needs_in_the_account_that_cannot_be_reached() {
    for (reason, cause) in CAUSES {
        let (mut scene, mut spec) = replicating();
        scene.cloud.with(|world| world.create_bucket("c-copies", "eu-west-1", B));
        cause(&scene);
        let before = scene.world();
        spec["rules"][0]["status"] = json!("Disabled");
        spec["rules"][1]["destination"]["ownership"] = json!("Destination");
        let rule =
            json!({"id": "c", "priority": 3, "destination": {"bucket": "c-copies", "accountRef": "b"}});
        spec["rules"].as_array_mut().unwrap().push(rule);
        scene.apply(spec);
        for _ in 0..2 {
            scene.check();
            let held = scene.world().buckets["orders"].configuration.clone().unwrap();
            assert!(!held.rules["a"].status.is_enabled(), "{reason}: {}", scene.message());
            assert_eq!(rules(&scene), ["a", "b"], "{reason}");
            assert_eq!(held.rules["b"].destination.ownership, None, "{reason}");
            for bucket in ["b-copies", "c-copies"] {
                let (now, then) = (&scene.world().buckets[bucket], &before.buckets[bucket]);
                assert_eq!((&now.policy, now.versioning), (&then.policy, then.versioning), "{reason}");
            }
            assert_eq!(scene.reason(), reason, "{}", scene.message());
            assert_says(
                &scene,
                &["of the changed spec waits: ", "rules[c]", "rules[b].destination.ownership"],
            );
            scene.clock.advance(Duration::from_secs(120));
        }
        recover(&mut scene);
        scene.check();
        assert_eq!(scene.reason(), "Applied", "{reason}: {}", scene.message());
        assert_eq!(rules(&scene), ["a", "b", "c"]);
    }
}

#[test]
fn every_drift_is_corrected_but_that_in_the_account_that_cannot_be_reached() {
    for (reason, cause) in CAUSES {
        for drift in &DRIFTS {
            let (mut scene, _) = replicating();
            scene.cloud.with(drift.1);
            cause(&scene);
            scene.check();
            let waits = drift.0.starts_with("the policy of the other destination");
            assert_eq!(drift.2(&scene.world()), !waits, "{reason}, {}: {}", drift.0, scene.message());
            assert_eq!(scene.reason(), reason, "{}", scene.message());
            scene.check();
            assert_eq!(scene.writes_to_aws(), [""; 0], "{reason}, {}", drift.0);
            recover(&mut scene);
            scene.check();
            assert!(drift.2(&scene.world()), "{reason}, {}: {}", drift.0, scene.message());
            assert_eq!(scene.reason(), "Applied", "{reason}: {}", scene.message());
        }
    }
}

#[test]
fn a_former_role_stays_that_a_policy_in_an_account_that_cannot_be_reached_may_name() {
    let (mut scene, mut spec) = replicating();
    scene.cluster.with(|server| {
        server.edit(&ObjectName::account("here"), |object| {
            object["spec"]["roles"]["allow"] = json!(["orders-role", "orders-role-2"]);
        });
    });
    spec["role"]["name"] = json!("orders-role-2");
    scene.apply(spec);
    scene.at(writes("iam:DeleteRolePolicy"), |_, _| Choice::FailBefore(FailureClass::Denied));
    scene.check();
    assert_eq!(
        (scene.reason().as_str(), scene.role().is_some()),
        ("AccessDenied", true),
        "{}",
        scene.message()
    );
    distrust(&scene, B);
    scene.cloud.with(|world| {
        let tags = &mut world.role_mut(HERE, "orders-role-2").unwrap().tags;
        tags.insert("team".into(), "other".into());
    });
    for _ in 0..3 {
        scene.clock.advance(Duration::from_secs(600));
        scene.check();
        assert!(scene.role().is_some(), "{}", scene.message());
    }
    recover(&mut scene);
    for _ in 0..3 {
        scene.check();
        scene.clock.advance(Duration::from_secs(120));
    }
    assert_eq!((scene.reason().as_str(), scene.role().is_some()), ("Applied", false), "{}", scene.message());
}

#[test]
fn a_new_resource_writes_nothing_before_every_account_can_be_reached() {
    for (reason, cause) in CAUSES {
        let (mut scene, spec) = two_accounts();
        cause(&scene);
        scene.apply(spec);
        scene.check();
        assert_eq!(
            (scene.reason().as_str(), scene.writes_to_aws().len()),
            (reason, 0),
            "{}",
            scene.message()
        );
    }
}

#[test]
fn the_account_of_the_source_is_never_set_aside() {
    let (mut scene, _) = replicating();
    delete_configuration(&scene);
    scene.cloud.with(|world| world.buckets.get_mut("a-copies").unwrap().policy = None);
    distrust(&scene, HERE);
    scene.check();
    assert_eq!((scene.reason().as_str(), scene.writes_to_aws().len()), ("AccessDenied", 0));
}

#[test]
fn every_account_that_cannot_be_reached_is_named() {
    let (mut scene, mut spec) = replicating();
    distrust(&scene, B);
    distrust(&scene, THERE);
    let roles = [THERE, B].map(|id| format!("sts:AssumeRole on arn:aws:iam::{id}:role/operator is denied"));
    let roles = roles.each_ref().map(String::as_str);
    scene.check();
    assert_says(&scene, &roles);
    delete_configuration(&scene);
    scene.check();
    assert_eq!(rules(&scene), ["a", "b"]);
    assert_says(&scene, &roles);
    spec["rules"][1]["status"] = json!("Disabled");
    scene.apply(spec);
    scene.clock.advance(Duration::from_secs(120));
    scene.check();
    assert_eq!(statuses(&scene)[1], ("b".to_owned(), false), "{}", scene.message());
    assert_says(&scene, &roles);
    for condition in ["VersioningReady", "RoleReady"] {
        let message = scene.condition(condition)["message"].to_string();
        assert!(roles.iter().all(|role| message.contains(role)), "{condition}: {message}");
    }
    scene.delete();
    scene.check();
    assert_says(&scene, &roles);
    assert_says(
        &scene,
        &["a-copies (AwsAccount a, account 444455556666)", "b-copies (AwsAccount b, account 777788889999)"],
    );
}

#[test]
fn a_deletion_stops_the_copies_and_leaves_only_what_cannot_be_reached_whatever_the_cause() {
    for (reason, cause) in CAUSES {
        let (mut scene, _) = replicating();
        cause(&scene);
        scene.delete();
        for _ in 0..2 {
            scene.check();
            assert!(scene.world().buckets["orders"].configuration.is_none(), "{reason}: {}", scene.message());
            assert_eq!(policy_of(&scene, "a-copies"), None, "{reason}");
            assert!(policy_of(&scene, "b-copies").is_some(), "{reason}");
            assert!(
                scene.role().is_some(),
                "{reason}: a policy names it that could not be changed without it"
            );
            assert_eq!(scene.reason(), reason, "{}", scene.message());
            assert_says(&scene, &["policy of bucket b-copies (AwsAccount b, account 777788889999)"]);
            let passes = ["Throttled", "AwsUnavailable"].contains(&reason);
            let retain = r#"kubectl patch bucketreplication orders -n data --type merge -p '{"spec":{"deletionPolicy":"Retain"}}'"#;
            assert_eq!(scene.message().contains(retain), !passes, "{}", scene.message());
            scene.clock.advance(Duration::from_secs(600));
        }
        assert_eq!(scene.writes_to_aws(), [""; 0], "{reason}: the rest waits");
        recover(&mut scene);
        scene.check();
        assert_eq!(scene.object(), None, "{reason}: {}", scene.message());
        assert_eq!((policy_of(&scene, "b-copies"), scene.world().roles.len()), (None, 0), "{reason}");
    }
}

#[test]
fn a_deletion_with_an_account_that_cannot_be_reached_ends_by_the_word_to_leave_it() {
    let (mut scene, _) = replicating();
    distrust(&scene, B);
    scene.delete();
    scene.check();
    scene.cluster.with(|server| {
        server.edit(&Scene::resource(), |object| object["spec"]["deletionPolicy"] = json!("Retain"));
    });
    scene.check();
    assert_eq!(scene.object(), None);
    assert!(policy_of(&scene, "b-copies").is_some() && scene.role().is_some());
}

#[test]
fn an_account_that_only_the_spec_names_and_that_cannot_be_reached_delays_no_deletion() {
    for (reason, cause) in CAUSES {
        let (mut scene, spec) = two_accounts();
        let mut one = spec.clone();
        one["rules"].as_array_mut().unwrap().pop();
        scene.apply(one);
        scene.check();
        assert_eq!(scene.reason(), "Applied", "{}", scene.message());
        scene.clock.advance(Duration::from_secs(120));
        cause(&scene);
        scene.apply(spec);
        scene.check();
        assert_eq!(scene.reason(), reason, "{}", scene.message());
        scene.delete();
        scene.check();
        assert_eq!(scene.object(), None, "{reason}: {}", scene.message());
        assert_eq!((policy_of(&scene, "a-copies"), scene.world().roles.len()), (None, 0), "{reason}");
    }
}

#[test]
fn a_deletion_whose_source_cannot_be_reached_names_the_way_out() {
    let (mut scene, _) = replicating();
    distrust(&scene, HERE);
    scene.delete();
    scene.check();
    assert_eq!((scene.reason().as_str(), scene.writes_to_aws().len()), ("AccessDenied", 0));
    assert_says(&scene, &[HERE, "let the operator in again", r#"{"spec":{"deletionPolicy":"Retain"}}"#]);
}

#[test]
fn a_canary_in_an_account_that_cannot_be_reached_is_named_and_keeps_nothing_else_from_going() {
    let (mut scene, _) = replicating();
    let canary_in = |bucket: &str, account: &str, account_ref: &str, uid: &Value| {
        let prefix = format!(".s3replication.dev/{}/", uid.as_str().unwrap());
        json!({"bucket": bucket, "region": "eu-west-1", "account": account, "accountRef": account_ref,
            "prefix": prefix})
    };
    scene.cluster.with(|server| {
        server.edit(&Scene::resource(), |object| {
            let uid = object["metadata"]["uid"].clone();
            object["status"]["canaryPlaces"] =
                json!([canary_in("a-copies", THERE, "a", &uid), canary_in("b-copies", B, "b", &uid),]);
        });
    });
    distrust(&scene, B);
    scene.delete();
    scene.check();
    assert!(scene.world().buckets["orders"].configuration.is_none(), "{}", scene.message());
    assert_says(&scene, &["its canaries in bucket b-copies (AwsAccount b"]);
    recover(&mut scene);
    scene.check();
    assert_eq!(scene.object(), None, "{}", scene.message());
}

#[test]
fn every_account_that_is_gone_is_named_by_a_deletion() {
    let (mut scene, _) = replicating();
    for name in ["a", "b"] {
        scene.cluster.with(|server| server.objects.remove(&ObjectName::account(name)));
    }
    scene.delete();
    scene.check();
    assert_eq!((scene.reason().as_str(), scene.writes_to_aws().len()), ("AccountNotFound", 0));
    assert_says(&scene, &["AwsAccount a,", "AwsAccount b,", "account 444455556666", "account 777788889999"]);
}

#[test]
fn an_account_in_place_of_one_that_is_gone_serves_while_another_cannot_be_reached() {
    let (mut scene, _) = replicating();
    scene.cluster.with(|server| server.objects.remove(&ObjectName::account("a")));
    let other = json!({
        "accountId": THERE,
        "assumeRole": {"arn": format!("arn:aws:iam::{THERE}:role/operator")},
        "namespaces": {"matchNames": ["data"]},
        "destinations": ["a-copies"],
    });
    scene.account("new-a", other);
    distrust(&scene, B);
    scene.delete();
    scene.check();
    assert_eq!(policy_of(&scene, "a-copies"), None, "{}", scene.message());
    assert!(!scene.message().contains("a-copies"), "{}", scene.message());
    assert_says(&scene, &["b-copies"]);
}

#[test]
fn every_policy_that_a_deletion_cannot_change_is_named_with_those_it_may_no_longer_name() {
    let (mut scene, _) = replicating();
    let deleted = [("a-copies", "AIDAZQ3EXAMPLE7USER21"), ("b-copies", "AROAZQ3EXAMPLE7ROLE21")];
    scene.cloud.with(|world| {
        for (bucket, principal) in deleted {
            let policy = world.buckets.get_mut(bucket).unwrap().policy.as_mut().unwrap();
            let theirs = json!({"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": principal},
                "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{bucket}/*")});
            policy["Statement"].as_array_mut().unwrap().push(theirs);
        }
    });
    scene.delete();
    scene.check();
    for (bucket, principal) in deleted {
        assert_says(&scene, &[bucket, principal]);
        scene.cloud.with(|world| {
            let policy = world.buckets.get_mut(bucket).unwrap().policy.as_mut().unwrap();
            policy["Statement"].as_array_mut().unwrap().pop();
        });
    }
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!(scene.object(), None, "{}", scene.message());
}

#[test]
fn statements_stay_remembered_under_the_account_that_made_them_until_another_can_be_reached() {
    let (mut scene, mut spec) = replicating();
    let other = json!({
        "accountId": B,
        "namespaces": {"matchNames": ["data"]},
        "destinations": ["b-copies"],
    });
    scene.account("mistaken", other);
    spec["rules"][1]["destination"]["accountRef"] = json!("mistaken");
    spec["rules"][0]["status"] = json!("Disabled");
    scene.apply(spec);
    scene.check();
    assert_eq!(
        (scene.reason().as_str(), &statuses(&scene)[0].1),
        ("AccountMismatch", &false),
        "{}",
        scene.message()
    );
    scene.delete();
    scene.check();
    assert_eq!(scene.object(), None, "{}", scene.message());
    assert_eq!((policy_of(&scene, "b-copies"), scene.world().roles.len()), (None, 0));
}
