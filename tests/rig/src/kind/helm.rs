//! Runs Helm against a cluster. Each call has a deadline, and an error holds what Helm printed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tokio::process::Command;

use super::command;
use crate::paths;

/// How long a call may take that waits for nothing.
const CALL: Duration = Duration::from_secs(60);

/// How long Helm may wait for the pods of a release: a busy machine, and CoreDNS of a cluster that has just begun.
const WAIT: Duration = Duration::from_secs(180);

/// Helm for one cluster.
#[derive(Debug, Clone)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Helm {
    pub(super) fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self { program: program.to_path_buf(), kubeconfig: kubeconfig.to_path_buf() }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Installs a chart, or upgrades to it, waits until its pods are ready, and returns what Helm prints.
    pub async fn upgrade(
        &self,
        namespace: &str,
        release: &str,
        chart: &Path,
        values: &Value,
    ) -> Result<String> {
        let chart = chart.to_string_lossy();
        let args = [
            "upgrade",
            "--install",
            release,
            &chart,
            "--namespace",
            namespace,
            "--create-namespace",
            "-f",
            "-",
        ];
        self.waiting(&args, &values.to_string()).await
    }

    /// Removes a release and waits until its objects are gone; pods may still be terminating.
    pub async fn uninstall(&self, namespace: &str, release: &str) -> Result<String> {
        self.waiting(&["uninstall", release, "--namespace", namespace, "--ignore-not-found"], "").await
    }

    /// Runs the tests of a release.
    pub async fn test(&self, namespace: &str, release: &str) -> Result<String> {
        let timeout = format!("{}s", WAIT.as_secs());
        self.call(&["test", release, "--namespace", namespace, "--timeout", &timeout], "", WAIT + CALL).await
    }

    /// Runs it and returns what it prints.
    ///
    /// # Errors
    /// If it fails; the error holds what it printed.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        self.call(args, "", CALL).await
    }

    async fn waiting(&self, args: &[&str], input: &str) -> Result<String> {
        let timeout = format!("{}s", WAIT.as_secs());
        self.call(&[args, &["--wait", "--timeout", &timeout]].concat(), input, WAIT + CALL).await
    }

    async fn call(&self, args: &[&str], input: &str, deadline: Duration) -> Result<String> {
        let home = paths::rig().join("helm-home");
        let mut command = Command::new(&self.program);
        command.args(args).env("KUBECONFIG", &self.kubeconfig);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, &home);
        }
        command::output("helm", command, input, deadline).await
    }
}
