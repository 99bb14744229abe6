//! Tests of the decisions of a backfill, as data in and data out.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::api::{
    BackfillSource, BucketReplication, BucketReplicationStatus, Reason, ReplicationBackfillSpec,
    ReplicationBackfillStatus, RoleStatus,
};
use crate::iam::compare::allowed_resources;
use crate::replication::authorize::accounts::Account;
use crate::replication::backfill::job::{Job, JobState, JobUpdate};
use crate::replication::backfill::job_verdict::{JobVerdict, Wish, progress, vanished, verdict};
use crate::replication::backfill::preconditions::{
    Parent, require_allowed, require_arns_of_partition, require_period, require_prefixes_writable,
    require_ready, require_settled, require_turn,
};
use crate::replication::backfill::request::{Intent, job_request, report_location};
use crate::replication::backfill::status::{BackfillContext, report, with_intent, with_verdict};
use crate::replication::backfill::{polling, price, role};
use crate::replication::observed::ObservedRole;
use crate::replication::resource_id::ResourceId;
use crate::replication::step::Step;

fn id() -> ResourceId {
    ResourceId {
        cluster: Some("cluster".into()),
        former_clusters: Vec::new(),
        namespace: "data".into(),
        name: "orders-november".into(),
        uid: Some("uid-1".into()),
    }
}

fn source() -> BackfillSource {
    BackfillSource {
        bucket: "orders".into(),
        region: "us-east-1".into(),
        account: "111122223333".into(),
        account_ref: None,
    }
}

fn spec_with(more: &Value) -> ReplicationBackfillSpec {
    let mut spec = json!({"replicationRef": {"name": "orders-to-eu"}});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn job(state: &str) -> Job {
    Job {
        id: "job-1".into(),
        state: JobState::of(state),
        total: Some(3000),
        succeeded: 1200,
        failed: 0,
        failure_reasons: Vec::new(),
        update_reason: None,
        created: None,
        terminated: None,
    }
}

fn judged(job: &Job, more: &Value) -> JobVerdict {
    let spec = spec_with(more);
    verdict(job, Some(&spec), Wish::of(&spec))
}

fn account(yaml: &str) -> Account {
    Account { name: "prod".into(), spec: serde_saphyr::from_str(yaml).unwrap() }
}

fn parent(edit: impl FnOnce(&mut Value)) -> BucketReplication {
    let mut object = json!({
        "apiVersion": "s3replication.dev/v1alpha1",
        "kind": "BucketReplication",
        "metadata": {"name": "orders-to-eu", "namespace": "data", "generation": 2},
        "spec": {"source": {"bucket": "orders"}, "rules": [{"id": "all", "destination": {"bucket": "copies"}}]},
        "status": {
            "observedGeneration": 2,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Applied", "message": "",
                "lastTransitionTime": "2026-11-23T10:00:00Z"}],
            "source": {"bucket": "orders", "region": "us-east-1", "account": "111122223333"},
        },
    });
    edit(&mut object);
    serde_json::from_value(object).unwrap()
}

fn refused(edit: impl FnOnce(&mut Value)) -> String {
    let refusal = require_ready(Parent::Found(&parent(edit)), "orders-to-eu", false).unwrap_err();
    assert_eq!(refusal.reason, Reason::ReplicationNotReady);
    refusal.message
}

