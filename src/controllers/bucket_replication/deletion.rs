//! Deletion: works whatever the spec now says, even if it cannot be decoded or the bucket is gone; removes only
//! what is ours, looks again, and then lets go.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use tracing::{info, warn};

use crate::api::{
    BucketReplication, BucketReplicationStatus, ConditionType, DEFAULT_ACCOUNT, DeletionPolicy, FINALIZER,
    ManagementPolicy, Reason,
};
use crate::aws;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::{Target, apply, identity, occasion, publish};
use crate::iam::arn::role_of_arn;
use crate::ports::{Cluster, ClusterError, Finalizers};
use crate::replication::authorize::accounts::WithoutAccount;
use crate::replication::desired::Discovered;
use crate::replication::plan::teardown::{Ownership, failed, teardown};
use crate::replication::resource::{remembered_roles, role_name};
use crate::replication::status::{Event, Outcome, stopped};
use crate::replication::{
    Accounts, BucketAddress, BucketRef, Caller, Desired, Failure, Refusal, Replication, ResourceId,
};
use crate::runtime::Error;
use crate::runtime::action::Action;

/// What deletion needs to know, from the object as it lies in the API server and as far as it can be read.
struct DeletionView {
    spec: Value,
    status: BucketReplicationStatus,
    resource: Option<BucketReplication>,
}

impl DeletionView {
    fn read(object: kube::api::DynamicObject) -> DeletionView {
        let part = |key: &str| object.data.get(key).cloned().unwrap_or_default();
        DeletionView {
            spec: part("spec"),
            status: serde_json::from_value(part("status")).unwrap_or_default(),
            resource: object.try_parse().ok(),
        }
    }

    /// A field of the spec with a default; `None` when it holds something that cannot be read.
    fn policy<T: for<'de> Deserialize<'de> + Default>(&self, field: &str) -> Option<T> {
        match self.spec.get(field) {
            None | Some(Value::Null) => Some(T::default()),
            Some(value) => serde_json::from_value(value.clone()).ok(),
        }
    }

    /// Whether AWS is left as it is. What cannot be read is not taken for leave to delete.
    fn leaves_aws_alone(&self) -> bool {
        self.policy("deletionPolicy") != Some(DeletionPolicy::Delete)
            || self.policy("managementPolicy") != Some(ManagementPolicy::Enforce)
    }

    fn source(&self) -> Option<BucketRef> {
        let text = |pointer: &str| self.spec.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let seen = self.status.source.as_ref();
        let bucket = seen.map(|s| s.bucket.clone()).or_else(|| text("/source/bucket"))?;
        let last_seen = seen.and_then(|s| s.region.clone()).or_else(|| text("/source/region"));
        Some(BucketRef { last_seen, ..BucketRef::named(&bucket) })
    }

    /// Whether status tells of anything in AWS that this resource made.
    fn left_traces(&self) -> bool {
        let BucketReplicationStatus { applied_hash, role, former_roles, bucket_policies, .. } = &self.status;
        let managed = role.as_ref().is_some_and(|role| role.managed);
        applied_hash.is_some() || managed || !former_roles.is_empty() || !bucket_policies.is_empty()
    }

    /// Whether an administrator says what this resource may do, as far as that can be told of one that cannot be
    /// read: it cannot be found to be allowed then.
    fn may_be_restricted(&self, ctx: &Context) -> bool {
        let acted_in = self.status.source.as_ref().and_then(|source| source.account_ref.as_ref());
        let refers = self.spec.pointer("/source/accountRef").is_some_and(|name| !name.is_null());
        let by_default = !matches!(ctx.account(DEFAULT_ACCOUNT), Ok(None)) || ctx.settings.require_account;
        acted_in.is_some() || refers || by_default
    }

    /// The accounts that the resource acted in, by name: what it made is removed where it was made, whatever the
    /// spec refers to by now.
    fn account_names(&self) -> (Option<String>, BTreeSet<String>) {
        let source = self.status.source.as_ref().and_then(|source| source.account_ref.clone());
        let policies = self.status.bucket_policies.iter().map(|policy| policy.account_ref.clone());
        (source, policies.collect())
    }

    /// The buckets of other accounts in whose policies this resource may have statements.
    fn policies(&self, desired: Option<&Desired>) -> Vec<BucketAddress> {
        let remembered = self.status.bucket_policies.iter().map(BucketAddress::from);
        let mut buckets: Vec<BucketAddress> = remembered.collect();
        // The operator may have been stopped between writing one and saying so.
        for d in desired.into_iter().flat_map(|desired| &desired.destinations) {
            let seen = self.status.destinations.iter().find(|seen| seen.bucket == d.name);
            let address = || {
                Some(BucketAddress {
                    name: d.name.clone(),
                    region: seen?.region.clone()?,
                    account_id: d.account_id.clone()?,
                    account_ref: Some(d.account_ref.clone()?),
                })
            };
            if !buckets.iter().any(|bucket| bucket.name == d.name) {
                buckets.extend(address());
            }
        }
        buckets
    }

