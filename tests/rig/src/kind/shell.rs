//! Runs commands of the documentation in a shell that finds kubectl and Helm, with this cluster as its default.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use super::{Kind, command};
use crate::paths;

/// How long the commands may take: Helm alone waits up to five minutes.
const DEADLINE: Duration = Duration::from_secs(360);

impl Kind {
    /// Runs commands in a directory, and returns what they print.
    ///
    /// # Errors
    /// If one of them fails; the error holds what it printed.
    pub async fn shell(&self, commands: &str, dir: &Path) -> Result<String> {
        let found = env::var_os("PATH").unwrap_or_default();
        let own = [self.kubectl.program(), self.helm.program()].map(|program| program.parent());
        let own = own.into_iter().flatten().map(Path::to_path_buf);
        let path = env::join_paths(own.chain(env::split_paths(&found)))?;
        let home = paths::rig().join("helm-home");
        let mut shell = Command::new("sh");
        shell.args(["-euc", commands]).current_dir(dir);
        shell.env("PATH", path).env("KUBECONFIG", self.kubectl.kubeconfig());
        shell.env("KUBECACHEDIR", paths::rig().join("kubectl-cache"));
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            shell.env(variable, &home);
        }
        command::output(commands, shell, "", DEADLINE).await
    }
}
