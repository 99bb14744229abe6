//! Makes the first write to AWS safe.
//!
//! In: the steps that are about to be executed. Out: the object is live, and so are its accounts in the first minute of a
//! term; the object has the finalizer, and its status names what the steps may make. Or the check stops.

use crate::api::{BucketReplicationStatus, FINALIZER, ManagementPolicy};
use crate::controllers::bucket_replication::authorize::require_current_accounts;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::Permission;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::status::{has_other_status, write_ahead};
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster, Finalizers};
use crate::replication::status::announce;
use crate::replication::{Assessment, Step};

/// Confirms the object, and returns the status that was written ahead of the first step, if one was needed.
///
/// # Errors
/// The object or an account is not the one that was checked any more, or the API server did not answer.
pub async fn prepare<C: Cloud, K: Cluster>(
    assessment: &Assessment<'_>,
    stages: &[Vec<Step>],
    permission: Permission<'_>,
    cx: &Context<C, K>,
) -> Result<Option<BucketReplicationStatus>, Stop> {
    let Permission { resource, accounts, labels: _ } = permission;
    confirm(stages, resource, cx).await?;
    if !stages.is_empty() {
        require_current_accounts(accounts, cx).await?;
    }
    remember(assessment, stages, resource, cx).await
}

/// Before the first write: confirms with the API server that the object is still the one that was checked. The cache
/// may be behind; a role made for an object that is gone would never be deleted. Adding the finalizer confirms it too.
async fn confirm<C: Cloud, K: Cluster>(
    stages: &[Vec<Step>],
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<(), Stop> {
    if resource.spec.management_policy != ManagementPolicy::Enforce {
        return Ok(());
    }
    let target = &resource.target;
    let generation = target.metadata.generation;
    let mut finalizers = Finalizers::of(target.metadata);
    if finalizers.contains(FINALIZER) && !stages.is_empty() && !is_on(Mutant::NoLiveGet) {
        let live = cx.cluster.live(target.key).await?.ok_or(Stop::Outdated)?;
        // A former process announced its writes to AWS in the status.
        let is_behind = target.memory.may_be_behind(target.metadata, cx.clock.now())
            && has_other_status(&live, &resource.status)
            && !is_on(Mutant::UnseenStatusOverwritten);
        let is_edited = live.metadata.generation != generation && !is_on(Mutant::LiveGenerationIgnored);
        if live.metadata.deletion_timestamp.is_some() || is_edited || is_behind {
            return Err(Stop::Outdated);
        }
        finalizers = Finalizers::of(&live.metadata);
    }
    let was_applied = resource.status.applied_hash.is_some();
    let is_left_out = is_on(Mutant::NoFinalizer) || (was_applied && is_on(Mutant::FinalizerNotRestored));
    if !finalizers.contains(FINALIZER) && !is_left_out {
        let added = cx.cluster.add_finalizer(target.key, generation, &finalizers, FINALIZER).await;
        added.map_err(|error| if error.is_outdated() { Stop::Outdated } else { error.into() })?;
    }
    Ok(())
}

/// Writes into the status what the steps may make, before the first of them, if the status does not name it yet.
async fn remember<C: Cloud, K: Cluster>(
    assessment: &Assessment<'_>,
    stages: &[Vec<Step>],
    resource: &Resource<'_>,
    cx: &Context<C, K>,
) -> Result<Option<BucketReplicationStatus>, Stop> {
    let context = resource.status_context(cx);
    let status = announce(&assessment.input(), &assessment.plan, &stages.concat(), &context);
    let status = status.filter(|_| !is_on(Mutant::StatusComesLast));
    if let Some(status) = &status {
        write_ahead(&resource.target, &resource.status, status, cx).await?;
    }
    Ok(status)
}
