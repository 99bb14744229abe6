//! The recording proxy between the operator and the AWS emulator. It counts requests by operation, rejects requests
//! that AWS rejects and the emulator accepts, injects faults, and can hold a request at a chosen moment.
//!
//! It forwards requests unchanged, so that signatures stay valid.

pub mod classify;

mod calls;
mod faults;
mod gates;
mod owners;
mod policies;
mod principals;
mod refusals;
mod server;
mod sessions;
mod trail;
mod wire;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub use calls::{Call, round_trips};
pub use faults::{Answer, Fault, FaultId, Matcher};
pub use gates::{Gate, GateAt};
pub use trail::{Trail, TrailFaults, event};

use server::State;

use crate::process;

/// A running proxy. Dropping it ends it and cuts its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// Starts a proxy on a free port, in front of the server at `upstream`.
    ///
    /// The proxy has threads of its own: a test that blocks its runtime, for example while kubectl runs, does not stop
    /// it.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = listen_on_free_port()?;
        let address = listener.local_addr()?;
        let proxy = Self { address, state: Arc::new(State::new(upstream)), accepting: Mutex::new(None) };
        proxy.accept(listener)?;
        Ok(proxy)
    }

    /// The address for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far in order of arrival, including those still under way.
    pub fn calls(&self) -> Vec<Call> {
        self.state.log.calls()
    }

    /// The requests so far that ask for a change.
    pub fn writes(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(Call::is_write);
        calls
    }

    /// How many requests there were for an operation, for example `GetRole`.
    pub fn count(&self, operation: &str) -> usize {
        let calls = self.calls();
        calls.iter().filter(|c| c.operation == operation).count()
    }

    /// The length of the longest chain of requests so far that do not overlap. Set a latency first: requests that are
    /// sent at once may not overlap otherwise.
    pub fn round_trips(&self) -> usize {
        round_trips(&self.calls())
    }

    /// Forgets the requests so far, and the owners of the buckets.
    pub fn clear(&self) {
        self.state.log.clear();
        self.state.owners.forget();
    }

    /// Waits until `enough` is true of the requests so far, and returns them.
    ///
    /// # Errors
    /// When the deadline passes first; the message lists the requests.
    pub async fn wait_for(&self, enough: impl Fn(&[Call]) -> bool, deadline: Duration) -> Result<Vec<Call>> {
        let mut changes = self.state.log.changes();
        let wait = async {
            loop {
                let calls = self.calls();
                if enough(&calls) {
                    return Ok(calls);
                }
                changes.changed().await.context("the proxy has ended")?;
            }
        };
        tokio::time::timeout(deadline, wait).await.map_err(|_| {
            let calls = self.calls();
            let list: Vec<String> = calls.iter().map(ToString::to_string).collect();
            anyhow!(
                "the awaited AWS requests did not come within {deadline:?}; these did:\n{}",
                list.join("\n")
            )
        })?
    }

    /// From now on records no bodies: for more requests than anybody reads.
    pub fn keep_no_bodies(&self) {
        self.state.no_bodies.store(true, Ordering::Relaxed);
    }

    /// Delays every answer.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.state.latency) = latency;
    }

    /// From now on answers matching requests with a fault. The oldest fault that matches wins.
    pub fn inject(&self, fault: Fault) -> FaultId {
        self.state.faults.add(fault)
    }

    /// Ends a fault before it has been used up.
    pub fn remove(&self, id: FaultId) {
        self.state.faults.remove(id);
    }

    /// Ends all faults.
    pub fn remove_faults(&self) {
        self.state.faults.remove_all();
    }

    /// From now on, holds matching requests until the gate is released.
    pub fn gate(&self, matching: Matcher, at: GateAt) -> Gate {
        self.state.gates.add(matching, at)
    }

    /// Enables MFA delete on a bucket: GetBucketVersioning reports it, and PutBucketVersioning without the header
    /// `x-amz-mfa` is rejected.
    pub fn set_mfa_delete(&self, bucket: &str) {
        lock(&self.state.mfa_delete).insert(bucket.to_owned());
    }

    /// From now on, sends an event to a queue for each change in AWS that comes through this proxy.
    pub fn record_changes(&self, trail: Trail) {
        *lock(&self.state.trail) = Some(trail);
    }

    /// Changes how events are sent from now on.
    pub fn set_trail_faults(&self, faults: TrailFaults) {
        if let Some(trail) = &mut *lock(&self.state.trail) {
            trail.faults = faults;
        }
    }

    /// How many requests to SQS there were: they are in no list of calls.
    pub fn queue_requests(&self) -> usize {
        self.state.queue_requests.load(Ordering::Relaxed)
    }

    /// Stops listening and cuts all connections, and waits until the system refuses new ones.
    pub async fn go_down(&self) {
        let task = lock(&self.accepting).take();
        if let Some(task) = task {
            task.abort();
            // The listener is closed when the task has been cancelled.
            let _ = task.await;
        }
        wait_refused(self.address).await;
    }

    /// Listens again, at the same address.
    pub async fn come_up(&self) -> Result<()> {
        self.accept(listen_again(self.address).await?)
    }

    fn accept(&self, listener: TcpListener) -> Result<()> {
        let task = runtime()?.spawn(server::serve(listener, Arc::clone(&self.state)));
        *lock(&self.accepting) = Some(task);
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.accepting).take() {
            task.abort();
        }
    }
}

/// How long a closed listener may go on to be there: a process that another thread is just starting has a copy of it until
/// it runs its own program.
const LONGEST_COPY: Duration = Duration::from_secs(30);

/// The interval of polling.
const POLL: Duration = Duration::from_millis(20);

/// Listens on a free port of 127.0.0.1.
pub(crate) fn listen_on_free_port() -> Result<TcpListener> {
    let listener = process::bind_free_port()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Listens again at an address whose listener has been closed.
pub(crate) async fn listen_again(address: SocketAddr) -> Result<TcpListener> {
    let start = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok(listener);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && start.elapsed() < LONGEST_COPY => {
                tokio::time::sleep(POLL).await;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen at {address}")),
        }
    }
}

/// Waits until connections to the address of a closed listener are refused.
pub(crate) async fn wait_refused(address: SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect(address).await.is_ok() && start.elapsed() < LONGEST_COPY {
        tokio::time::sleep(POLL).await;
    }
}

/// The threads that all proxies of this process share.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("rig-proxy")
                .enable_all()
                .build()
                .ok()
        })
        .as_ref()
        .context("the proxy's threads cannot be started: too many processes or threads?")
}

/// Locks a mutex, also if a test panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
