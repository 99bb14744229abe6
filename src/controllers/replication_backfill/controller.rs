//! Connects `ReplicationBackfill` resources to the runtime.
//!
//! In: changes of backfills. Out: which of them to reconcile, which others a change concerns, and the permits they
//! share.

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, Resource, ResourceExt};

use crate::controllers::index::{Backfills, completed_at};
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::{DEADLINE, authorize, reconcile};
use crate::controllers::{Guarded, GuardedBackfill};
use crate::ports::{Cloud, Cluster};
use crate::replication::backfill::polling::FIRST_PAUSE;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::controller::Controller;
use crate::runtime::leader::Term;
use crate::runtime::queue::{BulkheadKey, Urgency};
use crate::runtime::store::{Change, Key};
use crate::runtime::triggers::Triggers;

/// Backfills take minutes to hours: nothing is gained by many at once, and the checks of replications come first.
pub const CONCURRENCY: u16 = 4;

/// The controller, over the two ports.
pub struct ReplicationBackfillController<C, K> {
    pub context: Context<C, K>,
    /// The queue of this kind.
    pub backfills: Triggers<GuardedBackfill>,
    /// The queue of `BucketReplication` resources.
    pub replications: Triggers<Guarded>,
}

impl<C: Cloud, K: Cluster> Controller for ReplicationBackfillController<C, K> {
    type Kind = GuardedBackfill;
    type IndexKey = Key;
    type Summary = ();

    const DEADLINE: Duration = DEADLINE;

    fn api(client: Client, namespace: Option<&str>) -> Api<GuardedBackfill> {
        match namespace {
            None => Api::all(client),
            Some(namespace) => Api::namespaced(client, namespace),
        }
    }

    fn store(&self) -> &Arc<Backfills> {
        &self.context.shared.index.backfills
    }

    fn observe(&self, change: &Change<GuardedBackfill>) -> Option<Urgency> {
        match change {
            Change::Applied { before, after } => {
                let status = after.0.as_ref().ok().and_then(|backfill| backfill.status.as_ref());
                self.context.memory.cached(&after.uid().unwrap_or_default(), status);
                if before
                    .as_ref()
                    .is_some_and(|before| authorize::is_over(before) != authorize::is_over(after))
                {
                    self.wake_siblings(after);
                }
                if completed_at(after).is_some() && before.as_ref().is_some_and(|b| completed_at(b).is_none())
                {
                    self.wake_parent(after);
                }
                // Not finalizers and not the status: the operator writes them itself.
                let asked = |o: &GuardedBackfill| (o.meta().generation, o.meta().annotations.clone());
                let unchanged = before.as_ref().is_some_and(|before| asked(before) == asked(after));
                (!unchanged).then_some(Urgency::Change)
            }
            Change::Deleted(gone) => {
                self.context.memory.forget(&gone.uid().unwrap_or_default());
                self.wake_siblings(gone);
                None
            }
        }
    }

    fn begin_term(&self, _term: &Term) {
        self.context.memory.forget_all();
    }

    fn first_due(&self, object: &GuardedBackfill, _fleet: usize) -> (Urgency, Duration) {
        let status = object.0.as_ref().ok().and_then(|backfill| backfill.status.as_ref());
        let follows = status.is_some_and(|s| s.job_id.is_some() && s.finished_at.is_none());
        match follows && object.meta().deletion_timestamp.is_none() {
            true => (Urgency::Periodic, FIRST_PAUSE.mul_f64(fastrand::f64())),
            false => (Urgency::Change, Duration::ZERO),
        }
    }

    fn longest_request(&self) -> Duration {
        self.context.shared.settings.longest_request
    }

    fn bulkhead(&self, object: &GuardedBackfill) -> BulkheadKey {
        let index = &self.context.shared.index;
        let Ok(backfill) = &object.0 else { return "".into() };
        let namespace = object.namespace().unwrap_or_default();
        let parent =
            index.replications.get(&Key::namespaced(&namespace, &backfill.spec.replication_ref.name));
        let account = parent.as_ref().and_then(|p| p.0.as_ref().ok()?.spec.source.account_ref.clone());
        // Only accounts that exist: a name that someone made up gives no permits of its own.
        account.filter(|name| index.has_account(name)).unwrap_or_default().into()
    }

    async fn reconcile(&self, object: Arc<GuardedBackfill>) -> Result<Action, Error> {
        reconcile(&object, &self.context).await
    }
}

impl<C, K> ReplicationBackfillController<C, K> {
    /// A backfill completed: what the replication reports of its objects changes.
    fn wake_parent(&self, backfill: &GuardedBackfill) {
        let Ok(readable) = &backfill.0 else { return };
        let namespace = backfill.namespace().unwrap_or_default();
        let parent = Key::namespaced(&namespace, &readable.spec.replication_ref.name);
        self.replications.trigger(parent, Urgency::Change);
    }

    /// A backfill ended: the next one of the same replication may begin.
    fn wake_siblings(&self, backfill: &GuardedBackfill) {
        let Ok(readable) = &backfill.0 else { return };
        let namespace = backfill.namespace().unwrap_or_default();
        let parent = Key::namespaced(&namespace, &readable.spec.replication_ref.name);
        for sibling in self.context.shared.index.backfills_of(&parent) {
            if sibling.uid() != backfill.uid() {
                self.backfills.trigger(Key::of(sibling.meta()), Urgency::Change);
            }
        }
    }
}
