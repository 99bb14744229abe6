//! For any desired and any observed state: executing the plan leaves no difference and nothing to plan, comparing
//! never panics, and Observe never yields a step.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::{
    self, AdoptionPolicy, AnnouncedConfiguration, BucketReplicationSpec, BucketReplicationStatus,
    ConfigurationOrigin, Destination, ManagementPolicy, Replicate, ReplicationRule, Source, StorageClass,
    Switch, VersioningPolicy,
};
use crate::iam::{PolicyDocument, compare};
use crate::replication::desired::Discovered;
use crate::replication::desired::permissions::{Extent, permissions};
use crate::replication::diff::configuration_differences;
use crate::replication::health::Evidence;
use crate::replication::import::{Inexpressible, ReplicatingBucket, import};
use crate::replication::plan::plan;
use crate::replication::status::{Outcome, StatusContext, announce, announce_configuration};
use crate::replication::tests::model::execute;
use crate::replication::tests::{Case, caller, id, nothing_but};
use crate::replication::{
    Configuration, Failure, FailureClass, Observed, ObservedBucket, ObservedRole, Rule, RuleDestination,
    RuleFilter, Step, Versioning, VersioningStatus,
};

const BUCKETS: [&str; 3] = ["one", "two", "three"];
const IDS: [&str; 4] = ["a", "b", "c", "d"];
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/k";

fn switch() -> impl Strategy<Value = Option<Switch>> {
    option::of(prop_oneof![Just(Switch::Enabled), Just(Switch::Disabled)])
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[a-c]", "[xy]?", 0..3)
}

fn storage_class() -> impl Strategy<Value = Option<StorageClass>> {
    option::of(prop_oneof![
        Just(StorageClass::Standard),
        Just(StorageClass::Glacier),
        Just(StorageClass::GlacierIr)
    ])
}

prop_compose! {
    fn destination()(
        bucket in prop::sample::select(&BUCKETS[..]),
        storage_class in storage_class(),
        account in option::of(prop_oneof![Just("111122223333"), Just("444455556666")]),
        rtc in switch(),
        metrics in switch(),
        required in prop::bool::weighted(0.2),
    ) -> Destination {
        Destination {
            bucket: bucket.to_owned(),
            storage_class,
            account: account.map(str::to_owned),
            replication_time_control: rtc,
            metrics,
            versioning: required.then_some(VersioningPolicy::Required),
            ..Destination::default()
        }
    }
}

prop_compose! {
    fn rule(id: &'static str, priority: i32)(
        destination in destination(),
        status in switch(),
        prefix in option::of("[ab/]{0,3}"),
        tags in tags(),
        markers in switch(),
        modifications in switch(),
        kms in any::<bool>(),
    ) -> ReplicationRule {
        let delete_markers = if tags.is_empty() { markers } else { None };
        ReplicationRule {
            id: id.to_owned(),
            status,
            priority: Some(priority),
            filter: Some(api::Filter { prefix, tags }),
            destination: Destination { kms_key_arn: kms.then(|| KEY.to_owned()), ..destination },
            delete_markers,
            replica_modifications: modifications,
            kms_encrypted_objects: kms.then_some(Switch::Enabled),
        }
    }
}

fn rules() -> impl Strategy<Value = Vec<ReplicationRule>> {
    let each: Vec<_> = IDS.iter().zip(1..).map(|(id, priority)| rule(id, priority)).collect();
    (each, 1..=IDS.len(), any::<bool>()).prop_map(|(mut rules, n, with_priority)| {
        rules.truncate(n);
        if n == 1 && !with_priority {
            rules[0].priority = None;
        }
        rules
    })
}

fn role() -> impl Strategy<Value = Option<api::Role>> {
    let managed = (option::of(Just("role".to_owned())), option::of(Just("boundary".to_owned())), tags());
    let managed = managed.prop_map(|(name, permissions_boundary, tags)| api::Role {
        name,
        permissions_boundary,
        tags,
        ..api::Role::default()
    });
    let existing =
        api::Role { arn: Some("arn:aws:iam::111122223333:role/existing".into()), ..api::Role::default() };
    option::of(prop_oneof![4 => managed, 1 => Just(existing)])
}

prop_compose! {
    fn any_spec()(
        rules in rules(),
        role in role(),
        (tags, acls) in (option::of(any::<bool>()), option::of(any::<bool>())),
        adopt in prop::bool::weighted(0.7),
        keys in any::<bool>(),
    ) -> BucketReplicationSpec {
        BucketReplicationSpec {
            source: Source {
                bucket: "source".into(),
                kms_key_arns: if keys { vec![KEY.to_owned()] } else { vec![] },
                ..Source::default()
            },
            role,
            replicate: Some(Replicate { tags, acls }),
            rules,
            adoption_policy: if adopt { AdoptionPolicy::Adopt } else { AdoptionPolicy::Refuse },
            ..BucketReplicationSpec::default()
        }
    }
}

