//! The alternate screen of the terminal, on which a command shows pictures beside the screen on which the user has typed.
//!
//! In: pictures, and Ctrl-Z. Out: however the command ends or stops, the terminal shows the user's screen again, with its
//! cursor; once the command goes on, the next picture is on the alternate screen again.

use std::cell::Cell;
use std::io::Write;
use std::time::Duration;

use rustix::process::{Signal as Stop, getpgrp, getpid, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::cli::output::{PrintError, print_to_reader};

const ENTER_SCREEN: &str = "\u{1b}[?1049h";
const LEAVE_SCREEN: &str = "\u{1b}[?1049l\u{1b}[?25h";

/// A signal that stops the process takes effect within this time, or never: the system stops no process that nobody could
/// continue.
const TAKES_EFFECT: Duration = Duration::from_millis(200);

/// The screen of pictures.
#[derive(Default)]
pub struct AlternateScreen {
    is_entered: Cell<bool>,
    continued: Notify,
}

impl AlternateScreen {
    /// Shows a picture. Returns whether the terminal is still there.
    ///
    /// # Errors
    /// The terminal takes no text.
    pub async fn show(&self, picture: &str) -> Result<bool, PrintError> {
        // After `bg`, the terminal belongs to the shell.
        if !is_in_foreground() {
            self.stop().await;
        }
        let enter = if self.is_entered.replace(true) { "" } else { ENTER_SCREEN };
        print_to_reader(&format!("{enter}{picture}"))
    }

    /// Leaves the screen. Returns whether there was a picture on it.
    pub fn leave(&self) -> bool {
        let was_entered = self.is_entered.replace(false);
        if was_entered {
            let mut output = std::io::stdout();
            // A closed terminal has no cursor.
            drop(output.write_all(LEAVE_SCREEN.as_bytes()).and_then(|()| output.flush()));
        }
        was_entered
    }

    /// Stops the process at each Ctrl-Z, with the terminal as it was. It ends only with the command.
    pub async fn stop_when_asked(&self) {
        // Where the system does not let the process listen, Ctrl-Z stops it at once, as it does without this.
        let Ok(mut asked) = signal(SignalKind::from_raw(Stop::TSTP.as_raw())) else {
            return std::future::pending().await;
        };
        while asked.recv().await.is_some() {
            self.stop().await;
            self.continued.notify_one();
        }
        std::future::pending().await
    }

    /// Returns once the process has been stopped and goes on: the terminal shows no picture then.
    pub async fn continued(&self) {
        self.continued.notified().await;
    }

    /// Stops the process until its shell continues it.
    async fn stop(&self) {
        self.leave();
        let continued = signal(SignalKind::from_raw(Stop::CONT.as_raw()));
        // As the system stops a process that writes to a terminal of others. Unlike SIGSTOP, it leaves a process alone
        // that has no shell to continue it.
        if kill_process(getpid(), Stop::TTOU).is_err() {
            return;
        }
        let is_continued = async {
            match continued {
                Ok(mut continued) => {
                    continued.recv().await;
                }
                Err(_) => std::future::pending().await,
            }
        };
        drop(tokio::time::timeout(TAKES_EFFECT, is_continued).await);
    }
}

impl Drop for AlternateScreen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether the terminal belongs to this process. Without one there is nobody else to whom it could.
fn is_in_foreground() -> bool {
    tcgetpgrp(std::io::stdout()).map_or(true, |group| group == getpgrp())
}
