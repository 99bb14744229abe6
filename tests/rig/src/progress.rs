//! Prints what the rig is doing, not captured by
//! `cargo test`: a wait of minutes must not look like a hang.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a long step prints how long it has taken.
const REMINDER: Duration = Duration::from_secs(15);

/// Writes one line to the terminal.
pub fn say(line: &str) {
    // The handle itself is used because the test harness captures the print
    // macros. A closed terminal is no reason to fail.
    let _ = writeln!(std::io::stderr(), "rig: {line}");
}

/// Prints a step, the time every 15 seconds, and how long the step took.
pub fn step<T, E>(what: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    say(what);
    let start = Instant::now();
    let (done, ticker) = mpsc::channel::<()>();
    let result = thread::scope(|scope| {
        scope.spawn(move || {
            while ticker.recv_timeout(REMINDER) == Err(RecvTimeoutError::Timeout) {
                say(&format!("  … {} s", start.elapsed().as_secs()));
            }
        });
        let result = work();
        drop(done);
        result
    });
    if result.is_ok() {
        say(&format!("  done in {} s", start.elapsed().as_secs()));
    }
    result
}
