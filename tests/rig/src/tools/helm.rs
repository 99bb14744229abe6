//! Helm, built from the Go module proxy, for the tests of the chart.

use std::path::PathBuf;

use anyhow::Result;

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The version; `go.mod` pins the same.
const VERSION: &str = "3.22.0";

/// The Helm program. Apart from the other tools, because only the chart needs it.
pub fn ensure() -> Result<PathBuf> {
    let module = Module::read("helm")?;
    let flags = format!("-s -w -X helm.sh/helm/v3/internal/version.version=v{VERSION}");
    let dir = build::once("helm", &module.inputs(&flags), |dir| {
        go::require("Helm is built for the tests of the chart")?;
        progress::step("building helm with Go (about 2 minutes, once)", || {
            module.build("helm.sh/helm/v3/cmd/helm", &dir.join("helm"), &flags)
        })
    })?;
    Ok(dir.join("helm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn go_mod_pins_the_version_that_the_program_reports() {
        let go_mod = std::fs::read_to_string(paths::sources().join("tools/helm/go.mod")).unwrap();
        assert!(go_mod.contains(&format!("helm.sh/helm/v3 v{VERSION}")));
    }
}
