//! Shows the progress of a command that waits.
//!
//! In: the step that goes on, and figures of the moment. Out: one line that changes on a terminal, and a line for each
//! step elsewhere. Progress goes to standard error, so that standard output holds the result alone.

use std::io::{IsTerminal, Write};

use unicode_width::UnicodeWidthStr;

use crate::cli::terminal::{is_dumb, printable};

/// The columns of a bar within its ends, on a terminal that is wide enough.
const BAR: usize = 24;
/// The columns that a line of progress needs beside its bar.
const BESIDE_BAR: usize = 40;
/// So many take long enough that lines about them are worth it.
const MANY: usize = 100;
/// A bar is not made narrower.
const SHORTEST_BAR: usize = 6;

/// The line of progress.
pub struct ProgressLine {
    is_terminal: bool,
    last: String,
}

impl ProgressLine {
    pub fn new() -> ProgressLine {
        ProgressLine { is_terminal: std::io::stderr().is_terminal() && !is_dumb(), last: String::new() }
    }

    /// Shows what goes on now: `moment` on a terminal, where it is overwritten, and `lasting` elsewhere, where every line
    /// stays and should be of interest later too. The same text again prints nothing.
    pub fn show(&mut self, lasting: &str, moment: &str) {
        let line = printable(if self.is_terminal { moment } else { lasting });
        if line == self.last {
            return;
        }
        let written = match self.is_terminal {
            true => format!("\r{}\u{1b}[K", fitted(&line)),
            false => format!("{line}\n"),
        };
        // Nothing depends on the progress: a closed standard error is no reason to stop.
        drop(std::io::stderr().write_all(written.as_bytes()));
        self.last = line;
    }

    /// Shows how many of how many are done, in the words of `text`. Elsewhere than on a terminal a line is worth it only for
    /// each tenth of many.
    pub fn count(&mut self, done: usize, all: usize, text: impl Fn(usize) -> String) {
        let [last, moment] = counts(done, all);
        if self.is_terminal || (all >= MANY && last > 0) {
            self.show(&text(last), &text(moment));
        }
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

/// How much of something is done: for a line that stays, the last whole tenth, and the count of the moment.
pub fn counts(done: usize, all: usize) -> [usize; 2] {
    let tenth = (all / 10).max(1);
    [if done == all { all } else { done - done % tenth }, done]
}

/// The columns of the terminal on which progress is shown.
fn terminal_columns() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(80, |(width, _)| usize::from(width.0))
}

/// A line that does not reach the end of the terminal: the next one could not overwrite it.
fn fitted(line: &str) -> String {
    let columns = terminal_columns();
    if line.width() < columns {
        return line.to_owned();
    }
    let mut kept = line.to_owned();
    while kept.width() >= columns && kept.pop().is_some() {}
    kept
}

/// A bar for a part from 0 to 1, which leaves room for figures beside it.
pub fn bar(done: f64) -> String {
    bar_of(done, terminal_columns().saturating_sub(BESIDE_BAR).clamp(SHORTEST_BAR, BAR))
}

fn bar_of(done: f64, length: usize) -> String {
    let eighths = ((done.clamp(0.0, 1.0) * (length * 8) as f64).round()) as usize;
    let (full, rest) = (eighths / 8, eighths % 8);
    let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(rest).copied().unwrap_or_default();
    let bar = format!("{}{part}", "█".repeat(full));
    let blanks = length.saturating_sub(bar.width());
    format!("▕{bar}{}▏", " ".repeat(blanks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_the_same_width_whatever_is_done() {
        for done in [0.0, 0.01, 0.33, 0.5, 0.999, 1.0, 7.0] {
            assert_eq!(bar_of(done, BAR).width(), BAR + 2, "{done}");
            assert_eq!(bar_of(done, SHORTEST_BAR).width(), SHORTEST_BAR + 2, "{done}");
        }
        let half = bar_of(0.5, BAR);
        assert!(half.contains(&"█".repeat(BAR / 2)) && !half.contains(&"█".repeat(BAR / 2 + 1)));
    }
}
