//! The accounts: watched for what they allow, each asked now and then who the operator is there, and reported on.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, StreamExt};
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::api::{AwsAccount, AwsIdentity, Namespaces};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::run::PREDICATE_TTL;
use crate::controllers::{Guarded, GuardedAccount};
use crate::ports::{Cluster, ObjectKey};
use crate::replication::authorize::accounts::references;
use crate::replication::status::account_status;
use crate::replication::{Account, Failure};
use crate::runtime::Error;
use crate::runtime::kube_error;
use crate::runtime::leader::Term;
use crate::runtime::liveness::Liveness;
use crate::runtime::relist_buffer::RelistBuffer;
use crate::runtime::triggers::Triggers;

/// Many resources that come at once are counted once.
const SETTLE: Duration = Duration::from_secs(1);

/// A check of an account that does not answer takes no longer.
const DEADLINE: Duration = Duration::from_secs(2 * 60);

/// Accounts are few: no more are asked at once.
const CONCURRENCY: u16 = 4;

/// Accounts that changed, or whose resources did, on their way to the controller; nobody reads while this process
/// follows, and the next term begins with all.
#[derive(Debug, Default)]
pub(crate) struct AccountTriggers(Mutex<Option<mpsc::UnboundedSender<ObjectRef<GuardedAccount>>>>);

impl AccountTriggers {
    fn reader(&self) -> MutexGuard<'_, Option<mpsc::UnboundedSender<ObjectRef<GuardedAccount>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, account: ObjectRef<GuardedAccount>) {
        // A closed channel is one of a term that ends.
        self.reader().iter().for_each(|reader| drop(reader.send(account.clone())));
    }

    /// Has the accounts that a resource refers to counted anew.
    pub(crate) fn recount(&self, object: &Guarded) {
        for name in object.0.iter().flat_map(|resource| references(&resource.spec)) {
            self.send(ObjectRef::new(name));
        }
    }

    fn open(&self, store: &Store<GuardedAccount>) -> BoxStream<'static, ObjectRef<GuardedAccount>> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        *self.reader() = Some(sender);
        store.state().iter().for_each(|account| self.send(ObjectRef::from_obj(account.as_ref())));
        futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
    }
}

/// Keeps the store up to date, and tells of the accounts that change and of the resources that concerns.
pub(crate) async fn watch(
    api: Api<GuardedAccount>,
    writer: Writer<GuardedAccount>,
    ctx: &Context,
    feed: &Triggers,
    accounts: &AccountTriggers,
    vitals: &Liveness,
) {
    const PLACE: &str = "all accounts";
    let mut known = false;
    let listing = RelistBuffer::new();
    let tell = |account: ObjectRef<GuardedAccount>| {
        wake(&account.name, feed, ctx);
        accounts.send(account);
    };
    let changed = watcher::watcher(api, watcher::Config::default().streaming_lists())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect(|event| match event {
            Ok(_) => vitals.watch_works(PLACE),
            Err(_) => vitals.watch_failed(PLACE, Instant::now()),
        })
        .inspect(|event| match event {
            Ok(Event::Delete(gone)) => {
                ctx.identities.forget(&gone.name_any());
                let uid = gone.uid().unwrap_or_default();
                ctx.verified.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
                wake(&gone.name_any(), feed, ctx);
            }
            Err(error) => {
                warn!(
                    error = kube_error::describe_watch_error(error),
                    "the watch of AwsAccount resources failed; trying again"
                )
            }
            Ok(Event::InitDone) if !known => {
                known = true;
                ctx.one_more_known();
            }
            Ok(_) => {}
        })
        .inspect(|event| event.iter().flat_map(|event| listing.follow(event)).for_each(tell))
        .applied_objects()
        // Not what we write ourselves into the status.
        .predicate_filter(predicates::generation, PredicateConfig::default().ttl(PREDICATE_TTL));
    let mut changed = pin!(changed);
    while let Some(account) = changed.next().await {
        // An error was told above.
        account.iter().filter_map(|account| listing.pass(ObjectRef::from_obj(account))).for_each(tell);
    }
}

/// Reports on the accounts until the term ends or the operator is to stop.
pub(crate) async fn lead(
    ctx: &Arc<Context>,
    store: Store<GuardedAccount>,
    feed: &AccountTriggers,
    term: Term,
) {
    let changes = feed.open(&store);
    let (of_checks, of_queue, shutdown) = (term.clone(), term, ctx.shutdown.clone());
    Controller::for_stream(stream::pending(), store)
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY).debounce(SETTLE))
        .reconcile_on(changes)
        .graceful_shutdown_on(async move {
            tokio::select! {
                () = of_queue.ended() => {}
                () = shutdown.cancelled() => {}
            }
        })
        .run(
            move |object, ctx| {
                let term = of_checks.clone();
                async move { term.fenced(reconcile(object, ctx)).await.unwrap_or(Err(Error::NotLeading)) }
            },
            error_policy,
            ctx.clone(),
        )
        .for_each(|result| async move {
            if let Err(error) = result {
                debug!(%error, "the check of an account ended in an error");
            }
        })
        .await;
}

