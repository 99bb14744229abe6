//! Reads the queues while the process leads.
//!
//! In: the queues, by the port to AWS. Out: each message dispatched, and deleted once its checks are queued. A crash in
//! between loses nothing: the message comes again, and a new leader checks every resource anyway.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::backoff::doubling;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::failure_events;
use crate::ports::{Cloud, Cluster, QueueMessage};
use crate::replication::events::EventQueue;
use crate::runtime::leader::Term;
use crate::telemetry::EventOutcome;

/// How long SQS holds a request while there is no message; it allows no more.
const LONG_POLL: Duration = Duration::from_secs(20);

/// The same for a queue that did not answer last: its answer is wanted soon.
const SHORT_POLL: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How often the operator checks for outages and overdue echoes.
const TICK: Duration = Duration::from_secs(5);

/// Reads all queues.
pub struct Receiver<C, K>(Arc<Context<C, K>>);

impl<C: Cloud, K: Cluster> Receiver<C, K> {
    pub fn new(context: Arc<Context<C, K>>) -> Receiver<C, K> {
        Receiver(context)
    }

    /// Reads until the term ends or the operator must stop. A request that is held then is dropped.
    pub async fn lead(self: Arc<Self>, term: Term, shutdown: CancellationToken) {
        let events = &self.0.events;
        if !events.are_on() {
            return;
        }
        events.begin_term();
        let queues = events.queues().iter().enumerate();
        let receive = join_all(queues.map(|(number, queue)| self.receive(number, queue)));
        let tick = async {
            loop {
                sleep(TICK).await;
                events.tick();
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = term.fenced(receive) => {}
            () = tick => {}
        }
    }

    async fn receive(&self, number: usize, queue: &EventQueue) {
        let Context { events, cloud, .. } = self.0.as_ref();
        let mut failures = 0;
        loop {
            let wait = if events.is_up(number) { LONG_POLL } else { SHORT_POLL };
            match cloud.receive_events(queue, wait).await {
                Ok(messages) => {
                    failures = 0;
                    events.queue_answered(number);
                    self.handle(queue, messages).await;
                }
                Err(failure) => {
                    events.queue_failed(number, &failure);
                    let pause = doubling(FIRST_PAUSE, failures, MAX_PAUSE);
                    failures = failures.saturating_add(1);
                    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                }
            }
        }
    }

    async fn handle(&self, queue: &EventQueue, messages: Vec<QueueMessage>) {
        if messages.is_empty() {
            return;
        }
        let mut receipts = Vec::new();
        for QueueMessage { body, receipt } in messages {
            let outcome = self.0.events.dispatch(&body, self.0.cloud.as_ref()).await;
            if outcome == EventOutcome::Notification {
                failure_events::take_failures(&body, &self.0).await;
            }
            receipts.push(receipt);
        }
        if let Err(failure) = self.0.cloud.delete_events(queue, receipts).await {
            let (queue, detail) = (&queue.name, failure.message());
            warn!(queue, detail, "cannot delete messages of the event queue; they come again");
        }
    }
}
