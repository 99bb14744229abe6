//! Which canaries there are, when one is deleted, and what is never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::api::{Activity, AwsAccountSpec, Destination, Filter, ReplicationRule, Switch};
use crate::replication::health::canary::flight::{Flight, LONGEST, Move, judge, pause};
use crate::replication::health::canary::probe::{MOST, ProbeContext, probes};
use crate::replication::health::canary::requirements::{
    Permissions, refuse, require_allowed, require_deletable,
};
use crate::replication::health::canary::*;
use crate::replication::{Account, Accounts, BucketAddress, Failure, FailureClass};

const UID: &str = "6f9f1f2a-7f0d-4b71-9c3a-0a1b2c3d4e5f";
const PREFIX: &str = ".s3replication.dev/";
const HERE: &str = "111122223333";
const THERE: &str = "444455556666";
const PREFIXES: [&str; 5] = ["", "logs/", "logs/a/", ".s3", ".s3replication.dev/x"];

fn rule(id: &str, prefix: &str, priority: i32, bucket: &str) -> ReplicationRule {
    ReplicationRule {
        id: id.to_owned(),
        priority: Some(priority),
        filter: Some(Filter { prefix: Some(prefix.to_owned()), ..Filter::default() }),
        destination: Destination { bucket: bucket.to_owned(), ..Destination::default() },
        ..ReplicationRule::default()
    }
}

fn context(encrypted: bool) -> ProbeContext<'static> {
    ProbeContext { prefix: PREFIX, uid: UID, encrypted }
}

fn planned(rules: &[ReplicationRule]) -> Probes {
    probes(rules, context(false))
}

fn address(bucket: &str) -> BucketAddress {
    BucketAddress {
        name: bucket.into(),
        region: "eu-west-1".into(),
        account_id: HERE.into(),
        account_ref: None,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

prop_compose! {
    fn any_rule()(
        prefix in prop::sample::select(&PREFIXES[..]),
        tags in btree_map("[ab]", "[xy]", 0..3),
        bucket in prop::sample::select(&["one", "two"][..]),
        disabled in prop::bool::weighted(0.2),
        kms in any::<bool>(),
    ) -> ReplicationRule {
        let mut drawn = rule("", prefix, 0, bucket);
        drawn.filter = Some(Filter { prefix: Some(prefix.to_owned()), tags });
        drawn.status = disabled.then_some(Switch::Disabled);
        drawn.kms_encrypted_objects = kms.then_some(Switch::Enabled);
        drawn
    }
}

fn any_rules() -> impl Strategy<Value = Vec<ReplicationRule>> {
    (vec(any_rule(), 1..8), any::<u64>()).prop_map(|(mut rules, seed)| {
        // Unique priorities in an order that is not that of the list.
        for (index, rule) in rules.iter_mut().enumerate() {
            let turned = (index as u64).wrapping_add(seed) % 8;
            (rule.id, rule.priority) = (format!("rule-{index}"), Some(i32::try_from(turned).unwrap()));
        }
        rules
    })
}

/// The rule that S3 applies to an object at a destination, worked out rule by rule.
fn applied<'r>(
    rules: &'r [ReplicationRule],
    key: &str,
    tags: &BTreeMap<String, String>,
    bucket: &str,
) -> Option<&'r ReplicationRule> {
    let filter = |rule: &ReplicationRule| rule.filter.clone().unwrap_or_default();
    let mut matching: Vec<&ReplicationRule> = rules
        .iter()
        .filter(|rule| rule.status != Some(Switch::Disabled) && rule.destination.bucket == bucket)
        .filter(|rule| key.starts_with(&filter(rule).prefix.unwrap_or_default()))
        .filter(|rule| filter(rule).tags.iter().all(|tag| tags.iter().any(|held| held == tag)))
        .collect();
    matching.sort_by_key(|rule| rule.priority);
    matching.pop()
}

