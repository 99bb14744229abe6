//! Builds Argo CD from the Go module proxy, for the tests of GitOps.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The version; `go.mod` pins the same. `go.mod` also repeats the `replace` block of that version, because Go applies
/// only the one of the main module. 3.2.12 does not compile, and 3.3 and later need a module that only their own
/// repository has.
const VERSION: &str = "3.2.11";

const MODULE: &str = "github.com/argoproj/argo-cd/v3";

/// The definitions that its application controller reads.
const DEFINITIONS: [&str; 3] = ["application-crd.yaml", "applicationset-crd.yaml", "appproject-crd.yaml"];

/// Argo CD's programs and definitions.
#[derive(Debug, Clone)]
pub struct ArgoCdTools {
    dir: PathBuf,
}

impl ArgoCdTools {
    /// The command line.
    pub fn argocd(&self) -> PathBuf {
        self.dir.join("argocd")
    }

    /// The repo server, which renders manifests from a repository.
    pub fn repo_server(&self) -> PathBuf {
        self.dir.join("argocd-repo-server")
    }

    /// The application controller, which compares and syncs.
    pub fn application_controller(&self) -> PathBuf {
        self.dir.join("argocd-application-controller")
    }

    /// The directory that holds only its definitions.
    pub fn crds(&self) -> PathBuf {
        self.dir.join("crds")
    }
}

/// Builds Argo CD. It is apart from the other tools, because few tests need it and the build takes long.
pub fn ensure() -> Result<ArgoCdTools> {
    let module = Module::read("argocd")?;
    let flags = ldflags();
    let dir = build::once("argocd", &module.inputs(&flags), |dir| {
        go::require("Argo CD is built for the tests of GitOps")?;
        progress::step("building Argo CD with Go (some minutes, once)", || make(&module, dir, &flags))
    })?;
    Ok(ArgoCdTools { dir })
}

fn make(module: &Module, dir: &Path, flags: &str) -> Result<()> {
    module.build(&format!("{MODULE}/cmd"), &dir.join("argocd"), flags)?;
    // One program, whose name decides what it does.
    for name in ["argocd-repo-server", "argocd-application-controller"] {
        symlink("argocd", dir.join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    let from = module.download(MODULE)?.join("manifests/crds");
    let to = dir.join("crds");
    fs::create_dir(&to)?;
    for name in DEFINITIONS {
        // A copy would be read-only as the module's files are.
        let text = fs::read(from.join(name)).with_context(|| format!("cannot read {name} of Argo CD"))?;
        fs::write(to.join(name), text)?;
    }
    Ok(())
}

fn ldflags() -> String {
    format!("-s -w -X {MODULE}/common.version={VERSION}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn go_mod_pins_the_version_that_the_program_reports() {
        let go_mod = fs::read_to_string(paths::sources().join("tools/argocd/go.mod")).unwrap();
        assert!(go_mod.contains(&format!("{MODULE} v{VERSION}")));
    }
}
