//! Requests that AWS rejects and the emulator accepts. In: a request. Out: AWS's answer. The wording comes from
//! recorded answers and public reports. For answers marked "in words of this project" only the code is documented.

use std::collections::HashSet;

use roxmltree::{Document, Node};

/// The answer to a request that AWS rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn request(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidRequest", message)
    }

    fn argument(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidArgument", message)
    }

    fn malformed() -> Self {
        let words = "The XML you provided was not well-formed or did not validate against our \
                     published schema";
        Self::new(400, "MalformedXML", words)
    }
}

/// A destination that a configuration names. The caller checks whether it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub bucket: String,
    pub account: Option<String>,
}

/// Checks the body of PutBucketReplication on `source`.
pub(super) fn replication(body: &str, source: &str) -> Result<Vec<Destination>, Refusal> {
    let document = Document::parse(body).map_err(|_| Refusal::malformed())?;
    let rules: Vec<Node> = children(document.root_element(), "Rule").collect();
    if rules.is_empty() || rules.len() > 1000 {
        return Err(Refusal::malformed());
    }
    // S3 validates the whole document before it checks a rule.
    if rules.iter().any(|rule| child(*rule, "ExistingObjectReplication").is_some()) {
        return Err(Refusal::malformed());
    }
    let mut ids = HashSet::new();
    let mut priorities = HashSet::new();
    let mut destinations = Vec::new();
    for rule in rules {
        let destination = rule_destination(rule, source)?;
        check_rule(rule)?;
        if let Some(id) = text(rule, "ID") {
            if id.len() > 255 || !id.is_ascii() {
                return Err(Refusal::argument("The maximum length of ID is 255 characters."));
            }
            if !ids.insert(id) {
                return Err(Refusal::argument("Rule Id must be unique"));
            }
        }
        if let Some(priority) = text(rule, "Priority") {
            let taken = !priorities.insert((destination.bucket.clone(), priority));
            if taken {
                return Err(Refusal::request(format!("Found duplicate priority {priority}.")));
            }
        }
        destinations.push(destination);
    }
    Ok(destinations)
}

/// The answer to a configuration with a destination that does not exist.
pub(super) fn missing_destination() -> Refusal {
    Refusal::request("Destination bucket must exist.")
}

/// The answer to a destination whose owner is not its `Account` (in words of this project).
pub(super) fn wrong_account() -> Refusal {
    Refusal::argument("Account must be the owner of the destination bucket.")
}

/// The answer to a call whose expected bucket owner is not the owner.
pub(super) fn wrong_owner() -> Refusal {
    Refusal::new(403, "AccessDenied", "Access Denied")
}

/// The answer to a request to suspend the versioning of a bucket that replicates.
pub(super) fn replicating() -> Refusal {
    let words = "A replication configuration is present on this bucket, so you cannot change the \
                 versioning state. To change the versioning state, first delete the replication \
                 configuration.";
    Refusal::new(409, "InvalidBucketState", words)
}

/// The answer to a request to suspend the versioning of a bucket with Object Lock
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html>).
pub(super) fn locking() -> Refusal {
    let words =
        "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";
    Refusal::new(409, "InvalidBucketState", words)
}

/// The answer to a change of a bucket with MFA delete without the code of the device.
pub(super) fn mfa_needed() -> Refusal {
    Refusal::new(403, "AccessDenied", "Mfa Authentication must be used for this request")
}

/// Whether the body of PutBucketVersioning suspends versioning.
pub(super) fn suspends(body: &str) -> bool {
    Document::parse(body).is_ok_and(|document| text(document.root_element(), "Status") == Some("Suspended"))
}

/// Adds MFA delete to the answer of GetBucketVersioning.
pub(super) fn with_mfa_delete(body: &str) -> String {
    let element = "<MfaDelete>Enabled</MfaDelete>";
    match body.find("</VersioningConfiguration>") {
        Some(end) => format!("{}{element}{}", &body[..end], &body[end..]),
        None => format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             {element}</VersioningConfiguration>"
        ),
    }
}

