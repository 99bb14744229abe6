//! Everything that the reconciles of all `ReplicationBackfill`s share.
//!
//! In: the context of the replications that backfills refer to, and a memory of their own. Out: one value that every
//! reconcile borrows.

use std::sync::Arc;

use crate::controllers::bucket_replication::context::Context as Replications;
use crate::controllers::replication_backfill::memory::Memory;

/// The dependencies of a reconcile: those of the replications that backfills refer to, and a memory of their own.
pub struct Context<C, K> {
    pub shared: Arc<Replications<C, K>>,
    pub memory: Memory,
}