/// What an administrator changed holds from now on: the resources that refer to the account are looked at, and those
/// that may take over a source from them.
fn wake(account: &str, feed: &Triggers, ctx: &Context) {
    for resource in ctx.resources_of_account(account) {
        feed.send(ObjectRef::from_obj(resource.as_ref()));
        let successors = resource.0.iter().flat_map(|resource| ctx.successors(resource));
        successors.for_each(|successor| feed.send(successor));
    }
}

async fn reconcile(object: Arc<GuardedAccount>, ctx: Arc<Context>) -> Result<Action, Error> {
    ctx.all_known().await;
    // Its resources are told that it cannot be read.
    let Ok(account) = &object.0 else { return Ok(Action::await_change()) };
    let result = tokio::time::timeout(DEADLINE, check(account, &ctx)).await;
    result.unwrap_or(Err(Error::TimedOut(DEADLINE)))
}

async fn check(resource: &AwsAccount, ctx: &Context) -> Result<Action, Error> {
    let name = resource.name_any();
    let replications = ctx.resources_of_account(&name).len();
    if replications == 0 && !concerns(resource, &ctx.settings.namespaces) {
        // Another operator's business.
        return Ok(Action::await_change());
    }
    let replications = i32::try_from(replications).unwrap_or(i32::MAX);
    let asked = identity(resource, ctx).await;
    let previous = resource.status.clone().unwrap_or_default();
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default();
    let (status, reason) =
        account_status(asked.as_ref(), replications, &previous, resource.metadata.generation, now);
    if let Err(failure) = &asked {
        warn!(
            account = resource.name_any(),
            reason = reason.as_str(),
            detail = failure.message(),
            "cannot act"
        );
    }
    if status != previous {
        let key = ObjectKey::new::<AwsAccount>(&resource.metadata);
        ctx.cluster.set_status(&key, &json!(status)).await?;
    }
    let interval = ctx.settings.interval.duration();
    let uid = resource.uid().unwrap_or_default();
    Ok(Action::requeue(ctx.with_pace(&uid, |pace| pace.after(reason, interval))))
}

/// What STS said, and when, of which generation.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    generation: Option<i64>,
    at: Instant,
    identity: AwsIdentity,
}

/// Who the operator is there: asked once an interval, and not because resources came or went.
async fn identity(resource: &AwsAccount, ctx: &Context) -> Result<AwsIdentity, Failure> {
    let (uid, generation) = (resource.uid().unwrap_or_default(), resource.metadata.generation);
    let interval = ctx.settings.interval.duration();
    let known = || ctx.verified.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = |v: &&Verified| v.generation == generation && v.at.elapsed() < interval;
    if let Some(verified) = known().get(&uid).filter(fresh) {
        return Ok(verified.identity.clone());
    }
    let account = Account { name: resource.name_any(), spec: resource.spec.clone() };
    let asked = ctx.identities.verify(&account, Duration::ZERO).await;
    match &asked {
        Ok(identity) => {
            let verified = Verified { generation, at: Instant::now(), identity: identity.clone() };
            known().insert(uid, verified);
        }
        Err(_) => drop(known().remove(&uid)),
    }
    asked
}

/// Whether an operator that watches these namespaces (none: all) answers for an account nobody refers to yet: it does
/// where one of them may.
fn concerns(account: &AwsAccount, watched: &[String]) -> bool {
    let Some(Namespaces { match_names, match_labels }) = &account.spec.namespaces else {
        return watched.is_empty();
    };
    let by_labels = match_names.is_empty() && !match_labels.is_empty();
    watched.is_empty() || by_labels || match_names.iter().any(|name| watched.contains(name))
}

fn error_policy(object: Arc<GuardedAccount>, error: &Error, ctx: Arc<Context>) -> Action {
    if !matches!(error, Error::NotLeading) {
        warn!(account = object.name_any(), %error, "trying again");
    }
    let uid = object.uid().unwrap_or_default();
    let interval = ctx.settings.interval.duration();
    Action::requeue(ctx.with_pace(&uid, |pace| pace.after(crate::api::Reason::Progressing, interval)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::AwsAccountSpec;

    fn account(namespaces: Option<Namespaces>) -> AwsAccount {
        AwsAccount::new("dr", AwsAccountSpec { namespaces, ..AwsAccountSpec::default() })
    }

    #[test]
    fn an_operator_of_some_namespaces_answers_for_accounts_that_one_of_them_may_use() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let of = |allowed: &[&str]| {
            account(Some(Namespaces { match_names: names(allowed), ..Namespaces::default() }))
        };
        assert!(concerns(&of(&["data"]), &names(&["data", "shop"])));
        assert!(!concerns(&of(&["data"]), &names(&["shop"])));
        assert!(concerns(&of(&["data"]), &[]), "who watches all answers for all");
        assert!(!concerns(&account(None), &names(&["shop"])), "it allows nobody");
        let labels = [("team".to_owned(), "a".to_owned())].into();
        let by_label = account(Some(Namespaces { match_labels: labels, ..Namespaces::default() }));
        assert!(concerns(&by_label, &names(&["shop"])));
    }
}
