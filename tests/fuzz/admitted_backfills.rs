//! Specs of backfills that the API server admits are decoded, and then allowed or refused; the job that is asked for is
//! the one that the spec describes. Other specs never stop the operator.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use s3_replication_operator::api::{
    Activity, Approval, AwsAccountSpec, BackfillSource, BucketReplication, ReplicationBackfillSpec, Roles,
};
use s3_replication_operator::aws::job_input;
use s3_replication_operator::iam::Partition;
use s3_replication_operator::replication::backfill::preconditions::{
    Parent, require_allowed, require_period, require_prefixes_writable, require_ready,
};
use s3_replication_operator::replication::backfill::request::{Intent, job_request, report_location};
use s3_replication_operator::replication::backfill::{JobReport, JobRequest, role};
use s3_replication_operator::replication::{Account, ObservedRole, ResourceId, Step};
use serde_json::{Value, json};

use crate::admitted_specs::is_accepted;
use crate::authorization::allowed_by;
use crate::choice::{choose, optional};
use crate::connection::Response;
use crate::control::S3Control;
use crate::crd_schema::{admitted, spec_schema};
use crate::engine::{check, odd_value, with_replaced};
use crate::s3::S3;

const BACKFILLS: &str = "s3replication.dev_replicationbackfills.yaml";
const IDS: [&str; 2] = ["111122223333", "444455556666"];
const PATHS: [&str; 3] = ["/", "/s3-replication/", "/a/b/"];

/// A spec, and what it meets.
#[derive(Clone, Debug)]
struct Case {
    json: Value,
    account: Option<AwsAccountSpec>,
    parent: Value,
    source: BackfillSource,
    now: Timestamp,
}

fn one_of(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(all).prop_map(str::to_owned)
}

/// Admitted specs, of which some name a role that an account may allow.
fn specs() -> impl Strategy<Value = Value> {
    let role = (select(&IDS[..]), select(&PATHS[..]));
    (admitted(&spec_schema(BACKFILLS)), optional(0.4, role)).prop_map(|(mut spec, role)| {
        if let Some((id, path)) = role.filter(|_| spec.get("role").is_some()) {
            spec["role"] = json!({"arn": format!("arn:aws:iam::{id}:role{path}r")});
        }
        spec
    })
}

prop_compose! {
    fn account()(
        account_id in one_of(&IDS),
        allow in select(vec![vec![], vec![Activity::Canary], vec![Activity::Backfill], vec![Activity::Canary, Activity::Backfill]]),
        destinations in prop::collection::vec(choose![2 => Just("*".to_owned()), 1 => "[a-z0-9]\\*"], 0..3),
        path in optional(0.3, one_of(&PATHS)),
        permissions_boundary in optional(0.3, one_of(&["arn:aws:iam::111122223333:policy/boundary"])),
    ) -> AwsAccountSpec {
        let roles = Some(Roles { path, permissions_boundary });
        AwsAccountSpec { account_id, allow, destinations, roles, ..AwsAccountSpec::default() }
    }
}

