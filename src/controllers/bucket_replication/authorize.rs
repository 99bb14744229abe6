//! Decides, without a call to AWS, whether a resource may do what it asks for, and whether it owns its source.
//!
//! In: a resource, the accounts as the watch last saw them, and the labels of namespaces as they are now. Out: the
//! accounts that the resource acts in, or a refusal. In the first minute of a term the accounts too are read from the
//! API server before a write, because the watch may lag.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt};

use crate::api::{
    AwsAccount, BucketReplication, BucketReplicationStatus, ConditionType, DEFAULT_ACCOUNT, Reason,
};
use crate::controllers::Guarded;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::memory::ResourceMemory;
use crate::controllers::bucket_replication::source_ownership;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cluster, ClusterError, ObjectKey};
use crate::replication::authorize::accounts::WithoutAccount;
use crate::replication::authorize::{self as domain, labels_matter};
use crate::replication::{Account, Accounts, Refusal, Replication};
use crate::runtime::Error;
use crate::runtime::store::Key;

/// The labels of namespaces as they were read; `None`: there is no such namespace.
pub type KnownLabels = HashMap<String, Option<BTreeMap<String, String>>>;

/// The labels of namespaces, each read once in a check.
pub struct NamespaceLabels<'a, K> {
    cluster: &'a K,
    read: KnownLabels,
}

impl<'a, K: Cluster> NamespaceLabels<'a, K> {
    pub fn new(cluster: &'a K) -> NamespaceLabels<'a, K> {
        NamespaceLabels { cluster, read: HashMap::new() }
    }

    /// Those that were read before, but for one namespace: its labels are read again.
    pub fn all_but(cluster: &'a K, known: &KnownLabels, namespace: &str) -> NamespaceLabels<'a, K> {
        let mut read = known.clone();
        read.remove(namespace);
        NamespaceLabels { cluster, read }
    }

    pub fn into_known(self) -> KnownLabels {
        self.read
    }

    /// As they are now: a namespace made again under its name has none of the labels of the one before.
    async fn of(&mut self, namespace: &str) -> Result<Option<&BTreeMap<String, String>>, ClusterError> {
        if !self.read.contains_key(namespace) {
            let labels = self.cluster.namespace_labels(namespace).await?;
            self.read.insert(namespace.to_owned(), labels);
        }
        Ok(self.read.get(namespace).and_then(Option::as_ref))
    }
}

/// The accounts of a resource, if its administrators allow there what it asks for.
///
/// # Errors
/// A refusal, or the API server did not answer.
pub async fn authorize<C, K: Cluster>(
    object: &BucketReplication,
    status: &BucketReplicationStatus,
    labels: &mut NamespaceLabels<'_, K>,
    cx: &Context<C, K>,
) -> Result<Accounts, Stop> {
    let accounts = resolve(object, cx)?;
    if accounts.are_restricted() && cx.index.accounts_are_unseen(cx.clock.now()) {
        // No refusal: the account may still allow the resource, and a deletion must not take it for forbidden.
        return Err(Error::Unseen("AwsAccount").into());
    }
    let id = cx.settings.resource_id(&object.metadata);
    let replication = Replication { spec: &object.spec, status, id: &id, accounts: &accounts };
    // A refusal that no label can change comes before the request for the labels.
    domain::authorize(&replication, Some(&required_labels(&accounts)))?;
    if labels_matter(&accounts) {
        domain::authorize(&replication, labels.of(&id.namespace).await?)?;
    }
    Ok(accounts)
}

/// Whether an account admits a namespace and a source bucket; the rest of its resource's spec does not count.
pub async fn admits<K: Cluster>(
    account: &Account,
    metadata: &ObjectMeta,
    bucket: &str,
    labels: &mut NamespaceLabels<'_, K>,
) -> Result<bool, Stop> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let accounts = Accounts { source: Some(account.clone()), ..Accounts::default() };
    let held = if labels_matter(&accounts) { labels.of(namespace).await? } else { None };
    Ok(domain::admits(account, namespace, held, bucket))
}

/// Another `AwsAccount` for an account in which a resource left something under an `AwsAccount` that is gone. It allows
/// the resource's namespace and each of the buckets, so that it permits no more than its administrator does.
pub async fn stand_in<C, K: Cluster>(
    account_id: &str,
    buckets: &BTreeSet<&str>,
    metadata: &ObjectMeta,
    labels: &mut NamespaceLabels<'_, K>,
    cx: &Context<C, K>,
) -> Result<Option<Account>, Stop> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    for account in cx.index.accounts_of(account_id) {
        let accounts = Accounts { source: Some(account.clone()), ..Accounts::default() };
        let held = if labels_matter(&accounts) { labels.of(namespace).await? } else { None };
        let admits = |bucket: &&str| domain::admits_destination(&account, namespace, held, bucket);
        if buckets.iter().all(admits) || is_on(Mutant::StandInNotAsked) {
            return Ok(Some(account));
        }
    }
    Ok(None)
}

