//! What all reconciles share.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::core::DeserializeGuard;
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::api::{BucketReplication, BucketReplicationStatus, DEFAULT_ACCOUNT, Interval};
use crate::aws::AwsConnector;
use crate::controllers::aws_account::Verified;
use crate::controllers::bucket_replication::flapping::CorrectionHistory;
use crate::controllers::bucket_replication::identity;
use crate::controllers::bucket_replication::source_ownership;
use crate::controllers::{Guarded, GuardedAccount};
use crate::ports::Cluster;
use crate::replication::authorize::accounts::{WithoutAccount, references, unreadable};
use crate::replication::authorize::{authorize, labels_matter};
use crate::replication::{Account, Accounts, Refusal, Replication};
use crate::runtime::Error;
use crate::runtime::bulkhead::Bulkheads;
use crate::runtime::leader::Leadership;
use crate::runtime::object_writer::ObjectWriter;
use crate::runtime::requeue::RequeueBackoff;
use crate::runtime::tracker::ReconcileTracker;
use crate::telemetry::Metrics;

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; empty for all.
    pub namespaces: Vec<String>,
    /// Labels of the resources to work on; all when absent.
    pub selector: Option<String>,
    /// Reconciles at the same time, for each set of accounts they act in.
    pub concurrency: u16,
    /// How often AWS is checked where the resource does not say.
    pub interval: Interval,
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// Refuse resources that act without an `AwsAccount`.
    pub require_account: bool,
    /// Whether metrics tell of each resource by name.
    pub resource_metrics: bool,
}

/// How long a status of our own is preferred to the cache's, which lags behind.
const CACHE_LAG: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Memory {
    pace: RequeueBackoff,
    corrections: CorrectionHistory,
    written: Option<(Instant, BucketReplicationStatus)>,
    /// It was found to own its source, and the cache does not show yet that it applied anything.
    claims: bool,
}

impl Memory {
    fn is_empty(&self) -> bool {
        self.pace.is_empty() && self.corrections.is_empty() && self.written.is_none() && !self.claims
    }
}

/// What the watches keep up to date.
pub(crate) struct Caches {
    pub accounts: Store<GuardedAccount>,
    /// One for each namespace that is watched, or one for all.
    pub resources: Vec<Store<Guarded>>,
}

pub struct Context {
    pub client: Client,
    pub identities: Arc<AwsConnector>,
    pub settings: Settings,
    pub metrics: Metrics,
    pub cluster: ObjectWriter,
    /// Cancelled when the operator is to stop: the step under way is finished, no other is begun.
    pub shutdown: CancellationToken,
    /// When STS last said who the operator is in an account, by the `AwsAccount`'s UID.
    pub(crate) verified: Mutex<HashMap<String, Verified>>,
    bulkheads: Bulkheads,
    accounts: Store<GuardedAccount>,
    /// Whether anything may be begun now.
    pub leadership: Leadership,
    /// The account of it all, for metrics and health.
    pub work: Arc<ReconcileTracker>,
    stores: Vec<Store<Guarded>>,
    /// How many of the stores do not hold all of their resources yet.
    unknown: watch::Sender<usize>,
    /// By UID; only of objects that failed, were corrected, were written a moment ago, or never applied anything.
    memory: Mutex<HashMap<String, Memory>>,
}

impl Context {
    pub(crate) fn new(
        client: Client,
        identities: Arc<AwsConnector>,
        settings: Settings,
        metrics: Metrics,
        shutdown: CancellationToken,
        caches: Caches,
        leadership: Leadership,
    ) -> Context {
        let Caches { accounts, resources: stores } = caches;
        let reporter = Reporter {
            controller: "s3-replication-operator".to_owned(),
            instance: std::env::var("POD_NAME").ok(),
        };
        // And the accounts.
        let unknown = watch::Sender::new(stores.len() + 1);
        let memory = Mutex::default();
        let bulkheads = Bulkheads::new(settings.concurrency);
        let work = Arc::default();
        Context {
            identities,
            settings,
            metrics,
            cluster: ObjectWriter::new(client.clone(), reporter),
            client,
            shutdown,
            verified: Mutex::default(),
            bulkheads,
            accounts,
            leadership,
            work,
            stores,
            unknown,
            memory,
        }
    }

