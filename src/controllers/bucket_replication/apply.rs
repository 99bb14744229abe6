//! Applies the part of a plan that is not held back: prepare → execute → conclude.
//!
//! In: a plan, the part of it to execute now, and the permission of the resource. Out: the outcome, and the status that
//! was written ahead of the writes to AWS; or why the check stops before the first of them.

use crate::api::BucketReplicationStatus;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::execute::{Grounds, Permission, Purpose, execute};
use crate::controllers::bucket_replication::hold_back::ExecutablePart;
use crate::controllers::bucket_replication::prepare::prepare;
use crate::controllers::bucket_replication::stop::Stop;
use crate::ports::{Cloud, Cluster};
use crate::replication::Assessment;
use crate::replication::outcome::Outcome;

/// Applies a part of a plan. A refusal on the way is added to the plan. The status: the one that was written last
/// before a write to AWS, if any was.
///
/// # Errors
/// Why the check stops before its first write.
pub async fn apply<C: Cloud, K: Cluster>(
    assessment: &mut Assessment<'_>,
    part: &ExecutablePart,
    permission: Permission<'_>,
    clients: &C::Clients,
    cx: &Context<C, K>,
) -> Result<(Outcome, Option<BucketReplicationStatus>), Stop> {
    let prepared = prepare(assessment, &part.stages, permission, cx).await?;
    let grounds = Grounds { permission, assessment, written: prepared.as_ref() };
    let mut executed = execute(&part.stages, clients, Purpose::Check(grounds), cx).await;
    let written = executed.announced.take().or(prepared);
    let outcome = part.conclude(executed, &mut assessment.plan)?;
    Ok((outcome, written))
}
