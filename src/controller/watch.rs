//! The watches and the controller that runs on them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{BoxStream, StreamExt};
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::accounts;
use super::context::{Context, Settings};
use super::reconcile::reconcile;
use super::{Error, Guarded, GuardedAccount};
use crate::api::Reason;
use crate::aws::Identities;
use crate::replication::accounts::references;
use crate::telemetry::{Health, Metrics};

/// Longer than anyone leaves a resource alone: a forgotten entry costs a needless check.
pub(super) const PREDICATE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Watches and reconciles until `shutdown`, then until what is under way is done.
pub async fn run(
    client: Client,
    identities: Arc<Identities>,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    shutdown: CancellationToken,
) {
    let apis: Vec<Api<Guarded>> = match settings.namespaces.as_slice() {
        [] => vec![Api::all(client.clone())],
        namespaces => namespaces.iter().map(|n| Api::namespaced(client.clone(), n)).collect(),
    };
    let (stores, writers): (Vec<_>, Vec<_>) = apis.iter().map(|_| reflector::store()).unzip();
    let (accounts, accounts_writer) = reflector::store();
    let accounts_api = Api::all(client.clone());
    let ctx = Arc::new(Context::new(
        client,
        identities,
        settings,
        metrics,
        shutdown.clone(),
        accounts.clone(),
        stores.clone(),
    ));

    let (senders, receivers): (Vec<_>, Vec<_>) = apis.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let wakes = Wakes(senders);
    let (count, counted) = mpsc::unbounded_channel();
    let accounts =
        accounts::run(accounts_api, accounts, accounts_writer, counted, wakes.clone(), ctx.clone());
    let controllers =
        apis.into_iter().zip(stores).zip(writers).zip(receivers).map(|(((api, store), writer), receiver)| {
            let objects = objects(api, writer, ctx.clone(), wakes.clone(), count.clone());
            // Not bounded here, where all wait in one line: each set of accounts has places of its own.
            Controller::for_stream(objects, store)
                .with_config(ControllerConfig::default().concurrency(0))
                .reconcile_on(receive(receiver))
                .graceful_shutdown_on(shutdown.clone().cancelled_owned())
                .run(reconcile, error_policy, ctx.clone())
                .for_each(|result| async move {
                    if let Err(error) = result {
                        debug!(%error, "reconcile ended in an error");
                    }
                })
        });
    let ready = async {
        ctx.all_known().await;
        health.set_ready();
    };
    let mut controllers = std::pin::pin!(futures::future::join(join_all(controllers), accounts));
    tokio::select! {
        biased;
        _ = &mut controllers => return,
        () = ready => {}
        // Before all resources are known nothing is begun, but kube-runtime would go on waiting for them.
        () = shutdown.cancelled() => return,
    }
    controllers.await;
}

/// The objects to reconcile: those whose spec or annotations changed. Managed fields are dropped
/// before they take memory.
fn objects(
    api: Api<Guarded>,
    writer: Writer<Guarded>,
    ctx: Arc<Context>,
    wakes: Wakes,
    count: mpsc::UnboundedSender<ObjectRef<GuardedAccount>>,
) -> BoxStream<'static, watcher::Result<Guarded>> {
    let config = watcher::Config::default().streaming_lists();
    // Not finalizers: adding ours is part of a reconcile that goes on, and must not cause another.
    let changes = predicates::generation.combine(predicates::annotations);
    let mut known = false;
    watcher::watcher(api, config)
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(move |event| match event {
            Ok(Event::Delete(gone)) => {
                ctx.forget(&gone.uid().unwrap_or_default());
                let successors = gone.0.iter().flat_map(|resource| ctx.successors(resource));
                successors.for_each(|successor| wakes.send(&successor));
                recount(gone, &count);
            }
            Err(error) => warn!(%error, "the watch of BucketReplication resources failed; trying again"),
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let status = object.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
                ctx.cached(&object.uid().unwrap_or_default(), status);
                if status.and_then(|s| s.observed_generation) != object.meta().generation {
                    recount(object, &count);
                }
            }
            // A watch that was cut begins anew, and is not counted again.
            Ok(Event::InitDone) if !known => {
                known = true;
                ctx.one_more_known();
            }
            Ok(Event::Init | Event::InitDone) => {}
        })
        .applied_objects()
        .predicate_filter(changes, PredicateConfig::default().ttl(PREDICATE_TTL))
        .boxed()
}

/// Asks for the accounts a resource refers to, to be counted anew.
fn recount(object: &Guarded, count: &mpsc::UnboundedSender<ObjectRef<GuardedAccount>>) {
    for name in object.0.iter().flat_map(|resource| references(&resource.spec)) {
        // A closed channel means that the operator stops.
        drop(count.send(ObjectRef::new(name)));
    }
}

/// Asks for resources to be reconciled that did not change themselves.
#[derive(Clone)]
pub(super) struct Wakes(Vec<mpsc::UnboundedSender<ObjectRef<Guarded>>>);

impl Wakes {
    pub(super) fn send(&self, resource: &ObjectRef<Guarded>) {
        // A closed channel means that the operator stops; a controller passes over what it does not watch.
        self.0.iter().for_each(|controller| drop(controller.send(resource.clone())));
    }
}

pub(super) fn receive<T: Send + 'static>(mut receiver: mpsc::UnboundedReceiver<T>) -> BoxStream<'static, T> {
    futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
}

/// Errors of Kubernetes' own: nothing could be told in a status.
fn error_policy(object: Arc<Guarded>, error: &Error, ctx: Arc<Context>) -> Action {
    warn!(namespace = object.namespace(), name = object.name_any(), %error, "trying again");
    ctx.metrics.errored();
    let uid = object.uid().unwrap_or_default();
    let interval = ctx.settings.interval.duration();
    Action::requeue(ctx.with_pace(&uid, |pace| pace.after(Reason::Progressing, interval)))
}
