//! krew's own check of manifests, which its index runs on every plugin
//! (<https://krew.sigs.k8s.io/docs/developer-guide/develop/best-practices/>).

use std::path::PathBuf;

use anyhow::Result;

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The program `validate-krew-manifest`.
pub fn ensure() -> Result<PathBuf> {
    let module = Module::read("krew")?;
    let flags = "-s -w";
    let dir = build::once("krew", &module.inputs(flags), |dir| {
        go::require("krew's check of manifests is built for the test of the plugin")?;
        progress::step("building krew's check of manifests with Go (about 1 minute, once)", || {
            let package = "sigs.k8s.io/krew/cmd/validate-krew-manifest";
            module.build(package, &dir.join("validate-krew-manifest"), flags)
        })
    })?;
    Ok(dir.join("validate-krew-manifest"))
}