#[test]
fn a_backfill_begins_only_for_a_replication_that_works_and_the_message_says_what_is_missing() {
    let ready = parent(|_| {});
    assert_eq!(require_ready(Parent::Found(&ready), "orders-to-eu", false), Ok(source()));
    assert!(
        require_ready(Parent::Found(&ready), "orders-to-eu", true)
            .unwrap_err()
            .message
            .contains("--read-only")
    );
    let missing = require_ready(Parent::Missing, "orders-to-eu", false).unwrap_err();
    assert!(missing.message.contains("does not exist") && missing.message.contains("orders-to-eu"));
    assert!(
        refused(|o| o["metadata"]["deletionTimestamp"] = json!("2026-11-23T10:00:00Z")).contains("deleted")
    );
    assert!(refused(|o| o["spec"]["suspend"] = json!(true)).contains("set its suspend to false"));
    assert!(refused(|o| o["spec"]["managementPolicy"] = json!("Observe")).contains("Enforce"));
    assert!(
        refused(|o| o["status"]["conditions"][0]["status"] = json!("False")).contains("not Ready (Applied)")
    );
    assert!(refused(|o| o["status"]["observedGeneration"] = json!(1)).contains("has not been checked"));
    assert!(refused(|o| o["status"]["conditions"] = json!([])).contains("has not been checked"));
    assert!(refused(|o| o["status"]["source"]["region"] = Value::Null).contains("requestedAt"));
}

#[test]
fn the_job_waits_after_the_operators_own_write_and_for_no_longer() {
    let settle = Duration::from_secs(900);
    let status =
        |second| BucketReplicationStatus { configured_at: Some(Time(at(second))), ..Default::default() };
    let hold = require_settled(&status(1000), "orders", settle, at(1300)).unwrap_err();
    assert_eq!((hold.refusal.reason, hold.until), (Reason::Settling, Some(Duration::from_secs(600))));
    let later = require_settled(&status(1000), "orders", settle, at(1400)).unwrap_err();
    assert_eq!(later.refusal, hold.refusal, "nothing in the message depends on the time");
    assert_eq!(require_settled(&status(1000), "orders", settle, at(1900)), Ok(()));
    assert_eq!(require_settled(&status(1000), "orders", Duration::ZERO, at(1000)), Ok(()));
    assert_eq!(require_settled(&BucketReplicationStatus::default(), "orders", settle, at(0)), Ok(()));
    let ahead = require_settled(&status(2000), "orders", settle, at(1000)).unwrap_err();
    assert_eq!(ahead.until, Some(settle), "a clock that was set back is no reason to wait longer");
}

#[test]
fn a_job_for_a_time_in_which_no_object_can_be_created_is_not_asked_for() {
    let period = |created: Value| require_period(&spec_with(&created), at(1_800_000_000));
    let (day, present, future) = ("2027-01-14T00:00:00Z", "2027-01-15T08:00:00Z", "2027-02-01T00:00:00Z");
    for some in [
        json!({}),
        json!({"createdBefore": day}),
        json!({"createdAfter": day}),
        json!({"createdAfter": future, "createdBefore": "2027-02-01T00:00:01Z"}),
    ] {
        assert_eq!(period(some), Ok(()));
    }
    for none in [
        json!({"createdAfter": future}),
        json!({"createdAfter": present}),
        json!({"createdAfter": "2027-01-14T00:00:00.2Z", "createdBefore": "2027-01-14T00:00:00.8Z"}),
    ] {
        let refusal = period(none).unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidRequest);
        assert!(refusal.message.contains("createdAfter"), "{}", refusal.message);
    }
}

#[test]
fn an_arn_of_another_partition_is_refused_by_its_field() {
    let (role, key) =
        ("arn:aws-iso-b:iam::111122223333:role/job", "arn:aws-cn:kms:cn-north-1:111122223333:key/k");
    let judge = |spec: Value, region: &str| {
        let source = BackfillSource { region: region.to_owned(), ..source() };
        require_arns_of_partition(&spec_with(&spec), &source).map_err(|refusal| refusal.message)
    };
    let with_role = json!({"role": {"arn": role}});
    let with_key = json!({"report": {"bucket": "reports", "kmsKeyArn": key}});
    assert_eq!(judge(with_role.clone(), "us-isob-east-1"), Ok(()));
    assert_eq!(judge(with_key.clone(), "cn-north-1"), Ok(()));
    assert_eq!(judge(json!({"report": {"bucket": "reports"}}), "us-isof-south-1"), Ok(()));
    for (spec, field) in [(with_role, "role.arn"), (with_key, "report.kmsKeyArn")] {
        let message = judge(spec, "us-east-1").unwrap_err();
        assert!(
            message.starts_with(&format!("{field}: arn:")) && message.contains("begin with arn:aws:;"),
            "{message}"
        );
    }
}

