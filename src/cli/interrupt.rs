//! The signals that end a command that waits: Ctrl-C, and SIGTERM, which `timeout` and supervisors send.
//!
//! In: the signals. Out: a future that ends with the first of them. A command listens before it begins anything, so that
//! no signal ends the process without the message that says how to go on, or with a terminal that is not as it was.

use futures::FutureExt;
use futures::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C and SIGTERM, from now on.
pub struct Interrupt(Vec<Signal>);

impl Interrupt {
    /// Listens. Where the system does not let the process, a signal ends it at once, as it does without this.
    pub fn listen() -> Interrupt {
        Interrupt::listen_for(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    /// Listens for the end of the terminal too. Only a command that has changed the terminal may do so: `nohup` keeps others
    /// running after it.
    pub fn listen_on_terminal() -> Interrupt {
        Interrupt::listen_for(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()])
    }

    fn listen_for(kinds: &[SignalKind]) -> Interrupt {
        Interrupt(kinds.iter().filter_map(|kind| signal(*kind).ok()).collect())
    }

    /// Whether a signal has come meanwhile.
    pub fn was_pressed(&mut self) -> bool {
        self.pressed().now_or_never().is_some()
    }

    /// Returns once a signal has come.
    pub async fn pressed(&mut self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        select_all(self.0.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}
