//! Structured logs: text for people, JSON for machines.
//!
//! In: the format, the filter, and the log calls of every part. Out: lines on standard error, one for each call that
//! the filter lets through. Logs hold no secrets: this program keeps credentials only in the SDK's type, whose `Debug`
//! output hides them.

use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{0:?} is not off, error, warn, info, debug or trace, nor a list of target=level")]
    Level(String),
    #[error(transparent)]
    Filter(#[from] ParseError),
    #[error(transparent)]
    Reload(#[from] reload::Error),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The filter of log lines, which can be changed while the program runs.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Logs from now on the lines that pass this filter.
    ///
    /// # Errors
    /// When the filter cannot be parsed; the filter then stays as it is.
    pub fn set(&self, filter: &str) -> Result<(), LogError> {
        Ok(self.0.reload(read(filter)?)?)
    }
}

/// Another receiver of events and spans.
pub type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging. `filter` is a level or a list of `target=level`
/// (<https://docs.rs/tracing-subscriber/latest/tracing_subscriber/filter/struct.EnvFilter.html>), and applies
/// to log lines only.
///
/// # Errors
/// When the filter cannot be parsed.
pub fn init_logs(
    format: LogFormat,
    filter: &str,
    others: impl IntoIterator<Item = BoxedLayer>,
) -> Result<LogLevel, LogError> {
    let (filter, handle) = reload::Layer::new(read(filter)?);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    let layers: Vec<BoxedLayer> = others.into_iter().chain([lines.with_filter(filter).boxed()]).collect();
    tracing_subscriber::registry().with(layers).init();
    Ok(LogLevel(handle))
}

fn read(filter: &str) -> Result<EnvFilter, LogError> {
    // A single word that is no level would be taken as the name of a target, and everything else would be silent.
    let alone = !filter.contains(['=', ',']);
    if alone && filter.parse::<LevelFilter>().is_err() {
        return Err(LogError::Level(filter.to_owned()));
    }
    Ok(EnvFilter::try_new(filter)?)
}
