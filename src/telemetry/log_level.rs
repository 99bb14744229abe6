//! Follows a file with the log level, such as a mounted ConfigMap. In: the file, read every two seconds. Out: the level of
//! the running process.
//!
//! It is a file and not an HTTP endpoint, so that clients that scrape metrics cannot change the level, and so that the
//! level survives a restart.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use crate::telemetry::logs::LogLevel;

/// The time between two reads. Kubernetes takes up to a minute to update a mounted ConfigMap, so reading more often would not help.
const PERIOD: Duration = Duration::from_secs(2);

/// Follows the file forever. While it does not exist or is empty, the level is `otherwise`.
pub async fn follow(file: &Path, otherwise: &str, level: &LogLevel) {
    let mut held = otherwise.to_owned();
    loop {
        // Kubernetes updates a mounted ConfigMap by swapping a symbolic link, so open the file again each time.
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
            // Remember an invalid level too, so that it is logged only once.
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
    fn an_empty_file_leaves_the_level_of_the_flag() {
        assert_eq!(wanted(" debug\n", "info"), "debug");
        assert_eq!(wanted("\n", "info"), "info");
    }
}
