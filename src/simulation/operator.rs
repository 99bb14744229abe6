//! One operator process in memory: its cache, its memory, and the controller that ships.
//!
//! In: the ports, and what the watch brings. Out: reconciles. A process that dies is dropped, and another one is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{BucketReplication, Interval};
use crate::controllers::Guarded;
use crate::controllers::bucket_replication::bucket_locks::BucketLocks;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::controller::BucketReplicationController;
use crate::controllers::bucket_replication::evidence_store::EvidenceStore;
use crate::controllers::bucket_replication::memory::Memory;
use crate::controllers::index::Index;
use crate::controllers::settings::{HealthSettings, Settings};
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::clock::{Clock, SimulatedClock};
use crate::runtime::controller::Controller as _;
use crate::runtime::queue::Urgency;
use crate::runtime::store::{Change, Key};
use crate::runtime::triggers::Triggers;
use crate::simulation::api_server::{ApiServer, ObjectName};
use crate::simulation::cloud::SimulatedCloud;
use crate::simulation::cluster::SimulatedCluster;
use crate::simulation::hook::{Hook, Hooked};
use crate::telemetry::{Metrics, Registry};

/// The UID of the simulated cluster.
pub const CLUSTER: &str = "cluster-uid";

/// An operator process.
pub struct Operator {
    controller: BucketReplicationController<Hooked<SimulatedCloud>, Hooked<SimulatedCluster>>,
}

impl Operator {
    /// Starts a process, which has seen nothing yet. `edit`: what its flags say.
    pub fn start(
        cloud: &SimulatedCloud,
        cluster: &SimulatedCluster,
        clock: &SimulatedClock,
        hook: Hook,
        edit: impl FnOnce(&mut Settings),
    ) -> Operator {
        Operator::start_under(cloud, cluster, clock, hook, Box::new(|| true), edit)
    }

    /// Starts a process that begins steps only while `may_begin` says so.
    pub fn start_under(
        cloud: &SimulatedCloud,
        cluster: &SimulatedCluster,
        clock: &SimulatedClock,
        hook: Hook,
        may_begin: Box<dyn Fn() -> bool + Send + Sync>,
        edit: impl FnOnce(&mut Settings),
    ) -> Operator {
        let mut settings = Settings {
            namespaces: Vec::new(),
            selector: None,
            concurrency: 12,
            interval: Interval::default(),
            cluster: CLUSTER.to_owned(),
            require_account: false,
            read_only: false,
            former_clusters: Vec::new(),
            request_interval: Duration::from_secs(10),
            longest_request: Duration::from_secs(10),
            health: HealthSettings::default(),
            resource_metrics: false,
            events: Default::default(),
        };
        edit(&mut settings);
        let context = Context {
            cloud: Arc::new(Hooked::new(cloud.clone(), hook.clone())),
            cluster: Arc::new(Hooked::new(cluster.clone(), hook)),
            index: Arc::new(Index::new(&settings.namespaces)),
            memory: Memory::default(),
            evidence: EvidenceStore::default(),
            bucket_locks: BucketLocks::default(),
            settings,
            clock: Clock::Simulated(clock.clone()),
            may_begin,
            metrics: Metrics::new(Registry::default()),
            tracker: Arc::default(),
            events: Arc::default(),
        };
        let controller = BucketReplicationController {
            context: Arc::new(context),
            replications: Triggers::new(1),
            accounts: Triggers::new(1),
        };
        Operator { controller }
    }

    /// The watches bring everything as the API server holds it now.
    pub fn sync(&self, server: &ApiServer) {
        let index = &self.controller.context.index;
        for (name, object) in &server.objects {
            match name.kind.as_str() {
                "AwsAccount" => {
                    decode(object).map(|account| index.apply_account(account));
                }
                _ => {
                    let changes = decode(object).map(|resource| index.replications.apply(resource));
                    self.observe(changes.unwrap_or_default());
                }
            }
        }
        for key in index.accounts.keys() {
            if !server.objects.contains_key(&ObjectName::account(key.name())) {
                index.accounts.remove(&key);
            }
        }
        for key in index.replications.keys() {
            let name = ObjectName::replication(key.namespace().unwrap_or_default(), key.name());
            if !server.objects.contains_key(&name) {
                self.observe(index.replications.remove(&key).into_iter().collect());
            }
        }
    }

    fn observe(&self, changes: Vec<Change<Guarded>>) {
        for change in &changes {
            self.controller.observe(change);
        }
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

    /// Reconciles to the end because time has passed, and not because anything changed.
    pub fn reconcile_in_time(&self, namespace: &str, name: &str) -> Option<Result<Option<Duration>, Error>> {
        let object = self.controller.context.index.replications.get(&Key::namespaced(namespace, name))?;
        let result = self.controller.reconcile_because(object, Urgency::Periodic).now_or_never()?;
        Some(result.map(Action::after))
    }

    /// Reconciles to the end; `None` when the process died on the way, or the cache holds no such resource.
    pub fn reconcile_now(&self, namespace: &str, name: &str) -> Option<Result<Option<Duration>, Error>> {
        let result = self.reconcile(namespace, name)?.now_or_never()?;
        Some(result.map(Action::after))
    }

    /// The resource as the cache holds it.
    pub fn cached(&self, namespace: &str, name: &str) -> Option<BucketReplication> {
        let object = self.controller.context.index.replications.get(&Key::namespaced(namespace, name))?;
        object.0.as_ref().ok().cloned()
    }

    /// A new term of leadership begins.
    pub fn begin_term(&self) {
        self.controller.context.memory.forget_all();
        self.controller.context.evidence.forget_all();
    }

    /// What the process remembers and decides by, as text.
    pub fn fingerprint(&self, now: Instant) -> String {
        self.controller.context.memory.fingerprint(now)
    }

    /// What the watches of this process have brought.
    pub fn index(&self) -> Arc<Index> {
        self.controller.context.index.clone()
    }

    /// How many resources the process remembers something of.
    pub fn remembered(&self) -> usize {
        self.controller.context.memory.len()
    }
}

/// As the watch decodes it: a spec that cannot be read is kept beside its metadata.
fn decode<T: DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}
