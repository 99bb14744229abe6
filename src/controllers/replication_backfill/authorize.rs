//! Decides, without a call to AWS, whether a backfill may begin now, and whether an approved job may start.
//!
//! In: a backfill, its replication, its siblings and the accounts as the watches last saw them. Out: the job's source
//! and account, or a refusal. It is asked before anything is read in AWS, and again, with the live replication, just
//! before each write that makes something or costs money.

use std::sync::Arc;

use kube::{Resource, ResourceExt};

use crate::api::{
    BackfillSource, BucketReplication, BucketReplicationStatus, ConditionType, Reason,
    ReplicationBackfillSpec, Role,
};
use crate::controllers::bucket_replication::authorize::{
    NamespaceLabels, authorize as authorize_replication, require_current_accounts, resolve,
};
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::stop::Stop;
use crate::controllers::{Guarded, GuardedBackfill};
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cluster, ObjectKey};
use crate::replication::authorize::accounts::Account;
use crate::replication::backfill::Parent;
use crate::replication::backfill::preconditions::{
    require_allowed, require_arns_of_partition, require_period, require_prefixes_writable, require_ready,
    require_same_source, require_settled, require_turn,
};
use crate::replication::{Accounts, Refusal};
use crate::runtime::store::Key;

/// Where a job is to be made, and under which account.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthorizedJob {
    pub source: BackfillSource,
    /// `None`: the operator's own identity acts.
    pub account: Option<Account>,
    /// The role of the replication, whose path and boundary the job's role shares.
    pub parent_role: Option<Role>,
}

impl AuthorizedJob {
    /// The accounts to connect to: a job needs the source's alone.
    pub fn accounts(&self) -> Accounts {
        Accounts { source: self.account.clone(), ..Accounts::default() }
    }
}

/// Where the job of a backfill is to be made and under which account, if it may begin.
///
/// # Errors
/// Why it may not, or the API server did not answer.
pub async fn authorize<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<AuthorizedJob, Stop> {
    let found = cx.shared.index.replications.get(&parent_key(subject, spec));
    authorize_begin(subject, spec, found.as_deref(), cx).await
}

/// The same for the replication and its account as the API server has them now: the cache may be behind.
///
/// # Errors
/// As [`authorize`].
pub async fn authorize_again<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<AuthorizedJob, Stop> {
    require_current_account(subject, spec, cx).await?;
    let live = live_parent(subject, spec, cx).await?;
    authorize_begin(subject, spec, live.as_ref(), cx).await
}

/// Whether a job that waits for approval may start now: as for one that begins, but it has had its turn, and S3 has
/// listed its objects already.
///
/// # Errors
/// As [`authorize`]; the replication has another source by now.
pub async fn authorize_start<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    source: &BackfillSource,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    require_current_account(subject, spec, cx).await?;
    let live = live_parent(subject, spec, cx).await?;
    let (_, authorized) = authorize_parent(spec, live.as_ref(), cx).await?;
    Ok(require_same_source(source, &authorized.source, &spec.replication_ref.name)?)
}

/// The account of the replication is still the one of the cache. It is asked for before the replication, which may be
/// gone or name another account by the time of the answer.
async fn require_current_account<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    let cached = cx.shared.index.replications.get(&parent_key(subject, spec));
    let Some(Ok(parent)) = cached.as_ref().map(|guarded| guarded.0.as_ref()) else { return Ok(()) };
    let accounts = Accounts { source: resolve(parent, &cx.shared)?.source, ..Accounts::default() };
    Ok(require_current_accounts(&accounts, &cx.shared).await?)
}

/// The replication as the API server has it now.
async fn live_parent<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Result<Option<Guarded>, Stop> {
    let cached = cx.shared.index.replications.get(&parent_key(subject, spec));
    let Some(cached) = cached else { return Ok(None) };
    let live = cx.shared.cluster.live(&ObjectKey::new::<BucketReplication>(cached.meta())).await?;
    let live = live.map(serde_json::to_value).transpose().ok().flatten();
    Ok(live.and_then(|live| serde_json::from_value(live).ok()))
}

