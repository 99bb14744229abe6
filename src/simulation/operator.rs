//! One operator process in memory: its cache, its memory, and the controllers that ship.
//!
//! In: the ports, and what the watch brings. Out: reconciles. A process that dies is dropped, and another one is made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use kube::core::ObjectMeta;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::BucketReplication;
use crate::controllers::assemble::{Controllers, Parts};
use crate::controllers::aws_account::controller::AwsAccountController;
use crate::controllers::bucket_replication::bucket_locks;
use crate::controllers::bucket_replication::controller::BucketReplicationController;
use crate::controllers::index::Index;
use crate::controllers::replication_backfill::controller::ReplicationBackfillController;
use crate::controllers::settings::Settings;
use crate::controllers::{Guarded, GuardedAwsAccount};
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::clock::{Clock, SimulatedClock};
use crate::runtime::controller::Controller as _;
use crate::runtime::leader::boot_instant::BootInstant;
use crate::runtime::leader::{Succession, Term};
use crate::runtime::queue::Urgency;
use crate::runtime::store::{Change, Key};
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::cloud::SimulatedCloud;
use crate::simulation::cluster::SimulatedCluster;
use crate::simulation::hook::{Hook, Hooked};
use crate::telemetry::{EventMetrics, EventOutcome, Metrics, Registry};

/// The UID of the simulated cluster.
pub const CLUSTER: &str = "cluster-uid";

/// An operator process.
pub struct SimulatedOperator {
    controller: BucketReplicationController<Hooked<SimulatedCloud>, Hooked<SimulatedCluster>>,
    accounts: AwsAccountController<Hooked<SimulatedCloud>, Hooked<SimulatedCluster>>,
    backfills: ReplicationBackfillController<Hooked<SimulatedCloud>, Hooked<SimulatedCluster>>,
    /// The version of each object that the watches brought last: a watch brings none twice.
    brought: Mutex<BTreeMap<ObjectName, String>>,
}

impl SimulatedOperator {
    /// Starts a process, which has seen nothing yet. `edit`: what its flags say.
    pub fn start(
        cloud: &SimulatedCloud,
        cluster: &SimulatedCluster,
        clock: &SimulatedClock,
        hook: Hook,
        edit: impl FnOnce(&mut Settings),
    ) -> SimulatedOperator {
        SimulatedOperator::start_under((cloud, cluster, clock), hook, Box::new(|| true), edit)
    }

    /// Starts a process that begins steps only while `may_begin` says so.
    pub fn start_under(
        (cloud, cluster, clock): (&SimulatedCloud, &SimulatedCluster, &SimulatedClock),
        hook: Hook,
        may_begin: Box<dyn Fn() -> bool + Send + Sync>,
        edit: impl FnOnce(&mut Settings),
    ) -> SimulatedOperator {
        let mut settings = Settings::without_flags(CLUSTER);
        edit(&mut settings);
        let (event_metrics, mut registry) = (EventMetrics::default(), Registry::default());
        event_metrics.register(&mut registry);
        let Controllers { accounts, replications, backfills } = Controllers::new(Parts {
            cloud: Arc::new(Hooked::new(cloud.clone(), hook.clone())),
            cluster: Arc::new(Hooked::new(cluster.clone(), hook)),
            settings,
            clock: Clock::Simulated(clock.clone()),
            may_begin,
            metrics: Metrics::new(registry),
            event_metrics,
            // A handful of resources take little memory, and each would be read again at every step.
            packing: None,
        });
        SimulatedOperator { controller: replications, accounts, backfills, brought: Mutex::default() }
    }

    /// A process of its own that has seen and remembers the same, while this one runs no reconcile. What is due is asked
    /// after each change, so that nothing waits in its queues.
    pub fn copy_under(
        &self,
        ports: (&SimulatedCloud, &SimulatedCluster, &SimulatedClock),
        hook: Hook,
        may_begin: Box<dyn Fn() -> bool + Send + Sync>,
    ) -> SimulatedOperator {
        let copy = SimulatedOperator::start_under(ports, hook, may_begin, |_| {});
        let (from, to) = (&self.controller.context, &copy.controller.context);
        to.index.copy_from(&from.index);
        to.memory.copy_from(&from.memory);
        to.evidence.copy_from(&from.evidence);
        to.bucket_locks.copy_from(&from.bucket_locks);
        to.tracker.copy_from(&from.tracker);
        copy.accounts.context.requeue.lock().clone_from(&self.accounts.context.requeue.lock());
        copy.backfills.context.memory.copy_from(&self.backfills.context.memory);
        if self.controller.replications.is_open() {
            copy.controller.replications.open();
        }
        copy.brought.lock().clone_from(&self.brought.lock());
        copy
    }

