//! Specs that the API server admits are decoded, and then planned or refused; other specs never stop the operator.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use s3_replication_operator::api::{
    AwsAccountSpec, BucketReplicationSpec, BucketReplicationStatus, ManagementPolicy,
};
use s3_replication_operator::aws::convert::{from_sdk, to_sdk};
use s3_replication_operator::iam::Partition;
use s3_replication_operator::replication::authorize::authorize;
use s3_replication_operator::replication::{
    Account, Accounts, Caller, Configuration, Observed, ObservedBucket, Plan, ReadSet, Replication,
    ResourceId, Step, Versioning, VersioningStatus, assess,
};
use serde_json::json;

use crate::connection::Response;
use crate::crd_schema::{admitted, spec_schema};
use crate::engine::{check, odd_value, with_replaced};
use crate::s3::S3;

const REPLICATIONS: &str = "s3replication.dev_bucketreplications.yaml";
const ACCOUNTS: &str = "s3replication.dev_awsaccounts.yaml";

fn id() -> ResourceId {
    ResourceId {
        cluster: Some("cluster-uid".to_owned()),
        namespace: "data".to_owned(),
        name: "orders".to_owned(),
        uid: Some("resource-uid".to_owned()),
        former_clusters: Vec::new(),
    }
}

/// An account in AWS that has the buckets of the spec, versioned or not, and nothing else.
fn only_buckets(read_set: &ReadSet, status: VersioningStatus) -> Observed {
    let bucket = || ObservedBucket {
        region: Ok(Some("eu-west-1".to_owned())),
        versioning: Ok(Versioning { status, mfa_delete: false }),
        owner_confirmed: true,
    };
    Observed {
        caller: Caller { account: "111122223333".to_owned(), partition: Partition::of_region("eu-west-1") },
        source: bucket(),
        destinations: read_set.destinations.iter().map(|to| (to.name.clone(), bucket())).collect(),
        configuration: Ok(None),
        role: Ok(None),
        former_roles: BTreeMap::new(),
        bucket_policies: BTreeMap::new(),
        keys: BTreeMap::new(),
        object_lock: Ok(Some(false)),
        unknown_elements: BTreeSet::new(),
        unreached: BTreeMap::new(),
    }
}

fn planned(spec: &BucketReplicationSpec, versioning: VersioningStatus) -> Plan {
    let (status, accounts) = (BucketReplicationStatus::default(), Accounts::default());
    let replication = Replication { spec, status: &status, id: &id(), accounts: &accounts };
    let read_set = ReadSet::of(&replication, false);
    let observed = only_buckets(&read_set, versioning);
    assess(replication, read_set, observed).plan
}

/// The limits that AWS documents for the parts of a request. The operator or admission refuses a part that does not
/// fit.
pub fn is_accepted(step: &Step, s3: &S3) -> Result<(), TestCaseError> {
    match step {
        Step::CreateRole { role, documents } => {
            prop_assert!((1..=64).contains(&role.len()), "{}", role);
            prop_assert!(documents.tags.len() <= 50);
            let keys: BTreeSet<String> = documents.tags.keys().map(|key| key.to_ascii_lowercase()).collect();
            prop_assert_eq!(
                keys.len(),
                documents.tags.len(),
                "IAM's tag keys have no case: {:?}",
                documents.tags
            );
        }
        Step::PutRolePolicy { document, .. } => {
            prop_assert!(document.chars().filter(|character| !character.is_whitespace()).count() <= 10_240);
        }
        Step::PutReplication { configuration, .. } => {
            let body = s3.written(to_sdk(configuration).expect("all that S3 requires"));
            let Ok(Some(read)) = s3.read(Response { status: 200, body: body.clone() }) else {
                return Err(TestCaseError::fail(format!("S3 cannot read {}", body.escape_ascii())));
            };
            let mut expected: Configuration = configuration.clone();
            expected.rules.values_mut().for_each(|rule| rule.priority = rule.priority.or(Some(1)));
            prop_assert_eq!(from_sdk(&read), expected);
        }
        _ => {}
    }
    Ok(())
}

