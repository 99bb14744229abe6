//! The log level as a file says, read again and again: a ConfigMap that is mounted, for example.
//!
//! A file and not an address, so that who can reach the metrics' port can change nothing, and so that the level
//! outlives a restart.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use crate::telemetry::logs::LogLevel;

/// How often the file is read. Kubernetes takes up to a minute to bring a changed ConfigMap to the pod.
const PERIOD: Duration = Duration::from_secs(2);

/// Follows the file for ever. Without it, or while it is empty, `otherwise` counts.
pub async fn follow(file: &Path, otherwise: &str, level: &LogLevel) {
    let mut held = otherwise.to_owned();
    loop {
        // What a volume shows of a ConfigMap changes by the swap of a link: the file is opened anew each time.
        let wanted = match tokio::fs::read_to_string(file).await {
            Ok(text) => wanted(&text, otherwise).to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => otherwise.to_owned(),
            Err(error) => {
                warn!(%error, file = %file.display(), "cannot read the log level");
                held.clone()
            }
        };
        if wanted != held {
            match level.set(&wanted) {
                Ok(()) => info!(level = wanted, "the log level has changed"),
                Err(error) => warn!(%error, file = %file.display(), "the log level stays as it is"),
            }
            // Also what cannot be read is told once.
            held = wanted;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn wanted<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    match text.trim() {
        "" => otherwise,
        level => level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_says_nothing() {
        assert_eq!(wanted(" debug\n", "info"), "debug");
        assert_eq!(wanted("\n", "info"), "info");
    }
}
