//! Argo CD, built from the Go module proxy, for the tests of GitOps.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The version; `go.mod` pins the same. It holds also the whole `replace` block of that version's own, which Go takes
/// from the main module only. Not 3.2.12, which does not compile, and not 3.3 or later, which needs a module that is
/// only in its own repository.
const VERSION: &str = "3.2.11";

const MODULE: &str = "github.com/argoproj/argo-cd/v3";

/// Its definitions, the ones that its application controller reads.
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

    /// The directory of its definitions, and of nothing else.
    pub fn crds(&self) -> PathBuf {
        self.dir.join("crds")
    }
}

/// Argo CD. Apart from the other tools, because few tests need it and it takes long.
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
    // One program, which acts by the name that it is called by.
    for name in ["argocd-repo-server", "argocd-application-controller"] {
        symlink("argocd", dir.join(name)).with_context(|| format!("cannot link {name}"))?;
    }
    let from = module.download(MODULE)?.join("manifests/crds");
    let to = dir.join("crds");
    fs::create_dir(&to)?;
    for name in DEFINITIONS {
        // Not copied, because the module's files, and with them the copies, cannot be written.
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
