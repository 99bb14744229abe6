//! Serves HTTP to every client that can reach the port, within bounds.
//!
//! In: a listener and a router. Out: answers. Any pod may connect here, and the kubelet's probes use the same port. A
//! connection that sends no request is closed. When there are too many connections the oldest one makes room, so that a
//! probe is always answered.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// The pause after an error of the listener, such as a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The limits on the clients of one port.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// The longest that a client may take to send the head of a request.
    pub header_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits { connections: 128, header_timeout: Duration::from_secs(10) }
    }
}

/// Serves until dropped.
pub async fn serve_within(listener: TcpListener, router: Router, limits: ConnectionLimits) {
    let mut open = Open(VecDeque::new());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.make_room(limits.connections);
                let connection = tokio::spawn(answer(stream, router.clone(), limits.header_timeout));
                open.0.push_back(connection.abort_handle());
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, router: Router, header_timeout: Duration) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended in an error");
    }
}

/// The open connections, oldest first; they are closed with the server.
struct Open(VecDeque<AbortHandle>);

impl Open {
    /// Closes the oldest connections until there is room for one more.
    fn make_room(&mut self, limit: usize) {
        self.0.retain(|connection| !connection.is_finished());
        while self.0.len() >= limit.max(1) {
            self.0.pop_front().iter().for_each(AbortHandle::abort);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn start(limits: ConnectionLimits) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/livez", get(|| async { "ok" }));
        tokio::spawn(serve_within(listener, router, limits));
        address
    }

    async fn probe(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_probe_is_answered_however_many_idle_connections_there_are() {
        let limits = ConnectionLimits { connections: 8, header_timeout: Duration::from_secs(3600) };
        let address = start(limits).await;
        let mut idle = Vec::new();
        for _ in 0..100 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(probe(address).await.ends_with("ok"));
        // The oldest made room: the server closed it, though it sent nothing.
        assert!(matches!(idle.remove(0).read(&mut [0]).await, Ok(0) | Err(_)));
    }

    #[tokio::test]
    async fn a_connection_that_sends_no_request_is_closed() {
        let limits = ConnectionLimits { connections: 8, header_timeout: Duration::from_millis(10) };
        let address = start(limits).await;
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /livez HT").await.unwrap();
        let mut answer = Vec::new();
        // Ends only when the server closes the connection.
        drop(slow.read_to_end(&mut answer).await);
        assert!(!answer.ends_with(b"ok"));
        assert!(probe(address).await.ends_with("ok"));
    }
}
