//! Prometheus' own program, on files.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::sync::Once;

use anyhow::{Result, ensure};

/// If this is set, a missing promtool is a failure. `.ci/run` sets it.
const REQUIRED: &str = "RIG_REQUIRES_PROMTOOL";

/// Runs promtool on files in a new directory. Without promtool, one line reports that.
///
/// # Errors
/// When promtool finds a fault: what it prints. When there is none and `RIG_REQUIRES_PROMTOOL` is set.
pub fn promtool(args: &[&str], files: &[(&str, &str)]) -> Result<()> {
    let there =
        Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        require_none(std::env::var_os(REQUIRED).as_deref())?;
        static REPORTED: Once = Once::new();
        REPORTED.call_once(|| {
            crate::progress::say(
                "promtool is not on the PATH: alerts and dashboard are not put before Prometheus \
                 (on Debian and Ubuntu: apt install prometheus)",
            );
        });
        return Ok(());
    }
    let dir = crate::paths::scratch_dir("promtool")?;
    for (name, text) in files {
        std::fs::write(dir.join(name), text)?;
    }
    let output = Command::new("promtool").args(args).current_dir(&dir).output()?;
    std::fs::remove_dir_all(&dir)?;
    let printed = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "promtool {args:?}: {}{}",
        printed(&output.stdout),
        printed(&output.stderr)
    );
    Ok(())
}

/// Whether promtool may be missing. `required`: what the environment says.
fn require_none(required: Option<&OsStr>) -> Result<()> {
    ensure!(
        required.is_none_or(OsStr::is_empty),
        "promtool is not on the PATH, and {REQUIRED} is set: install it (on Debian and Ubuntu: apt install prometheus), \
         or unset the variable to leave these tests out"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_promtool_fails_only_where_it_is_required() {
        assert!(require_none(None).is_ok());
        assert!(require_none(Some(OsStr::new(""))).is_ok());
        assert!(
            require_none(Some(OsStr::new("1"))).is_err_and(|error| error.to_string().contains("prometheus"))
        );
    }
}
