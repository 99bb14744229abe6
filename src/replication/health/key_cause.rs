//! A KMS key as the cause of failures: one that replicas are encrypted with, or one that the source's objects are.
//!
//! In: the rules, the evidence, and the policies of keys. Out: which keys to ask about, and what is wrong with them. A
//! check reads no policy of a key: only failures that nothing else explains are worth the call.

use serde_json::Value;

use crate::api::{BucketReplicationSpec, ReplicationRule};
use crate::iam::arn::region_of_arn;
use crate::iam::bucket_policy::deleted_principals;
use crate::iam::key_policy::{KeyRefusal, key_refusal};
use crate::replication::failure::Failure;
use crate::replication::health::evidence::Evidence;

/// The action that reading the policy of a key needs.
pub const GET_KEY_POLICY: &str = "kms:GetKeyPolicy";

/// The actions of S3 with the key of replicas, as the role
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html>).
const TO_ENCRYPT: [&str; 2] = ["kms:Encrypt", "kms:GenerateDataKey"];

/// The actions of S3 with a key of the source's objects, likewise.
const TO_DECRYPT: [&str; 1] = ["kms:Decrypt"];

/// The most keys that a check asks about.
const ASKED: usize = 3;

/// A key whose policy may explain failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedKey<'a> {
    pub arn: &'a str,
    /// The `AwsAccount` whose AWS identity asks. `None`: that of the source.
    pub account_ref: Option<&'a str>,
    /// Whether replicas are encrypted with it.
    pub encrypts: bool,
    /// Whether objects of the source may be encrypted with it.
    pub decrypts: bool,
}

/// The keys of the rules that fail for a reason that no event named: those of their replicas, and those of the source's
/// objects, in turns, so that there is room for some of both.
pub fn keys_to_ask<'a>(spec: &'a BucketReplicationSpec, evidence: &Evidence) -> Vec<AskedKey<'a>> {
    let fails = |rule: &&ReplicationRule| {
        let held = evidence.rules.get(&rule.id);
        held.is_some_and(|held| held.run.is_some() && held.failure_reason.is_none())
    };
    let failing: Vec<&ReplicationRule> = spec.rules.iter().filter(fails).collect();
    let has_encrypted =
        failing.iter().any(|rule| rule.kms_encrypted_objects.unwrap_or_default().is_enabled());
    let of_source = spec.source.kms_key_arns.iter().filter(|_| has_encrypted);
    let of_source = of_source.map(|arn| AskedKey { arn, account_ref: None, encrypts: false, decrypts: true });
    let of_replicas = failing.iter().filter_map(|rule| {
        let (arn, account_ref) =
            (rule.destination.kms_key_arn.as_deref()?, rule.destination.account_ref.as_deref());
        Some(AskedKey { arn, account_ref, encrypts: true, decrypts: false })
    });
    let (of_source, of_replicas) = (distinct(of_source), distinct(of_replicas));
    let turns = 0..of_source.len().max(of_replicas.len());
    let mut asked = distinct(
        turns.flat_map(|turn| of_replicas.get(turn).into_iter().chain(of_source.get(turn)).copied()),
    );
    asked.truncate(ASKED);
    asked
}

/// Each key once, for all that is done with it.
fn distinct<'a>(keys: impl IntoIterator<Item = AskedKey<'a>>) -> Vec<AskedKey<'a>> {
    let mut found: Vec<AskedKey<'a>> = Vec::new();
    for key in keys {
        match found.iter_mut().find(|held| held.arn == key.arn) {
            Some(held) => {
                held.encrypts |= key.encrypts;
                held.decrypts |= key.decrypts;
            }
            None => found.push(key),
        }
    }
    found
}

