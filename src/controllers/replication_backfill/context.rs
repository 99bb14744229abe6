//! Everything that the reconciles of all backfills share.

use std::sync::Arc;

use crate::controllers::bucket_replication::context::Context as Replications;
use crate::controllers::replication_backfill::memory::Memory;
use crate::runtime::Error;

/// The dependencies of a reconcile: those of the replications that backfills refer to, and a memory of their own.
pub struct Context<C, K> {
    pub shared: Arc<Replications<C, K>>,
    pub memory: Memory,
}

impl<C, K> Context<C, K> {
    /// Asked just before each write to AWS: the lease may have moved since the reconcile began.
    ///
    /// # Errors
    /// Another operator may lead.
    pub fn require_leading(&self) -> Result<(), Error> {
        if (self.shared.may_begin)() { Ok(()) } else { Err(Error::NotLeading) }
    }
}
