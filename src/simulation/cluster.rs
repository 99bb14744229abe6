//! The port to the API server, implemented on an [`ApiServer`].
//!
//! In: the calls of the controllers. Out: what Kubernetes would answer, and the state after it, which tests read and
//! change as users do.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::{DynamicObject, Status};
use parking_lot::Mutex;
use serde_json::Value;

use crate::ports::{Cluster, ClusterError, Finalizers, ObjectKey, StatusField};
use crate::replication::status::Event;
use crate::simulation::api_server::{ApiServer, ObjectName};

/// An API server in memory.
#[derive(Clone, Debug, Default)]
pub struct SimulatedCluster(Arc<Mutex<ApiServer>>);

impl SimulatedCluster {
    pub fn new(server: ApiServer) -> SimulatedCluster {
        SimulatedCluster(Arc::new(Mutex::new(server)))
    }

    /// An API server of its own in the same state.
    pub fn copy(&self) -> SimulatedCluster {
        SimulatedCluster::new(self.server())
    }

    /// A copy of the state.
    pub fn server(&self) -> ApiServer {
        self.0.lock().clone()
    }

    /// Reads the state, or changes it as a user does.
    pub fn with<T>(&self, act: impl FnOnce(&mut ApiServer) -> T) -> T {
        act(&mut self.0.lock())
    }
}

fn answer(what: &'static str, result: Result<(), Box<Status>>) -> Result<(), ClusterError> {
    result.map_err(|status| ClusterError::new(what)(kube::Error::Api(status)))
}

/// An object that is gone needs nothing any more.
fn ignore_not_found(result: Result<(), Box<Status>>) -> Result<(), Box<Status>> {
    result.or_else(|status| if status.code == 404 { Ok(()) } else { Err(status) })
}

impl Cluster for SimulatedCluster {
    async fn live(&self, object: &ObjectKey) -> Result<Option<DynamicObject>, ClusterError> {
        let live = self.0.lock().live(object).cloned();
        let decoded = live.map(serde_json::from_value).transpose();
        decoded.map_err(|error| ClusterError::new("read the resource")(kube::Error::SerdeError(error)))
    }

    async fn exists(&self, object: &ObjectKey) -> Result<bool, ClusterError> {
        Ok(self.0.lock().objects.contains_key(&ObjectName::from(object)))
    }

    async fn add_finalizer(
        &self,
        object: &ObjectKey,
        generation: Option<i64>,
        held: &Finalizers,
        finalizer: &str,
    ) -> Result<(), ClusterError> {
        let result = self.0.lock().set_finalizers(object, generation, held, &held.with(finalizer));
        answer("add the finalizer", result)
    }

    async fn remove_finalizer(
        &self,
        object: &ObjectKey,
        held: &Finalizers,
        finalizer: &str,
    ) -> Result<(), ClusterError> {
        let result = self.0.lock().set_finalizers(object, None, held, &held.without(finalizer));
        answer("remove the finalizer", ignore_not_found(result))
    }

    async fn set_status(
        &self,
        object: &ObjectKey,
        status: &Value,
        read: &[StatusField],
    ) -> Result<(), ClusterError> {
        let result = self.0.lock().set_status(object, status, read);
        answer("write the status", result)
    }

    async fn set_condition(
        &self,
        object: &ObjectKey,
        index: usize,
        condition: &Condition,
        field: (&str, &Value),
    ) -> Result<(), ClusterError> {
        let result = self.0.lock().set_condition(object, index, condition, field);
        answer("write the condition", ignore_not_found(result))
    }

    async fn publish_event(&self, _object: &ObjectKey, event: &Event) {
        self.0.lock().events.push((event.reason.to_owned(), event.note.clone()));
    }

    async fn namespace_labels(
        &self,
        namespace: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ClusterError> {
        Ok(self.0.lock().namespaces.get(namespace).cloned())
    }
}