proptest! {
    #[test]
    fn every_enabled_rule_is_proved_by_a_canary_or_refused(rules in any_rules(), encrypted in any::<bool>()) {
        let Probes { probes: written, refused } = probes(&rules, context(encrypted));
        for rule in &rules {
            let proved = written.iter().any(|probe| probe.arrivals.values().any(|id| *id == rule.id));
            let enabled = rule.status != Some(Switch::Disabled);
            prop_assert_eq!(enabled, proved || refused.contains_key(&rule.id), "{}", rule.id);
            prop_assert!(enabled || !proved);
        }
    }

    #[test]
    fn a_canary_is_expected_where_the_rule_that_s3_applies_to_it_sends_it(
        rules in any_rules(), encrypted in any::<bool>(),
    ) {
        for probe in probes(&rules, context(encrypted)).probes {
            let key = key::key(&probe.folder, &probe.rule, 1_795_637_640);
            for bucket in ["one", "two"] {
                let expected = applied(&rules, &key, &probe.tags, bucket);
                let expected = expected.filter(|rule| !encrypted || rule.kms_encrypted_objects.is_some());
                prop_assert_eq!(probe.arrivals.get(bucket), expected.map(|rule| &rule.id));
            }
            prop_assert!(key::is_folder_of(&probe.folder, UID) && key::is_canary(&key, &probe.folder));
            prop_assert!(!probe.arrivals.is_empty());
        }
    }

    #[test]
    fn one_object_proves_all_rules_with_the_same_prefix_and_tags(rules in any_rules()) {
        let probes = planned(&rules).probes;
        let objects: BTreeSet<(&String, &BTreeMap<String, String>)> =
            probes.iter().map(|probe| (&probe.folder, &probe.tags)).collect();
        prop_assert_eq!(objects.len(), probes.len());
    }

    #[test]
    fn a_canary_is_refused_where_any_bucket_that_it_reaches_would_keep_it(
        rules in any_rules(),
        kept in prop::sample::select(&["source", "one", "two"][..]),
        how in 0..3,
    ) {
        let denied = || Failure::new(FailureClass::Denied, "s3:GetBucketVersioning", kept, "");
        let facts = |bucket: &str| match (bucket == kept, how) {
            (true, 0) => BucketFacts { mfa_delete: Ok(true), default_retention: Ok(false) },
            (true, 1) => BucketFacts { mfa_delete: Ok(false), default_retention: Ok(true) },
            (true, _) => BucketFacts { mfa_delete: Err(denied()), default_retention: Ok(false) },
            (false, _) => BucketFacts { mfa_delete: Ok(false), default_retention: Ok(false) },
        };
        let buckets = ["source", "one", "two"].map(|bucket| (bucket.to_owned(), facts(bucket)));
        let facts = CanaryFacts { buckets: buckets.into(), encrypted: Ok(false) };
        let all = planned(&rules);
        let left = refuse(all.clone(), |probe| require_deletable(probe, "source", &facts));
        prop_assert!(left.probes.iter().all(|probe| kept != "source" && !probe.arrivals.contains_key(kept)));
        let rules_of = |probes: &[Probe]| -> BTreeSet<String> {
            probes.iter().flat_map(|probe| probe.arrivals.values().cloned()).collect()
        };
        let lost = &rules_of(&all.probes) - &rules_of(&left.probes);
        prop_assert!(lost.iter().all(|rule| left.refused.contains_key(rule)));
    }

    /// This holds for every answer of S3, and every order in which calls fail.
    #[test]
    fn a_canary_is_deleted_everywhere_and_not_before_its_end(
        answers in vec(prop::option::of(any_status()), 1..30),
        replicas in vec((prop::sample::select(&["one", "two"][..]), "[a-c]"), 0..4),
        failures in vec(any::<bool>(), 0..40),
    ) {
        let source = address("source");
        let version = VersionAt { bucket: source, key: "k".into(), version: "v".into() };
        let mut there: BTreeSet<VersionAt> = replicas.iter().map(|(bucket, id)| VersionAt {
            bucket: address(bucket), key: "k".into(), version: id.clone(),
        }).collect();
        there.insert(version.clone());
        let mut flight = Flight::sent(&a_probe(), version, at(0));
        let (mut answers, mut failures) = (answers.into_iter(), failures.into_iter());
        let mut is_final = false;
        for second in 1..200 {
            let now = at(second * 600);
            let fails = failures.next().unwrap_or(false);
            match flight.next() {
                Move::Done => break,
                _ if fails => {}
                Move::Read(version) => {
                    let status = answers.next().unwrap_or(Some(ReplicationStatus::Completed));
                    is_final |= judge(status, flight.age(now)).is_some();
                    if status.is_none() {
                        there.remove(&version);
                    }
                    flight.read(status, now);
                }
                Move::List => {
                    let listed: Vec<(CanaryPlace, Vec<HeldVersion>)> = ["one", "two"].map(|bucket| {
                        let place = CanaryPlace { bucket: address(bucket), folder: String::new() };
                        let held = there.iter().filter(|held| held.bucket.name == bucket);
                        let held = held.map(|held| HeldVersion {
                            key: held.key.clone(), version: held.version.clone(), modified: at(0),
                        });
                        (place, held.collect())
                    }).into();
                    flight.listed(&listed);
                }
                Move::Delete(version) => {
                    prop_assert!(is_final, "{version:?} is deleted before its end");
                    there.remove(&version);
                    flight.deleted(&version);
                }
            }
        }
        prop_assert_eq!(flight.next(), Move::Done);
        prop_assert!(there.is_empty(), "{there:?}");
    }

    #[test]
    fn nothing_but_canaries_is_ever_taken_up(keys in vec(any_key(), 0..10)) {
        let folder = key::folder("", PREFIX, UID);
        let version = |key: &String| HeldVersion { key: key.clone(), version: "v".into(), modified: at(0) };
        let place = CanaryPlace { bucket: address("source"), folder: folder.clone() };
        let listed = [(place, keys.iter().map(version).collect::<Vec<_>>())];
        let found = leftovers(&listed, "source");
        for leftover in &found {
            prop_assert!(leftover.key.starts_with(&format!("{folder}canary-")), "{}", leftover.key);
        }
        let ours = keys.iter().filter(|held| key::is_canary(held, &folder)).collect::<BTreeSet<_>>();
        prop_assert_eq!(found.len(), ours.len());
    }
}

