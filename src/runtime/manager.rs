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
use crate::telemetry::Health;

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
    health: Health,
    shutdown: CancellationToken,
    liveness: Arc<Liveness>,
    watches: Vec<BoxFuture<'static, ()>>,
    synced: Vec<oneshot::Receiver<()>>,
    leads: Vec<Lead>,
}

impl Manager {
    pub fn new(client: Client, health: Health, shutdown: CancellationToken) -> Manager {
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

    /// Watches, and reconciles while this process leads, until the signal to stop, and then until what runs has ended.
    pub async fn run(self, election: Election) {
        let Manager { health, shutdown, liveness, watches, synced, leads, .. } = self;
        let work = async {
            // The start barrier: who owns a source depends on all resources, and what is allowed on all accounts.
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