prop_compose! {
    fn case()(
        json in specs(),
        account in optional(0.8, account()),
        region in one_of(&["eu-west-1", "us-gov-west-1", "cn-north-1"]),
        account_id in one_of(&IDS),
        is_ready in prop::bool::weighted(0.8),
        is_current in prop::bool::weighted(0.8),
        (suspend, observe) in (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
        has_source in prop::bool::weighted(0.9),
        second in 1_700_000_000i64..1_900_000_000,
    ) -> Case {
        let source = BackfillSource { bucket: "orders".to_owned(), region, account: account_id, account_ref: None };
        let status_source = if has_source {
            json!({"bucket": "orders", "region": source.region, "account": source.account})
        } else {
            json!({"bucket": "orders"})
        };
        let ready = if is_ready { "True" } else { "False" };
        let parent = json!({
            "apiVersion": "s3replication.dev/v1alpha1", "kind": "BucketReplication",
            "metadata": {"name": "orders-to-eu", "namespace": "data", "uid": "uid", "generation": 2},
            "spec": {
                "source": {"bucket": "orders"}, "suspend": suspend,
                "managementPolicy": if observe { "Observe" } else { "Enforce" },
                "rules": [{"id": "all", "destination": {"bucket": "copies"}}],
            },
            "status": {
                "observedGeneration": if is_current { 2 } else { 1 },
                "conditions": [{"type": "Ready", "status": ready, "reason": "Applied", "message": "",
                    "lastTransitionTime": "2026-11-23T10:00:00Z"}],
                "source": status_source,
            },
        });
        Case { json, account, parent, source, now: Timestamp::from_second(second).unwrap() }
    }
}

/// Whether the state of the replication lets a backfill of it begin.
fn is_ready(parent: &Value) -> bool {
    let (spec, status) = (&parent["spec"], &parent["status"]);
    spec["suspend"] == false
        && spec["managementPolicy"] == "Enforce"
        && status["conditions"][0]["status"] == "True"
        && status["observedGeneration"] == parent["metadata"]["generation"]
        && status["source"]["region"].is_string()
}

/// Whether the administrators of the account allow a backfill.
fn is_allowed(spec: &ReplicationBackfillSpec, account: Option<&AwsAccountSpec>) -> bool {
    let Some(account) = account else { return true };
    let report = spec.report.as_ref().is_none_or(|to| allowed_by(&account.destinations, &to.bucket));
    let path = account.roles.as_ref().and_then(|roles| roles.path.as_deref());
    let role = spec.role.as_ref().is_none_or(|role| {
        let (before, path_and_name) = role.arn.split_once(":role").expect("the ARN of a role");
        let end = path_and_name.rfind('/').expect("a slash") + 1;
        before.ends_with(&format!(":{}", account.account_id))
            && path.is_none_or(|path| path == &path_and_name[..end])
    });
    account.allow.contains(&Activity::Backfill) && report && role
}

fn id() -> ResourceId {
    ResourceId {
        cluster: Some("cluster-uid".to_owned()),
        namespace: "n".repeat(63),
        name: "b".repeat(253),
        uid: Some("00000000-1111-4222-8333-444444444444".to_owned()),
        former_clusters: Vec::new(),
    }
}

/// The role that S3 shows after the steps.
fn made(steps: &[Vec<Step>], arn: &str) -> Result<ObservedRole, TestCaseError> {
    let mut held = None;
    for step in steps.concat() {
        match step {
            Step::CreateRole { role, documents } => {
                held = Some(ObservedRole {
                    arn: arn.to_owned(),
                    name: role,
                    path: documents.path,
                    trust: serde_json::from_str(&documents.trust).unwrap(),
                    permissions_boundary: documents.permissions_boundary,
                    tags: documents.tags,
                    policy: Ok(None),
                    other_policies: Vec::new(),
                });
            }
            Step::PutRolePolicy { document, .. } => {
                let policy = serde_json::from_str(&document).unwrap();
                held.as_mut().expect("a role before its policy").policy = Ok(Some(policy));
            }
            other => return Err(TestCaseError::fail(format!("{other} of a role that is not there"))),
        }
    }
    held.ok_or_else(|| TestCaseError::fail("no role"))
}

/// The limits that AWS documents for the request
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_CreateJob.html>).
fn is_within_limits(request: &JobRequest) -> Result<(), TestCaseError> {
    let JobRequest { statuses, created_after, created_before, prefixes, report, .. } = request;
    prop_assert!((1..=64).contains(&request.token.len()), "{}", request.token);
    prop_assert!((1..=256).contains(&request.description.len()), "{}", request.description);
    prop_assert!((1..=2048).contains(&request.role.len()) && request.role.starts_with("arn:"));
    prop_assert!(request.priority >= 0);
    prop_assert!(!statuses.is_empty(), "every object would be replicated again, at full price");
    prop_assert_eq!(statuses.iter().collect::<BTreeSet<_>>().len(), statuses.len());
    prop_assert!(prefixes.iter().all(|prefix| (1..=1024).contains(&prefix.chars().count())));
    let before = created_before.as_second();
    prop_assert!(created_after.is_none_or(|after| after.as_second() < before), "no time is between");
    if let Some(JobReport { bucket, prefix, scope: _ }) = report {
        prop_assert!(bucket.starts_with("arn:") && !prefix.ends_with('/') && prefix.len() <= 512);
    }
    Ok(())
}

