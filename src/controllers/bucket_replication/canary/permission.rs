//! Decides again, within a round of canaries, whether the `AwsAccount`s of a resource still allow them.
//!
//! In: a resource. Out: its accounts by the cache and the live labels of namespaces, or why it has none.

use crate::api::BucketReplicationStatus;
use crate::controllers::bucket_replication::authorize::{NamespaceLabels, authorize, resolve};
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::resource::Resource;
use crate::controllers::bucket_replication::stop::Stop;
use crate::ports::Cluster;
use crate::replication::Accounts;

/// The accounts of the resource as they are now.
pub async fn authorized<C, K: Cluster>(
    resource: &Resource<'_>,
    status: &BucketReplicationStatus,
    cx: &Context<C, K>,
) -> Result<Accounts, Stop> {
    let accounts =
        authorize(resource.object, status, &mut NamespaceLabels::new(cx.cluster.as_ref()), cx).await?;
    // An account may change while the labels of a namespace are read.
    match resolve(resource.object, cx)? == accounts {
        true => Ok(accounts),
        false => Err(Stop::Outdated),
    }
}
