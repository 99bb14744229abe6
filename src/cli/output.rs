//! Writes to standard output and to standard error, for every subcommand.
//!
//! In: text, or a value and the format for it (JSON or YAML). Out: the text on standard output, or a note or an error on
//! standard error. A reader that closes the pipe early is no error.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::cli::terminal::is_command;

/// Standard output or a file could not be written, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output: {0}")]
pub struct PrintError(pub String);

/// A format for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Json,
    Yaml,
}

/// Writes to standard output. It is no error if the reader closes the pipe early, as `head` does.
pub fn print(text: &str) -> Result<(), PrintError> {
    print_to_reader(text).map(drop)
}

/// Writes to standard output. Returns whether the reader still reads: a command that goes on ends once it does not.
pub fn print_to_reader(text: &str) -> Result<bool, PrintError> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(PrintError(error.to_string())),
    }
}

/// Writes a line to standard error. A closed one is no reason to stop, and a text from elsewhere must not command the
/// terminal.
pub fn complain(text: &str) {
    let harmless = |c: char| if is_command(c) && c != '\n' { ' ' } else { c };
    let line = format!("{}\n", text.chars().map(harmless).collect::<String>());
    drop(std::io::stderr().lock().write_all(line.as_bytes()));
}

/// A value as text in a format for programs.
pub fn formatted<T: Serialize>(value: &T, format: Format) -> Result<String, PrintError> {
    let text = match format {
        Format::Json => serde_json::to_string_pretty(value).map_err(|e| e.to_string()),
        Format::Yaml => serde_saphyr::to_string(value).map_err(|e| e.to_string()),
    };
    let mut text = text.map_err(PrintError)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
