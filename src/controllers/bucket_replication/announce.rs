//! Announces a configuration just before it is put, if the status does not announce it yet.
//!
//! In: the steps of a stage, and the status as it was written last. Out: the written status, which announces the
//! configuration. A step that failed may have left only a part of the configuration that was announced before the first
//! write, and a process that dies after the write of that part would not know it.

use crate::api::BucketReplicationStatus;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::status::write_ahead;
use crate::controllers::bucket_replication::stop::Stop;
use crate::mutants::{Mutant, is_on};
use crate::ports::{Cloud, Cluster};
use crate::replication::status::{StatusContext, announce_configuration};
use crate::replication::{Assessment, Step};

/// Announces the configuration of a stage. `written`: the status that this check has written already.
///
/// # Errors
/// It was not announced, so that the operator may not put it. The object may be gone.
pub async fn announce<C: Cloud, K: Cluster>(
    stage: &[Step],
    assessment: &Assessment<'_>,
    resource: &Resource<'_>,
    written: Option<&BucketReplicationStatus>,
    cx: &Context<C, K>,
) -> Result<Option<BucketReplicationStatus>, Stop> {
    let previous = written.unwrap_or(&resource.status);
    let context = StatusContext { previous, ..resource.status_context(cx) };
    let status = announce_configuration(&assessment.input(), &assessment.plan, stage, &context);
    let status = status.filter(|_| !is_on(Mutant::PartNotAnnounced));
    if let Some(status) = &status {
        write_ahead(&resource.target, previous, status, cx).await?;
    }
    Ok(status)
}
