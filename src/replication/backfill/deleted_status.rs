//! The status of a backfill that is being deleted, of which any field may hold what cannot be read.
//!
//! In: the status as the API server holds it, the backfill's id, and when it was deleted. Out: each field that can be read,
//! whatever the others hold; and of the others what follows from the backfill itself. Without them the deletion would leave
//! a job that goes on, and its role.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::api::{BackfillSource, DEFAULT_ROLE_PATH, ReplicationBackfillStatus, RoleStatus};
use crate::iam::Partition;
use crate::replication::backfill::request::{description, token};
use crate::replication::field_reader::{FieldReader, Unreadable, text};
use crate::replication::resource_id::ResourceId;

/// The readable fields of a status, and the ones that cannot be read.
#[derive(Clone, Debug, PartialEq)]
pub struct DeletedStatus {
    pub status: ReplicationBackfillStatus,
    pub unreadable: Unreadable,
}

impl DeletedStatus {
    pub fn read(held: &Value, id: &ResourceId, deleted_at: Option<&Time>) -> DeletedStatus {
        let mut fields = FieldReader::new(held);
        let status = ReplicationBackfillStatus {
            observed_generation: fields.read("observedGeneration"),
            conditions: fields.read("conditions"),
            source: fields.read_or("source", source),
            role: fields.read_or("role", role),
            created_before: fields.read("createdBefore"),
            token: fields.read("token"),
            description: fields.read("description"),
            requested_at: fields.read("requestedAt"),
            job_id: fields.read("jobId"),
            state: fields.read("state"),
            started_at: fields.read("startedAt"),
            finished_at: fields.read("finishedAt"),
            last_handled_request: fields.read("lastHandledRequest"),
            progress: fields.read("progress"),
        };
        let mut found = DeletedStatus { status, unreadable: fields.unreadable };
        found.derive(id, deleted_at);
        found
    }

    /// Fills in what follows from the backfill. A job was asked for, and started, before the deletion.
    fn derive(&mut self, id: &ResourceId, deleted_at: Option<&Time>) {
        let DeletedStatus { status, unreadable } = self;
        let is_lost = |field: &str| unreadable.contains_key(field);
        if is_lost("token") {
            status.token = Some(token(id));
        }
        if is_lost("description") {
            status.description = Some(description(id));
        }
        if is_lost("requestedAt") {
            status.requested_at = deleted_at.cloned();
        }
        if is_lost("startedAt") {
            status.started_at = deleted_at.cloned();
        }
    }

    /// Whether there may be a job or its role, and nothing here says where: the source is written before both.
    pub fn lacks_source(&self) -> bool {
        let DeletedStatus { status, unreadable } = self;
        let is_lost = |field: &str| unreadable.contains_key(field);
        let names_job = status.token.is_some() || status.job_id.is_some() || is_lost("source");
        let names_role = status.role.as_ref().is_some_and(|role| role.managed) || is_lost("role");
        status.source.is_none() && (names_role || (names_job && status.finished_at.is_none()))
    }

    /// The role of a job whose role cannot be read, by the name that the operator gives it. The operator deletes it only if
    /// its tags name the backfill, so that a role of someone else stays.
    pub fn with_role(mut self, id: &ResourceId) -> DeletedStatus {
        if self.status.role.is_none()
            && self.unreadable.contains_key("role")
            && let Some(source) = &self.status.source
        {
            let partition = Partition::of_region(&source.region);
            let arn = partition.role_arn(&source.account, DEFAULT_ROLE_PATH, &id.backfill_role_name());
            self.status.role = Some(RoleStatus { arn, managed: true, tags: Vec::new() });
        }
        self
    }
}

/// A status as it is written. A field that cannot be read stays as it is until it gets another value: a refusal on the way
/// must not lose it.
pub fn with_unreadable(status: &ReplicationBackfillStatus, unreadable: &Unreadable) -> Value {
    let mut document = json!(status);
    if let Some(fields) = document.as_object_mut() {
        for (field, value) in unreadable.iter().filter(|(_, value)| !value.is_null()) {
            fields.entry(*field).or_insert_with(|| value.clone());
        }
    }
    document
}

/// Where a job is, as far as a call needs it. Another identity must not take the place of one that cannot be read.
fn source(value: &Value) -> Option<BackfillSource> {
    let account_ref = match value.get("accountRef") {
        None | Some(Value::Null) => None,
        Some(name) => Some(name.as_str()?.to_owned()),
    };
    Some(BackfillSource {
        bucket: text(value, "bucket").unwrap_or_default(),
        region: text(value, "region")?,
        account: text(value, "account")?,
        account_ref,
    })
}