fn rule_destination(rule: Node, source: &str) -> Result<Destination, Refusal> {
    let destination = child(rule, "Destination").ok_or_else(Refusal::malformed)?;
    let arn = text(destination, "Bucket").ok_or_else(Refusal::malformed)?;
    let bucket = arn.rsplit(":::").next().unwrap_or(arn);
    if bucket == source {
        return Err(Refusal::request("Destination bucket cannot be the same as the source bucket."));
    }
    let account = text(destination, "Account");
    if child(destination, "AccessControlTranslation").is_some() && account.is_none() {
        // In words of this project.
        return Err(Refusal::request("Account must be specified if AccessControlTranslation is present."));
    }
    if child(destination, "ReplicationTime").is_some() && child(destination, "Metrics").is_none() {
        return Err(Refusal::request(
            "Replication destination must contain both ReplicationTime and Metrics or neither.",
        ));
    }
    Ok(Destination { bucket: bucket.to_owned(), account: account.map(str::to_owned) })
}

fn check_rule(rule: Node) -> Result<(), Refusal> {
    if child(rule, "SourceSelectionCriteria").is_some_and(is_empty) {
        return Err(Refusal::request("SourceSelectionCriteria cannot be empty"));
    }
    // A rule with a filter is of the second version of the schema.
    let Some(filter) = child(rule, "Filter") else {
        return Ok(());
    };
    for name in ["Priority", "DeleteMarkerReplication"] {
        if child(rule, name).is_none() {
            return Err(Refusal::request(format!(
                "{name} must be specified for this version of Cross Region Replication \
                 configuration schema. Please refer to S3 Developer Guide for more information."
            )));
        }
    }
    let tags = filter.descendants().any(|node| node.tag_name().name() == "Tag");
    let markers = child(rule, "DeleteMarkerReplication").and_then(|node| text(node, "Status"));
    if tags && markers == Some("Enabled") {
        return Err(Refusal::request(
            "Delete marker replication is not supported if any Tag filter is specified. Please \
             refer to S3 Developer Guide for more information.",
        ));
    }
    Ok(())
}

fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

fn text<'a>(node: Node<'a, '_>, name: &'static str) -> Option<&'a str> {
    child(node, name)?.text()
}

