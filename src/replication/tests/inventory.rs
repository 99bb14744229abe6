//! The inventory in a status, and its message about a failed step.

use serde_json::json;

use jiff::{SignedDuration, Timestamp};

use crate::api::{
    BucketReplicationStatus, BucketStatus, CanaryPlaceStatus, ConditionType, ConfigurationOrigin, Reason,
    RoleStatus,
};
use crate::replication::health::Evidence;
use crate::replication::plan::plan;
use crate::replication::status::{self, Outcome, StatusContext, StatusReport, report};
use crate::replication::tests::plans::{converged, empty};
use crate::replication::tests::{Case, quickstart, spec};
use crate::replication::{Configuration, Failure, FailureClass, Step};

const SOURCE: &str = "source-bucket-us-east-1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn reported(case: &Case, outcome: &Outcome, now: Timestamp) -> StatusReport {
    let context = StatusContext {
        generation: Some(1),
        requested: None,
        previous: &case.status,
        now,
        evidence: &Evidence::default(),
        raised_interval: None,
        follows_another_process: false,
    };
    case.with_input(|input| report(input, &plan(input), outcome, &context))
}

fn all_done(case: &Case) -> Outcome {
    Outcome { done: case.plan().steps().cloned().collect(), ..Outcome::default() }
}

/// The report of a check in which everything is done.
fn done(case: &Case) -> BucketReplicationStatus {
    reported(case, &all_done(case), at(1)).status
}

/// The report of a check in which one step fails and the steps before it were done.
fn fails(case: &Case, is: fn(&Step) -> bool, failure: Failure) -> StatusReport {
    let plan = case.plan();
    let done = plan.steps().take_while(|step| !is(step)).cloned().collect();
    let step = plan.steps().find(|step| is(step)).cloned().unwrap();
    reported(case, &Outcome { done, failed: vec![(step, failure)], ..Outcome::default() }, at(1000))
}

fn ready(report: &StatusReport) -> &str {
    &report.status.conditions[0].message
}

fn coded(class: FailureClass, action: &'static str, subject: &str, (code, detail): (&str, &str)) -> Failure {
    Failure { code: code.into(), ..Failure::new(class, action, subject, detail) }
}

#[test]
fn the_status_records_how_the_configuration_came_to_be() {
    assert_eq!(done(&empty(quickstart())).configuration, Some(ConfigurationOrigin::Created));

    // It was there, just as the spec asks for it, with a role of someone else.
    let mut found = converged(quickstart());
    found.status = BucketReplicationStatus::default();
    found.observed.role.as_mut().unwrap().as_mut().unwrap().tags.clear();
    found.spec.adoption_policy = crate::api::AdoptionPolicy::Adopt;
    assert_eq!(done(&found).configuration, Some(ConfigurationOrigin::Found));

    // The operator stopped between the write and its report: the role is its own.
    let mut unreported = converged(quickstart());
    unreported.status = BucketReplicationStatus::default();
    assert_eq!(done(&unreported).configuration, Some(ConfigurationOrigin::Created));

    // Someone else's was replaced.
    let mut adopted = found.clone();
    let held = adopted.observed.configuration.clone().unwrap().unwrap();
    let role = "arn:aws:iam::111122223333:role/theirs".to_owned();
    adopted.observed.configuration = Ok(Some(Configuration { role, ..held }));
    let status = done(&adopted);
    assert_eq!(status.configuration, Some(ConfigurationOrigin::Adopted));
    assert!(status.applied_role.unwrap().ends_with("role/s3-replication/s3-replication-role"));

    // Someone put their own in place of the one that was created, and the user lets the resource take it over.
    let mut replaced = converged(quickstart());
    replaced.status.configuration = Some(ConfigurationOrigin::Created);
    replaced.status.applied_hash = Some(replaced.desired().hash());
    replaced.spec.adoption_policy = crate::api::AdoptionPolicy::Adopt;
    let mut theirs = replaced.observed.configuration.clone().unwrap().unwrap();
    theirs.role = "arn:aws:iam::111122223333:role/theirs".to_owned();
    theirs.rules.values_mut().for_each(|rule| rule.filter.prefix = "theirs/".to_owned());
    replaced.observed.configuration = Ok(Some(theirs));
    replaced.status.applied_role = Some(replaced.desired().role.arn(&replaced.observed.caller));
    assert_eq!(done(&replaced).configuration, Some(ConfigurationOrigin::Adopted));

    // The status keeps a known origin.
    let mut later = converged(quickstart());
    later.status.configuration = Some(ConfigurationOrigin::Adopted);
    assert_eq!(done(&later).configuration, Some(ConfigurationOrigin::Adopted));
    later.observed.configuration = Ok(None);
    assert_eq!(done(&later).configuration, Some(ConfigurationOrigin::Created));
}

