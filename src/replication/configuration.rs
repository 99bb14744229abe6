//! A replication configuration in this program's own types, as desired and as observed alike.
//!
//! In: the rules that `desired/` derives from a spec, or those of S3's answer, which `aws/convert.rs` converts. Out:
//! values that are compared field by field. A new element of a rule begins here: `desired/`, `diff.rs`, `import.rs` and
//! `aws/convert.rs` do not compile until they handle it, and it also goes into `aws/read/unknown_elements.rs`.
//!
//! Absent and default values are one here, as AWS means them: a switch that S3 does not mention is `Disabled`, a filter
//! it does not mention is the empty prefix
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html>).

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::api::Switch;
use crate::iam::digest::sha256_prefix;

/// The length of a configuration's digest, in hexadecimal: long enough that nobody finds another configuration with it.
const DIGEST: usize = 32;

/// The configuration of a source bucket: the role and the rules by ID (their order means nothing to S3).
///
/// Its serialized form and that of its rules go into digests that statuses remember: a renamed key would make every
/// configuration look like another. [`for_programs`] serializes it for people's programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Configuration {
    /// ARN of the role S3 assumes.
    pub role: String,
    pub rules: BTreeMap<String, Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    pub status: Switch,
    /// Absent: not in the spec, or a rule of the first version (V1) of the schema, which has none.
    pub priority: Option<i32>,
    pub filter: RuleFilter,
    /// In V1 delete markers are always replicated.
    pub delete_markers: Switch,
    pub replica_modifications: Switch,
    pub kms_encrypted_objects: Switch,
    pub destination: RuleDestination,
}

/// A prefix and tags that must all match. Prefix, Tag, And, and no filter at all are distinguished only on the
/// way to S3.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct RuleFilter {
    pub prefix: String,
    pub tags: BTreeMap<String, String>,
}

/// The bucket a rule replicates into, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleDestination {
    /// The bucket's ARN.
    pub bucket: String,
    pub account: Option<String>,
    /// Absent: the source object's class, which is not the same as any class.
    pub storage_class: Option<String>,
    /// `Destination`, when replicas change hands.
    pub ownership: Option<String>,
    pub kms_key: Option<String>,
    pub replication_time_control: Switch,
    pub metrics: Switch,
}

/// The priority that the operator sends for a single rule to which the spec gives none: S3 requires one of each rule
/// with a filter (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html>).
pub const ANY_PRIORITY: i32 = 1;

impl Configuration {
    /// The configuration as S3 holds it once it was written: the operator gives a rule without a priority one.
    pub fn as_held(&self) -> Configuration {
        let mut held = self.clone();
        held.rules.values_mut().for_each(|rule| rule.priority = rule.priority.or(Some(ANY_PRIORITY)));
        held
    }

    /// A digest of the configuration on a bucket. It is the same before the write and when S3 shows what was written.
    pub fn digest(&self, bucket: &str) -> String {
        sha256_prefix(&serde_json::to_vec(&(bucket, self.as_held())).unwrap_or_default(), DIGEST)
    }
}

/// A configuration with the keys that all output for programs has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrintedConfiguration<'a> {
    role: &'a str,
    rules: BTreeMap<&'a str, PrintedRule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrintedRule<'a> {
    status: Switch,
    priority: Option<i32>,
    filter: &'a RuleFilter,
    delete_markers: Switch,
    replica_modifications: Switch,
    kms_encrypted_objects: Switch,
    destination: PrintedDestination<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PrintedDestination<'a> {
    bucket: &'a str,
    account: Option<&'a str>,
    storage_class: Option<&'a str>,
    ownership: Option<&'a str>,
    kms_key: Option<&'a str>,
    replication_time_control: Switch,
    metrics: Switch,
}