fn is_empty(node: Node) -> bool {
    !node.children().any(|child| child.is_element())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKERS: &str = "<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>";

    fn rule(id: &str, priority: u32, destination: &str, more: &str) -> String {
        format!(
            "<Rule><ID>{id}</ID><Priority>{priority}</Priority><Filter><Prefix/></Filter>\
             <Status>Enabled</Status>{MARKERS}{more}\
             <Destination><Bucket>arn:aws:s3:::{destination}</Bucket></Destination></Rule>"
        )
    }

    fn check(rules: &str) -> Result<Vec<Destination>, Refusal> {
        let body = format!(
            "<ReplicationConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Role>arn:aws:iam::1:role/r</Role>{rules}</ReplicationConfiguration>"
        );
        replication(&body, "source")
    }

    fn refused(rules: &str) -> (&'static str, String) {
        let refusal = check(rules).unwrap_err();
        (refusal.code, refusal.message)
    }

    #[test]
    fn a_good_configuration_passes_and_names_its_destinations() {
        let found = check(&[rule("a", 1, "d", ""), rule("b", 2, "e", "")].concat()).unwrap();
        let buckets: Vec<_> = found.iter().map(|d| d.bucket.as_str()).collect();
        assert_eq!(buckets, ["d", "e"]);
    }

    #[test]
    fn an_old_style_rule_needs_neither_priority_nor_delete_markers() {
        let old = "<Rule><Prefix/><Status>Enabled</Status><Destination>\
                   <Bucket>arn:aws:s3:::d</Bucket></Destination></Rule>";
        assert!(check(old).is_ok());
    }

    #[test]
    fn no_rule_and_too_many_are_malformed() {
        assert_eq!(refused("").0, "MalformedXML");
        let many: String = (0..1001).map(|n| rule(&n.to_string(), n, "d", "")).collect();
        assert_eq!(refused(&many).0, "MalformedXML");
        assert_eq!(replication("<not xml", "s").unwrap_err().code, "MalformedXML");
    }

    #[test]
    fn existing_object_replication_is_malformed() {
        let more = "<ExistingObjectReplication><Status>Enabled</Status></ExistingObjectReplication>";
        assert_eq!(refused(&rule("a", 1, "d", more)).0, "MalformedXML");
    }

    #[test]
    fn the_source_cannot_be_a_destination() {
        let message = refused(&rule("a", 1, "source", "")).1;
        assert_eq!(message, "Destination bucket cannot be the same as the source bucket.");
    }

    #[test]
    fn a_priority_is_taken_only_for_the_same_destination() {
        let same = [rule("a", 7, "d", ""), rule("b", 7, "d", "")].concat();
        let expected = ("InvalidRequest", "Found duplicate priority 7.".to_owned());
        assert_eq!(refused(&same), expected);
        let other = [rule("a", 7, "d", ""), rule("b", 7, "e", "")].concat();
        assert!(check(&other).is_ok());
    }

    #[test]
    fn ids_are_unique_and_at_most_255_long() {
        let twice = [rule("a", 1, "d", ""), rule("a", 2, "d", "")].concat();
        let expected = ("InvalidArgument", "Rule Id must be unique".to_owned());
        assert_eq!(refused(&twice), expected);
        assert!(check(&rule(&"x".repeat(255), 1, "d", "")).is_ok());
        assert_eq!(refused(&rule(&"x".repeat(256), 1, "d", "")).0, "InvalidArgument");
    }

    #[test]
    fn a_filter_needs_a_priority_and_delete_markers() {
        let without = |part: &str| rule("a", 1, "d", "").replace(part, "");
        let message = refused(&without("<Priority>1</Priority>")).1;
        assert!(message.starts_with("Priority must be specified for this version of"));
        let message = refused(&without(MARKERS)).1;
        assert!(message.starts_with("DeleteMarkerReplication must be specified"));
    }

    #[test]
    fn a_tag_filter_excludes_delete_markers() {
        let tagged = rule("a", 1, "d", "")
            .replace("<Prefix/>", "<And><Prefix/><Tag><Key>k</Key><Value>v</Value></Tag></And>");
        assert!(check(&tagged).is_ok());
        let both = tagged.replace(MARKERS, &MARKERS.replace("Disabled", "Enabled"));
        assert!(refused(&both).1.contains("not supported if any Tag filter"));
    }

    #[test]
    fn options_of_the_destination_come_in_pairs() {
        let with =
            |part: &str| rule("a", 1, "d", "").replace("<Destination>", &format!("<Destination>{part}"));
        let translation = "<AccessControlTranslation><Owner>Destination</Owner></AccessControlTranslation>";
        assert_eq!(refused(&with(translation)).0, "InvalidRequest");
        assert!(check(&with(&format!("{translation}<Account>1</Account>"))).is_ok());
        let time = "<ReplicationTime><Status>Enabled</Status></ReplicationTime>";
        assert_eq!(refused(&with(time)).0, "InvalidRequest");
        assert!(check(&with(&format!("{time}<Metrics/>"))).is_ok());
    }

    #[test]
    fn an_empty_selection_is_refused() {
        let message = refused(&rule("a", 1, "d", "<SourceSelectionCriteria/>")).1;
        assert_eq!(message, "SourceSelectionCriteria cannot be empty");
    }

    #[test]
    fn a_suspension_is_recognised_and_mfa_delete_added() {
        let body = |status: &str| {
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>")
        };
        assert!(suspends(&body("Suspended")));
        assert!(!suspends(&body("Enabled")));
        assert!(with_mfa_delete(&body("Enabled")).contains("Status><MfaDelete>Enabled</MfaDelete></V"));
        assert!(with_mfa_delete("<VersioningConfiguration />").contains("<MfaDelete>"));
    }
}