    /// The ARN in `role.arn`.
    fn existing_role(&self) -> Option<&str> {
        self.spec.pointer("/role/arn").and_then(Value::as_str)
    }

    /// Every role that can be ours: the one the spec names, the one status remembers, the default one.
    fn roles(&self, identity: &ResourceId) -> BTreeSet<String> {
        let named = self.spec.pointer("/role/name").and_then(Value::as_str).map(str::to_owned);
        let decoded = self.resource.as_ref().map(|r| role_name(&r.spec, identity));
        // Who uses an existing role may have no right to look at any other.
        let existing = self.existing_role();
        let default = (named.is_none() && existing.is_none()).then(|| identity.default_role_name());
        let remembered = remembered_roles(&self.status).map(|arn| role_of_arn(arn).to_owned());
        [named, decoded, default].into_iter().flatten().chain(remembered).collect()
    }
}

/// Cleans up and drops the finalizer; keeps it and says why when that is not possible.
pub async fn finalize(target: &Target<'_>, ctx: &Context) -> Result<Action, Error> {
    if !target.has_finalizer() {
        return Ok(Action::await_change());
    }
    // The cache may be behind our own writes: what is about to be deleted is decided on the object as it is.
    let Some(live) = ctx.cluster.live(&target.key).await? else {
        return Ok(Action::await_change());
    };
    let finalizers = Finalizers::of(&live.metadata);
    let metadata = live.metadata.clone();
    let deceased = DeletionView::read(live);
    let standing = match &deceased.resource {
        Some(resource) => standing(resource, ctx).await?,
        // Nobody knows what it asked for: what it left is told by status and tags.
        None => Standing { conflict: false, forbidden: deceased.may_be_restricted(ctx) },
    };
    // A resource that never owned its source has nothing in AWS but perhaps a role from before, and one that may do
    // nothing and never did has nothing at all: for it AWS is not even asked.
    let Standing { conflict, forbidden } = standing;
    let nothing = match forbidden {
        true => !deceased.left_traces(),
        false => conflict && deceased.status.applied_hash.is_none(),
    };
    let blocked = if deceased.leaves_aws_alone() || nothing {
        None
    } else {
        remove(&deceased, &metadata, standing, target, ctx).await?
    };
    let Some(refusal) = blocked else {
        remove_finalizer(target, &finalizers, ctx).await?;
        ctx.forget(target.uid());
        info!(namespace = metadata.namespace, name = metadata.name, "deleted");
        return Ok(Action::await_change());
    };
    warn!(
        namespace = metadata.namespace,
        name = metadata.name,
        reason = refusal.reason.as_str(),
        detail = refusal.message,
        "deletion waits"
    );
    let previous = ctx.last_status(target.uid(), Some(&deceased.status));
    let report = stopped(&refusal, &occasion(&metadata, &previous));
    publish(target, &previous, &report, ctx).await?;
    let after =
        ctx.with_pace(target.uid(), |pace| pace.after(report.reason, ctx.settings.interval.duration()));
    Ok(Action::requeue(after))
}

/// Tries once more on the list as it is then when someone else takes theirs away meanwhile, as the garbage collector
/// does in a foreground deletion: what has been cleaned up need not be again.
async fn remove_finalizer(target: &Target<'_>, held: &Finalizers, ctx: &Context) -> Result<(), Error> {
    match ctx.cluster.remove_finalizer(&target.key, held, FINALIZER).await {
        Err(ClusterError { source: kube::Error::Api(status), .. }) if status.code == 422 => {
            match ctx.cluster.live(&target.key).await? {
                Some(live) => {
                    let held = Finalizers::of(&live.metadata);
                    Ok(ctx.cluster.remove_finalizer(&target.key, &held, FINALIZER).await?)
                }
                None => Ok(()),
            }
        }
        other => Ok(other?),
    }
}

/// What became of a resource's right to its source.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// Another resource owns the source.
    conflict: bool,
    /// The administrators of its accounts do not allow, or no longer allow, what it asks for.
    forbidden: bool,
}

async fn standing(resource: &BucketReplication, ctx: &Context) -> Result<Standing, Error> {
    let forbidden = ctx.accounts_of(resource).await?.is_err();
    // What may not replicate the source owns it no longer, however old it is.
    let conflict = match forbidden {
        true => !ctx.rivals(resource).await?.is_empty(),
        false => ctx.source_conflict(resource).await?.is_some(),
    };
    Ok(Standing { conflict, forbidden })
}

