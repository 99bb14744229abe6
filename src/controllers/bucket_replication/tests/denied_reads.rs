//! A read that is denied, or fails otherwise, holds back the steps that need it, and nothing else. The operator removes
//! nothing because of such a read, and repeats it soon unless AWS denies it.

use strum::IntoEnumIterator;

use super::announcements::create_role;
use super::failed_steps::{DRIFTS, delete_configuration, replicating, rules, two_accounts};
use super::*;
use crate::replication::{FailureClass, Step};

const ROLE: (&str, &str) = ("iam:GetRole", "orders-role");
const ROLE_POLICY: (&str, &str) = ("iam:GetRolePolicy", "orders-role");
const CONFIGURATION: (&str, &str) = ("s3:GetReplicationConfiguration", "orders");
const BUCKET_POLICY: (&str, &str) = ("s3:GetBucketPolicy", "b-copies");
const VERSIONING: (&str, &str) = ("s3:GetBucketVersioning", "a-copies");
const OBJECT_LOCK: (&str, &str) = ("s3:GetBucketObjectLockConfiguration", "orders");
const KEY: (&str, &str) = ("kms:DescribeKey", "arn:aws:kms:eu-west-1:444455556666:key/replicas");

/// Every read of a check, but for that of a former role.
const READS: [(&str, &str); 7] =
    [ROLE, ROLE_POLICY, CONFIGURATION, BUCKET_POLICY, VERSIONING, OBJECT_LOCK, KEY];

fn deny(scene: &Scene, read: (&'static str, &str)) {
    scene.cloud.with(|world| world.denied_reads.insert((read.0, read.1.to_owned())));
}

fn allow_all(scene: &Scene) {
    scene.cloud.with(|world| {
        world.denied_reads.clear();
        world.failing_reads.clear();
    });
}

fn assert_named(scene: &Scene, read: (&str, &str), what: &str) {
    assert_eq!(scene.reason(), "AccessDenied", "{what}: {}", scene.message());
    for part in [read.0, read.1] {
        assert!(scene.message().contains(part), "{what}: {}", scene.message());
    }
}

/// A condition besides `Ready` names the read.
fn assert_shown(scene: &Scene, read: (&str, &str), what: &str) {
    let conditions = scene.status()["conditions"].to_string();
    assert!(conditions.contains(&format!("{} on {} is denied", read.0, read.1)), "{what}: {conditions}");
}

/// The drifts that a denied read hides, or that can be corrected only by taking something away.
fn held_back(read: (&str, &str)) -> &'static [&'static str] {
    match read {
        ROLE => &["a tag is changed", "the role trusts", "the role gets a boundary", "the role's policy"],
        ROLE_POLICY => &["the role's policy"],
        CONFIGURATION => &[
            "the configuration is deleted",
            "a rule is disabled",
            "the role trusts another account too",
            "the role's policy allows more",
        ],
        BUCKET_POLICY => &["the policy of the other destination"],
        VERSIONING => &["versioning of a destination"],
        _ => &[],
    }
}

/// Whether a class says that a read failed. The others are answers to it.
fn is_failure_to_read(class: FailureClass) -> bool {
    match class {
        FailureClass::NoSuchBucket
        | FailureClass::NoSuchRole
        | FailureClass::WrongOwner
        | FailureClass::WrongAccount
        | FailureClass::DeleteConflict => false,
        FailureClass::Throttled
        | FailureClass::Conflict
        | FailureClass::Denied
        | FailureClass::WrongRegion
        | FailureClass::Invalid
        | FailureClass::Credentials
        | FailureClass::WrongClock
        | FailureClass::Unavailable => true,
    }
}

fn failures() -> impl Iterator<Item = FailureClass> {
    FailureClass::iter().filter(|class| is_failure_to_read(*class))
}

