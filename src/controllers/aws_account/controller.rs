//! Connects `AwsAccount` resources to the runtime.
//!
//! In: changes of accounts. Out: which accounts to check, and which resources a change concerns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, Resource, ResourceExt};

use crate::controllers::aws_account::check::check;
use crate::controllers::aws_account::context::Context;
use crate::controllers::bucket_replication::successors::successors;
use crate::controllers::index::AwsAccounts;
use crate::controllers::{Guarded, GuardedAwsAccount, GuardedBackfill};
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::controller::Controller;
use crate::runtime::queue::{BulkheadKey, Urgency};
use crate::runtime::store::{Change, Key};
use crate::runtime::triggers::Triggers;

/// Accounts are few, and each check is one call: no more run at once.
pub const CONCURRENCY: u16 = 4;

/// The controller, over the two ports.
pub struct AwsAccountController<C, K> {
    pub context: Context<C, K>,
    /// The queue of `BucketReplication` resources.
    pub replications: Triggers<Guarded>,
    /// The queue of `ReplicationBackfill` resources.
    pub backfills: Triggers<GuardedBackfill>,
}

impl<C: Cloud, K: Cluster> Controller for AwsAccountController<C, K> {
    type Kind = GuardedAwsAccount;
    type IndexKey = ();
    type Summary = ();

    const DEADLINE: Duration = Duration::from_secs(2 * 60);

    fn api(client: Client, _namespace: Option<&str>) -> Api<GuardedAwsAccount> {
        Api::all(client)
    }

    fn store(&self) -> &Arc<AwsAccounts> {
        &self.context.index.accounts
    }

    fn observe(&self, change: &Change<GuardedAwsAccount>) -> Option<Urgency> {
        self.context.index.observe_account(change);
        match change {
            Change::Applied { before, after } => {
                // A write of the status leaves the generation as it is.
                let generation = |account: &GuardedAwsAccount| account.meta().generation;
                if before.as_deref().map(generation) == Some(generation(after)) {
                    return None;
                }
                self.wake(&after.name_any());
                Some(Urgency::Change)
            }
            Change::Deleted(gone) => {
                self.context.cloud.forget(&gone.name_any());
                self.context.requeue.lock().remove(&gone.uid().unwrap_or_default());
                self.wake(&gone.name_any());
                None
            }
        }
    }

    fn bulkhead(&self, _account: &GuardedAwsAccount) -> BulkheadKey {
        "".into()
    }

    async fn reconcile(&self, object: Arc<GuardedAwsAccount>) -> Result<Action, Error> {
        match &object.0 {
            Ok(account) => check(account, &self.context).await,
            // The resources that refer to it report that it cannot be read.
            Err(_) => Ok(Action::await_change()),
        }
    }
}

impl<C, K> AwsAccountController<C, K> {
    /// An administrator's change holds from now on: the resources that refer to the account are checked, and those that
    /// may take over a source from one of them.
    fn wake(&self, account: &str) {
        if is_on(Mutant::AllowanceNotNoticed) {
            return;
        }
        let mut sources = BTreeSet::new();
        let index = &self.context.index;
        for key in index.by_account(account) {
            let object = index.replications.get(&key);
            let resource = object.as_ref().and_then(|object| object.0.as_ref().ok());
            sources.extend(resource.map(|resource| resource.spec.source.bucket.clone()));
            for backfill in index.backfills_of(&key) {
                self.backfills.trigger(Key::of(backfill.meta()), Urgency::Change);
            }
            self.replications.trigger(key, Urgency::Change);
        }
        for source in sources.into_iter().filter(|_| !is_on(Mutant::SuccessorNotNoticed)) {
            for successor in successors(&source, &self.context.index, &self.context.settings) {
                self.replications.trigger(successor, Urgency::Change);
            }
        }
    }
}