/// S3 is sent what was asked for: its own description of the job, which has the same elements, shows it.
fn is_sent(request: &JobRequest, s3: &S3Control) -> Result<(), TestCaseError> {
    let input = job_input(request).expect("all that S3 requires");
    s3.create(input, b"<CreateJobResult/>".to_vec())
        .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
    let sent = String::from_utf8(s3.sent()).expect("UTF-8");
    let inner = sent.split_once("<CreateJobRequest").and_then(|(_, rest)| rest.split_once('>'));
    let inner = inner.and_then(|(_, rest)| rest.strip_suffix("</CreateJobRequest>"));
    let inner = inner.ok_or_else(|| TestCaseError::fail(sent.clone()))?;
    let body = format!("<DescribeJobResult><Job><Status>New</Status>{inner}</Job></DescribeJobResult>");
    let shown = s3.describe(Response { status: 200, body: body.into_bytes() });
    let shown = shown.map_err(|error| TestCaseError::fail(format!("{error:?}: {sent}")))?;
    let job = shown.job().expect("a job");
    prop_assert_eq!(job.description(), Some(request.description.as_str()));
    prop_assert_eq!(job.role_arn(), Some(request.role.as_str()));
    prop_assert_eq!(job.priority(), request.priority);
    prop_assert_eq!(job.confirmation_required(), Some(request.confirmation_required));
    prop_assert!(job.operation().is_some_and(|operation| operation.s3_replicate_object().is_some()));
    let token = format!("<ClientRequestToken>{}</ClientRequestToken>", request.token);
    prop_assert!(sent.contains(&token), "{}", sent);
    let generator =
        job.manifest_generator().and_then(|generator| generator.as_s3_job_manifest_generator().ok());
    let generator = generator.expect("S3 lists the objects");
    prop_assert_eq!(generator.source_bucket(), request.source.as_str());
    prop_assert_eq!(generator.expected_bucket_owner(), Some(request.address.account.as_str()));
    let filter = generator.filter().expect("a filter");
    let statuses: Vec<&str> =
        filter.object_replication_statuses().iter().map(|status| status.as_str()).collect();
    let wanted: Vec<&str> = request.statuses.iter().map(|status| status.as_filter()).collect();
    prop_assert_eq!(statuses, wanted);
    prop_assert_eq!(filter.eligible_for_replication(), Some(true));
    let second = |time: Option<&aws_sdk_s3control::primitives::DateTime>| time.map(|time| time.secs());
    prop_assert_eq!(second(filter.created_after()), request.created_after.map(|time| time.as_second()));
    prop_assert_eq!(second(filter.created_before()), Some(request.created_before.as_second()));
    let prefixes = filter.key_name_constraint().map(|names| names.match_any_prefix().to_vec());
    prop_assert_eq!(prefixes.unwrap_or_default(), request.prefixes.clone(), "{}", sent);
    let report = job.report().expect("a report, if only that there is none");
    prop_assert_eq!(report.enabled(), request.report.is_some());
    prop_assert_eq!(report.bucket(), request.report.as_ref().map(|report| report.bucket.as_str()));
    let prefix =
        request.report.as_ref().map(|report| report.prefix.as_str()).filter(|prefix| !prefix.is_empty());
    prop_assert_eq!(report.prefix(), prefix);
    Ok(())
}