/// Confirms with the API server, before the first write, that the accounts are still those of the cache: in the first
/// minute of a term the cache may be behind the administrators. Later the watch is believed, so that a write costs no
/// request more.
///
/// # Errors
/// An account has changed or is gone, or the API server did not answer.
pub async fn require_current_accounts<C, K: Cluster>(
    accounts: &Accounts,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    if is_on(Mutant::NoLiveGetOfAccounts) || !cx.memory.is_term_new(cx.clock.now()) {
        return Ok(());
    }
    let destinations = accounts.destinations.values();
    let destinations = destinations.filter(|_| !is_on(Mutant::NoLiveGetOfDestinations));
    let all = accounts.source.iter().chain(destinations);
    let names: BTreeSet<&str> = all.map(|account| account.name.as_str()).collect();
    for name in names {
        let cached = cx.index.accounts.get(&Key::cluster(name)).ok_or(Stop::Outdated)?;
        let live = cx.cluster.live(&ObjectKey::new::<AwsAccount>(cached.meta())).await?;
        // An equal generation is an equal spec.
        let is_current = match live {
            Some(live) => live.metadata.generation == cached.meta().generation,
            None => is_on(Mutant::GoneAccountBelieved),
        };
        if !is_current {
            return Err(Stop::Outdated);
        }
    }
    Ok(())
}

/// The labels that all accounts together ask for: a namespace that has them all is refused for other reasons only.
fn required_labels(accounts: &Accounts) -> BTreeMap<String, String> {
    let all = accounts.source.iter().chain(accounts.destinations.values());
    let namespaces = all.filter_map(|account| account.spec.namespaces.as_ref());
    namespaces.flat_map(|namespaces| namespaces.match_labels.clone()).collect()
}

/// The accounts that a resource refers to.
pub fn resolve<C, K>(object: &BucketReplication, cx: &Context<C, K>) -> Result<Accounts, Refusal> {
    let without = WithoutAccount::of(cx.settings.require_account, cx.index.has_seen_accounts());
    Accounts::resolve(&object.spec, |name| cx.index.account(name), without)
}

/// Claims the source for the resource.
///
/// # Errors
/// The refusal that names the owner, or the API server did not answer.
pub async fn claim_source<C, K: Cluster>(
    object: &BucketReplication,
    memory: &ResourceMemory<'_>,
    labels: &mut NamespaceLabels<'_, K>,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    let age = |rival: &BucketReplication| source_ownership::compare_age(rival, object);
    // A younger rival does not own the source, even if it is allowed.
    let younger = |rival: &Guarded| rival.0.as_ref().is_ok_and(|rival| age(rival) == Ordering::Greater);
    let rivals = cx.index.by_source_until(&object.spec.source.bucket, younger);
    let rivals = rivals.iter().filter_map(|rival| rival.0.as_ref().ok());
    let rivals = rivals.filter(|rival| age(rival) != Ordering::Greater && contends(rival, object, cx));
    let mut tied = Vec::new();
    for rival in rivals {
        if !is_authorized(rival, labels, cx).await? {
            continue;
        }
        if age(rival) == Ordering::Less {
            return Err(conflict(rival));
        }
        tied.push(rival);
    }
    memory.claim(object, &tied).map_err(conflict)
}

/// Whether another resource that is authorized names the same source.
pub async fn has_rivals<C, K: Cluster>(
    object: &BucketReplication,
    labels: &mut NamespaceLabels<'_, K>,
    cx: &Context<C, K>,
) -> Result<bool, Stop> {
    for rival in cx.index.by_source(&object.spec.source.bucket) {
        if let Ok(rival) = &rival.0
            && contends(rival, object, cx)
            && is_authorized(rival, labels, cx).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a resource is another one that expects the source in the same account. Otherwise any team could block
/// another team's bucket.
fn contends<C, K>(rival: &BucketReplication, object: &BucketReplication, cx: &Context<C, K>) -> bool {
    let account = |r: &BucketReplication| {
        let name = r.spec.source.account_ref.as_deref().unwrap_or(DEFAULT_ACCOUNT);
        cx.index.account(name).ok().flatten().map(|account| account.spec.account_id)
    };
    let elsewhere = || account(object).zip(account(rival)).is_some_and(|(own, other)| own != other);
    rival.uid() != object.uid() && !elsewhere()
}

/// A rival that is not authorized has no claim to a source.
async fn is_authorized<C, K: Cluster>(
    rival: &BucketReplication,
    labels: &mut NamespaceLabels<'_, K>,
    cx: &Context<C, K>,
) -> Result<bool, Stop> {
    let none = BucketReplicationStatus::default();
    match authorize(rival, rival.status.as_ref().unwrap_or(&none), labels, cx).await {
        Ok(_) => Ok(true),
        Err(Stop::Refused(_)) => Ok(false),
        Err(stop) => Err(stop),
    }
}

fn conflict(owner: &BucketReplication) -> Stop {
    let message = source_ownership::message(owner);
    Stop::Refused(Refusal::new(Reason::SourceConflict, ConditionType::ReplicationReady, message))
}
