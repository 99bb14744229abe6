//! Connects `BucketReplication` resources to the runtime.
//!
//! In: changes of resources. Out: which of them to reconcile, which others a change concerns, and the permits they share.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, Resource, ResourceExt};

use crate::controllers::aws_account::SETTLE;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::successors::successors;
use crate::controllers::bucket_replication::{DEADLINE, reconcile};
use crate::controllers::index::{ReplicationKey, Replications};
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

    fn begin_term(&self, _term: &Term) {
        self.context.memory.forget_all();
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
