//! Flux's definitions, out of the modules of its controllers: nothing of Flux is built, and nothing of it runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The controllers whose kinds the manifests in `deploy/flux` use.
const CONTROLLERS: [&str; 3] = ["helm-controller", "kustomize-controller", "source-controller"];

/// Where each of them keeps its definitions.
const DEFINITIONS: &str = "config/crd/bases";

/// The directory that holds the definitions.
pub fn ensure() -> Result<PathBuf> {
    let module = Module::read("flux")?;
    build::once("flux", &module.inputs(DEFINITIONS), |dir| {
        go::require("the definitions of Flux are fetched for the tests of its manifests")?;
        progress::step("fetching the definitions of Flux with Go (once)", || {
            CONTROLLERS.iter().try_for_each(|controller| {
                let fetched = module.download(&format!("github.com/fluxcd/{controller}"))?.join(DEFINITIONS);
                let found = fs::read_dir(&fetched);
                for entry in found.with_context(|| format!("cannot read {}", fetched.display()))? {
                    let entry = entry?;
                    // Not a copy of the file, which the module cache has made read-only.
                    fs::write(dir.join(entry.file_name()), fs::read(entry.path())?)?;
                }
                Ok(())
            })
        })
    })
}
