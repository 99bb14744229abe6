//! Deletes what a resource made in AWS: observe → teardown → execute → verify, and then the finalizer goes.
//!
//! In: an object with a deletion timestamp, decodable or not. Out: nothing of the resource is left, or the finalizer
//! stays and the status says why. Only what is the resource's own is removed, in each account where something may be:
//! `replication/plan/teardown.rs` decides what that is, and `canary/deletion.rs` deletes canaries, for which it waits
//! some minutes. A deletion also waits until AWS shows the operator's last writes (`SHOWN_AFTER` in
//! `replication/observed.rs`). One that is refused is tried again as `runtime/requeue.rs` says, as often as it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::core::ObjectMeta;
use serde_json::Value;
use tracing::{info, warn};

use crate::api::{BucketReplicationStatus, ConditionType, DEFAULT_ACCOUNT, FINALIZER, Reason};
use crate::controllers::bucket_replication::authorize::{
    NamespaceLabels, admits, authorize, claim_source, has_rivals, stand_in,
};
use crate::controllers::bucket_replication::canary::CanaryRemoval;
use crate::controllers::bucket_replication::connect::{Connected, connect};
use crate::controllers::bucket_replication::contents::{
    absent, configuration_hash, setting_of_configuration,
};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::deletion_view::DeletionView;
use crate::controllers::bucket_replication::execute::{Executed, Purpose, execute};
use crate::controllers::bucket_replication::hold_back::{shared_policies, written_ago};
use crate::controllers::bucket_replication::resource::ReplicationObject;
use crate::controllers::bucket_replication::status::{self, Schedule};
use crate::controllers::bucket_replication::stop::Stop;
use crate::iam::bucket_policy;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster, ClusterError, Finalizers};
use crate::replication::desired::Discovered;
use crate::replication::left_behind::{holds_statements, left_behind, without_source};
use crate::replication::observed::{Read, SHOWN_AFTER};
use crate::replication::outcome::Outcome;
use crate::replication::plan::teardown::{ObservedForDeletion, OwnershipFacts, failed, teardown};
use crate::replication::resource::{announced, applied_role, remembered_roles};
use crate::replication::status::{Event, LastWriter, RecentWrite};
use crate::replication::{
    Account, Accounts, BucketAddress, BucketRef, Caller, Configuration, DeletionReadSet, Desired, Failure,
    FailureClass, ObservedRole, Refusal, Replication, ResourceId,
};
use crate::runtime::Error;
use crate::runtime::action::Action;

/// Cleans up and removes the finalizer; keeps it and reports why when that is not possible.
pub async fn finalize<C: Cloud, K: Cluster>(
    target: &ReplicationObject<'_>,
    cx: &Context<C, K>,
) -> Result<Action, Error> {
    if !target.has_finalizer() {
        return Ok(Action::await_change());
    }
    // The cache may be behind the operator's own writes: the live object decides what is deleted.
    let Some(live) = cx.cluster.live(target.key).await? else {
        return Ok(Action::await_change());
    };
    let metadata = live.metadata.clone();
    let target = ReplicationObject { metadata: &metadata, ..*target };
    // Someone else removed the finalizer, and thereby took over the rest in AWS.
    if !target.has_finalizer() {
        return Ok(Action::await_change());
    }
    let view = DeletionView::read(live);
    let schedule = Schedule::every(cx.settings.interval.duration());
    match delete(&view, &target, cx).await {
        Ok(()) => {
            remove_finalizer(&target, cx).await?;
            cx.memory.forget(&target.key.uid);
            info!(namespace = metadata.namespace, name = metadata.name, "deleted");
            Ok(Action::await_change())
        }
        Err(Stop::Refused(refusal)) => {
            let (namespace, name) = (&metadata.namespace, &metadata.name);
            let (reason, detail) = (refusal.reason.as_str(), &refusal.message);
            warn!(namespace, name, reason, detail, "deletion waits");
            let previous = target.memory.status(Some(&view.status), cx.clock.now());
            status::refuse(&target, &previous, &refusal, schedule, cx).await
        }
        Err(Stop::Kubernetes(error)) => Err(error),
        Err(Stop::Unsettled(pause, _)) => Ok(Action::requeue(pause)),
        Err(Stop::Outdated) => {
            Ok(Action::requeue(target.memory.requeue_after(Reason::Progressing, schedule.interval)))
        }
    }
}

