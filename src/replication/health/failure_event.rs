//! Failure events of S3: why an operation failed.
//!
//! In: the body of a message, as S3 sends it to a queue that the user chose. Out: the failures in it; and for each
//! reason that S3 documents, its meaning and its remedy.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-metrics-events.html>

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::replication::health::canary::key::LONGEST_KEY;
use crate::replication::health::evidence::{Evidence, FailureRun, RuleEvidence};
use crate::replication::health::metrics::SHORTEST;

/// More objects of a resource than this in a window are not worth their memory.
const MOST: usize = 10_000;

/// How far the clock of S3 may be ahead of the operator's.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

const FAILED: &str = "Replication:OperationFailedReplication";

/// S3's reasons are shorter. A longer text comes from another writer to the queue.
const MAX_REASON: usize = 128;

/// One operation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureEvent {
    /// The source bucket.
    pub source: String,
    pub rule: String,
    /// The name of the destination bucket.
    pub destination: String,
    /// S3's `failureReason`, which may be one that this version does not know.
    pub reason: String,
    pub key: String,
    pub version: Option<String>,
    /// When the operation failed.
    pub at: Timestamp,
}

/// The failures in the body of a message; empty for any other message. One that S3 delivers by SNS is an envelope
/// around it.
pub fn failures(body: &str) -> Vec<FailureEvent> {
    match serde_json::from_str::<EventBody>(body) {
        Ok(EventBody { records: Some(records), .. }) => records.into_iter().filter_map(failure).collect(),
        Ok(EventBody { message: Some(inner), .. }) => match serde_json::from_str::<EventBody>(&inner) {
            Ok(EventBody { records: Some(records), .. }) => records.into_iter().filter_map(failure).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[derive(Deserialize)]
struct EventBody {
    #[serde(rename = "Records")]
    records: Option<Vec<EventRecord>>,
    #[serde(rename = "Message")]
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventRecord {
    event_name: Option<String>,
    event_time: Option<Timestamp>,
    s3: Option<S3>,
    replication_event_data: Option<Data>,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Option<EventBucket>,
    object: Option<EventObject>,
}

#[derive(Deserialize)]
struct EventBucket {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EventObject {
    key: Option<String>,
    version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    replication_rule_id: Option<String>,
    destination_bucket: Option<String>,
    failure_reason: Option<String>,
}

fn failure(record: EventRecord) -> Option<FailureEvent> {
    let EventRecord { event_name, event_time, s3, replication_event_data } = record;
    let name = event_name?;
    if name.strip_prefix("s3:").unwrap_or(&name) != FAILED {
        return None;
    }
    let S3 { bucket, object } = s3?;
    let Data { replication_rule_id, destination_bucket, failure_reason } = replication_event_data?;
    let destination = destination_bucket?;
    let object = object?;
    // S3 encodes keys as in a form: a space is a plus.
    let key = object.key.unwrap_or_default().replace('+', " ");
    let key = percent_decode_str(&key).decode_utf8_lossy().into_owned();
    // S3's own names are no longer than that. Any writer to the queue could have chosen these.
    let names = [Some(&key), object.version_id.as_ref(), replication_rule_id.as_ref()];
    if names.into_iter().flatten().any(|name| name.len() > LONGEST_KEY) {
        return None;
    }
    Some(FailureEvent {
        source: bucket?.name?,
        rule: replication_rule_id?,
        destination: destination.rsplit(':').next().unwrap_or(&destination).to_owned(),
        reason: failure_reason?.chars().filter(|c| c.is_ascii_graphic()).take(MAX_REASON).collect(),
        key,
        version: object.version_id,
        at: event_time?,
    })
}

/// Whether the operation failed by no fault of the settings: the object was deleted before S3 replicated it.
pub fn is_noise(reason: &str) -> bool {
    matches!(reason, "SrcKeyNotFound" | "SrcObjectNotFound" | "SrcVersionNotFound")
}

/// Whether an event can be true at this time: one of the future would hide all that come until then.
pub fn is_possible(event: &FailureEvent, now: Timestamp) -> bool {
    event.at.duration_since(now) <= AHEAD
}

/// Adds a failure to the evidence of the resource. Events come at least once and in any order. Where metrics are read,
/// they count the failures, and events say why.
pub fn add(evidence: &mut Evidence, event: &FailureEvent) {
    if !evidence.reads_metrics && !is_noise(&event.reason) {
        evidence.rules.entry(event.rule.clone()).or_default();
    }
    let has_room = evidence.rules.values().map(noted).sum::<usize>() < MOST;
    let Some(rule) = evidence.rules.get_mut(&event.rule) else { return };
    let second = event.at.as_second();
    let minute = Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(event.at);
    if is_noise(&event.reason) {
        if has_room {
            note(&mut rule.noise, minute, event);
        }
        return;
    }
    if rule.metrics.is_none() && has_room && note(&mut rule.reported, minute, event) {
        let run =
            rule.run.get_or_insert(FailureRun { since: minute, last: minute, failed: 0, operations: 0 });
        (run.since, run.last) = (run.since.min(minute), run.last.max(minute));
        run.failed += 1;
        rule.last_failure = rule.last_failure.max(Some(minute));
    }
    // Events come in any order. The status has the last one, and is not written for each.
    let pause =
        if rule.failure_reason.as_ref() == Some(&event.reason) { SHORTEST } else { SignedDuration::ZERO };
    if rule.failed_at.is_none_or(|at| event.at.duration_since(at) >= pause) {
        rule.failure_reason = Some(event.reason.clone());
        rule.failed_at = Some(event.at);
    }
}

/// The number of objects that are noted.
fn noted(rule: &RuleEvidence) -> usize {
    rule.noise.values().chain(rule.reported.values()).map(BTreeSet::len).sum()
}

/// Notes the object of an event, and returns whether it is new. A key may be long and anybody's choice: a hash of it is
/// enough to know it again.
fn note(objects: &mut BTreeMap<Timestamp, BTreeSet<u64>>, minute: Timestamp, event: &FailureEvent) -> bool {
    let FailureEvent { key, version, destination, .. } = event;
    let mut hasher = DefaultHasher::new();
    (key, version, destination).hash(&mut hasher);
    objects.entry(minute).or_default().insert(hasher.finish())
}

/// The meaning of a reason and its remedy; `None` for a reason that this version does not know.
pub fn remedy(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "AssumeRoleNotPermitted" => {
            "S3 cannot assume the role: let its trust policy allow s3.amazonaws.com to do so, and check that no service control policy denies it"
        }
        "DstBucketNotFound" => "the destination bucket does not exist: create it, or correct the rule",
        "SrcBucketNotFound" => "the source bucket does not exist: create it again, or delete this resource",
        "DstBucketUnversioned" => "the destination has no versioning: enable it",
        "DstBucketObjectLockConfigMissing" => {
            "the source has Object Lock and the destination has not: enable Object Lock there"
        }
        "DstBucketInvalidRegion" => "the destination is in another Region than the job says: correct the job",
        "SrcBucketInvalidRegion" => "the source is in another Region than the job says: correct the job",
        "DstPutObjectNotPermitted" => {
            "the role may not write replicas: allow s3:ReplicateObject and, for another owner, s3:ObjectOwnerOverrideToBucketOwner on the destination in the role's and the bucket's policy, and kms:Encrypt in the policy of the destination's KMS key"
        }
        "DstMultipartInitNotPermitted"
        | "DstMultipartUploadNotPermitted"
        | "DstMultipartPartUploadNotPermitted"
        | "DstMultipartCompleteNotPermitted" => {
            "the role may not write large replicas: allow s3:ReplicateObject on the destination, and check that neither policy denies it"
        }
        "DstPutTaggingNotPermitted" => {
            "the role may not write tags: allow s3:ReplicateTags on the destination, or set replicate.tags: false"
        }
        "DstPutAclNotPermitted" => {
            "the role may not write ACLs: allow s3:PutObjectAcl on the destination, or set replicate.acls: false"
        }
        "DstDelObjNotPermitted" => {
            "the role may not replicate delete markers: allow s3:ReplicateDelete on the destination"
        }
        "DstPutRetentionNotPermitted" => {
            "the role may not write retention periods: allow s3:PutObjectRetention on the destination"
        }
        "DstPutLegalHoldNotPermitted" => {
            "the role may not write legal holds: allow s3:PutObjectLegalHold on the destination"
        }
        "DstKmsKeyNotFound" => "the destination's KMS key does not exist: correct destination.kmsKeyArn",
        "DstKmsKeyInvalidState" => {
            "the destination's KMS key is disabled or pending deletion: enable it, or choose another destination.kmsKeyArn"
        }
        "SrcKmsKeyInvalidState" | "SrcKmsKeyNotFound" => {
            "the KMS key of the source objects is disabled, pending deletion or gone: enable it"
        }
        "DstVersionNotFound" => {
            "the destination lacks the version whose metadata changed: replicate it with a ReplicationBackfill"
        }
        "DstObjectHardDeleted" => {
            "the replica was deleted by its version id, and S3 does not replicate it again: copy the object onto itself with S3 Batch Operations"
        }
        "InitiateReplicationNotPermitted" => {
            "the job's role may not start replication: allow s3:InitiateReplication on the objects of the source"
        }
        "SrcBucketReplicationConfigMissing" => {
            "the source has no replication configuration: the next check puts it back, unless managementPolicy is Observe"
        }
        "SrcGetObjectNotPermitted" | "SrcHeadObjectNotPermitted" => {
            "the role may not read objects: allow s3:GetObjectVersionForReplication on the source, and kms:Decrypt on its KMS key"
        }
        "SrcGetAclNotPermitted" => {
            "the role may not read ACLs: allow s3:GetObjectVersionAcl on the source, and check that the bucket's owner owns the objects"
        }
        "SrcGetTaggingNotPermitted" => {
            "the role may not read tags: allow s3:GetObjectVersionTagging on the source"
        }
        "SrcGetRetentionNotPermitted" => {
            "the role may not read retention periods: allow s3:GetObjectRetention on the source"
        }
        "SrcGetLegalHoldNotPermitted" => {
            "the role may not read legal holds: allow s3:GetObjectLegalHold on the source"
        }
        "SrcKeyNotFound" | "SrcObjectNotFound" | "SrcVersionNotFound" => {
            "the object was deleted before S3 replicated it: no action is needed"
        }
        "SrcObjectNotEligible" => {
            "the object's storage class or tags do not match the rule: restore it from the archive, or correct the rule"
        }
        "SrcReplicationNotPending" => "S3 has replicated the object already: no action is needed",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::health::{MetricsEvidence, RuleEvidence};

    fn body(reason: &str) -> String {
        serde_json::json!({"Records": [
            {"eventVersion": "2.2", "eventSource": "aws:s3", "awsRegion": "us-east-1",
             "eventTime": "2024-09-05T21:04:32.527Z", "eventName": "Replication:OperationFailedReplication",
             "s3": {"configurationId": "x", "bucket": {"name": "src", "ownerIdentity": {"principalId": "A"}},
                    "object": {"key": "a+b%2Fc", "size": 5, "eTag": "e", "versionId": "v1", "sequencer": "0"}},
             "replicationEventData": {"replicationRuleId": "all", "destinationBucket": "arn:aws:s3:::dst",
                    "s3Operation": "OBJECT_PUT", "requestTime": "2024-09-05T21:03:59.168Z",
                    "failureReason": reason}},
            {"eventName": "ObjectCreated:Put", "eventTime": "2024-09-05T21:04:32.527Z"}]})
        .to_string()
    }

    #[test]
    fn the_body_of_a_message_holds_failures() {
        let expected = FailureEvent {
            source: "src".into(),
            rule: "all".into(),
            destination: "dst".into(),
            reason: "AssumeRoleNotPermitted".into(),
            key: "a b/c".into(),
            version: Some("v1".into()),
            at: "2024-09-05T21:04:32.527Z".parse().unwrap(),
        };
        let direct = body("AssumeRoleNotPermitted");
        assert_eq!(failures(&direct), std::slice::from_ref(&expected));
        let by_sns = serde_json::json!({"Type": "Notification", "Message": direct}).to_string();
        assert_eq!(failures(&by_sns), [expected]);
        for other in
            ["", "{}", "[]", r#"{"Event":"s3:TestEvent"}"#, r#"{"Records":[{}]}"#, r#"{"Records":7}"#]
        {
            assert_eq!(failures(other), [], "{other}");
        }
    }

    #[test]
    fn every_documented_reason_has_a_remedy_and_an_unknown_one_passes_through() {
        let documented = "AssumeRoleNotPermitted DstBucketNotFound SrcBucketNotFound DstBucketUnversioned \
            DstBucketObjectLockConfigMissing DstBucketInvalidRegion SrcBucketInvalidRegion \
            DstPutObjectNotPermitted DstMultipartInitNotPermitted DstMultipartUploadNotPermitted \
            DstMultipartCompleteNotPermitted DstPutTaggingNotPermitted DstPutAclNotPermitted \
            DstDelObjNotPermitted DstPutRetentionNotPermitted DstPutLegalHoldNotPermitted DstKmsKeyNotFound \
            DstKmsKeyInvalidState SrcKmsKeyInvalidState DstVersionNotFound DstObjectHardDeleted \
            InitiateReplicationNotPermitted SrcBucketReplicationConfigMissing SrcGetObjectNotPermitted \
            SrcHeadObjectNotPermitted SrcGetAclNotPermitted SrcGetTaggingNotPermitted \
            SrcGetRetentionNotPermitted SrcGetLegalHoldNotPermitted SrcKeyNotFound SrcObjectNotFound \
            SrcVersionNotFound SrcObjectNotEligible SrcReplicationNotPending";
        for reason in documented.split_whitespace() {
            assert!(remedy(reason).is_some_and(|text| text.contains(": ")), "{reason}");
        }
        assert_eq!(remedy("SomethingNew"), None);
        assert_eq!(failures(&body("SomethingNew"))[0].reason, "SomethingNew");
    }

    #[test]
    fn the_last_reason_is_kept_for_its_rule_and_noise_only_counted() {
        let mut evidence = Evidence::default();
        let rule = || RuleEvidence {
            metrics: Some(MetricsEvidence::new(Timestamp::UNIX_EPOCH)),
            ..RuleEvidence::default()
        };
        evidence.rules.insert("all".into(), rule());
        let report = |evidence: &mut Evidence, reason: &str| add(evidence, &failures(&body(reason))[0]);
        report(&mut evidence, "DstBucketNotFound");
        for _ in 0..3 {
            report(&mut evidence, "SrcKeyNotFound");
        }
        let held = &evidence.rules["all"];
        assert_eq!(held.failure_reason.as_deref(), Some("DstBucketNotFound"));
        let noise: usize = held.noise.values().map(|keys| keys.len()).sum();
        assert_eq!(noise, 1, "an event that comes again counts once");
    }

    #[test]
    fn a_message_that_s3_cannot_have_sent_is_no_event() {
        let real = body("SrcKeyNotFound");
        let mut value: serde_json::Value = serde_json::from_str(&real).unwrap();
        value["Records"][0]["s3"]["object"]["key"] = "k".repeat(LONGEST_KEY).into();
        assert_eq!(failures(&value.to_string()).len(), 1);
        value["Records"][0]["s3"]["object"]["key"] = "k".repeat(LONGEST_KEY + 1).into();
        assert_eq!(failures(&value.to_string()), []);
        let event = &failures(&real)[0];
        let before = |minutes| event.at - SignedDuration::from_mins(minutes);
        assert!(
            is_possible(event, before(-60))
                && is_possible(event, before(5))
                && !is_possible(event, before(6))
        );
    }

    #[test]
    fn the_objects_of_a_resource_that_are_noted_are_bounded() {
        let mut evidence = Evidence::default();
        let metrics = || Some(MetricsEvidence::new(Timestamp::UNIX_EPOCH));
        for rule in ["all", "logs"] {
            evidence
                .rules
                .insert(rule.into(), RuleEvidence { metrics: metrics(), ..RuleEvidence::default() });
        }
        let mut event = failures(&body("SrcKeyNotFound")).remove(0);
        for n in 0..MOST + 10 {
            event.key = n.to_string();
            event.rule = (if n % 2 == 0 { "all" } else { "logs" }).into();
            add(&mut evidence, &event);
        }
        assert_eq!(evidence.rules.values().map(noted).sum::<usize>(), MOST);
    }
}