#[test]
fn a_prefix_that_a_request_to_s3_cannot_hold_is_refused() {
    assert_eq!(
        require_prefixes_writable(&spec_with(&json!({"prefixes": ["é/", "tab\tand\nline/"]}))),
        Ok(())
    );
    let refusal = require_prefixes_writable(&spec_with(&json!({"prefixes": ["a/", "b\u{1}"]}))).unwrap_err();
    assert_eq!(refusal.reason, Reason::InvalidRequest);
    assert!(refusal.message.contains("prefixes[1] holds the character U+0001"), "{}", refusal.message);
}

#[test]
fn an_account_has_to_allow_backfills_and_the_bucket_of_the_report() {
    let silent = account("{accountId: '111122223333', destinations: ['reports']}");
    let refusal = require_allowed(&spec_with(&json!({})), Some(&silent)).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotAllowed);
    assert!(
        refusal.message.contains("spec.allow") && refusal.message.contains("prod"),
        "{}",
        refusal.message
    );
    let allowing = account(
        "{accountId: '111122223333', allow: [Backfill], destinations: ['reports'], roles: {path: /imposed/}}",
    );
    let of =
        |more: &Value| require_allowed(&spec_with(more), Some(&allowing)).map_err(|refusal| refusal.message);
    assert_eq!(of(&json!({})), Ok(()));
    assert_eq!(of(&json!({"report": {"bucket": "reports"}})), Ok(()));
    assert!(of(&json!({"report": {"bucket": "payroll"}})).unwrap_err().contains("report.bucket"));
    let named = |arn: &str| of(&json!({"role": {"arn": arn}}));
    assert_eq!(named("arn:aws:iam::111122223333:role/imposed/job"), Ok(()));
    assert!(named("arn:aws:iam::111122223333:role/job").unwrap_err().contains("/imposed/"));
    assert!(named("arn:aws:iam::444455556666:role/imposed/job").unwrap_err().contains("444455556666"));
    assert_eq!(require_allowed(&spec_with(&json!({})), None), Ok(()), "no account restricts it");
    assert_eq!(require_turn(None, "orders-to-eu"), Ok(()));
    assert!(require_turn(Some("older"), "orders-to-eu").unwrap_err().message.contains("older"));
}

#[test]
fn the_request_names_what_is_asked_for_and_waits_for_approval_where_that_is_asked_for() {
    let spec = spec_with(&json!({
        "statuses": ["Replicated", "NotReplicated"], "prefixes": ["a/"], "approval": "Manual",
        "report": {"bucket": "reports", "prefix": "backfill/"},
    }));
    let intent = Intent::new(&id(), &spec, at(1000));
    let request = job_request(&spec, &source(), "arn:aws:iam::111122223333:role/r", &intent);
    assert_eq!(request.source, "arn:aws:s3:::orders");
    let filters: Vec<&str> = request.statuses.iter().map(|status| status.as_filter()).collect();
    assert_eq!(filters, ["NONE", "COMPLETED"]);
    assert!(request.confirmation_required);
    let report = request.report.unwrap();
    assert_eq!((report.bucket.as_str(), report.prefix.as_str()), ("arn:aws:s3:::reports", "backfill"));
    assert_eq!(report_location(spec.report.as_ref().unwrap(), "j"), "s3://reports/backfill/job-j/");
    assert_eq!((request.token.len(), request.created_before), (64, at(1000)));
    assert!(request.description.contains("uid-1"));
}

