//! A real Argo CD, as plain processes: its application controller and its repo server on a cluster of the rig, the
//! cache between them, and the git repositories that it reads. No pod, no image, no network but 127.0.0.1.

mod git;
mod install;
mod programs;
mod servers;

use std::path::Path;

use anyhow::{Context, Result};

pub use git::{Git, Repository};
pub use programs::Programs;

use crate::process::Process;
use crate::{Cluster, Tools};

/// The namespace that it is in, with all its Applications.
pub const NAMESPACE: &str = install::NAMESPACE;

/// A running Argo CD. Dropping it ends all of it.
#[derive(Debug)]
pub struct ArgoCd {
    /// The repositories that it can read.
    pub git: Git,
    // In the order in which they are ended: the last has the files of all.
    processes: [Process; 3],
}

impl ArgoCd {
    /// Puts it on a cluster, with a patch file for its ConfigMap as a user would merge one in. Blocks the thread.
    ///
    /// # Errors
    /// When something cannot be built or started.
    pub fn start(programs: &Programs, cluster: &Cluster, config: &Path) -> Result<Self> {
        let (tools, helm) = (Tools::argocd()?, Tools::helm()?);
        install::apply(cluster, &tools.crds(), config)?;
        let git = Git::start(programs)?;
        let (redis, (files, cache)) = servers::redis(programs)?;
        let home = servers::Home::write(&files, cluster, helm.parent().context("Helm is in no directory")?)?;
        let (repo_server, repo) = servers::repo_server(&tools, &home, cache)?;
        let controller = servers::application_controller(&tools, &home, cache, repo)?;
        Ok(Self { git, processes: [controller, repo_server, redis] })
    }

    /// The ends of the logs of the controller and the repo server, for error messages.
    pub fn log_tails(&self, lines: usize) -> String {
        let [controller, repo_server, _] = &self.processes;
        let show = |process: &Process| {
            format!("--- {} ends:\n{}\n", process.log_path().display(), process.log_tail(lines))
        };
        show(controller) + &show(repo_server)
    }
}
