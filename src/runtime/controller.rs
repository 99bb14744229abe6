//! Watches one kind and reconciles its objects.
//!
//! In: a [`Controller`], which knows the kind, and a term of leadership. Out: a store that follows the API server, and
//! a reconcile of each object whenever it is due. Everything here is the same for all kinds.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher::watcher};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span, trace_span, warn};

use crate::api::Reason;
use crate::runtime::Error;
use crate::runtime::action::Action;
use crate::runtime::leader::{Succession, Term};
use crate::runtime::liveness::Liveness;
use crate::runtime::queue::{Begun, BulkheadKey, Urgency};
use crate::runtime::requeue::{MAX_BACKOFF, RequeueBackoff};
use crate::runtime::store::{Change, Key, Store, StoreWriter};
use crate::runtime::tracker::ReconcileTracker;
use crate::runtime::triggers::Triggers;
use crate::runtime::watch_error::describe_watch_error;
use crate::telemetry::{Metrics, ReconcileResult};

/// Seconds after which the API server ends a watch and the operator begins another. A connection on which nothing
/// arrives any more is noticed a few seconds later.
const WATCH_TIMEOUT: u32 = 90;

/// `kubectl apply` keeps a second copy of the object in this annotation (Kubernetes, "Well-Known Labels, Annotations
/// and Taints").
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A kind, as the runtime must know it.
pub trait Controller: Send + Sync + 'static {
    type Kind: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static;
    /// The key by which objects of the kind are found.
    type IndexKey: Eq + Hash + Debug + Send + Sync + 'static;
    /// The values that are read of all objects of the kind at once.
    type Summary: Debug + Send + Sync + 'static;

    /// The longest that a reconcile may take.
    const DEADLINE: Duration;

    /// The objects of a namespace, or of the whole cluster.
    fn api(client: Client, namespace: Option<&str>) -> Api<Self::Kind>;

    fn store(&self) -> &Arc<Store<Self::Kind, Self::IndexKey, Self::Summary>>;

    /// Sees each change after the store has it, also while another process leads. Returns why the object itself must be
    /// reconciled; `None` when the change is none that matters.
    fn observe(&self, change: &Change<Self::Kind>) -> Option<Urgency>;

    /// A term begins: another process may have led meanwhile.
    fn begin_term(&self, _term: &Term) {}

    /// When an object is first due in a term, and why. `fleet`: how many objects there are.
    fn first_due(&self, _object: &Self::Kind, _fleet: usize) -> (Urgency, Duration) {
        (Urgency::Change, Duration::ZERO)
    }

    /// How long AWS may still complete a request that a former leader sent before its claim expired.
    fn longest_request(&self) -> Duration {
        Duration::ZERO
    }

    /// The objects with which this one shares permits.
    fn bulkhead(&self, object: &Self::Kind) -> BulkheadKey;

    /// Reconciles an object as it is now.
    fn reconcile(&self, object: Arc<Self::Kind>) -> impl Future<Output = Result<Action, Error>> + Send;

    /// The same, for a controller to which it matters whether a change or the time is why.
    fn reconcile_because(
        &self,
        object: Arc<Self::Kind>,
        _urgency: Urgency,
    ) -> impl Future<Output = Result<Action, Error>> + Send {
        self.reconcile(object)
    }
}

/// Where the figures of a kind's reconciles go.
#[derive(Clone, Debug)]
pub struct Instruments {
    pub metrics: Metrics,
    pub tracker: Arc<ReconcileTracker>,
}

/// Runs one controller.
pub struct Runner<C: Controller> {
    controller: C,
    triggers: Triggers<C::Kind>,
    instruments: Option<Instruments>,
    /// Objects whose last reconcile ended in an error.
    failing: Mutex<HashMap<Key, RequeueBackoff>>,
    /// Until then, a request of a former leader may still change what a reconcile has found.
    unsettled_until: Mutex<Option<Instant>>,
}

impl<C: Controller> Runner<C> {
    pub fn new(controller: C, triggers: Triggers<C::Kind>, instruments: Option<Instruments>) -> Runner<C> {
        Runner {
            controller,
            triggers,
            instruments,
            failing: Mutex::default(),
            unsettled_until: Mutex::default(),
        }
    }

