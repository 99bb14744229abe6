//! Shows the progress of a command that waits.
//!
//! In: the step that goes on, and figures of the moment. Out: one line that changes on a terminal, and a line for each
//! step elsewhere. Progress goes to standard error, so that standard output holds the result alone.

use std::io::{IsTerminal, Write};

use unicode_width::UnicodeWidthStr;

use crate::cli::terminal::printable;

/// The columns of a bar.
const BAR: usize = 24;

/// The line of progress.
pub struct ProgressLine {
    is_terminal: bool,
    last: String,
}

impl ProgressLine {
    pub fn new() -> ProgressLine {
        ProgressLine { is_terminal: std::io::stderr().is_terminal(), last: String::new() }
    }

    /// Shows what goes on now. The same text again prints nothing. `moment` is of interest only while one watches, such
    /// as the seconds that passed, and is left out where every line stays.
    pub fn show(&mut self, text: &str, moment: &str) {
        let text = printable(text);
        let line = if self.is_terminal { format!("{text}{moment}") } else { text };
        if line == self.last {
            return;
        }
        let written = match self.is_terminal {
            true => format!("\r{}\u{1b}[K", fitted(&line)),
            false => format!("{line}\n"),
        };
        // The progress is a courtesy: a closed standard error is no reason to stop.
        drop(std::io::stderr().write_all(written.as_bytes()));
        self.last = line;
    }

    /// Writes a text that stays, and goes on with the line below it.
    pub fn note(&mut self, text: &str) {
        let clear = if self.is_terminal { "\r\u{1b}[K" } else { "" };
        drop(std::io::stderr().write_all(format!("{clear}{}\n", printable(text)).as_bytes()));
        if self.is_terminal {
            self.last.clear();
        }
    }

    /// Ends the line, so that the next output begins on its own.
    pub fn end(&mut self) {
        if self.is_terminal && !self.last.is_empty() {
            drop(std::io::stderr().write_all(b"\r\x1b[K"));
        }
        self.last.clear();
    }
}

impl Default for ProgressLine {
    fn default() -> Self {
        ProgressLine::new()
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.end();
    }
}

/// A line that does not reach the end of the terminal: the next one could not overwrite it.
fn fitted(line: &str) -> String {
    let columns =
        terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0));
    if line.width() < columns {
        return line.to_owned();
    }
    let mut kept = line.to_owned();
    while kept.width() >= columns && kept.pop().is_some() {}
    kept
}

/// A bar for a part from 0 to 1.
pub fn bar(done: f64) -> String {
    let eighths = ((done.clamp(0.0, 1.0) * (BAR * 8) as f64).round()) as usize;
    let (full, rest) = (eighths / 8, eighths % 8);
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(rest).copied().unwrap_or_default();
    let bar = format!("{}{part}", "█".repeat(full));
    let blanks = BAR.saturating_sub(bar.width());
    format!("▕{bar}{}▏", " ".repeat(blanks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_the_same_width_whatever_is_done() {
        for done in [0.0, 0.01, 0.33, 0.5, 0.999, 1.0, 7.0] {
            assert_eq!(bar(done).width(), BAR + 2, "{done}");
        }
        assert!(bar(0.5).contains(&"█".repeat(BAR / 2)) && !bar(0.5).contains(&"█".repeat(BAR / 2 + 1)));
    }
}
