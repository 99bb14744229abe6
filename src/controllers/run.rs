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
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::api::Reason;
use crate::aws::AwsConnector;
use crate::controllers::Guarded;
use crate::controllers::aws_account as accounts;
use crate::controllers::aws_account::AccountTriggers;
use crate::controllers::bucket_replication::collector::fleet_snapshot;
use crate::controllers::bucket_replication::context::{Caches, Context, Settings};
use crate::runtime::Error;
use crate::runtime::kube_error;
use crate::runtime::leader::{Election, Term};
use crate::runtime::liveness::{HEARTBEAT_INTERVAL, Liveness};
use crate::runtime::relist_buffer::RelistBuffer;
use crate::runtime::tracker::instrumented_reconcile;
use crate::runtime::triggers::Triggers;
use crate::telemetry::{Health, Metrics};

/// Longer than anyone leaves a resource alone: a forgotten entry costs a needless check.
pub(crate) const PREDICATE_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The stores, each with its namespace; `None` for all.
type Stores = [(Option<String>, Store<Guarded>)];

/// Watches, and reconciles while this process leads, until `shutdown`, then until what is under way is done.
pub async fn run(
    client: Client,
    identities: Arc<AwsConnector>,
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
    let (accounts, accounts_writer) = reflector::store();
    let ctx = Context::new(
        client.clone(),
        identities,
        settings,
        metrics.clone(),
        shutdown.clone(),
        Caches { accounts: accounts.clone(), resources: stores.clone() },
        election.leadership(),
    );
    let (ctx, vitals) = (Arc::new(ctx), Liveness::new(Instant::now()));
    let (feed, vitals) = (Triggers::new(ctx.work.clone()), Arc::new(vitals));
    let changed_accounts = AccountTriggers::default();
    observe(&ctx, &metrics, &health, stores.clone(), &vitals);
    let watches = namespaces.iter().zip(writers).map(|(namespace, writer)| {
        watch(&client, namespace.as_deref(), writer, &ctx, &feed, &changed_accounts, &vitals)
    });
    let watches = futures::future::join(
        join_all(watches),
        accounts::watch(Api::all(client.clone()), accounts_writer, &ctx, &feed, &changed_accounts, &vitals),
    );
    let stores: Vec<_> = namespaces.iter().cloned().zip(stores).collect();
    let work = async {
        tokio::select! {
            () = ctx.all_known() => {}
            () = shutdown.cancelled() => return,
        }
        health.set_ready();
        let lead = async |term: Term| {
            let accounts = accounts::lead(&ctx, accounts.clone(), &changed_accounts, term.clone());
            futures::join!(lead(&ctx, &stores, &feed, term), accounts);
        };
        election.run(&shutdown, lead).await;
    };
    tokio::select! {
        // What is known of the resources comes before the work on them.
        biased;
        _ = watches => {}
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
    vitals: &Arc<Liveness>,
) {
    let (work, leadership, each) = (ctx.work.clone(), ctx.leadership.clone(), ctx.settings.resource_metrics);
    metrics.collect_from(move || fleet_snapshot(&stores, &work, &leadership, each));
    let (work, vitals) = (ctx.work.clone(), vitals.clone());
    health.add_liveness_check(move || vitals.stuck_reason(&work, Instant::now()));
}

async fn beat(vitals: &Liveness) {
    loop {
        vitals.beat(Instant::now());
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
    }
}

/// Reconciles until the term ends or the operator is to stop, and then until what is under way is done or dropped.
async fn lead(ctx: &Arc<Context>, stores: &Stores, feed: &Triggers, term: Term) {
    // Another may have led since.
    ctx.forget_all();
    let changes = feed.open(stores);
    let controllers = stores.iter().zip(changes).map(|((_, store), changes)| {
        let (of_reconciles, of_queue, shutdown) = (term.clone(), term.clone(), ctx.shutdown.clone());
        // Not bounded here, where all wait in one line: each set of accounts has places of its own.
        Controller::for_stream(stream::pending(), store.clone())
            .with_config(ControllerConfig::default().concurrency(0))
            .reconcile_on(changes)
            .graceful_shutdown_on(async move {
                tokio::select! {
                    () = of_queue.ended() => {}
                    () = shutdown.cancelled() => {}
                }
            })
            .run(
                move |object, ctx| {
                    let (term, reconcile) = (of_reconciles.clone(), instrumented_reconcile(object, ctx));
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
    feed: &Triggers,
    accounts: &AccountTriggers,
    vitals: &Liveness,
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
    let listing = RelistBuffer::new();
    let changed = watcher::watcher(api, config)
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        // What a resource referred to before: the store still holds it here.
        .inspect(|event| {
            if let Ok(Event::Apply(object)) = event
                && let Some(before) = ctx.current(object)
                && before.meta().generation != object.meta().generation
            {
                accounts.recount(&before);
            }
        })
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
                accounts.recount(gone);
            }
            Err(error) => warn!(
                error = kube_error::describe_watch_error(error),
                "the watch of BucketReplication resources failed; trying again"
            ),
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let status = object.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
                ctx.cached(&object.uid().unwrap_or_default(), status);
                if status.and_then(|s| s.observed_generation) != object.meta().generation {
                    accounts.recount(object);
                }
            }
            // A watch that was cut begins anew, and is not counted again.
            Ok(Event::InitDone) if !known => {
                known = true;
                ctx.one_more_known();
            }
            Ok(Event::Init | Event::InitDone) => {}
        })
        .inspect(|event| {
            event.iter().flat_map(|event| listing.follow(event)).for_each(|held| feed.send(held))
        })
        .applied_objects()
        .predicate_filter(changes, PredicateConfig::default().ttl(PREDICATE_TTL));
    let mut changed = pin!(changed);
    while let Some(object) = changed.next().await {
        // An error was told above.
        let objects = object.iter().filter_map(|object| listing.pass(ObjectRef::from_obj(object)));
        objects.for_each(|object| feed.send(object));
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