fn any_status() -> impl Strategy<Value = ReplicationStatus> {
    prop::sample::select(
        &[
            ReplicationStatus::Absent,
            ReplicationStatus::Pending,
            ReplicationStatus::Pending,
            ReplicationStatus::Completed,
            ReplicationStatus::Failed,
        ][..],
    )
}

fn any_key() -> impl Strategy<Value = String> {
    let folder = key::folder("", PREFIX, UID);
    prop_oneof![
        "[a-z/]{0,12}",
        Just(key::key(&folder, "rule", 7)),
        "[a-z0-9/-]{0,30}".prop_map(move |name| format!("{folder}{name}")),
        "[0-9a-f]{14,18}-[0-9]{0,3}"
            .prop_map(|name| format!("{}canary-{name}", key::folder("", PREFIX, UID))),
    ]
}

fn a_probe() -> Probe {
    planned(&[rule("all", "", 1, "one")]).probes.remove(0)
}

fn refusal(rules: &[ReplicationRule], id: &str) -> Refused {
    planned(rules).refused.remove(id).unwrap_or_else(|| panic!("{id} is not refused"))
}

#[test]
fn the_key_of_a_canary_begins_with_the_prefixes_of_the_rule_and_of_canaries() {
    let probe = planned(&[rule("all", "logs/", 1, "copies")]).probes.remove(0);
    assert_eq!(probe.folder, format!("logs/.s3replication.dev/{UID}/"));
    let key = key::key(&probe.folder, "all", 1_795_637_640);
    assert!(key.starts_with(&format!("{}canary-", probe.folder)) && key.ends_with("-1795637640"), "{key}");
}