/// A role of which the ARN can be read.
fn role(value: &Value) -> Option<RoleStatus> {
    let managed = value.get("managed").and_then(Value::as_bool).unwrap_or(true);
    Some(RoleStatus { arn: text(value, "arn")?, managed, tags: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> ResourceId {
        ResourceId {
            cluster: None,
            former_clusters: Vec::new(),
            namespace: "data".to_owned(),
            name: "missed".to_owned(),
            uid: Some("uid".to_owned()),
        }
    }

    fn read(held: &Value) -> DeletedStatus {
        let deleted_at = Time("2026-11-23T10:11:12Z".parse().unwrap());
        DeletedStatus::read(held, &id(), Some(&deleted_at)).with_role(&id())
    }

    fn whole() -> Value {
        json!({
            "source": {"bucket": "orders", "region": "us-east-1", "account": "111122223333"},
            "role": {"arn": "arn:aws:iam::111122223333:role/jobs/backfill+data.missed", "managed": true},
            "token": token(&id()), "description": description(&id()), "jobId": "job-1",
            "requestedAt": "2026-11-23T10:00:00Z", "startedAt": "2026-11-23T10:00:00Z", "state": "Active",
        })
    }

    #[test]
    fn a_field_that_cannot_be_read_hides_no_other() {
        let undamaged = read(&whole());
        assert!(undamaged.unreadable.is_empty());
        for (field, value) in whole().as_object().unwrap() {
            let mut held = whole();
            held[field] = json!(7);
            let DeletedStatus { status, unreadable } = read(&held);
            assert_eq!(unreadable.values().collect::<Vec<_>>(), [&json!(7)], "{field}");
            for other in whole().as_object().unwrap().keys().filter(|other| *other != field) {
                assert_eq!(json!(status).get(other), json!(undamaged.status).get(other), "{field}, {other}");
            }
            // The fields that follow from the backfill are there again.
            if ["token", "description"].contains(&field.as_str()) {
                assert_eq!(json!(status).get(field), Some(value), "{field}");
            }
        }
    }

    #[test]
    fn a_source_without_its_bucket_still_says_where_the_job_is_and_no_other_identity_acts() {
        let source = |source: Value| {
            let mut held = whole();
            held["source"] = source;
            read(&held).status.source
        };
        let found =
            source(json!({"bucket": 7, "region": "r", "account": "a", "accountRef": "prod"})).unwrap();
        assert_eq!((found.region.as_str(), found.account.as_str()), ("r", "a"));
        assert_eq!(found.account_ref.as_deref(), Some("prod"));
        assert_eq!(source(json!({"bucket": 7, "region": "r", "account": "a", "accountRef": 7})), None);
        assert_eq!(source(json!({"bucket": "b", "account": "a"})), None);
    }

    #[test]
    fn a_role_that_cannot_be_read_is_looked_for_by_its_name() {
        let mut held = whole();
        held["role"] = json!({"managed": true});
        let role = read(&held).status.role.unwrap();
        assert!(role.managed && role.arn.ends_with("/backfill+data.missed"), "{}", role.arn);
        held["role"] = json!({"arn": "arn:aws:iam::111122223333:role/jobs/other", "managed": "yes"});
        assert!(read(&held).status.role.unwrap().arn.ends_with("role/jobs/other"));
    }

    #[test]
    fn a_report_on_the_way_loses_nothing_that_cannot_be_read() {
        let mut held = whole();
        held["source"] = json!(7);
        held["progress"] = json!("much");
        let found = read(&held);
        assert!(found.lacks_source());
        let written = with_unreadable(&found.status, &found.unreadable);
        assert_eq!((&written["source"], &written["progress"]), (&json!(7), &json!("much")));
        assert!(read(&written).lacks_source(), "the next check knows it too");
        let readable = ReplicationBackfillStatus { source: Some(Default::default()), ..found.status };
        assert_eq!(with_unreadable(&readable, &found.unreadable)["source"]["region"], "");
    }

    #[test]
    fn a_status_that_is_no_object_lost_everything_and_none_at_all_lost_nothing() {
        let lost = read(&json!("Active"));
        assert_eq!(lost.unreadable.len(), 14);
        assert!(lost.lacks_source() && lost.status.requested_at.is_some());
        let none = read(&Value::Null);
        assert_eq!((&none.status, none.unreadable.len()), (&ReplicationBackfillStatus::default(), 0));
        assert!(!none.lacks_source());
    }
}
