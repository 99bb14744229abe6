//! Leader election on any Lease that the API server may return.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use proptest::prelude::*;
use proptest::sample::select;
use s3_replication_operator::runtime::leader::boot_instant::BootInstant;
use s3_replication_operator::runtime::leader::record::{Candidate, Decision};
use s3_replication_operator::runtime::leader::{LeaseSettings, LeaseTimes, Succession};
use serde_json::{Value, json};

use crate::choice::choose;
use crate::engine::{check, near_corpus};

const TOKENS: &[&str] = &[
    "{",
    "}",
    ",",
    ":",
    "null",
    "\"\"",
    "\"b\"",
    "-",
    "0",
    "99999999999",
    "\"holderIdentity\":",
    "\"renewTime\":null,",
    "\"spec\":",
    "\"2026-11-23T10:11:12.123456Z\"",
    "\"strategy\":\"OldestEmulationVersion\",",
];

const SECOND: Duration = Duration::from_secs(1);

fn candidate_named(holder: &str) -> Candidate {
    Candidate::new(LeaseSettings {
        namespace: "ns".to_owned(),
        name: "lease".to_owned(),
        holder: holder.to_owned(),
        scope: "all".to_owned(),
        times: LeaseTimes::new(15 * SECOND, 10 * SECOND, 2 * SECOND).unwrap(),
    })
}

fn lease() -> impl Strategy<Value = Lease> {
    fn number() -> impl Strategy<Value = Value> {
        choose![
            any::<i32>().prop_map(Value::from),
            select(vec![json!(0), json!(-1), json!(15), json!(i32::MAX), Value::Null])
        ]
    }
    let time = || {
        select(vec![
            json!("1970-01-01T00:00:00.000000Z"),
            json!("9999-12-30T22:00:00.000000Z"),
            json!("2026-11-23T10:11:12.000001Z"),
            Value::Null,
        ])
    };
    let holder = select(vec![json!("a"), json!("b"), json!(""), json!(" "), Value::Null]);
    let generated = (holder, number(), time(), time(), number(), select(vec!["all", "some", ""])).prop_map(
        |(holder, seconds, acquired, renewed, transitions, scope)| {
            json!({
                "metadata": {"name": "lease", "namespace": "ns", "resourceVersion": "7", "annotations": {"s3replication.dev/scope": scope, "other": "kept"}},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds, "acquireTime": acquired, "renewTime": renewed, "leaseTransitions": transitions},
            })
        },
    );
    let near =
        near_corpus("leases", TOKENS).prop_filter_map("not JSON", |text| serde_json::from_slice(&text).ok());
    choose![2 => generated, 1 => near]
        .prop_filter_map("not a Lease", |json| serde_json::from_value(json).ok())
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long the record says that its holder may be silent; 15 s, the candidate's own duration, if it does not.
fn silence(lease: &Lease) -> Duration {
    let seconds =
        lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).filter(|seconds| *seconds > 0);
    Duration::from_secs(seconds.map_or(15, |seconds| u64::try_from(seconds).unwrap()))
}

#[test]
fn a_lease_is_taken_if_it_is_free_or_its_holder_was_silent_for_its_duration() {
    let wall =
        (-1_000_000_000i64..4_000_000_000).prop_map(|second| jiff::Timestamp::from_second(second).unwrap());
    check(3000, (lease(), wall, 0u64..40_000), |(lease, wall, waited)| {
        let (start, mut candidate) = (BootInstant::now(), candidate_named("a"));
        let waited = Duration::from_millis(waited);
        for now in [start, start.after(waited)] {
            let silent = now != start && waited >= silence(&lease);
            match (candidate.decide(Some(&lease), now, wall), holder(&lease)) {
                (Decision::Wait { holder: named, .. }, Some(holder)) => {
                    prop_assert_eq!(&named, holder);
                    prop_assert!(holder != "a" && !silent);
                }
                (Decision::Replace(claimed, succession), holder) => {
                    let orderly = succession == Succession::Orderly;
                    prop_assert_eq!(orderly, holder.is_none(), "{:?} held it", holder);
                    prop_assert!(
                        holder.is_none_or(|holder| holder == "a") || silent,
                        "{:?} holds it",
                        holder
                    );
                    prop_assert!(candidate.holds(&claimed));
                    prop_assert_eq!(&claimed.metadata.resource_version, &lease.metadata.resource_version);
                    let annotation =
                        |lease: &Lease| lease.metadata.annotations.as_ref()?.get("other").cloned();
                    prop_assert_eq!(annotation(&claimed), annotation(&lease));
                    let transitions = |lease: &Lease| {
                        lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default()
                    };
                    let taken = i32::from(holder != Some("a"));
                    prop_assert_eq!(transitions(&claimed), transitions(&lease).saturating_add(taken));
                }
                (decision, holder) => {
                    return Err(TestCaseError::fail(format!("{decision:?} with {holder:?}")));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn a_released_lease_is_free_for_everyone() {
    check(1000, lease(), |lease| {
        let wall = jiff::Timestamp::UNIX_EPOCH;
        let released = candidate_named("a").release(&lease, wall);
        prop_assert_eq!(holder(&released), None);
        prop_assert_eq!(&released.metadata, &lease.metadata);
        let decision = candidate_named("b").decide(Some(&released), BootInstant::now(), wall);
        prop_assert!(matches!(decision, Decision::Replace(_, Succession::Orderly)), "{:?}", decision);
        Ok(())
    });
}
