//! Reports what a deletion leaves in accounts of destinations that cannot be reached.
//!
//! In: why each account cannot be reached, and the status, which names what the resource made there before it was made.
//! Out: the refusal that keeps the finalizer, with what is left and the ways out; none where nothing was made. An
//! account that only the spec names holds nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{BucketReplicationStatus, ConditionType};
use crate::replication::failure::{Failure, FailureClass};
use crate::replication::refusal::Refusal;
use crate::replication::status::truncate::list;

/// `unreached`: by the name of the `AwsAccount`. `retain`: the command that leaves everything in AWS.
pub fn left_behind(
    status: &BucketReplicationStatus,
    unreached: &BTreeMap<String, Failure>,
    retain: &str,
) -> Option<Refusal> {
    let left = unreached.iter().filter_map(|(name, failure)| Some((left_under(status, name)?, failure)));
    let (left, failures): (Vec<String>, Vec<&Failure>) = left.unzip();
    let reason = failures.first()?.class.reason();
    let role = match holds_statements(status, unreached) {
        true => {
            ". The role stays with them, because nobody can change a bucket policy that names a deleted role"
        }
        false => "",
    };
    let message = format!(
        "cannot delete what is left in accounts that the operator does not reach: {}{role}{}. {}",
        list(left.into_iter()),
        ways_out(failures.iter().copied(), retain),
        list(failures.iter().map(|failure| failure.message()).collect::<BTreeSet<String>>().into_iter()),
    );
    Some(Refusal::new(reason, ConditionType::Ready, message))
}

/// The refusal where not even the account of the source can be reached.
pub fn without_source(failure: &Failure, retain: &str) -> Refusal {
    let message = format!("cannot delete: {}{}", failure.message(), ways_out([failure].into_iter(), retain));
    Refusal::new(failure.class.reason(), ConditionType::Ready, message)
}

/// The ways to end a deletion that may not end with time alone.
fn ways_out<'a>(mut failures: impl Iterator<Item = &'a Failure>, retain: &str) -> String {
    let passes = |failure: &Failure| {
        matches!(failure.class, FailureClass::Throttled | FailureClass::Unavailable | FailureClass::Conflict)
    };
    match failures.all(passes) {
        true => String::new(),
        false => format!(
            ". The deletion ends by one of these: let the operator in again; or leave in AWS what is there ({retain})"
        ),
    }
}

/// Whether a bucket policy in one of these accounts may name the roles.
pub fn holds_statements(status: &BucketReplicationStatus, unreached: &BTreeMap<String, Failure>) -> bool {
    status.bucket_policies.iter().any(|held| unreached.contains_key(&held.account_ref))
}

/// Names the things in AWS that the status has under an `AwsAccount` of destinations.
fn left_under(status: &BucketReplicationStatus, account_ref: &str) -> Option<String> {
    let BucketReplicationStatus { bucket_policies, canary_places, .. } = status;
    let policies = bucket_policies.iter().filter(|held| held.account_ref == account_ref);
    let canaries = canary_places.iter().filter(|held| held.account_ref.as_deref() == Some(account_ref));
    let (policies, canaries): (Vec<_>, Vec<_>) = (policies.collect(), canaries.collect());
    let ids = policies.iter().map(|held| &held.account).chain(canaries.iter().map(|held| &held.account));
    let ids: BTreeSet<&str> = ids.map(String::as_str).collect();
    let buckets = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    let policies = buckets(policies.iter().map(|held| held.bucket.as_str()).collect());
    let canaries = buckets(canaries.iter().map(|held| held.bucket.as_str()).collect());
    let statements = (!policies.is_empty())
        .then(|| format!("the statements of this resource in the policy of bucket {policies}"));
    let canaries = (!canaries.is_empty()).then(|| format!("its canaries in bucket {canaries}"));
    let left: Vec<String> = statements.into_iter().chain(canaries).collect();
    let account = buckets(ids);
    (!left.is_empty())
        .then(|| format!("{} (AwsAccount {account_ref}, account {account})", left.join(" and ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{BucketPolicyStatus, CanaryPlaceStatus};

    const RETAIN: &str = "kubectl patch";

    fn status() -> BucketReplicationStatus {
        let policy = |bucket: &str, account: &str, name: &str| BucketPolicyStatus {
            bucket: bucket.into(),
            region: "eu-west-1".into(),
            account: account.into(),
            account_ref: name.into(),
        };
        let canary = CanaryPlaceStatus {
            bucket: "c-copies".into(),
            region: "eu-west-1".into(),
            account: "333333333333".into(),
            account_ref: Some("c".into()),
            prefix: "uid/".into(),
        };
        BucketReplicationStatus {
            bucket_policies: vec![
                policy("a-copies", "111111111111", "a"),
                policy("a-more", "111111111111", "a"),
                policy("b-copies", "222222222222", "b"),
            ],
            canary_places: vec![canary],
            ..BucketReplicationStatus::default()
        }
    }

    fn unreached(names: &[&str], class: FailureClass) -> BTreeMap<String, Failure> {
        let failure = |name: &&str| {
            let role = format!("arn:aws:iam::{name}:role/operator");
            ((*name).to_owned(), Failure::new(class, "sts:AssumeRole", role, "no"))
        };
        names.iter().map(failure).collect()
    }

    #[test]
    fn every_account_is_named_with_what_is_left_there_and_with_the_ways_out() {
        let refusal =
            left_behind(&status(), &unreached(&["a", "b", "c", "unused"], FailureClass::Denied), RETAIN)
                .unwrap();
        for part in [
            "policy of bucket a-copies, a-more (AwsAccount a, account 111111111111)",
            "policy of bucket b-copies (AwsAccount b, account 222222222222)",
            "its canaries in bucket c-copies (AwsAccount c, account 333333333333)",
            "arn:aws:iam::a:role/operator is denied",
            "arn:aws:iam::b:role/operator is denied",
            "arn:aws:iam::c:role/operator is denied",
            "The role stays",
            "let the operator in again; or leave in AWS what is there (kubectl patch)",
        ] {
            assert!(refusal.message.contains(part), "{part} is not in: {}", refusal.message);
        }
        assert!(!refusal.message.contains("unused"), "{}", refusal.message);
    }

    #[test]
    fn an_account_in_which_nothing_was_made_keeps_nothing() {
        assert_eq!(left_behind(&status(), &unreached(&["unused"], FailureClass::Denied), RETAIN), None);
        let canaries = unreached(&["c"], FailureClass::Denied);
        let refusal = left_behind(&status(), &canaries, RETAIN).unwrap();
        assert!(!holds_statements(&status(), &canaries) && !refusal.message.contains("role stays"));
    }

    #[test]
    fn a_failure_that_passes_gives_nobody_the_advice_to_leave_something_behind() {
        for class in [FailureClass::Throttled, FailureClass::Unavailable] {
            let failures = unreached(&["a", "b"], class);
            let refusal = left_behind(&status(), &failures, RETAIN).unwrap();
            assert!(!refusal.message.contains(RETAIN), "{}", refusal.message);
            assert!(!without_source(&failures["a"], RETAIN).message.contains(RETAIN));
        }
        let mut mixed = unreached(&["a"], FailureClass::Throttled);
        mixed.extend(unreached(&["b"], FailureClass::Denied));
        assert!(left_behind(&status(), &mixed, RETAIN).unwrap().message.contains(RETAIN));
    }
}
