//! Installs the AWS emulator: ministack in a virtual environment of the rig, every package pinned with its hashes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::build;
use crate::paths;
use crate::process::Spec;
use crate::progress;

/// Exits with 0 if the Python on the PATH is new enough and can create virtual environments.
const CHECK: &str = "import sys, ensurepip, venv; sys.exit(0 if sys.version_info >= (3, 10) else 3)";

/// A Python interpreter that can `import ministack`.
pub fn ensure() -> Result<PathBuf> {
    let pins = paths::sources().join("tools/aws/requirements.txt");
    let pinned = fs::read(&pins).with_context(|| format!("cannot read {}", pins.display()))?;
    // A virtual environment belongs to the interpreter that made it.
    let python =
        Command::new("python3").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let dir = build::once("aws", &[&pinned, &python], |dir| {
        require_python()?;
        progress::step("installing the AWS emulator with Python (about 30 seconds, once)", || {
            install(dir, &pins)
        })
    })?;
    Ok(dir.join("bin/python"))
}

fn install(dir: &Path, pins: &Path) -> Result<()> {
    let venv = Spec::new("venv", "python3").args(["-m", "venv"]).arg(dir);
    build::run("python3 -m venv", venv)?;
    let pip = Spec::new("pip", dir.join("bin/python"))
        .args(["-m", "pip", "install", "--disable-pip-version-check"])
        .args(["--no-input", "--require-hashes", "-r"])
        .arg(pins);
    build::fetch(|| build::run("pip install", pip.clone()))
}

fn require_python() -> Result<()> {
    match Command::new("python3").args(["-c", CHECK]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) if output.status.code() == Some(3) => {
            bail!("the python3 on the PATH is too old: install Python 3.10 or newer")
        }
        Ok(_) => bail!(
            "the python3 on the PATH cannot make virtual environments: install its venv module \
             (on Debian and Ubuntu: apt install python3-venv)"
        ),
        Err(_) => bail!(
            "python3 is not on the PATH: install Python 3.10 or newer, which runs the AWS \
             emulator for the tests"
        ),
    }
}
