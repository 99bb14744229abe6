//! Structured logs on standard error: text for people, JSON for machines. One line a decision; nothing secret
//! (credentials never pass through this program's own code).

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{0:?} is not off, error, warn, info, debug or trace, nor a list of target=level")]
    Level(String),
    #[error(transparent)]
    Filter(#[from] ParseError),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Starts logging. `filter` is a level or a list of `target=level`
/// (<https://docs.rs/tracing-subscriber/latest/tracing_subscriber/filter/struct.EnvFilter.html>).
///
/// # Errors
/// When the filter cannot be read.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), LogError> {
    // A single word that is no level would be taken for the name of a target, and all else be silent.
    let alone = !filter.contains(['=', ',']);
    if alone && filter.parse::<LevelFilter>().is_err() {
        return Err(LogError::Level(filter.to_owned()));
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(std::io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).init()
        }
    }
    Ok(())
}