#[test]
fn a_check_of_another_account_forgets_nothing_that_was_made_in_the_first() {
    let mut case = converged(quickstart());
    let source = BucketStatus {
        bucket: SOURCE.into(),
        region: Some("us-east-1".into()),
        account: Some("111122223333".into()),
        account_ref: Some("here".into()),
        versioning: Some("Enabled".into()),
    };
    let role = RoleStatus {
        arn: "arn:aws:iam::111122223333:role/s3-replication/s3-replication-role".into(),
        managed: true,
        tags: vec![],
    };
    case.status.source = Some(source.clone());
    case.status.role = Some(role.clone());
    case.observed.caller.account = "444455556666".into();
    let denied = Failure::new(FailureClass::Denied, "s3:ListBucket", SOURCE, "HTTP 403");
    case.observed.source.region = Err(denied.clone());
    case.observed.source.versioning = Err(denied.clone());
    case.observed.source.owner_confirmed = false;
    case.observed.configuration = Err(denied);
    case.observed.role = Ok(None);
    let status = reported(&case, &Outcome::default(), at(1)).status;
    assert_eq!(status.role.as_ref(), Some(&role));
    let seen = status.source.unwrap();
    assert_eq!((seen.account, seen.account_ref), (source.account, source.account_ref));

    // Once S3 confirms the source in the other account, the role in the first is a former one.
    let (region, versioning) =
        (converged(quickstart()).observed.source.region, converged(quickstart()).observed.source.versioning);
    (case.observed.source.region, case.observed.source.versioning) = (region, versioning);
    case.observed.source.owner_confirmed = true;
    case.observed.configuration = Ok(None);
    assert_eq!(reported(&case, &Outcome::default(), at(1)).status.former_roles, [role.arn]);
}

/// IAM and S3 may still answer from before a write whose answer was lost.
#[test]
fn a_role_that_the_spec_names_no_longer_is_forgotten_only_when_two_checks_did_not_find_it() {
    let mut case = empty(quickstart());
    let arn = "arn:aws:iam::111122223333:role/s3-replication/earlier".to_owned();
    case.status.role = Some(RoleStatus { arn: arn.clone(), managed: true, tags: Vec::new() });
    case.observed.former_roles.insert("earlier".to_owned(), Ok(None));
    let first = done(&case);
    assert_eq!(first.former_roles, [arn]);
    case.status = first;
    assert_eq!(done(&case).former_roles, [""; 0]);
}

/// S3 replicates an object by the configuration that it finds when it gets to it.
#[test]
fn the_places_of_canaries_are_named_before_a_configuration_that_may_replicate_them_there() {
    let mut case = converged(quickstart());
    let place = |bucket: &str| CanaryPlaceStatus {
        bucket: bucket.to_owned(),
        region: "eu-west-1".to_owned(),
        account: "111122223333".to_owned(),
        account_ref: None,
        prefix: ".s3replication.dev/resource-uid/".to_owned(),
    };
    case.status.canary_places = vec![place(SOURCE)];
    case.observed.configuration = Ok(None);
    let places = |case: &Case| {
        let steps: Vec<Step> = case.plan().steps().cloned().collect();
        let evidence = Evidence::default();
        let context = StatusContext {
            generation: Some(1),
            requested: None,
            previous: &case.status,
            now: at(1),
            evidence: &evidence,
            raised_interval: None,
            follows_another_process: false,
        };
        let written = case.with_input(|input| status::announce(input, &plan(input), &steps, &context));
        written.unwrap().canary_places.into_iter().map(|place| place.bucket).collect::<Vec<_>>()
    };
    assert_eq!(places(&case), ["dest-bucket-eu-west-1", SOURCE]);
    // A resource without canaries has no places.
    case.status.canary_places.clear();
    assert_eq!(places(&case), [""; 0]);
}

#[test]
fn keys_of_tags_that_the_operator_set_are_remembered() {
    let mut case = empty(quickstart());
    case.spec.role.as_mut().unwrap().tags.insert("team".into(), "data".into());
    assert_eq!(done(&case).role.unwrap().tags, ["team"]);
}

