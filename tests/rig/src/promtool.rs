//! Prometheus' own program, on files.

use std::process::{Command, Stdio};
use std::sync::Once;

use anyhow::{Result, ensure};

/// Runs promtool on files in a new directory. Without promtool, one line reports that.
///
/// # Errors
/// When promtool finds a fault: what it prints.
pub fn promtool(args: &[&str], files: &[(&str, &str)]) -> Result<()> {
    let there =
        Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
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
