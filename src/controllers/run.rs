//! Assembles the controllers, a line for each kind, and runs them.
//!
//! In: clients, settings, the election and a signal to stop. Out: nothing; it returns when the operator has stopped.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use kube::Client;
use kube::runtime::events::Reporter;
use tokio_util::sync::CancellationToken;

use crate::aws::AwsConnector;
use crate::controllers::aws_account;
use crate::controllers::aws_account::controller::{AwsAccountController, CONCURRENCY};
use crate::controllers::bucket_replication::bucket_locks::BucketLocks;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::controller::BucketReplicationController;
use crate::controllers::bucket_replication::evidence_store::EvidenceStore;
use crate::controllers::bucket_replication::fleet_snapshot::fleet_snapshot;
use crate::controllers::bucket_replication::memory::Memory;
use crate::controllers::bucket_replication::sweep::sweep_forever;
use crate::controllers::events::{Events, Receiver, Setup};
use crate::controllers::index::Index;
use crate::controllers::replication_backfill;
use crate::controllers::replication_backfill::controller::ReplicationBackfillController;
use crate::controllers::settings::Settings;
use crate::runtime::clock::Clock;
use crate::runtime::controller::{Instruments, Runner};
use crate::runtime::leader::Election;
use crate::runtime::manager::{Manager, Scope};
use crate::runtime::object_writer::ObjectWriter;
use crate::runtime::tracker::ReconcileTracker;
use crate::runtime::triggers::Triggers;
use crate::telemetry::{EventMetrics, Metrics, ProcessHealth};

/// What the operator runs with.
pub struct Operator {
    pub client: Client,
    pub cloud: Arc<AwsConnector>,
    pub settings: Settings,
    pub metrics: Metrics,
    pub event_metrics: EventMetrics,
    pub health: ProcessHealth,
    pub election: Election,
    pub shutdown: CancellationToken,
}

/// Watches, and reconciles while this process leads, until `shutdown`, and then until what runs has ended.
pub async fn run(operator: Operator) {
    let Operator { client, cloud, settings, metrics, event_metrics, health, election, shutdown } = operator;
    let index = Arc::new(match settings.events.queues.as_slice() {
        [] => Index::new(&settings.namespaces),
        _ => Index::with_events(&settings.namespaces),
    });
    let tracker = Arc::new(ReconcileTracker::default());
    let leadership = election.leadership();
    let reporter = Reporter {
        controller: "s3-replication-operator".to_owned(),
        instance: std::env::var("POD_NAME").ok(),
    };
    let cluster = Arc::new(ObjectWriter::new(client.clone(), reporter, settings.runbooks.clone()));
    let (replications, accounts) = (Triggers::new(settings.concurrency), Triggers::new(CONCURRENCY));
    let backfills = Triggers::new(replication_backfill::controller::CONCURRENCY);
    let events = Arc::new(Events::new(Setup {
        settings: settings.events.clone(),
        interval: settings.interval.clone(),
        index: index.clone(),
        replications: replications.clone(),
        accounts: accounts.clone(),
        clock: Clock::System,
        metrics: event_metrics,
    }));
    metrics.collect_from({
        let (index, tracker, queue) = (index.clone(), tracker.clone(), replications.clone());
        let (leadership, each) = (leadership.clone(), settings.resource_metrics);
        move || {
            let depth = queue.depth(Instant::now());
            fleet_snapshot(&index, &tracker, depth, leadership.holds(), each)
        }
    });
    let of_replications =
        Scope { namespaces: settings.namespaces.clone(), selector: settings.selector.clone() };
    let account_controller = AwsAccountController {
        context: aws_account::context::Context {
            cloud: cloud.clone(),
            cluster: cluster.clone(),
            index: index.clone(),
            settings: settings.clone(),
            clock: Clock::System,
            requeue: Default::default(),
            events: events.clone(),
        },
        replications: replications.clone(),
        backfills: backfills.clone(),
    };
    let context = Arc::new(Context {
        cloud,
        cluster,
        index,
        settings,
        clock: Clock::System,
        memory: Memory::default(),
        evidence: EvidenceStore::default(),
        bucket_locks: BucketLocks::default(),
        may_begin: Box::new({
            let shutdown = shutdown.clone();
            move || leadership.holds() && !shutdown.is_cancelled()
        }),
        metrics: metrics.clone(),
        tracker: tracker.clone(),
        events,
    });
    let sweep = sweep_forever(context.clone(), shutdown.clone());
    let receiver = Arc::new(Receiver::new(context.clone()));
    let replication_controller = BucketReplicationController {
        context,
        replications: replications.clone(),
        accounts: accounts.clone(),
        backfills: backfills.clone(),
    };
    let backfill_controller = ReplicationBackfillController {
        context: replication_backfill::context::Context {
            shared: replication_controller.context.clone(),
            memory: replication_backfill::memory::Memory::default(),
        },
        backfills: backfills.clone(),
        replications: replications.clone(),
    };
    let of_backfills = Scope { namespaces: of_replications.namespaces.clone(), selector: None };
    let mut manager = Manager::new(client, health, shutdown);
    let instruments = Instruments { metrics, tracker };
    manager.add(Runner::new(replication_controller, replications, Some(instruments)), of_replications);
    manager.add(Runner::new(account_controller, accounts, None), Scope::default());
    manager.add(Runner::new(backfill_controller, backfills, None), of_backfills);
    let sweep = tokio::spawn(sweep);
    manager.add_lead(move |term, shutdown| receiver.clone().lead(term, shutdown).boxed());
    manager.run(election).await;
    // It only reads: a reading may be cut off.
    sweep.abort();
}
