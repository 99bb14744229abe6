//! The programs that the rig runs. They are built or installed once from pinned versions, kept under the target
//! directory, and built again when a pin changes.

mod argocd;
mod aws;
mod build;
mod flux;
mod go;
mod helm;
mod krew;
mod kstatus;
mod kube;
mod node;

pub use argocd::ArgoCdTools;
pub(crate) use build::{fetch, key, lock, once, run};
pub use kstatus::Kstatus;
pub use node::NodeTools;

use std::path::PathBuf;

use anyhow::Result;

/// The paths of the programs.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The store behind the API server.
    pub etcd: PathBuf,
    /// The Kubernetes API server.
    pub kube_apiserver: PathBuf,
    /// The Kubernetes command line.
    pub kubectl: PathBuf,
    /// A Python that has the AWS emulator installed.
    pub python: PathBuf,
}

impl Tools {
    /// Builds or installs the missing programs, with a line on the terminal for each step.
    ///
    /// # Errors
    /// When Go or Python is missing (the message names what to install), or a build fails (the message quotes it).
    pub fn ensure() -> Result<Self> {
        let [etcd, kube_apiserver, kubectl] = kube::ensure()?;
        Ok(Self { etcd, kube_apiserver, kubectl, python: aws::ensure()? })
    }

    /// A Python that has the AWS emulator installed, for tests that need nothing else.
    ///
    /// # Errors
    /// When Python is missing or the installation fails.
    pub fn python() -> Result<PathBuf> {
        aws::ensure()
    }

    /// Helm, which only the tests of the chart need; the first call builds it.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn helm() -> Result<PathBuf> {
        helm::ensure()
    }

    /// Argo CD, which only the tests of GitOps need; the first call builds it.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn argocd() -> Result<ArgoCdTools> {
        argocd::ensure()
    }

    /// The controllers of Kubernetes; the first call builds them.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn controller_manager() -> Result<PathBuf> {
        node::controller_manager()
    }

    /// krew's own check of manifests; the first call builds it.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn krew() -> Result<PathBuf> {
        krew::ensure()
    }

    /// kstatus, with which Flux assesses objects; the first call builds it.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn kstatus() -> Result<Kstatus> {
        kstatus::ensure()
    }

    /// A directory with Flux's definitions of its sources, releases and Kustomizations.
    ///
    /// # Errors
    /// When Go is missing or a download fails.
    pub fn flux_crds() -> Result<PathBuf> {
        flux::ensure()
    }

    /// kind, which makes real clusters; the first call builds it.
    ///
    /// # Errors
    /// When Go is missing or the build fails.
    pub fn kind() -> Result<PathBuf> {
        node::kind()
    }

    /// The programs of a node, for a cluster whose image cannot be pulled; the first call builds them.
    ///
    /// # Errors
    /// When Go is missing or a build fails.
    pub fn node() -> Result<NodeTools> {
        node::ensure()
    }
}
