//! What all reconciles share.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use crate::api::{BucketReplication, BucketReplicationStatus, DEFAULT_ACCOUNT};
use crate::aws::AwsConnector;
use crate::controllers::Guarded;
use crate::controllers::bucket_replication::flapping::CorrectionHistory;
use crate::controllers::bucket_replication::identity;
use crate::controllers::bucket_replication::source_ownership;
use crate::controllers::index::Index;
use crate::controllers::settings::Settings;
use crate::ports::Cluster;
use crate::replication::authorize::{authorize, labels_matter};
use crate::replication::{Account, Accounts, Refusal, Replication};
use crate::runtime::Error;
use crate::runtime::leader::Leadership;
use crate::runtime::object_writer::ObjectWriter;
use crate::runtime::requeue::RequeueBackoff;
use crate::runtime::tracker::ReconcileTracker;
use crate::telemetry::Metrics;

/// How long a status of our own is preferred to the cache's, which lags behind.
const CACHE_LAG: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Memory {
    running: bool,
    pace: RequeueBackoff,
    corrections: CorrectionHistory,
    written: Option<(Instant, BucketReplicationStatus)>,
    /// It was found to own its source, and the cache does not show yet that it applied anything.
    claims: bool,
}

impl Memory {
    fn is_empty(&self) -> bool {
        !self.running
            && self.pace.is_empty()
            && self.corrections.is_empty()
            && self.written.is_none()
            && !self.claims
    }
}

pub struct Context {
    pub cloud: Arc<AwsConnector>,
    pub cluster: Arc<ObjectWriter>,
    pub index: Arc<Index>,
    pub settings: Settings,
    pub metrics: Metrics,
    /// Cancelled when the operator is to stop: the step under way is finished, no other is begun.
    pub shutdown: CancellationToken,
    /// Whether anything may be begun now.
    pub leadership: Leadership,
    /// For metrics and health.
    pub tracker: Arc<ReconcileTracker>,
    /// By UID; only of objects that failed, were corrected, were written a moment ago, or never applied anything.
    pub memory: Mutex<HashMap<String, Memory>>,
}

impl Context {
    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all: another may have worked meanwhile.
    pub(crate) fn forget_all(&self) {
        self.memory().clear();
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.memory().remove(uid);
    }

    /// Acts on what is remembered of an object, and forgets the object when nothing is left to remember: an idle
    /// resource takes no memory here.
    fn with_memory<T>(&self, uid: &str, act: impl FnOnce(&mut Memory) -> T) -> T {
        let mut all = self.memory();
        let mut memory = all.remove(uid).unwrap_or_default();
        let result = act(&mut memory);
        if !memory.is_empty() {
            all.insert(uid.to_owned(), memory);
        }
        result
    }

    pub(crate) fn with_pace<T>(&self, uid: &str, act: impl FnOnce(&mut RequeueBackoff) -> T) -> T {
        self.with_memory(uid, |memory| act(&mut memory.pace))
    }

    pub(crate) fn with_corrections<T>(&self, uid: &str, act: impl FnOnce(&mut CorrectionHistory) -> T) -> T {
        self.with_memory(uid, |memory| act(&mut memory.corrections))
    }

    pub(crate) fn writes(&self, uid: &str, status: &BucketReplicationStatus) {
        self.with_memory(uid, |memory| memory.written = Some((Instant::now(), status.clone())));
    }

    pub(crate) fn wrote_nothing(&self, uid: &str) {
        self.with_memory(uid, |memory| memory.written = None);
    }

    /// The cache holds this now: a status of our own need no longer be remembered once it is there, unless a
    /// reconcile is under way, which has the object as the cache held it before.
    pub(crate) fn cached(&self, uid: &str, status: Option<&BucketReplicationStatus>) {
        self.with_memory(uid, |memory| {
            let needed = memory.running;
            memory.written.take_if(|(_, written)| !needed && Some(&*written) == status);
            memory.claims &= !has_applied(status);
        });
    }

    /// A reconcile of this object begins.
    pub(crate) fn begin(&self, uid: &str) {
        self.with_memory(uid, |memory| memory.running = true);
    }

    /// No reconcile of this object is under way any more.
    pub(crate) fn settled(&self, object: &Guarded) {
        let uid = object.uid().unwrap_or_default();
        self.with_memory(&uid, |memory| memory.running = false);
        if let Some(held) = self.index.current(object) {
            let status = held.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
            self.cached(&uid, status);
        }
    }

