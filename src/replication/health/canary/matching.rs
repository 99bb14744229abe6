//! Decides which rules match an object, as S3 does.
//!
//! In: a rule. Out: the prefix and the tags that S3 compares a canary with.

use std::collections::BTreeMap;

use crate::api::{ReplicationRule, Switch};

pub fn is_enabled(rule: &ReplicationRule) -> bool {
    rule.status.unwrap_or(Switch::Enabled).is_enabled()
}

/// Whether a rule replicates objects that are encrypted with a KMS key.
pub fn is_eligible(rule: &ReplicationRule) -> bool {
    rule.kms_encrypted_objects.unwrap_or_default().is_enabled()
}

pub fn prefix_of(rule: &ReplicationRule) -> &str {
    rule.filter.as_ref().and_then(|filter| filter.prefix.as_deref()).unwrap_or_default()
}

pub fn tags_of(rule: &ReplicationRule) -> BTreeMap<String, String> {
    rule.filter.as_ref().map(|filter| filter.tags.clone()).unwrap_or_default()
}

/// Whether a rule matches objects in a folder, with any tags.
pub fn may_match(rule: &ReplicationRule, folder: &str) -> bool {
    is_enabled(rule) && folder.starts_with(prefix_of(rule))
}
