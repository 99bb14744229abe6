//! The controller of `AwsAccount` resources.
//!
//! In: changes of accounts. Out: a status that says as whom the operator acts in the account and how many resources refer
//! to it, and a reconcile of every resource that a change of an account concerns.

mod check;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;

use crate::controllers::aws_account::check::Verified;
use crate::controllers::bucket_replication::successors::successors;
use crate::controllers::index::{AwsAccounts, Index};
use crate::controllers::settings::Settings;
use crate::controllers::{Guarded, GuardedAccount};
use crate::ports::{Cloud, Cluster};
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::controller::Controller;
use crate::runtime::queue::{BulkheadKey, Urgency};
use crate::runtime::requeue::RequeueBackoff;
use crate::runtime::store::{Change, Key};
use crate::runtime::triggers::Triggers;

/// Accounts are few, and each check is one call: no more run at once.
pub const CONCURRENCY: u16 = 4;

/// Resources that are created together are counted together, after this pause.
pub const SETTLE: Duration = Duration::from_secs(1);

/// The controller, over the two ports.
pub struct AwsAccountController<C, K> {
    pub cloud: Arc<C>,
    pub cluster: Arc<K>,
    pub index: Arc<Index>,
    pub settings: Settings,
    /// The queue of `BucketReplication` resources.
    pub replications: Triggers<Guarded>,
    pub memory: Memory,
}

/// What is remembered of accounts, by UID, and only of those that exist.
#[derive(Debug, Default)]
pub struct Memory {
    verified: Mutex<HashMap<String, Verified>>,
    requeue: Mutex<HashMap<String, RequeueBackoff>>,
}

impl<C: Cloud, K: Cluster> Controller for AwsAccountController<C, K> {
    type Kind = GuardedAccount;
    type IndexKey = ();

    const DEADLINE: Duration = Duration::from_secs(2 * 60);

    fn api(client: Client, _namespace: Option<&str>) -> Api<GuardedAccount> {
        Api::all(client)
    }

    fn store(&self) -> &Arc<AwsAccounts> {
        &self.index.accounts
    }

    fn observe(&self, change: &Change<GuardedAccount>) -> Option<Urgency> {
        self.index.observe_account(change);
        match change {
            Change::Applied { before, after } => {
                // A write of the status leaves the generation as it is.
                let generation = |account: &GuardedAccount| account.meta().generation;
                if before.as_deref().map(generation) == Some(generation(after)) {
                    return None;
                }
                self.wake(&after.name_any());
                Some(Urgency::Change)
            }
            Change::Deleted(gone) => {
                self.cloud.forget(&gone.name_any());
                let uid = gone.uid().unwrap_or_default();
                self.memory.verified.lock().remove(&uid);
                self.memory.requeue.lock().remove(&uid);
                self.wake(&gone.name_any());
                None
            }
        }
    }

    fn bulkhead(&self, _account: &GuardedAccount) -> BulkheadKey {
        "".into()
    }

    async fn reconcile(&self, object: Arc<GuardedAccount>) -> Result<Action, Error> {
        match &object.0 {
            Ok(account) => self.check(account).await,
            // The resources that refer to it report that it cannot be read.
            Err(_) => Ok(Action::await_change()),
        }
    }
}

impl<C, K> AwsAccountController<C, K> {
    /// An administrator's change holds from now on: the resources that refer to the account are checked, and those that
    /// may take over a source from one of them.
    fn wake(&self, account: &str) {
        let mut sources = BTreeSet::new();
        for object in self.index.by_account(account) {
            self.replications.trigger(Key::of(object.meta()), Urgency::Change);
            sources.extend(object.0.as_ref().ok().map(|resource| resource.spec.source.bucket.clone()));
        }
        for source in sources {
            for successor in successors(&source, &self.index, &self.settings) {
                self.replications.trigger(successor, Urgency::Change);
            }
        }
    }
}
