//! Statuses: how a plan and its outcome are reported.

use std::sync::LazyLock;

use jiff::Timestamp;

use crate::api::{BucketReplicationStatus, ConditionType, Interval, ManagementPolicy, Reason, Switch};
use crate::replication::health::Evidence;
use crate::replication::status::{Contested, Outcome, StatusContext, StatusReport, report, stopped};
use crate::replication::tests::model::{bucket_in, execute};
use crate::replication::tests::{Case, nothing_but, quickstart};
use crate::replication::{
    Configuration, Failure, FailureClass, Observed, ObservedBucket, Refusal, Step, VersioningStatus,
};

fn quickstart_case() -> Case {
    let bucket = |region| bucket_in(region, VersioningStatus::Disabled);
    let destinations = [("dest-bucket-eu-west-1".to_owned(), bucket("eu-west-1"))].into();
    Case::new(quickstart(), nothing_but(bucket("us-east-1"), destinations))
}

static NO_EVIDENCE: LazyLock<Evidence> = LazyLock::new(Evidence::default);

fn at(second: i64, previous: &BucketReplicationStatus) -> StatusContext<'_> {
    StatusContext {
        generation: Some(1),
        requested: None,
        previous,
        now: Timestamp::from_second(second).unwrap(),
        evidence: &NO_EVIDENCE,
        raised_interval: None,
        follows_another_process: false,
    }
}

fn reported(case: &Case, outcome: &Outcome, context: &StatusContext<'_>) -> StatusReport {
    case.with_input(|input| report(input, &crate::replication::plan::plan(input), outcome, context))
}

fn all_done(case: &Case) -> Outcome {
    Outcome { done: case.plan().steps().cloned().collect(), ..Outcome::default() }
}