#[test]
fn every_failure_is_reported_and_the_first_decides_the_reason() {
    let mut case = converged(quickstart());
    case.spec.role.as_mut().unwrap().tags.insert("team".into(), "data".into());
    case.observed.configuration = Ok(None);
    let plan = case.plan();
    let mut outcome = Outcome::default();
    for step in plan.steps().cloned() {
        let failure = Failure::new(FailureClass::Denied, step.action(), step.subject(), "AccessDenied");
        let denied = matches!(step, Step::TagRole { .. });
        outcome.record(step, if denied { Err(failure) } else { Ok(()) });
    }
    let report = reported(&case, &outcome, at(1));
    assert_eq!(report.reason, Reason::AccessDenied);
    assert!(ready(&report).contains("iam:TagRole on s3-replication-role"), "{}", ready(&report));
    assert_eq!(report.status.conditions[3].status, "True", "the configuration is restored");
    assert_ne!(report.status.applied_hash, Some(case.desired().hash()));
}

#[test]
fn a_denied_configuration_names_both_permissions_that_may_be_missing() {
    let put = |step: &Step| matches!(step, Step::PutReplication { .. });
    let action = "s3:PutReplicationConfiguration";
    let bare = coded(FailureClass::Denied, action, SOURCE, ("AccessDenied", "Access Denied"));
    let report = fails(&empty(quickstart()), put, bare);
    for part in ["s3:PutReplicationConfiguration on", "iam:PassRole on arn:aws:iam::111122223333:role/"] {
        assert!(ready(&report).contains(part), "{}", ready(&report));
    }
    assert_eq!(ready(&report).matches("iam:PassRole").count(), 1, "{}", ready(&report));
    let detail = "User: u is not authorized to perform: iam:PassRole on resource: r";
    let named = coded(FailureClass::Denied, "iam:PassRole", "r", ("AccessDenied", detail));
    let report = fails(&empty(quickstart()), put, named);
    assert!(!ready(&report).contains("does not say which"), "{}", ready(&report));
    assert!(
        ready(&report).contains("allow iam:PassRole on r to the operator's identity"),
        "{}",
        ready(&report)
    );
}

/// S3 refuses it although every bucket answered that it is versioned: the next check, soon, reads that again.
#[test]
fn a_configuration_for_a_bucket_whose_state_does_not_allow_it_met_no_other_write() {
    let put = |step: &Step| matches!(step, Step::PutReplication { .. });
    let answer = ("InvalidBucketState", "The request is not valid for the current state of the bucket.");
    let refused = coded(FailureClass::Invalid, "s3:PutReplicationConfiguration", SOURCE, answer);
    let mut case = converged(quickstart());
    case.observed.configuration = Ok(None);
    let report = fails(&case, put, refused.clone());
    assert_eq!(report.reason, Reason::Progressing);
    assert!(!ready(&report).contains("another write"), "{}", ready(&report));
    let unread = Failure::new(FailureClass::Denied, "s3:GetBucketVersioning", SOURCE, "no");
    case.observed.source.versioning = Err(unread);
    assert_eq!(fails(&case, put, refused).reason, Reason::InvalidRequest);
}

#[test]
fn a_boundary_that_does_not_exist_is_named() {
    let mut case = empty(quickstart());
    let boundary = "arn:aws:iam::111122223333:policy/boundary";
    case.spec.role.as_mut().unwrap().permissions_boundary = Some(boundary.into());
    let detail = format!("Scope ARN: {boundary} does not exist or is not attachable.");
    let failure = coded(FailureClass::NoSuchRole, "iam:CreateRole", "r", ("NoSuchEntity", &detail));
    let report = fails(&case, |step| matches!(step, Step::CreateRole { .. }), failure);
    assert_eq!(report.reason, Reason::InvalidRequest);
    assert!(ready(&report).contains("role.permissionsBoundary names no policy"), "{}", ready(&report));
}

