//! The watches and the controller that runs on them.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{BoxStream, StreamExt};
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::context::{Context, Settings};
use super::reconcile::reconcile;
use super::{Error, Guarded};
use crate::api::Reason;
use crate::aws::Aws;
use crate::telemetry::{Health, Metrics};

/// Longer than anyone leaves a resource alone: a forgotten entry costs a needless check.
const PREDICATE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Watches and reconciles until `shutdown`, then until what is under way is done.
pub async fn run(
    client: Client,
    aws: Arc<Aws>,
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
    let concurrency = settings.concurrency;
    let ctx = Arc::new(Context::new(client, aws, settings, metrics, shutdown.clone(), stores.clone()));

    let (senders, receivers): (Vec<_>, Vec<_>) = apis.iter().map(|_| mpsc::unbounded_channel()).unzip();
    let controllers =
        apis.into_iter().zip(stores).zip(writers).zip(receivers).map(|(((api, store), writer), wakes)| {
            let objects = objects(api, writer, ctx.clone(), senders.clone());
            let config = ControllerConfig::default().concurrency(concurrency);
            Controller::for_stream(objects, store)
                .with_config(config)
                .reconcile_on(tokio_stream(wakes))
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
    let mut controllers = std::pin::pin!(join_all(controllers));
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
    wake: Vec<mpsc::UnboundedSender<ObjectRef<Guarded>>>,
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
                for successor in successors {
                    // A closed channel means that the operator stops.
                    wake.iter().for_each(|w| drop(w.send(successor.clone())));
                }
            }
            Err(error) => warn!(%error, "the watch of BucketReplication resources failed; trying again"),
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let status = object.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
                ctx.cached(&object.uid().unwrap_or_default(), status);
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

fn tokio_stream(
    mut receiver: mpsc::UnboundedReceiver<ObjectRef<Guarded>>,
) -> BoxStream<'static, ObjectRef<Guarded>> {
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
