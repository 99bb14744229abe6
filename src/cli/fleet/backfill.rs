//! A backfill as people read it.
//!
//! In: a `ReplicationBackfill` as the API server holds it. Out: [`BackfillView`]: how far it is, why it waits or how it
//! ended, and the commands that help it on.

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::Reason;
use crate::cli::fleet::advice::{BackfillSubject, advise_on_backfill};
use crate::cli::fleet::runbook::{Pointers, runbook};
use crate::cli::fleet::verdict::reason;
use crate::cli::shell::about_cluster;

/// A `ReplicationBackfill`: how far it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackfillView {
    pub namespace: String,
    pub name: String,
    /// The name of the resource that it refers to.
    pub replication: String,
    /// The status, the reason and the message of its condition `Ready`.
    pub ready: String,
    pub reason: String,
    pub message: String,
    /// The state of the job in S3 Batch Operations, as S3 names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Objects of the job; absent until S3 has counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// When it ended, with or without a job; RFC 3339. Absent: it has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Where the runbook of its reason is, where it is not well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// Commands that help it on, where someone has to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

impl BackfillView {
    /// Reads a backfill.
    pub fn of(object: &DynamicObject, pointers: Pointers<'_>) -> BackfillView {
        let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let number = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_u64);
        let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        let of_ready = |field: &str| {
            ready.and_then(|ready| ready.get(field)).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut view = BackfillView {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            replication: text("/spec/replicationRef/name").unwrap_or_default(),
            ready: if ready.is_some() { of_ready("status") } else { "Unknown".to_owned() },
            reason: of_ready("reason"),
            message: of_ready("message"),
            state: text("/status/state"),
            total: number("/status/progress/total"),
            succeeded: number("/status/progress/succeeded"),
            failed: number("/status/progress/failed"),
            finished_at: text("/status/finishedAt"),
            runbook: None,
            next: Vec::new(),
        };
        let account = text("/status/source/accountRef");
        let subject = BackfillSubject {
            typed: pointers.typed,
            namespace: &view.namespace,
            name: &view.name,
            replication: &view.replication,
            account: account.as_deref(),
            message: &view.message,
            is_refused: view.ready == "False",
        };
        let next = advise_on_backfill(reason(&view.reason), &subject);
        view.next = next.iter().map(|command| about_cluster(command, pointers.cluster)).collect();
        let link = || runbook(&view.reason, &view.message, pointers.runbooks);
        view.runbook = (view.ready == "False").then(link).flatten();
        view
    }

    /// Whether it has ended, well or not. The operator too knows the end by this field, and not by `Ready`: that is
    /// false also while a backfill cannot begin.
    pub fn has_ended(&self) -> bool {
        self.finished_at.is_some()
    }

    /// Whether it may wait until a person does something.
    pub fn needs_someone(&self) -> bool {
        let awaits_approval = self.reason == Reason::AwaitingApproval.as_str();
        !self.has_ended() && (awaits_approval || self.ready == "False")
    }

    /// The part of its objects that is done, from 0 to 1; `None` until S3 has counted them.
    pub fn done(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        Some((self.processed() as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// The objects that are done, well or not.
    pub fn processed(&self) -> u64 {
        self.succeeded.unwrap_or_default().saturating_add(self.failed.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fleet::samples::POINTERS;

    fn backfill(status: Value) -> BackfillView {
        let object = json!({
            "apiVersion": "s3replication.dev/v1alpha1", "kind": "ReplicationBackfill",
            "metadata": {"namespace": "data", "name": "missed"},
            "spec": {"replicationRef": {"name": "orders"}},
            "status": status,
        });
        BackfillView::of(&serde_json::from_value(object).unwrap(), POINTERS)
    }

    fn with_reason(status: &str, reason: &str) -> Value {
        json!({"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": "m"}]})
    }

    #[test]
    fn only_the_time_of_its_end_ends_a_backfill() {
        for reason in ["Throttled", "CredentialsUnavailable", "AccountNotFound", "NotAllowed", "BrandNew"] {
            let view = backfill(with_reason("False", reason));
            assert!(!view.has_ended() && view.needs_someone(), "{reason}");
        }
        let mut ended = with_reason("False", "JobFailed");
        ended["finishedAt"] = json!("2026-03-01T10:00:00Z");
        let view = backfill(ended);
        assert!(view.has_ended() && !view.needs_someone());
    }

    #[test]
    fn a_backfill_that_failed_names_its_runbook() {
        let runbook = |status: &str, reason: &str| backfill(with_reason(status, reason)).runbook;
        assert_eq!(runbook("False", "JobFailed").as_deref(), Some("docs/reasons.md#jobfailed"));
        assert_eq!(runbook("True", "Completed"), None);
    }

    #[test]
    fn a_backfill_that_waits_for_a_person_names_the_command() {
        let next = |status: &str, reason: &str| backfill(with_reason(status, reason)).next;
        assert_eq!(
            next("Unknown", "AwaitingApproval"),
            [
                r#"kubectl patch replicationbackfill missed -n data --type merge -p '{"spec":{"approved":true}}'"#
            ]
        );
        for reason in ["CompletedWithFailures", "JobFailed", "JobVanished", "Cancelled"] {
            assert_eq!(
                next("False", reason),
                ["kubectl s3replication backfill orders -n data --wait"],
                "{reason}"
            );
        }
        assert_eq!(next("False", "ReplicationNotReady"), ["kubectl s3replication status orders -n data"]);
        assert_eq!(next("False", "NotAllowed"), ["kubectl edit awsaccount default"]);
        let mut refused = with_reason("False", "NotAllowed");
        refused["conditions"][0]["message"] = json!("AwsAccount prod does not allow backfills");
        assert_eq!(backfill(refused).next, ["kubectl edit awsaccount prod"], "the message names it");
        assert_eq!(next("False", "InvalidSpec"), ["kubectl describe replicationbackfill missed -n data"]);
        for (status, reason) in [("Unknown", "Running"), ("True", "Completed"), ("Unknown", "")] {
            assert!(next(status, reason).is_empty(), "{reason}");
        }
    }
}
