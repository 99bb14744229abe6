//! The HTTP server of `/livez`, `/readyz` and `/metrics`.
//!
//! In: readiness, liveness checks, metrics. Out: answers for the kubelet and for Prometheus.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use crate::telemetry::Metrics;
use crate::telemetry::server::{ConnectionLimits, serve_within};

/// Returns what is stuck, if anything is.
type LivenessCheck = dyn Fn() -> Option<String> + Send + Sync;

/// Whether the process is alive, and whether it is ready: it has listed all resources and leads or can take over.
#[derive(Clone, Default)]
pub struct ProcessHealth(Arc<HealthState>);

#[derive(Default)]
struct HealthState {
    ready: AtomicBool,
    liveness_checks: Mutex<Vec<Box<LivenessCheck>>>,
}

impl ProcessHealth {
    pub fn set_ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// Adds a check that runs at each request of `/livez`; it returns what is stuck.
    pub fn add_liveness_check(&self, check: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.0.liveness_checks.lock().push(Box::new(check));
    }

    fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// The reason why the process is stuck in such a way that a restart helps.
    fn stuck_reason(&self) -> Option<String> {
        self.0.liveness_checks.lock().iter().find_map(|check| check())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics and health: {source}; choose another with --http-address")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Listens, and returns the server, which serves until it is dropped. A port that is taken is an error at once.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    health: ProcessHealth,
    metrics: Metrics,
) -> Result<impl Future<Output = ()>, ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving /livez, /readyz and /metrics");
    }
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state((health, metrics));
    Ok(serve_within(listener, router, ConnectionLimits::default()))
}

async fn livez(State((health, _)): State<(ProcessHealth, Metrics)>) -> (StatusCode, String) {
    match health.stuck_reason() {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(stuck_reason) => (StatusCode::SERVICE_UNAVAILABLE, stuck_reason),
    }
}

async fn readyz(State((health, _)): State<(ProcessHealth, Metrics)>) -> (StatusCode, &'static str) {
    if health.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the lists of BucketReplication and AwsAccount resources",
        )
    }
}

async fn render(State((_, metrics)): State<(ProcessHealth, Metrics)>) -> Response {
    match metrics.render() {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
                .into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use axum::response::IntoResponse;

    use super::*;

    /// Starts a task that needs the lock for each turn. Returns when it last turned.
    fn task(lock: Arc<Mutex<()>>) -> Arc<Mutex<Instant>> {
        let beat = Arc::new(Mutex::new(Instant::now()));
        let shown = Arc::downgrade(&beat);
        tokio::spawn(async move {
            while let Some(shown) = shown.upgrade() {
                drop(lock.lock());
                *shown.lock() = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        beat
    }

    async fn answer(health: &ProcessHealth) -> StatusCode {
        livez(State((health.clone(), Metrics::default()))).await.into_response().status()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn livez_fails_while_a_task_hangs_and_passes_once_it_goes_on() {
        const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(300);
        let (health, lock) = (ProcessHealth::default(), Arc::default());
        let beat = task(Arc::clone(&lock));
        health.add_liveness_check(move || {
            let silent = beat.lock().elapsed();
            (silent > HEARTBEAT_TIMEOUT).then(|| format!("silent for {silent:?}"))
        });
        let (release, released) = mpsc::channel::<()>();
        let holder = std::thread::spawn(move || {
            let held = lock.lock();
            released.recv().unwrap_err();
            drop(held);
        });
        // The task blocks its thread, as in a deadlock; the server has the other one.
        while answer(&health).await != StatusCode::SERVICE_UNAVAILABLE {
            tokio::task::yield_now().await;
        }
        drop(release);
        holder.join().unwrap();
        while answer(&health).await != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn readiness_and_liveness_are_independent() {
        let health = ProcessHealth::default();
        assert_eq!(answer(&health).await, StatusCode::OK, "a process that still starts is alive");
        let ready = |health: &ProcessHealth| readyz(State((health.clone(), Metrics::default())));
        assert_eq!(ready(&health).await.0, StatusCode::SERVICE_UNAVAILABLE);
        health.set_ready();
        assert_eq!(ready(&health).await.0, StatusCode::OK);
        health.add_liveness_check(|| Some("stuck".to_owned()));
        assert_eq!(answer(&health).await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