/// Why the policy of a key prevents replication; `None` where it lets the role use the key.
pub fn key_cause(key: &AskedKey<'_>, policy: &Value, role: &str) -> Option<String> {
    let AskedKey { arn, account_ref: _, encrypts, decrypts } = *key;
    let cause = |uses: &str, actions: &[&str]| {
        let why = match key_refusal(policy, role, actions)? {
            KeyRefusal::Denied => "denies it explicitly".to_owned(),
            KeyRefusal::NotAllowed => {
                format!("names neither the role nor its account{}", deleted_principals_note(policy))
            }
        };
        let region = region_of_arn(arn).unwrap_or_default();
        Some(format!(
            "role {role} may not {uses} with key {arn}, because the key's policy {why}; allow it {} there (aws kms get-key-policy --key-id {arn} --policy-name default --region {region})",
            actions.join(" and ")
        ))
    };
    let to_encrypt = encrypts.then(|| cause("encrypt replicas", &TO_ENCRYPT)).flatten();
    let to_decrypt = || decrypts.then(|| cause("decrypt objects of the source", &TO_DECRYPT)).flatten();
    to_encrypt.or_else(to_decrypt)
}

/// That the policy of a key may be the cause, where the operator may not read it.
pub fn unread_key_policy(failure: &Failure) -> String {
    format!("perhaps the policy of a key, which the operator cannot check: {}", failure.message())
}