/// Serializes a configuration for programs, with keys in camelCase.
///
/// # Errors
/// Those of the serializer.
pub fn for_programs<S: Serializer>(configuration: &Configuration, serializer: S) -> Result<S::Ok, S::Error> {
    let Configuration { role, rules } = configuration;
    let rules = rules.iter().map(|(id, rule)| (id.as_str(), PrintedRule::of(rule))).collect();
    PrintedConfiguration { role, rules }.serialize(serializer)
}

impl PrintedRule<'_> {
    fn of(rule: &Rule) -> PrintedRule<'_> {
        let Rule {
            status,
            priority,
            filter,
            delete_markers,
            replica_modifications,
            kms_encrypted_objects,
            destination,
        } = rule;
        let RuleDestination {
            bucket,
            account,
            storage_class,
            ownership,
            kms_key,
            replication_time_control,
            metrics,
        } = destination;
        PrintedRule {
            status: *status,
            priority: *priority,
            filter,
            delete_markers: *delete_markers,
            replica_modifications: *replica_modifications,
            kms_encrypted_objects: *kms_encrypted_objects,
            destination: PrintedDestination {
                bucket,
                account: account.as_deref(),
                storage_class: storage_class.as_deref(),
                ownership: ownership.as_deref(),
                kms_key: kms_key.as_deref(),
                replication_time_control: *replication_time_control,
                metrics: *metrics,
            },
        }
    }
}

impl std::fmt::Display for RuleFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "prefix \"{}\"", self.prefix)?;
        for (key, value) in &self.tags {
            write!(f, ", tag {key}={value}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}, to {}", self.status.as_str(), self.filter, self.destination.bucket)
    }
}

/// The first character of a text that a request to S3 cannot hold. S3's API is in XML 1.0, which has no form for most
/// control characters (<https://www.w3.org/TR/xml/#charsets>).
pub fn unwritable_character(text: &str) -> Option<char> {
    let has_no_form = |c: &char| matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().find(has_no_form)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Configuration {
        let rule = Rule {
            status: Switch::Enabled,
            priority: Some(1),
            filter: RuleFilter::default(),
            delete_markers: Switch::Enabled,
            replica_modifications: Switch::Disabled,
            kms_encrypted_objects: Switch::Disabled,
            destination: RuleDestination {
                bucket: "arn:aws:s3:::copy".to_owned(),
                account: None,
                storage_class: Some("STANDARD_IA".to_owned()),
                ownership: None,
                kms_key: None,
                replication_time_control: Switch::Disabled,
                metrics: Switch::Enabled,
            },
        };
        let role = "arn:aws:iam::111111111111:role/r".to_owned();
        Configuration { role, rules: BTreeMap::from([("all".to_owned(), rule)]) }
    }

    #[test]
    fn the_form_that_digests_are_made_of_is_stable_and_programs_get_another() {
        let rule = |names: [&str; 6]| {
            let [markers, modifications, encrypted, class, key, time] = names;
            json!({"role": "arn:aws:iam::111111111111:role/r", "rules": {"all": {
                "status": "Enabled", "priority": 1, "filter": {"prefix": "", "tags": {}},
                markers: "Enabled", modifications: "Disabled", encrypted: "Disabled",
                "destination": {"bucket": "arn:aws:s3:::copy", "account": null, class: "STANDARD_IA",
                    "ownership": null, key: null, time: "Disabled", "metrics": "Enabled"},
            }}})
        };
        let digested = [
            "delete_markers",
            "replica_modifications",
            "kms_encrypted_objects",
            "storage_class",
            "kms_key",
            "replication_time_control",
        ];
        assert_eq!(
            serde_json::to_value(sample()).unwrap(),
            rule(digested),
            "statuses remember digests of it"
        );
        let printed = [
            "deleteMarkers",
            "replicaModifications",
            "kmsEncryptedObjects",
            "storageClass",
            "kmsKey",
            "replicationTimeControl",
        ];
        let value = for_programs(&sample(), serde_json::value::Serializer).unwrap();
        assert_eq!(value, rule(printed));
    }
}
