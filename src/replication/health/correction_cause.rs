//! A correction by the operator as the cause of failures.
//!
//! In: a rule whose operations failed, and the last correction. Out: the fields that the operator corrected and that
//! may have made them fail: a check finds no fault there any more. A failure later than AWS needs to follow a
//! correction has another cause.

use jiff::{SignedDuration, Timestamp};
use wildmatch::WildMatch;

use crate::api::{AwsResource, Correction, DriftEntry, ReplicationRule};
use crate::replication::health::metrics::SHORTEST;
use crate::replication::step::{ABSENT, is_in_trust_policy};

/// How long after a correction operations may still fail because of what was corrected. AWS passes a change on within
/// minutes, and a metric may count an operation in a later minute than the one in which it failed.
const LATE: SignedDuration = SHORTEST;

/// The longest interval between two checks. A difference that a check corrects was not there at the check before it.
const UNCHECKED: SignedDuration = SignedDuration::from_hours(24);

/// The fields of a rule in a configuration that may keep its objects from arriving. The others decide what a replica is
/// like, or what else is replicated.
const STOPPING: [&str; 8] = [
    "status",
    "filter.prefix",
    "filter.tags",
    "kmsEncryptedObjects",
    "destination.bucket",
    "destination.account",
    "destination.ownership",
    "destination.kmsKeyArn",
];

/// A rule whose operations failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedRule<'a> {
    /// The name of the source bucket.
    pub source: &'a str,
    pub rule: &'a ReplicationRule,
    /// When the last of them failed.
    pub last: Timestamp,
}

/// The corrected fields that may have made operations fail, each with its bucket or role.
pub(crate) fn correction_cause(failed: &FailedRule<'_>, correction: &Correction) -> Vec<String> {
    let Correction { time, count: _, items } = correction;
    let after = failed.last.duration_since(time.0);
    if after > LATE || after < -UNCHECKED {
        return Vec::new();
    }
    let stopping = items.iter().filter(|item| may_stop(item, failed));
    let field =
        |DriftEntry { resource, name, path, .. }: &DriftEntry| format!("{} {name} {path}", resource.as_str());
    stopping.map(field).collect()
}

/// Whether a difference may keep objects of a rule from arriving.
fn may_stop(item: &DriftEntry, failed: &FailedRule<'_>) -> bool {
    let DriftEntry { resource, name, path, want, got } = item;
    let FailedRule { source, rule, last: _ } = failed;
    let is_destination = *name == rule.destination.bucket;
    match resource {
        AwsResource::BucketVersioning => is_destination || name == source,
        AwsResource::DestinationBucketPolicy => is_destination && takes_away(want, got),
        AwsResource::Role => match path.as_str() {
            "arn" => true,
            path if is_in_trust_policy(path) => takes_away(want, got),
            "permissionsBoundary" => got != ABSENT,
            _ => false,
        },
        AwsResource::RolePolicy => takes_away(want, got) && is_about(path, failed),
        AwsResource::ReplicationConfiguration => {
            let of_rule = path.strip_prefix(&format!("rules[{}]", rule.id));
            let is_stopping = |field: &str| {
                field.is_empty() || field.strip_prefix('.').is_some_and(|field| STOPPING.contains(&field))
            };
            path == "role" || of_rule.is_some_and(is_stopping)
        }
    }
}

/// Whether AWS granted less than the spec asks for, judged by one grant. A grant that the spec does not have takes
/// nothing away, unless it is a denial.
fn takes_away(want: &str, got: &str) -> bool {
    let mut effects = got.split("; ");
    let denies = effects.clone().any(|effect| effect.starts_with("Deny"));
    denies || (want != ABSENT && !effects.any(|effect| effect == "Allow"))
}

