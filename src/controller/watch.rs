//! The watches, which always run, and the controllers that run on them while this process leads.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{self, StreamExt};
use kube::runtime::controller::{Action, Config as ControllerConfig, Error as ControllerError};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::census::census;
use super::context::{Context, Settings};
use super::feed::Feed;
use super::leader::{Election, Term};
use super::vitals::{PULSE, Vitals};
use super::work::accounted;
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
        metrics.clone(),
        shutdown.clone(),
        stores.clone(),
        election.leadership(),
    );
    let (ctx, vitals) = (Arc::new(ctx), Vitals::new(Instant::now()));
    let (feed, vitals) = (Feed::new(ctx.work.clone()), Arc::new(vitals));
    observe(&ctx, &metrics, &health, stores.clone(), &vitals);
    let watches = namespaces
        .iter()
        .zip(writers)
        .map(|(namespace, writer)| watch(&client, namespace.as_deref(), writer, &ctx, &feed, &vitals));
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
        // What is known of the resources comes before the work on them.
        biased;
        _ = join_all(watches) => {}
        () = work => {}
        // In the same task: when this one is polled, the others are.
        () = beat(&vitals) => {}
    }
}

/// Lets metrics and health see what goes on in here.
fn observe(
    ctx: &Context,
    metrics: &Metrics,
    health: &Health,
    stores: Vec<Store<Guarded>>,
    vitals: &Arc<Vitals>,
) {
    let (work, leadership, each) = (ctx.work.clone(), ctx.leadership.clone(), ctx.settings.resource_metrics);
    metrics.take_census(move || census(&stores, &work, &leadership, each));
    let (work, vitals) = (ctx.work.clone(), vitals.clone());
    health.watch_over(move || vitals.trouble(&work, Instant::now()));
}

async fn beat(vitals: &Vitals) {
    loop {
        vitals.beat(Instant::now());
        tokio::time::sleep(PULSE).await;
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
                    let (term, reconcile) = (of_reconciles.clone(), accounted(object, ctx));
                    // Whatever a reconcile does, to AWS and to Kubernetes, it does in here.
                    async move {
                        let result = term.fenced(reconcile).await;
                        result.unwrap_or(Err(Error::NotLeading)).map(Action::from)
                    }
                },
                error_policy,
                ctx.clone(),
            )
            .for_each(|result| {
                if let Err(error) = &result {
                    debug!(%error, "reconcile ended in an error");
                }
                if let Err(ControllerError::ObjectNotFound(gone)) = result {
                    ctx.work.forget(gone.extra.uid.as_deref().unwrap_or_default());
                }
                ready(())
            })
    });
    join_all(controllers).await;
}

/// Keeps a store up to date, and tells of the objects to reconcile: those whose spec or annotations changed.
/// Managed fields are dropped before they take memory.
async fn watch(
    client: &Client,
    namespace: Option<&str>,
    writer: Writer<Guarded>,
    ctx: &Context,
    feed: &Feed,
    vitals: &Vitals,
) {
    let api: Api<Guarded> = match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    };
    let place = namespace.unwrap_or_default();
    let mut config = watcher::Config::default().streaming_lists();
    config.label_selector.clone_from(&ctx.settings.selector);
    // Not finalizers: adding ours is part of a reconcile that goes on, and must not cause another.
    let changes = predicates::generation.combine(predicates::annotations);
    let mut known = false;
    let changed = watcher::watcher(api, config)
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(|event| match event {
            Ok(_) => vitals.watch_works(place),
            Err(_) => vitals.watch_failed(place, Instant::now()),
        })
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
    }
    let now = Instant::now();
    ctx.work.due(&uid, now + again, now);
    Action::requeue(again)
}
