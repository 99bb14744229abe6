//! The watches, which always run, and the controllers that run on them while this process leads.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::context::{Context, Settings};
use super::feed::Feed;
use super::leader::{Election, Term};
use super::reconcile::reconcile;
use super::{Error, Guarded};
use crate::api::Reason;
use crate::aws::Aws;
use crate::telemetry::{Health, Metrics};

/// Longer than anyone leaves a resource alone: a forgotten entry costs a needless check.
const PREDICATE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The stores, each with its namespace; `None` for all.
type Stores = [(Option<String>, Store<Guarded>)];

/// Watches, and reconciles while this process leads, until `shutdown`, then until what is under way is done.
pub async fn run(
    client: Client,
    aws: Arc<Aws>,
    settings: Settings,
    metrics: Metrics,
    health: Health,
    election: Election,
    shutdown: CancellationToken,
) {
    let namespaces: Vec<Option<String>> = match settings.namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let (stores, writers): (Vec<_>, Vec<_>) = namespaces.iter().map(|_| reflector::store()).unzip();
    let ctx = Context::new(
        client.clone(),
        aws,
        settings,
        metrics,
        shutdown.clone(),
        stores.clone(),
        election.leadership(),
    );
    let (ctx, feed) = (Arc::new(ctx), Feed::default());
    let watches = namespaces.iter().zip(writers).map(|(namespace, writer)| {
        let api = match namespace {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        };
        watch(api, writer, ctx.clone(), feed.clone())
    });
    let stores: Vec<_> = namespaces.iter().cloned().zip(stores).collect();
    let work = async {
        tokio::select! {
            () = ctx.all_known() => {}
            () = shutdown.cancelled() => return,
        }
        health.set_ready();
        election.run(&shutdown, async |term| lead(&ctx, &stores, &feed, term).await).await;
    };
    tokio::select! {
        biased;
        () = work => {}
        _ = join_all(watches) => {}
    }
}

/// Reconciles until the term ends or the operator is to stop, and then until what is under way is done or dropped.
async fn lead(ctx: &Arc<Context>, stores: &Stores, feed: &Feed, term: Term) {
    // Another may have led since.
    ctx.forget_all();
    let changes = feed.open(stores);
    let controllers = stores.iter().zip(changes).map(|((_, store), changes)| {
        let (of_reconciles, of_queue, shutdown) = (term.clone(), term.clone(), ctx.shutdown.clone());
        Controller::for_stream(stream::pending(), store.clone())
            .with_config(ControllerConfig::default().concurrency(ctx.settings.concurrency))
            .reconcile_on(changes)
            .graceful_shutdown_on(async move {
                tokio::select! {
                    () = of_queue.ended() => {}
                    () = shutdown.cancelled() => {}
                }
            })
            .run(
                move |object, ctx| {
                    let term = of_reconciles.clone();
                    // Whatever a reconcile does, to AWS and to Kubernetes, it does in here.
                    async move { term.fenced(reconcile(object, ctx)).await.unwrap_or(Err(Error::NotLeading)) }
                },
                error_policy,
                ctx.clone(),
            )
            .for_each(|result| async move {
                if let Err(error) = result {
                    debug!(%error, "reconcile ended in an error");
                }
            })
    });
    join_all(controllers).await;
}

/// Keeps a store up to date, and tells of the objects to reconcile: those whose spec or annotations changed.
/// Managed fields are dropped before they take memory.
async fn watch(api: Api<Guarded>, writer: Writer<Guarded>, ctx: Arc<Context>, feed: Feed) {
    let config = watcher::Config::default().streaming_lists();
    // Not finalizers: adding ours is part of a reconcile that goes on, and must not cause another.
    let changes = predicates::generation.combine(predicates::annotations);
    let mut known = false;
    let changed = watcher::watcher(api, config)
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(|event| match event {
            Ok(Event::Delete(gone)) => {
                ctx.forget(&gone.uid().unwrap_or_default());
                let successors = gone.0.iter().flat_map(|resource| ctx.successors(resource));
                successors.for_each(|successor| feed.send(successor));
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
        .predicate_filter(changes, PredicateConfig::default().ttl(PREDICATE_TTL));
    let mut changed = pin!(changed);
    while let Some(object) = changed.next().await {
        // An error was told above.
        object.iter().for_each(|object| feed.send(ObjectRef::from_obj(object)));
    }
}

/// Errors of Kubernetes' own: nothing could be told in a status.
fn error_policy(object: Arc<Guarded>, error: &Error, ctx: Arc<Context>) -> Action {
    let uid = object.uid().unwrap_or_default();
    let interval = ctx.settings.interval.duration();
    let again = ctx.with_pace(&uid, |pace| pace.after(Reason::Progressing, interval));
    // Not a failure: the leader of now does it, and here the queue is about to end.
    if !matches!(error, Error::NotLeading) {
        warn!(namespace = object.namespace(), name = object.name_any(), %error, "trying again");
        ctx.metrics.errored();
    }
    Action::requeue(again)
}
