//! Assembles the controllers, a line for each kind, with what they share.
//!
//! In: the two ports, the settings, the clock and the metrics. Out: the controllers, as the operator and the simulation
//! run them. Each holds the queues of the kinds that it triggers.

use std::sync::Arc;

use crate::controllers::Guarded;
use crate::controllers::aws_account::controller::AwsAccountController;
use crate::controllers::bucket_replication::bucket_locks::BucketLocks;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::controller::BucketReplicationController;
use crate::controllers::bucket_replication::evidence_store::EvidenceStore;
use crate::controllers::bucket_replication::memory::Memory;
use crate::controllers::events::{Events, Setup};
use crate::controllers::index::Index;
use crate::controllers::replication_backfill::controller::ReplicationBackfillController;
use crate::controllers::settings::Settings;
use crate::controllers::{aws_account, replication_backfill};
use crate::runtime::clock::Clock;
use crate::runtime::packing::Packing;
use crate::runtime::tracker::ReconcileTracker;
use crate::runtime::triggers::Triggers;
use crate::telemetry::{EventMetrics, Metrics};

/// The parts that the controllers are made of.
pub struct Parts<C, K> {
    pub cloud: Arc<C>,
    pub cluster: Arc<K>,
    pub settings: Settings,
    pub clock: Clock,
    /// Whether another step may begin: the operator leads, and is not asked to stop.
    pub may_begin: Box<dyn Fn() -> bool + Send + Sync>,
    pub metrics: Metrics,
    pub event_metrics: EventMetrics,
    /// How the index keeps resources that are not under reconcile; absent: as they are.
    pub packing: Option<Packing<Guarded>>,
}

/// One controller for each kind.
pub struct Controllers<C, K> {
    pub accounts: AwsAccountController<C, K>,
    pub replications: BucketReplicationController<C, K>,
    pub backfills: ReplicationBackfillController<C, K>,
}

impl<C, K> Controllers<C, K> {
    pub fn new(parts: Parts<C, K>) -> Controllers<C, K> {
        let Parts { cloud, cluster, settings, clock, may_begin, metrics, event_metrics, packing } = parts;
        let index = Arc::new(match settings.events.queues.as_slice() {
            [] => Index::new(&settings.namespaces, packing),
            _ => Index::with_events(&settings.namespaces, packing),
        });
        let replications = Triggers::new(settings.concurrency);
        let accounts = Triggers::new(aws_account::controller::CONCURRENCY);
        let backfills = Triggers::new(replication_backfill::controller::CONCURRENCY);
        let events = Arc::new(Events::new(Setup {
            settings: settings.events.clone(),
            interval: settings.interval.clone(),
            index: index.clone(),
            replications: replications.clone(),
            accounts: accounts.clone(),
            clock: clock.clone(),
            metrics: event_metrics,
        }));
        let of_accounts = aws_account::context::Context {
            cloud: cloud.clone(),
            cluster: cluster.clone(),
            index: index.clone(),
            settings: settings.clone(),
            clock: clock.clone(),
            requeue: Default::default(),
            events: events.clone(),
        };
        let context = Arc::new(Context {
            cloud,
            cluster,
            index,
            memory: Memory::default(),
            evidence: EvidenceStore::default(),
            bucket_locks: BucketLocks::default(),
            settings,
            clock,
            may_begin,
            metrics,
            tracker: Arc::new(ReconcileTracker::default()),
            events,
        });
        let of_backfills = replication_backfill::context::Context {
            shared: context.clone(),
            memory: replication_backfill::memory::Memory::default(),
        };
        Controllers {
            accounts: AwsAccountController {
                context: of_accounts,
                replications: replications.clone(),
                backfills: backfills.clone(),
            },
            backfills: ReplicationBackfillController {
                context: of_backfills,
                backfills: backfills.clone(),
                replications: replications.clone(),
            },
            replications: BucketReplicationController { context, replications, accounts, backfills },
        }
    }
}