    /// Follows the API server forever. `namespace`: `None` for all. `synced` is sent once the first list is complete.
    pub(crate) async fn watch(
        &self,
        api: Api<C::Kind>,
        config: watcher::Config,
        namespace: Option<String>,
        liveness: &Liveness,
        synced: oneshot::Sender<()>,
    ) {
        let kind = C::Kind::kind(&());
        let scope = match &namespace {
            None => kind.to_string(),
            Some(namespace) => format!("{kind} in namespace {namespace}"),
        };
        let mut synced = Some(synced);
        let mut writer = StoreWriter::new(self.controller.store().clone(), namespace);
        // Drops the parts that no controller reads, before they take memory.
        let events = watcher(api, config.streaming_lists().timeout(WATCH_TIMEOUT)).default_backoff().modify(
            |object| {
                let metadata = object.meta_mut();
                metadata.managed_fields = None;
                metadata.labels = None;
                metadata.owner_references = None;
                if let Some(annotations) = &mut metadata.annotations {
                    annotations.remove(LAST_APPLIED);
                }
            },
        );
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Err(error) => {
                    liveness.watch_failed(&scope, Instant::now());
                    self.controller.store().watch_failed(Instant::now());
                    let error = describe_watch_error(&error);
                    warn!(error, "the watch of {scope} resources failed; trying again");
                }
                Ok(event) => {
                    liveness.watch_works(&scope);
                    self.controller.store().watch_works();
                    let listed = matches!(event, Event::InitDone);
                    writer.observe(event).iter().for_each(|change| self.observe(change));
                    if listed {
                        synced.take().map(|synced| synced.send(()));
                    }
                }
            }
        }
    }

    /// Hands a change on: to the controller, and to the queue.
    pub(crate) fn observe(&self, change: &Change<C::Kind>) {
        let urgency = self.controller.observe(change);
        match change {
            Change::Applied { before, after } => {
                if let (None, Some(instruments)) = (before, &self.instruments) {
                    instruments.tracker.add(&after.uid().unwrap_or_default(), Instant::now());
                }
                if let Some(urgency) = urgency {
                    self.triggers.trigger(Key::of(after.meta()), urgency);
                }
            }
            Change::Deleted(gone) => {
                let key = Key::of(gone.meta());
                self.triggers.forget(&key);
                self.failing.lock().remove(&key);
                if let Some(instruments) = &self.instruments {
                    instruments.tracker.forget(&gone.uid().unwrap_or_default());
                }
            }
        }
    }

    /// How long a reconcile may have been running before the process counts as stuck, and how long the longest has
    /// been.
    pub(crate) fn longest_run(&self, now: Instant) -> (Duration, Option<Duration>) {
        (C::DEADLINE, self.triggers.longest_run(now))
    }

    /// Reconciles until the term ends or the operator must stop, and then until every running reconcile has ended or
    /// was dropped.
    pub(crate) async fn lead(self: Arc<Self>, term: Term, shutdown: CancellationToken) {
        self.begin_term(&term);
        let mut tasks = JoinSet::new();
        let stop = async {
            tokio::select! {
                () = term.ended() => {}
                () = shutdown.cancelled() => {}
            }
        };
        let mut stop = pin!(stop.fuse());
        let mut stopping = false;
        loop {
            while !stopping && let Some(begun) = self.triggers.begin(|key| self.bulkhead(key)) {
                // Boxed here: until now the object was an entry of the queue, and no future.
                tasks.spawn(Box::pin(self.clone().run_one(begun, term.clone())));
            }
            if stopping && tasks.is_empty() {
                break;
            }
            let due = async {
                match self.triggers.next_due() {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut stop, if !stopping => stopping = true,
                Some(_) = tasks.join_next() => {}
                () = self.triggers.changed() => {}
                () = due, if !stopping => {}
            }
        }
        self.triggers.close();
    }

    fn begin_term(&self, term: &Term) {
        self.failing.lock().clear();
        if let Some(instruments) = &self.instruments {
            instruments.tracker.forget_all();
        }
        self.controller.begin_term(term);
        let unsettled = match term.succession() {
            Succession::Orderly => Duration::ZERO,
            Succession::Takeover => self.controller.longest_request(),
        };
        *self.unsettled_until.lock() = (!unsettled.is_zero()).then(|| Instant::now() + unsettled);
        self.triggers.open();
        // After the queue is open: a change in between is queued twice, and none is lost.
        let keys = self.controller.store().keys();
        let fleet = keys.len();
        for key in keys {
            let Some(object) = self.controller.store().get(&key) else { continue };
            if let Some(instruments) = &self.instruments {
                instruments.tracker.add(&object.uid().unwrap_or_default(), Instant::now());
            }
            let (urgency, delay) = match self.controller.first_due(&object, fleet) {
                // A check that can wait begins when nothing can change behind it any more.
                (Urgency::Periodic, delay) => (Urgency::Periodic, delay + unsettled),
                change => change,
            };
            self.triggers.trigger_in(key, urgency, delay);
        }
    }

    fn bulkhead(&self, key: &Key) -> Option<BulkheadKey> {
        self.controller.store().get(key).map(|object| self.controller.bulkhead(&object))
    }

    /// Reconciles the object that a permit was taken for.
    async fn run_one(self: Arc<Self>, Begun { key, urgency, waited }: Begun, term: Term) {
        // One that cannot wait is repeated once nothing can change behind it any more.
        let unsettled =
            self.unsettled_until.lock().map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(unsettled) = unsettled.filter(|unsettled| !unsettled.is_zero()) {
            self.triggers.trigger_in(key.clone(), Urgency::Periodic, unsettled);
        }
        // As the store has it now: it may have changed while it waited.
        let next = match self.controller.store().get(&key) {
            None => None,
            Some(object) => self.reconcile(&key, (object, urgency), waited, &term).await,
        };
        // It may have gone while it was reconciled: nothing else would ever forget its failures then.
        if self.controller.store().get(&key).is_none() {
            self.failing.lock().remove(&key);
        }
        self.triggers.end(&key, next);
    }

    /// Reconciles within the fence, the deadline, a span and the figures; returns the pause until the next time.
    async fn reconcile(
        &self,
        key: &Key,
        (object, urgency): (Arc<C::Kind>, Urgency),
        waited: Duration,
        term: &Term,
    ) -> Option<Duration> {
        let (uid, began) = (object.uid().unwrap_or_default(), Instant::now());
        if let Some(Instruments { metrics, tracker }) = &self.instruments {
            metrics.queued(waited);
            tracker.begin(&uid, began);
        }
        let span = new_span(&*object);
        // Everything that a reconcile does, to AWS and to Kubernetes, it does in here.
        let work = AssertUnwindSafe(self.controller.reconcile_because(object, urgency));
        let work = work.catch_unwind().instrument(span.clone());
        let result = match term.fenced(tokio::time::timeout(C::DEADLINE, work)).await {
            None => Err(Error::NotLeading),
            Some(Err(_)) => Err(Error::TimedOut(C::DEADLINE)),
            Some(Ok(Err(panic))) => Err(Error::Panicked(describe_panic(panic.as_ref()))),
            Some(Ok(Ok(result))) => result,
        };
        self.count(&uid, began, &result, &span);
        match result {
            Ok(action) => {
                self.failing.lock().remove(key);
                action.after()
            }
            Err(error) => Some(self.retry_after(key, &error)),
        }
    }

    /// The one policy for errors, which no status shows: log, and try again with backoff.
    fn retry_after(&self, key: &Key, error: &Error) -> Duration {
        // Not a failure: another process leads by now, and this queue is about to end.
        if !matches!(error, Error::NotLeading) {
            let (kind, namespace, name) = (C::Kind::kind(&()), key.namespace(), key.name());
            warn!(%kind, namespace, name, %error, "the reconcile failed; trying again");
        }
        let mut failing = self.failing.lock();
        failing.entry(key.clone()).or_default().after(Reason::Progressing, MAX_BACKOFF)
    }

    fn count(&self, uid: &str, began: Instant, result: &Result<Action, Error>, span: &Span) {
        let Some(Instruments { metrics, tracker }) = &self.instruments else { return };
        let now = Instant::now();
        let ending = match (result, tracker.end(uid, now)) {
            (Err(error), _) => ReconcileResult::Error(error.name()),
            (Ok(_), Some(reason)) => ReconcileResult::Reported(reason),
            (Ok(_), None) => ReconcileResult::Deleted,
        };
        match ending {
            ReconcileResult::Reported(reason) => drop(span.record("s3replication.reason", reason.as_str())),
            ReconcileResult::Error(name) => {
                span.record("s3replication.reason", name).record("otel.status_code", "ERROR");
            }
            ReconcileResult::Deleted => tracker.forget(uid),
        }
        metrics.reconciled(ending, now.duration_since(began));
    }
}

