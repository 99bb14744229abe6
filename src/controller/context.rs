//! What all reconciles share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::events::Reporter;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::corrections::Corrections;
use super::leader::Leadership;
use super::pace::Pace;
use super::work::Work;
use super::{Guarded, conflict};
use crate::api::{BucketReplication, BucketReplicationStatus, Interval};
use crate::aws::Aws;
use crate::telemetry::Metrics;

/// How the controller runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; empty for all.
    pub namespaces: Vec<String>,
    /// Labels of the resources to work on; all when absent.
    pub selector: Option<String>,
    /// Reconciles at the same time.
    pub concurrency: u16,
    /// How often AWS is checked where the resource does not say.
    pub interval: Interval,
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// Whether metrics tell of each resource by name.
    pub resource_metrics: bool,
}

/// How long a status of our own is preferred to the cache's, which lags behind.
const CACHE_LAG: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
struct Memory {
    pace: Pace,
    corrections: Corrections,
    written: Option<(Instant, BucketReplicationStatus)>,
    /// It was found to own its source, and the cache does not show yet that it applied anything.
    claims: bool,
}

impl Memory {
    fn is_idle(&self) -> bool {
        self.pace.is_idle() && self.corrections.is_empty() && self.written.is_none() && !self.claims
    }
}

pub struct Context {
    pub client: Client,
    pub aws: Arc<Aws>,
    pub settings: Settings,
    pub metrics: Metrics,
    pub reporter: Reporter,
    /// Cancelled when the operator is to stop: the step under way is finished, no other is begun.
    pub shutdown: CancellationToken,
    /// Whether anything may be begun now.
    pub leadership: Leadership,
    /// The account of it all, for metrics and health.
    pub work: Arc<Work>,
    stores: Vec<Store<Guarded>>,
    /// How many of the stores do not hold all of their resources yet.
    unknown: watch::Sender<usize>,
    /// By UID; only of objects that failed, were corrected, were written a moment ago, or never applied anything.
    memory: Mutex<HashMap<String, Memory>>,
}

impl Context {
    pub(super) fn new(
        client: Client,
        aws: Arc<Aws>,
        settings: Settings,
        metrics: Metrics,
        shutdown: CancellationToken,
        stores: Vec<Store<Guarded>>,
        leadership: Leadership,
    ) -> Context {
        let reporter = Reporter {
            controller: "s3-replication-operator".to_owned(),
            instance: std::env::var("POD_NAME").ok(),
        };
        let unknown = watch::Sender::new(stores.len());
        let (memory, work) = (Mutex::default(), Arc::default());
        Context {
            client,
            aws,
            settings,
            metrics,
            reporter,
            shutdown,
            leadership,
            work,
            stores,
            unknown,
            memory,
        }
    }

    /// Waits until the resources of every watch are known. A store's own `wait_until_ready` wakes one of those
    /// who wait, and here wait many.
    pub(super) async fn all_known(&self) {
        // It ends only well: the sender is our own.
        drop(self.unknown.subscribe().wait_for(|unknown| *unknown == 0).await);
    }

    /// The first list of one more watch is complete.
    pub(super) fn one_more_known(&self) {
        self.unknown.send_modify(|unknown| *unknown = unknown.saturating_sub(1));
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all: another may have worked meanwhile.
    pub(super) fn forget_all(&self) {
        self.memory().clear();
        self.work.forget_all();
    }

    pub(super) fn forget(&self, uid: &str) {
        self.memory().remove(uid);
        self.work.forget(uid);
    }

    /// Acts on what is remembered of an object, and forgets the object when nothing is left to remember: an idle
    /// resource takes no memory here.
    fn with_memory<T>(&self, uid: &str, act: impl FnOnce(&mut Memory) -> T) -> T {
        let mut all = self.memory();
        let mut memory = all.remove(uid).unwrap_or_default();
        let result = act(&mut memory);
        if !memory.is_idle() {
            all.insert(uid.to_owned(), memory);
        }
        result
    }

    pub(super) fn with_pace<T>(&self, uid: &str, act: impl FnOnce(&mut Pace) -> T) -> T {
        self.with_memory(uid, |memory| act(&mut memory.pace))
    }

    pub(super) fn with_corrections<T>(&self, uid: &str, act: impl FnOnce(&mut Corrections) -> T) -> T {
        self.with_memory(uid, |memory| act(&mut memory.corrections))
    }

    pub(super) fn writes(&self, uid: &str, status: &BucketReplicationStatus) {
        self.with_memory(uid, |memory| memory.written = Some((Instant::now(), status.clone())));
    }

    pub(super) fn wrote_nothing(&self, uid: &str) {
        self.with_memory(uid, |memory| memory.written = None);
    }

    /// The cache holds this now: a status of our own need no longer be remembered once it is there, unless a
    /// reconcile is under way, which has the object as the cache held it before.
    pub(super) fn cached(&self, uid: &str, status: Option<&BucketReplicationStatus>) {
        let needed = self.work.is_under_way(uid);
        self.with_memory(uid, |memory| {
            memory.written.take_if(|(_, written)| !needed && Some(&*written) == status);
            memory.claims &= !has_applied(status);
        });
    }

    /// No reconcile of this object is under way any more.
    pub(super) fn settled(&self, object: &Guarded) {
        let reference = ObjectRef::from_obj(object);
        let held = self.stores.iter().find_map(|store| store.get(&reference));
        if let Some(held) = held.filter(|held| held.uid() == object.uid()) {
            let status = held.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
            self.cached(&object.uid().unwrap_or_default(), status);
        }
    }

    /// The status as last written: the cache's, unless it has not caught up with what we wrote a moment ago.
    pub(super) fn last_status(
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

    /// Why this resource must wait, if another one owns its source. Otherwise the source is its own from now on,
    /// also for a rival that is told from it by nothing but the UID.
    pub(super) fn source_conflict(&self, resource: &BucketReplication) -> Option<String> {
        let rivals = self.resources_for(&resource.spec.source.bucket);
        // Locked from the question to the claim: of two that ask at once one is answered first.
        let mut memory = self.memory();
        let holds = |r: &BucketReplication| {
            has_applied(r.status.as_ref())
                || r.uid().and_then(|uid| memory.get(&uid)).is_some_and(|memory| memory.claims)
        };
        let rivals = rivals.iter().filter_map(|g| g.0.as_ref().ok());
        let owner = conflict::owner(rivals.chain([resource]), holds)?;
        if owner.uid() != resource.uid() {
            return Some(conflict::message(owner));
        }
        if !has_applied(resource.status.as_ref()) {
            memory.entry(resource.uid().unwrap_or_default()).or_default().claims = true;
        }
        None
    }

    /// The resources that may take over a source when one of them has gone.
    pub(super) fn successors(&self, gone: &BucketReplication) -> Vec<ObjectRef<Guarded>> {
        let others = self.resources_for(&gone.spec.source.bucket);
        others.iter().filter(|g| g.uid() != gone.uid()).map(|g| ObjectRef::from_obj(g.as_ref())).collect()
    }
}

fn has_applied(status: Option<&BucketReplicationStatus>) -> bool {
    status.is_some_and(|status| status.applied_hash.is_some())
}
