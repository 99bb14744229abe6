//! Finds elements of a configuration that S3 holds and the operator does not know.
//!
//! In: the body of `GetBucketReplication`. Out: the paths of its unknown elements and values, which the next write of
//! the configuration would remove. AWS adds fields to S3; the SDK ignores those that it does not know.

use std::collections::BTreeSet;

use roxmltree::{Document, Node};

/// Every element of a rule that the operator reads, by its path
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ReplicationRule.html>).
const RULE: &[&str] = &[
    "DeleteMarkerReplication",
    "DeleteMarkerReplication/Status",
    "Destination",
    "Destination/AccessControlTranslation",
    "Destination/AccessControlTranslation/Owner",
    "Destination/Account",
    "Destination/Bucket",
    "Destination/EncryptionConfiguration",
    "Destination/EncryptionConfiguration/ReplicaKmsKeyID",
    "Destination/Metrics",
    "Destination/Metrics/EventThreshold",
    "Destination/Metrics/EventThreshold/Minutes",
    "Destination/Metrics/Status",
    "Destination/ReplicationTime",
    "Destination/ReplicationTime/Status",
    "Destination/ReplicationTime/Time",
    "Destination/ReplicationTime/Time/Minutes",
    "Destination/StorageClass",
    // No longer accepted by S3; `import` refuses it by name.
    "ExistingObjectReplication",
    "ExistingObjectReplication/Status",
    "Filter",
    "Filter/And",
    "Filter/And/Prefix",
    "Filter/And/Tag",
    "Filter/Prefix",
    "Filter/Tag",
    "ID",
    "Prefix",
    "Priority",
    "SourceSelectionCriteria",
    "SourceSelectionCriteria/ReplicaModifications",
    "SourceSelectionCriteria/ReplicaModifications/Status",
    "SourceSelectionCriteria/SseKmsEncryptedObjects",
    "SourceSelectionCriteria/SseKmsEncryptedObjects/Status",
    "Status",
];

/// The children of a tag.
const TAG: [&str; 2] = ["Key", "Value"];

/// The values of every `Status`.
const STATUS: [&str; 2] = ["Enabled", "Disabled"];

/// The value of every `Minutes`: S3 takes no other, so that no spec has a field for it.
const MINUTES: [&str; 1] = ["15"];

/// The elements and values that the operator does not model, such as `Rule[all]/Destination/Tier`. A body that is not
/// XML has none: the SDK reports it.
pub fn unknown_elements(body: &str) -> BTreeSet<String> {
    let mut unknown = BTreeSet::new();
    let Ok(document) = Document::parse(body) else { return unknown };
    for element in elements(document.root_element()) {
        match element.tag_name().name() {
            "Role" => {}
            "Rule" => unknown_in(element, &rule_name(element), "", &mut unknown),
            other => drop(unknown.insert(other.to_owned())),
        }
    }
    unknown
}

/// Collects the unknown descendants of an element at a path below its rule.
fn unknown_in(parent: Node<'_, '_>, rule: &str, path: &str, unknown: &mut BTreeSet<String>) {
    for element in elements(parent) {
        let name = element.tag_name().name();
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let in_tag = parent.tag_name().name() == "Tag" && TAG.contains(&name);
        if !in_tag && !RULE.contains(&path.as_str()) {
            unknown.insert(format!("{rule}/{path}"));
            continue;
        }
        let value = element.text().unwrap_or_default().trim();
        let known: &[&str] = match name {
            "Status" => &STATUS,
            "Minutes" => &MINUTES,
            _ => &[],
        };
        if !known.is_empty() && !known.contains(&value) {
            unknown.insert(format!("{rule}/{path}={value}"));
        }
        unknown_in(element, rule, &path, unknown);
    }
}

fn elements<'a, 'input>(parent: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    parent.children().filter(Node::is_element)
}

fn rule_name(rule: Node<'_, '_>) -> String {
    let id = elements(rule).find(|element| element.tag_name().name() == "ID").and_then(|id| id.text());
    format!("Rule[{}]", id.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &str) -> Vec<String> {
        let namespace = "http://s3.amazonaws.com/doc/2006-03-01/";
        let body = format!(
            "<?xml version=\"1.0\"?><ReplicationConfiguration xmlns=\"{namespace}\"><Role>r</Role><Rule><ID>all</ID>{rule}</Rule></ReplicationConfiguration>"
        );
        unknown_elements(&body).into_iter().collect()
    }

    #[test]
    fn everything_that_the_operator_writes_is_known() {
        let tag = "<Tag><Key>Status</Key><Value>on</Value></Tag>";
        let known = format!(
            "<Status>Enabled</Status><Priority>1</Priority><Prefix/><Filter><And><Prefix>a</Prefix>{tag}{tag}</And></Filter><Filter>{tag}</Filter><Destination><Bucket>b</Bucket><Account>1</Account><StorageClass>STANDARD</StorageClass><AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation><EncryptionConfiguration><ReplicaKmsKeyID>k</ReplicaKmsKeyID></EncryptionConfiguration><ReplicationTime><Status>Enabled</Status><Time><Minutes>15</Minutes></Time></ReplicationTime><Metrics><Status>Enabled</Status><EventThreshold><Minutes>15</Minutes></EventThreshold></Metrics></Destination><DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><SourceSelectionCriteria><SseKmsEncryptedObjects><Status>Enabled</Status></SseKmsEncryptedObjects><ReplicaModifications><Status>Enabled</Status></ReplicaModifications></SourceSelectionCriteria>"
        );
        assert_eq!(found(&known), Vec::<String>::new());
    }

    #[test]
    fn unknown_elements_and_values_are_named_with_their_rule() {
        let minutes = "<Destination><Metrics><Status>Enabled</Status><EventThreshold><Minutes>30</Minutes></EventThreshold></Metrics></Destination>";
        assert_eq!(found(minutes), ["Rule[all]/Destination/Metrics/EventThreshold/Minutes=30"]);
        let rule = "<Status>Paused</Status><Schedule><Hour>3</Hour></Schedule><Destination><Bucket>b</Bucket><Tier>Fast</Tier></Destination>";
        assert_eq!(
            found(rule),
            ["Rule[all]/Destination/Tier", "Rule[all]/Schedule", "Rule[all]/Status=Paused"]
        );
    }

    #[test]
    fn a_body_that_is_not_xml_has_no_elements() {
        assert!(unknown_elements("").is_empty());
        assert!(unknown_elements("{}").is_empty());
    }
}
