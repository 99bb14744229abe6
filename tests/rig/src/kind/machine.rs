//! What this machine can: kind as it comes, where Docker runs and reaches a registry, or else an engine and a node
//! image of our own, which needs root and some Debian packages.

use std::time::Duration;

use anyhow::Result;

use super::command;
use crate::paths;
use crate::process::Spec;
use crate::progress;
use crate::system;

/// What kind makes a node of when nothing else is said: `pkg/apis/config/defaults/image.go` of its version in
/// `tools/kind/go.mod`.
const NODE_IMAGE: &str =
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5";

/// How a cluster is made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With the Docker that runs, as any user of kind does.
    Docker,
    /// With a Docker engine of our own, and images that are made here.
    Own,
}

/// How a cluster can be made here, or why it cannot: a sentence that says what to do.
///
/// # Errors
/// When packages are missing that are being installed, and that fails.
pub fn look(install: bool) -> Result<Result<Way, String>> {
    if docker_can() {
        return Ok(Ok(Way::Docker));
    }
    if let Some(why) = own_cannot() {
        return Ok(Err(why));
    }
    let missing = system::missing(&system::FOR_KIND);
    if missing.is_empty() {
        return Ok(try_out());
    }
    if !install || !system::may_install() {
        return Ok(Err(format!(
            "a cluster needs Docker with a registry in reach, or these packages: {}; `{}` installs them",
            missing.join(", "),
            system::command(&missing)
        )));
    }
    system::install(&missing)?;
    Ok(try_out())
}

/// Whether this machine lets root do what an engine and its nodes do (`probe.sh`).
fn try_out() -> Result<Way, String> {
    let probe = Spec::new("probe", "unshare")
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"])
        .arg(paths::sources().join("src/kind/probe.sh"))
        .env("PATH", system::path());
    match command::run("probe.sh", probe, Duration::from_secs(20)) {
        Ok(_) => Ok(Way::Own),
        Err(error) => {
            // Its last words; below them is where all of them are.
            let said = format!("{error:#}");
            let last = said.lines().rev().nth(1).unwrap_or_default();
            Err(format!("a cluster needs mounts, networks and cgroups, which root may not make here: {last}"))
        }
    }
}

/// Whether Docker runs here.
pub(super) fn docker_runs() -> bool {
    command::succeeds(docker(&["info"]), Duration::from_secs(20))
}

fn docker(args: &[&str]) -> Spec {
    Spec::new("docker", "docker").args(args)
}

/// Whether Docker runs here and has the image of a node, or can pull it.
fn docker_can() -> bool {
    if !docker_runs() {
        return false;
    }
    command::succeeds(docker(&["image", "inspect", NODE_IMAGE]), Duration::from_secs(20))
        || progress::step("pulling the image of kind's nodes (some minutes, once)", || {
            command::run("docker pull", docker(&["pull", NODE_IMAGE]), Duration::from_secs(900))
        })
        .is_ok()
}

fn own_cannot() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("a cluster needs Docker with a registry in reach: start it".to_owned());
    }
    (!system::is_root()).then(|| {
        "a cluster needs Docker with a registry in reach; without it, one can be made by root alone"
            .to_owned()
    })
}