#[test]
fn a_rule_all_of_whose_keys_fall_under_another_rule_has_no_canary_and_the_reason_is_reported() {
    let rules = [rule("low", "logs/", 1, "copies"), rule("high", "", 2, "copies")];
    let refused = refusal(&rules, "low");
    assert_eq!(refused, Refused::UnderAnotherRule { rule: "high".into(), always: true });
    assert!(refused.message().contains("matches every object of this rule"), "{}", refused.message());
    let elsewhere = [rule("low", "logs/", 1, "copies"), rule("high", "", 2, "archive")];
    assert!(planned(&elsewhere).refused.is_empty(), "each destination has a rule of its own");
}

#[test]
fn a_rule_whose_canary_alone_would_fall_under_another_rule_is_asked_for_another_prefix() {
    let rules = [rule("all", "", 1, "copies"), rule("hidden", ".s3", 2, "copies")];
    let refused = refusal(&rules, "all");
    assert_eq!(refused, Refused::UnderAnotherRule { rule: "hidden".into(), always: false });
    assert!(refused.message().contains("spec.health.canary.prefix"), "{}", refused.message());
}

#[test]
fn a_canary_has_the_tags_of_its_rule_and_a_rule_with_more_tags_does_not_take_it() {
    let mut tagged = rule("tagged", "", 2, "copies");
    tagged.filter.as_mut().unwrap().tags = [("team".to_owned(), "data".to_owned())].into();
    let probes = planned(&[rule("all", "", 1, "copies"), tagged]).probes;
    assert_eq!(probes.len(), 2);
    assert_eq!(probes[0].arrivals["copies"], "all");
    assert_eq!(probes[1].arrivals["copies"], "tagged");
    assert_eq!(probes[1].tags["team"], "data");
}

#[test]
fn a_canary_that_the_source_encrypts_is_refused_by_a_rule_that_leaves_such_objects_out() {
    let rules = [rule("all", "", 1, "copies")];
    assert_eq!(probes(&rules, context(true)).refused["all"], Refused::NotEligible);
    assert!(probes(&rules, context(false)).refused.is_empty());
}

#[test]
fn a_key_that_s3_would_not_take_is_refused() {
    let rules = [rule("deep", &"x".repeat(950), 1, "copies")];
    assert_eq!(refusal(&rules, "deep"), Refused::KeyTooLong);
}

#[test]
fn a_resource_with_a_thousand_rules_has_at_most_a_hundred_canaries() {
    let rules: Vec<ReplicationRule> =
        (0..1000).map(|n| rule(&format!("rule-{n}"), &format!("{n:04}/"), n, "copies")).collect();
    let Probes { probes, refused } = planned(&rules);
    assert_eq!((probes.len(), refused.len()), (MOST, 1000 - MOST));
    assert_eq!(refused["rule-999"], Refused::TooMany);
}

fn account(name: &str, id: &str, allow: Vec<Activity>) -> Account {
    let spec = AwsAccountSpec { account_id: id.to_owned(), allow, ..AwsAccountSpec::default() };
    Account { name: name.to_owned(), spec }
}

#[test]
fn each_account_that_a_canary_reaches_has_to_allow_it() {
    let mut rules = [rule("all", "", 1, "copies")];
    rules[0].destination.account_ref = Some("dr".to_owned());
    let probe = planned(&rules).probes.remove(0);
    let require = |here: &[Activity], there: &[Activity]| {
        let accounts = Accounts {
            source: Some(account("prod", HERE, here.to_vec())),
            destinations: [("dr".to_owned(), account("dr", THERE, there.to_vec()))].into(),
        };
        require_allowed(&probe, Permissions { accounts: &accounts, rules: &rules, account_id: HERE })
    };
    let canary = [Activity::Canary];
    assert_eq!(require(&canary, &canary), Ok(()));
    assert_eq!(require(&[], &canary), Err(Refused::NotAllowed { account: "prod".into() }));
    assert_eq!(require(&canary, &[Activity::Backfill]), Err(Refused::NotAllowed { account: "dr".into() }));
    let nobody = Accounts::default();
    let unrestricted = Permissions { accounts: &nobody, rules: &rules, account_id: HERE };
    assert_eq!(require_allowed(&probe, unrestricted), Ok(()));
}

