//! Reads the queues while the process leads.
//!
//! In: the queues, by the port to AWS. Out: each message dispatched, and deleted once its checks are queued. A crash
//! before the deletion loses nothing, because the message comes again. A crash after it loses the checks, so that a new
//! leader polls every resource until events have proved their origins again.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::doubling;
use crate::controllers::bucket_replication::context::Context;
use crate::controllers::bucket_replication::failure_events;
use crate::ports::{Cloud, Cluster, QueueMessage};
use crate::replication::events::EventQueue;
use crate::replication::observed::Read;
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

/// How the last requests to a queue went.
#[derive(Debug, Default)]
struct RecentRequests {
    failures: u32,
    /// Messages were received and not deleted.
    undeleted: bool,
}

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
        events.end_term();
    }

    async fn receive(&self, number: usize, queue: &EventQueue) {
        let mut requests = RecentRequests::default();
        loop {
            if let Some(pause) = self.receive_once(number, queue, &mut requests).await {
                sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            }
        }
    }

    /// Receives messages, has their checks queued, and deletes them. A queue works only where all of that does:
    /// messages that cannot be deleted come again and again. Returns the pause after a failure.
    async fn receive_once(
        &self,
        number: usize,
        queue: &EventQueue,
        requests: &mut RecentRequests,
    ) -> Option<Duration> {
        let Context { events, cloud, .. } = self.0.as_ref();
        let taken = match cloud.receive_events(queue, self.wait(number, requests)).await {
            Ok(messages) => {
                requests.undeleted |= !messages.is_empty();
                self.take(queue, messages).await
            }
            Err(failure) => Err(failure),
        };
        match taken {
            Ok(()) => {
                *requests = RecentRequests::default();
                events.queue_answered(number);
                None
            }
            Err(failure) => {
                events.queue_failed(number, &failure);
                let pause = doubling(FIRST_PAUSE, requests.failures, MAX_PAUSE);
                requests.failures = requests.failures.saturating_add(1);
                Some(pause)
            }
        }
    }

    /// How long SQS holds the next request. After messages could not be deleted, it is longer than SQS hides them, so
    /// that an empty answer says that they are gone.
    fn wait(&self, number: usize, requests: &RecentRequests) -> Duration {
        if self.0.events.is_up(number) || requests.undeleted { LONG_POLL } else { SHORT_POLL }
    }

    async fn take(&self, queue: &EventQueue, messages: Vec<QueueMessage>) -> Read<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let mut receipts = Vec::new();
        for QueueMessage { body, receipt } in messages {
            let outcome = self.0.events.dispatch(&body, self.0.cloud.as_ref()).await;
            if outcome == EventOutcome::Notification {
                failure_events::take_failures(&body, &self.0).await;
            }
            receipts.push(receipt);
        }
        self.0.cloud.delete_events(queue, receipts).await
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;
    use crate::controllers::assemble::{Controllers, Parts};
    use crate::controllers::events::settings::EventSettings;
    use crate::controllers::settings::Settings;
    use crate::controllers::settings::tests::settings;
    use crate::replication::FailureClass;
    use crate::runtime::clock::{Clock, SimulatedClock};
    use crate::simulation::{ApiServer, Call, Choice, Hook, Hooked, SimulatedCloud, SimulatedCluster, World};
    use crate::telemetry::{EventMetrics, Metrics, Registry};

    const ACCOUNT: &str = "111122223333";

    /// A receiver on a simulated queue whose messages can be deleted or not.
    struct Scene {
        receiver: Receiver<Hooked<SimulatedCloud>, Hooked<SimulatedCluster>>,
        cloud: SimulatedCloud,
        clock: SimulatedClock,
        queue: EventQueue,
        requests: RecentRequests,
        may_delete: Arc<Mutex<bool>>,
    }

    impl Scene {
        fn new() -> Scene {
            let (cloud, clock) = (SimulatedCloud::new(World::new(ACCOUNT)), SimulatedClock::new());
            let may_delete = Arc::new(Mutex::new(false));
            let hook: Hook = {
                let may_delete = may_delete.clone();
                Arc::new(move |call: Call| {
                    let is_denied = call == Call::DeleteMessages && !*may_delete.lock();
                    let choice =
                        if is_denied { Choice::FailBefore(FailureClass::Denied) } else { Choice::Answer };
                    Box::pin(std::future::ready(choice))
                })
            };
            let cluster = SimulatedCluster::new(ApiServer::default());
            let queue: EventQueue =
                "https://sqs.eu-west-1.amazonaws.com/111122223333/events".parse().unwrap();
            let events = EventSettings { queues: vec![queue.clone()], ..EventSettings::default() };
            let controllers = Controllers::new(Parts {
                cloud: Arc::new(Hooked::new(cloud.clone(), hook.clone())),
                cluster: Arc::new(Hooked::new(cluster, hook)),
                settings: Settings { events, ..settings() },
                clock: Clock::Simulated(clock.clone()),
                may_begin: Box::new(|| true),
                metrics: Metrics::new(Registry::default()),
                event_metrics: EventMetrics::default(),
                packing: None,
            });
            let receiver = Receiver::new(controllers.replications.context);
            Scene { receiver, cloud, clock, queue, requests: RecentRequests::default(), may_delete }
        }

        async fn receive(&mut self) -> Option<Duration> {
            let pause = self.receiver.receive_once(0, &self.queue, &mut self.requests).await;
            self.clock.advance(Duration::from_secs(20));
            self.receiver.0.events.tick();
            pause
        }

        fn outage(&self) -> Option<String> {
            self.receiver.0.events.of_account(ACCOUNT)?.outage
        }
    }

    #[tokio::test]
    async fn a_queue_whose_messages_cannot_be_deleted_fails_until_they_can() {
        let mut scene = Scene::new();
        assert_eq!(scene.receive().await, None);
        assert!(scene.receiver.0.events.is_up(0), "nothing had to be deleted");
        scene.cloud.send_event("{}");
        let pauses = [scene.receive().await, scene.receive().await, scene.receive().await];
        assert_eq!(pauses, [1, 2, 4].map(|second| Some(Duration::from_secs(second))));
        assert!(!scene.receiver.0.events.is_up(0));
        let outage = scene.outage().unwrap_or_default();
        assert!(outage.contains("delete messages"), "{outage}");

        *scene.may_delete.lock() = true;
        assert_eq!(scene.receive().await, None);
        assert_eq!(scene.cloud.waiting_events(), 0);
        assert!(scene.receiver.0.events.is_up(0));
        assert_eq!(scene.outage(), None);
    }

    #[tokio::test]
    async fn while_messages_could_not_be_deleted_a_request_waits_until_they_would_come_again() {
        let mut scene = Scene::new();
        scene.cloud.send_event("{}");
        scene.receive().await;
        assert!(scene.requests.undeleted && !scene.receiver.0.events.is_up(0));
        // SQS hides a message for ten seconds after it gave it out: an answer before that says nothing.
        assert_eq!(scene.receiver.wait(0, &scene.requests), LONG_POLL);
        *scene.may_delete.lock() = true;
        scene.receive().await;
        assert!(!scene.requests.undeleted);
    }
}