    /// The watches bring everything as the API server holds it now.
    pub fn sync(&self, server: &ApiServer) {
        let index = &self.controller.context.index;
        let mut brought = self.brought.lock();
        brought.retain(|name, _| server.objects.contains_key(name));
        for (name, object) in &server.objects {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            if brought.get(name).is_some_and(|held| held == version) {
                continue;
            }
            brought.insert(name.clone(), version.to_owned());
            match name.kind.as_str() {
                "AwsAccount" => {
                    let changes = decode(object).map(|account| index.accounts.apply(account));
                    self.observe_accounts(changes.unwrap_or_default());
                }
                "ReplicationBackfill" => {
                    let changes = decode(object).map(|backfill| index.backfills.apply(backfill));
                    changes.unwrap_or_default().iter().for_each(|change| {
                        self.backfills.observe(change);
                    });
                }
                _ => {
                    let changes = decode(object).map(|resource| index.replications.apply(resource));
                    self.observe(changes.unwrap_or_default());
                }
            }
        }
        self.sync_backfills(server);
        for key in index.accounts.keys() {
            if !server.objects.contains_key(&ObjectName::account(key.name())) {
                self.observe_accounts(index.accounts.remove(&key).into_iter().collect());
            }
        }
        for key in index.replications.keys() {
            let name = ObjectName::replication(key.namespace().unwrap_or_default(), key.name());
            if !server.objects.contains_key(&name) {
                self.observe(index.replications.remove(&key).into_iter().collect());
            }
        }
    }

    fn observe_accounts(&self, changes: Vec<Change<GuardedAwsAccount>>) {
        for change in &changes {
            self.accounts.observe(change);
        }
    }

    /// Forgets the backfills that are gone.
    fn sync_backfills(&self, server: &ApiServer) {
        let index = &self.controller.context.index;
        for key in index.backfills.keys() {
            let name = ObjectName::backfill(key.namespace().unwrap_or_default(), key.name());
            if !server.objects.contains_key(&name) {
                index.backfills.remove(&key).iter().for_each(|change| {
                    self.backfills.observe(change);
                });
            }
        }
    }

