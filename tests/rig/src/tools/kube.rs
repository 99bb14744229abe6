//! etcd, kube-apiserver and kubectl, built from the Go module proxy by a
//! `go.mod` with `tool` directives and no Go code of our own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::build;
use crate::paths;
use crate::process::Spec;
use crate::progress;

/// The Kubernetes version; `go.mod` pins the same.
const VERSION: &str = "1.36.3";

/// Where each program's main package is, in the order of what [`ensure`] returns.
const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// The programs from `KUBEBUILDER_ASSETS` when that is set, else our own build.
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

fn built() -> Result<PathBuf> {
    let module = paths::sources().join("tools/kube");
    let read =
        |name: &str| fs::read(module.join(name)).with_context(|| format!("cannot read tools/kube/{name}"));
    let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
    let flags = ldflags();
    let inputs = [go_mod.as_slice(), &go_sum, flags.as_bytes()];
    build::once("kube", &inputs, |dir| {
        require_go()?;
        for (name, package) in PROGRAMS.into_iter().rev() {
            let about = match name {
                "kube-apiserver" => "about 3 minutes",
                _ => "about 1 minute",
            };
            progress::step(&format!("building {name} with Go ({about}, once)"), || {
                go_build(&module, &dir.join(name), package, &flags)
            })?;
        }
        Ok(())
    })
}

/// Builds one package. GOFLAGS, GOPROXY and the like are the user's.
fn go_build(module: &Path, output: &Path, package: &str, flags: &str) -> Result<()> {
    let spec = Spec::new("go-build", "go")
        .args(["build", "-ldflags", flags, "-o"])
        .arg(output)
        .arg(package)
        .env("CGO_ENABLED", "0")
        .current_dir(module);
    build::run(&format!("go build {package}"), spec)
}

/// Without a version the API server takes itself for one from before all features.
fn ldflags() -> String {
    let mut parts = VERSION.split('.');
    let (major, minor) = (parts.next().unwrap_or("1"), parts.next().unwrap_or("0"));
    let component = "k8s.io/component-base/version";
    format!(
        "-s -w -X {component}.gitVersion=v{VERSION} -X {component}.gitMajor={major} \
         -X {component}.gitMinor={minor} -X k8s.io/client-go/pkg/version.gitVersion=v{VERSION}"
    )
}

fn require_go() -> Result<()> {
    let found = Command::new("go")
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        bail!(
            "Go is not on the PATH: install Go 1.21 or newer (https://go.dev/dl), with which \
             the API server for the tests is built, or set KUBEBUILDER_ASSETS to a directory \
             that has etcd, kube-apiserver and kubectl"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_mod_pins_the_version_that_the_programs_report() {
        let go_mod = fs::read_to_string(paths::sources().join("tools/kube/go.mod")).unwrap();
        assert!(go_mod.contains(&format!("k8s.io/kubernetes v{VERSION}")));
        assert!(ldflags().contains("gitMinor=36"));
    }
}