#[test]
fn an_admitted_backfill_is_decoded_and_then_allowed_or_refused() {
    let (s3, control) = (S3::new(), S3Control::new());
    let counts = std::cell::Cell::new((0, 0));
    check(300, case(), |case| {
        let Case { json, account, parent, source, now } = case;
        let spec: ReplicationBackfillSpec =
            serde_json::from_value(json).map_err(|error| TestCaseError::fail(error.to_string()))?;
        // Kubernetes keeps times in whole seconds, and so does S3.
        let written = json!(spec);
        let again =
            serde_json::from_value::<ReplicationBackfillSpec>(written.clone()).map(|spec| json!(spec));
        prop_assert_eq!(again.ok(), Some(written), "what the operator writes is what it reads");
        let replication: BucketReplication = serde_json::from_value(parent.clone()).unwrap();
        let ready = require_ready(Parent::Found(&replication), "orders-to-eu", false);
        prop_assert_eq!(ready.as_ref().ok(), is_ready(&parent).then_some(&source));
        let account = account.map(|spec| Account { name: "prod".to_owned(), spec });
        let allowed = require_allowed(&spec, account.as_ref());
        prop_assert_eq!(allowed.is_ok(), is_allowed(&spec, account.as_ref().map(|account| &account.spec)));
        let fits = require_prefixes_writable(&spec).and(require_period(&spec, now));
        let refusals = [ready.err(), allowed.err(), fits.err()];
        let (begun, refused) = counts.get();
        let refused_now = refusals.iter().flatten().count() > 0;
        counts.set(if refused_now { (begun, refused + 1) } else { (begun + 1, refused) });
        for refusal in refusals.into_iter().flatten() {
            prop_assert!(!refusal.message.contains('\n'), "{}", refusal.message);
        }
        if refused_now {
            return Ok(());
        }
        let desired = role::desired_role(&id(), &spec, &source, account.as_ref(), None);
        let arn =
            Partition::of_region(&source.region).role_arn(&source.account, &desired.path, &desired.name);
        let steps = role::steps(&desired, None, &id()).map_err(|error| TestCaseError::fail(error.message))?;
        steps.iter().flatten().try_for_each(|step| is_accepted(step, &s3))?;
        let held = made(&steps, &arn)?;
        prop_assert_eq!(
            role::steps(&desired, Some(&held), &id()),
            Ok(Vec::new()),
            "the role is as it should be"
        );
        prop_assert!(!role::removal(Some(&held), &id()).is_empty());
        let role = spec.role.as_ref().map_or(arn.as_str(), |role| role.arn.as_str());
        let intent = Intent::new(&id(), &spec, now);
        let request = job_request(&spec, &source, role, &intent);
        prop_assert_eq!(&request, &job_request(&spec, &source, role, &intent), "S3 returns the same job");
        prop_assert_eq!(request.confirmation_required, spec.approval == Approval::Manual);
        if let Some(report) = &spec.report {
            prop_assert!(report_location(report, "j").ends_with("job-j/"));
        }
        is_within_limits(&request)?;
        is_sent(&request, &control)
    });
    let (begun, refused) = counts.get();
    assert!(begun >= 30 && refused >= 30, "{begun} begin, {refused} are refused: one side is hardly tried");
}

/// A resource that was stored before a rule of admission existed, or while it was off.
#[test]
fn a_backfill_that_admission_would_refuse_today_never_stops_the_operator() {
    let changes = prop::collection::vec((any::<Index>(), odd_value()), 1..4);
    let control = S3Control::new();
    check(300, (case(), changes), |(case, changes)| {
        let Case { json, account, source, now, .. } = case;
        let json = changes.iter().fold(json, |json, (at, by)| with_replaced(&json, *at, by));
        let Ok(spec) = serde_json::from_value::<ReplicationBackfillSpec>(json) else { return Ok(()) };
        let account = account.map(|spec| Account { name: "prod".to_owned(), spec });
        let refused =
            require_allowed(&spec, account.as_ref()).is_err() || require_prefixes_writable(&spec).is_err();
        let desired = role::desired_role(&id(), &spec, &source, account.as_ref(), None);
        prop_assert!(role::steps(&desired, None, &id()).is_ok());
        let request =
            job_request(&spec, &source, "arn:aws:iam::111122223333:role/r", &Intent::new(&id(), &spec, now));
        if !refused {
            let input = job_input(&request).expect("all that S3 requires");
            drop(control.create(input, Vec::new()));
        }
        Ok(())
    });
}
