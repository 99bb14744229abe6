//! Programs that the rig does not build: which Debian packages have them, and how these are
//! installed if that starts no services.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::Spec;
use crate::progress;
use crate::tools;

/// A program, and the Debian package that has it.
pub type Program = (&'static str, &'static str);

/// The programs that make a cluster where no registry is in reach.
pub const FOR_KIND: [Program; 10] = [
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

/// The programs without which other tests skip something.
pub const FOR_TESTS: [Program; 3] = [
    ("promtool", "prometheus"),
    ("redis-server", "redis-server"),
    ("chromium-headless-shell", "chromium-headless-shell"),
];

/// The directories of programs for root, which the PATH may lack.
pub const SYSTEM_PATHS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The script that decides whether a service starts when its package is installed.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// The packages of those programs that are not there, each once.
pub fn missing(programs: &[Program]) -> Vec<&'static str> {
    let absent = programs.iter().filter(|(program, _)| find(program).is_none());
    let mut packages: Vec<&str> = absent.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// The command that installs packages, for people and for the rig.
pub fn command(packages: &[&str]) -> String {
    format!("apt-get install -y --no-install-recommends {}", packages.join(" "))
}

/// Whether the rig may install packages. If a service manager runs, it would start their services: that is
/// left to a person.
pub fn may_install() -> bool {
    is_root() && find("apt-get").is_some() && !Path::new("/run/systemd/system").exists()
}

/// Installs packages, and starts no service of theirs.
///
/// # Errors
/// If apt-get fails; the error holds what it printed.
pub fn install(packages: &[&str]) -> Result<()> {
    let _no_service = Policy::set()?;
    progress::step(&format!("installing what is missing: {}", command(packages)), || {
        let apt = |args: &[&str]| {
            Spec::new("apt-get", "apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive")
        };
        tools::run("apt-get update", apt(&["update"]))?;
        tools::run("apt-get install", apt(&["install", "-y", "--no-install-recommends"]).args(packages))
    })
}

/// Installs the programs without which tests are skipped.
///
/// # Errors
/// If something is missing and cannot be installed; the message names it and the command.
pub fn ensure_all() -> Result<()> {
    let absent = missing(&[&FOR_KIND[..], &FOR_TESTS[..]].concat());
    if absent.is_empty() {
        return Ok(());
    }
    if !may_install() {
        bail!(
            "some tests will be left out without these packages: {}; `{}` installs them, as root on Debian",
            absent.join(", "),
            command(&absent)
        );
    }
    install(&absent)
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(SYSTEM_PATHS.map(PathBuf::from));
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The PATH with the folders of root's programs.
pub fn path() -> String {
    path_after(&env::var("PATH").unwrap_or_default())
}

/// A PATH, and after it the folders of root's programs.
pub fn path_after(own: &str) -> String {
    [own].into_iter().chain(SYSTEM_PATHS).collect::<Vec<_>>().join(":")
}

/// Whether this is root.
#[cfg(target_os = "linux")]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this is root: of no use where neither packages nor namespaces are those of Linux.
#[cfg(not(target_os = "linux"))]
pub fn is_root() -> bool {
    false
}

/// Forbids services to be started, unless the system has a policy of its own, until it is dropped.
struct Policy {
    is_of_rig: bool,
}

impl Policy {
    fn set() -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY);
        match file {
            Ok(mut file) => {
                let policy = Self { is_of_rig: true };
                file.write_all(b"#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {POLICY}"))?;
                Ok(policy)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { is_of_rig: false }),
            Err(error) => Err(error).with_context(|| format!("cannot write {POLICY}")),
        }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.is_of_rig {
            let _ = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_brings_several_programs_is_named_once() {
        let absent = [("no-such-program", "one"), ("nor-such", "one"), ("sh", "there"), ("not-this", "two")];
        assert_eq!(missing(&absent), ["one", "two"]);
    }

    #[test]
    fn programs_of_one_package_stand_together() {
        for programs in [&FOR_KIND[..], &FOR_TESTS[..]] {
            let mut packages: Vec<&str> = programs.iter().map(|(_, package)| *package).collect();
            packages.dedup();
            let once: std::collections::BTreeSet<&str> = packages.iter().copied().collect();
            assert_eq!(once.len(), packages.len());
        }
    }

    #[test]
    fn a_program_is_found_by_its_name() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program").is_none());
    }
}
