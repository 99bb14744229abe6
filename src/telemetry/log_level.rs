//! Sets the log level to the content of a file, such as a mounted ConfigMap.
//!
//! In: the file, which is read every two seconds, and the level while it is missing or empty. Out: the filter of log
//! lines. It is a file and not an HTTP endpoint, so that access to the metrics port changes nothing, and so that the
//! level outlives a restart.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use tracing::{info, warn};

use crate::telemetry::logs::LogLevel;

/// How often the file is read. Kubernetes itself takes up to a minute to bring a changed ConfigMap into the pod.
const PERIOD: Duration = Duration::from_secs(2);

/// Follows the file until dropped. While the file is missing or empty, the level is `otherwise`.
pub async fn follow(file: &Path, otherwise: &str, level: &LogLevel) {
    let mut held = otherwise.to_owned();
    loop {
        // Kubernetes changes a mounted ConfigMap by swapping a link, so the file is opened again each time.
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
                Err(error) => {
                    warn!(%error, file = %file.display(), "cannot use the log level in the file; the level stays as it is")
                }
            }
            // An unreadable level is logged once, too.
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
