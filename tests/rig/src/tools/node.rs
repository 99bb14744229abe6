//! Builds kind from the Go module proxy, and the programs of a node for machines that can pull no image.
//! [`super::kube`] builds the others.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::go::{self, Module};
use super::{build, kube};
use crate::paths;
use crate::progress;

/// The purpose of these programs, for an error message.
const PURPOSE: &str = "kind and the nodes of its clusters are built";

/// The programs of Kubernetes on a node, besides the API server, etcd and kubectl.
const KUBERNETES: [&str; 5] =
    ["kubeadm", "kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"];

/// A separate module, because it needs other versions of shared dependencies.
const ADDONS: [(&str, &str); 3] =
    [("coredns", "./coredns"), ("crictl", "sigs.k8s.io/cri-tools/cmd/crictl"), ("pause", "./pause")];

/// The sources among them that are part of this repository.
const SOURCES: [&str; 2] = ["coredns/main.go", "pause/main.go"];

/// The paths of the programs of a node.
#[derive(Debug, Clone)]
pub struct NodeTools {
    kube: PathBuf,
    node: PathBuf,
    addons: PathBuf,
}

impl NodeTools {
    /// The version of Kubernetes, with its `v`.
    pub fn version() -> String {
        format!("v{}", kube::VERSION)
    }

    /// The program of that name.
    pub fn program(&self, name: &str) -> PathBuf {
        let built = [&self.node, &self.addons, &self.kube].map(|dir| dir.join(name));
        let found = built.iter().find(|path| path.is_file()).cloned();
        found.unwrap_or_else(|| self.kube.join(name))
    }

    /// The directory of all programs. Its name changes when one of them changes.
    pub fn paths(&self) -> [&Path; 3] {
        [&self.kube, &self.node, &self.addons]
    }
}

/// The kind program.
pub(super) fn kind() -> Result<PathBuf> {
    let module = Module::read("kind")?;
    let flags = "-s -w";
    let dir = build::once("kind", &module.inputs(flags), |dir| {
        go::require(PURPOSE)?;
        make(&module, "kind", "sigs.k8s.io/kind", dir, flags)
    })?;
    Ok(dir.join("kind"))
}

/// Only the controllers. They are in the same module as the programs of a node and so of the same version.
pub(super) fn controller_manager() -> Result<PathBuf> {
    let module = Module::read("node")?;
    let flags = kube::ldflags();
    let name = "kube-controller-manager";
    let dir = build::once("controllers", &module.inputs(&flags), |dir| {
        go::require("the controllers of Kubernetes are built for the tests of GitOps")?;
        make(&module, name, &format!("k8s.io/kubernetes/cmd/{name}"), dir, &flags)
    })?;
    Ok(dir.join(name))
}

/// The programs of a node.
pub(super) fn ensure() -> Result<NodeTools> {
    // The API server must have the same version as the rest, so `KUBEBUILDER_ASSETS` does not apply.
    let kube = kube::built()?;
    let module = Module::read("node")?;
    let flags = kube::ldflags();
    let node = build::once("node", &module.inputs(&flags), |dir| {
        go::require(PURPOSE)?;
        KUBERNETES.into_iter().try_for_each(|name| {
            let package = format!("k8s.io/kubernetes/cmd/{name}");
            make(&module, name, &package, dir, &flags)
        })
    })?;
    let module = Module::read("addons")?;
    let flags = "-s -w";
    let mut inputs: Vec<Vec<u8>> = module.inputs(flags).map(<[u8]>::to_vec).to_vec();
    for source in SOURCES {
        let path = paths::sources().join("tools/addons").join(source);
        inputs.push(fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let addons = build::once("addons", &inputs, |dir| {
        go::require(PURPOSE)?;
        let mut all = ADDONS.into_iter();
        all.try_for_each(|(name, package)| make(&module, name, package, dir, flags))
    })?;
    Ok(NodeTools { kube, node, addons })
}

fn make(module: &Module, name: &str, package: &str, dir: &Path, flags: &str) -> Result<()> {
    progress::step(&format!("building {name} with Go (about 1 minute, once)"), || {
        module.build(package, &dir.join(name), flags)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go_mod(name: &str) -> String {
        fs::read_to_string(paths::sources().join("tools").join(name).join("go.mod")).unwrap()
    }

    #[test]
    fn the_programs_of_a_node_are_of_the_same_modules_as_the_api_server() {
        // Shared dependencies are built once only if their versions are equal.
        let versions = |name: &str| {
            let text = go_mod(name);
            let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
            let pinned = lines.filter(|(module, _)| module.contains('.') && module.contains('/'));
            pinned.map(|(m, v)| (m.to_owned(), v.to_owned())).collect::<std::collections::BTreeMap<_, _>>()
        };
        let (kube, node) = (versions("kube"), versions("node"));
        assert!(node.contains_key("k8s.io/kubernetes"));
        for (module, version) in &node {
            let other = kube.get(module).unwrap_or(version);
            assert_eq!(other, version, "{module}");
        }
    }
}
