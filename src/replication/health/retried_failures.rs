//! Decides which failures a completed backfill retried.
//!
//! In: what the backfills of a resource chose among the objects that failed, and a rule with its first failure. Out:
//! the time up to which the failures of the rule no longer count.

use jiff::{SignedDuration, Timestamp};

use crate::replication::health::evidence::RetriedFailures;

/// An object that failed was created before it failed, and S3 may try for hours
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-troubleshoot.html>). A day leaves none out.
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How much earlier than a backfill needs it to begin, it is printed to begin: a metric that comes late shows an
/// earlier first failure than the one that was known.
const SLACK: SignedDuration = SignedDuration::from_hours(1);

/// From when on a backfill must choose objects, to have all that failed since.
pub fn created_after(since: Timestamp) -> Option<Timestamp> {
    since.checked_sub(TRIED_FOR).ok()?.checked_sub(SLACK).ok()
}

/// Up to when the failures of a rule for keys with this prefix were retried, of which the first was at `since`. `None`:
/// each backfill left out some of the objects that may have failed.
pub(crate) fn retried_to(prefix: &str, since: Timestamp, retried: &[RetriedFailures]) -> Option<Timestamp> {
    let covers = |one: &&RetriedFailures| {
        let has_keys = one.prefixes.is_empty() || one.prefixes.iter().any(|one| prefix.starts_with(one));
        let first = since.checked_sub(TRIED_FOR).unwrap_or(Timestamp::MIN);
        has_keys && one.created_after.is_none_or(|after| after <= first)
    };
    retried.iter().filter(covers).map(|one| one.to).max()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3600;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + hour * HOUR).unwrap()
    }

    fn retried(prefixes: &[&str], created_after: Option<i64>, to: i64) -> RetriedFailures {
        let prefixes = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        RetriedFailures { prefixes, created_after: created_after.map(at), to: at(to) }
    }

    #[test]
    fn a_backfill_retries_the_failures_of_a_rule_only_if_it_left_out_no_object_of_the_rule_that_failed() {
        let cases = [
            ("everything", retried(&[], None, 5), Some(5)),
            ("the prefix of the rule", retried(&["logs/"], None, 5), Some(5)),
            ("a prefix that holds that of the rule", retried(&["a/", "lo"], None, 5), Some(5)),
            ("a part of the rule", retried(&["logs/2026/"], None, 5), None),
            ("the keys of another rule", retried(&["invoices/"], None, 5), None),
            ("from a day before the first failure", retried(&["logs/"], Some(-24), 5), Some(5)),
            ("from an hour before the first failure", retried(&[], Some(-1), 5), None),
        ];
        for (name, backfill, expected) in cases {
            assert_eq!(retried_to("logs/", at(0), &[backfill]), expected.map(at), "{name}");
        }
    }

    #[test]
    fn a_rule_for_every_key_needs_a_backfill_of_every_key() {
        assert_eq!(retried_to("", at(0), &[retried(&["logs/"], None, 5)]), None);
        assert_eq!(
            retried_to("", at(0), &[retried(&["logs/"], None, 5), retried(&[], None, 3)]),
            Some(at(3))
        );
    }

    fn any_retried() -> impl Strategy<Value = RetriedFailures> {
        let prefixes = prop::collection::vec("[ab]{1,3}", 0..3);
        (prefixes, prop::option::of(-48_i64..4), -4_i64..8).prop_map(|(prefixes, after, to)| {
            RetriedFailures { prefixes, created_after: after.map(at), to: at(to) }
        })
    }

    proptest! {
        #[test]
        fn no_backfill_retries_a_failed_object_that_it_left_out(
            backfills in prop::collection::vec(any_retried(), 0..4),
            prefix in "[ab]{0,2}",
            key in "[ab]{0,3}",
            age in 0_i64..24,
        ) {
            let since = at(0);
            let Some(to) = retried_to(&prefix, since, &backfills) else { return Ok(()) };
            let (key, created) = (format!("{prefix}{key}"), at(-age));
            let replicated = backfills.iter().any(|one| {
                let chosen = one.prefixes.is_empty() || one.prefixes.iter().any(|prefix| key.starts_with(prefix));
                chosen && one.created_after.is_none_or(|after| created >= after) && one.to >= to
            });
            prop_assert!(replicated, "{key}, created at {created}, is in no backfill up to {to}");
        }
    }
}