#[test]
fn each_end_of_a_job_has_its_reason() {
    let none = json!({});
    let failed = |reason: &str| Job {
        failure_reasons: vec![reason.into()],
        succeeded: 0,
        total: None,
        ..job("Failed")
    };
    let empty = judged(&failed("Manifest generation found no keys matching the filter criteria"), &none);
    assert_eq!((empty.reason, empty.ended), (Reason::NothingToDo, true));
    let role = judged(&failed("The role could not be assumed"), &none);
    assert_eq!(role.reason, Reason::JobFailed);
    assert!(role.message.contains("could not be assumed"), "{}", role.message);
    let half = Job { failed: 1600, succeeded: 400, ..failed("Job failure rate is above 50%") };
    assert!(judged(&half, &none).message.contains("more than half"));
    let done = Job { succeeded: 3000, ..job("Complete") };
    let done = judged(&done, &none);
    assert_eq!(
        (done.reason, done.message.as_str()),
        (Reason::Completed, "3,000 of 3,000 objects replicated, 0 failed")
    );
    let some = Job { succeeded: 2990, failed: 10, ..job("Complete") };
    let some = judged(&some, &json!({"report": {"bucket": "reports", "prefix": "b"}}));
    assert_eq!(some.reason, Reason::CompletedWithFailures);
    assert!(some.message.contains("10 failed") && some.message.contains("s3://reports/b/job-job-1/"));
    let theirs = judged(&job("Cancelled"), &none);
    assert!(
        theirs.reason == Reason::Cancelled && theirs.message.contains("someone else"),
        "{}",
        theirs.message
    );
    let ours = judged(&job("Cancelled"), &json!({"cancel": true}));
    assert!(ours.message.starts_with("cancelled"), "{}", ours.message);
    assert_eq!(vanished("job-1").reason, Reason::JobVanished);
}

#[test]
fn only_a_job_that_nobody_approved_for_30_days_waited_too_long() {
    let days = |days: i64| Some(at(days * 24 * 60 * 60));
    let failed = |reason: &str, ended| Job {
        failure_reasons: vec![reason.into()],
        succeeded: 0,
        created: days(0),
        terminated: ended,
        ..job("Failed")
    };
    let late = |job: &Job, spec: &Value| {
        let verdict = judged(job, spec);
        assert_eq!((verdict.reason, verdict.ended), (Reason::JobFailed, true));
        verdict.message.contains("waited too long for approval")
    };
    let (manual, approved) = (json!({"approval": "Manual"}), json!({"approval": "Manual", "approved": true}));
    let waited = failed("Job was suspended for more than 30 days", days(30));
    assert!(late(&waited, &manual));
    assert!(!late(&waited, &approved));
    assert!(late(&Job { created: None, ..waited }, &manual), "the words decide where the age is not known");
    let versioning = failed("The versioning of bucket copies is suspended", days(1));
    assert!(!late(&versioning, &json!({})));
    assert!(!late(&versioning, &manual), "S3 lists objects before the job waits for anyone");
    assert!(!late(&Job { created: None, ..versioning }, &approved));
}

#[test]
fn a_job_under_way_says_how_far_it_is_and_is_asked_to_change_only_when_someone_wishes_it() {
    let none = json!({});
    let running = judged(&job("Active"), &none);
    assert_eq!(running.message, "1,200 of 3,000 objects replicated, 0 failed");
    assert_eq!((running.reason, running.update), (Reason::Running, None));
    assert!(judged(&job("Paused"), &none).message.contains("higher priority"));
    let manual = json!({"approval": "Manual"});
    let waiting = judged(&job("Suspended"), &manual);
    assert_eq!((waiting.reason, waiting.update), (Reason::AwaitingApproval, None));
    assert!(
        waiting.message.contains("3,000 objects") && waiting.message.contains("$0.25"),
        "{}",
        waiting.message
    );
    let approved = judged(&job("Suspended"), &json!({"approval": "Manual", "approved": true}));
    assert_eq!(approved.update, Some(JobUpdate::Confirm));
    let cancelled =
        judged(&job("Suspended"), &json!({"approval": "Manual", "approved": true, "cancel": true}));
    assert_eq!((cancelled.reason, cancelled.update), (Reason::Cancelling, Some(JobUpdate::Cancel)));
    assert_eq!(judged(&job("Cancelling"), &json!({"cancel": true})).update, None);
    assert!(judged(&job("Thinking"), &none).message.contains("Thinking"));
}