/// Type, status and reason of each condition, in order.
fn conditions_of(report: &StatusReport) -> Vec<String> {
    report.status.conditions.iter().map(|c| format!("{} {} {}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn an_applied_plan_is_ready_and_remembered() {
    let case = quickstart_case();
    let report = reported(&case, &all_done(&case), &at(1, &BucketReplicationStatus::default()));
    assert_eq!(
        conditions_of(&report),
        [
            "Ready True Applied",
            "VersioningReady True Applied",
            "RoleReady True Applied",
            "ReplicationReady True Applied",
            "InSync True Applied",
            "Replicating Unknown NoEvidence"
        ]
    );
    assert_eq!(report.status.applied_hash, Some(case.desired().hash()));
    assert_eq!(report.events.len(), 1, "one event names all writes");
    assert_eq!(report.status.drift_count, Some(0));
}

/// A renamed key would make every resource look as if its spec had changed.
#[test]
fn the_form_that_the_remembered_hash_is_made_of_is_stable() {
    let form = serde_json::to_value(quickstart_case().desired()).unwrap();
    let keys = |pointer: &str| -> Vec<String> {
        form.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys("/source"), ["account_id", "name", "versioning"]);
    let role = ["name", "path", "permissions", "permissions_boundary", "tags", "trust"];
    assert_eq!(keys("/role/Managed"), role);
    let rule = [
        "delete_markers",
        "destination",
        "filter",
        "kms_encrypted_objects",
        "priority",
        "replica_modifications",
        "status",
    ];
    assert_eq!(keys("/rules/ReplicateToEU"), rule);
}

#[test]
fn ready_does_not_claim_that_a_disabled_rule_replicates() {
    let message = |disabled: &[bool]| {
        let mut case = quickstart_case();
        let first = case.spec.rules[0].clone();
        case.spec.rules.clear();
        for (n, disabled) in disabled.iter().enumerate() {
            let mut rule = first.clone();
            (rule.id, rule.priority) = (format!("rule-{n}"), Some(i32::try_from(n).unwrap()));
            rule.destination.bucket = format!("copy-{n}");
            rule.status = disabled.then_some(Switch::Disabled);
            case.observed
                .destinations
                .insert(rule.destination.bucket.clone(), bucket_in("eu-west-1", VersioningStatus::Disabled));
            case.spec.rules.push(rule);
        }
        let report = reported(&case, &all_done(&case), &at(1, &BucketReplicationStatus::default()));
        let ready = report.status.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Applied"), "{}", ready.message);
        ready.message.clone()
    };
    assert_eq!(
        message(&[false, false]),
        "bucket source-bucket-us-east-1 replicates to copy-0; copy-1 (2 rules)"
    );
    assert_eq!(
        message(&[true, false, true]),
        "bucket source-bucket-us-east-1 replicates to copy-1 (2 of 3 rules disabled)"
    );
    for all in [vec![true], vec![true, true]] {
        let none = message(&all);
        assert!(none.starts_with("every rule of bucket source-bucket-us-east-1 is disabled"), "{none}");
        assert!(none.contains("S3 replicates nothing") && !none.contains("replicates to"), "{none}");
    }
}

#[test]
fn an_unchanged_truth_changes_no_byte_of_the_status() {
    let case = quickstart_case();
    let first = reported(&case, &all_done(&case), &at(1, &BucketReplicationStatus::default()));
    let mut applied = case.clone();
    for step in case.plan().steps() {
        crate::replication::tests::model::execute(&mut applied.observed, "source-bucket-us-east-1", step);
    }
    applied.status.applied_hash = first.status.applied_hash.clone();
    let second = reported(&applied, &Outcome::default(), &at(100, &first.status));
    assert_eq!(second.status, first.status);
    assert_eq!(second.events, vec![]);
}

#[test]
fn a_failed_write_says_so_and_is_tried_again_and_its_change_is_not_called_drift() {
    let case = quickstart_case();
    let steps: Vec<_> = case.plan().steps().cloned().collect();
    let failed = steps.last().cloned().unwrap();
    let failure = Failure {
        class: FailureClass::Denied,
        action: "s3:PutReplicationConfiguration".into(),
        subject: "source-bucket-us-east-1".into(),
        code: "AccessDenied".into(),
        detail: "Access Denied".into(),
    };
    let outcome = Outcome {
        done: steps[..steps.len() - 1].to_vec(),
        failed: vec![(failed, failure)],
        ..Outcome::default()
    };
    let report = reported(&case, &outcome, &at(1, &BucketReplicationStatus::default()));
    assert_eq!(
        conditions_of(&report),
        [
            "Ready False AccessDenied",
            "VersioningReady True Applied",
            "RoleReady True Applied",
            "ReplicationReady False AccessDenied",
            "InSync False AccessDenied",
            "Replicating Unknown NoEvidence",
            "Reconciling True AccessDenied"
        ]
    );
    assert_eq!((report.status.drift, report.status.applied_hash), (vec![], None));
}

#[test]
fn observe_lists_every_difference_and_waits_for_someone() {
    let case = quickstart_case().management(ManagementPolicy::Observe);
    let report = reported(&case, &Outcome::default(), &at(1, &BucketReplicationStatus::default()));
    assert_eq!(
        conditions_of(&report),
        [
            "Ready False Drifted",
            "VersioningReady False Drifted",
            "RoleReady False Drifted",
            "ReplicationReady False Drifted",
            "InSync False Drifted",
            "Replicating Unknown NoEvidence",
            "Stalled True Drifted"
        ]
    );
    let paths: Vec<_> = report.status.drift.iter().map(|d| d.path.as_str()).collect();
    assert_eq!(paths, ["status", "status", "arn", "rules[ReplicateToEU]"]);
    assert_eq!(report.events.iter().map(|e| e.reason).collect::<Vec<_>>(), ["DriftDetected"]);
    let again = reported(&case, &Outcome::default(), &at(2, &report.status));
    assert_eq!(again.events, vec![], "the same drift is reported once");
}

#[test]
fn corrected_drift_is_remembered() {
    let case = quickstart_case().applied();
    let report = reported(&case, &all_done(&case), &at(7, &BucketReplicationStatus::default()));
    let correction = report.status.last_correction.unwrap();
    assert_eq!((correction.count, correction.time.0), (4, Timestamp::from_second(7).unwrap()));
    assert_eq!(report.status.drift, vec![]);
    assert_eq!(report.events[0].reason, "DriftCorrected");
}

#[test]
fn a_contested_field_is_named() {
    let case = quickstart_case().applied();
    let held_back = Contested { differences: vec![case.plan().differences.pop().unwrap()], corrections: 3 };
    let outcome = Outcome { contested: Some(held_back), ..Outcome::default() };
    let report = reported(&case, &outcome, &at(1, &BucketReplicationStatus::default()));
    assert_eq!(report.reason, Reason::Drifted);
    let ready = &report.status.conditions[0];
    assert!(ready.message.contains("another tool keeps changing rules[ReplicateToEU]"), "{}", ready.message);
    assert_eq!(report.status.drift_count, Some(4));
}

#[test]
fn a_refusal_before_the_check_leaves_the_rest_unknown() {
    let refusal = Refusal::new(Reason::SourceConflict, ConditionType::ReplicationReady, "taken".into());
    let previous = BucketReplicationStatus::default();
    let report = stopped(&refusal, &at(1, &previous));
    assert_eq!(
        conditions_of(&report),
        [
            "Ready False SourceConflict",
            "VersioningReady Unknown SourceConflict",
            "RoleReady Unknown SourceConflict",
            "ReplicationReady False SourceConflict",
            "InSync Unknown SourceConflict",
            "Replicating Unknown SourceConflict",
            "Stalled True SourceConflict"
        ]
    );
}

#[test]
fn a_transition_time_moves_only_with_the_status() {
    let case = quickstart_case();
    let ready = reported(&case, &all_done(&case), &at(1, &BucketReplicationStatus::default()));
    let refusal = Refusal::new(Reason::Throttled, ConditionType::Ready, "slow".into());
    let slow = stopped(&refusal, &at(2, &ready.status));
    let other = Refusal::new(Reason::AwsUnavailable, ConditionType::Ready, "down".into());
    let down = stopped(&other, &at(3, &slow.status));
    let time = |r: &StatusReport| r.status.conditions[0].last_transition_time.0.as_second();
    assert_eq!([time(&ready), time(&slow), time(&down)], [1, 2, 2]);
}

#[test]
fn a_bucket_whose_versioning_cannot_be_read_is_named_beside_one_that_is_not_versioned() {
    let mut case = quickstart_case();
    case.spec.management_policy = ManagementPolicy::Observe;
    let denied = Failure::new(
        FailureClass::Denied,
        "s3:GetBucketVersioning",
        "bucket dest-bucket-eu-west-1",
        "denied",
    );
    let held = case.observed.destinations.get_mut("dest-bucket-eu-west-1").unwrap();
    held.versioning = Err(denied);
    let report = reported(&case, &Outcome::default(), &at(0, &BucketReplicationStatus::default()));
    let versioning = report.status.conditions.iter().find(|c| c.type_ == "VersioningReady").unwrap();
    assert_eq!(versioning.status, "False");
    for part in ["us-east-1", "s3:GetBucketVersioning", "dest-bucket-eu-west-1"] {
        assert!(versioning.message.contains(part), "{part} is not in: {}", versioning.message);
    }
}

#[test]
fn ready_says_that_an_interval_was_raised() {
    let shortest = Interval("30m".to_owned());
    let (case, previous) = (quickstart_case(), BucketReplicationStatus::default());
    let context = StatusContext { raised_interval: Some(&shortest), ..at(0, &previous) };
    let message = |context: StatusContext<'_>| {
        let report = reported(&case, &all_done(&case), &context);
        report.status.conditions.into_iter().find(|c| c.type_ == "Ready").unwrap().message
    };
    let (raised, plain) = (message(context), message(at(0, &previous)));
    assert!(raised.contains("checked every 30m and not at spec.interval"), "{raised}");
    assert!(!plain.contains("interval"), "{plain}");
}

#[test]
fn every_read_that_is_denied_is_named_in_the_status_with_its_action_and_subject() {
    const SOURCE: &str = "source-bucket-us-east-1";
    const DESTINATION: &str = "dest-bucket-eu-west-1";
    const ROLE: &str = "s3-replication-role";
    const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/k";
    const VERSIONING: &str = "s3:GetBucketVersioning";
    type Deny = fn(&mut Observed, Failure);
    let reads: [(&'static str, &str, Deny); 11] = [
        (VERSIONING, SOURCE, |held, no| held.source.versioning = Err(no)),
        (VERSIONING, DESTINATION, |held, no| {
            held.destinations.get_mut(DESTINATION).unwrap().versioning = Err(no);
        }),
        ("s3:ListBucket", SOURCE, |held, no| held.source = ObservedBucket::unseen(Err(no.clone()), no)),
        ("s3:ListBucket", DESTINATION, |held, no| {
            let unseen = ObservedBucket::unseen(Err(no.clone()), no);
            held.destinations.insert(DESTINATION.to_owned(), unseen);
        }),
        ("s3:GetReplicationConfiguration", SOURCE, |held, no| held.configuration = Err(no)),
        ("iam:GetRole", ROLE, |held, no| held.role = Err(no)),
        ("iam:GetRolePolicy", ROLE, |held, no| {
            held.role.as_mut().unwrap().as_mut().unwrap().policy = Err(no);
        }),
        ("iam:GetRole", "former", |held, no| {
            held.former_roles.insert("former".to_owned(), Err(no));
        }),
        ("s3:GetBucketPolicy", "former-copies", |held, no| {
            held.bucket_policies.insert("former-copies".to_owned(), Err(no));
        }),
        ("kms:DescribeKey", KEY, |held, no| {
            held.keys.insert(KEY.to_owned(), Err(no));
        }),
        ("s3:GetBucketObjectLockConfiguration", SOURCE, |held, no| held.object_lock = Err(no)),
    ];
    let mut case = quickstart_case();
    for step in case.plan().steps() {
        execute(&mut case.observed, SOURCE, step);
    }
    case.status.former_roles = vec!["arn:aws:iam::111122223333:role/s3-replication/former".to_owned()];
    let applied = case.applied();
    // A new read does not compile before it is here, and is then a line of the table above.
    let Observed {
        caller: _,
        source: _,
        destinations: _,
        configuration: _,
        unknown_elements: _,
        role: _,
        former_roles: _,
        bucket_policies: _,
        keys: _,
        object_lock: _,
        unreached: _,
    } = &applied.observed;
    let mut broken = applied.clone().management(ManagementPolicy::Observe);
    broken.observed.configuration = Ok(None);
    broken.observed.source.versioning.as_mut().unwrap().status = VersioningStatus::Suspended;
    broken.observed.role.as_mut().unwrap().as_mut().unwrap().trust = serde_json::json!({});
    for (state, case) in [("all else is well", applied), ("all else has drifted", broken)] {
        for (action, subject, deny) in reads {
            let mut case = case.clone();
            deny(&mut case.observed, Failure::new(FailureClass::Denied, action, subject, "no"));
            let report = reported(&case, &Outcome::default(), &at(1, &case.status));
            let named = format!("{action} on {subject} is denied");
            let messages = report.status.conditions.iter().map(|c| c.message.as_str());
            let messages: Vec<&str> = messages.collect();
            assert!(
                messages.iter().any(|message| message.contains(&named)),
                "{state}: {named}: {messages:#?}"
            );
        }
    }
}

#[test]
fn a_refusal_of_a_configuration_names_the_fields_that_it_may_be_about() {
    let case = quickstart_case();
    let refused = |detail: &str, edit: fn(&mut Configuration)| {
        let mut step = case.plan().steps().last().unwrap().clone();
        let Step::PutReplication { configuration, .. } = &mut step else { panic!("{step}") };
        edit(configuration);
        let failure =
            Failure::new(FailureClass::Invalid, "s3:PutReplicationConfiguration", "source-bucket", detail);
        let outcome = Outcome { failed: vec![(step, failure)], ..Outcome::default() };
        let report = reported(&case, &outcome, &at(1, &BucketReplicationStatus::default()));
        report.status.conditions[0].message.clone()
    };
    let encrypted: fn(&mut Configuration) = |configuration| {
        let mut rule = configuration.rules.values().next().unwrap().clone();
        rule.destination.kms_key = Some("arn:aws:kms:eu-west-1:111122223333:key/k".to_owned());
        configuration.rules.insert("encrypted".to_owned(), rule);
    };
    let message = refused("Invalid ReplicaKmsKeyID ARN.", encrypted);
    assert!(
        message.ends_with("Invalid ReplicaKmsKeyID ARN.; correct rules[encrypted].destination.kmsKeyArn"),
        "{message}"
    );
    let message = refused("The Storage Class is not valid for this bucket", |_| {});
    assert!(message.ends_with("; correct rules[ReplicateToEU].destination.storageClass"), "{message}");
    let message = refused("AccessControlTranslation is not supported", |_| {});
    assert!(message.ends_with("AccessControlTranslation is not supported"), "no rule has one: {message}");
}