/// Tries once more on the list as it is then when someone else removes a finalizer meanwhile, as the garbage collector
/// does in a foreground deletion: AWS need not be cleaned up again.
async fn remove_finalizer<C: Cloud, K: Cluster>(
    target: &ReplicationObject<'_>,
    cx: &Context<C, K>,
) -> Result<(), ClusterError> {
    let held = Finalizers::of(target.metadata);
    match cx.cluster.remove_finalizer(target.key, &held, FINALIZER).await {
        Err(error) if error.is_outdated() => match cx.cluster.live(target.key).await? {
            Some(live) => {
                cx.cluster.remove_finalizer(target.key, &Finalizers::of(&live.metadata), FINALIZER).await
            }
            None => Ok(()),
        },
        other => other,
    }
}

/// Removes what the resource made, in each account where something may be.
async fn delete<C: Cloud, K: Cluster>(
    view: &DeletionView,
    target: &ReplicationObject<'_>,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    if is_on(Mutant::FinalizerGoesFirst) {
        return Ok(());
    }
    if view.leaves_aws_alone() {
        return remove_canaries_alone(view, target, cx).await;
    }
    let state = ownership_state(view, target, cx).await?;
    if state.made_nothing(view) {
        return Ok(());
    }
    require_writes(cx)?;
    let mut removals = Vec::new();
    for source in &source_accounts(view, target.metadata, cx).await? {
        // First the bucket that only the status names: its configuration needs the role, which goes last.
        let of_status = view.source_of_status().map(|bucket| (Some(bucket), true));
        for (bucket, only_in_status) in of_status.into_iter().chain([(view.source(), false)]) {
            let id = cx.settings.resource_id(target.metadata);
            let removal = Removal { view, target, state, id, source, bucket, only_in_status };
            removals.push((removal.acted_here(), removal.run(cx).await));
        }
    }
    // In an account where the resource never acted the operator may not be permitted to read, or may have no identity.
    let elsewhere = |acted: bool, stop: &Stop| {
        let is_out_of_reach =
            |refusal: &Refusal| matches!(refusal.reason, Reason::AccessDenied | Reason::AccountMismatch);
        !acted && matches!(stop, Stop::Refused(refusal) if is_out_of_reach(refusal))
    };
    let one_succeeded = removals.iter().any(|(_, result)| result.is_ok());
    let mut refusals: Vec<Refusal> = Vec::new();
    for (acted, result) in removals {
        match result {
            Err(stop) if one_succeeded && elsewhere(acted, &stop) => {}
            Err(Stop::Refused(refusal)) => {
                // The accounts of destinations are the same for each source.
                if !refusals.iter().any(|named| named.message.contains(&refusal.message)) {
                    refusals.push(refusal);
                }
            }
            result => result?,
        }
    }
    Ok(Refusal::all(refusals)?)
}

