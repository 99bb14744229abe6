//! Flux's definitions, from the modules of its controllers. Nothing of Flux is built or run.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The controllers whose kinds the manifests in `deploy/flux` use.
const CONTROLLERS: [&str; 3] = ["helm-controller", "kustomize-controller", "source-controller"];

/// The directory of the definitions in each of these modules.
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
                    // A copy would be read-only as the file in the module cache is.
                    fs::write(dir.join(entry.file_name()), fs::read(entry.path())?)?;
                }
                Ok(())
            })
        })
    })
}