    /// The status as last written: the cache's, unless it has not caught up with what we wrote a moment ago.
    pub(crate) fn last_status(
        &self,
        uid: &str,
        cached: Option<&BucketReplicationStatus>,
    ) -> BucketReplicationStatus {
        self.with_memory(uid, |memory| {
            memory.written.take_if(|(at, _)| at.elapsed() > CACHE_LAG);
            let written = memory.written.as_ref().map(|(_, status)| status);
            written.or(cached).cloned().unwrap_or_default()
        })
    }

    /// An account by its name.
    pub(crate) fn account(&self, name: &str) -> Result<Option<Account>, Refusal> {
        self.index.account(name)
    }

    /// The accounts a resource refers to, if it may do under them what it asks for: told without any call to AWS.
    pub(crate) async fn accounts_of(
        &self,
        resource: &BucketReplication,
    ) -> Result<Result<Accounts, Refusal>, Error> {
        let required = self.settings.require_account;
        let accounts = match Accounts::resolve(&resource.spec, |name| self.account(name), required) {
            Ok(accounts) => accounts,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let identity = identity(&resource.metadata, self);
        let labels = if labels_matter(&accounts) {
            // As they are now: one that was made anew under its name has none of the labels of the one before.
            self.cluster.namespace_labels(&identity.namespace).await?
        } else {
            None
        };
        let status =
            self.last_status(resource.metadata.uid.as_deref().unwrap_or_default(), resource.status.as_ref());
        let replication =
            Replication { spec: &resource.spec, status: &status, id: &identity, accounts: &accounts };
        Ok(authorize(&replication, labels.as_ref()).map(|()| accounts))
    }

    /// The accounts in which a resource still has statements in the policies of former destinations, and which its
    /// spec names no longer. One that is gone is left out.
    pub(crate) fn former_accounts(
        &self,
        status: &BucketReplicationStatus,
        accounts: &Accounts,
    ) -> Vec<Account> {
        let names: BTreeSet<&String> = status.bucket_policies.iter().map(|held| &held.account_ref).collect();
        let former = names.into_iter().filter(|name| !accounts.destinations.contains_key(*name));
        former.filter_map(|name| self.account(name).ok().flatten()).collect()
    }

    /// Why this resource must wait, if another one owns its source. Otherwise the source is its own from now on,
    /// also for a rival that is told from it by nothing but the UID.
    pub(crate) async fn source_conflict(
        &self,
        resource: &BucketReplication,
    ) -> Result<Option<String>, Error> {
        let rivals = self.rivals(resource).await?;
        Ok(self.owner_among(&rivals, resource))
    }

    /// The others that may replicate from the same bucket. One that may not has no claim to it, and neither has one
    /// that takes the bucket for another account's, or anyone could keep a team from its own bucket.
    pub(crate) async fn rivals(&self, resource: &BucketReplication) -> Result<Vec<Arc<Guarded>>, Error> {
        let own = self.account_of_source(resource);
        let mut rivals = Vec::new();
        for rival in self.index.by_source(&resource.spec.source.bucket) {
            let Ok(other) = &rival.0 else { continue };
            let elsewhere = own.is_some() && self.account_of_source(other).is_some_and(|a| own != Some(a));
            if other.uid() != resource.uid() && !elsewhere && self.accounts_of(other).await?.is_ok() {
                rivals.push(rival);
            }
        }
        Ok(rivals)
    }

    /// The id of the account that a resource takes its source to be in, where an `AwsAccount` says it.
    fn account_of_source(&self, resource: &BucketReplication) -> Option<String> {
        let name = resource.spec.source.account_ref.as_deref().unwrap_or(DEFAULT_ACCOUNT);
        self.account(name).ok().flatten().map(|account| account.spec.account_id)
    }

    fn owner_among(&self, rivals: &[Arc<Guarded>], resource: &BucketReplication) -> Option<String> {
        // Locked from the question to the claim: of two that ask at once one is answered first.
        let mut memory = self.memory();
        let holds = |r: &BucketReplication| {
            has_applied(r.status.as_ref())
                || r.uid().and_then(|uid| memory.get(&uid)).is_some_and(|memory| memory.claims)
        };
        let rivals = rivals.iter().filter_map(|g| g.0.as_ref().ok());
        let owner = source_ownership::owner(rivals.chain([resource]), holds)?;
        if owner.uid() != resource.uid() {
            return Some(source_ownership::message(owner));
        }
        if !has_applied(resource.status.as_ref()) {
            memory.entry(resource.uid().unwrap_or_default()).or_default().claims = true;
        }
        None
    }
}

fn has_applied(status: Option<&BucketReplicationStatus>) -> bool {
    status.is_some_and(|status| status.applied_hash.is_some())
}