fn versioning() -> impl Strategy<Value = ObservedBucket> {
    let status = prop_oneof![
        3 => Just(VersioningStatus::Enabled),
        1 => Just(VersioningStatus::Suspended),
        1 => Just(VersioningStatus::Disabled)
    ];
    (status, prop::bool::weighted(0.05), prop::bool::weighted(0.02)).prop_map(
        |(status, mfa_delete, missing)| ObservedBucket {
            region: Ok((!missing).then(|| "eu-west-1".to_owned())),
            versioning: Ok(Versioning { status, mfa_delete }),
            owner_confirmed: true,
        },
    )
}

/// A policy that may or may not mean what is wanted: the wanted one, a part of it, or anything else.
fn policy_near(wanted: PolicyDocument) -> impl Strategy<Value = Value> {
    let wanted = wanted.to_value();
    let part = {
        let mut part = wanted.clone();
        if let Some(statements) = part["Statement"].as_array_mut() {
            statements.reverse();
            statements.truncate(1);
        }
        part
    };
    prop_oneof![Just(wanted), Just(part), any_json()]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z:*]{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("Statement"),
        Just("Effect"),
        Just("Action"),
        Just("NotAction"),
        Just("Resource"),
        Just("Principal"),
        Just("Condition"),
        Just("AWS"),
        Just("other")
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key.clone().prop_map(str::to_owned), inner, 0..5).prop_map(|m| json!(m)),
        ]
    })
}

prop_compose! {
    fn observed_rule()(
        status in any::<bool>(),
        priority in option::of(0..5i32),
        prefix in "[ab]{0,2}",
        tags in tags(),
        bucket in prop::sample::select(&BUCKETS[..]),
        class in option::of("STANDARD|GLACIER|NEW_CLASS"),
        account in option::of("111122223333|999999999999"),
        on in vec(any::<bool>(), 5),
    ) -> Rule {
        let switch = |on: bool| if on { Switch::Enabled } else { Switch::Disabled };
        Rule {
            status: switch(status),
            priority,
            filter: RuleFilter { prefix, tags },
            delete_markers: switch(on[0]),
            replica_modifications: switch(on[1]),
            kms_encrypted_objects: switch(on[2]),
            destination: RuleDestination {
                bucket: format!("arn:aws:s3:::{bucket}"),
                account,
                storage_class: class,
                ownership: None,
                kms_key: None,
                replication_time_control: switch(on[3]),
                // S3 takes replication time only with metrics.
                metrics: switch(on[3] || on[4]),
            },
        }
    }
}

fn configuration() -> impl Strategy<Value = Option<Configuration>> {
    let roles = prop_oneof![
        Just("arn:aws:iam::111122223333:role/s3-replication/role"),
        Just("arn:aws:iam::111122223333:role/s3-replication/data.orders"),
        Just("arn:aws:iam::111122223333:role/someone-elses"),
    ];
    let rules = btree_map(prop::sample::select(&IDS[..]).prop_map(str::to_owned), observed_rule(), 0..4);
    option::of((roles, rules).prop_map(|(role, rules)| Configuration { role: role.to_owned(), rules }))
}

/// A role of the desired name in any condition, the resource's own or not; or none.
fn held_role(spec: &BucketReplicationSpec) -> BoxedStrategy<Option<ObservedRole>> {
    let blank = observed_without_role();
    let wanted = match Case::new(spec.clone(), blank).desired().role {
        crate::replication::DesiredRole::Existing { arn } => {
            return option::of(any_json().prop_map(move |trust| ObservedRole {
                arn: arn.clone(),
                name: "existing".into(),
                path: "/".into(),
                trust,
                permissions_boundary: None,
                tags: BTreeMap::new(),
                policy: Ok(None),
                other_policies: vec![],
            }))
            .boxed();
        }
        crate::replication::DesiredRole::Managed(role) => role,
    };
    let trust = policy_near(wanted.trust.clone());
    let policy = option::of(policy_near(wanted.permissions.clone()));
    let extra = (option::of(Just("other".to_owned())), tags(), any::<bool>(), prop::bool::weighted(0.1));
    option::of((trust, policy, extra).prop_map(move |(trust, policy, (boundary, mut tags, ours, moved))| {
        if ours {
            tags.extend(id().tags());
        }
        let path = if moved { "/elsewhere/".to_owned() } else { wanted.path.clone() };
        ObservedRole {
            arn: caller().partition.role_arn(&caller().account, &path, &wanted.name),
            name: wanted.name.clone(),
            path,
            trust,
            permissions_boundary: boundary,
            tags,
            policy: Ok(policy),
            other_policies: vec![],
        }
    }))
    .boxed()
}

