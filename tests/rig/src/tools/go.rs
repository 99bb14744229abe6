//! Programs and files from the Go module proxy, as a `go.mod` under `tools/` pins them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::build;
use crate::paths;
use crate::process::Spec;

/// A module below `tools/`, with the files that pin its build.
#[derive(Debug)]
pub(super) struct Module {
    dir: PathBuf,
    go_mod: Vec<u8>,
    go_sum: Vec<u8>,
}

impl Module {
    /// Reads the pins of the module of that name.
    pub fn read(name: &str) -> Result<Self> {
        let dir = paths::sources().join("tools").join(name);
        let read =
            |file: &str| fs::read(dir.join(file)).with_context(|| format!("cannot read tools/{name}/{file}"));
        Ok(Self { go_mod: read("go.mod")?, go_sum: read("go.sum")?, dir })
    }

    /// The key of a build: the pins and the linker's flags.
    pub fn inputs<'a>(&'a self, flags: &'a str) -> [&'a [u8]; 3] {
        [&self.go_mod, &self.go_sum, flags.as_bytes()]
    }

    /// Builds one package. GOFLAGS, GOPROXY and similar variables of the user apply.
    pub fn build(&self, package: &str, output: &Path, flags: &str) -> Result<()> {
        let go = |name: &str| Spec::new(name, "go").env("CGO_ENABLED", "0").current_dir(&self.dir);
        // Listing fetches the modules that the build needs, and compiles nothing.
        let list = go("go-list").args(["list", "-deps", package]);
        build::fetch(|| build::run(&format!("go list {package}"), list.clone()))?;
        let spec = go("go-build").args(["build", "-ldflags", flags, "-o"]).arg(output).arg(package);
        build::run(&format!("go build {package}"), spec)
    }

    /// The directory with the files of a required module. Go checks them against `go.sum`.
    pub fn download(&self, required: &str) -> Result<PathBuf> {
        build::fetch(|| self.try_download(required))
    }

    fn try_download(&self, required: &str) -> Result<PathBuf> {
        let output = Command::new("go")
            .args(["mod", "download", "-json", required])
            .current_dir(&self.dir)
            .output()
            .context("cannot run go")?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("go mod download: {}", String::from_utf8_lossy(&output.stderr)))?;
        match answer["Dir"].as_str() {
            Some(dir) => Ok(PathBuf::from(dir)),
            None => bail!("go mod download {required} fails: {answer}"),
        }
    }
}

/// Fails if Go is missing. The message names the purpose.
pub(super) fn require(purpose: &str) -> Result<()> {
    let found = Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        bail!("Go is not on the PATH: install Go 1.21 or newer (https://go.dev/dl), with which {purpose}");
    }
    Ok(())
}
