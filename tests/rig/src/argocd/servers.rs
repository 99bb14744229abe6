//! Argo CD's processes, and what they stand on: nothing of it outside the rig's directory, nothing on a fixed port.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{NAMESPACE, Programs};
use crate::Cluster;
use crate::health;
use crate::paths;
use crate::process::{self, Process, Spec};
use crate::tools::ArgoCdTools;

/// How long a start may take: far above the usual second, for a busy machine.
const START: Duration = Duration::from_secs(90);

/// How long an end may take: there is nothing to save.
const GRACE: Duration = Duration::from_secs(1);

/// How often everything is compared although nothing has changed, in seconds.
const RESYNC: &str = "10";

/// The socket on which the repo server is asked for passwords, in the directory in which it runs. By default it is
/// `/tmp/reposerver-ask-pass.sock` for each repo server of the machine, and of two that start together one ends. The
/// path is relative, because that of a socket may have 108 bytes.
const ASK_PASS_SOCKET: &str = "ask-pass.sock";

/// Settings of this machine that would change something.
const FOREIGN: [&str; 6] = ["ARGOCD_", "GIT_", "HELM_", "KUBE", "REDIS", "XDG_"];

/// The directories and settings that the servers share.
pub(super) struct Home {
    files: PathBuf,
    kubeconfig: PathBuf,
    path: std::ffi::OsString,
}

impl Home {
    /// Makes them, with this Helm before any other.
    pub fn write(files: &Path, cluster: &Cluster, helm: &Path) -> Result<Self> {
        for dir in ["tls", "ssh", "gnupg", "tmp", "home"] {
            fs::create_dir(files.join(dir))?;
        }
        fs::write(files.join("ssh/ssh_known_hosts"), "")?;
        let rest = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([helm.to_path_buf()].into_iter().chain(env::split_paths(&rest)))
            .context("the PATH with Helm in it")?;
        Ok(Self { files: files.to_path_buf(), kubeconfig: cluster.admin_kubeconfig().to_path_buf(), path })
    }

    fn spec(&self, name: &str, program: PathBuf) -> Spec {
        Spec::new(name, program)
            .without_env(&FOREIGN)
            .env("KUBECONFIG", &self.kubeconfig)
            // The kubeconfig's cluster is https://kubernetes.default.svc for it.
            .env("ARGOCD_FAKE_IN_CLUSTER", "true")
            .env("ARGOCD_GPG_ENABLED", "false")
            .env("ARGOCD_TLS_DATA_PATH", self.files.join("tls"))
            .env("ARGOCD_SSH_DATA_PATH", self.files.join("ssh"))
            .env("ARGOCD_GNUPGHOME", self.files.join("gnupg"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("HOME", self.files.join("home"))
            .env("TMPDIR", self.files.join("tmp"))
            .env("PATH", &self.path)
            .grace(GRACE)
    }
}

/// The cache, which holds nothing longer than it runs. Returns also a directory that goes with it, and its port.
pub(super) fn redis(programs: &Programs) -> Result<(Process, (PathBuf, u16))> {
    process::on_free_ports(|| {
        let (data, port) = (paths::data_dir("redis")?, process::free_port()?);
        let process = Spec::new("redis-server", &programs.redis_server)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(&data)
            .grace(GRACE)
            .data(&data)
            .start()?;
        let ready = process.wait_ready(START, || health::listens(port)).map(|()| (data, port));
        Ok((process, ready))
    })
}

/// The repo server, on a cache. Returns its port too.
pub(super) fn repo_server(tools: &ArgoCdTools, home: &Home, cache: u16) -> Result<(Process, u16)> {
    process::on_free_ports(|| {
        let (port, metrics) = (process::free_port()?, process::free_port()?);
        let process = home
            .spec("argocd-repo-server", tools.repo_server())
            .args(["--address", "127.0.0.1", "--port", &port.to_string()])
            .args(["--metrics-address", "127.0.0.1", "--metrics-port", &metrics.to_string()])
            .args(["--redis", &format!("127.0.0.1:{cache}")])
            .arg("--disable-tls")
            .env("ARGOCD_ASK_PASS_SOCK", ASK_PASS_SOCKET)
            .current_dir(&home.files)
            .start()?;
        // It can answer that it is healthy before it has the socket, and without the socket it ends.
        let socket = home.files.join(ASK_PASS_SOCKET);
        let ready = process
            .wait_ready(START, || socket.exists() && health::is_ok(metrics, "/healthz?full=true"))
            .map(|()| port);
        Ok((process, ready))
    })
}

/// The application controller, on a cache and a repo server.
pub(super) fn application_controller(
    tools: &ArgoCdTools,
    home: &Home,
    cache: u16,
    repo: u16,
) -> Result<Process> {
    let (process, ()) = process::on_free_ports(|| {
        let metrics = process::free_port()?;
        let process = home
            .spec("argocd-application-controller", tools.application_controller())
            .args(["--namespace", NAMESPACE])
            .args(["--repo-server", &format!("127.0.0.1:{repo}"), "--repo-server-plaintext"])
            .args(["--redis", &format!("127.0.0.1:{cache}")])
            .args(["--metrics-port", &metrics.to_string()])
            .args(["--app-resync", RESYNC, "--app-resync-jitter", "0"])
            // The health of each resource is to be read in the Application, as in its user interface.
            .arg("--persist-resource-health")
            .start()?;
        let ready = process.wait_ready(START, || health::is_ok(metrics, "/healthz"));
        Ok((process, ready))
    })?;
    Ok(process)
}