#[test]
fn progress_is_a_share_of_what_s3_has_listed() {
    let percent =
        |total, succeeded, failed| progress(&Job { total, succeeded, failed, ..job("Active") }).percent;
    assert_eq!(percent(Some(3000), 1200, 60).as_deref(), Some("42%"));
    assert_eq!(percent(Some(3000), 3000, 60).as_deref(), Some("100%"));
    assert_eq!(percent(None, 0, 0), None);
    assert_eq!(percent(Some(0), 0, 0), None);
}

#[test]
fn the_price_is_that_of_the_job_and_its_objects() {
    assert!(price::describe(Some(20_000_000)).starts_with("about $20.25"));
    assert!(price::describe(None).contains("$0.25") && price::describe(None).contains("$0.015"));
}

fn held(role: &crate::replication::ManagedRole) -> ObservedRole {
    ObservedRole {
        arn: format!("arn:aws:iam::111122223333:role{}{}", role.path, role.name),
        name: role.name.clone(),
        path: role.path.clone(),
        trust: role.trust.to_value(),
        permissions_boundary: role.permissions_boundary.clone(),
        tags: role.tags.clone(),
        policy: Ok(Some(role.permissions.to_value())),
        other_policies: Vec::new(),
    }
}

#[test]
fn a_job_and_its_role_name_the_partition_of_the_region() {
    for (region, arn, service) in [
        ("cn-north-1", "arn:aws-cn:", "s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-east-1", "arn:aws-us-gov:", "s3.us-gov-east-1.amazonaws.com"),
        ("eusc-de-east-1", "arn:aws-eusc:", "s3.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", "arn:aws-iso:", "s3.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "arn:aws-iso-b:", "s3.us-isob-east-1.sc2s.sgov.gov"),
        ("eu-isoe-west-1", "arn:aws-iso-e:", "s3.eu-isoe-west-1.cloud.adc-e.uk"),
        ("us-isof-south-1", "arn:aws-iso-f:", "s3.us-isof-south-1.csp.hci.ic.gov"),
    ] {
        let source = BackfillSource { region: region.into(), ..source() };
        let key = format!("{arn}kms:{region}:111122223333:key/k");
        let spec = spec_with(&json!({"report": {"bucket": "reports", "kmsKeyArn": key}}));
        let role = format!("{arn}iam::111122223333:role/r");
        let request = job_request(&spec, &source, &role, &Intent::new(&id(), &spec, at(1000)));
        assert_eq!(request.source, format!("{arn}s3:::orders"));
        assert_eq!(request.report.unwrap().bucket, format!("{arn}s3:::reports"));
        let policy = role::permissions(&source, spec.report.as_ref()).to_value().to_string();
        let arns: Vec<&str> = policy.split('"').filter(|word| word.starts_with("arn:")).collect();
        assert!(arns.len() >= 5 && arns.iter().all(|found| found.starts_with(arn)), "{policy}");
        assert!(policy.contains(&format!("\"{service}\"")), "{policy}");
    }
}

#[test]
fn the_role_of_a_job_may_do_what_the_job_needs_and_nothing_else() {
    let spec = spec_with(&json!({"report": {"bucket": "reports", "prefix": "b",
        "kmsKeyArn": "arn:aws:kms:us-east-1:111122223333:key/k"}}));
    let policy = role::permissions(&source(), spec.report.as_ref()).to_value();
    let mut granted: Vec<(&str, String)> = Vec::new();
    for action in [
        "s3:InitiateReplication",
        "s3:GetReplicationConfiguration",
        "s3:PutInventoryConfiguration",
        "s3:PutObject",
        "kms:GenerateDataKey",
        "kms:Decrypt",
    ] {
        granted.extend(allowed_resources(&policy, action).into_iter().map(|resource| (action, resource)));
    }
    let key = "arn:aws:kms:us-east-1:111122223333:key/k";
    let expected = [
        ("s3:InitiateReplication", "arn:aws:s3:::orders/*"),
        ("s3:GetReplicationConfiguration", "arn:aws:s3:::orders"),
        ("s3:PutInventoryConfiguration", "arn:aws:s3:::orders"),
        ("s3:PutObject", "arn:aws:s3:::reports/b/*"),
        ("kms:GenerateDataKey", key),
        ("kms:Decrypt", key),
    ];
    assert_eq!(granted, expected.map(|(action, resource)| (action, resource.to_owned())));
    let actions: usize = role::permissions(&source(), spec.report.as_ref())
        .statement
        .iter()
        .map(|statement| statement.action.len())
        .sum();
    assert_eq!(actions, expected.len());
    let silent = role::permissions(&source(), None).to_value();
    assert!(!silent.to_string().contains("PutObject"));
}

#[test]
fn the_role_is_made_corrected_and_removed_and_one_of_someone_else_stays() {
    let imposing = account(
        "{accountId: '111122223333', roles: {path: /imposed/, permissionsBoundary: 'arn:aws:iam::111122223333:policy/b'}}",
    );
    let desired = role::desired_role(&id(), &spec_with(&json!({})), &source(), Some(&imposing), None);
    assert_eq!(
        (desired.path.as_str(), desired.name.as_str()),
        ("/imposed/", "backfill+data.orders-november")
    );
    assert!(desired.permissions_boundary.is_some());
    let made = role::steps(&desired, None, &id()).unwrap();
    assert!(
        matches!(made[0][..], [Step::CreateRole { .. }])
            && matches!(made[1][..], [Step::PutRolePolicy { .. }])
    );
    assert!(role::steps(&desired, Some(&held(&desired)), &id()).unwrap().is_empty(), "nothing to do");
    let half = ObservedRole { policy: Ok(None), ..held(&desired) };
    assert_eq!(role::steps(&desired, Some(&half), &id()).unwrap().len(), 1, "the operator died in between");
    let theirs = ObservedRole { tags: Default::default(), ..held(&desired) };
    assert_eq!(role::steps(&desired, Some(&theirs), &id()).unwrap_err().reason, Reason::ForeignRole);
    assert!(role::removal(Some(&theirs), &id()).is_empty());
    assert_eq!(role::removal(Some(&held(&desired)), &id()).len(), 2);
    assert!(role::removal(None, &id()).is_empty());
    let managed = |managed| RoleStatus { arn: held(&desired).arn, managed, tags: Vec::new() };
    assert_eq!(role::name_to_remove(Some(&managed(true))), Some(desired.name.as_str()));
    assert_eq!(role::name_to_remove(Some(&managed(false))), None);
}

#[test]
fn an_existing_role_is_there_trusted_and_within_the_boundary() {
    let desired = role::desired_role(&id(), &spec_with(&json!({})), &source(), None, None);
    let role = held(&desired);
    let bounded = account(
        "{accountId: '111122223333', roles: {permissionsBoundary: 'arn:aws:iam::111122223333:policy/b'}}",
    );
    let reason = |held: Option<&ObservedRole>, account| {
        role::require_existing(&role.arn, held, account).map_err(|refusal| refusal.reason)
    };
    assert_eq!(reason(Some(&role), None), Ok(()));
    assert_eq!(reason(None, None), Err(Reason::RoleNotFound));
    assert_eq!(reason(Some(&role), Some(&bounded)), Err(Reason::NotAllowed));
    let distrusting = ObservedRole { trust: json!({"Statement": []}), ..role.clone() };
    assert_eq!(reason(Some(&distrusting), None), Err(Reason::RoleNotTrusted));
}

#[test]
fn an_unchanged_truth_causes_no_write_and_no_event() {
    let context = |second| BackfillContext { generation: Some(1), requested: None, now: at(second) };
    let first = ReplicationBackfillStatus::default();
    let running = report(first.clone(), &first, (Reason::Running, "one of two"), context(1));
    assert_eq!(running.events.len(), 1);
    let again = report(running.status.clone(), &running.status, (Reason::Running, "one of two"), context(2));
    assert_eq!((&again.status, again.events.len()), (&running.status, 0));
    let ended = JobVerdict::ended(Reason::Completed, "all");
    let done = with_verdict(running.status.clone(), &ended, None, at(3));
    assert_eq!(with_verdict(done.clone(), &ended, None, at(9)), done, "the end is the first one");
    let done = report(done, &running.status, (Reason::Completed, "all"), context(3));
    assert!(done.status.conditions.iter().all(|condition| condition.type_ == "Ready"), "kstatus: Current");
}

proptest! {
    /// A request that is sent again, by this operator or another one, is the same.
    #[test]
    fn the_fields_that_the_status_keeps_make_the_same_request(
        second in 0i64..4_000_000_000, later in 0i64..4_000_000_000, manual: bool, statuses in 1usize..16,
    ) {
        let all = ["NotReplicated", "Failed", "Replicated", "Replica"];
        let chosen: Vec<&str> =
            all.iter().enumerate().filter(|(bit, _)| statuses >> bit & 1 == 1).map(|(_, s)| *s).collect();
        let spec = spec_with(&json!({"statuses": chosen, "approval": if manual { "Manual" } else { "Automatic" }}));
        let intent = Intent::new(&id(), &spec, at(second));
        let status = with_intent(&ReplicationBackfillStatus::default(), &intent, at(later));
        let stored: ReplicationBackfillStatus =
            serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        let kept = Intent::kept(&stored).unwrap();
        prop_assert_eq!(
            job_request(&spec, &source(), "role", &kept),
            job_request(&spec, &source(), "role", &intent)
        );
        let other = Intent::new(&id(), &spec, at(later));
        prop_assert_eq!((other.token, other.description), (intent.token, intent.description));
    }

    /// In every state that S3 may report, the operator asks for nothing about an ended job, and never reports one that
    /// goes on as ended.
    #[test]
    fn every_state_has_one_verdict(
        state in "New|Preparing|Suspended|Ready|Active|Pausing|Paused|Completing|Complete|Cancelling|Cancelled|Failing|Failed|[A-Z][a-z]{2,8}",
        (total, succeeded, failed) in (proptest::option::of(0i64..1000), 0i64..1000, 0i64..1000),
        (end, approved) in (any::<bool>(), any::<bool>()),
    ) {
        let job = Job { total, succeeded, failed, ..job(&state) };
        let found = verdict(&job, None, Wish { end, approved });
        prop_assert_eq!(found.ended, job.state.is_final());
        prop_assert!(!found.ended || found.update.is_none());
        prop_assert_eq!(found.ended, found.reason.ready() != crate::api::ReadyStatus::Unknown);
        prop_assert!(found.update != Some(JobUpdate::Confirm) || !end);
        if found.reason == Reason::Completed {
            prop_assert_eq!(failed, 0);
        }
        let percent = progress(&job).percent;
        prop_assert!(percent.is_none_or(|p| p.trim_end_matches('%').parse::<u8>().unwrap() <= 100));
    }

    #[test]
    fn the_pause_never_shrinks_and_stays_within_its_bounds(a in 0u64..10_000_000, b in 0u64..10_000_000) {
        let (young, old) = (Duration::from_secs(a.min(b)), Duration::from_secs(a.max(b)));
        prop_assert!(polling::pause(young) <= polling::pause(old));
        prop_assert!(polling::pause(young) >= polling::FIRST_PAUSE && polling::pause(old) <= polling::LONGEST_PAUSE);
    }
}
