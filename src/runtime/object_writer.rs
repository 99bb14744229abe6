//! Reads and writes objects through kube: finalizer, status, events.
//!
//! In: the key of an object and what to write. Out: the API server's answer. Each write tests what it was decided on,
//! so that it fails where someone else was faster.
//!
//! `kube::runtime::finalizer` is not used, for three reasons. It adds the finalizer before it calls the reconcile; the
//! operator adds it only before its first write to AWS, and never under `managementPolicy: Observe`. It needs an object
//! that decodes; the operator also lets go of one that does not. It returns after it has added the finalizer, which
//! costs a second reconcile.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::ports::{Cluster, ClusterError, Finalizers, ObjectKey, StatusField, kube_error};
use crate::replication::status::Event;
use crate::replication::status::runbooks::Runbooks;

/// The API server of a kube client.
pub struct ObjectWriter {
    client: Client,
    reporter: Reporter,
    runbooks: Runbooks,
}

impl ObjectWriter {
    /// `reporter`: as whom events are published. `runbooks`: where warnings point to.
    pub fn new(client: Client, reporter: Reporter, runbooks: Runbooks) -> ObjectWriter {
        ObjectWriter { client, reporter, runbooks }
    }

    fn api(&self, object: &ObjectKey) -> Api<DynamicObject> {
        match &object.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &object.kind),
            None => Api::all_with(self.client.clone(), &object.kind),
        }
    }

    /// Tests the UID, the generation where one is given, and the finalizers as they were read. Where there were none,
    /// the test is that there still are none: adding to an absent list would replace one that appeared meanwhile.
    async fn set_finalizers(
        &self,
        object: &ObjectKey,
        generation: Option<i64>,
        held: &Finalizers,
        new: &[String],
    ) -> Result<(), kube::Error> {
        let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
        let mut operations = vec![test("/metadata/uid", json!(object.uid))];
        operations.extend(generation.map(|generation| test("/metadata/generation", json!(generation))));
        operations.push(test("/metadata/finalizers", json!(held.0)));
        operations.push(json!({"op": "add", "path": "/metadata/finalizers", "value": new}));
        let patch = json_patch(operations)?;
        let done = self.api(object).patch_metadata(&object.name, &PatchParams::default(), &patch).await;
        done.map(drop)
    }
}

impl Cluster for ObjectWriter {
    async fn live(&self, object: &ObjectKey) -> Result<Option<DynamicObject>, ClusterError> {
        let live = self.api(object).get_opt(&object.name).await;
        let live = live.map_err(ClusterError::new("read the resource"))?;
        Ok(live.filter(|live| live.metadata.uid.as_ref() == Some(&object.uid)))
    }

    async fn exists(&self, object: &ObjectKey) -> Result<bool, ClusterError> {
        let found = self.api(object).get_metadata_opt(&object.name).await;
        Ok(found.map_err(ClusterError::new("read the resource"))?.is_some())
    }

    async fn add_finalizer(
        &self,
        object: &ObjectKey,
        generation: Option<i64>,
        held: &Finalizers,
        finalizer: &str,
    ) -> Result<(), ClusterError> {
        // The API server adds no finalizer to an object that is being deleted.
        let added = self.set_finalizers(object, generation, held, &held.with(finalizer)).await;
        added.map_err(ClusterError::new("add the finalizer"))
    }

    async fn remove_finalizer(
        &self,
        object: &ObjectKey,
        held: &Finalizers,
        finalizer: &str,
    ) -> Result<(), ClusterError> {
        match self.set_finalizers(object, None, held, &held.without(finalizer)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map_err(ClusterError::new("remove the finalizer")),
        }
    }

    async fn set_status(
        &self,
        object: &ObjectKey,
        status: &Value,
        read: &[StatusField],
    ) -> Result<(), ClusterError> {
        let failed = ClusterError::new("write the status");
        let test = |path: &str, value: &Value| json!({"op": "test", "path": path, "value": value});
        let mut operations = vec![test("/metadata/uid", &json!(object.uid))];
        operations.extend(read.iter().map(|(field, value)| test(&format!("/status/{field}"), value)));
        operations.push(json!({"op": "add", "path": "/status", "value": status}));
        let patch = json_patch(operations).map_err(&failed)?;
        let written = self.api(object).patch_status(&object.name, &PatchParams::default(), &patch).await;
        written.map(drop).map_err(failed)
    }

    async fn set_condition(
        &self,
        object: &ObjectKey,
        index: usize,
        condition: &Condition,
        (field, value): (&str, &Value),
    ) -> Result<(), ClusterError> {
        let failed = ClusterError::new("write the condition");
        let path = format!("/status/conditions/{index}");
        let patch = json_patch(vec![
            json!({"op": "test", "path": "/metadata/uid", "value": object.uid}),
            json!({"op": "test", "path": format!("{path}/type"), "value": condition.type_}),
            json!({"op": "replace", "path": path, "value": condition}),
            json!({"op": "add", "path": format!("/status/{field}"), "value": value}),
        ])
        .map_err(&failed)?;
        match self.api(object).patch_status(&object.name, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(failed),
        }
    }

    async fn publish_event(&self, object: &ObjectKey, Event { warning, reason, note }: &Event) {
        let reference = ObjectReference {
            api_version: Some(object.kind.api_version.clone()),
            kind: Some(object.kind.kind.clone()),
            namespace: object.namespace.clone(),
            name: Some(object.name.clone()),
            uid: Some(object.uid.clone()),
            ..ObjectReference::default()
        };
        let event = KubeEvent {
            type_: if *warning { EventType::Warning } else { EventType::Normal },
            reason: (*reason).to_owned(),
            note: Some(match warning {
                true => self.runbooks.link_note(reason, note),
                false => note.clone(),
            }),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A recorder that lives on would fold an event into an earlier one of the same reason and keep the earlier
        // note. The operator repeats an event only on purpose.
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        if let Err(error) = recorder.publish(&event, &reference).await {
            tracing::warn!(error = kube_error::describe(&error), reason, "cannot publish an event");
        }
    }

    async fn namespace_labels(
        &self,
        namespace: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ClusterError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = namespaces.get_metadata_opt(namespace).await;
        let found = found.map_err(ClusterError::new("read the labels of the namespace"))?;
        Ok(found.map(|namespace| namespace.metadata.labels.unwrap_or_default()))
    }
}

/// A patch that applies only where its tests hold.
pub(crate) fn json_patch(operations: Vec<Value>) -> Result<Patch<()>, kube::Error> {
    let patch = serde_json::from_value(Value::Array(operations)).map_err(kube::Error::SerdeError)?;
    Ok(Patch::Json(patch))
}
