//! Builds etcd, kube-apiserver and kubectl from the Go module proxy, with a `go.mod` that has `tool` directives and no
//! Go code of this repository.

use std::env;
use std::path::PathBuf;

use anyhow::{Result, bail};

use super::build;
use super::go::{self, Module};
use crate::progress;

/// The Kubernetes version; `go.mod` pins the same.
pub(super) const VERSION: &str = "1.36.3";

/// The main packages of the programs, in the order in which [`ensure`] returns them.
const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// The programs from `KUBEBUILDER_ASSETS` if that is set, else the rig's own build.
pub fn ensure() -> Result<[PathBuf; 3]> {
    let dir = match env::var_os("KUBEBUILDER_ASSETS") {
        Some(dir) => PathBuf::from(dir),
        None => built()?,
    };
    let programs = PROGRAMS.map(|(name, _)| dir.join(name));
    if let Some(missing) = programs.iter().find(|path| !path.is_file()) {
        bail!(
            "{} does not exist: set KUBEBUILDER_ASSETS to a directory with etcd, \
             kube-apiserver and kubectl, or unset it to have them built",
            missing.display()
        );
    }
    Ok(programs)
}

pub(super) fn built() -> Result<PathBuf> {
    let module = Module::read("kube")?;
    let flags = ldflags();
    build::once("kube", &module.inputs(&flags), |dir| {
        go::require(
            "the API server for the tests is built, or set KUBEBUILDER_ASSETS to a directory that \
             has etcd, kube-apiserver and kubectl",
        )?;
        for (name, package) in PROGRAMS.into_iter().rev() {
            let about = match name {
                "kube-apiserver" => "about 3 minutes",
                _ => "about 1 minute",
            };
            progress::step(&format!("building {name} with Go ({about}, once)"), || {
                module.build(package, &dir.join(name), &flags)
            })?;
        }
        Ok(())
    })
}

/// Without a version the API server disables every feature, because it assumes one from before them.
pub(super) fn ldflags() -> String {
    let mut parts = VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or("1"), parts.next().unwrap_or("0"));
    let component = "k8s.io/component-base/version";
    format!(
        "-s -w -X {component}.gitVersion=v{VERSION} -X {component}.gitMajor={major} \
         -X {component}.gitMinor={minor} -X k8s.io/client-go/pkg/version.gitVersion=v{VERSION}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn go_mod_pins_the_version_that_the_programs_report() {
        let go_mod = std::fs::read_to_string(paths::sources().join("tools/kube/go.mod")).unwrap();
        assert!(go_mod.contains(&format!("k8s.io/kubernetes v{VERSION}")));
        assert!(ldflags().contains("gitMinor=36"));
    }
}
