//! Runs the controllers of all kinds in one process: their watches always, their reconciles while the process leads.
//!
//! In: a controller for each kind, the election, a signal to stop. Out: readiness and liveness. A further kind is one
//! more call of [`Manager::add`].

use std::sync::Arc;
use std::time::Instant;

use futures::future::{BoxFuture, FutureExt, join_all};
use kube::Client;
use kube::runtime::watcher;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::runtime::controller::{Controller, Runner};
use crate::runtime::leader::{Election, Term};
use crate::runtime::liveness::{HEARTBEAT_INTERVAL, Liveness, overdue};
use crate::telemetry::ProcessHealth;

/// The objects of a kind that the process works on.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Empty for all namespaces, and for a kind without namespaces.
    pub namespaces: Vec<String>,
    /// A label selector; `None` for all objects.
    pub selector: Option<String>,
}

type Lead = Box<dyn Fn(Term) -> BoxFuture<'static, ()> + Send + Sync>;

/// Collects the controllers and runs them.
pub struct Manager {
    client: Client,
    health: ProcessHealth,
    shutdown: CancellationToken,
    liveness: Arc<Liveness>,
    watches: Vec<BoxFuture<'static, ()>>,
    synced: Vec<oneshot::Receiver<()>>,
    leads: Vec<Lead>,
}

impl Manager {
    pub fn new(client: Client, health: ProcessHealth, shutdown: CancellationToken) -> Manager {
        let liveness = Arc::new(Liveness::new(Instant::now()));
        let of_health = liveness.clone();
        health.add_liveness_check(move || of_health.stuck_reason(Instant::now()));
        let (watches, synced, leads) = (Vec::new(), Vec::new(), Vec::new());
        Manager { client, health, shutdown, liveness, watches, synced, leads }
    }

