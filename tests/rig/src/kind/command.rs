//! Runs commands to their end, each with a deadline and under a guard, so that none outlives the rig.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::process::Spec;

/// Runs a command and returns what it printed.
///
/// # Errors
/// If it fails or exceeds the deadline; the message quotes the end of its output.
pub(super) fn run(what: &str, spec: Spec, deadline: Duration) -> Result<String> {
    let process = spec.start()?;
    match process.wait_ended(deadline)? {
        0 => Ok(process.log()),
        code => bail!(
            "{what} ended with code {code}; its log ends:\n{}\n(all of it: {})",
            process.log_tail(20),
            process.log_path().display()
        ),
    }
}

/// Whether a command succeeds in time.
pub(super) fn succeeds(spec: Spec, deadline: Duration) -> bool {
    run("the command", spec, deadline).is_ok()
}

/// Runs a command with a text on its standard input, without blocking the runtime. Returns what it printed.
///
/// # Errors
/// If it fails or exceeds the deadline; the message holds its standard error.
pub(super) async fn output(
    what: &str,
    mut command: Command,
    input: &str,
    deadline: Duration,
) -> Result<String> {
    let args: Vec<_> = command.as_std().get_args().map(OsStr::to_owned).collect();
    let shown = || format!("{what} {}", args.join(OsStr::new(" ")).to_string_lossy());
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.with_context(|| format!("cannot run {}", shown()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that refuses its arguments does not read its input.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = tokio::time::timeout(deadline, child.wait_with_output())
        .await
        .with_context(|| format!("{} was not done after {deadline:?}", shown()))??;
    if !output.status.success() {
        bail!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Spec {
        Spec::new("sh", "sh").args(["-c", script])
    }

    #[test]
    fn the_output_of_a_command_comes_back() {
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
        assert!(error.to_string().contains("had not ended after"), "{error}");
    }
}
