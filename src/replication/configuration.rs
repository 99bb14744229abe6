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

use serde::Serialize;

use crate::api::Switch;
use crate::iam::digest::sha256_prefix;

/// The length of a configuration's digest, in hexadecimal: long enough that nobody finds another configuration with it.
const DIGEST: usize = 32;

/// What a source bucket holds: the role and the rules by ID (their order means nothing to S3).
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

/// The priority that the operator sends for a single rule to which the spec gives none: S3 requires one of each rule with a
/// filter (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-add-config.html>).
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

/// The first character of a text that a request to S3 cannot hold. S3's API is in XML 1.0, which has no form for most control
/// characters (<https://www.w3.org/TR/xml/#charsets>).
pub fn unwritable_character(text: &str) -> Option<char> {
    let has_no_form = |c: &char| matches!(c, '\u{0}'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    text.chars().find(has_no_form)
}