#[test]
fn an_imposed_boundary_that_does_not_exist_is_named_with_its_account() {
    let boundary = "arn:aws:iam::111122223333:policy/boundary";
    let account =
        json!({"accountId": "111122223333", "sources": ["*"], "roles": {"permissionsBoundary": boundary}});
    let spec = serde_json::from_value(account).unwrap();
    let mut case = empty(quickstart());
    case.accounts.source = Some(crate::replication::Account { name: "prod".into(), spec });
    let detail = format!("Scope ARN: {boundary} does not exist or is not attachable.");
    let failure = coded(FailureClass::NoSuchRole, "iam:CreateRole", "r", ("NoSuchEntity", &detail));
    let report = fails(&case, |step| matches!(step, Step::CreateRole { .. }), failure);
    assert_eq!(report.reason, Reason::InvalidRequest);
    for part in ["roles.permissionsBoundary of AwsAccount prod names no policy", boundary] {
        assert!(ready(&report).contains(part), "{}", ready(&report));
    }
    assert!(!ready(&report).contains("correct role.permissionsBoundary"), "{}", ready(&report));
}

#[test]
fn a_denied_write_of_a_role_names_the_field_of_the_boundary_that_may_be_missing() {
    let (boundary, imposed) =
        ("arn:aws:iam::111122223333:policy/own", "arn:aws:iam::111122223333:policy/imposed");
    let detail = "User: u is not authorized to perform: iam:CreateRole on resource: r because no identity-based policy allows the iam:CreateRole action";
    let message_under = |account: Option<serde_json::Value>, boundary: Option<&str>, detail: &str| {
        let mut case = empty(quickstart());
        case.spec.role.as_mut().unwrap().permissions_boundary = boundary.map(str::to_owned);
        case.accounts.source = account.map(|roles| {
            let spec =
                json!({"accountId": "111122223333", "sources": ["*"], "destinations": ["*"], "roles": roles});
            crate::replication::Account { name: "prod".into(), spec: serde_json::from_value(spec).unwrap() }
        });
        let failure = coded(FailureClass::Denied, "iam:CreateRole", "r", ("AccessDenied", detail));
        let report = fails(&case, |step| matches!(step, Step::CreateRole { .. }), failure);
        assert_eq!(report.reason, Reason::AccessDenied);
        assert!(ready(&report).contains("allow iam:CreateRole on r"), "{}", ready(&report));
        ready(&report).to_owned()
    };
    for (account, boundary, hint) in [
        (None, None, "set role.permissionsBoundary to that boundary"),
        (
            None,
            Some(boundary),
            "another permissions boundary than arn:aws:iam::111122223333:policy/own, correct role.permissionsBoundary",
        ),
        (Some(json!({})), None, "set roles.permissionsBoundary of AwsAccount prod to that boundary"),
        (
            Some(json!({"permissionsBoundary": imposed})),
            None,
            "than arn:aws:iam::111122223333:policy/imposed, correct roles.permissionsBoundary of AwsAccount prod",
        ),
    ] {
        let message = message_under(account, boundary, detail);
        assert!(message.contains(hint), "{message}");
    }
    let denied = "User: u is not authorized to perform: iam:CreateRole on resource: r with an explicit deny in a service control policy";
    let case = {
        let failure = coded(FailureClass::Denied, "iam:CreateRole", "r", ("AccessDenied", denied));
        fails(&empty(quickstart()), |step| matches!(step, Step::CreateRole { .. }), failure)
    };
    assert!(!ready(&case).contains("permissionsBoundary"), "AWS names the culprit: {}", ready(&case));
}

/// IAM takes a moment to show everywhere what the operator wrote, and answers as if someone else were at fault.
#[test]
fn a_role_that_iam_does_not_show_everywhere_yet_is_nobodys_fault() {
    let put = |step: &Step| matches!(step, Step::PutRolePolicy { .. });
    let answer = ("NoSuchEntity", "The role with name s3-replication-role cannot be found.");
    let missing = || coded(FailureClass::NoSuchRole, "iam:PutRolePolicy", "s3-replication-role", answer);
    let first = fails(&empty(quickstart()), put, missing());
    assert_eq!(first.reason, Reason::Progressing);
    for part in ["role s3-replication-role", "created a moment ago", "NoSuchEntity"] {
        assert!(ready(&first).contains(part), "{}", ready(&first));
    }
    // The next check finds the role, and IAM still does not find it to write its policy.
    let mut next = empty(quickstart());
    let held = converged(quickstart()).observed.role.unwrap().unwrap();
    next.observed.role = Ok(Some(crate::replication::ObservedRole { policy: Ok(None), ..held }));
    next.status = first.status;
    let step = next.plan().steps().find(|step| put(step)).cloned().unwrap();
    let reason = |second| {
        let outcome = Outcome { failed: vec![(step.clone(), missing())], ..Outcome::default() };
        reported(&next, &outcome, at(second)).reason
    };
    assert_eq!(reason(1000 + 60), Reason::Progressing);
    assert_eq!(reason(1000 + 180), Reason::RoleNotFound, "it is not a matter of a moment");
    let mut lost = converged(quickstart());
    lost.observed.role.as_mut().unwrap().as_mut().unwrap().policy = Ok(None);
    lost.status.conditions = done(&converged(quickstart())).conditions;
    assert_eq!(fails(&lost, put, missing()).reason, Reason::RoleNotFound, "someone deleted it");
}