/// For traces; a log line names the resource itself.
fn new_span<K: Resource>(object: &K) -> Span {
    trace_span!(
        "reconcile",
        k8s.namespace.name = object.namespace(),
        s3replication.name = object.name_any(),
        s3replication.reason = Empty,
        otel.status_code = Empty,
    )
}

fn describe_panic(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::runtime::leader::boot_instant::BootInstant;

    /// A controller whose reconciles fail while `fails` says so, and see their object go in between where `loses` does.
    struct Failing {
        store: Arc<Store<ConfigMap>>,
        fails: Mutex<bool>,
        loses: Mutex<bool>,
    }

    impl Controller for Failing {
        type Kind = ConfigMap;
        type IndexKey = ();
        type Summary = ();

        const DEADLINE: Duration = Duration::from_secs(60);

        fn api(client: Client, _namespace: Option<&str>) -> Api<ConfigMap> {
            Api::all(client)
        }

        fn store(&self) -> &Arc<Store<ConfigMap>> {
            &self.store
        }

        fn observe(&self, _change: &Change<ConfigMap>) -> Option<Urgency> {
            Some(Urgency::Change)
        }

        fn bulkhead(&self, _object: &ConfigMap) -> BulkheadKey {
            "".into()
        }

        fn longest_request(&self) -> Duration {
            Duration::from_secs(3_600)
        }

        async fn reconcile(&self, object: Arc<ConfigMap>) -> Result<Action, Error> {
            if *self.loses.lock() {
                self.store.remove(&Key::of(object.meta()));
            }
            if *self.fails.lock() { Err(Error::NotLeading) } else { Ok(Action::await_change()) }
        }
    }

    struct Scene {
        runner: Arc<Runner<Failing>>,
        term: Term,
    }

    impl Scene {
        fn new() -> Scene {
            let store = Arc::new(Store::unindexed());
            let (fails, loses) = (Mutex::new(true), Mutex::new(false));
            let runner = Runner::new(Failing { store, fails, loses }, Triggers::new(1), None);
            runner.triggers.open();
            Scene { runner: Arc::new(runner), term: Term::until(BootInstant::NEVER, Succession::Orderly) }
        }

        fn controller(&self) -> &Failing {
            &self.runner.controller
        }

        fn apply(&self, name: &str) -> Key {
            let metadata = json!({"name": name, "namespace": "data", "uid": name, "resourceVersion": "1"});
            let object: ConfigMap = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            let key = Key::of(object.meta());
            self.controller().store.apply(object).iter().for_each(|change| self.runner.observe(change));
            key
        }

        /// Reconciles what is due.
        async fn run(&self) {
            while let Some(begun) = self.runner.triggers.begin(|key| self.runner.bulkhead(key)) {
                self.runner.clone().run_one(begun, self.term.clone()).await;
            }
        }

        fn failing(&self) -> usize {
            self.runner.failing.lock().len()
        }
    }

    #[tokio::test]
    async fn failures_are_remembered_until_the_object_is_well_or_gone() {
        let scene = Scene::new();
        let (well, gone) = (scene.apply("well"), scene.apply("gone"));
        scene.run().await;
        assert_eq!(scene.failing(), 2);

        *scene.controller().fails.lock() = false;
        scene.runner.triggers.trigger(well, Urgency::Change);
        scene.run().await;
        assert_eq!(scene.failing(), 1);

        let deleted = scene.controller().store.remove(&gone);
        deleted.iter().for_each(|change| scene.runner.observe(change));
        assert_eq!(scene.failing(), 0);
    }

    #[tokio::test]
    async fn an_object_that_goes_while_its_reconcile_fails_leaves_nothing_behind() {
        let scene = Scene::new();
        *scene.controller().loses.lock() = true;
        for number in 0..100 {
            scene.apply(&format!("object-{number}"));
            scene.run().await;
        }
        assert_eq!((scene.controller().store.len(), scene.failing()), (0, 0));
    }

    #[tokio::test]
    async fn a_term_that_begins_knows_no_failures_of_the_last() {
        let scene = Scene::new();
        scene.apply("fails");
        scene.run().await;
        assert_eq!(scene.failing(), 1);
        scene.runner.begin_term(&scene.term);
        assert_eq!(scene.failing(), 0);
    }
    #[tokio::test]
    async fn after_a_takeover_an_object_is_reconciled_again_once_no_request_of_the_former_leader_can_end() {
        let due_after = async |succession| {
            let scene = Scene::new();
            *scene.controller().fails.lock() = false;
            scene.apply("one");
            scene.runner.begin_term(&Term::until(BootInstant::NEVER, succession));
            let before = Instant::now();
            scene.run().await;
            scene.runner.triggers.next_due().map(|at| at.saturating_duration_since(before))
        };
        assert_eq!(due_after(Succession::Orderly).await, None);
        let due = due_after(Succession::Takeover).await.unwrap();
        assert!(due > Duration::from_secs(1_800) && due < Duration::from_secs(7_200), "{due:?}");
    }
}
