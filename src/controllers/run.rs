//! Runs the controllers: watches, leads, sweeps and reads event queues.
//!
//! In: clients, settings, the election and a signal to stop. Out: nothing; it returns when the operator has stopped. Each
//! kind has its line here, with the scope of its watch, and one in `assemble.rs`.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use kube::Client;
use kube::runtime::events::Reporter;
use tokio_util::sync::CancellationToken;

use crate::aws::AwsConnector;
use crate::controllers::assemble::{Controllers, Parts};
use crate::controllers::bucket_replication::fleet_snapshot::fleet_snapshot;
use crate::controllers::bucket_replication::sweep::sweep_forever;
use crate::controllers::events::Receiver;
use crate::controllers::index::PACKING;
use crate::controllers::settings::Settings;
use crate::runtime::clock::Clock;
use crate::runtime::controller::{Instruments, Runner};
use crate::runtime::leader::Election;
use crate::runtime::manager::{Manager, Scope};
use crate::runtime::object_writer::ObjectWriter;
use crate::telemetry::{EventMetrics, Metrics, ProcessHealth};

/// The clients, the settings and the election with which the operator runs.
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
    let reporter = Reporter {
        controller: "s3-replication-operator".to_owned(),
        instance: std::env::var("POD_NAME").ok(),
    };
    let cluster = Arc::new(ObjectWriter::new(client.clone(), reporter, settings.runbooks.clone()));
    let of_replications =
        Scope { namespaces: settings.namespaces.clone(), selector: settings.selector.clone() };
    // A backfill belongs to the operator of its replication, whatever labels it has itself.
    let of_backfills = Scope { namespaces: settings.namespaces.clone(), selector: None };
    let leadership = election.leadership();
    let may_begin = {
        let (leadership, shutdown) = (leadership.clone(), shutdown.clone());
        move || leadership.holds() && !shutdown.is_cancelled()
    };
    let Controllers { accounts, replications, backfills } = Controllers::new(Parts {
        cloud,
        cluster,
        settings,
        clock: Clock::System,
        may_begin: Box::new(may_begin),
        metrics: metrics.clone(),
        event_metrics,
        packing: Some(PACKING),
    });
    let context = replications.context.clone();
    let queues =
        (replications.replications.clone(), replications.accounts.clone(), replications.backfills.clone());
    metrics.collect_from({
        let (context, queue) = (context.clone(), queues.0.clone());
        move || {
            let depth = queue.depth(Instant::now());
            let each = context.settings.resource_metrics;
            fleet_snapshot(&context.index, &context.tracker, depth, leadership.holds(), each)
        }
    });
    let receiver = Arc::new(Receiver::new(context.clone()));
    let sweep = tokio::spawn(sweep_forever(context.clone(), shutdown.clone()));
    let mut manager = Manager::new(client, health, shutdown);
    let instruments = Instruments { metrics, tracker: context.tracker.clone() };
    manager.add(Runner::new(replications, queues.0, Some(instruments)), of_replications);
    manager.add(Runner::new(accounts, queues.1, None), Scope::default());
    manager.add(Runner::new(backfills, queues.2, None), of_backfills);
    manager.add_lead(move |term, shutdown| receiver.clone().lead(term, shutdown).boxed());
    manager.run(election).await;
    // It only reads: a reading may be cut off.
    sweep.abort();
}
