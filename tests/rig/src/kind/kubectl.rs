//! Runs kubectl against a cluster. Each call has a deadline, and an error holds what kubectl printed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::process::Command;

use super::command;
use crate::cluster;
use crate::paths;
use crate::process::{Process, Spec};

/// How long a call may take that waits for nothing.
const CALL: Duration = Duration::from_secs(60);

/// kubectl for one cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub(super) fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self { program: program.to_path_buf(), kubeconfig: kubeconfig.to_path_buf() }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The kubeconfig of the cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client for the same cluster, for frequent requests: starting kubectl each time is slow.
    pub async fn client(&self) -> Result<kube::Client> {
        cluster::client(&self.kubeconfig).await
    }

    /// Runs kubectl and returns what it prints.
    ///
    /// # Errors
    /// If it fails; the error holds what it printed.
    pub async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.call(args, "", CALL).await
    }

    /// Runs kubectl with another deadline.
    pub async fn run_within<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        deadline: Duration,
    ) -> Result<String> {
        self.call(args, "", deadline).await
    }

    /// Applies a manifest server-side.
    pub async fn apply(&self, manifest: &str) -> Result<()> {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.call(args, manifest, CALL).await.map(drop)
    }

    /// Runs `kubectl get` and parses what it prints.
    pub async fn get(&self, args: &[&str]) -> Result<Value> {
        let json = self.run([&["get", "-o", "json"], args].concat()).await?;
        serde_json::from_str(&json).context("kubectl printed no JSON")
    }

    /// Runs `kubectl wait`, or another command that waits.
    ///
    /// # Errors
    /// If it is not done within the deadline.
    pub async fn wait(&self, args: &[&str], deadline: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", deadline.as_secs());
        // kubectl ends first: its message names what it waited for.
        self.call([args, &[&timeout]].concat(), "", deadline + CALL).await.map(drop)
    }

    /// Forwards a port in the cluster to 127.0.0.1 until the returned value is dropped.
    pub fn forward(&self, namespace: &str, target: &str, port: u16) -> Result<Forward> {
        let process = Spec::new("kubectl-port-forward", &self.program)
            .args(["--namespace", namespace, "port-forward", target, &format!(":{port}")])
            .env("KUBECONFIG", &self.kubeconfig)
            .start()?;
        let mut local = None;
        process.wait_ready(CALL, || {
            local = forwarded(&process.log());
            local.is_some()
        })?;
        Ok(Forward { port: local.context("kubectl did not say where it listens")?, _process: process })
    }

    async fn call<A: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &str,
        deadline: Duration,
    ) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", paths::rig().join("kubectl-cache"));
        command::output("kubectl", command, input, deadline).await
    }
}

/// A forwarded port. It ends when dropped.
#[derive(Debug)]
pub struct Forward {
    port: u16,
    _process: Process,
}

impl Forward {
    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of an HTTP server at that port.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Reads the port from `Forwarding from 127.0.0.1:40123 -> 4566`.
fn forwarded(log: &str) -> Option<u16> {
    let from = log.lines().find_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:"))?;
    from.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_output_of_kubectl() {
        assert_eq!(forwarded("Forwarding from 127.0.0.1:40123 -> 4566\n"), Some(40123));
        assert_eq!(forwarded("error: no such pod\n"), None);
    }
}
