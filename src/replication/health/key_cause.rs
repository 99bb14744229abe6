//! The key of replicas as the cause of failures.
//!
//! In: the rules, the evidence, and the policies of keys. Out: which keys to ask about, and what is wrong with them. A
//! check reads no policy of a key: only failures that nothing else explains are worth the call.

use serde_json::Value;

use crate::api::{BucketReplicationSpec, Destination};
use crate::iam::arn::region_of_arn;
use crate::iam::key_policy::{KeyRefusal, key_refusal};
use crate::replication::health::evidence::Evidence;

/// The action that reading the policy of a key needs.
pub const GET_KEY_POLICY: &str = "kms:GetKeyPolicy";

/// What S3 does with the key of replicas, as the role
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>).
const TO_ENCRYPT: [&str; 2] = ["kms:Encrypt", "kms:GenerateDataKey"];

/// How many keys are asked about in a check.
const ASKED: usize = 3;

/// The destinations with a key whose rules fail for a reason that no event named.
pub fn keys_to_ask<'a>(spec: &'a BucketReplicationSpec, evidence: &Evidence) -> Vec<&'a Destination> {
    let fails = |id: &String| {
        let held = evidence.rules.get(id);
        held.is_some_and(|held| held.run.is_some() && held.failure_reason.is_none())
    };
    let failing = spec.rules.iter().filter(|rule| fails(&rule.id));
    let mut asked: Vec<&Destination> = Vec::new();
    for destination in failing.map(|rule| &rule.destination).filter(|to| to.kms_key_arn.is_some()) {
        if asked.len() < ASKED && !asked.iter().any(|held| held.kms_key_arn == destination.kms_key_arn) {
            asked.push(destination);
        }
    }
    asked
}

/// What the policy of a key has against replicas; `None` where it lets the role encrypt them.
pub fn key_cause(key: &str, policy: &Value, role: &str) -> Option<String> {
    let why = match key_refusal(policy, role, &TO_ENCRYPT)? {
        KeyRefusal::Denied => "denies it explicitly",
        KeyRefusal::NotAllowed => "names neither the role nor its account",
    };
    let region = region_of_arn(key).unwrap_or_default();
    Some(format!(
        "role {role} may not encrypt replicas with key {key}, because the key's policy {why}; allow it {} there (aws kms get-key-policy --key-id {key} --policy-name default --region {region})",
        TO_ENCRYPT.join(" and ")
    ))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::replication::health::{RuleEvidence, Run};

    const KEY: &str = "arn:aws:kms:eu-west-1:444455556666:key/k";
    const ROLE: &str = "arn:aws:iam::111122223333:role/orders-role";

    fn spec() -> BucketReplicationSpec {
        serde_json::from_value(json!({"source": {"bucket": "orders"}, "rules": [
            {"id": "a", "destination": {"bucket": "one", "kmsKeyArn": KEY}},
            {"id": "b", "destination": {"bucket": "two", "kmsKeyArn": KEY}},
            {"id": "c", "destination": {"bucket": "three"}},
        ]}))
        .unwrap()
    }

    fn asked(rule: &str, run: bool, reason: Option<&str>) -> usize {
        let at = Timestamp::UNIX_EPOCH;
        let run = run.then_some(Run { since: at, last: at, failed: 1, operations: 1 });
        let failing =
            RuleEvidence { run, failure_reason: reason.map(str::to_owned), ..RuleEvidence::default() };
        let evidence = Evidence { rules: [(rule.to_owned(), failing)].into(), ..Evidence::default() };
        keys_to_ask(&spec(), &evidence).len()
    }

    #[test]
    fn a_key_is_asked_about_only_while_its_rule_fails_for_a_reason_that_nobody_named() {
        assert_eq!(asked("a", true, None), 1);
        assert_eq!(asked("a", false, None), 0, "nothing fails");
        assert_eq!(asked("a", true, Some("DstPutObjectNotPermitted")), 0, "S3 says why");
        assert_eq!(asked("c", true, None), 0, "it has no key");
    }

    #[test]
    fn a_key_whose_policy_does_not_name_the_role_is_a_cause_and_the_message_has_the_command() {
        let owner = json!({"Statement": [{
            "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::444455556666:root"}, "Action": "kms:*", "Resource": "*"}]});
        let cause = key_cause(KEY, &owner, ROLE).unwrap();
        for part in [
            KEY,
            ROLE,
            "names neither",
            "kms:GenerateDataKey",
            "aws kms get-key-policy",
            "--region eu-west-1",
        ] {
            assert!(cause.contains(part), "{part}: {cause}");
        }
        let anyone = json!({"Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}]});
        assert_eq!(key_cause(KEY, &anyone, ROLE), None);
    }
}
