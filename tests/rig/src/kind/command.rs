//! Commands that run to their end: each with a deadline, and under a guard, so that none outlives us.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::Spec;

/// Runs one and returns what it printed.
///
/// # Errors
/// When it fails or is not done in time; the message quotes the end of what it printed.
pub(super) fn run(what: &str, spec: Spec, deadline: Duration) -> Result<String> {
    let process = spec.start()?;
    process.wait_ready(deadline, || process.exit_code() == Some(0))?;
    match process.exit_code() {
        Some(0) => Ok(process.log()),
        code => bail!("{what} ended with {code:?}"),
    }
}

/// Whether a command succeeds in time.
pub(super) fn succeeds(spec: Spec, deadline: Duration) -> bool {
    run("the command", spec, deadline).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Spec {
        Spec::new("sh", "sh").args(["-c", script])
    }

    #[test]
    fn what_it_printed_comes_back() {
        assert_eq!(run("echo", sh("echo so"), Duration::from_secs(5)).unwrap(), "so\n");
    }

    #[test]
    fn a_failure_quotes_what_it_printed() {
        let error = run("it", sh("echo no space >&2; exit 3"), Duration::from_secs(5)).unwrap_err();
        assert!(error.to_string().contains("no space"), "{error}");
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let error = run("it", sh("exec sleep 60"), Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("not ready after"), "{error}");
    }
}