fn former_roles() -> impl Strategy<Value = BTreeMap<String, Result<Option<ObservedRole>, Failure>>> {
    vec((any::<bool>(), any::<bool>()), 0..=1).prop_map(|roles| {
        let role = |(ours, blocked): (bool, bool)| ObservedRole {
            arn: "arn:aws:iam::111122223333:role/s3-replication/former".into(),
            name: "former".into(),
            path: "/s3-replication/".into(),
            trust: json!({}),
            permissions_boundary: None,
            tags: if ours { id().tags() } else { BTreeMap::new() },
            policy: Ok(Some(json!({}))),
            other_policies: if blocked { vec!["someone-elses".into()] } else { vec![] },
        };
        roles.into_iter().map(|r| ("former".to_owned(), Ok(Some(role(r))))).collect()
    })
}

fn observed_without_role() -> Observed {
    let bucket = || crate::replication::tests::model::bucket_in("eu-west-1", VersioningStatus::Enabled);
    nothing_but(bucket(), BUCKETS.iter().map(|b| ((*b).to_owned(), bucket())).collect())
}

prop_compose! {
    fn case()(spec in any_spec())(
        role in held_role(&spec),
        spec in Just(spec),
        source in versioning(),
        destinations in vec(versioning(), BUCKETS.len()),
        configuration in configuration(),
        former_roles in former_roles(),
        applied in any::<bool>(),
    ) -> Case {
        let named = |b: &str| spec.rules.iter().any(|r| r.destination.bucket == b);
        let destinations = BUCKETS.iter().zip(destinations).filter(|(b, _)| named(b));
        let destinations = destinations.map(|(b, held)| ((*b).to_owned(), held)).collect();
        let observed = Observed {
            configuration: Ok(configuration),
            role: Ok(role),
            former_roles,
            ..nothing_but(source, destinations)
        };
        let case = Case::new(spec, observed);
        if applied { case.applied() } else { case }
    }
}

/// The permissions that the rules in AWS need of the role: each action on each resource under its condition.
fn needed(case: &Case) -> BTreeSet<String> {
    let none = BTreeMap::new();
    let rules = case.observed.configuration.as_ref().unwrap().as_ref().map_or(&none, |held| &held.rules);
    let source_keys = case.spec.source.kms_key_arns.clone();
    let extent = Extent { tags: false, acls: false, object_lock: false, source_keys };
    let discovered = Discovered::of(&case.spec.source.bucket, &case.observed);
    let statements = permissions(&case.spec.source.bucket, &discovered, &extent, rules).statement;
    let each = statements.iter().flat_map(|statement| {
        let on = |action: &String| {
            let condition = &statement.condition;
            let text = |resource: &String| format!("{action} on {resource} if {condition:?}");
            statement.resource.iter().map(text).collect::<Vec<_>>()
        };
        statement.action.iter().flat_map(on).collect::<Vec<_>>()
    });
    each.collect()
}

/// The configuration that a step puts.
fn put(step: &Step) -> Option<&Configuration> {
    match step {
        Step::PutReplication { configuration, .. } => Some(configuration),
        _ => None,
    }
}

