//! A handle to the queue of one kind, for whatever finds that an object must be reconciled: the watch of the kind, the
//! watch of another kind, a term that begins.
//!
//! In: keys and why they are due. Out: what to begin next, and figures for metrics. While another process leads,
//! nothing is queued: the next term begins with everything that is in the store.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::runtime::queue::{Begun, BulkheadKey, Urgency, WorkQueue};
use crate::runtime::store::Key;

#[derive(Debug)]
struct SharedQueue {
    queue: Mutex<TriggerQueue>,
    changed: Notify,
}

#[derive(Debug)]
struct TriggerQueue {
    work: WorkQueue,
    /// Whether this process leads.
    open: bool,
}

/// The queue of kind `K`. Clones share it.
#[derive(Debug)]
pub struct Triggers<K> {
    shared: Arc<SharedQueue>,
    kind: PhantomData<fn(K)>,
}

impl<K> Clone for Triggers<K> {
    fn clone(&self) -> Self {
        Triggers { shared: self.shared.clone(), kind: PhantomData }
    }
}

impl<K> Triggers<K> {
    /// `permits`: reconciles at the same time in each bulkhead.
    pub fn new(permits: u16) -> Triggers<K> {
        let queue = Mutex::new(TriggerQueue { work: WorkQueue::new(permits), open: false });
        Triggers { shared: Arc::new(SharedQueue { queue, changed: Notify::new() }), kind: PhantomData }
    }

    /// An object is due now.
    pub fn trigger(&self, key: Key, urgency: Urgency) {
        self.trigger_in(key, urgency, Duration::ZERO);
    }

    /// An object is due after a while.
    pub fn trigger_in(&self, key: Key, urgency: Urgency, delay: Duration) {
        let mut queue = self.shared.queue.lock();
        if queue.open {
            queue.work.add(key, Instant::now() + delay, urgency);
            drop(queue);
            self.shared.changed.notify_one();
        }
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &Key) {
        self.shared.queue.lock().work.forget(key);
    }

    /// The number of objects that are due and wait to begin.
    pub fn depth(&self, now: Instant) -> usize {
        self.shared.queue.lock().work.depth(now)
    }

    /// How long the longest reconcile that runs has been running.
    pub fn longest_run(&self, now: Instant) -> Option<Duration> {
        self.shared.queue.lock().work.longest_run(now)
    }

    /// Takes triggers from now on. Triggers that an earlier term left are dropped.
    pub(crate) fn open(&self) {
        let mut queue = self.shared.queue.lock();
        queue.work.clear();
        queue.open = true;
    }

    /// Takes no more triggers, and drops what waits.
    pub(crate) fn close(&self) {
        let mut queue = self.shared.queue.lock();
        queue.work.clear();
        queue.open = false;
    }

    /// Whether this process leads.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn is_open(&self) -> bool {
        self.shared.queue.lock().open
    }

    pub(crate) fn begin(&self, bulkhead_of: impl Fn(&Key) -> Option<BulkheadKey>) -> Option<Begun> {
        self.shared.queue.lock().work.begin(Instant::now(), bulkhead_of)
    }

    /// A reconcile ended; the object is due again after `next`.
    pub(crate) fn end(&self, key: &Key, next: Option<Duration>) {
        // A time that no clock reaches is never.
        let next = next.and_then(|next| Instant::now().checked_add(next));
        self.shared.queue.lock().work.end(key, next);
        self.shared.changed.notify_one();
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.shared.queue.lock().work.next_due()
    }

    /// Waits until something was triggered or ended since the last call.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}
