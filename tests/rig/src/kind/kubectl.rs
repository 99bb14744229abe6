//! kubectl against a real cluster: each call with a deadline, what it says in the error.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use super::command;
use crate::cluster;
use crate::paths;
use crate::process::{Process, Spec};

/// How long a call may take that does not wait for anything.
const CALL: Duration = Duration::from_secs(60);

/// How often a fact is looked for that no call of kubectl waits for.
const POLL: Duration = Duration::from_millis(250);

/// A cluster as kubectl has it.
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

    /// Who it speaks to, and as whom.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The same cluster for what is asked often: a program each time would keep a machine busy.
    pub async fn client(&self) -> Result<kube::Client> {
        cluster::client(&self.kubeconfig).await
    }

    /// Runs it and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with its words.
    pub async fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.call(args, "", CALL).await
    }

    /// Runs it, and gives it more time than usual.
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

    /// What `kubectl get` says, as data.
    pub async fn get(&self, args: &[&str]) -> Result<Value> {
        let json = self.run([&["get", "-o", "json"], args].concat()).await?;
        serde_json::from_str(&json).context("kubectl printed no JSON")
    }

    /// Waits with `kubectl wait`, or another command of it that waits.
    ///
    /// # Errors
    /// When it has not come within the time.
    pub async fn wait(&self, args: &[&str], deadline: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", deadline.as_secs());
        // kubectl says better than we what it has waited for.
        self.call([args, &[&timeout]].concat(), "", deadline + CALL).await.map(drop)
    }

    /// Looks until what is looked for is there.
    pub async fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl AsyncFnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        loop {
            // A server that is just away, or an object that is just not there, may be there at the next look.
            let seen = look(self).await;
            match seen {
                Ok(Some(found)) => return Ok(found),
                Ok(None) if begun.elapsed() > deadline => {
                    bail!("this did not come within {deadline:?}: {what}")
                }
                Err(error) if begun.elapsed() > deadline => {
                    return Err(error.context(format!("this did not come within {deadline:?}: {what}")));
                }
                Ok(None) | Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Makes a port of something in the cluster reachable at 127.0.0.1, until what is returned is dropped.
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

    /// The address of what speaks HTTP at that port.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// `Forwarding from 127.0.0.1:40123 -> 4566`.
fn forwarded(log: &str) -> Option<u16> {
    let from = log.lines().find_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:"))?;
    from.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_what_kubectl_prints() {
        assert_eq!(forwarded("Forwarding from 127.0.0.1:40123 -> 4566\n"), Some(40123));
        assert_eq!(forwarded("error: no such pod\n"), None);
    }
}
