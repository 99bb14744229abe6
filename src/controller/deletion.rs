//! Deletion: works whatever the spec now says, even if it cannot be decoded or the bucket is gone; removes only
//! what is ours, looks again, and then lets go.

use std::collections::BTreeSet;

use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use tracing::{info, warn};

use super::action::Action;
use super::context::Context;
use super::kube_writes::Target;
use super::reconcile::{apply, identity, occasion, publish};
use super::{Error, Guarded};
use crate::api::{
    BucketReplication, BucketReplicationStatus, ConditionType, DeletionPolicy, ManagementPolicy, Reason,
};
use crate::aws;
use crate::replication::desired::role_name;
use crate::replication::report::{Event, Outcome, stopped};
use crate::replication::subject::former_roles;
use crate::replication::teardown::{Remains, teardown};
use crate::replication::{BucketRef, Desired, Failure, FailureClass, Identity, Refusal, Subject};

/// What deletion needs to know, from the object as it lies in the API server and as far as it can be read.
struct Deceased {
    spec: Value,
    status: BucketReplicationStatus,
    resource: Option<BucketReplication>,
}

impl Deceased {
    fn read(object: kube::api::DynamicObject) -> Deceased {
        let part = |key: &str| object.data.get(key).cloned().unwrap_or_default();
        Deceased {
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
        let region = seen.and_then(|s| s.region.clone()).or_else(|| text("/source/region"));
        Some(BucketRef { bucket, region: None, account: None, last_seen: region })
    }

    /// The ARN in `role.arn`.
    fn existing_role(&self) -> Option<&str> {
        self.spec.pointer("/role/arn").and_then(Value::as_str)
    }

    /// Every role that can be ours: the one the spec names, the one status remembers, the default one.
    fn roles(&self, identity: &Identity) -> BTreeSet<String> {
        let named = self.spec.pointer("/role/name").and_then(Value::as_str).map(str::to_owned);
        let decoded = self.resource.as_ref().map(|r| role_name(&r.spec, identity));
        // Who uses an existing role may have no right to look at any other.
        let existing = self.existing_role();
        let default = (named.is_none() && existing.is_none()).then(|| identity.default_role_name());
        let remembered = former_roles(&self.status).map(str::to_owned);
        [named, decoded, default].into_iter().flatten().chain(remembered).collect()
    }
}

/// Cleans up and drops the finalizer; keeps it and says why when that is not possible.
pub async fn finalize(object: &Guarded, target: &Target<'_>, ctx: &Context) -> Result<Action, Error> {
    if !target.has_finalizer() {
        return Ok(Action::await_change());
    }
    // The cache may be behind our own writes: what is about to be deleted is decided on the object as it is.
    let Some(live) = target.live().await? else {
        return Ok(Action::await_change());
    };
    let finalizers = live.metadata.finalizers.clone();
    let metadata = live.metadata.clone();
    let deceased = Deceased::read(live);
    let conflict = object.0.as_ref().is_ok_and(|r| ctx.source_conflict(r).is_some());

    // A resource that never owned its source has nothing in AWS but perhaps a role from before.
    let blocked = if deceased.leaves_aws_alone() || (conflict && deceased.status.applied_hash.is_none()) {
        None
    } else {
        remove(&deceased, &metadata, conflict, target, ctx).await?
    };
    let Some(refusal) = blocked else {
        target.remove_finalizer(finalizers).await?;
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

/// Removes what is ours. `Some`: what keeps it from being removed.
async fn remove(
    deceased: &Deceased,
    metadata: &ObjectMeta,
    conflict: bool,
    target: &Target<'_>,
    ctx: &Context,
) -> Result<Option<Refusal>, Error> {
    let identity = identity(metadata, ctx);
    let source = deceased.source();
    let roles = deceased.roles(&identity);
    // Where another resource owns the source by now, the configuration is its own unless it names our role.
    let applied = !conflict && deceased.status.applied_hash.is_some();

    let look = async || {
        let mut remains = aws::remains(&ctx.aws, source.as_ref(), &roles, &identity).await?;
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
    let desired = if conflict { None } else { desired(deceased, &identity, &before) };
    let first = teardown(&before, &identity, applied, desired.as_ref());
    let outcome = apply(&first.stages, ctx).await;
    if !outcome.done.is_empty() {
        target.publish(ctx, &[removed(&outcome)]).await;
    }
    if let Some((step, failure)) = &outcome.failed {
        let reason = if failure.class == FailureClass::DeleteConflict {
            Reason::DeletionBlocked
        } else {
            failure.class.reason()
        };
        let message = format!("cannot delete: {step}: {}", failure.message());
        return Ok(Some(Refusal::new(reason, ConditionType::Ready, message)));
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
        Ok(remains) => teardown(&remains, &identity, applied, desired.as_ref()),
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

fn desired(deceased: &Deceased, identity: &Identity, remains: &Remains) -> Option<Desired> {
    let resource = deceased.resource.as_ref()?;
    let subject = Subject::new(&resource.spec, &deceased.status, identity, true);
    Some(Desired::new(&resource.spec, identity, &subject.facts(&remains.as_observed())))
}

fn removed(outcome: &Outcome) -> Event {
    let steps: Vec<String> = outcome.done.iter().map(ToString::to_string).collect();
    Event { warning: false, reason: "Deleted", note: format!("wrote to AWS: {}", steps.join("; ")) }
}
