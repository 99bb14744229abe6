//! The port to the API server: the live object and the few writes to it.
//!
//! In: the key of an object and what to write. Out: the object as it is now, or an error with the API server's words.
//! The objects that the watches keep in memory are not read through this port.

use std::collections::BTreeMap;
use std::future::Future;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::core::{ApiResource, DynamicObject, ObjectMeta, Status};
use serde_json::Value;

use crate::mutants::{Mutant, is_on};
use crate::ports::kube_error;
use crate::replication::status::Event;

/// An object of the API server: its kind, its name, and the UID that distinguishes it from others of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    pub kind: ApiResource,
    /// `None`: the kind has no namespaces.
    pub namespace: Option<String>,
    pub name: String,
    pub uid: String,
}

impl ObjectKey {
    /// The key of an object of a kind.
    pub fn new<K: Resource<DynamicType = ()>>(metadata: &ObjectMeta) -> ObjectKey {
        ObjectKey {
            kind: ApiResource::erase::<K>(&()),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
        }
    }
}

/// The finalizers of an object as they were read. A write tests that they are still the same, so that no finalizer of
/// others is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finalizers(pub Option<Vec<String>>);

impl Finalizers {
    pub fn of(metadata: &ObjectMeta) -> Finalizers {
        Finalizers(metadata.finalizers.clone())
    }

    pub fn contains(&self, finalizer: &str) -> bool {
        self.0.iter().flatten().any(|held| held == finalizer)
    }

    pub fn with(&self, finalizer: &str) -> Vec<String> {
        let held = self.0.iter().flatten().filter(|_| !is_on(Mutant::FinalizerReplaced));
        held.cloned().chain([finalizer.to_owned()]).collect()
    }

    pub fn without(&self, finalizer: &str) -> Vec<String> {
        self.0.iter().flatten().filter(|held| *held != finalizer).cloned().collect()
    }
}

/// A field of a status by its name, with its value.
pub type StatusField = (&'static str, Value);

/// The API server did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} in Kubernetes: {}", kube_error::describe(source))]
pub struct ClusterError {
    pub what: &'static str,
    #[source]
    pub source: kube::Error,
}

impl ClusterError {
    /// For `map_err`: `what` completes "cannot … in Kubernetes".
    pub fn new(what: &'static str) -> impl Fn(kube::Error) -> ClusterError {
        move |source| ClusterError { what, source }
    }

    /// Whether the object is gone or changed since it was read: a test of the write failed.
    pub fn is_outdated(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422))
    }

    /// The object that was read is not the one that the API server has now.
    pub fn conflict(what: &'static str) -> ClusterError {
        let status = Status::failure("someone else wrote it since it was read", "Conflict").with_code(409);
        ClusterError { what, source: kube::Error::Api(status.boxed()) }
    }

    /// Whether someone else wrote the object since it was read.
    pub fn is_conflict(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status) if status.code == 409)
    }

    /// Whether a field was not as it had been read, so that a patch was not applied. A status that the schema does not
    /// admit has the same code and other words.
    pub fn is_overtaken(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status)
            if status.code == 422 && status.message.contains("rejected our request due to an error"))
    }

    /// Whether the object is gone.
    pub fn is_gone(&self) -> bool {
        matches!(&self.source, kube::Error::Api(status) if status.code == 404)
    }

    /// Whether the operator lacks a right in Kubernetes.
    pub fn is_denied(&self) -> bool {
        kube_error::is_denied(&self.source)
    }
}

/// The API server, as the controllers use it.
pub trait Cluster: Send + Sync + 'static {
    /// The object as it is now, undecoded; `None` when it is gone or another object has its name.
    ///
    /// # Errors
    /// The API server's error.
    fn live(
        &self,
        object: &ObjectKey,
    ) -> impl Future<Output = Result<Option<DynamicObject>, ClusterError>> + Send;

    /// Whether an object has this kind and name now, whatever its UID is.
    ///
    /// # Errors
    /// What the API server answered.
    fn exists(&self, object: &ObjectKey) -> impl Future<Output = Result<bool, ClusterError>> + Send;

    /// Adds a finalizer to those that were read, to an object of this generation that is not being deleted.
    ///
    /// # Errors
    /// When someone else changed the list or the spec meanwhile, or the object is gone; the list is then unchanged.
    fn add_finalizer(
        &self,
        object: &ObjectKey,
        generation: Option<i64>,
        held: &Finalizers,
        finalizer: &str,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Removes a finalizer from those that were read. The object may be gone already.
    ///
    /// # Errors
    /// When someone else changed the list meanwhile; the list is then unchanged.
    fn remove_finalizer(
        &self,
        object: &ObjectKey,
        held: &Finalizers,
        finalizer: &str,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Replaces the status of an object. `read`: fields of the status as they were read, which must still be so; an
    /// absent one is null.
    ///
    /// # Errors
    /// The API server's error, also where the object is gone, another object has its name or a field is not as it
    /// was read. A report may be lost. But after such an error the operator must not make a write to AWS that the
    /// status had to name first.
    fn set_status(
        &self,
        object: &ObjectKey,
        status: &Value,
        read: &[StatusField],
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Replaces one condition of the status and one other field of it, and leaves the rest as it is by now. `index` is
    /// where in the list the condition is. The object may be gone.
    ///
    /// # Errors
    /// When another condition has this index by now; nothing is then changed.
    fn set_condition(
        &self,
        object: &ObjectKey,
        index: usize,
        condition: &Condition,
        field: (&str, &Value),
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Publishes an event on an object. A failure is only logged, because nothing depends on an event.
    fn publish_event(&self, object: &ObjectKey, event: &Event) -> impl Future<Output = ()> + Send;

    /// The labels of a namespace as they are now; `None` when there is no such namespace.
    ///
    /// # Errors
    /// The API server's error.
    fn namespace_labels(
        &self,
        namespace: &str,
    ) -> impl Future<Output = Result<Option<BTreeMap<String, String>>, ClusterError>> + Send;
}