/// With `deletionPolicy: Retain` everything stays but canaries, as far as the operator reaches them: nothing of what it
/// retains depends on them.
async fn remove_canaries_alone<C: Cloud, K: Cluster>(
    view: &DeletionView,
    target: &ReplicationObject<'_>,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    if view.leaves_canaries_alone() || view.status.canary_places.is_empty() || cx.settings.read_only {
        return Ok(());
    }
    let Ok(sources) = source_accounts(view, target.metadata, cx).await else { return Ok(()) };
    for source in &sources {
        let id = cx.settings.resource_id(target.metadata);
        let (bucket, state) = (view.source(), OwnershipState::default());
        let removal = Removal { view, target, state, id, source, bucket, only_in_status: false };
        let Ok(accounts) = removal.accounts(cx).await else { continue };
        let Ok(connected) = connect(&accounts, &removal.id, cx.cloud.as_ref()).await else { continue };
        let (namespace, name) = (&target.metadata.namespace, &target.metadata.name);
        for failure in connected.unreached.values() {
            warn!(namespace, name, detail = failure.message(), "canaries may be left");
        }
        match removal.remove_canaries::<C, K>(&connected, cx).await {
            Err(Stop::Refused(refusal)) if refusal.reason != Reason::Progressing => {
                warn!(namespace, name, detail = refusal.message, "canaries are left");
            }
            result => result?,
        }
    }
    Ok(())
}

/// An operator that writes nothing cannot delete anything.
fn require_writes<C, K>(cx: &Context<C, K>) -> Result<(), Refusal> {
    if !cx.settings.read_only {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::DeletionBlocked,
        ConditionType::Ready,
        "cannot delete: the operator runs with --read-only and writes nothing to AWS; restart it without the flag, or set deletionPolicy: Retain to leave what this resource made".to_owned(),
    ))
}

/// The state of a resource's right to its source.
#[derive(Clone, Copy, Debug, Default)]
struct OwnershipState {
    /// Another resource owns the source.
    conflict: bool,
    /// The administrators of its accounts do not allow, or no longer allow, what the resource asks for.
    forbidden: bool,
}

impl OwnershipState {
    /// Whether AWS can be left alone because the resource never applied anything: it lost the source to another resource,
    /// or was never authorized.
    fn made_nothing(self, view: &DeletionView) -> bool {
        match self.forbidden {
            true => !view.left_traces(),
            false => self.conflict && view.status.applied_hash.is_none() && !view.left_traces(),
        }
    }
}

async fn ownership_state<C: Cloud, K: Cluster>(
    view: &DeletionView,
    target: &ReplicationObject<'_>,
    cx: &Context<C, K>,
) -> Result<OwnershipState, Stop> {
    let Some(resource) = &view.resource else {
        return Ok(OwnershipState { conflict: false, forbidden: may_be_restricted(view, cx) });
    };
    let labels = &mut NamespaceLabels::new(cx.cluster.as_ref());
    match authorize(resource, &view.status, labels, cx).await {
        Ok(_) => {
            let conflict = match claim_source(resource, target.memory, labels, cx).await {
                Ok(()) => false,
                Err(Stop::Refused(_)) => true,
                Err(stop) => return Err(stop),
            };
            Ok(OwnershipState { conflict, forbidden: false })
        }
        // A resource that is not authorized owns its source no longer, however old it is.
        Err(Stop::Refused(_)) => {
            Ok(OwnershipState { conflict: has_rivals(resource, labels, cx).await?, forbidden: true })
        }
        Err(stop) => Err(stop),
    }
}

/// Whether administrators may restrict a resource that cannot be decoded. The operator cannot know then that it is
/// allowed.
fn may_be_restricted<C, K>(view: &DeletionView, cx: &Context<C, K>) -> bool {
    let acted_in = view.status.source.as_ref().and_then(|source| source.account_ref.as_ref());
    let by_default = cx.index.has_account(DEFAULT_ACCOUNT) || cx.settings.require_account;
    acted_in.is_some() || view.account_ref().is_some() || by_default || cx.index.has_seen_accounts()
}

/// An account in which the source may be.
struct SourceAccount {
    /// `None`: the operator's own identity.
    account: Option<Account>,
    /// It allows the resource's namespace and its source.
    admits: bool,
}