/// Whether a grant of the role, by its path, is about the source, the destination or the keys of a rule.
fn is_about(path: &str, failed: &FailedRule<'_>) -> bool {
    let FailedRule { source, rule, last: _ } = failed;
    let to = &rule.destination;
    // A denial may be of everything.
    let Some((action, resource)) = path.split_once(" on ") else { return true };
    let matches = |name: &str, pattern: &str| WildMatch::new(pattern).matches(name);
    if let Some((_, path)) = resource.split_once(":s3:::") {
        let bucket = path.split('/').next().unwrap_or_default();
        return matches(source, bucket) || matches(&to.bucket, bucket);
    }
    if resource.contains(":kms:") {
        let of_source = action.eq_ignore_ascii_case("kms:Decrypt");
        let of_replicas = to.kms_key_arn.as_ref().is_some_and(|key| matches(key, resource));
        return rule.kms_encrypted_objects.unwrap_or_default().is_enabled() && (of_source || of_replicas);
    }
    true
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/replicas";

    fn minute(after: i64) -> Timestamp {
        Timestamp::from_second(1_795_608_000 + after * 60).unwrap()
    }

    fn encrypted_rule() -> ReplicationRule {
        serde_json::from_value(json!({"id": "all", "kmsEncryptedObjects": "Enabled",
            "destination": {"bucket": "copies", "kmsKeyArn": KEY}}))
        .unwrap()
    }

    fn item(resource: AwsResource, name: &str, path: &str, (want, got): (&str, &str)) -> DriftEntry {
        let text = str::to_owned;
        DriftEntry { resource, name: text(name), path: text(path), want: text(want), got: text(got) }
    }

    fn suspended() -> DriftEntry {
        item(AwsResource::BucketVersioning, "copies", "status", ("Enabled", "Suspended"))
    }

    /// The cause that a correction at noon gives for failures whose last one was so many minutes later.
    fn cause(after: i64, items: &[DriftEntry]) -> Vec<String> {
        let count = i32::try_from(items.len()).unwrap();
        let correction = Correction { time: Time(minute(0)), count, items: items.to_vec() };
        let rule = encrypted_rule();
        correction_cause(&FailedRule { source: "orders", rule: &rule, last: minute(after) }, &correction)
    }

    fn is_cause(item: DriftEntry) -> bool {
        !cause(-1, &[item]).is_empty()
    }

    #[test]
    fn a_corrected_field_is_named_with_its_bucket_or_role() {
        assert_eq!(cause(-1, &[suspended()]), ["BucketVersioning copies status"]);
    }

    #[test]
    fn a_correction_explains_what_failed_before_it_or_just_after_it() {
        let explains = |after: i64| !cause(after, &[suspended()]).is_empty();
        assert!(explains(-24 * 60) && explains(0) && explains(5));
        assert!(!explains(6), "what still fails has another cause");
        assert!(!explains(-24 * 60 - 1), "a check since then would have found it");
    }

    #[test]
    fn only_versioning_of_the_source_and_of_the_destination_of_the_rule_is_a_cause() {
        let versioning = |name| item(AwsResource::BucketVersioning, name, "status", ("Enabled", "Suspended"));
        assert!(is_cause(versioning("orders")) && is_cause(versioning("copies")));
        assert!(!is_cause(versioning("others")));
    }

    #[test]
    fn a_role_that_was_gone_bounded_or_closed_to_s3_is_a_cause_and_one_with_other_tags_is_not() {
        let role =
            |path: &str, values: (&str, &str)| is_cause(item(AwsResource::Role, "orders-role", path, values));
        assert!(role("arn", ("arn:aws:iam::111122223333:role/orders-role", ABSENT)));
        assert!(role("permissionsBoundary", (ABSENT, "arn:aws:iam::111122223333:policy/b")));
        assert!(!role("permissionsBoundary", ("arn:aws:iam::111122223333:policy/b", ABSENT)));
        assert!(!role("tags.team", ("data", ABSENT)));

        let trust = |principal: &str, values: (&str, &str)| {
            role(&format!("trustPolicy sts:AssumeRole by Service:{principal}"), values)
        };
        assert!(trust("s3.amazonaws.com", ("Allow", ABSENT)));
        assert!(trust("s3.amazonaws.com", ("Allow", "Allow if {\"stringequals\":{}}")));
        assert!(trust("s3.amazonaws.com", ("Allow", "Allow; Deny")));
        assert!(!trust("ec2.amazonaws.com", (ABSENT, "Allow")));
        assert!(role("trustPolicy unreadable policy", (ABSENT, "Deny")));
    }

    #[test]
    fn a_grant_of_the_role_is_a_cause_if_it_was_taken_away_and_is_about_the_rule() {
        let grant = |path: &str, values: (&str, &str)| {
            is_cause(item(AwsResource::RolePolicy, "orders-role", path, values))
        };
        let lost = ("Allow", ABSENT);
        assert!(grant("s3:ReplicateObject on arn:aws:s3:::copies/*", lost));
        assert!(grant("s3:GetReplicationConfiguration on arn:aws:s3:::orders", lost));
        assert!(!grant("s3:ReplicateObject on arn:aws:s3:::copies-of-others/*", lost));
        assert!(grant("kms:Decrypt on arn:aws:kms:us-east-1:111122223333:key/*", lost));
        assert!(grant(&format!("kms:Encrypt on {KEY}"), lost));
        assert!(!grant("kms:Encrypt on arn:aws:kms:eu-west-1:111122223333:key/others", lost));

        let on_copies = "s3:ReplicateObject on arn:aws:s3:::copies/*";
        assert!(grant(on_copies, ("Allow", "Allow if {\"bool\":{}}")));
        assert!(grant(on_copies, ("Allow", "Allow; Deny")));
        assert!(!grant(on_copies, ("Allow if {\"bool\":{}}", "Allow")), "it was granted all the more");
        assert!(!grant("s3:* on *", (ABSENT, "Allow")));
        assert!(grant("s3:* on *", (ABSENT, "Deny")));
        assert!(grant("s3:* on arn:aws:s3:::cop*", (ABSENT, "Deny")));
        assert!(!grant("s3:* on arn:aws:s3:::others*", (ABSENT, "Deny")));
        assert!(grant("unreadable policy", (ABSENT, "Deny")));
    }

    #[test]
    fn the_policy_of_the_destination_of_the_rule_is_a_cause_if_it_granted_less() {
        let grant = |name: &str, values: (&str, &str)| {
            let path = "s3:ReplicateObject on arn:aws:s3:::copies/* by AWS:arn:aws:iam::111122223333:role/r";
            is_cause(item(AwsResource::DestinationBucketPolicy, name, path, values))
        };
        assert!(grant("copies", ("Allow", ABSENT)));
        assert!(!grant("copies", (ABSENT, "Allow")));
        assert!(!grant("others", ("Allow", ABSENT)));
    }

    #[test]
    fn only_what_stops_objects_of_the_rule_in_a_configuration_is_a_cause() {
        let field = |path| is_cause(item(AwsResource::ReplicationConfiguration, "orders", path, ("a", "b")));
        for path in ["role", "rules[all]", "rules[all].status", "rules[all].destination.kmsKeyArn"] {
            assert!(field(path), "{path}");
        }
        for path in [
            "rules[other]",
            "rules[all-of-them].status",
            "rules[all].destination.storageClass",
            "rules[all].priority",
            "rules[all].destination.metrics",
        ] {
            assert!(!field(path), "{path}");
        }
    }
}