#[test]
fn a_former_role_whose_policy_iam_still_shows_is_nobodys_fault() {
    let mut case = converged(quickstart());
    let former = case.observed.role.clone().unwrap().unwrap();
    case.spec.role.as_mut().unwrap().name = Some("another".into());
    case.observed.role = Ok(None);
    case.observed.former_roles = [(former.name.clone(), Ok(Some(former)))].into();
    let report = |detail: &str| {
        let failure = coded(FailureClass::DeleteConflict, "iam:DeleteRole", "r", ("DeleteConflict", detail));
        fails(&case, |step| matches!(step, Step::DeleteRole { .. }), failure)
    };
    let own = report("Cannot delete entity, must delete policies first.");
    assert_eq!(own.reason, Reason::Progressing);
    assert!(!ready(&own).contains("detach"), "{}", ready(&own));
    let theirs = report("Cannot delete entity, must detach all policies first.");
    assert_eq!(theirs.reason, Reason::DeletionBlocked);
}

#[test]
fn a_role_that_is_there_by_another_case_is_foreign_once_a_second_check_did_not_find_it() {
    let mut case = empty(quickstart());
    let taken = || coded(FailureClass::Conflict, "iam:CreateRole", "r", ("EntityAlreadyExists", "exists"));
    let create = |step: &Step| matches!(step, Step::CreateRole { .. });
    let first = fails(&case, create, taken());
    assert_eq!(first.reason, Reason::AwsUnavailable);
    case.status = first.status;
    let second = fails(&case, create, taken());
    assert_eq!(second.reason, Reason::ForeignRole);
    case.status = second.status;
    assert_eq!(fails(&case, create, taken()).reason, Reason::ForeignRole);
}

/// A destination in another account, with this bucket policy.
fn across(policy: Option<serde_json::Value>) -> Case {
    let mut case = empty(spec(
        "{source: {bucket: source}, rules: [{id: r, destination: {bucket: dr, accountRef: dr}}]}",
    ));
    let dr = serde_saphyr::from_str("accountId: '444455556666'").unwrap();
    case.accounts
        .destinations
        .insert("dr".into(), crate::replication::Account { name: "dr".into(), spec: dr });
    case.observed.bucket_policies.insert("dr".into(), Ok(policy));
    case
}

