//! Policies are equal exactly if they grant the same.

use proptest::prelude::*;
use s3_replication_operator::iam::compare::compare;
use serde_json::Value;

use crate::documents::{Choices, choices, document, grants, policy, similar_policies};
use crate::engine::{check, check_documents, corpus};

const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "\"\"",
    "\"*\"",
    "\"Statement\":",
    "\"Action\":",
    "\"NotAction\":",
    "\"NotResource\":",
    "\"Principal\":",
    "\"NotPrincipal\":",
    "\"Condition\":",
    "\"AWS\":",
    "\"Effect\":\"Deny\",",
];

#[test]
fn a_policy_equals_itself_in_every_other_form() {
    check(1500, (policy(), choices(), choices()), |(policy, one, other)| {
        let one = document(&policy, &mut Choices::new(one));
        let other = document(&policy, &mut Choices::new(other));
        prop_assert_eq!(compare(&one, &other), vec![], "{} and {}", one, other);
        Ok(())
    });
}

#[test]
fn two_policies_differ_exactly_if_one_of_them_grants_what_the_other_does_not() {
    check(3000, (similar_policies(), choices(), choices()), |((one, other), first, second)| {
        let same = grants(&one) == grants(&other);
        let (one, other) =
            (document(&one, &mut Choices::new(first)), document(&other, &mut Choices::new(second)));
        prop_assert_eq!(compare(&one, &other).is_empty(), same, "{} and {}", one, other);
        Ok(())
    });
}

/// Duplicate keys and every other form that JSON allows and IAM does not.
#[test]
fn any_json_equals_itself_and_differs_from_another_in_both_directions() {
    let seeds: Vec<Value> =
        corpus("policies").iter().map(|seed| serde_json::from_slice(seed).unwrap()).collect();
    check_documents(1500, "policies", TOKENS, |text| {
        let Ok(policy) = serde_json::from_slice::<Value>(&text) else { return Ok(()) };
        prop_assert_eq!(compare(&policy, &policy), vec![]);
        for seed in &seeds {
            let (there, back) = (compare(seed, &policy), compare(&policy, seed));
            prop_assert_eq!(there.len(), back.len());
            for (one, other) in there.iter().zip(&back) {
                prop_assert_eq!((&one.want, &one.got), (&other.got, &other.want));
            }
        }
        Ok(())
    });
}
