//! Confirms, before a write to AWS, that the operator still leads and that the backfill is still the one that was read.
//!
//! In: a backfill as the reconcile read it. Out: its live metadata, or why nothing may be written for it now.

use kube::core::ObjectMeta;

use crate::api::ReplicationBackfillStatus;
use crate::controllers::replication_backfill::context::Context;
use crate::controllers::replication_backfill::object::BackfillObject;
use crate::controllers::replication_backfill::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::Cluster;
use crate::runtime::Error;

/// Asked just before each write to AWS: the lease may have moved since the reconcile began.
///
/// # Errors
/// Another operator may lead.
pub fn require_leading<C, K>(cx: &Context<C, K>) -> Result<(), Error> {
    if (cx.shared.may_begin)() { Ok(()) } else { Err(Error::NotLeading) }
}

/// Whether the watch has brought another object meanwhile: the user may have cancelled or deleted the backfill. It
/// costs no request.
///
/// # Errors
/// It has.
pub fn require_unchanged<C, K>(subject: &BackfillObject<'_>, cx: &Context<C, K>) -> Result<(), Stop> {
    let is_outdated = cx.shared.index.backfills.is_outdated(subject.metadata);
    if is_outdated && !is_on(Mutant::ChangeIgnored) { Err(Stop::Outdated) } else { Ok(()) }
}

/// Reads the live object: the cache may be behind what the user asked for, and behind what another leader wrote. An
/// equal generation is an equal spec, so that the user has neither cancelled the backfill nor approved another one.
///
/// # Errors
/// The object is gone, is being deleted, or is not as it was read.
pub async fn require_current<C, K: Cluster>(
    subject: &BackfillObject<'_>,
    cx: &Context<C, K>,
) -> Result<ObjectMeta, Stop> {
    let Some(live) = cx.shared.cluster.live(subject.key).await? else { return Err(Stop::Outdated) };
    if live.metadata.deletion_timestamp.is_some() || live.metadata.generation != subject.metadata.generation {
        return Err(Stop::Outdated);
    }
    let status: ReplicationBackfillStatus = live
        .data
        .get("status")
        .cloned()
        .and_then(|status| serde_json::from_value(status).ok())
        .unwrap_or_default();
    let is_known =
        |s: &ReplicationBackfillStatus| (s.token.clone(), s.job_id.clone(), s.finished_at.is_some());
    if is_known(&status) != is_known(&subject.status) {
        cx.memory.begin_write(&subject.key.uid, &status, cx.shared.clock.now());
        return Err(Stop::Outdated);
    }
    Ok(live.metadata)
}