#[test]
fn a_deleted_principal_is_named_and_is_no_progress() {
    let refused = || {
        coded(
            FailureClass::Invalid,
            "s3:PutBucketPolicy",
            "dr",
            ("MalformedPolicy", "Invalid principal in policy"),
        )
    };
    let put = |step: &Step| matches!(step, Step::PutBucketPolicy { .. });
    let auditors = json!({"Sid": "Auditors", "Effect": "Allow", "Principal": {"AWS": "AIDAZQ3EXAMPLE7USER21"},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::dr/*"});
    let report = fails(&across(Some(json!({"Statement": [auditors]}))), put, refused());
    assert_eq!(report.reason, Reason::InvalidRequest);
    for part in ["bucket dr", "AIDAZQ3EXAMPLE7USER21", "remove"] {
        assert!(ready(&report).contains(part), "{}", ready(&report));
    }

    // A closed account keeps its ARN, and S3 may name it.
    let closed = "arn:aws:iam::777788889999:root";
    let theirs = json!({"Sid": "Theirs", "Effect": "Allow", "Principal": {"AWS": [closed, "111122223333"]},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::dr/*"});
    let of_theirs = across(Some(json!({"Statement": [theirs]})));
    let detail = format!("Invalid principal in policy (\"AWS\" : \"{closed}\")");
    let answer = coded(FailureClass::Invalid, "s3:PutBucketPolicy", "dr", ("MalformedPolicy", &detail));
    let report = fails(&of_theirs, put, answer);
    assert_eq!(report.reason, Reason::InvalidRequest);
    assert!(ready(&report).contains(&format!("remove {closed} from it")), "{}", ready(&report));
    let report = fails(&of_theirs, put, refused());
    assert_eq!(report.reason, Reason::Progressing, "it may be the new role");
    assert!(ready(&report).contains(closed) && ready(&report).contains("bucket dr"), "{}", ready(&report));

    // S3 takes a moment to know a new role.
    let mut case = across(None);
    let first = fails(&case, put, refused());
    assert_eq!(first.reason, Reason::Progressing);
    // It does not take forever.
    case.status = first.status;
    let since = case.status.conditions[0].last_transition_time.0;
    let plan = case.plan();
    let step = plan.steps().find(|step| put(step)).cloned().unwrap();
    let outcome = Outcome { failed: vec![(step, refused())], ..Outcome::default() };
    let reason = |after: i64| reported(&case, &outcome, since + SignedDuration::from_secs(after)).reason;
    assert_eq!([reason(60), reason(180)], [Reason::Progressing, Reason::InvalidRequest]);
}

#[test]
fn a_configuration_that_could_not_be_read_does_not_hide_that_the_role_could_not() {
    let mut case = converged(quickstart());
    let unread = |action: &'static str| Failure::new(FailureClass::Unavailable, action, SOURCE, "no answer");
    case.observed.configuration = Err(unread("s3:GetReplicationConfiguration"));
    case.observed.role = Err(unread("iam:GetRole"));
    let plan = case.plan();
    let about: Vec<ConditionType> = plan.refusals.iter().map(|refusal| refusal.about).collect();
    assert_eq!(about, [ConditionType::ReplicationReady, ConditionType::RoleReady]);
}

#[test]
fn a_key_that_may_not_be_read_is_named_and_holds_nothing_up() {
    let mut case = converged(quickstart());
    let key = "arn:aws:kms:eu-west-1:111122223333:key/replicas";
    let denied = Failure::new(FailureClass::Denied, "kms:DescribeKey", key, "no");
    case.observed.keys.insert(key.to_owned(), Err(denied));
    let report = reported(&case, &Outcome::default(), at(1));
    assert_eq!(report.reason, Reason::Applied);
    let replication = &report.status.conditions[3];
    assert_eq!((replication.type_.as_str(), replication.status.as_str()), ("ReplicationReady", "True"));
    assert!(replication.message.contains("kms:DescribeKey") && replication.message.contains(key));
}

#[test]
fn every_bucket_that_could_not_be_read_is_named_in_its_condition() {
    let mut case = converged(quickstart());
    let denied =
        |bucket: &str| Err(Failure::new(FailureClass::Denied, "s3:GetBucketVersioning", bucket, "no"));
    case.observed.source.versioning = denied(SOURCE);
    case.observed.destinations.get_mut("dest-bucket-eu-west-1").unwrap().versioning =
        denied("dest-bucket-eu-west-1");
    let report = reported(&case, &Outcome::default(), at(1));
    let versioning = &report.status.conditions[1];
    assert_eq!(versioning.type_, ConditionType::VersioningReady.as_str());
    assert!(versioning.message.contains(SOURCE) && versioning.message.contains("dest-bucket-eu-west-1"));
}

#[test]
fn a_request_is_clipped_and_a_large_spec_leaves_room() {
    let mut case = empty(quickstart());
    let requested = "x".repeat(300_000);
    let context = StatusContext {
        generation: Some(1),
        requested: Some(&requested),
        previous: &case.status,
        now: at(1),
        evidence: &Evidence::default(),
        raised_interval: None,
        follows_another_process: false,
    };
    let status = case.with_input(|input| report(input, &plan(input), &Outcome::default(), &context)).status;
    assert_eq!(status.last_handled_request.as_deref(), Some("x".repeat(256).as_str()));
    assert_eq!(status.last_handled_request, Some(crate::api::handled_request(&requested)));

    let rule = case.spec.rules[0].clone();
    case.spec.rules = (0..1000)
        .map(|i| {
            let mut rule = rule.clone();
            (rule.id, rule.priority) = (format!("rule-{i}"), Some(i));
            rule.filter.as_mut().unwrap().prefix = Some("p".repeat(1024));
            rule
        })
        .collect();
    case.spec.management_policy = crate::api::ManagementPolicy::Observe;
    let status = reported(&case, &Outcome::default(), at(1)).status;
    assert_eq!((status.drift.len(), status.drift_count), (10, Some(1003)));
}
