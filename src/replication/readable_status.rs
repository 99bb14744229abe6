//! The status of a `BucketReplication` of which any field may hold what cannot be read.
//!
//! In: spec and status as the API server holds them. Out: each field that can be read, and each item of a list,
//! whatever the others hold. The deletion needs to know of a lost field that there was something. The consequence is
//! decided here.

use serde_json::Value;

use crate::api::{BucketReplicationStatus, BucketStatus, ConfigurationOrigin, RoleStatus};
use crate::replication::field_reader::{FieldReader, Unreadable, text};

/// The readable fields of a status, and the ones that cannot be read.
pub fn read_status(spec: &Value, held: &Value) -> (BucketReplicationStatus, Unreadable) {
    let mut fields = FieldReader::new(held);
    let mut status = BucketReplicationStatus {
        observed_generation: fields.read("observedGeneration"),
        conditions: fields.read_items("conditions"),
        source: fields.read_or("source", |value| source(value, spec)),
        destinations: fields.read_items("destinations"),
        role: fields.read_or("role", role),
        former_roles: fields.read_items("formerRoles"),
        bucket_policies: fields.read_items("bucketPolicies"),
        canary_places: fields.read_items("canaryPlaces"),
        configuration: fields.read("configuration"),
        announced_configuration: fields.read("announcedConfiguration"),
        applied_role: fields.read("appliedRole"),
        configured_at: fields.read("configuredAt"),
        rules: fields.read("rules"),
        drift: fields.read_items("drift"),
        drift_count: fields.read("driftCount"),
        last_correction: fields.read("lastCorrection"),
        health: fields.read("health"),
        applied_hash: fields.read("appliedHash"),
        last_handled_request: fields.read("lastHandledRequest"),
    };
    if held.is_object() && fields.is_lost("appliedHash") {
        // Something was applied. No desired state has this hash.
        status.applied_hash = Some("unreadable".to_owned());
    }
    if held.is_object() && fields.is_lost("configuration") {
        // It may be someone else's, and then a deletion must leave it.
        status.configuration = Some(ConfigurationOrigin::Found);
    }
    (status, fields.unreadable)
}

/// The source, as far as it can be read. In place of an `AwsAccount` that cannot be read comes the one of the spec: the
/// operator's own identity must not take its place.
fn source(value: &Value, spec: &Value) -> Option<BucketStatus> {
    let of_spec = |field: &str| spec.get("source").and_then(|source| text(source, field));
    let account_ref = match value.get("accountRef") {
        None | Some(Value::Null) if value.is_object() => None,
        Some(Value::String(name)) => Some(name.clone()),
        _ => of_spec("accountRef"),
    };
    Some(BucketStatus {
        bucket: text(value, "bucket").or_else(|| of_spec("bucket"))?,
        region: text(value, "region"),
        account: text(value, "account"),
        account_ref,
        versioning: text(value, "versioning"),
    })
}

