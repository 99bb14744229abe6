//! Finds the programs that Argo CD needs and that the rig does not build: redis-server and git.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::system;

/// The paths of the programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The cache of Argo CD.
    pub redis_server: PathBuf,
    /// Argo CD reads repositories with it, and the rig serves them with it.
    pub git: PathBuf,
}

impl Programs {
    /// Finds them, or says what is missing and what to do.
    pub fn find() -> Result<Self, String> {
        let redis_server = system::find("redis-server");
        let git = system::find("git").filter(|git| serves(git));
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

/// Whether this git has `git daemon`, which some packages omit.
fn serves(git: &Path) -> bool {
    let output = Command::new(git).arg("--exec-path").output();
    let path = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    path.is_ok_and(|path| Path::new(&path).join("git-daemon").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_with_the_command_that_installs_them() {
        let printed = lacking(true, false);
        assert!(
            printed.ends_with("machine: redis-server; `apt-get install -y redis-server` installs them"),
            "{printed}"
        );
        assert!(lacking(true, true).contains("redis-server git`"));
    }
}