/// The accounts in which the resource may have acted: the one of the status, then the one of the spec.
async fn source_accounts<C: Cloud, K: Cluster>(
    view: &DeletionView,
    metadata: &ObjectMeta,
    cx: &Context<C, K>,
) -> Result<Vec<SourceAccount>, Stop> {
    let seen = view.status.source.as_ref();
    let remembered = seen.and_then(|source| source.account_ref.clone());
    let named = view.account_ref();
    let default = || cx.index.has_account(DEFAULT_ACCOUNT).then(|| DEFAULT_ACCOUNT.to_owned());
    let mut names: Vec<Option<String>> = Vec::new();
    if view.left_traces() {
        names.push(remembered.clone());
    }
    names.push(named.or_else(default));
    names.dedup();
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let labels = &mut NamespaceLabels::new(cx.cluster.as_ref());
    for name in names {
        match name {
            // Where accounts are used, the operator's own identity acts only where it acted before.
            None if cx.index.has_seen_accounts() && !(view.left_traces() && remembered.is_none()) => {}
            None => found.push(SourceAccount { account: None, admits: !cx.index.has_seen_accounts() }),
            Some(name) => match cx.index.account(&name) {
                Ok(Some(account)) => {
                    let bucket = view.bucket().unwrap_or_default();
                    let admitted = admits(&account, metadata, &bucket, labels).await?;
                    found.push(SourceAccount { account: Some(account), admits: admitted });
                }
                Ok(None) => missing.push(MissingAccount::Gone(name)),
                Err(refusal) => missing.push(MissingAccount::Unreadable(refusal)),
            },
        }
    }
    // Another AwsAccount for the same account serves as well as one that is gone.
    let id = seen.and_then(|source| source.account.as_ref());
    let reached = |found: &SourceAccount| {
        let account_id = found.account.as_ref().map(|account| &account.spec.account_id);
        id.is_some() && account_id == id
    };
    if !found.iter().any(reached) {
        let other = stand_in_of_source(id, metadata);
        Refusal::all(missing.iter().map(|missing| missing.refusal(metadata, &other)))?;
    }
    Ok(found)
}

/// An `AwsAccount` that gives a deletion no identity.
enum MissingAccount {
    /// By its name.
    Gone(String),
    /// It cannot be decoded.
    Unreadable(Refusal),
}

impl MissingAccount {
    /// A refusal that lists the ways to end a deletion that waits for the account. Without the account nothing in AWS
    /// may be touched. Only people can know which way is right. `stand_in`: how another `AwsAccount` serves.
    fn refusal(&self, metadata: &ObjectMeta, stand_in: &str) -> Refusal {
        let (reason, why, first) = match self {
            MissingAccount::Gone(name) => (
                Reason::AccountNotFound,
                format!(
                    "parts of this resource are in AwsAccount {name}, which does not exist any more; without it the operator touches nothing there"
                ),
                format!("create the AwsAccount again (kubectl apply -f FILE, with name {name})"),
            ),
            MissingAccount::Unreadable(refusal) => {
                (refusal.reason, refusal.message.clone(), "correct the AwsAccount".to_owned())
            }
        };
        let leave = retain(metadata);
        let message = format!(
            "cannot delete: {why}. The deletion ends by one of these: {first}; {stand_in}; or leave in AWS what is there ({leave})"
        );
        Refusal::new(reason, ConditionType::Ready, message)
    }
}

