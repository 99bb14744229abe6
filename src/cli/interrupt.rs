//! Ctrl-C during a command that waits.
//!
//! In: the signal. Out: a future that ends with it. A command listens before it begins anything, so that Ctrl-C never
//! ends the process without the message that says how to go on.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, from now on.
pub struct Interrupt(Option<Signal>);

impl Interrupt {
    /// Listens. Where the system does not let the process, Ctrl-C ends it at once, as it does without this.
    pub fn listen() -> Interrupt {
        Interrupt(signal(SignalKind::interrupt()).ok())
    }

    /// Returns once Ctrl-C was pressed.
    pub async fn pressed(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}
