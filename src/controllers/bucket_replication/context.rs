//! Everything that the reconciles of all `BucketReplication`s share.
//!
//! In: the ports, the stores, memory, evidence, locks, settings and the clock, put together by
//! `controllers/assemble.rs`. Out: one value that every reconcile borrows.

use std::sync::Arc;

use crate::controllers::bucket_replication::bucket_locks::BucketLocks;
use crate::controllers::bucket_replication::evidence_store::EvidenceStore;
use crate::controllers::bucket_replication::memory::Memory;
use crate::controllers::events::Events;
use crate::controllers::index::Index;
use crate::controllers::settings::Settings;
use crate::runtime::clock::Clock;
use crate::runtime::tracker::ReconcileTracker;
use crate::telemetry::Metrics;

/// The dependencies of a reconcile.
pub struct Context<C, K> {
    pub cloud: Arc<C>,
    pub cluster: Arc<K>,
    /// The objects and accounts as the watches last saw them.
    pub index: Arc<Index>,
    pub memory: Memory,
    pub evidence: EvidenceStore,
    pub bucket_locks: BucketLocks,
    pub settings: Settings,
    pub clock: Clock,
    /// Whether another step may begin: the operator leads, and is not asked to stop.
    pub may_begin: Box<dyn Fn() -> bool + Send + Sync>,
    pub metrics: Metrics,
    /// When AWS was last read for each resource, for metrics and health.
    pub tracker: Arc<ReconcileTracker>,
    pub events: Arc<Events>,
}