/// The read fails until all is allowed.
fn fail(scene: &Scene, class: FailureClass, (action, subject): (&'static str, &str)) {
    scene.cloud.with(|world| match class {
        FailureClass::Denied => drop(world.denied_reads.insert((action, subject.to_owned()))),
        class => drop(world.failing_reads.insert((action, subject.to_owned()), class)),
    });
}

/// Two destinations, one of them with a key, checked once a day.
fn replicating_with_a_key() -> (Scene, Value) {
    let (mut scene, mut spec) = two_accounts();
    scene.cloud.with(|world| world.keys.insert(KEY.1.to_owned(), "Enabled".to_owned()));
    spec["interval"] = json!("24h");
    encrypt(&mut spec["rules"][0]);
    scene.apply(spec.clone());
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    scene.clock.advance(Duration::from_secs(120));
    scene.check();
    (scene, spec)
}

fn encrypt(rule: &mut Value) {
    rule["kmsEncryptedObjects"] = json!("Enabled");
    rule["destination"]["kmsKeyArn"] = json!(KEY.1);
}

/// Nobody waits a day for an answer that AWS did not give.
fn assert_soon(next: Option<Option<Duration>>, class: FailureClass, what: &str) {
    let is_over_soon = class != FailureClass::Denied && class.reason().is_no_answer();
    let next = next.flatten().unwrap();
    assert!(!is_over_soon || next < Duration::from_secs(6 * 60), "{what}: {next:?}");
}

/// A condition has the reason of a failure, and names the read.
fn assert_unknown(scene: &Scene, about: &str, class: FailureClass, read: (&str, &str), what: &str) {
    let condition = scene.condition(about);
    let seen = (condition["status"].as_str(), condition["reason"].as_str());
    assert_eq!(seen, (Some("Unknown"), Some(class.reason().as_str())), "{what}: {condition:#}");
    let text = condition["message"].as_str().unwrap();
    assert!(text.contains(read.0) && text.contains(read.1), "{what}: {text}");
}

/// A read and a failure of it hold back a drift.
fn holds_back(read: (&str, &str), class: FailureClass, drift: &str) -> bool {
    // A bucket that does not answer for now may lack versioning; one that may not be read is left to S3.
    let all = read == VERSIONING && class != FailureClass::Denied;
    all || held_back(read).iter().any(|held| drift.starts_with(held))
}

#[test]
fn whatever_read_fails_every_correction_is_made_that_does_not_need_it_and_the_read_is_named_and_repeated() {
    for (read, class) in READS.into_iter().flat_map(|read| failures().map(move |class| (read, class))) {
        for drift in &DRIFTS {
            let what = format!("{} on {} fails as {class:?}, and {}", read.0, read.1, drift.0);
            let (mut scene, _) = replicating_with_a_key();
            scene.cloud.with(drift.1);
            fail(&scene, class, read);
            let next = scene.check();
            assert_soon(next, class, &what);
            assert_eq!(
                drift.2(&scene.world()),
                !holds_back(read, class, drift.0),
                "{what}: {:#}",
                scene.status()
            );
            match (read, class) {
                (OBJECT_LOCK, _) => assert_unknown(&scene, "RoleReady", class, read, &what),
                (VERSIONING | KEY, FailureClass::Denied) => assert_shown(&scene, read, &what),
                (KEY, _) => assert_unknown(&scene, "ReplicationReady", class, read, &what),
                _ => {
                    assert_eq!(scene.reason(), class.reason().as_str(), "{what}: {}", scene.message());
                    for part in [read.0, read.1] {
                        assert!(scene.message().contains(part), "{what}: {}", scene.message());
                    }
                }
            }
            scene.check();
            assert_eq!(scene.writes_to_aws(), [""; 0], "{what}: it is not written again and again");
            allow_all(&scene);
            scene.clock.advance(Duration::from_secs(600));
            scene.check();
            assert!(drift.2(&scene.world()), "{what}, and no longer: {:#}", scene.status());
            assert_eq!(scene.reason(), "Applied", "{what}, and no longer: {}", scene.message());
            for about in ["VersioningReady", "RoleReady", "ReplicationReady"] {
                assert_eq!(scene.condition(about)["status"], "True", "{what}, and no longer: {about}");
            }
        }
    }
}

#[test]
fn a_new_role_may_read_locks_while_nobody_knows_whether_it_needs_to() {
    for (is_locked, class) in
        [true, false].into_iter().flat_map(|locked| failures().map(move |class| (locked, class)))
    {
        let what = format!("locked: {is_locked}, {class:?}");
        let mut scene = Scene::new();
        scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().object_lock = is_locked);
        fail(&scene, class, OBJECT_LOCK);
        let mut daily = spec();
        daily["interval"] = json!("24h");
        scene.apply(daily);
        let may_read_locks = |scene: &Scene| {
            let policy = scene.role().unwrap().policy.unwrap().to_string();
            ["s3:GetObjectRetention", "s3:GetObjectLegalHold"].iter().all(|action| policy.contains(action))
        };
        let next = scene.check();
        assert_soon(next, class, &what);
        assert!(may_read_locks(&scene), "{what}");
        assert_eq!((scene.reason().as_str(), rules(&scene)), ("Applied", vec!["all".to_owned()]), "{what}");
        assert_unknown(&scene, "RoleReady", class, OBJECT_LOCK, &what);
        scene.clock.advance(Duration::from_secs(120));
        scene.check();
        assert!(may_read_locks(&scene), "{what}: the role keeps it");
        allow_all(&scene);
        scene.check();
        assert_eq!(may_read_locks(&scene), is_locked, "{what}: {:#}", scene.status());
        assert_eq!(scene.reason(), "Applied", "{what}: {}", scene.message());
        assert_eq!(scene.condition("RoleReady")["status"], "True", "{what}");
        assert_eq!(scene.status()["lastCorrection"], Value::Null, "{what}: nobody else changed it");
    }
}