/// The command that leaves in AWS what is there.
fn retain(metadata: &ObjectMeta) -> String {
    patch_command(metadata, r#"{"spec":{"deletionPolicy":"Retain"}}"#)
}

/// The command that changes the spec of a resource.
fn patch_command(metadata: &ObjectMeta, patch: &str) -> String {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    format!("kubectl patch bucketreplication {name} -n {namespace} --type merge -p '{patch}'")
}

/// How another `AwsAccount` takes the place of the one of the source.
fn stand_in_of_source(id: Option<&String>, metadata: &ObjectMeta) -> String {
    let account = id.map_or("the same account".to_owned(), |id| format!("account {id}"));
    let name = patch_command(metadata, r#"{"spec":{"source":{"accountRef":"OTHER"}}}"#);
    format!("name another AwsAccount for {account} ({name})")
}

/// The removal from one source account and the accounts of destinations.
struct Removal<'a> {
    view: &'a DeletionView,
    target: &'a ReplicationObject<'a>,
    state: OwnershipState,
    id: ResourceId,
    source: &'a SourceAccount,
    /// The source bucket.
    bucket: Option<BucketRef>,
    /// The spec names another source bucket.
    only_in_status: bool,
}

impl Removal<'_> {
    /// Whether the status says that the resource acted in this account.
    fn acted_here(&self) -> bool {
        let Some(seen) = &self.view.status.source else { return true };
        let account = self.source.account.as_ref();
        match (&seen.account, account) {
            (Some(id), Some(account)) => *id == account.spec.account_id,
            _ => seen.account_ref.as_ref() == account.map(|account| &account.name),
        }
    }

    /// Observe → teardown → execute → verify.
    async fn run<C: Cloud, K: Cluster>(&self, cx: &Context<C, K>) -> Result<(), Stop> {
        let accounts = self.accounts(cx).await?;
        let connected = connect(&accounts, &self.id, cx.cloud.as_ref()).await;
        let connected = connected.map_err(|failure| without_source(&failure, &self.retain()))?;
        let caller = cx.cloud.caller(&connected.clients).await.map_err(blocked)?;
        if !self.has_moved(&caller, cx)? {
            self.remove(&accounts, &connected, caller, cx).await?;
        }
        Ok(())
    }

    /// Whether the operator's own identity is in another account by now than the one where it acted, and another account of
    /// this deletion is that one. Nothing of the resource is where the identity is then.
    ///
    /// # Errors
    /// It has moved, and nothing else leads to where the resource acted. That nothing is here proves nothing.
    fn has_moved<C, K>(&self, caller: &Caller, cx: &Context<C, K>) -> Result<bool, Refusal> {
        let acted_in = self.view.status.source.as_ref().and_then(|source| source.account.as_ref());
        let acted_in = acted_in.filter(|id| **id != caller.account && self.view.left_traces());
        let Some(id) = acted_in.filter(|_| self.source.account.is_none()) else { return Ok(false) };
        let named = self.view.account_ref().and_then(|name| cx.index.account(&name).ok().flatten());
        if named.is_some_and(|account| account.spec.account_id == *id) {
            return Ok(true);
        }
        let message = format!(
            "cannot delete: parts of this resource are in account {id}, and the operator's identity is in account {} by now. The deletion ends by one of these: give the operator an identity in account {id}; {}; or leave in AWS what is there ({})",
            caller.account,
            stand_in_of_source(Some(id), self.target.metadata),
            self.retain(),
        );
        Err(Refusal::new(Reason::AccountMismatch, ConditionType::Ready, message))
    }

    async fn remove<C: Cloud, K: Cluster>(
        &self,
        accounts: &Accounts,
        connected: &Connected<C::Clients>,
        caller: Caller,
        cx: &Context<C, K>,
    ) -> Result<(), Stop> {
        let Connected { clients, unreached } = connected;
        if !self.only_in_status {
            self.remove_canaries::<C, K>(connected, cx).await?;
        }
        let read_set = self.read_set(self.desired(accounts, caller).as_ref(), unreached);
        let observed = self.observe(clients, &read_set, cx).await.map_err(blocked)?;
        let sid = self.id.policy_sid(&observed.bucket);
        if let Some(pause) = self.pause(&observed, &read_set, &sid, cx) {
            let (writer, destinations) = (LastWriter::ThisProcess, BTreeSet::new());
            return Err(Stop::Unsettled(pause, RecentWrite { writer, destinations }));
        }
        let ownership = OwnershipFacts {
            id: &self.id,
            sid: &sid,
            status: &self.view.status,
            adoption: self.view.adoption(),
            disputed: self.is_disputed(),
            named_elsewhere: holds_statements(&self.view.status, unreached),
        };
        let planned = teardown(&observed, &ownership);
        if let Some(former) = self.target.former_process(cx) {
            let policy_of = |name: &str| {
                let mut held = observed.bucket_policies.iter().filter(|(bucket, _)| bucket.name == name);
                held.find_map(|(_, policy)| policy.as_ref().ok()?.as_ref())
            };
            let steps = planned.stages.iter().flatten();
            let destinations = shared_policies(steps, policy_of, (&former, self.target.metadata), cx);
            if !destinations.is_empty() {
                let writer = LastWriter::FormerProcess;
                return Err(Stop::Unsettled(former.pause(), RecentWrite { writer, destinations }));
            }
        }
        let purpose = Purpose::Deletion(self.target);
        let Executed { outcome, stopped, announced: _ } =
            execute(&planned.stages, clients, purpose, cx).await;
        self.target.memory.forget_written(&outcome.done);
        if !outcome.done.is_empty() {
            cx.cluster.publish_event(self.target.key, &deleted_event(&outcome)).await;
        }
        stopped.map_or(Ok(()), Err)?;
        require_not_interrupted(&outcome)?;
        let failures = outcome.failed.iter().map(|(step, failure)| failed(step, failure, &observed));
        Refusal::all(failures.chain(planned.blocked).chain(self.left_behind(unreached)))?;
        if outcome.done.is_empty() {
            return Ok(());
        }
        // A stale answer or a concurrent write must not leave something behind.
        let observed = self.observe(clients, &read_set, cx).await.map_err(blocked)?;
        let left = teardown(&observed, &ownership);
        left.blocked.map_or(Ok(()), Err)?;
        match left.stages.iter().flatten().next() {
            None => Ok(()),
            Some(step) => Err(waiting(format!("AWS still shows what was deleted; next: {step}")).into()),
        }
    }

    /// Lists what to read: the things that may be left of the resource where the operator has an identity.
    fn read_set(&self, desired: Option<&Desired>, unreached: &BTreeMap<String, Failure>) -> DeletionReadSet {
        let mut bucket_policies = self.view.bucket_policies(desired);
        bucket_policies.retain(|bucket| is_reached(bucket, unreached));
        DeletionReadSet {
            source: self.bucket.clone(),
            roles: self.view.roles(&self.id),
            bucket_policies,
            id: self.id.clone(),
        }
    }

    /// Why the finalizer stays because of accounts that cannot be reached.
    fn left_behind(&self, unreached: &BTreeMap<String, Failure>) -> Option<Refusal> {
        left_behind(&self.view.status, unreached, &self.retain())
    }

    /// The command that leaves in AWS what is there.
    fn retain(&self) -> String {
        retain(self.target.metadata)
    }

    /// How long to wait where AWS may still answer from before the operator's last write: a deletion would leave behind
    /// a thing that AWS does not show yet.
    fn pause<C, K>(
        &self,
        observed: &ObservedForDeletion,
        read_set: &DeletionReadSet,
        sid: &str,
        cx: &Context<C, K>,
    ) -> Option<Duration> {
        if self.only_in_status {
            return None;
        }
        let mut shown = absent(observed, sid, read_set.roles.iter());
        if let (Ok(held), Some(_)) = (&observed.configuration, &observed.region) {
            shown.insert(setting_of_configuration(&observed.bucket), configuration_hash(held.as_ref()));
        }
        let (memory, now) = (self.target.memory, cx.clock.now());
        let of_another_process = || {
            let known = written_ago(&self.view.status, cx.clock.timestamp());
            // It may have ended before its report.
            let former = self.target.former_process(cx).filter(|former| former.knew(self.target.metadata));
            let ended = former.map(|former| SHOWN_AFTER.saturating_sub(former.shows_in));
            let age = [known, ended].into_iter().flatten().min();
            let missing = is_anything_missing(&self.view.status, observed, sid);
            missing.then(|| memory.awaits_another_process(age, now)).flatten()
        };
        memory.shows_replaced(&shown, now).or_else(of_another_process)
    }

    /// Before the configuration goes, so that S3 still finishes those on their way. Those in accounts that cannot be reached
    /// wait.
    async fn remove_canaries<C: Cloud, K: Cluster>(
        &self,
        Connected { clients, unreached }: &Connected<C::Clients>,
        cx: &Context<C, K>,
    ) -> Result<(), Stop> {
        let mut places = self.view.canary_places(&self.target.key.uid);
        places.retain(|place| is_reached(&place.bucket, unreached));
        let source = self.bucket.as_ref().map(|bucket| bucket.name.as_str()).unwrap_or_default();
        CanaryRemoval { target: self.target, places: &places, source, clients, cx }.run().await
    }

    /// The accounts to remove things in. An account that only a rule names may be gone: nothing is left there then. For
    /// one that the status names, another `AwsAccount` for the same account serves, if it allows the namespace and the
    /// buckets.
    async fn accounts<C, K: Cluster>(&self, cx: &Context<C, K>) -> Result<Accounts, Stop> {
        let mut accounts = Accounts { source: self.source.account.clone(), ..Accounts::default() };
        let (remembered, named) = self.view.destination_accounts();
        let mut gone = Vec::new();
        for name in remembered {
            let account = match cx.index.account(&name) {
                Ok(Some(account)) => Ok(account),
                Ok(None) => self.stand_in(&name, MissingAccount::Gone(name.clone()), cx).await?,
                Err(refusal) => self.stand_in(&name, MissingAccount::Unreadable(refusal), cx).await?,
            };
            match account {
                Ok(account) => drop(accounts.destinations.insert(name, account)),
                Err(refusal) => gone.push(refusal),
            }
        }
        Refusal::all(gone)?;
        for name in named {
            if let Ok(Some(account)) = cx.index.account(&name) {
                accounts.destinations.entry(name).or_insert(account);
            }
        }
        Ok(accounts)
    }

    /// An account in place of one that gives no identity, or the refusal that names that one.
    async fn stand_in<C, K: Cluster>(
        &self,
        name: &str,
        missing: MissingAccount,
        cx: &Context<C, K>,
    ) -> Result<Result<Account, Refusal>, Stop> {
        let labels = &mut NamespaceLabels::new(cx.cluster.as_ref());
        let metadata = self.target.metadata;
        let left = self.view.left_under(name);
        let account = left.as_ref().map_or("the same account".to_owned(), |(id, _)| format!("account {id}"));
        let found = match left {
            Some((id, buckets)) => stand_in(id, &buckets, metadata, labels, cx).await?,
            None => None,
        };
        let other = format!(
            "create another AwsAccount for {account} that allows this namespace and the buckets (kubectl apply -f FILE)"
        );
        Ok(found.ok_or_else(|| missing.refusal(metadata, &other)))
    }

    /// Whether the status is no proof that the configuration is the resource's own: another resource owns the source by
    /// now, or may own it, or the account does not admit the resource.
    fn is_disputed(&self) -> bool {
        let OwnershipState { conflict, forbidden } = self.state;
        conflict || forbidden || self.only_in_status || !self.source.admits
    }

    /// The desired state of the spec, as far as it can be derived without reading any bucket.
    fn desired(&self, accounts: &Accounts, caller: Caller) -> Option<Desired> {
        let OwnershipState { conflict, forbidden } = self.state;
        let resource = self.view.resource.as_ref().filter(|_| !conflict && !forbidden)?;
        let (spec, status) = (&resource.spec, &self.view.status);
        let replication = Replication { spec, status, id: &self.id, accounts };
        let discovered = Discovered { caller, regions: BTreeMap::new(), object_lock: false };
        Some(Desired::new(&replication, &discovered))
    }

    async fn observe<C: Cloud, K: Cluster>(
        &self,
        clients: &C::Clients,
        read_set: &DeletionReadSet,
        cx: &Context<C, K>,
    ) -> Read<ObservedForDeletion> {
        let mut observed = cx.cloud.observe_for_deletion(clients, read_set).await?;
        // The role of role.arn is never written, not even one that the operator made when it was still managed.
        let is_existing = |role: &ObservedRole| Some(role.arn.as_str()) == self.view.existing_role();
        observed.roles.retain(|_, read| !matches!(read, Ok(Some(role)) if is_existing(role)));
        if self.configured_nothing(&observed) {
            observed.configuration = Ok(None);
        }
        Ok(observed)
    }

    /// Whether the configuration of a source that may not be read is certainly not the resource's: a configuration is put
    /// after its managed role, and there is neither one nor a trace in the status. The source may be someone else's, and
    /// must not keep the resource forever.
    fn configured_nothing(&self, observed: &ObservedForDeletion) -> bool {
        let denied =
            |failure: &Failure| matches!(failure.class, FailureClass::Denied | FailureClass::WrongOwner);
        observed.configuration.as_ref().is_err_and(denied)
            && observed.roles.values().all(Result::is_ok)
            && !observed.roles_there().any(|role| self.id.owns(&role.tags))
            && !self.view.left_traces()
            && self.view.existing_role().is_none()
    }
}

