//! The writes to Kubernetes: finalizer, status, events. Each only when something changes.

use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::runtime::events::{Event as KubeEvent, EventType, Recorder};
use kube::{Api, Resource};
use serde_json::json;

use crate::api::{BucketReplication, BucketReplicationStatus, FINALIZER};
use crate::controllers::bucket_replication::context::Context;
use crate::replication::status::Event;
use crate::runtime::Error;
use crate::runtime::kube_error;

/// The object to write to.
pub struct ObjectWriter<'a> {
    pub metadata: &'a ObjectMeta,
    api: Api<kube::api::DynamicObject>,
}

impl<'a> ObjectWriter<'a> {
    pub fn new(ctx: &Context, metadata: &'a ObjectMeta) -> ObjectWriter<'a> {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let kind = kube::api::ApiResource::erase::<BucketReplication>(&());
        ObjectWriter { metadata, api: Api::namespaced_with(ctx.client.clone(), namespace, &kind) }
    }

    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn has_finalizer(&self) -> bool {
        self.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
    }

    /// The object as it is now, undecoded; `None` when it is gone or another took its name.
    pub async fn live(&self) -> Result<Option<kube::api::DynamicObject>, Error> {
        let live = self.api.get_opt(self.name()).await.map_err(Error::kubernetes("read the resource"))?;
        Ok(live.filter(|o| o.metadata.uid.as_deref() == Some(self.uid())))
    }

    pub async fn add_finalizer(&self) -> Result<(), Error> {
        let held = self.metadata.finalizers.clone();
        let finalizers: Vec<String> = held.iter().flatten().cloned().chain([FINALIZER.to_owned()]).collect();
        self.set_finalizers(held, &finalizers).await.map_err(Error::kubernetes("add the finalizer"))
    }

    /// Tries once more on the list as it is then when someone else takes theirs away meanwhile, as the garbage collector
    /// does in a foreground deletion: what has been cleaned up need not be again.
    pub async fn remove_finalizer(&self, held: Option<Vec<String>>) -> Result<(), Error> {
        let removed = match self.without_finalizer(held).await {
            Err(kube::Error::Api(status)) if status.code == 422 => match self.live().await? {
                Some(live) => self.without_finalizer(live.metadata.finalizers).await,
                None => Ok(()),
            },
            other => other,
        };
        removed.map_err(Error::kubernetes("remove the finalizer"))
    }

    async fn without_finalizer(&self, held: Option<Vec<String>>) -> Result<(), kube::Error> {
        let rest: Vec<String> = held.iter().flatten().filter(|f| *f != FINALIZER).cloned().collect();
        match self.set_finalizers(held, &rest).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other,
        }
    }

    /// Fails when someone else changed the list meanwhile, so that no finalizer of theirs is lost.
    async fn set_finalizers(&self, held: Option<Vec<String>>, new: &[String]) -> Result<(), kube::Error> {
        let test = match held {
            Some(held) => json!({"op": "test", "path": "/metadata/finalizers", "value": held}),
            None => json!({"op": "test", "path": "/metadata/uid", "value": self.uid()}),
        };
        let set = json!({"op": "add", "path": "/metadata/finalizers", "value": new});
        let patch = json_patch(vec![test, set])?;
        self.api.patch_metadata(self.name(), &PatchParams::default(), &patch).await.map(drop)
    }

    /// Replaces the status, unless the name passed to another object.
    pub async fn set_status(&self, status: &BucketReplicationStatus) -> Result<(), Error> {
        let what = Error::kubernetes("write the status");
        let patch = json_patch(vec![
            json!({"op": "test", "path": "/metadata/uid", "value": self.uid()}),
            json!({"op": "add", "path": "/status", "value": status}),
        ])
        .map_err(&what)?;
        match self.api.patch_status(self.name(), &PatchParams::default(), &patch).await {
            // Gone meanwhile: there is nothing left to tell.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(drop).map_err(what),
        }
    }

    /// Publishes events. A failure is logged and no more: an event is a courtesy.
    pub async fn publish(&self, ctx: &Context, events: &[Event]) {
        let object = BucketReplication {
            metadata: self.metadata.clone(),
            ..BucketReplication::new("", Default::default())
        };
        let reference = object.object_ref(&());
        for Event { warning, reason, note } in events {
            let event = KubeEvent {
                type_: if *warning { EventType::Warning } else { EventType::Normal },
                reason: (*reason).to_owned(),
                note: Some(note.clone()),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            // A recorder that lives on would fold an event into an earlier one of the same reason and keep the
            // earlier note. What is repeated here is repeated on purpose.
            let recorder = Recorder::new(ctx.client.clone(), ctx.reporter.clone());
            if let Err(error) = recorder.publish(&event, &reference).await {
                tracing::warn!(error = kube_error::describe(&error), reason, "cannot publish an event");
            }
        }
    }
}

/// A patch that applies only where its tests hold.
pub(crate) fn json_patch(operations: Vec<serde_json::Value>) -> Result<Patch<()>, kube::Error> {
    let patch =
        serde_json::from_value(serde_json::Value::Array(operations)).map_err(kube::Error::SerdeError)?;
    Ok(Patch::Json(patch))
}
