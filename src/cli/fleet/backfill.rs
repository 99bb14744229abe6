//! A backfill as people read it.

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
}

impl BackfillView {
    /// Reads a backfill.
    pub fn of(object: &DynamicObject) -> BackfillView {
        let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let number = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_u64);
        let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        let of_ready = |field: &str| {
            ready.and_then(|ready| ready.get(field)).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        BackfillView {
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
        }
    }

    /// Whether it has ended, well or not: its `Ready` is decided, and no change of the world decides it otherwise.
    pub fn has_ended(&self) -> bool {
        const WAITS: [&str; 3] = ["ReplicationNotReady", "AccessDenied", "NotAllowed"];
        matches!(self.ready.as_str(), "True" | "False") && !WAITS.contains(&self.reason.as_str())
    }

    /// The part of its objects that is done, from 0 to 1; `None` until S3 has counted them.
    pub fn done(&self) -> Option<f64> {
        let total = self.total.filter(|total| *total > 0)?;
        let done = self.succeeded.unwrap_or_default() + self.failed.unwrap_or_default();
        Some((done as f64 / total as f64).clamp(0.0, 1.0))
    }
}