    /// Adds the controller of a kind.
    pub fn add<C: Controller>(&mut self, runner: Runner<C>, scope: Scope) {
        let runner = Arc::new(runner);
        let namespaces: Vec<Option<String>> = match scope.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        };
        for namespace in namespaces {
            let api = C::api(self.client.clone(), namespace.as_deref());
            let config =
                watcher::Config { label_selector: scope.selector.clone(), ..watcher::Config::default() };
            let (sender, receiver) = oneshot::channel();
            let (runner, liveness) = (runner.clone(), self.liveness.clone());
            let watch = async move { runner.watch(api, config, namespace, &liveness, sender).await };
            self.watches.push(watch.boxed());
            self.synced.push(receiver);
        }
        let of_health = runner.clone();
        self.health.add_liveness_check(move || {
            let (deadline, longest) = of_health.longest_run(Instant::now());
            overdue(deadline, longest)
        });
        let shutdown = self.shutdown.clone();
        self.leads.push(Box::new(move |term| runner.clone().lead(term, shutdown.clone()).boxed()));
    }

    /// Adds work beside the controllers, which runs while this process leads. It must end with the term and the signal
    /// to stop.
    pub fn add_lead(
        &mut self,
        lead: impl Fn(Term, CancellationToken) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) {
        let shutdown = self.shutdown.clone();
        self.leads.push(Box::new(move |term| lead(term, shutdown.clone())));
    }

    /// Watches, and reconciles while this process leads, until the signal to stop, and then until what runs has ended.
    pub async fn run(self, election: Election) {
        let Manager { health, shutdown, liveness, watches, synced, leads, .. } = self;
        let work = async {
            // The start barrier: the owner of a source depends on all resources, and authorization on all accounts.
            tokio::select! {
                _ = join_all(synced) => {}
                () = shutdown.cancelled() => return,
            }
            health.set_ready();
            let lead = async |term: Term| drop(join_all(leads.iter().map(|lead| lead(term.clone()))).await);
            election.run(&shutdown, lead).await;
        };
        let beat = async {
            loop {
                liveness.beat(Instant::now());
                tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            }
        };
        tokio::select! {
            // The process learns of changes before it works on them.
            biased;
            _ = join_all(watches) => {}
            () = work => {}
            // In the same task: when the heartbeat is polled, the others are.
            () = beat => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use futures::{StreamExt, stream};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, Config, ResourceExt};
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::runtime::Error;
    use crate::runtime::action::Action;
    use crate::runtime::queue::{BulkheadKey, Urgency};
    use crate::runtime::store::{Change, Store};
    use crate::runtime::triggers::Triggers;

    /// A kind that the operator does not have: this is all that a further one needs.
    struct ConfigMaps {
        store: Arc<Store<ConfigMap>>,
        reconciled: mpsc::UnboundedSender<String>,
        tries: Mutex<BTreeMap<String, usize>>,
    }

    impl Controller for ConfigMaps {
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

        fn observe(&self, change: &Change<ConfigMap>) -> Option<Urgency> {
            matches!(change, Change::Applied { .. }).then_some(Urgency::Change)
        }

        fn bulkhead(&self, _object: &ConfigMap) -> BulkheadKey {
            "".into()
        }

        async fn reconcile(&self, object: Arc<ConfigMap>) -> Result<Action, Error> {
            let name = object.name_any();
            let tries = {
                let mut tries = self.tries.lock();
                let tries = tries.entry(name.clone()).or_default();
                *tries += 1;
                *tries
            };
            assert!(name != "panics" || tries > 1, "as a fault in the code would");
            let version = object.resource_version().unwrap_or_default();
            self.reconciled.send(format!("{name} {version} at try {tries}")).ok();
            Ok(Action::await_change())
        }
    }

    fn object(name: &str, version: u32) -> Value {
        let metadata = json!({
            "name": name, "namespace": "data", "uid": format!("uid-of-{name}"), "resourceVersion": version.to_string(),
        });
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    }

    fn event(kind: &str, object: &Value) -> Vec<u8> {
        format!("{}\n", json!({"type": kind, "object": object})).into_bytes()
    }

    /// An API server with one watch: these objects, then what is sent to it.
    async fn api_server(objects: &[Value], later: mpsc::UnboundedReceiver<Vec<u8>>) -> Client {
        let mut end = object("bookmark", 9);
        end["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        let mut first: Vec<Vec<u8>> = objects.iter().map(|object| event("ADDED", object)).collect();
        first.push(event("BOOKMARK", &end));
        let later = Arc::new(Mutex::new(Some(later)));
        let watch = move || {
            let later = later.lock().take();
            let later = stream::unfold(later, |later| async move {
                match later {
                    Some(mut later) => later.recv().await.map(|event| (event, Some(later))),
                    None => std::future::pending().await,
                }
            });
            let lines = stream::iter(first.clone()).chain(later).map(Ok::<_, std::io::Error>);
            async move { Body::from_stream(lines) }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/api/v1/configmaps", get(watch));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Client::try_from(Config::new(url.parse().unwrap())).unwrap()
    }

    #[tokio::test]
    async fn a_further_kind_is_a_controller_and_one_line_and_a_panic_is_an_error_of_its_object() {
        let (changes, later) = mpsc::unbounded_channel();
        let (reconciled, mut seen) = mpsc::unbounded_channel();
        let client = api_server(&[object("panics", 1)], later).await;
        let (health, shutdown) = (ProcessHealth::default(), CancellationToken::new());
        let mut manager = Manager::new(client, health, shutdown.clone());
        let store = Arc::new(Store::unindexed());
        let controller = ConfigMaps { store: store.clone(), reconciled, tries: Mutex::default() };
        manager.add(Runner::new(controller, Triggers::new(1), None), Scope::default());
        let run = manager.run(Election::disabled());
        let act = async {
            // The first try panics. The process goes on, gives the permit back and tries the object again.
            assert_eq!(seen.recv().await.unwrap(), "panics 1 at try 2");
            changes.send(event("ADDED", &object("new", 10))).unwrap();
            assert_eq!(seen.recv().await.unwrap(), "new 10 at try 1");
            changes.send(event("MODIFIED", &object("new", 11))).unwrap();
            assert_eq!(seen.recv().await.unwrap(), "new 11 at try 2");
            changes.send(event("DELETED", &object("new", 12))).unwrap();
            changes.send(event("ADDED", &object("last", 13))).unwrap();
            assert_eq!(seen.recv().await.unwrap(), "last 13 at try 1");
            assert_eq!(store.len(), 2);
            shutdown.cancel();
        };
        tokio::join!(run, act);
    }
}