    /// Waits until the resources of every watch are known. A store's own `wait_until_ready` wakes one of those
    /// who wait, and here wait many.
    pub(crate) async fn all_known(&self) {
        // It ends only well: the sender is our own.
        drop(self.unknown.subscribe().wait_for(|unknown| *unknown == 0).await);
    }

    /// The first list of one more watch is complete.
    pub(crate) fn one_more_known(&self) {
        self.unknown.send_modify(|unknown| *unknown = unknown.saturating_sub(1));
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all: another may have worked meanwhile.
    pub(crate) fn forget_all(&self) {
        self.memory().clear();
        self.work.forget_all();
    }

    pub(crate) fn forget(&self, uid: &str) {
        self.memory().remove(uid);
        self.work.forget(uid);
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
        let needed = self.work.is_under_way(uid);
        self.with_memory(uid, |memory| {
            memory.written.take_if(|(_, written)| !needed && Some(&*written) == status);
            memory.claims &= !has_applied(status);
        });
    }

    /// No reconcile of this object is under way any more.
    pub(crate) fn settled(&self, object: &Guarded) {
        let reference = ObjectRef::from_obj(object);
        let held = self.stores.iter().find_map(|store| store.get(&reference));
        if let Some(held) = held.filter(|held| held.uid() == object.uid()) {
            let status = held.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
            self.cached(&object.uid().unwrap_or_default(), status);
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

    /// All resources for a source bucket, in every namespace that is watched.
    fn resources_for(&self, bucket: &str) -> Vec<Arc<Guarded>> {
        let same = |g: &Guarded| g.0.as_ref().is_ok_and(|r| r.spec.source.bucket == bucket);
        self.stores.iter().flat_map(|store| store.state_filter(same)).collect()
    }

    /// The resource as it is known now: what a reconcile was begun with may be old when it had to wait.
    pub(crate) fn current(&self, object: &Guarded) -> Option<Arc<Guarded>> {
        let reference = ObjectRef::from_obj(object);
        let found = self.stores.iter().find_map(|store| store.get(&reference));
        found.filter(|found| found.uid() == object.uid())
    }

    /// The places for resources that act where this one does.
    pub(crate) fn places(&self, object: &Guarded) -> Arc<Semaphore> {
        match &object.0 {
            Ok(resource) => self.bulkheads.of(references(&resource.spec)),
            Err(_) => self.bulkheads.of([]),
        }
    }

    /// Every resource that is watched and that refers to an account.
    pub(crate) fn resources_of_account(&self, name: &str) -> Vec<Arc<Guarded>> {
        let refers = |g: &Guarded| g.0.as_ref().is_ok_and(|r| references(&r.spec).contains(name));
        self.stores.iter().flat_map(|store| store.state_filter(refers)).collect()
    }

    /// An account by its name.
    pub(crate) fn account(&self, name: &str) -> Result<Option<Account>, Refusal> {
        match self.accounts.get(&ObjectRef::new(name)).as_deref() {
            None => Ok(None),
            Some(DeserializeGuard(Ok(account))) => {
                Ok(Some(Account { name: name.to_owned(), spec: account.spec.clone() }))
            }
            Some(DeserializeGuard(Err(invalid))) => Err(unreadable(name, &invalid.error)),
        }
    }

    /// The accounts a resource refers to, if it may do under them what it asks for: told without any call to AWS.
    pub(crate) async fn accounts_of(
        &self,
        resource: &BucketReplication,
    ) -> Result<Result<Accounts, Refusal>, Error> {
        let required = self.settings.require_account;
        let accounts = match Accounts::resolve(
            &resource.spec,
            |name| self.account(name),
            WithoutAccount::of(required, false),
        ) {
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
        for rival in self.resources_for(&resource.spec.source.bucket) {
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

    /// The resources that may take over a source when one of them has gone.
    pub(crate) fn successors(&self, gone: &BucketReplication) -> Vec<ObjectRef<Guarded>> {
        let others = self.resources_for(&gone.spec.source.bucket);
        others.iter().filter(|g| g.uid() != gone.uid()).map(|g| ObjectRef::from_obj(g.as_ref())).collect()
    }
}

fn has_applied(status: Option<&BucketReplicationStatus>) -> bool {
    status.is_some_and(|status| status.applied_hash.is_some())
}
