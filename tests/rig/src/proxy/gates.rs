//! Gates that hold a request at a chosen moment, for example so that a test can kill the operator exactly after its
//! third write.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::sync::watch;

use super::calls::Call;
use super::faults::{Counting, Matcher};
use super::lock;

/// When a request is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateAt {
    /// Before AWS sees it.
    BeforeForward,
    /// After it has taken effect and before the client gets the answer.
    AfterForward,
}

/// A gate. Dropping it releases every request, as [`Gate::release`] does.
#[derive(Debug)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    matcher: Mutex<Counting>,
    at: GateAt,
    arrived: watch::Sender<Vec<Call>>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Waits until the gate holds a request, and returns it.
    ///
    /// # Errors
    /// When none comes within the deadline.
    pub async fn reached(&self, deadline: Duration) -> Result<Call> {
        let mut arrived = self.inner.arrived.subscribe();
        let calls = tokio::time::timeout(deadline, arrived.wait_for(|calls| !calls.is_empty()))
            .await
            .map_err(|_| anyhow!("no request reached the gate within {deadline:?}"))??;
        calls.first().cloned().ok_or_else(|| anyhow!("no request is at the gate"))
    }

    /// Releases the requests that the gate holds, and holds no more.
    pub fn release(&self) {
        self.inner.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}

/// The gates of one proxy.
#[derive(Debug, Default)]
pub(super) struct Gates {
    list: Mutex<Vec<Arc<Inner>>>,
}

/// The gates that one request has to pass.
pub(super) struct Ticket(Vec<Arc<Inner>>);

impl Gates {
    pub fn add(&self, matching: Matcher, at: GateAt) -> Gate {
        let inner = Arc::new(Inner {
            matcher: Mutex::new(Counting::new(matching)),
            at,
            arrived: watch::Sender::new(Vec::new()),
            open: watch::Sender::new(false),
        });
        let mut list = lock(&self.list);
        list.retain(|gate| !*gate.open.borrow());
        list.push(Arc::clone(&inner));
        Gate { inner }
    }

    /// The gates that a request has to pass. The proxy asks once, when the request arrives.
    pub fn for_call(&self, call: &Call) -> Ticket {
        let list = lock(&self.list);
        let meets = |gate: &&Arc<Inner>| lock(&gate.matcher).matches(call);
        Ticket(list.iter().filter(meets).cloned().collect())
    }
}

impl Ticket {
    /// Waits until the gates of this moment are open.
    pub async fn pass(&self, at: GateAt, call: &Call) {
        for gate in self.0.iter().filter(|gate| gate.at == at) {
            gate.arrived.send_modify(|calls| calls.push(call.clone()));
            let mut open = gate.open.subscribe();
            // The sender lives as long as `gate` does, so this ends when it opens.
            let _ = open.wait_for(|open| *open).await;
        }
    }
}
