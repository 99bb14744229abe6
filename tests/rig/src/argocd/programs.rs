//! The programs that are neither in a module registry nor built here: they have to be on the machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a service's program is, also where the PATH does not say so.
const SYSTEM_PATHS: [&str; 3] = ["/usr/bin", "/usr/sbin", "/usr/local/bin"];

/// Where the machine has them.
#[derive(Debug, Clone)]
pub struct Programs {
    /// Argo CD's cache.
    pub redis_server: PathBuf,
    /// What Argo CD reads repositories with, and what serves them here.
    pub git: PathBuf,
}

impl Programs {
    /// What there is, or why there is not enough: a sentence that says what to do.
    pub fn look() -> Result<Self, String> {
        let redis_server = find("redis-server");
        let git = find("git").filter(|git| serves(git));
        match (redis_server, git) {
            (Some(redis_server), Some(git)) => Ok(Self { redis_server, git }),
            (redis_server, git) => Err(lacking(redis_server.is_none(), git.is_none())),
        }
    }
}

fn lacking(redis_server: bool, git: bool) -> String {
    let wanted = [(redis_server, "redis-server"), (git, "git")];
    let missing: Vec<&str> = wanted.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
    format!(
        "Argo CD needs programs that are not on this machine: {}; `apt-get install -y {}` installs them",
        missing.join(", "),
        missing.join(" ")
    )
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(SYSTEM_PATHS.map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whether this git comes with its server, which some packages leave out.
fn serves(git: &Path) -> bool {
    let output = Command::new(git).arg("--exec-path").output();
    let place = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    place.is_ok_and(|place| Path::new(&place).join("git-daemon").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let said = lacking(true, false);
        assert!(
            said.ends_with("machine: redis-server; `apt-get install -y redis-server` installs them"),
            "{said}"
        );
        assert!(lacking(true, true).contains("redis-server git`"));
    }
}