fn context<'a>(previous: &'a BucketReplicationStatus, evidence: &'a Evidence) -> StatusContext<'a> {
    let now = jiff::Timestamp::UNIX_EPOCH;
    StatusContext {
        generation: Some(1),
        requested: None,
        previous,
        now,
        evidence,
        raised_interval: None,
        follows_another_process: false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_global_rejects: 50_000, ..ProptestConfig::default() })]

    #[test]
    fn executing_the_plan_leaves_no_difference_and_nothing_to_plan(case in case()) {
        let plan = case.plan();
        prop_assume!(plan.refusals.is_empty());
        let mut after = case.clone();
        for step in plan.steps() {
            execute(&mut after.observed, &case.spec.source.bucket, step);
        }
        let again = after.plan();
        prop_assert_eq!(&again.refusals, &vec![]);
        prop_assert_eq!(&again.differences, &vec![]);
        prop_assert_eq!(&again.stages, &Vec::<Vec<_>>::new());
    }

    #[test]
    fn a_refusal_comes_before_the_first_write(case in case()) {
        let plan = case.plan();
        prop_assert!(plan.refusals.is_empty() || plan.stages.is_empty());
    }

    #[test]
    fn a_plan_has_steps_if_and_only_if_something_differs_or_is_left_over(case in case()) {
        let plan = case.plan();
        prop_assume!(plan.refusals.is_empty());
        let left_over = case.observed.former_roles_of(&case.id).any(|r| r.other_policies.is_empty());
        prop_assert_eq!(plan.stages.is_empty(), plan.differences.is_empty() && !left_over);
        for difference in &plan.differences {
            prop_assert!(plan.steps().any(|step| step.settles(difference)), "{:?} is settled by no step", difference);
        }
    }

    #[test]
    fn nothing_is_taken_away_while_the_configuration_or_the_role_cannot_be_read(
        case in case(),
        role_is_unread in any::<bool>(),
        is_change in any::<bool>(),
    ) {
        let mut case = if is_change { case.changed() } else { case.applied() };
        // An existing role is only checked.
        let role_is_unread = role_is_unread && case.spec.role.as_ref().is_none_or(|role| role.arn.is_none());
        let unread = |action: &'static str| Failure::new(FailureClass::Denied, action, "subject", "no");
        match role_is_unread {
            true => case.observed.role = Err(unread("iam:GetRole")),
            false => case.observed.configuration = Err(unread("s3:GetReplicationConfiguration")),
        }
        let plan = case.plan();
        prop_assert!(!plan.refusals.is_empty());
        let held = case.observed.role.as_ref().ok().and_then(Option::as_ref);
        let allows_all_of = |document: &str, held: &Value| {
            let allowed = |policy: &Value| match &policy["Statement"] {
                Value::Array(all) => all.clone(),
                one @ Value::Object(_) => vec![one.clone()],
                _ => vec![],
            };
            let mut allowing = allowed(held);
            allowing.retain(|statement| {
                statement.is_object() && statement["Effect"].as_str().is_none_or(|effect| effect == "Allow")
            });
            let document: Value = serde_json::from_str(document).unwrap();
            let both: Vec<Value> = allowed(&document).into_iter().chain(allowing).collect();
            let both = json!({"Statement": both});
            compare::compare(&both, &document).is_empty()
        };
        for step in plan.steps() {
            match (step, held) {
                (Step::UpdateTrustPolicy { document, .. }, Some(held)) => {
                    prop_assert!(allows_all_of(document, &held.trust), "{}", document);
                }
                (Step::PutRolePolicy { document, .. }, Some(held)) => {
                    let policy = held.policy.clone().unwrap().unwrap_or_default();
                    prop_assert!(allows_all_of(document, &policy), "{}", document);
                }
                (Step::EnableVersioning { .. } | Step::CreateRole { .. } | Step::TagRole { .. }, _) => {}
                (Step::PutRolePolicy { .. }, None) => prop_assert!(!role_is_unread),
                (Step::DeletePermissionsBoundary { .. }, Some(_)) => {}
                (Step::PutReplication { .. }, _) => {
                    prop_assert!(role_is_unread);
                }
                (step, _) => prop_assert!(false, "{}", step),
            }
        }
    }

    /// Expand, switch, contract: nobody sees then what the role may do, but that the configuration in AWS relies on it.
    #[test]
    fn while_the_role_cannot_be_read_a_changed_spec_writes_no_rule_that_needs_more_of_it_than_those_in_aws(
        case in case(),
        only_the_policy in any::<bool>(),
    ) {
        let mut case = case.changed();
        let role = case.desired().role.arn(&caller());
        if let Ok(Some(held)) = &mut case.observed.configuration {
            held.role = role;
        }
        let unread = |action: &'static str| Failure::new(FailureClass::Denied, action, "role", "no");
        match &mut case.observed.role {
            Ok(Some(role)) if only_the_policy => role.policy = Err(unread("iam:GetRolePolicy")),
            role => *role = Err(unread("iam:GetRole")),
        }
        let plan = case.plan();
        let is_managed = case.spec.role.as_ref().is_none_or(|role| role.arn.is_none());
        prop_assert!(!plan.refusals.is_empty() || !is_managed);
        prop_assume!(is_managed);
        let before = needed(&case);
        let mut outcome = Outcome::default();
        for step in plan.stages.iter().flat_map(|stage| outcome.admit(stage)).collect::<Vec<_>>() {
            match step {
                Step::PutReplication { configuration, .. } => {
                    let mut after = case.clone();
                    after.observed.configuration = Ok(Some(configuration));
                    let more: Vec<_> = needed(&after).difference(&before).cloned().collect();
                    prop_assert_eq!(more, Vec::<String>::new());
                }
                Step::EnableVersioning { .. }
                | Step::TagRole { .. }
                | Step::UpdateTrustPolicy { .. }
                | Step::PutPermissionsBoundary { .. }
                | Step::DeletePermissionsBoundary { .. } => {}
                step => prop_assert!(false, "{}", step),
            }
        }
    }

    /// The process dies right after the write, and someone deletes the role.
    #[test]
    fn whatever_fails_the_configuration_that_is_put_was_announced_and_is_known_without_its_role(
        case in case(),
        fails in vec(any::<bool>(), 12),
        was_announced in any::<bool>(),
    ) {
        let (mut case, source, evidence) = (case, "source", Evidence::default());
        let whole = case.plan().steps().find_map(put).cloned();
        prop_assume!(whole.is_some());
        if was_announced {
            // By an earlier try, which S3 refused.
            let digest = whole.iter().map(|whole| whole.digest(source)).collect();
            let origin = ConfigurationOrigin::Created;
            let held = case.observed.configuration.as_ref().ok().and_then(Option::as_ref);
            let replaces = held.map(|held| held.digest(source));
            case.status.announced_configuration = Some(AnnouncedConfiguration { digest, replaces, origin });
        }
        let mut fails = fails.into_iter();
        let (status, written) = case.with_input(|input| {
            let planned = plan(input);
            let steps: Vec<Step> = planned.steps().cloned().collect();
            let first = announce(input, &planned, &steps, &context(&case.status, &evidence));
            let mut status = first.unwrap_or_else(|| case.status.clone());
            let mut outcome = Outcome::default();
            for stage in &planned.stages {
                let admitted = outcome.admit(stage);
                let announced = announce_configuration(input, &planned, &admitted, &context(&status, &evidence));
                status = announced.unwrap_or(status);
                if let Some(written) = admitted.iter().find_map(put) {
                    return (status, Some(written.clone()));
                }
                for step in admitted {
                    let failure = Failure::new(FailureClass::Denied, step.action(), step.subject(), "no");
                    let result = if fails.next() == Some(true) { Err(failure) } else { Ok(()) };
                    outcome.record(step, result);
                }
            }
            (status, None)
        });
        let Some(written) = written else { return Ok(()) };
        let announced = status.announced_configuration.clone();
        prop_assert_eq!(announced.as_ref().map(|a| a.digest.clone()), Some(written.digest(source)));
        case.status = status;
        case.observed.role = Ok(None);
        case.observed.former_roles.clear();
        let held = written.as_held();
        prop_assert!(case.with_input(|input| input.owns_configuration(&held)));
        // One that someone made of some of its rules, or with another role, is theirs.
        let mut others: Vec<Configuration> = Vec::new();
        for id in held.rules.keys() {
            let mut other = held.clone();
            other.rules.remove(id);
            others.push(other);
        }
        others.push(Configuration { role: "arn:aws:iam::111122223333:role/theirs".into(), ..held.clone() });
        for other in others {
            prop_assert!(case.with_input(|input| input.announced(&other).is_none()), "{:?}", other);
        }
    }

    #[test]
    fn observe_never_yields_a_step(case in case()) {
        let case = case.management(ManagementPolicy::Observe);
        prop_assert_eq!(case.plan().stages, Vec::<Vec<_>>::new());
    }

    #[test]
    fn an_imported_configuration_differs_in_nothing(configuration in configuration()) {
        let Some(configuration) = configuration else { return Ok(()) };
        let found = ReplicatingBucket {
            bucket: "source",
            region: Some("eu-west-1"),
            account_id: &caller().account,
            configuration: &configuration,
        };
        match import(&found) {
            Ok(spec) => {
                let desired = Case::new(spec, observed_without_role()).desired();
                prop_assert_eq!(configuration_differences(&desired, &caller(), Some(&configuration)), vec![]);
            }
            Err(Inexpressible { field, .. }) => {
                let expected = ["priority", "deleteMarkers", "destination.storageClass", "destination.kmsKeyArn"];
                prop_assert!(expected.contains(&field), "{}", field);
            }
        }
    }

    #[test]
    fn comparing_policies_never_panics_and_any_policy_equals_itself(a in any_json(), b in any_json()) {
        compare::compare(&a, &b);
        compare::trusts_service(&a, "s3.amazonaws.com");
        prop_assert_eq!(compare::compare(&a, &a), vec![]);
    }
}
