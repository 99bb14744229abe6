//! An API server as data: objects with UIDs, resource versions, generations and finalizers, and namespaces with labels.
//!
//! In: what users and the operator do. Out: the objects after it, or the status that Kubernetes answers with.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::Status;
use serde::Serialize;
use serde_json::{Value, json};

use crate::ports::{Finalizers, ObjectKey, StatusField};

/// The name of an object: its kind, its namespace (empty where the kind has none) and its own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectName {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    pub fn replication(namespace: &str, name: &str) -> ObjectName {
        ObjectName { kind: "BucketReplication".into(), namespace: namespace.into(), name: name.into() }
    }

    pub fn backfill(namespace: &str, name: &str) -> ObjectName {
        ObjectName { kind: "ReplicationBackfill".into(), namespace: namespace.into(), name: name.into() }
    }

    pub fn account(name: &str) -> ObjectName {
        ObjectName { kind: "AwsAccount".into(), namespace: String::new(), name: name.into() }
    }
}

impl From<&ObjectKey> for ObjectName {
    fn from(key: &ObjectKey) -> ObjectName {
        ObjectName {
            kind: key.kind.kind.clone(),
            namespace: key.namespace.clone().unwrap_or_default(),
            name: key.name.clone(),
        }
    }
}

/// All objects, as JSON.
#[derive(Clone, Debug, Default)]
pub struct ApiServer {
    pub objects: BTreeMap<ObjectName, Value>,
    /// The labels of each namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Notes of the events that were published, with their reasons.
    pub events: Vec<(String, String)>,
    version: u64,
    created: u64,
}

impl ApiServer {
    /// Creates an object from its spec, at a second of the simulated time.
    pub fn create(&mut self, name: &ObjectName, spec: Value, second: i64) {
        self.version += 1;
        self.created += 1;
        let created = jiff::Timestamp::from_second(second).unwrap_or_default();
        let mut object = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": name.kind,
            "metadata": {
                "name": name.name,
                "uid": format!("uid-{}", self.created),
                "generation": 1,
                "resourceVersion": self.version.to_string(),
                "creationTimestamp": created.to_string(),
            },
            "spec": spec,
        });
        if !name.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(name.namespace);
        }
        self.objects.insert(name.clone(), object);
    }

    /// Changes an object as a user does: a change of the spec is a new generation.
    pub fn edit(&mut self, name: &ObjectName, edit: impl FnOnce(&mut Value)) {
        let Some(object) = self.objects.get_mut(name) else { return };
        let spec = object["spec"].clone();
        edit(object);
        if object["spec"] != spec {
            next_generation(object);
        }
        self.touch(name);
        self.collect(name);
    }

    /// Deletes an object: at once, or once its finalizers are gone.
    pub fn delete(&mut self, name: &ObjectName) {
        let Some(object) = self.objects.get_mut(name) else { return };
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            next_generation(object);
        }
        self.touch(name);
        self.collect(name);
    }

    /// Removes an object that is being deleted and has no finalizers left.
    fn collect(&mut self, name: &ObjectName) {
        let Some(object) = self.objects.get(name) else { return };
        let metadata = &object["metadata"];
        let has_finalizers = metadata["finalizers"].as_array().is_some_and(|held| !held.is_empty());
        if !metadata["deletionTimestamp"].is_null() && !has_finalizers {
            self.objects.remove(name);
        }
    }

    fn touch(&mut self, name: &ObjectName) {
        self.version += 1;
        if let Some(object) = self.objects.get_mut(name) {
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
    }

    /// While this stays the same, so do the objects.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The object of a key; `None` when it is gone or another object has its name.
    pub fn live(&self, key: &ObjectKey) -> Option<&Value> {
        let object = self.objects.get(&ObjectName::from(key))?;
        (object["metadata"]["uid"] == key.uid).then_some(object)
    }

    fn patched(&mut self, key: &ObjectKey) -> Result<&mut Value, Box<Status>> {
        let object = self.objects.get_mut(&ObjectName::from(key));
        let object = object.ok_or_else(|| status(404, "NotFound", "the object was not found"))?;
        if object["metadata"]["uid"] != key.uid {
            return Err(test_failed());
        }
        Ok(object)
    }

    /// Replaces the finalizers of an object, if they are those that were read and the object has this generation.
    pub fn set_finalizers(
        &mut self,
        key: &ObjectKey,
        generation: Option<i64>,
        held: &Finalizers,
        new: &[String],
    ) -> Result<(), Box<Status>> {
        let object = self.patched(key)?;
        let metadata = &mut object["metadata"];
        if generation.is_some_and(|generation| metadata["generation"] != generation) {
            return Err(test_failed());
        }
        if metadata["finalizers"] != json!(held.0) {
            return Err(test_failed());
        }
        let added = new.iter().any(|finalizer| !held.contains(finalizer));
        if added && !metadata["deletionTimestamp"].is_null() {
            let words = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(status(422, "Invalid", words));
        }
        metadata["finalizers"] = if new.is_empty() { Value::Null } else { json!(new) };
        let name = ObjectName::from(key);
        self.touch(&name);
        self.collect(&name);
        Ok(())
    }

    /// Replaces the status of an object, if these fields of it are as they were read.
    pub fn set_status(
        &mut self,
        key: &ObjectKey,
        status: &Value,
        read: &[StatusField],
    ) -> Result<(), Box<Status>> {
        let object = self.patched(key)?;
        if read.iter().any(|(field, value)| object["status"][*field] != *value) {
            return Err(test_failed());
        }
        object["status"] = status.clone();
        self.touch(&ObjectName::from(key));
        Ok(())
    }

    /// Replaces one condition and one other field of the status, if the condition is where it was read.
    pub fn set_condition(
        &mut self,
        key: &ObjectKey,
        index: usize,
        condition: &Condition,
        (field, value): (&str, &Value),
    ) -> Result<(), Box<Status>> {
        let status = &mut self.patched(key)?["status"];
        let held = status.pointer_mut(&format!("/conditions/{index}"));
        let held = held.filter(|held| held["type"] == condition.type_).ok_or_else(test_failed)?;
        *held = json!(condition);
        status[field] = value.clone();
        self.touch(&ObjectName::from(key));
        Ok(())
    }

    /// The state as text, without what only counts up.
    pub fn canonical(&self) -> String {
        let mut objects: Vec<Value> = self.objects.values().cloned().collect();
        for object in &mut objects {
            object["metadata"]["resourceVersion"].take();
            let conditions = object["status"]["conditions"].as_array_mut();
            conditions.into_iter().flatten().for_each(|condition| {
                condition["lastTransitionTime"].take();
            });
        }
        json!([objects, self.namespaces]).to_string()
    }
}

fn next_generation(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or_default();
    object["metadata"]["generation"] = json!(generation + 1);
}

fn status(code: u16, reason: &str, message: &str) -> Box<Status> {
    Status::failure(message, reason).with_code(code).boxed()
}

/// A test of a JSON patch does not hold.
fn test_failed() -> Box<Status> {
    status(
        422,
        "Invalid",
        "the server rejected our request due to an error in our request: testing value failed",
    )
}