/// The accounts to remove things in: those it acted in, else those it refers to.
fn accounts(deceased: &DeletionView, ctx: &Context) -> Result<Accounts, Refusal> {
    let (source, policies) = deceased.account_names();
    let named = |name: &str| {
        ctx.account(name)?.ok_or_else(|| {
            let message = format!("cannot delete: what this resource made is in AwsAccount {name}, which does not exist any more; create it again, or set deletionPolicy: Retain to leave all of it behind");
            Refusal::new(Reason::AccountNotFound, ConditionType::Ready, message)
        })
    };
    let mut accounts = match &deceased.resource {
        Some(resource) if !deceased.left_traces() => {
            Accounts::resolve(&resource.spec, |name| ctx.account(name), WithoutAccount::Unrestricted)?
        }
        _ => Accounts { source: source.as_deref().map(named).transpose()?, ..Accounts::default() },
    };
    for name in policies {
        let account = named(&name)?;
        accounts.destinations.insert(name, account);
    }
    // Of a destination whose policy was written and not yet told of; an account that is gone has no such.
    let rules = deceased.resource.iter().flat_map(|resource| &resource.spec.rules);
    for name in rules.filter_map(|rule| rule.destination.account_ref.as_ref()) {
        if let (false, Ok(Some(account))) = (accounts.destinations.contains_key(name), ctx.account(name)) {
            accounts.destinations.insert(name.clone(), account);
        }
    }
    Ok(accounts)
}

/// Removes what is ours. `Some`: what keeps it from being removed.
async fn remove(
    deceased: &DeletionView,
    metadata: &ObjectMeta,
    Standing { conflict, forbidden }: Standing,
    target: &Target<'_>,
    ctx: &Context,
) -> Result<Option<Refusal>, Error> {
    let identity = identity(metadata, ctx);
    let source = deceased.source();
    let roles = deceased.roles(&identity);
    let accounts = match accounts(deceased, ctx) {
        Ok(accounts) => accounts,
        Err(refusal) => return Ok(Some(refusal)),
    };
    let access = match ctx.identities.access(&accounts, &identity).await {
        Ok(access) => access,
        Err(failure) => return Ok(Some(waits(&failure))),
    };
    let bucket = source.as_ref().map(|source| source.name.clone()).unwrap_or_default();
    let sid = identity.policy_sid(&bucket);
    let asked = || if conflict { None } else { deceased.resource.as_ref() };
    let policies = match access.source.caller().await {
        Ok(caller) => {
            let desired =
                asked().map(|resource| desired(resource, &identity, caller, BTreeMap::new(), &accounts));
            deceased.policies(desired.as_ref().filter(|_| !forbidden))
        }
        Err(failure) => return Ok(Some(waits(&failure))),
    };

    let look = async || {
        let mut remains = aws::remains(&access, source.as_ref(), &roles, &policies, &identity).await?;
        if let Ok(roles) = &mut remains.roles {
            // An existing role is never written, not even one that we made when it was still managed.
            roles.retain(|role| Some(role.arn.as_str()) != deceased.existing_role());
        }
        Ok::<_, Failure>(remains)
    };
    let before = match look().await {
        Ok(remains) => remains,
        Err(failure) => return Ok(Some(waits(&failure))),
    };
    let claim = Ownership {
        id: &identity,
        sid: &sid,
        status: &deceased.status,
        adoption: deceased.policy("adoptionPolicy").unwrap_or_default(),
        disputed: conflict || forbidden,
    };
    let first = teardown(&before, &claim);
    let outcome = apply(&first.stages, &access, ctx).await;
    if !outcome.done.is_empty() {
        ctx.cluster.publish_event(&target.key, &removed(&outcome)).await;
    }
    if let Some((step, failure)) = outcome.first_failure() {
        return Ok(Some(failed(step, failure, &before)));
    }
    if outcome.interrupted {
        let message = "the operator was stopped before all was deleted; it goes on when it is back";
        return Ok(Some(Refusal::new(Reason::Progressing, ConditionType::Ready, message.to_owned())));
    }
    if first.blocked.is_some() || outcome.done.is_empty() {
        return Ok(first.blocked);
    }
    // Look again: a stale answer or a concurrent write must not leave something behind.
    let after = match look().await {
        Ok(remains) => teardown(&remains, &claim),
        Err(failure) => return Ok(Some(waits(&failure))),
    };
    let left = after.stages.iter().flatten().next();
    Ok(after.blocked.or_else(|| {
        left.map(|step| {
            let message = format!("AWS still shows what was deleted; next: {step}");
            Refusal::new(Reason::Progressing, ConditionType::Ready, message)
        })
    }))
}

fn waits(failure: &Failure) -> Refusal {
    let message = format!("cannot delete: {}", failure.message());
    Refusal::new(failure.class.reason(), ConditionType::Ready, message)
}

/// What the spec asked for, as far as it can be worked out without looking at every bucket.
fn desired(
    resource: &BucketReplication,
    identity: &ResourceId,
    caller: Caller,
    regions: BTreeMap<String, String>,
    accounts: &Accounts,
) -> Desired {
    let status = resource.status.clone().unwrap_or_default();
    let replication = Replication { spec: &resource.spec, status: &status, id: identity, accounts };
    Desired::new(&replication, &Discovered { caller, regions, object_lock: false })
}

fn removed(outcome: &Outcome) -> Event {
    let steps: Vec<String> = outcome.done.iter().map(ToString::to_string).collect();
    Event { warning: false, reason: "Deleted", note: format!("wrote to AWS: {}", steps.join("; ")) }
}