async fn authorize_begin<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    found: Option<&Guarded>,
    cx: &Context<C, K>,
) -> Result<AuthorizedJob, Stop> {
    let (resource, authorized) = authorize_parent(spec, found, cx).await?;
    require_turn(before(subject, spec, cx).as_deref(), &spec.replication_ref.name)?;
    require_prefixes_writable(spec)?;
    require_arns_of_partition(spec, &authorized.source)?;
    require_period(spec, cx.shared.clock.timestamp())?;
    let (settle, now) = (cx.shared.settings.backfill_settle, cx.shared.clock.timestamp());
    let none = BucketReplicationStatus::default();
    require_settled(resource.status.as_ref().unwrap_or(&none), &authorized.source.bucket, settle, now)?;
    Ok(authorized)
}

/// Requires the conditions of everything that costs money: the replication works, and the administrators allow it.
async fn authorize_parent<'a, C, K: Cluster>(
    spec: &ReplicationBackfillSpec,
    found: Option<&'a Guarded>,
    cx: &Context<C, K>,
) -> Result<(&'a BucketReplication, AuthorizedJob), Stop> {
    let name = &spec.replication_ref.name;
    let parent = match found {
        None => Parent::Missing,
        Some(guarded) => guarded.0.as_ref().map_or(Parent::Unreadable, Parent::Found),
    };
    let source = require_ready(parent, name, cx.shared.settings.read_only)?;
    let Parent::Found(resource) = parent else { return Err(Stop::Outdated) };
    let none = BucketReplicationStatus::default();
    let status = resource.status.as_ref().unwrap_or(&none);
    let labels = &mut NamespaceLabels::new(cx.shared.cluster.as_ref());
    let accounts = authorize_replication(resource, status, labels, &cx.shared).await?;
    if accounts.source.as_ref().map(|account| &account.name) != source.account_ref.as_ref() {
        let message = format!(
            "BucketReplication {name} has not been checked under the AwsAccount that applies to it now; the backfill begins once it is Ready"
        );
        return Err(Refusal::new(Reason::ReplicationNotReady, ConditionType::Ready, message).into());
    }
    require_allowed(spec, accounts.source.as_ref())?;
    Ok((
        resource,
        AuthorizedJob { source, account: accounts.source, parent_role: resource.spec.role.clone() },
    ))
}

pub fn parent_key(subject: &BackfillObject<'_>, spec: &ReplicationBackfillSpec) -> Key {
    Key::namespaced(subject.metadata.namespace.as_deref().unwrap_or_default(), &spec.replication_ref.name)
}

/// The backfill of the same replication that comes before this one: one that is under way, or an older one.
fn before<C, K>(
    subject: &BackfillObject<'_>,
    spec: &ReplicationBackfillSpec,
    cx: &Context<C, K>,
) -> Option<String> {
    let siblings = cx.shared.index.backfills_of(&parent_key(subject, spec));
    let mut older = true;
    let first = siblings.iter().find(|sibling| {
        if sibling.uid().as_ref() == Some(&subject.key.uid) {
            older = false;
            return false;
        }
        let comes_first = older && !is_on(Mutant::TurnIgnored);
        !is_over(sibling) && (comes_first || is_begun(sibling))
    });
    first.map(|sibling| sibling.name_any())
}

/// Whether a backfill has ended. One that cannot be read delays no other unless it has a job.
pub fn is_over(backfill: &Arc<GuardedBackfill>) -> bool {
    match &backfill.0 {
        Ok(readable) => readable.status.as_ref().is_some_and(|status| status.finished_at.is_some()),
        Err(_) => true,
    }
}

fn is_begun(backfill: &Arc<GuardedBackfill>) -> bool {
    let status = backfill.0.as_ref().ok().and_then(|readable| readable.status.as_ref());
    status.is_some_and(|status| status.token.is_some() && status.finished_at.is_none())
}