#[test]
fn an_admitted_spec_is_decoded_and_then_planned_or_refused() {
    let s3 = S3::new();
    let counts = std::cell::Cell::new((0, 0));
    let versioning =
        select(vec![VersioningStatus::Enabled, VersioningStatus::Suspended, VersioningStatus::Disabled]);
    check(300, (admitted(&spec_schema(REPLICATIONS)), versioning), |(json, versioning)| {
        let spec: BucketReplicationSpec =
            serde_json::from_value(json.clone()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let again = serde_json::from_value(json!(spec));
        prop_assert_eq!(again.ok(), Some(spec.clone()), "what the operator writes is what it read");
        let plan = planned(&spec, versioning);
        prop_assert_eq!(&plan, &planned(&spec, versioning), "the same spec has the same plan");
        let (plans, refusals) = counts.get();
        counts.set(if plan.refusals.is_empty() { (plans + 1, refusals) } else { (plans, refusals + 1) });
        let writes = plan.refusals.is_empty() && spec.management_policy == ManagementPolicy::Enforce;
        prop_assert_eq!(plan.stages.is_empty(), !writes, "{}", plan);
        for refusal in &plan.refusals {
            prop_assert!(!refusal.message.contains('\n'), "{}", refusal.message);
        }
        plan.steps().try_for_each(|step| is_accepted(step, &s3))
    });
    let (plans, refusals) = counts.get();
    assert!(plans >= 30 && refusals >= 30, "{plans} plans, {refusals} refusals: one side is hardly tried");
}

/// A resource that was stored before a rule of admission existed, or while it was off.
#[test]
fn a_spec_that_admission_would_refuse_today_never_stops_the_operator() {
    let changes = prop::collection::vec((any::<Index>(), odd_value()), 1..4);
    check(300, (admitted(&spec_schema(REPLICATIONS)), changes), |(json, changes)| {
        let json = changes.iter().fold(json, |json, (at, by)| with_replaced(&json, *at, by));
        if let Ok(spec) = serde_json::from_value::<BucketReplicationSpec>(json) {
            let plan = planned(&spec, VersioningStatus::Enabled);
            prop_assert!(plan.refusals.is_empty() || plan.stages.is_empty());
        }
        Ok(())
    });
}

#[test]
fn an_admitted_account_is_decoded_and_decides() {
    let changes = prop::collection::vec((any::<Index>(), odd_value()), 0..3);
    let bucket = "[a-z]{3,5}|[a-z0-9.-]{0,64}|\\PC{0,5}";
    check(500, (admitted(&spec_schema(ACCOUNTS)), changes, bucket), |(json, changes, bucket)| {
        let changed = changes.iter().fold(json, |json, (at, by)| with_replaced(&json, *at, by));
        let account = match serde_json::from_value::<AwsAccountSpec>(changed) {
            Ok(account) => account,
            Err(error) if changes.is_empty() => return Err(TestCaseError::fail(error.to_string())),
            Err(_) => return Ok(()),
        };
        let prefix = account.assume_role.as_ref().and_then(|role| role.session_name.clone());
        let session = id().session_name(prefix.as_deref());
        prop_assert!((2..=64).contains(&session.len()), "{}", session);
        let spec: BucketReplicationSpec = serde_json::from_value(
            json!({"source": {"bucket": bucket}, "rules": [{"id": "a", "destination": {"bucket": "dr"}}]}),
        )
        .unwrap();
        let accounts = Accounts {
            source: Some(Account { name: "prod".to_owned(), spec: account.clone() }),
            ..Accounts::default()
        };
        let status = BucketReplicationStatus::default();
        let replication = Replication { spec: &spec, status: &status, id: &id(), accounts: &accounts };
        let decision = authorize(&replication, None);
        let names =
            |patterns: &[String]| patterns.iter().any(|pattern| pattern.contains('*') || *pattern == bucket);
        prop_assert!(
            decision.is_err() || names(&account.sources),
            "{} is allowed by {:?}",
            bucket,
            account.sources
        );
        Ok(())
    });
}
