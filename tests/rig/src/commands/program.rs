//! The operator's program.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rig::paths;

const PROGRAM: &str = "s3-replication-operator";

/// Builds it in the profile that this program was built in, Cargo's words on the terminal, and says where it is.
pub fn build() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("cannot tell where this program is")?;
    let release = exe.components().any(|part| part.as_os_str() == "release");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let target = paths::target();
    let mut command = Command::new(cargo);
    command.args(["build", "--bin", PROGRAM]).current_dir(paths::repository());
    command.arg("--target-dir").arg(&target);
    if release {
        command.arg("--release");
    }
    let status = command.status().context("cannot run cargo, which builds the operator")?;
    if !status.success() {
        bail!("the operator does not build: see above");
    }
    Ok(target.join(if release { "release" } else { "debug" }).join(PROGRAM))
}
