//! Connects `BucketReplication` resources to the runtime.
//!
//! In: changes of resources. Out: which of them to reconcile, which others a change concerns, and the permits they share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, Resource, ResourceExt};

use crate::api::{ConditionType, REQUESTED_AT, handled_request};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::successors::successors;
use crate::controllers::bucket_replication::{DEADLINE, reconcile};
use crate::controllers::index::{ReplicationKey, Replications};
use crate::controllers::settings::SETTLE;
use crate::controllers::{Guarded, GuardedAccount};
use crate::ports::{Cloud, Cluster};
use crate::replication::authorize::accounts::references;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::controller::Controller;
use crate::runtime::leader::Term;
use crate::runtime::queue::{BulkheadKey, Urgency};
use crate::runtime::store::{Change, Key};
use crate::runtime::triggers::Triggers;

/// The controller.
pub struct BucketReplicationController<C, K> {
    pub context: Arc<Context<C, K>>,
    /// The queue of this kind.
    pub replications: Triggers<Guarded>,
    /// The queue of `AwsAccount` resources.
    pub accounts: Triggers<GuardedAccount>,
}

impl<C: Cloud, K: Cluster> Controller for BucketReplicationController<C, K> {
    type Kind = Guarded;
    type IndexKey = ReplicationKey;

    const DEADLINE: Duration = DEADLINE;

    fn api(client: Client, namespace: Option<&str>) -> Api<Guarded> {
        match namespace {
            None => Api::all(client),
            Some(namespace) => Api::namespaced(client, namespace),
        }
    }

    fn store(&self) -> &Arc<Replications> {
        &self.context.index.replications
    }

    fn observe(&self, change: &Change<Guarded>) -> Option<Urgency> {
        let Context { index, settings, memory, clock, .. } = &*self.context;
        index.observe(change);
        match change {
            Change::Applied { before, after } => {
                let status = after.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
                memory.cached(&after.uid().unwrap_or_default(), status, clock.now());
                let before = before.as_deref();
                self.recount(before.map(accounts_of).unwrap_or_default(), accounts_of(after));
                // Not finalizers: adding the operator's own is part of a reconcile that goes on.
                let asked = |o: &Guarded| (o.meta().generation, o.meta().annotations.clone());
                let unchanged = before.is_some_and(|before| asked(before) == asked(after));
                (!unchanged).then_some(Urgency::Change)
            }
            Change::Deleted(gone) => {
                memory.forget(&gone.uid().unwrap_or_default());
                self.recount(accounts_of(gone), BTreeSet::new());
                if let Ok(resource) = &gone.0 {
                    for successor in successors(&resource.spec.source.bucket, index, settings) {
                        self.replications.trigger(successor, Urgency::Change);
                    }
                }
                None
            }
        }
    }

    fn begin_term(&self, term: &Term) {
        let Context { memory, clock, .. } = &*self.context;
        memory.begin_term(term.succession(), clock.now());
    }

    /// A change that nobody has acted upon comes before the checks of resources that are as they should be.
    fn first_due(&self, object: &Guarded) -> (Urgency, Duration) {
        let urgency = if is_settled(object) { Urgency::Periodic } else { Urgency::Change };
        (urgency, Duration::ZERO)
    }

    fn bulkhead(&self, object: &Guarded) -> BulkheadKey {
        // Only accounts that exist: a name that someone made up gives no permits of its own.
        let mut accounts = accounts_of(object);
        accounts.retain(|name| self.context.index.has_account(name));
        // No name of an object holds a space.
        accounts.into_iter().collect::<Vec<_>>().join(" ").into()
    }

    async fn reconcile(&self, object: Arc<Guarded>) -> Result<Action, Error> {
        reconcile(&object, &self.context).await
    }
}

impl<C, K> BucketReplicationController<C, K> {
    /// Has the resources counted again of the accounts that a resource began or ceased to refer to.
    fn recount(&self, before: BTreeSet<&str>, after: BTreeSet<&str>) {
        for name in before.symmetric_difference(&after) {
            self.accounts.trigger_in(Key::cluster(name), Urgency::Change, SETTLE);
        }
    }
}

/// The names of the accounts that a resource refers to.
fn accounts_of(object: &Guarded) -> BTreeSet<&str> {
    object.0.as_ref().map(|resource| references(&resource.spec)).unwrap_or_default()
}

/// Whether an object is applied as its spec and its annotations ask for, by what its status says.
fn is_settled(object: &Guarded) -> bool {
    let Ok(resource) = &object.0 else { return false };
    let (metadata, Some(status)) = (&resource.metadata, &resource.status) else { return false };
    let annotations = metadata.annotations.as_ref();
    let requested = annotations.and_then(|annotations| annotations.get(REQUESTED_AT));
    let is_ready = |c: &Condition| c.type_ == ConditionType::Ready.as_str() && c.status == "True";
    metadata.deletion_timestamp.is_none()
        && status.observed_generation == metadata.generation
        && requested.map(String::as_str).map(handled_request) == status.last_handled_request
        && status.conditions.iter().any(is_ready)
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::{Value, json};

    use super::*;

    fn settled(edit: impl FnOnce(&mut Value)) -> bool {
        let mut object = json!({
            "apiVersion": "s3replication.dev/v1alpha1",
            "kind": "BucketReplication",
            "metadata": {"name": "orders", "generation": 2},
            "spec": {"source": {"bucket": "orders"}, "rules": []},
            "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True",
                "reason": "Applied", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        edit(&mut object);
        is_settled(&serde_json::from_value::<DeserializeGuard<_>>(object).unwrap())
    }

    #[test]
    fn after_a_start_everything_that_waits_for_something_comes_before_what_is_applied() {
        assert!(settled(|_| {}));
        assert!(!settled(|object| object["metadata"]["generation"] = json!(3)), "a change of the spec");
        assert!(!settled(|object| object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")));
        let asked = json!({"s3replication.dev/requestedAt": "now"});
        assert!(!settled(|object| object["metadata"]["annotations"] = asked), "a request for a check");
        assert!(!settled(|object| object["status"]["conditions"][0]["status"] = json!("False")), "a failure");
        assert!(!settled(|object| object["status"] = Value::Null), "a new resource");
        assert!(!settled(|object| object["spec"]["rules"] = json!("unreadable")));
    }
}