#[test]
fn a_key_that_is_not_in_use_yet_is_read_before_a_configuration_names_it() {
    for class in failures().filter(|class| *class != FailureClass::Denied) {
        let mut encrypted = spec();
        encrypted["interval"] = json!("24h");
        encrypt(&mut encrypted["rules"][0]);
        let pending = |scene: &Scene| {
            scene.cloud.with(|world| world.keys.insert(KEY.1.to_owned(), "PendingDeletion".to_owned()));
            fail(scene, class, KEY);
            scene.apply(encrypted.clone());
        };
        let refused = |scene: &mut Scene, what: &str| {
            let next = scene.check();
            assert_soon(next, class, what);
            assert_eq!(scene.writes_to_aws(), [""; 0], "{what} {class:?}: {:#}", scene.status());
            assert_eq!(scene.reason(), class.reason().as_str(), "{what} {class:?}: {}", scene.message());
            assert!(scene.message().contains(KEY.1), "{what} {class:?}: {}", scene.message());
            assert_eq!(scene.condition("ReplicationReady")["reason"], class.reason().as_str(), "{what}");
            allow_all(scene);
            scene.check();
            assert!(scene.message().contains("PendingDeletion"), "{what} {class:?}: {}", scene.message());
            assert_eq!(scene.writes_to_aws(), [""; 0], "{what} {class:?}");
            scene.cloud.with(|world| world.keys.insert(KEY.1.to_owned(), "Enabled".to_owned()));
            scene.check();
            assert_eq!(scene.reason(), "Applied", "{what} {class:?}: {}", scene.message());
        };
        let mut scene = Scene::new();
        pending(&scene);
        refused(&mut scene, "a new resource");
        let mut scene = Scene::settled();
        pending(&scene);
        refused(&mut scene, "a changed spec");
    }
}

#[test]
fn a_change_of_other_fields_does_not_wait_for_a_key_that_is_in_use() {
    for class in failures() {
        let (mut scene, mut spec) = replicating_with_a_key();
        fail(&scene, class, KEY);
        spec["rules"][0]["filter"] = json!({"prefix": "logs/"});
        scene.apply(spec);
        scene.check();
        let held = scene.world().buckets["orders"].configuration.clone().unwrap();
        assert_eq!(held.rules["a"].filter.prefix, "logs/", "{class:?}: {}", scene.message());
        assert_eq!(scene.reason(), "Applied", "{class:?}: {}", scene.message());
    }
}

