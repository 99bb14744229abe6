//! `/livez`, `/readyz` and `/metrics` on one port.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::telemetry::Metrics;

/// Says what is stuck, if anything is.
type Vital = dyn Fn() -> Option<String> + Send + Sync;

/// Whether the operator is alive, and whether it has seen all resources and is at work or could be.
#[derive(Clone, Default)]
pub struct Health(Arc<Signs>);

#[derive(Default)]
struct Signs {
    ready: AtomicBool,
    vitals: Mutex<Vec<Box<Vital>>>,
}

impl Health {
    pub fn set_ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// From now on asks here too whether the operator is alive, each time that someone asks.
    pub fn add_liveness_check(&self, vital: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.0.vitals.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(vital));
    }

    fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    /// What is stuck such that a restart helps.
    fn stuck_reason(&self) -> Option<String> {
        let vitals = self.0.vitals.lock().unwrap_or_else(PoisonError::into_inner);
        vitals.iter().find_map(|vital| vital())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics and health: {source}; choose another with --http-address")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// Serves until dropped. Returns the server once it listens, so that a taken port is told at once.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    metrics: Metrics,
) -> Result<impl Future<Output = std::io::Result<()>>, ServeError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ServeError { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "serving /livez, /readyz and /metrics");
    }
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state((health, metrics));
    Ok(axum::serve(listener, router).into_future())
}

async fn livez(State((health, _)): State<(Health, Metrics)>) -> (StatusCode, String) {
    match health.stuck_reason() {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(stuck_reason) => (StatusCode::SERVICE_UNAVAILABLE, stuck_reason),
    }
}

async fn readyz(State((health, _)): State<(Health, Metrics)>) -> (StatusCode, &'static str) {
    if health.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the lists of BucketReplication and AwsAccount resources",
        )
    }
}

async fn render(State((_, metrics)): State<(Health, Metrics)>) -> Response {
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

    /// A task that shows that it goes on, as long as it gets the lock. When it did last.
    fn task(lock: Arc<Mutex<()>>) -> Arc<Mutex<Instant>> {
        let beat = Arc::new(Mutex::new(Instant::now()));
        let shown = Arc::downgrade(&beat);
        tokio::spawn(async move {
            while let Some(shown) = shown.upgrade() {
                drop(lock.lock());
                *shown.lock().unwrap() = Instant::now();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        beat
    }

    async fn answer(health: &Health) -> StatusCode {
        livez(State((health.clone(), Metrics::new()))).await.into_response().status()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_task_that_hangs_is_told_and_one_that_goes_on_again_is_not() {
        const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(300);
        let (health, lock) = (Health::default(), Arc::default());
        let beat = task(Arc::clone(&lock));
        health.add_liveness_check(move || {
            let silent = beat.lock().unwrap().elapsed();
            (silent > HEARTBEAT_TIMEOUT).then(|| format!("silent for {silent:?}"))
        });
        let (release, released) = mpsc::channel::<()>();
        let holder = std::thread::spawn(move || {
            let held = lock.lock();
            released.recv().unwrap_err();
            drop(held);
        });
        // The task hangs in its thread, as in a deadlock; the one that answers does not.
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
    async fn what_is_ready_and_what_is_alive_are_told_apart() {
        let health = Health::default();
        assert_eq!(answer(&health).await, StatusCode::OK, "it may take its time to begin");
        let ready = |health: &Health| readyz(State((health.clone(), Metrics::new())));
        assert_eq!(ready(&health).await.0, StatusCode::SERVICE_UNAVAILABLE);
        health.set_ready();
        assert_eq!(ready(&health).await.0, StatusCode::OK);
        health.add_liveness_check(|| Some("stuck".to_owned()));
        assert_eq!(answer(&health).await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
