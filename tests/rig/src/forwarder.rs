//! A wire that can be cut: it carries connections to a server, byte by byte,
//! until a test stops it. One operator's way to the API server, for example,
//! while everybody else has theirs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::proxy::{listen_again, listen_on_free_port, lock, runtime, wait_refused};

/// A running forwarder. It ends when dropped, and cuts the connections it carries.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    wire: Arc<Wire>,
    accepting: Mutex<Option<Accepting>>,
}

/// The task that accepts connections. Dropping it cuts them sooner or later.
#[derive(Debug)]
struct Accepting {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// The state that all connections share.
#[derive(Debug)]
struct Wire {
    upstream: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Drops all traffic silently.
    silent: bool,
    /// How many connections there have been.
    connections: u64,
    /// Connections up to this one carry nothing any more.
    forgotten: u64,
}

impl Forwarder {
    /// Starts one on a free port of 127.0.0.1, in front of the server at `upstream`.
    pub async fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = listen_on_free_port()?;
        let address = listener.local_addr()?;
        let wire = Arc::new(Wire { upstream, state: watch::Sender::default() });
        let forwarder = Self { address, wire, accepting: Mutex::new(None) };
        forwarder.accept(listener)?;
        Ok(forwarder)
    }

    /// The address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and cuts all connections, and waits until new ones are refused.
    pub async fn go_down(&self) {
        let accepting = lock(&self.accepting).take();
        if let Some(Accepting { task, stop }) = accepting {
            // Either it hears of it or it has ended.
            let _ = stop.send(());
            let _ = task.await;
        }
        wait_refused(self.address).await;
    }

    /// Listens again at the same address and forwards again.
    pub async fn come_up(&self) -> Result<()> {
        self.wire.state.send_modify(|state| state.silent = false);
        if lock(&self.accepting).is_some() {
            return Ok(());
        }
        self.accept(listen_again(self.address).await?)
    }

    /// From now on nothing goes through, neither on old connections nor on new
    /// ones, and none is cut: as when packets are lost on the way.
    pub fn go_silent(&self) {
        self.wire.state.send_modify(|state| state.silent = true);
    }

    /// The connections of this moment carry nothing any more and are not cut,
    /// as when a router on the way has forgotten them; new ones work.
    pub fn forget_connections(&self) {
        self.wire.state.send_modify(|state| state.forgotten = state.connections);
    }

    /// Waits until there has been this many connections in all.
    pub async fn connections(&self, at_least: u64) -> Result<()> {
        self.wire.state.subscribe().wait_for(|state| state.connections >= at_least).await?;
        Ok(())
    }

    /// How many connections there have been.
    pub fn connected(&self) -> u64 {
        self.wire.state.borrow().connections
    }

    fn accept(&self, listener: std::net::TcpListener) -> Result<()> {
        let (stop, stopped) = oneshot::channel();
        let task = runtime()?.spawn(serve(listener, Arc::clone(&self.wire), stopped));
        *lock(&self.accepting) = Some(Accepting { task, stop });
        Ok(())
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.task.abort();
        }
    }
}

/// Accepts connections until it is stopped. When it has ended there are no connections left.
async fn serve(listener: std::net::TcpListener, wire: Arc<Wire>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // The connection was lost before it was accepted.
                let Ok((stream, _)) = accepted else { continue };
                let mut number = 0;
                wire.state.send_modify(|state| {
                    state.connections += 1;
                    number = state.connections;
                });
                connections.spawn(carry(stream, number, Arc::clone(&wire)));
            }
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Carries one connection. When one direction ends, the whole of it does.
async fn carry(near: TcpStream, number: u64, wire: Arc<Wire>) {
    let Ok(far) = TcpStream::connect(wire.upstream).await else {
        return;
    };
    // Small answers must not wait for more to send.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pump(near_in, far_out, number, &wire) => {}
        () = pump(far_in, near_out, number, &wire) => {}
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, number: u64, wire: &Wire) {
    let mut state = wire.state.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // The sender lives as long as `wire` does, so this ends when something goes through again.
        let _ = state.wait_for(|state| !state.silent && number > state.forgotten).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    // The end of a connection is not noticed through a silent wire either.
    let _ = state.wait_for(|state| !state.silent && number > state.forgotten).await;
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    /// A server that echoes.
    async fn echo() -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Ok(address)
    }

    async fn say(stream: &mut TcpStream) -> Result<u8> {
        stream.write_u8(7).await?;
        Ok(stream.read_u8().await?)
    }

    #[tokio::test]
    async fn a_forwarder_that_is_down_refuses_and_comes_up_again() -> Result<()> {
        let forwarder = Forwarder::start(echo().await?).await?;
        let mut open = TcpStream::connect(forwarder.address()).await?;
        assert_eq!(say(&mut open).await?, 7);
        forwarder.go_down().await;
        assert!(say(&mut open).await.is_err(), "it was cut");
        assert!(TcpStream::connect(forwarder.address()).await.is_err(), "it is down");
        forwarder.come_up().await?;
        assert_eq!(say(&mut TcpStream::connect(forwarder.address()).await?).await?, 7);
        Ok(())
    }

    #[tokio::test]
    async fn a_forgotten_connection_carries_nothing_and_new_ones_work() -> Result<()> {
        let forwarder = Forwarder::start(echo().await?).await?;
        let mut open = TcpStream::connect(forwarder.address()).await?;
        assert_eq!(say(&mut open).await?, 7);
        forwarder.forget_connections();
        open.write_u8(7).await?;
        let mut new = TcpStream::connect(forwarder.address()).await?;
        assert_eq!(say(&mut new).await?, 7);
        assert_eq!(forwarder.connected(), 2);
        let heard = tokio::time::timeout(Duration::from_millis(100), open.read_u8()).await;
        assert!(heard.is_err(), "nothing was to come, and nothing to be cut: {heard:?}");
        Ok(())
    }

    #[tokio::test]
    async fn a_silent_connection_delivers_everything_once_it_comes_up() -> Result<()> {
        let forwarder = Forwarder::start(echo().await?).await?;
        let mut open = TcpStream::connect(forwarder.address()).await?;
        forwarder.go_silent();
        open.write_u8(7).await?;
        let heard = tokio::time::timeout(Duration::from_millis(100), open.read_u8()).await;
        assert!(heard.is_err(), "{heard:?}");
        forwarder.come_up().await?;
        assert_eq!(open.read_u8().await?, 7);
        Ok(())
    }
}