#[test]
fn a_former_role_that_cannot_be_read_is_named_and_read_again_soon() {
    for class in failures() {
        let what = format!("{class:?}");
        let mut scene = Scene::settled();
        let mut renamed = spec();
        renamed["interval"] = json!("24h");
        renamed["role"]["name"] = json!("other-role");
        fail(&scene, class, ROLE);
        scene.apply(renamed);
        let next = scene.check();
        assert_soon(next, class, &what);
        assert_eq!(scene.reason(), "Applied", "{what}: {}", scene.message());
        assert_unknown(&scene, "RoleReady", class, ROLE, &what);
        allow_all(&scene);
        scene.clock.advance(Duration::from_secs(120));
        scene.check();
        assert!(scene.role().is_none(), "{what}: {:#}", scene.status());
        assert_eq!(scene.condition("RoleReady")["status"], "True", "{what}");
    }
}

#[test]
fn everything_that_is_denied_together_still_leaves_versioning_and_the_configuration_to_be_kept() {
    let (mut scene, _) = replicating();
    delete_configuration(&scene);
    scene.cloud.with(|world| {
        world.buckets.get_mut("a-copies").unwrap().versioning = VersioningStatus::Suspended;
    });
    for read in [ROLE, ROLE_POLICY, BUCKET_POLICY, OBJECT_LOCK] {
        deny(&scene, read);
    }
    scene.check();
    assert_eq!(rules(&scene), ["a", "b"], "{:#}", scene.status());
    assert_eq!(scene.world().buckets["a-copies"].versioning, VersioningStatus::Enabled);
    assert_named(&scene, ROLE, "all");
}