/// Names the principals of a key's policy that were deleted. KMS shows an id in place of each, and a role that was made
/// again under its name is another principal.
fn deleted_principals_note(policy: &Value) -> String {
    let deleted: Vec<String> = deleted_principals(Some(policy), "").into_iter().collect();
    if deleted.is_empty() {
        return String::new();
    }
    format!(
        ", but it names {}, the id of a deleted role or user: a new one of the same name has another id",
        deleted.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::replication::health::{FailureRun, RuleEvidence};

    const KEY: &str = "arn:aws:kms:eu-west-1:444455556666:key/k";
    const SOURCE_KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/s";
    const ROLE: &str = "arn:aws:iam::111122223333:role/orders-role";

    /// A rule whose replicas are encrypted with this key.
    fn encrypted(id: &str, key: &str) -> Value {
        json!({"id": id, "kmsEncryptedObjects": "Enabled",
            "destination": {"bucket": format!("to-{id}"), "accountRef": "there", "kmsKeyArn": key}})
    }

    fn spec_with(source_keys: &[&str], rules: &[Value]) -> BucketReplicationSpec {
        let source = json!({"bucket": "orders", "kmsKeyArns": source_keys});
        serde_json::from_value(json!({"source": source, "rules": rules})).unwrap()
    }

    /// Evidence of rules that fail, for a reason that S3 named or did not.
    fn evidence_of(rules: &[&str], reason: Option<&str>) -> Evidence {
        let at = Timestamp::UNIX_EPOCH;
        let run = Some(FailureRun { since: at, last: at, failed: 1, operations: 1 });
        let one = RuleEvidence { run, failure_reason: reason.map(str::to_owned), ..RuleEvidence::default() };
        let rules = rules.iter().map(|rule| ((*rule).to_owned(), one.clone())).collect();
        Evidence { rules, ..Evidence::default() }
    }

    fn asked<'a>(spec: &'a BucketReplicationSpec, evidence: &Evidence) -> Vec<&'a str> {
        keys_to_ask(spec, evidence).iter().map(|key| key.arn).collect()
    }

    #[test]
    fn a_key_is_asked_about_only_while_its_rule_fails_for_a_reason_that_nobody_named() {
        let plain = json!({"id": "c", "destination": {"bucket": "to-c"}});
        let spec = spec_with(&[SOURCE_KEY], &[encrypted("a", KEY), encrypted("b", KEY), plain]);
        assert_eq!(asked(&spec, &evidence_of(&["a"], None)), [KEY, SOURCE_KEY]);
        assert_eq!(asked(&spec, &evidence_of(&["a", "b"], None)), [KEY, SOURCE_KEY], "each key once");
        assert!(asked(&spec, &evidence_of(&[], None)).is_empty(), "nothing fails");
        let named = evidence_of(&["a"], Some("DstPutObjectNotPermitted"));
        assert!(asked(&spec, &named).is_empty(), "S3 says why");
        assert!(asked(&spec, &evidence_of(&["c"], None)).is_empty(), "it replicates no encrypted objects");
    }

    #[test]
    fn keys_of_the_source_and_of_replicas_are_asked_about_in_turns_and_not_more_than_three() {
        let rules = [encrypted("a", "a"), encrypted("b", "b"), encrypted("c", "c")];
        let failing = evidence_of(&["a", "b", "c"], None);
        assert_eq!(asked(&spec_with(&["s", "t", "u"], &rules), &failing), ["a", "s", "b"]);
        assert_eq!(asked(&spec_with(&[], &rules), &failing), ["a", "b", "c"]);
        assert_eq!(asked(&spec_with(&["s", "t", "u"], &rules[..1]), &failing), ["a", "s", "t"]);
    }

    #[test]
    fn each_key_is_asked_about_by_the_identity_in_its_account_and_for_all_that_is_done_with_it() {
        let spec = spec_with(&[SOURCE_KEY, KEY], &[encrypted("a", KEY)]);
        let of_both = AskedKey { arn: KEY, account_ref: Some("there"), encrypts: true, decrypts: true };
        let of_source = AskedKey { arn: SOURCE_KEY, account_ref: None, encrypts: false, decrypts: true };
        assert_eq!(keys_to_ask(&spec, &evidence_of(&["a"], None)), [of_both, of_source]);
    }

    /// A policy that allows these principals an action.
    fn allowing(principal: Value, action: &str) -> Value {
        json!({"Statement": [{"Effect": "Allow", "Principal": principal, "Action": action, "Resource": "*"}]})
    }

    #[test]
    fn a_key_whose_policy_does_not_name_the_role_is_a_cause_and_the_message_has_the_command() {
        let of_replicas = AskedKey { arn: KEY, account_ref: None, encrypts: true, decrypts: false };
        let owner = allowing(json!({"AWS": "arn:aws:iam::444455556666:root"}), "kms:*");
        let cause = key_cause(&of_replicas, &owner, ROLE).unwrap();
        for part in [
            KEY,
            ROLE,
            "may not encrypt replicas",
            "names neither",
            "kms:GenerateDataKey",
            "aws kms get-key-policy",
            "--region eu-west-1",
        ] {
            assert!(cause.contains(part), "{part}: {cause}");
        }
        assert_eq!(key_cause(&of_replicas, &allowing(json!("*"), "kms:*"), ROLE), None);
    }

    #[test]
    fn a_role_that_was_made_again_is_another_one_for_the_policy_of_a_key() {
        let of_replicas = AskedKey { arn: KEY, account_ref: None, encrypts: true, decrypts: false };
        let policy =
            allowing(json!({"AWS": ["AROAZQ3EXAMPLE7ROLE21", "arn:aws:iam::444455556666:root"]}), "kms:*");
        let cause = key_cause(&of_replicas, &policy, ROLE).unwrap();
        assert!(cause.contains("names AROAZQ3EXAMPLE7ROLE21, the id of a deleted role or user"), "{cause}");
    }

    #[test]
    fn a_key_of_the_source_is_a_cause_where_its_policy_does_not_let_the_role_decrypt() {
        let of_source = AskedKey { arn: SOURCE_KEY, account_ref: None, encrypts: false, decrypts: true };
        let root = json!({"AWS": "arn:aws:iam::111122223333:root"});
        assert_eq!(key_cause(&of_source, &allowing(root.clone(), "kms:Decrypt"), ROLE), None);
        let cause = key_cause(&of_source, &allowing(root.clone(), "kms:Encrypt"), ROLE).unwrap();
        let expected = format!(
            "role {ROLE} may not decrypt objects of the source with key {SOURCE_KEY}, because the key's policy names neither"
        );
        assert!(cause.starts_with(&expected), "{cause}");
        assert!(
            cause.contains("allow it kms:Decrypt there") && cause.contains("--region us-east-1"),
            "{cause}"
        );

        let of_both = AskedKey { encrypts: true, ..of_source };
        let cause = key_cause(&of_both, &allowing(root, "kms:Generate*"), ROLE).unwrap();
        assert!(cause.contains("may not decrypt"), "it may encrypt: {cause}");
    }
}
