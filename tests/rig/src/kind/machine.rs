//! What this machine can: kind as it comes, where Docker runs and reaches a registry, or else an engine and a node
//! image of our own, which needs root and some Debian packages.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::command;
use crate::process::Spec;
use crate::progress;

/// What kind makes a node of when nothing else is said: `pkg/apis/config/defaults/image.go` of its version in
/// `tools/kind/go.mod`.
const NODE_IMAGE: &str =
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5";

/// Programs that our own way needs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 10] = [
    ("docker", "docker.io"),
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("mmdebstrap", "mmdebstrap"),
    ("ip", "iproute2"),
    ("setpriv", "util-linux"),
    ("find", "findutils"),
];

/// Where programs for root are, also where the PATH does not say so.
const SYSTEM_PATHS: [&str; 2] = ["/usr/sbin", "/sbin"];

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
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(Ok(Way::Own));
    }
    let command = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !install || !may_install() {
        return Ok(Err(format!(
            "a cluster needs Docker with a registry in reach, or these packages: {}; `{command}` installs them",
            missing.join(", ")
        )));
    }
    progress::step(&format!("installing what is missing: {command}"), || {
        let apt = |args: &[&str]| {
            Spec::new("apt-get", "apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive")
        };
        command::run("apt-get update", apt(&["update"]), Duration::from_secs(120))?;
        let install = apt(&["install", "-y", "--no-install-recommends"]).args(&missing);
        command::run(&command, install, Duration::from_secs(600))
    })?;
    Ok(Ok(Way::Own))
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

#[cfg(target_os = "linux")]
fn own_cannot() -> Option<String> {
    let root = rustix::process::geteuid().is_root();
    (!root).then(|| {
        "a cluster needs Docker with a registry in reach; without it, one can be made by root alone"
            .to_owned()
    })
}

#[cfg(not(target_os = "linux"))]
fn own_cannot() -> Option<String> {
    Some("a cluster needs Docker with a registry in reach: start it".to_owned())
}

/// Installing Docker's package also starts Docker where there is a service manager: that is left to a person.
fn may_install() -> bool {
    find("apt-get").is_some() && !Path::new("/run/systemd/system").exists()
}

fn missing_packages() -> Vec<&'static str> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package).collect();
    missing.dedup();
    missing
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(SYSTEM_PATHS.map(PathBuf::from));
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The PATH with the places of root's programs.
pub(super) fn path() -> String {
    let own = env::var("PATH").unwrap_or_default();
    [own.as_str()].into_iter().chain(SYSTEM_PATHS).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_brings_several_programs_is_named_once() {
        let mut packages: Vec<&str> = PROGRAMS.iter().map(|(_, package)| *package).collect();
        packages.dedup();
        let once: std::collections::BTreeSet<&str> = packages.iter().copied().collect();
        assert_eq!(once.len(), packages.len());
    }

    #[test]
    fn a_program_is_found_by_its_name() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
    }
}