#[test]
fn a_role_that_lost_its_rights_gets_them_back_beside_what_others_gave_it_while_the_configuration_is_unread() {
    let (mut scene, _) = replicating();
    let theirs = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::theirs/*"}]});
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": THERE}, "Action": "sts:AssumeRole"}]});
    scene.cloud.with(|world| {
        let role = world.role_mut(HERE, "orders-role").unwrap();
        role.policy = Some(theirs.clone());
        role.trust = trust.clone();
    });
    deny(&scene, CONFIGURATION);
    scene.check();
    let role = scene.role().unwrap();
    let (policy, trust) = (role.policy.unwrap().to_string(), role.trust.to_string());
    for part in ["s3:ReplicateObject", "arn:aws:s3:::theirs/*"] {
        assert!(policy.contains(part), "{policy}");
    }
    for part in ["s3.amazonaws.com", THERE] {
        assert!(trust.contains(part), "{trust}");
    }
    assert_named(&scene, CONFIGURATION, "the role");
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0], "it grants all that is needed");
    let corrected = scene.status()["lastCorrection"]["items"].to_string();
    assert!(corrected.contains("trustPolicy sts:AssumeRole by Service:s3.amazonaws.com"), "{corrected}");
    assert!(!corrected.contains("theirs") && !corrected.contains(&format!("AWS:{THERE}")), "{corrected}");

    allow_all(&scene);
    scene.check();
    let role = scene.role().unwrap();
    assert!(!role.policy.unwrap().to_string().contains("theirs") && !role.trust.to_string().contains(THERE));
    assert_eq!(scene.reason(), "Applied", "{}", scene.message());
}

#[test]
fn a_role_that_was_deleted_is_made_again_and_let_in_while_the_configuration_is_unread() {
    let (mut scene, _) = replicating();
    let before = scene.role().unwrap();
    scene.cloud.with(|world| world.roles.clear());
    deny(&scene, CONFIGURATION);
    scene.check();
    let after = scene.role().unwrap();
    assert_eq!((after.policy, after.trust), (before.policy, before.trust), "{:#}", scene.status());
    assert_named(&scene, CONFIGURATION, "the role is gone");
}

#[test]
fn locks_that_neither_the_bucket_nor_the_role_shows_change_nothing_of_what_was_applied() {
    let mut scene = Scene::new();
    scene.cloud.with(|world| world.buckets.get_mut("orders").unwrap().object_lock = true);
    scene.apply(spec());
    scene.check();
    scene.wait_a_minute();
    delete_configuration(&scene);
    deny(&scene, OBJECT_LOCK);
    deny(&scene, ROLE_POLICY);
    scene.check();
    assert_eq!(rules(&scene), ["all"], "{:#}", scene.status());
    assert!(scene.role().unwrap().policy.unwrap().to_string().contains("s3:GetObjectRetention"));
}

/// Two destinations of the source's own account, under an `AwsAccount`.
fn under_an_account(role: Value) -> Scene {
    let mut scene = Scene::new();
    scene.cloud.with(|world| world.create_bucket("b-copies", "eu-west-1", HERE));
    let account = account_for(&["copies", "b-copies"]);
    scene.account("here", account);
    let mut two = spec();
    two["source"]["accountRef"] = json!("here");
    two["role"] = role;
    two["rules"] = json!([
        {"id": "a", "priority": 1, "destination": {"bucket": "copies"}},
        {"id": "b", "priority": 2, "destination": {"bucket": "b-copies"}},
    ]);
    scene.apply(two);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    scene.wait_a_minute();
    scene
}

#[test]
fn a_destination_whose_owner_is_not_confirmed_any_more_holds_back_only_its_own_rules() {
    let mut scene = under_an_account(json!({"name": "orders-role"}));
    delete_configuration(&scene);
    scene.cloud.with(|world| {
        world.buckets.get_mut("copies").unwrap().versioning = VersioningStatus::Suspended;
    });
    for action in ["s3:GetBucketVersioning", "s3:ListBucket"] {
        deny(&scene, (action, "b-copies"));
    }
    scene.check();
    assert_eq!(rules(&scene), ["a"], "{:#}", scene.status());
    assert_eq!(scene.world().buckets["copies"].versioning, VersioningStatus::Enabled);
    assert_named(&scene, ("s3:GetBucketVersioning", "b-copies"), "the owner");
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0]);
    allow_all(&scene);
    scene.check();
    assert_eq!((scene.reason().as_str(), rules(&scene)), ("Applied", vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a_changed_spec_writes_nothing_while_the_owner_of_a_destination_is_not_confirmed() {
    let mut scene = under_an_account(json!({"name": "orders-role"}));
    scene.cloud.with(|world| world.create_bucket("c-copies", "eu-west-1", THERE));
    scene.account("here", account_for(&["copies", "b-copies", "c-copies"]));
    for action in ["s3:GetBucketVersioning", "s3:ListBucket"] {
        deny(&scene, (action, "c-copies"));
    }
    let mut moved = scene.object().unwrap()["spec"].clone();
    moved["rules"][1]["destination"] = json!({"bucket": "c-copies", "region": "eu-west-1"});
    scene.apply(moved);
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0], "{:#}", scene.status());
    assert_named(&scene, ("s3:GetBucketVersioning", "c-copies"), "the owner");
}

#[test]
fn an_existing_role_that_may_not_be_read_any_more_is_not_used_and_versioning_is_kept() {
    let arn = format!("arn:aws:iam::{HERE}:role/orders-role");
    let mut scene = Scene::new();
    let make = |world: &mut World| {
        let documents = crate::replication::RoleDocuments {
            path: "/".into(),
            trust: crate::iam::document::trust_policy("s3.amazonaws.com").to_json(),
            permissions_boundary: None,
            tags: Default::default(),
            description: String::new(),
        };
        world.execute(HERE, &Step::CreateRole { role: "orders-role".into(), documents }).unwrap();
    };
    scene.cloud.with(make);
    let account = account_for(&["copies"]);
    scene.account("here", account);
    let mut existing = spec();
    existing["source"]["accountRef"] = json!("here");
    existing["role"] = json!({"arn": arn});
    scene.apply(existing);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{:#}", scene.status());
    scene.wait_a_minute();
    delete_configuration(&scene);
    scene.cloud.with(|world| {
        world.buckets.get_mut("copies").unwrap().versioning = VersioningStatus::Suspended;
    });
    deny(&scene, ROLE);
    scene.check();
    assert_eq!(scene.world().buckets["copies"].versioning, VersioningStatus::Enabled, "{:#}", scene.status());
    assert!(scene.world().buckets["orders"].configuration.is_none());
    assert_named(&scene, ROLE, "role.arn");
}

/// Whether a rule is there and enabled.
fn is_enabled(scene: &Scene, rule: &str) -> bool {
    let held = scene.world().buckets["orders"].configuration.clone();
    held.is_some_and(|held| held.rules.get(rule).is_some_and(|rule| rule.status.is_enabled()))
}

/// A third destination, in the account of the first.
fn with_c_copies(scene: &Scene, spec: &mut Value) {
    scene.cloud.with(|world| world.create_bucket("c-copies", "eu-west-1", THERE));
    let rule = json!({"id": "c", "priority": 3, "destination": {"bucket": "c-copies", "accountRef": "a"}});
    spec["rules"].as_array_mut().unwrap().push(rule);
}

/// The rest follows once the part can be read.
fn assert_completed(scene: &mut Scene, expected: &[&str]) {
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0], "it is not written again and again");
    allow_all(scene);
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{}", scene.message());
    assert_eq!(rules(scene), expected);
    assert!(!scene.message().contains("waits"), "{}", scene.message());
}

#[test]
fn a_rule_is_disabled_and_another_one_removed_although_the_role_or_its_policy_cannot_be_read() {
    for read in [ROLE, ROLE_POLICY] {
        let (mut scene, mut spec) = replicating();
        deny(&scene, read);
        spec["rules"][0]["status"] = json!("Disabled");
        spec["rules"].as_array_mut().unwrap().pop();
        scene.apply(spec);
        scene.check();
        assert_eq!((rules(&scene), is_enabled(&scene, "a")), (vec!["a".to_owned()], false), "{read:?}");
        assert_named(&scene, read, "a change");
        assert!(scene.message().contains("of role orders-role") || read == ROLE, "{}", scene.message());
        let policy = scene.world().buckets["b-copies"].policy.clone();
        assert!(policy.is_some(), "nothing is taken away before the role can be read");
        assert_completed(&mut scene, &["a"]);
        assert_eq!(scene.world().buckets["b-copies"].policy, None);
    }
}

#[test]
fn a_disabled_rule_is_enabled_again_although_the_role_cannot_be_read() {
    let (mut scene, mut spec) = replicating();
    deny(&scene, ROLE);
    for (status, enabled) in [("Disabled", false), ("Enabled", true)] {
        spec["rules"][0]["status"] = json!(status);
        scene.apply(spec.clone());
        scene.check();
        assert_eq!(is_enabled(&scene, "a"), enabled, "{}", scene.message());
        scene.wait_a_minute();
    }
}

#[test]
fn a_new_destination_is_prepared_and_its_rule_waits_while_the_role_or_its_policy_cannot_be_read() {
    for read in [ROLE, ROLE_POLICY] {
        let (mut scene, mut spec) = replicating();
        deny(&scene, read);
        with_c_copies(&scene, &mut spec);
        spec["rules"][0]["status"] = json!("Disabled");
        spec["rules"].as_array_mut().unwrap().remove(1);
        scene.apply(spec);
        scene.check();
        let c_copies = scene.world().buckets["c-copies"].clone();
        assert_eq!(c_copies.versioning, VersioningStatus::Enabled, "{}", scene.message());
        assert!(c_copies.policy.is_some_and(|policy| policy.to_string().contains("orders-role")));
        assert!(!is_enabled(&scene, "a"));
        assert_eq!(rules(&scene), ["a", "b"], "b goes once c is there: objects must go somewhere");
        assert_named(&scene, read, "a change");
        for waiting in ["of the changed spec waits: ", "rules[c]", "role orders-role"] {
            assert!(scene.message().contains(waiting), "{}", scene.message());
        }
        assert!(!scene.message().contains("rules[a]"), "{}", scene.message());
        assert_completed(&mut scene, &["a", "c"]);
    }
}

#[test]
fn a_rule_that_needs_more_of_a_role_that_cannot_be_read_stays_as_it_is() {
    let (mut scene, mut spec) = replicating();
    deny(&scene, ROLE);
    spec["rules"][0]["filter"] = json!({"prefix": "logs/"});
    spec["rules"][1]["destination"]["ownership"] = json!("Destination");
    scene.apply(spec);
    scene.check();
    let held = scene.world().buckets["orders"].configuration.clone().unwrap();
    assert_eq!(held.rules["a"].filter.prefix, "logs/", "{}", scene.message());
    assert_eq!(held.rules["b"].destination.ownership, None);
    assert!(scene.message().contains("rules[b].destination.ownership"), "{}", scene.message());
    assert_completed(&mut scene, &["a", "b"]);
}

#[test]
fn all_but_the_rules_is_prepared_while_the_configuration_cannot_be_read() {
    let (mut scene, mut spec) = replicating();
    deny(&scene, CONFIGURATION);
    with_c_copies(&scene, &mut spec);
    spec["role"]["tags"]["team"] = json!("sales");
    scene.apply(spec);
    scene.check();
    let role = scene.role().unwrap();
    assert_eq!(role.tags.get("team").map(String::as_str), Some("sales"), "{}", scene.message());
    let policy = role.policy.unwrap().to_string();
    for bucket in ["a-copies", "b-copies", "c-copies"] {
        assert!(policy.contains(bucket), "{policy}");
        assert!(scene.world().buckets[bucket].policy.is_some(), "{bucket}");
    }
    assert_eq!(scene.world().buckets["c-copies"].versioning, VersioningStatus::Enabled);
    assert_eq!(rules(&scene), ["a", "b"]);
    assert_named(&scene, CONFIGURATION, "a change");
    assert!(scene.message().contains("what it changes in the rules in bucket orders"), "{}", scene.message());
    assert_completed(&mut scene, &["a", "b", "c"]);
}

#[test]
fn a_change_to_another_role_waits_as_a_whole_and_so_does_a_new_resource() {
    let others_role = ("iam:GetRole", "other-role");
    let mut scene = Scene::settled();
    scene.cloud.with(|world| world.create_bucket("more-copies", "eu-west-1", HERE));
    deny(&scene, others_role);
    let mut changed = spec();
    changed["role"]["name"] = json!("other-role");
    changed["rules"][0]["destination"]["bucket"] = json!("more-copies");
    scene.apply(changed);
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0], "{}", scene.message());
    assert_named(&scene, others_role, "another role");
    assert!(scene.message().contains("rules[all].destination.bucket"), "{}", scene.message());

    let mut scene = Scene::new();
    deny(&scene, ROLE);
    scene.apply(spec());
    scene.check();
    assert_eq!(scene.writes_to_aws(), [""; 0], "{}", scene.message());
    assert_named(&scene, ROLE, "a new resource");
}

#[test]
fn a_deletion_takes_nothing_from_a_configuration_that_cannot_be_read() {
    let (mut scene, _) = replicating();
    let before = scene.world();
    deny(&scene, CONFIGURATION);
    scene.delete();
    scene.check();
    assert_named(&scene, CONFIGURATION, "a deletion");
    let after = scene.world();
    assert_eq!(after.buckets["a-copies"].policy, before.buckets["a-copies"].policy);
    assert!(scene.role().unwrap().policy.is_some());
    allow_all(&scene);
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!((scene.object(), scene.world().roles.len()), (None, 0));
}

#[test]
fn a_deletion_leaves_a_role_that_a_bucket_policy_may_name_until_that_can_be_read() {
    let (mut scene, _) = replicating();
    deny(&scene, BUCKET_POLICY);
    scene.delete();
    scene.check();
    assert_named(&scene, BUCKET_POLICY, "a deletion");
    assert!(scene.world().buckets["orders"].configuration.is_none());
    assert_eq!(scene.world().buckets["a-copies"].policy, None);
    assert!(scene.role().is_some(), "its owner could not change a policy that names a deleted role");
    allow_all(&scene);
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!((scene.object(), scene.world().roles.len()), (None, 0));
}

/// Nobody knows whether it trusts S3, or is there at all.
#[test]
fn nothing_counts_as_in_sync_beside_a_role_of_someone_else_that_cannot_be_read() {
    let mut scene = Scene::new();
    let mut given = spec();
    given["role"] = json!({ "arn": create_role(&scene, "given") });
    deny(&scene, ("iam:GetRole", "given"));
    scene.apply(given);
    scene.check();
    assert_eq!(scene.reason(), "Applied", "{}", scene.message());
    let states =
        |scene: &Scene| ["Ready", "RoleReady", "InSync"].map(|kind| scene.condition(kind)["status"].clone());
    assert_eq!(states(&scene), ["True", "Unknown", "Unknown"]);
    allow_all(&scene);
    scene.clock.advance(Duration::from_secs(600));
    scene.check();
    assert_eq!(states(&scene), ["True"; 3]);
}