#[test]
fn a_replica_in_an_account_without_an_identity_of_the_operator_could_not_be_deleted() {
    let mut rules = [rule("all", "", 1, "copies")];
    rules[0].destination.account = Some(THERE.to_owned());
    let probe = planned(&rules).probes.remove(0);
    let accounts = Accounts::default();
    let permissions = Permissions { accounts: &accounts, rules: &rules, account_id: HERE };
    let refused = require_allowed(&probe, permissions).unwrap_err();
    assert!(refused.message().contains("set destination.accountRef"), "{}", refused.message());
    assert_eq!(require_allowed(&probe, Permissions { account_id: THERE, ..permissions }), Ok(()));
}

#[test]
fn an_unknown_status_is_not_final_and_both_spellings_of_complete_are() {
    assert_eq!(ReplicationStatus::parse(Some("COMPLETE")), ReplicationStatus::Completed);
    assert_eq!(ReplicationStatus::parse(Some("COMPLETED")), ReplicationStatus::Completed);
    for header in ["PENDING", "REPLICA", "UNHEARD_OF"] {
        assert_eq!(judge(Some(ReplicationStatus::parse(Some(header))), Duration::ZERO), None, "{header}");
    }
    assert_eq!(judge(Some(ReplicationStatus::Pending), LONGEST), Some(CanaryEnding::Abandoned));
}

#[test]
fn an_object_without_a_status_is_not_eligible_only_after_a_minute() {
    let absent = ReplicationStatus::parse(None);
    assert_eq!(judge(Some(absent), Duration::from_secs(59)), None);
    assert_eq!(judge(Some(absent), Duration::from_secs(60)), Some(CanaryEnding::NotEligible));
}

#[test]
fn a_canary_is_read_often_at_first_and_once_a_minute_at_last() {
    let pauses: Vec<u64> =
        [0, 10, 60, 240, 86_400].map(|age| pause(Duration::from_secs(age)).as_secs()).into();
    assert_eq!(pauses, [2, 2, 15, 60, 60]);
}

#[test]
fn replicas_without_a_source_are_deleted_and_markers_are_nobodys() {
    let folder = key::folder("", PREFIX, UID);
    let key = key::key(&folder, "all", 7);
    let place = |bucket: &str| CanaryPlace { bucket: address(bucket), folder: folder.clone() };
    let held = vec![HeldVersion { key: key.clone(), version: "r".into(), modified: at(0) }];
    let listed = [(place("source"), Vec::new()), (place("copies"), held)];
    let leftover = leftovers(&listed, "source").remove(0);
    let mut flights = Flight::of_leftover(leftover, &address("source"));
    assert_eq!(flights.len(), 1);
    assert_eq!(flights[0].next(), Move::List);
    flights[0].listed(&listed[1..]);
    let replica = VersionAt { bucket: address("copies"), key, version: "r".into() };
    assert_eq!(flights[0].next(), Move::Delete(replica.clone()));
    flights[0].deleted(&replica);
    assert_eq!(flights[0].next(), Move::Done);
}

#[test]
fn a_status_that_names_a_folder_of_another_resource_names_nothing() {
    let held_in = |prefix: &str| crate::api::CanaryPlaceStatus {
        bucket: "b".into(),
        prefix: prefix.into(),
        ..Default::default()
    };
    let held = [held_in(&key::folder("", PREFIX, UID)), held_in("orders/"), held_in(""), held_in("orders")];
    assert_eq!(place::remembered(&held, UID).len(), 1);
    assert!(place::remembered(&held, "").is_empty());
}

#[test]
fn times_in_the_future_make_no_canary_old() {
    let flight = Flight::sent(
        &a_probe(),
        VersionAt { bucket: address("source"), key: "k".into(), version: "v".into() },
        at(100),
    );
    assert_eq!(flight.age(at(100).saturating_sub(SignedDuration::from_secs(50)).unwrap()), Duration::ZERO);
}
