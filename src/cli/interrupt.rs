//! Ctrl-C during a command that waits.
//!
//! In: the signal. Out: a future that ends with it. A command listens before it begins anything, so that Ctrl-C never
//! ends the process without the message that says how to go on.

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, from now on.
pub struct Interrupt(Option<Signal>);

impl Interrupt {
    /// Listens. Where the system does not let the process, Ctrl-C ends it at once, as it does without this.
    pub fn listen() -> Interrupt {
        Interrupt(signal(SignalKind::interrupt()).ok())
    }

    /// Whether Ctrl-C was pressed meanwhile.
    pub fn was_pressed(&mut self) -> bool {
        self.pressed().now_or_never().is_some()
    }

    /// Returns once Ctrl-C was pressed.
    pub async fn pressed(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}