/// A role of which the ARN can be read. Its tags decide whether it is the resource's own.
fn role(value: &Value) -> Option<RoleStatus> {
    let managed = value.get("managed").and_then(Value::as_bool).unwrap_or(true);
    let tags = value.get("tags").and_then(Value::as_array).into_iter().flatten();
    let tags = tags.filter_map(Value::as_str).map(str::to_owned).collect();
    Some(RoleStatus { arn: text(value, "arn")?, managed, tags })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> Value {
        json!({"source": {"bucket": "orders", "accountRef": "prod"}})
    }

    fn whole() -> Value {
        let condition = json!({"type": "Ready", "status": "True", "reason": "Applied", "message": "",
            "lastTransitionTime": "2026-11-23T10:00:00Z"});
        let drift = json!({"resource": "Role", "name": "r", "path": "tags", "want": "a", "got": "b"});
        json!({
            "observedGeneration": 2, "conditions": [condition],
            "source": {"bucket": "orders", "region": "us-east-1", "account": "111122223333", "accountRef": "prod"},
            "destinations": [{"bucket": "dr", "region": "eu-west-1"}],
            "role": {"arn": "arn:aws:iam::111122223333:role/data.orders", "managed": true, "tags": ["team"]},
            "formerRoles": ["arn:aws:iam::111122223333:role/former"],
            "bucketPolicies": [{"bucket": "dr", "region": "eu-west-1", "account": "444455556666", "accountRef": "dr"}],
            "canaryPlaces": [{"bucket": "dr", "region": "eu-west-1", "account": "444455556666", "prefix": "uid/"}],
            "configuration": "Created", "announcedConfiguration": {"digest": "d", "origin": "Created"},
            "appliedRole": "arn:aws:iam::111122223333:role/data.orders", "configuredAt": "2026-11-23T10:00:00Z",
            "rules": 1, "drift": [drift], "driftCount": 1,
            "lastCorrection": {"time": "2026-11-23T10:00:00Z", "count": 1},
            "health": {}, "appliedHash": "9f2c", "lastHandledRequest": "now",
        })
    }

    #[test]
    fn a_field_that_cannot_be_read_hides_no_other() {
        let (undamaged, unreadable) = read_status(&spec(), &whole());
        assert_eq!((json!(undamaged), unreadable.len()), (whole(), 0));
        for field in whole().as_object().unwrap().keys() {
            for lost in [json!({"new": true}), json!(-0.5), json!(["new", {"new": []}]), json!(true)] {
                let mut held = whole();
                held[field] = lost.clone();
                let (status, unreadable) = read_status(&spec(), &held);
                // A type of which every field is optional takes any object.
                let taken = field == "health" && lost.is_object();
                assert_eq!(unreadable.keys().copied().eq([field.as_str()]), !taken, "{field}: {lost}");
                for other in whole().as_object().unwrap().keys().filter(|other| *other != field) {
                    assert_eq!(json!(status)[other], whole()[other], "{field}: {lost}, {other}");
                }
            }
        }
    }

    #[test]
    fn an_item_that_cannot_be_read_hides_no_other() {
        for (field, items) in whole().as_object().unwrap().iter().filter(|(_, held)| held.is_array()) {
            let mut held = whole();
            held[field].as_array_mut().unwrap().insert(0, json!(7));
            assert_eq!(&json!(read_status(&spec(), &held).0)[field], items, "{field}");
        }
    }

    #[test]
    fn a_source_that_cannot_be_read_is_that_of_the_spec_in_its_account() {
        let read = |source: Value| {
            let mut held = whole();
            held["source"] = source;
            read_status(&spec(), &held)
                .0
                .source
                .map(|source| (source.bucket, source.account, source.account_ref))
        };
        let (orders, prod, id) =
            ("orders".to_owned(), Some("prod".to_owned()), Some("111122223333".to_owned()));
        assert_eq!(read(json!(7)), Some((orders.clone(), None, prod.clone())));
        let damaged = json!({"bucket": "orders", "account": "111122223333", "accountRef": 7});
        assert_eq!(read(damaged), Some((orders.clone(), id.clone(), prod)));
        // It says that it was the operator's own identity.
        assert_eq!(read(json!({"bucket": 7, "account": "111122223333"})), Some((orders, id, None)));
    }

    #[test]
    fn what_was_lost_is_not_taken_for_what_was_never_there() {
        let mut held = whole();
        held["appliedHash"] = json!(7);
        held["configuration"] = json!("Imported");
        let (status, _) = read_status(&spec(), &held);
        assert!(status.applied_hash.is_some());
        assert_eq!(
            status.configuration,
            Some(ConfigurationOrigin::Found),
            "someone else's may not be deleted"
        );
        let mut held = whole();
        held["role"] =
            json!({"arn": "arn:aws:iam::111122223333:role/other", "managed": "yes", "tags": ["a", 7]});
        let role = read_status(&spec(), &held).0.role.unwrap();
        assert!(role.managed && role.arn.ends_with("role/other") && role.tags == ["a"]);
    }
}
