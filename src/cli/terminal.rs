//! The abilities of the terminal: its width, and whether it shows colour.
//!
//! In: standard output, and the flag `--color`. Out: [`Layout`], with which text is laid out. Colour is never the only
//! sign of anything.

use std::io::IsTerminal;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::fleet::Verdict;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

/// How text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Columns of the terminal; `None`: lines may have any length.
    pub width: Option<usize>,
    /// Rows of the terminal; `None`: there may be any number of lines, and nothing is overwritten.
    pub height: Option<usize>,
    pub color: bool,
}

/// The meaning of a part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Warning,
    Bad,
    /// Of less importance.
    Dim,
    Strong,
}

impl Layout {
    /// The layout of standard output.
    pub fn of_stdout(color: Color) -> Layout {
        let output = std::io::stdout();
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => AutoStream::choice(&output) != ColorChoice::Never,
        };
        let size = output.is_terminal().then(terminal_size::terminal_size).flatten();
        Layout {
            width: size.map(|(width, _)| usize::from(width.0).max(MIN_WIDTH)),
            height: size.map(|(_, height)| usize::from(height.0)).filter(|_| !is_dumb()),
            color,
        }
    }

    /// Text in the colour of a tone.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.color || text.is_empty() {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warning => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
        };
        format!("{style}{text}{style:#}")
    }

    /// Text cut to a number of columns, with `…` in place of the rest.
    pub fn cut(&self, text: &str, columns: usize) -> String {
        if self.width.is_none() || text.width() <= columns {
            return text.to_owned();
        }
        let mut kept = String::new();
        let mut used = 1;
        for character in text.chars() {
            used += character.width().unwrap_or_default();
            if used > columns {
                break;
            }
            kept.push(character);
        }
        format!("{}…", kept.trim_end())
    }

    /// Text on as many lines as it needs, each after `indent`. It may come from elsewhere.
    pub fn wrap(&self, text: &str, indent: &str) -> String {
        self.fill(&printable(text), indent, indent)
    }

    /// Text on as many lines as it needs, the first one after `first` and the others after `more`.
    pub fn fill(&self, text: &str, first: &str, more: &str) -> String {
        let Some(width) = self.width else { return format!("{first}{text}") };
        let options = textwrap::Options::new(width).initial_indent(first).subsequent_indent(more);
        let options = options.break_words(false).word_splitter(textwrap::WordSplitter::NoHyphenation);
        textwrap::fill(text, options.wrap_algorithm(textwrap::WrapAlgorithm::FirstFit))
    }
}

/// Whether the terminal, such as the shell of an editor, shows control sequences instead of acting on them.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}

/// The tone of a verdict.
pub fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Failing => Tone::Bad,
        Verdict::Delayed | Verdict::Retrying | Verdict::Unproven => Tone::Warning,
        Verdict::Deleting | Verdict::Waiting | Verdict::Suspended | Verdict::Disabled => Tone::Dim,
        Verdict::Applied | Verdict::Arriving => Tone::Good,
    }
}

/// Text without control characters. Names and messages come from AWS and from other users, and must not command the
/// terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_command(c) { ' ' } else { c }).collect()
}

/// Whether a terminal acts on a character instead of showing it: control characters, and those that change the direction of
/// the text after them, which would then say something else (<https://www.unicode.org/reports/tr9/#Directional_Formatting_Codes>).
pub fn is_command(character: char) -> bool {
    let is_direction = matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    is_direction || character.is_control()
}

/// Text with blanks up to a number of columns.
pub fn pad(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(blanks))
}

/// Below this width nothing is readable.
const MIN_WIDTH: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Layout = Layout { width: Some(40), height: None, color: false };

    #[test]
    fn text_is_cut_by_columns_and_not_by_bytes() {
        assert_eq!(NARROW.cut("bucket", 6), "bucket");
        assert_eq!(NARROW.cut("bucket-a", 6), "bucke…");
        assert_eq!(NARROW.cut("漢字漢字", 5), "漢字…");
        assert_eq!(Layout { width: None, ..NARROW }.cut("bucket-a", 6), "bucket-a", "a pipe loses nothing");
    }

    #[test]
    fn text_that_others_wrote_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(printable("dest\u{202e}tekcub\u{2066}\u{200f}é漢"), "dest tekcub  é漢");
        assert_eq!(NARROW.wrap("a\u{1b}[2Jb", "  "), "  a [2Jb");
    }

    #[test]
    fn colour_is_left_out_where_it_is_not_wanted() {
        let coloured = Layout { color: true, ..NARROW }.paint(Tone::Bad, "failing");
        assert!(coloured.contains("failing") && coloured.starts_with('\u{1b}'));
        assert_eq!(NARROW.paint(Tone::Bad, "failing"), "failing");
    }
}