    /// The reconcile of a backfill as the cache holds it; `None` where it holds none.
    pub fn reconcile_backfill(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<impl Future<Output = Result<Action, Error>>> {
        let object = self.controller.context.index.backfills.get(&Key::namespaced(namespace, name))?;
        Some(self.backfills.reconcile(object))
    }

    fn observe(&self, changes: Vec<Change<Guarded>>) {
        for change in &changes {
            let urgency = self.controller.observe(change);
            if let (Change::Applied { after, .. }, Some(urgency)) = (change, urgency) {
                self.controller.replications.trigger(Key::of(kube::Resource::meta(after.as_ref())), urgency);
            }
        }
    }

    /// The names of the resources that have become due by what the watches brought, since this was asked last.
    pub fn take_due(&self) -> BTreeSet<String> {
        let queue = &self.controller.replications;
        let mut due = BTreeSet::new();
        while let Some(begun) = queue.begin(|_| Some("".into())) {
            queue.end(&begun.key, None);
            due.insert(begun.key.name().to_owned());
        }
        due
    }

    /// The reconcile of a resource as the cache holds it; `None` where it holds none.
    pub fn reconcile(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<impl Future<Output = Result<Action, Error>>> {
        let object = self.controller.context.index.replications.get(&Key::namespaced(namespace, name))?;
        Some(self.controller.reconcile(object))
    }

    /// The reconcile of an `AwsAccount` as the cache holds it; `None` where it holds none.
    pub fn reconcile_account(&self, name: &str) -> Option<impl Future<Output = Result<Action, Error>>> {
        let object = self.controller.context.index.accounts.get(&Key::cluster(name))?;
        Some(self.accounts.reconcile(object))
    }

    /// Reconciles to the end because time has passed, and not because anything changed.
    pub fn reconcile_in_time(&self, namespace: &str, name: &str) -> Option<Result<Option<Duration>, Error>> {
        let object = self.controller.context.index.replications.get(&Key::namespaced(namespace, name))?;
        let result = self.controller.reconcile_because(object, Urgency::Periodic).now_or_never()?;
        Some(result.map(Action::after))
    }

    /// When a term that begins has the resource checked first, as one of `fleet` resources.
    pub fn first_due(&self, namespace: &str, name: &str, fleet: usize) -> Option<Duration> {
        let object = self.controller.context.index.replications.get(&Key::namespaced(namespace, name))?;
        Some(self.controller.first_due(&object, fleet).1)
    }

    /// Reconciles to the end; `None` when the process died on the way, or the cache holds no such resource.
    pub fn reconcile_now(&self, namespace: &str, name: &str) -> Option<Result<Option<Duration>, Error>> {
        let result = self.reconcile(namespace, name)?.now_or_never()?;
        Some(result.map(Action::after))
    }

    /// Reads the metrics that are due, as the sweep does beside the reconciles.
    pub async fn sweep(&self, start: Instant) {
        crate::controllers::bucket_replication::sweep::sweep(&self.controller.context, start).await;
    }

    /// Acts on an event of CloudTrail: the checks that it causes are left to the caller.
    pub async fn dispatch(&self, body: &str) -> EventOutcome {
        self.controller.context.events.dispatch(body, self.controller.context.cloud.as_ref()).await
    }

    /// The event queue answers, and its messages were deleted.
    pub fn queue_answers(&self) {
        self.controller.context.events.queue_answered(0);
    }

    /// The metrics of the process, in the words of the exposition format.
    pub fn metrics(&self) -> String {
        self.controller.context.metrics.render().unwrap_or_default()
    }

    /// Takes in a message of the event queue.
    pub async fn take_failures(&self, body: &str) -> usize {
        use crate::controllers::bucket_replication::failure_events::take_failures;
        take_failures(body, &self.controller.context).await
    }

    /// The resource as the cache holds it.
    pub fn cached(&self, namespace: &str, name: &str) -> Option<BucketReplication> {
        let object = self.controller.context.index.replications.get(&Key::namespaced(namespace, name))?;
        object.0.as_ref().ok().cloned()
    }

    /// Whether the cache holds a resource.
    pub fn holds(&self, namespace: &str, name: &str) -> bool {
        self.controller.context.index.replications.contains(&Key::namespaced(namespace, name))
    }

    /// The metadata of an `AwsAccount` as the cache holds it.
    pub fn cached_account(&self, name: &str) -> Option<ObjectMeta> {
        let object = self.controller.context.index.accounts.get(&Key::cluster(name))?;
        Some(kube::Resource::meta(object.as_ref()).clone())
    }

    /// The metadata of a backfill as the cache holds it.
    pub fn cached_backfill(&self, namespace: &str, name: &str) -> Option<ObjectMeta> {
        let object = self.controller.context.index.backfills.get(&Key::namespaced(namespace, name))?;
        Some(kube::Resource::meta(object.as_ref()).clone())
    }

    /// A term of leadership begins, as the runtime begins it. `succession`: how the one before it ended.
    pub fn begin_term(&self, succession: Succession) {
        let term = Term::until(BootInstant::NEVER, succession);
        self.accounts.begin_term(&term);
        self.controller.begin_term(&term);
        self.controller.replications.open();
        self.backfills.begin_term(&term);
    }

    /// The memory by which the process decides, as text.
    pub fn fingerprint(&self, now: Instant) -> String {
        let backfills = self.backfills.context.memory.fingerprint(now);
        format!("{}; {backfills}", self.controller.context.memory.fingerprint(now))
    }

    /// The index, which holds the objects that the watches of this process have seen.
    pub fn index(&self) -> Arc<Index> {
        self.controller.context.index.clone()
    }

    /// Holds the lock of a bucket, as a write to its policy does.
    pub async fn hold_bucket(&self, bucket: &str) -> bucket_locks::Held {
        self.controller.context.bucket_locks.lock(bucket).await
    }

    /// The number of resources of which the process remembers something.
    pub fn remembered(&self) -> usize {
        self.controller.context.memory.len()
    }
}

/// As the watch decodes it: a spec that cannot be read is kept beside its metadata.
fn decode<T: DeserializeOwned>(object: &Value) -> Option<T> {
    T::deserialize(object).ok()
}