/// Whether AWS does not show all that the status says the operator made.
fn is_anything_missing(status: &BucketReplicationStatus, observed: &ObservedForDeletion, sid: &str) -> bool {
    let is_there = |arn: &str| observed.roles_there().any(|role| role.arn == arn);
    let without = |(bucket, policy): &(BucketAddress, Read<Option<Value>>)| {
        let named = status.bucket_policies.iter().any(|held| held.bucket == bucket.name);
        named && policy.as_ref().is_ok_and(|policy| !bucket_policy::holds(policy.as_ref(), sid))
    };
    let replaced = |held: &Configuration| {
        let mut roles = remembered_roles(status).chain(applied_role(status).map(String::as_str));
        announced(status, &observed.bucket, held).is_none() && !roles.any(|role| role == held.role)
    };
    let lacks_configuration = match &observed.configuration {
        Ok(held) => held.as_ref().is_none_or(replaced),
        Err(_) => false,
    };
    (observed.roles.values().all(Result::is_ok) && !remembered_roles(status).all(is_there))
        || (observed.region.is_some() && status.configured_at.is_some() && lacks_configuration)
        || observed.bucket_policies.iter().any(without)
}

fn require_not_interrupted(outcome: &Outcome) -> Result<(), Refusal> {
    if outcome.interrupted && outcome.failed.is_empty() {
        let message = "the operator was stopped before all was deleted; it continues when it is back";
        return Err(waiting(message.to_owned()));
    }
    Ok(())
}

/// Whether the operator has an identity for a bucket.
fn is_reached(bucket: &BucketAddress, unreached: &BTreeMap<String, Failure>) -> bool {
    bucket.account_ref.as_ref().is_none_or(|name| !unreached.contains_key(name))
}

fn blocked(failure: Failure) -> Refusal {
    let message = format!("cannot delete: {}", failure.message());
    Refusal::new(failure.class.reason(), ConditionType::Ready, message)
}

fn waiting(message: String) -> Refusal {
    Refusal::new(Reason::Progressing, ConditionType::Ready, message)
}

fn deleted_event(outcome: &Outcome) -> Event {
    let steps: Vec<String> = outcome.done.iter().map(ToString::to_string).collect();
    Event { warning: false, reason: "Deleted", note: format!("wrote to AWS: {}", steps.join("; ")) }
}
