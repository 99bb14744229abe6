//! Builds Helm from the Go module proxy, for the tests of the chart.

use std::path::PathBuf;

use anyhow::Result;

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The version; `go.mod` pins the same.
const VERSION: &str = "3.22.0";

/// The Kubernetes minor version that Helm renders charts for without a cluster: that of the client in `go.mod`.
const KUBERNETES_MINOR: &str = "37";

/// The Helm program. It is apart from the other tools, because only the tests of the chart need it.
pub fn ensure() -> Result<PathBuf> {
    let module = Module::read("helm")?;
    let flags = ldflags();
    let dir = build::once("helm", &module.inputs(&flags), |dir| {
        go::require("Helm is built for the tests of the chart")?;
        progress::step("building helm with Go (about 2 minutes, once)", || {
            module.build("helm.sh/helm/v3/cmd/helm", &dir.join("helm"), &flags)
        })
    })?;
    Ok(dir.join("helm"))
}

/// The flags of Helm's own Makefile. Without them Helm assumes Kubernetes 1.20 if it has no cluster to ask.
fn ldflags() -> String {
    let helm = "helm.sh/helm/v3";
    let kubernetes = ["pkg/lint/rules", "pkg/chartutil"].map(|package| {
        let part = format!("-X {helm}/{package}.k8sVersion");
        format!("{part}Major=1 {part}Minor={KUBERNETES_MINOR}")
    });
    format!("-s -w -X {helm}/internal/version.version=v{VERSION} {}", kubernetes.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn go_mod_pins_the_versions_that_the_program_reports() {
        let go_mod = std::fs::read_to_string(paths::sources().join("tools/helm/go.mod")).unwrap();
        assert!(go_mod.contains(&format!("helm.sh/helm/v3 v{VERSION}")));
        assert!(go_mod.contains(&format!("k8s.io/client-go v0.{KUBERNETES_MINOR}.")));
    }
}
